// Sending and receiving (tcp_sendmsg(), tcp_recvmsg(), tcp_input.c's urgent data).
#include <algorithm>

#include "sentry/kernel/async_io.h"
#include "sentry/socket/inet/tcp_socket.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM;
// What is copied under a connection's lock; more is copied while the other side may use it.
constexpr size_t kCopyLocked = 16 << 10;
}  // namespace

// Data for an end whose file is gone: it is answered by a reset, which the sender hears of with
// its next call.
base::Result<uint64_t> TcpSocket::SendToGone(IoBuffer& src) {
  const uint64_t n = src.remaining();
  src.Consume(n);
  {
    base::MutexLock lock(end_->mu_);
    if (end_->state_ == State::kConnected) {
      end_->ResetLocked(end_->fin_received_ ? abi::Errno::kEPIPE : abi::Errno::kECONNRESET);
    }
  }
  end_->Unclaim(false);
  return n;
}

base::Result<uint64_t> TcpSocket::Send(Task* task, IoBuffer& src, SendArgs& args) {
  // net.ipv4.tcp_fastopen is off.
  if (args.flags & abi::kMSG_FASTOPEN) return abi::Errno::kEOPNOTSUPP;
  base::Ref<TcpEnd> peer;
  base::Ref<HostEnd> host;
  {
    TcpEnd& e = *end_;
    base::MutexLock lock(e.mu_);
    if (e.state_ == State::kConnecting) return abi::Errno::kEAGAIN;
    if (e.error_ != 0) return static_cast<abi::Errno>(std::exchange(e.error_, 0));
    if (e.state_ != State::kConnected || e.fin_sent_ || e.no_send_) return abi::Errno::kEPIPE;
    peer = e.peer_;
    host = e.host_;
  }
  if (host) return host->Send(src, args.flags);
  if (src.remaining() == 0) return uint64_t{0};
  const bool urgent = (args.flags & abi::kMSG_OOB) != 0;
  if (src.remaining() > kCopyLocked && !urgent) return SendLarge(src, *peer);
  uint64_t done = 0;
  base::Ref<File> signalled;
  bool gone = false;
  {
    TcpEnd& p = *peer;
    base::MutexLock lock(p.mu_);
    gone = p.dead_;
    if (!gone) {
      if (p.state_ != State::kConnected) return abi::Errno::kEPIPE;
      const uint64_t limit = end_->RoomTowards(p), used = p.stream_.size();
      if (used >= limit) return abi::Errno::kEAGAIN;
      const uint64_t want = std::min<uint64_t>(limit - used, src.remaining());
      while (done < want) {
        size_t contiguous;
        uint8_t* to = p.stream_.tail(want - done, &contiguous);
        const size_t got = src.CopyFrom(to, contiguous);
        p.stream_.commit(got);
        done += got;
        if (got < contiguous) break;
      }
      if (done == 0) return abi::Errno::kEFAULT;
      p.queued_.store(p.stream_.size(), std::memory_order_relaxed);
      uint32_t events = kReadable;
      if (urgent && src.remaining() == 0) {
        // tcp_check_urg(): an older urgent byte that is next to be read, and was not, is dropped.
        if (p.urgent_ != TcpEnd::Urgent::kNone && p.urgent_pos_ == p.read_pos_ &&
            !p.oob_inline_.load(std::memory_order_relaxed) && p.stream_.size() > done) {
          p.stream_.pop(1);
          p.read_pos_++;
        }
        p.urgent_ = TcpEnd::Urgent::kValid;
        p.urgent_pos_ = p.read_pos_ + p.stream_.size() - 1;
        size_t k;
        p.urgent_byte_ = *p.stream_.at(p.stream_.size() - 1, &k);
        events |= abi::kEPOLLPRI;
        if (p.file_ != nullptr && p.file_->TryIncRef()) signalled = base::Ref<File>::Adopt(p.file_);
      }
      p.bytes_received_ += done;
      p.messages_received_++;
      p.queue_.Wake(events);
    }
  }
  if (gone) return SendToGone(src);
  if (signalled) {
    if (AsyncOwner* o = AsyncOwner::Present(*signalled)) o->SendUrgent();
  }
  return done;
}

base::Result<uint64_t> TcpSocket::SendLarge(IoBuffer& src, TcpEnd& p) {
  uint64_t done = 0, room = 0;
  StreamQueue::Slice piece;
  for (;;) {
    {
      base::MutexLock lock(p.mu_);
      if (p.dead_) break;
      if (p.state_ != State::kConnected) {
        if (done > 0) return done;
        return abi::Errno::kEPIPE;
      }
      if (piece.size() > 0) {
        done += piece.size();
        p.bytes_received_ += piece.size();
        p.messages_received_++;
        p.stream_.Append(std::exchange(piece, {}));
        p.queued_.store(p.stream_.size(), std::memory_order_relaxed);
        p.queue_.Wake(kReadable);
      }
      const uint64_t limit = end_->RoomTowards(p), used = p.stream_.size();
      room = limit > used ? limit - used : 0;
    }
    if (src.remaining() == 0) return done;
    if (room == 0 || src.faulted()) {
      if (done > 0) return done;
      return src.faulted() ? abi::Errno::kEFAULT : abi::Errno::kEAGAIN;
    }
    piece.chunk = StreamQueue::Chunk::Make(StreamQueue::Chunk::kLarge);
    piece.end = static_cast<uint32_t>(
        src.CopyFrom(piece.chunk->data(), std::min<uint64_t>(room, piece.chunk->size())));
  }
  return done + piece.size() + TRY(SendToGone(src));
}

// tcp_recv_urg().
base::Result<uint64_t> TcpSocket::ReceiveUrgent(IoBuffer& dst, RecvArgs& args) {
  TcpEnd& e = *end_;
  base::MutexLock lock(e.mu_);
  if (e.oob_inline_.load(std::memory_order_relaxed) || e.urgent_ != TcpEnd::Urgent::kValid) {
    return abi::Errno::kEINVAL;
  }
  args.msg_flags |= abi::kMSG_OOB;
  if (dst.remaining() == 0) {
    args.msg_flags |= abi::kMSG_TRUNC;
    return uint64_t{0};
  }
  if ((args.flags & abi::kMSG_TRUNC) == 0 && dst.CopyTo(&e.urgent_byte_, 1) != 1) {
    return abi::Errno::kEFAULT;
  }
  if ((args.flags & abi::kMSG_PEEK) == 0) e.urgent_ = TcpEnd::Urgent::kRead;
  return uint64_t{1};
}

// tcp_recvmsg_locked().
base::Result<uint64_t> TcpSocket::Receive(Task* task, IoBuffer& dst, RecvArgs& args) {
  if (args.flags & abi::kMSG_ERRQUEUE) return abi::Errno::kEAGAIN;
  if (base::Ref<HostEnd> host = host_end(); host && !listening()) {
    const HostEnd::Received got = TRY(host->ReceiveStream(dst, args.flags));
    args.msg_flags |= got.flags;
    args.full_length = got.bytes;
    return got.bytes;
  }
  if (args.flags & abi::kMSG_OOB) return ReceiveUrgent(dst, args);
  StreamQueue::Slices taken;
  {
    TcpEnd& e = *end_;
    base::MutexLock lock(e.mu_);
    const uint64_t n = TRY(ReceiveLocked(e, dst, args, &taken));
    if (taken.empty()) return n;
  }
  return CopyTaken(std::move(taken), dst, args);
}

base::Result<uint64_t> TcpSocket::ReceiveLocked(TcpEnd& e, IoBuffer& dst, RecvArgs& args,
                                                StreamQueue::Slices* taken) {
  const bool peek = (args.flags & abi::kMSG_PEEK) != 0;
  const bool discard = (args.flags & abi::kMSG_TRUNC) != 0;
  uint64_t done = 0;
  if (e.state_ == State::kListening) return abi::Errno::kENOTCONN;
  const bool inline_urgent = e.oob_inline_.load(std::memory_order_relaxed);
  uint64_t skip = peek && e.peek_offset_ > 0 ? static_cast<uint64_t>(e.peek_offset_) : 0;
  // An urgent byte that is next, and travels out of band, is passed over.
  auto at_urgent = [&]() NO_THREAD_SAFETY_ANALYSIS {
    return e.urgent_ != TcpEnd::Urgent::kNone && e.urgent_pos_ == e.read_pos_ + skip &&
           !inline_urgent;
  };
  if (at_urgent() && e.stream_.size() > skip) {
    if (peek) {
      skip++;
    } else {
      e.stream_.pop(1);
      e.read_pos_++;
      e.urgent_ = TcpEnd::Urgent::kNone;
    }
  }
  const uint64_t available = e.stream_.size() > skip ? e.stream_.size() - skip : 0;
  const bool ended = e.fin_received_ || e.no_receive_ || e.error_ != 0;
  // sock_rcvlowat(): a wait goes on until so much is there.
  const uint64_t low = std::min<uint64_t>(
      static_cast<uint64_t>(receive_low_.load(std::memory_order_relaxed)), dst.remaining());
  const bool wait = (args.flags & abi::kMSG_DONTWAIT) == 0 && available < low && !ended;
  if (available == 0 || (wait && e.state_ == State::kConnected)) {
    if (dst.remaining() == 0) return uint64_t{0};
    if (e.state_ == State::kConnecting) return abi::Errno::kEAGAIN;
    if (available == 0) {
      // SOCK_DONE: the end of the stream comes before an error.
      if (e.error_ != 0 && e.error_ != static_cast<int32_t>(abi::Errno::kEPIPE)) {
        return static_cast<abi::Errno>(std::exchange(e.error_, 0));
      }
      if (ended) return uint64_t{0};
      if (e.state_ == State::kClosed) return abi::Errno::kENOTCONN;
    }
    return abi::Errno::kEAGAIN;
  }
  uint64_t n = std::min<uint64_t>(available, dst.remaining());
  // A read stops before the urgent mark.
  if (e.urgent_ != TcpEnd::Urgent::kNone && e.urgent_pos_ > e.read_pos_ + skip) {
    const uint64_t before = e.urgent_pos_ - (e.read_pos_ + skip);
    if (before <= n) {
      n = before;
      args.boundary = true;
    }
  }
  if (discard) {
    done = n;
    dst.Truncate(dst.remaining() - n);
  }
  const bool large = n > kCopyLocked && !peek && !discard;
  while (!large && done < n) {
    size_t contiguous;
    const uint8_t* from = e.stream_.at(skip + done, &contiguous);
    const size_t k = std::min<uint64_t>(contiguous, n - done);
    const size_t put = dst.CopyTo(from, k);
    done += put;
    if (put < k) break;
  }
  if (large) done = n;
  if (done == 0 && n > 0) return abi::Errno::kEFAULT;
  args.full_length = done;
  if (peek) {
    if (e.peek_offset_ >= 0) e.peek_offset_ += static_cast<int32_t>(done);
    return done;
  }
  if (e.peek_offset_ > 0) {
    e.peek_offset_ -=
        static_cast<int32_t>(std::min<uint64_t>(done, static_cast<uint64_t>(e.peek_offset_)));
  }
  const bool was_writable = !e.peer_ || e.peer_->Writable(e);
  if (large) {
    *taken = e.stream_.Take(done);
  } else {
    e.stream_.pop(done);
  }
  e.read_pos_ += done;
  e.queued_.store(e.stream_.size(), std::memory_order_relaxed);
  if (e.urgent_ != TcpEnd::Urgent::kNone && e.read_pos_ > e.urgent_pos_) {
    e.urgent_ = TcpEnd::Urgent::kNone;
  }
  if (!was_writable && e.peer_->Writable(e)) e.peer_->queue_.Wake(kWritable);
  return done;
}

base::Result<uint64_t> TcpSocket::CopyTaken(StreamQueue::Slices taken, IoBuffer& dst,
                                            RecvArgs& args) {
  uint64_t done = 0;
  size_t i = 0;
  for (; i < taken.size(); i++) {
    StreamQueue::Slice& s = taken[i];
    const size_t put = dst.CopyTo(s.data(), s.size());
    done += put;
    s.begin += static_cast<uint32_t>(put);
    if (s.size() > 0) break;
  }
  if (i == taken.size()) return done;
  // A bad address: what was not copied is still to be read.
  taken.erase(taken.begin(), taken.begin() + static_cast<std::ptrdiff_t>(i));
  TcpEnd& e = *end_;
  base::MutexLock lock(e.mu_);
  // A disconnect has thrown away what was to be read.
  if (e.state_ != State::kClosed) {
    for (const StreamQueue::Slice& s : taken) e.read_pos_ -= s.size();
    e.stream_.PutBack(std::move(taken));
    e.queued_.store(e.stream_.size(), std::memory_order_relaxed);
  }
  if (done == 0) return abi::Errno::kEFAULT;
  args.full_length = done;
  return done;
}

base::Result<uint32_t> TcpSocket::QueuedBytes(bool receive) {
  base::MutexLock lock(end_->mu_);
  if (end_->state_ == State::kListening) return abi::Errno::kEINVAL;
  if (!receive) return uint32_t{0};
  if (end_->host_) return end_->host_->ReadableBytes();
  // tcp_inq(): up to the urgent mark.
  uint64_t n = end_->stream_.size();
  if (end_->urgent_ != TcpEnd::Urgent::kNone && !end_->oob_inline_.load() &&
      end_->urgent_pos_ >= end_->read_pos_) {
    const uint64_t before = end_->urgent_pos_ - end_->read_pos_;
    n = before > 0 ? std::min(n, before) : n - (n > 0);
  }
  return static_cast<uint32_t>(n);
}

base::Result<uint64_t> TcpSocket::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  if (cmd != static_cast<uint32_t>(abi::kSIOCATMARK)) return InetSocket::Ioctl(task, cmd, arg);
  int32_t at;
  {
    base::MutexLock lock(end_->mu_);
    at = end_->urgent_ != TcpEnd::Urgent::kNone && end_->urgent_pos_ == end_->read_pos_;
  }
  TRY(UserOut<int32_t>{arg}.Store(task.mm(), at));
  return uint64_t{0};
}

}  // namespace sentry
