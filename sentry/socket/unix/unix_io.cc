// Sending and receiving.
#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/socket/unix/unix_gc.h"
#include "sentry/socket/unix/unix_socket.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/resource.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM | abi::kEPOLLWRBAND;

// too_many_unix_fds(). Privilege has its bound too: memory is finite.
base::Result<void> CheckInFlight(Task* task, const Ancillary* a) {
  if (a == nullptr || a->files.empty() || task == nullptr) return {};
  constexpr uint64_t kHardLimit = 1 << 20;
  const uint64_t limit = task->creds().Has(abi::kCAP_SYS_RESOURCE)
                             ? kHardLimit
                             : task->group().limits.Get(abi::kRLIMIT_NOFILE).cur;
  if (UnixGc::in_flight() <= limit) return {};
  UnixGc::Collect();
  if (UnixGc::in_flight() > limit) return abi::Errno::kETOOMANYREFS;
  return {};
}

constexpr uint64_t kMaxPacketOverhead = 32;  // unix_dgram_sendmsg(): len > sk_sndbuf - 32
}  // namespace

// What goes with a message; wanted: one of the two sides asked for credentials (maybe_add_creds()).
void UnixSocket::PrepareCreds(Task* task, SendArgs& args, bool wanted, Ancillary* out) {
  if (args.ancillary != nullptr) *out = std::move(*args.ancillary);
  UnixGc::Sent(*out);
  if (!out->has_creds && wanted && task != nullptr) {
    out->has_creds = true;
    out->creds = {task->tgid(), task->creds().uid, task->creds().gid};
  }
}

base::Result<uint64_t> UnixSocket::Send(Task* task, IoBuffer& src, SendArgs& args) {
  if (args.flags & abi::kMSG_OOB) return abi::Errno::kEOPNOTSUPP;
  TRY(CheckInFlight(task, args.ancillary));
  return type() == abi::kSOCK_STREAM ? SendStream(task, src, args) : SendPacket(task, src, args);
}

// unix_stream_sendmsg().
base::Result<uint64_t> UnixSocket::SendStream(Task* task, IoBuffer& src, SendArgs& args) {
  base::Ref<UnixEnd> peer;
  {
    base::MutexLock lock(end_->mu_);
    if (args.to != nullptr) {
      return end_->state_ == UnixEnd::State::kConnected ? abi::Errno::kEISCONN
                                                        : abi::Errno::kEOPNOTSUPP;
    }
    peer = end_->peer_;
    if (!peer) return end_->no_send_ ? abi::Errno::kEPIPE : abi::Errno::kENOTCONN;
    if (end_->no_send_) return abi::Errno::kEPIPE;
  }
  if (src.remaining() == 0) return uint64_t{0};
  uint64_t done = 0;
  Ancillary ancillary;
  base::MutexLock lock(peer->mu_);
  if (peer->dead_ || peer->no_receive_) return abi::Errno::kEPIPE;
  uint64_t used = end_->in_flight_.load(std::memory_order_relaxed);
  uint64_t limit = end_->send_buffer_.load(std::memory_order_relaxed);
  if (used >= limit) return abi::Errno::kEAGAIN;
  uint64_t room = std::min<uint64_t>(limit - used, src.remaining());
  const uint64_t start = peer->stream_pos_ + peer->stream_.size();
  while (done < room) {
    size_t contiguous;
    uint8_t* to = peer->stream_.tail(std::min<uint64_t>(room - done, 64 * 1024), &contiguous);
    size_t got = src.CopyFrom(to, contiguous);
    peer->stream_.commit(got);
    done += got;
    if (got < contiguous) break;
  }
  if (done == 0) return abi::Errno::kEFAULT;
  PrepareCreds(task, args, pass_creds() || peer->pass_creds_.load(std::memory_order_relaxed),
               &ancillary);
  // Bytes without anything beside them must not be read together with such that have it.
  if (ancillary.has_creds || !ancillary.files.empty() || !peer->marks_.empty()) {
    peer->marks_.push_back({start, std::move(ancillary)});
  }
  end_->in_flight_.fetch_add(done, std::memory_order_relaxed);
  peer->queue_.Wake(kReadable);
  return done;
}

// unix_dgram_sendmsg(), unix_seqpacket_sendmsg().
base::Result<uint64_t> UnixSocket::SendPacket(Task* task, IoBuffer& src, SendArgs& args) {
  base::Ref<UnixEnd> to;
  SockAddr own_name;
  if (type() == abi::kSOCK_SEQPACKET) args.to = nullptr;
  {
    base::MutexLock lock(end_->mu_);
    if (end_->error_ != 0) {
      return static_cast<abi::Errno>(std::exchange(end_->error_, 0));
    }
    if (end_->no_send_) return abi::Errno::kEPIPE;
    if (args.to == nullptr) {
      to = end_->peer_;
      if (!to) return abi::Errno::kENOTCONN;
    }
    own_name = end_->name_;
  }
  const uint64_t len = src.remaining();
  uint64_t limit = end_->send_buffer_.load(std::memory_order_relaxed);
  if (len > limit - kMaxPacketOverhead) return abi::Errno::kEMSGSIZE;
  if (args.to != nullptr) {
    if (task == nullptr) return abi::Errno::kEINVAL;
    if (pass_creds() && own_name.len == 0) {
      TRY(AutoBind(*task));
      own_name = TRY(LocalName());
    }
    to = TRY(Resolve(*task, *args.to, type()));
  }
  // An empty queue always takes one packet, however large.
  uint64_t used = end_->in_flight_.load(std::memory_order_relaxed);
  if (used != 0 && used + len > limit) return abi::Errno::kEAGAIN;

  UnixEnd::Packet p;
  p.len = static_cast<uint32_t>(len);
  p.data.reset(new uint8_t[len]);
  IoBuffer::Mark mark = src.mark();
  if (src.CopyFrom(p.data.get(), len) != len) return abi::Errno::kEFAULT;
  // Given back if the receiver can't take it now.
  auto refuse = [&](abi::Errno e) -> base::Result<uint64_t> {
    src.Rewind(mark);
    return e;
  };
  p.from = own_name;
  base::Ref<UnixEnd> gone;
  bool refused = false;
  {
    base::MutexLock lock(to->mu_);
    if (to->dead_) {
      refused = true;
    } else {
      if (!end_->connected_type() && to->peer_ && to->peer_.get() != end_.get()) {
        return abi::Errno::kEPERM;
      }
      if (to->no_receive_) return abi::Errno::kEPIPE;
      if (type() == abi::kSOCK_DGRAM && to.get() != end_.get() &&
          to->packets_.size() > kMaxQueuedDatagrams) {
        return refuse(abi::Errno::kEAGAIN);
      }
      if (to->filter_) {
        // What the receiver doesn't want is none of the sender's business.
        const std::optional<size_t> keep = to->filter_->Run({.data = {p.data.get(), len}});
        if (!keep) return len;
        p.len = static_cast<uint32_t>(*keep);
      }
      PrepareCreds(task, args, pass_creds() || to->pass_creds_.load(std::memory_order_relaxed),
                   &p.ancillary);
      p.sender = end_;
      end_->in_flight_.fetch_add(p.len, std::memory_order_relaxed);
      to->packet_bytes_ += p.len;
      to->packets_.push_back(std::move(p));
      to->queue_.Wake(kReadable);
    }
  }
  if (!refused) return len;
  if (end_->connected_type()) return abi::Errno::kEPIPE;
  if (args.to == nullptr) {
    base::MutexLock lock(end_->mu_);
    if (end_->peer_.get() == to.get()) {
      gone = std::move(end_->peer_);
      end_->state_ = UnixEnd::State::kClosed;
    }
  }
  return abi::Errno::kECONNREFUSED;
}

base::Ref<base::RefCounted> UnixSocket::SendQueue(Task& task, const SendArgs& args,
                                                  WaitQueue** queue) {
  *queue = &end_->queue_;
  if (type() != abi::kSOCK_DGRAM) return nullptr;
  base::Ref<UnixEnd> to;
  if (args.to != nullptr) {
    base::Result<base::Ref<UnixEnd>> r = Resolve(task, *args.to, type());
    if (r.ok()) to = std::move(*r);
  } else {
    base::MutexLock lock(end_->mu_);
    to = end_->peer_;
  }
  if (!to) return nullptr;
  // Its own budget is not what a datagram socket runs out of first.
  base::MutexLock lock(to->mu_);
  if (to->packets_.size() > kMaxQueuedDatagrams) *queue = &to->room_queue_;
  return to;
}

base::Result<uint64_t> UnixSocket::Receive(Task* task, IoBuffer& dst, RecvArgs& args) {
  if (args.flags & abi::kMSG_OOB) {
    return type() == abi::kSOCK_STREAM ? abi::Errno::kEINVAL : abi::Errno::kEOPNOTSUPP;
  }
  return type() == abi::kSOCK_STREAM ? ReceiveStream(dst, args) : ReceivePacket(dst, args);
}

// unix_stream_read_generic().
base::Result<uint64_t> UnixSocket::ReceiveStream(IoBuffer& dst, RecvArgs& args) {
  const bool peek = (args.flags & abi::kMSG_PEEK) != 0;
  base::Ref<UnixEnd> peer;
  uint64_t done = 0;
  {
    UnixEnd& e = *end_;
    base::MutexLock lock(e.mu_);
    if (e.state_ != UnixEnd::State::kConnected) return abi::Errno::kEINVAL;
    const uint64_t skip = e.PeekOffsetLocked(peek);
    if (e.stream_.size() <= skip) {
      if (e.error_ != 0) return static_cast<abi::Errno>(std::exchange(e.error_, 0));
      if (e.no_receive_) return uint64_t{0};
      return abi::Errno::kEAGAIN;
    }
    // Bytes up to the next change of what travels with them; a first mark ahead of the front
    // belongs to later bytes.
    const uint64_t start = e.stream_pos_ + skip;
    size_t next = 0;  // the first mark ahead
    while (next < e.marks_.size() && e.marks_[next].pos <= start) next++;
    UnixEnd::Mark* mark = next > 0 ? &e.marks_[next - 1] : nullptr;
    const uint64_t end =
        next < e.marks_.size() ? e.marks_[next].pos : e.stream_pos_ + e.stream_.size();
    uint64_t n = std::min<uint64_t>(end - start, dst.remaining());
    while (done < n) {
      size_t contiguous;
      const uint8_t* from = e.stream_.at(skip + done, &contiguous);
      size_t k = std::min<uint64_t>(contiguous, n - done);
      size_t put = dst.CopyTo(from, k);
      done += put;
      if (put < k) break;
    }
    if (done == 0 && n > 0) return abi::Errno::kEFAULT;
    if (mark != nullptr) {
      if (peek) {
        args.ancillary.files = mark->ancillary.files;
      } else {
        args.ancillary.files = std::move(mark->ancillary.files);
        mark->ancillary.files.clear();
        UnixGc::Landed(args.ancillary);
      }
      args.ancillary.has_creds = mark->ancillary.has_creds;
      args.ancillary.creds = mark->ancillary.creds;
      // A read never goes on behind descriptors that it received.
      args.boundary = next < e.marks_.size() || !args.ancillary.files.empty();
    }
    if (!peek) {
      e.stream_.pop(done);
      e.stream_pos_ += done;
      while (e.marks_.size() > 1 && e.marks_[1].pos <= e.stream_pos_) e.marks_.pop_front();
      if (e.stream_.empty()) e.marks_.clear();
    }
    e.MovePeekOffsetLocked(peek ? static_cast<int64_t>(done) : -static_cast<int64_t>(done));
    args.full_length = done;
    peer = e.peer_;
  }
  if (!peek && peer) peer->Release(done);
  return done;
}

// __unix_dgram_recvmsg().
base::Result<uint64_t> UnixSocket::ReceivePacket(IoBuffer& dst, RecvArgs& args) {
  const bool peek = (args.flags & abi::kMSG_PEEK) != 0;
  UnixEnd::Packet p;
  uint64_t put, n;
  {
    UnixEnd& e = *end_;
    base::MutexLock lock(e.mu_);
    if (e.connected_type() && e.state_ != UnixEnd::State::kConnected) {
      return abi::Errno::kENOTCONN;
    }
    if (e.packets_.empty()) {
      if (e.error_ != 0) return static_cast<abi::Errno>(std::exchange(e.error_, 0));
      if (e.no_receive_) return uint64_t{0};
      return abi::Errno::kEAGAIN;
    }
    // __skb_try_recv_from_queue().
    uint64_t skip = e.PeekOffsetLocked(peek);
    size_t index = 0;
    while (index < e.packets_.size() && skip != 0 && skip >= e.packets_[index].len)
      skip -= e.packets_[index++].len;
    if (index == e.packets_.size()) return abi::Errno::kEAGAIN;
    UnixEnd::Packet& front = e.packets_[index];
    const uint64_t len = front.len - skip;
    args.from = front.from;
    args.full_length = len;
    n = std::min<uint64_t>(len, dst.remaining());
    if (len > dst.remaining()) args.msg_flags |= abi::kMSG_TRUNC;
    if (peek) {
      args.ancillary.files = front.ancillary.files;
      args.ancillary.has_creds = front.ancillary.has_creds;
      args.ancillary.creds = front.ancillary.creds;
      put = dst.CopyTo(front.data.get() + skip, n);
      if (put < n) return abi::Errno::kEFAULT;
      e.MovePeekOffsetLocked(static_cast<int64_t>(put));
      return put;
    }
    UnixGc::Landed(front.ancillary);
    p = std::move(front);
    e.packets_.pop_front();
    e.MovePeekOffsetLocked(-int64_t{p.len});
    e.packet_bytes_ -= p.len;
    if (e.packets_.size() <= kMaxQueuedDatagrams) e.room_queue_.Wake(kWritable);
  }
  put = dst.CopyTo(p.data.get(), n);
  args.ancillary = std::move(p.ancillary);
  if (p.sender) {
    p.sender->Release(p.len);
    // It may have been waiting for room in this queue rather than for its own budget.
    if (type() == abi::kSOCK_DGRAM) p.sender->queue_.Wake(kWritable);
  }
  if (put < n) return abi::Errno::kEFAULT;
  return put;
}

}  // namespace sentry
