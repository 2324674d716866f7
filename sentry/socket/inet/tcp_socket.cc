#include "sentry/socket/inet/tcp_socket.h"

#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM;
constexpr uint32_t kAll =
    kReadable | kWritable | abi::kEPOLLRDHUP | abi::kEPOLLHUP | abi::kEPOLLERR;
// net.ipv4.tcp_wmem and tcp_rmem: at first, and what autotuning makes of a send buffer on loopback.
constexpr uint32_t kSendBuffer = 16384, kReceiveBuffer = 131072, kConnectedSendBuffer = 2626560;
}  // namespace

TcpSocket::TcpSocket(base::Ref<NetStack> stack, int32_t family, base::Ref<TcpEnd> end,
                     uint32_t flags)
    : InetSocket(std::move(stack), family, abi::kSOCK_STREAM, abi::kIPPROTO_TCP, flags),
      end_(std::move(end)) {
  send_buffer_.store(kSendBuffer);
  receive_buffer_.store(kReceiveBuffer);
  base::MutexLock lock(end_->mu_);
  end_->file_ = this;
  if (end_->state_ == State::kClosed) end_->claim_.local = Unbound();
}

TcpSocket::~TcpSocket() { end_->Close(linger_on_.load() != 0 && linger_.load() == 0); }

bool TcpSocket::bound() {
  base::MutexLock lock(end_->mu_);
  return end_->claim_.local.port != 0 || end_->state_ != State::kClosed;
}

bool TcpSocket::connected() {
  base::MutexLock lock(end_->mu_);
  return end_->state_ == State::kConnected;
}

bool TcpSocket::listening() {
  base::MutexLock lock(end_->mu_);
  return end_->state_ == State::kListening;
}

int32_t TcpSocket::TakeError() {
  {
    base::MutexLock lock(end_->mu_);
    if (end_->error_ != 0) return std::exchange(end_->error_, 0);
  }
  base::Ref<HostEnd> host = host_end();
  return host ? host->TakeError() : 0;
}

base::Result<void> TcpSocket::Bind(Task& task, const SockAddr& addr) {
  const Endpoint local = TRY(ParseLocal(task, addr));
  PortClaim claim = Claim(local);
  TRY(stack_->tcp.Bind(end_.get(), &claim));
  base::MutexLock lock(end_->mu_);
  end_->claim_ = claim;
  end_->bound_ = claim.local;
  end_->claimed_ = TcpEnd::Claimed::kBound;
  return {};
}

base::Result<void> TcpSocket::AutoBind() {
  {
    base::MutexLock lock(end_->mu_);
    if (end_->claim_.local.port != 0) return {};
  }
  PortClaim claim = Claim(Unbound());
  if (!stack_->tcp.Bind(end_.get(), &claim).ok()) return abi::Errno::kEAGAIN;
  base::MutexLock lock(end_->mu_);
  end_->claim_ = claim;
  end_->claimed_ = TcpEnd::Claimed::kOwn;
  return {};
}

// inet_listen(), inet_csk_listen_start().
base::Result<void> TcpSocket::Listen(Task& task, int32_t backlog) {
  const uint32_t limit =
      std::min(static_cast<uint32_t>(backlog), stack_->somaxconn.load(std::memory_order_relaxed));
  bool again = false;
  {
    base::MutexLock lock(end_->mu_);
    if (end_->state_ != State::kClosed && end_->state_ != State::kListening &&
        end_->state_ != State::kDone) {
      return abi::Errno::kEINVAL;
    }
    if (end_->connecting_) return abi::Errno::kEINVAL;
    again = end_->state_ == State::kListening;
    end_->backlog_ = limit;
  }
  if (again) {
    end_->AdmitWaiting();
    return {};
  }
  TRY(AutoBind());
  PortClaim claim;
  {
    base::MutexLock lock(end_->mu_);
    claim = Claim(end_->claim_.local);
  }
  TRY(stack_->tcp.SetListening(end_.get(), claim, true));
  auto fail = [&](base::Error error) -> base::Result<void> {
    (void)stack_->tcp.SetListening(end_.get(), claim, false);
    return error;
  };
  base::Ref<HostEnd> host;
  if (base::Ref<NetOutside> outside = stack_->OutsideTowards(claim.local)) {
    base::Result<base::Ref<HostEnd>> got = HostEnd::Ask(
        task, std::move(outside), &NetOutside::Listen, ListenRequest(claim.local, limit));
    if (!got.ok()) return fail(got.error());
    host = std::move(*got);
    if (host) {
      host->Attach(&end_->queue_);
      host->Arm();
    }
  }
  {
    base::MutexLock lock(end_->mu_);
    if (!host || !host->lost()) {
      end_->claim_ = claim;
      end_->outside_.store(static_cast<bool>(host), std::memory_order_relaxed);
      end_->host_ = std::move(host);
      end_->state_ = State::kListening;
      end_->error_ = 0;
      end_->no_receive_ = end_->fin_sent_ = end_->fin_received_ = false;
      return {};
    }
  }
  return fail(abi::Errno::kENETDOWN);
}

NetOutside::Request TcpSocket::ListenRequest(const Endpoint& local, uint32_t backlog) {
  NetOutside::Request request = OutsideRequest(local, {});
  request.backlog = backlog;
  return request;
}

void TcpSocket::OutsideLost(const base::Ref<NetOutside>& next) {
  Endpoint local;
  uint32_t backlog;
  {
    // Goes after the lock, and before the same port is asked for again.
    base::Ref<HostEnd> old;
    base::MutexLock lock(end_->mu_);
    if (end_->state_ != State::kListening || !end_->outside_.load(std::memory_order_relaxed)) {
      return;
    }
    old = std::move(end_->host_);
    local = end_->claim_.local;
    backlog = end_->backlog_;
  }
  if (!next) return;
  next->Listen(ListenRequest(local, backlog),
               [end = end_, next](base::Result<NetOutside::HostSocket> answer) {
                 if (!answer.ok() || !answer->fd.valid()) return;
                 end->OutsideListens(base::MakeRef<HostEnd>(next, std::move(*answer)));
               });
}

base::Result<base::Ref<Socket>> TcpSocket::Accept(uint32_t flags) {
  base::Ref<TcpEnd> e;
  base::Ref<HostEnd> host;
  bool waiting = false;
  {
    base::MutexLock lock(end_->mu_);
    if (end_->state_ != State::kListening) return abi::Errno::kEINVAL;
    if (!end_->pending_.empty()) {
      e = std::move(end_->pending_.front());
      end_->pending_.pop_front();
      waiting = !end_->waiting_.empty();
    } else {
      host = end_->host_;
    }
  }
  if (!e && !host) return abi::Errno::kEAGAIN;
  if (!e) {
    e = base::MakeRef<TcpEnd>(stack_);
    TRY(TakeFromOutside(*host, *e));
  }
  if (waiting) end_->AdmitWaiting();
  auto s = base::MakeRef<TcpSocket>(stack_, family(), std::move(e), flags);
  s->InheritFrom(*this);
  s->end_->oob_inline_.store(flag(abi::kSO_OOBINLINE));
  s->max_segment_.store(max_segment_.load());
  s->send_buffer_.store(std::max(send_buffer_.load(), kConnectedSendBuffer));
  return base::Ref<Socket>(std::move(s));
}

base::Result<void> TcpSocket::TakeFromOutside(HostEnd& listener, TcpEnd& fresh) {
  base::Ref<HostEnd> host = TRY(listener.Accept());
  host->Attach(&fresh.queue_);
  base::MutexLock lock(fresh.mu_);
  fresh.state_ = State::kConnected;
  fresh.claim_.local = host->local();
  fresh.remote_ = host->remote();
  fresh.host_ = std::move(host);
  fresh.outside_.store(true, std::memory_order_relaxed);
  return {};
}

base::Ref<HostEnd> TcpSocket::host_end() {
  if (!end_->outside_.load(std::memory_order_relaxed)) return nullptr;
  base::MutexLock lock(end_->mu_);
  return end_->host_;
}

void TcpSocket::WillWait(uint32_t mask) {
  if (base::Ref<HostEnd> host = host_end()) host->Arm();
}

void TcpSocket::ConnectOutside(base::Ref<NetOutside> outside, const Endpoint& to) {
  Endpoint local;
  {
    base::MutexLock lock(end_->mu_);
    local = end_->claim_.local;
    end_->remote_ = to;
    end_->no_receive_ = end_->no_send_ = end_->fin_sent_ = end_->fin_received_ = false;
    end_->state_ = State::kConnecting;
    end_->connecting_ = true;
    end_->error_ = 0;
  }
  outside->Connect(OutsideRequest(local, to),
                   [end = end_, outside](base::Result<NetOutside::HostSocket> answer) {
                     end->OutsideConnected(outside, std::move(answer));
                   });
}

// tcp_v4_connect(), tcp_v6_connect().
base::Result<void> TcpSocket::StartConnect(const Endpoint& to) {
  if (to.addr.is_multicast() || to.addr.is_broadcast()) return abi::Errno::kENETUNREACH;
  const NetStack::Place place = stack_->Locate(to.addr);
  const bool here = place == NetStack::Place::kHere;
  // Listeners inside come first, then those of the outside's loopback.
  base::Ref<base::RefCounted> found;
  if (here) {
    const auto hash = static_cast<uint32_t>(absl::HashOf(inode()->ino()));
    found = stack_->tcp.Find(to, {}, device(), hash);
  }
  if (!found) {
    if (base::Ref<NetOutside> outside = stack_->OutsideFor(to)) {
      ConnectOutside(std::move(outside), to);
      return {};
    }
    // Where nobody is, Linux would ask for half a minute before it gives up.
    if (place == NetStack::Place::kDiscard) return abi::Errno::kEHOSTUNREACH;
    if (!here) return abi::Errno::kENETUNREACH;
  }
  PortClaim claim;
  {
    base::MutexLock lock(end_->mu_);
    claim = Claim(end_->claim_.local);
  }
  const bool own_port = claim.local.port != 0;
  if (claim.local.addr.is_any()) claim.local.addr = stack_->SourceFor(to.addr);
  claim.dual = false;
  if (claim.local.addr.is_v4() != to.addr.is_v4()) return abi::Errno::kEADDRNOTAVAIL;
  if (own_port) {
    TRY(stack_->tcp.Connect(end_.get(), claim, to));
  } else {
    TRY(stack_->tcp.BindForConnect(end_.get(), &claim, to));
  }
  {
    base::MutexLock lock(end_->mu_);
    end_->claim_ = claim;
    if (!own_port) end_->claimed_ = TcpEnd::Claimed::kOwn;
    end_->paired_ = true;
    end_->remote_ = to;
    end_->no_receive_ = end_->no_send_ = end_->fin_sent_ = end_->fin_received_ = false;
    end_->state_ = State::kConnecting;
    end_->connecting_ = true;
    end_->error_ = 0;
  }
  auto* listener = static_cast<TcpEnd*>(found.get());
  base::Result<void> r = abi::Errno::kECONNREFUSED;
  if (listener != nullptr && listener != end_.get()) r = TcpEnd::ConnectTo(end_, *listener, to);
  if (!r.ok()) {
    stack_->counters.tcp_failed.fetch_add(1, std::memory_order_relaxed);
    base::MutexLock lock(end_->mu_);
    end_->ResetLocked(abi::Errno::kECONNREFUSED);
  }
  send_buffer_.store(std::max(send_buffer_.load(), kConnectedSendBuffer));
  return {};
}

base::Result<void> TcpSocket::FinishConnect() {
  base::Error error = abi::Errno::kOk;
  {
    base::MutexLock lock(end_->mu_);
    if (end_->state_ == State::kConnecting) return abi::Errno::kEAGAIN;
    end_->connecting_ = false;
    if (end_->state_ == State::kConnected) return {};
    // Reset after it stood: connect(2) does not tell of it, but for the error that is pending.
    const int32_t e = std::exchange(end_->error_, 0);
    error = e != 0 ? static_cast<abi::Errno>(e) : abi::Errno::kECONNABORTED;
  }
  Disconnect();
  return error;
}

// tcp_disconnect(): back to a fresh socket, that keeps a port which bind(2) gave it.
void TcpSocket::Disconnect() {
  base::Ref<TcpEnd> peer;
  base::Ref<HostEnd> host;
  std::deque<base::Ref<TcpEnd>> pending, waiting;
  bool was_listening;
  {
    base::MutexLock lock(end_->mu_);
    was_listening = end_->state_ == State::kListening;
    if (end_->state_ == State::kConnected) peer = end_->peer_;
  }
  PortClaim claim;
  if (was_listening) {
    base::MutexLock lock(end_->mu_);
    claim = end_->claim_;
  }
  if (peer) peer->ReceiveReset();
  if (was_listening) {
    (void)stack_->tcp.SetListening(end_.get(), claim, false);
  } else {
    end_->UnclaimConnection();
  }
  {
    base::MutexLock lock(end_->mu_);
    peer = std::move(end_->peer_);
    host = std::move(end_->host_);
    pending.swap(end_->pending_);
    waiting.swap(end_->waiting_);
    end_->state_ = State::kClosed;
    end_->fin_sent_ = end_->fin_received_ = end_->no_receive_ = end_->fin_first_ = false;
    end_->connecting_ = false;
    end_->stream_ = StreamQueue();
    end_->queued_.store(0, std::memory_order_relaxed);
    end_->urgent_ = TcpEnd::Urgent::kNone;
    end_->error_ = 0;
    end_->remote_ = Endpoint{};
    if (end_->claimed_ == TcpEnd::Claimed::kNo) end_->claim_.local = Unbound();
    end_->queue_.Wake(kAll);
  }
  for (auto& e : pending) e->Close(true);
  for (auto& e : waiting) {
    base::MutexLock lock(e->mu_);
    if (e->state_ == State::kConnecting) e->ResetLocked(abi::Errno::kECONNREFUSED);
  }
}

// __inet_stream_connect().
base::Result<void> TcpSocket::Connect(Task& task, const SockAddr& addr) {
  if (addr.len < sizeof(uint16_t)) return abi::Errno::kEINVAL;
  if (addr.family() == abi::kAF_UNSPEC) {
    Disconnect();
    return {};
  }
  bool begun;
  {
    base::MutexLock lock(end_->mu_);
    begun = end_->connecting_;
    if (!begun && end_->state_ != State::kClosed) return abi::Errno::kEISCONN;
  }
  if (!begun) TRY(StartConnect(TRY(ParseRemote(addr))));
  // The handshake's end is never seen by a connect(2) that doesn't wait.
  if (nonblocking()) {
    if (!begun) return abi::Errno::kEINPROGRESS;
    base::Result<void> r = FinishConnect();
    return r.is(abi::Errno::kEAGAIN) ? abi::Errno::kEALREADY : r;
  }
  auto op = [&] { return FinishConnect(); };
  base::Result<void> r = op();
  if (!r.is(abi::Errno::kEAGAIN)) return r;
  const int64_t deadline = WaitDeadline(true);
  r = task.BlockOnQueue(end_->queue_, kWritable, op, deadline);
  if (r.is(abi::Errno::kEAGAIN)) return begun ? abi::Errno::kEALREADY : abi::Errno::kEINPROGRESS;
  if (!r.ok() && r.error() == base::Error(base::Restart::kSys) && deadline != kNoDeadline) {
    return abi::Errno::kEINTR;
  }
  return r;
}

// inet_shutdown(), tcp_shutdown().
base::Result<void> TcpSocket::Shutdown(int32_t how) {
  if (how < abi::kSHUT_RD || how > abi::kSHUT_RDWR) return abi::Errno::kEINVAL;
  const bool receive = how != abi::kSHUT_WR, send = how != abi::kSHUT_RD;
  base::Ref<TcpEnd> peer;
  base::Ref<HostEnd> host;
  bool ended = false, disconnect = false;
  {
    TcpEnd& e = *end_;
    base::MutexLock lock(e.mu_);
    switch (e.state_) {
      case State::kListening:
        if (!receive) return {};
        disconnect = true;
        break;
      case State::kConnecting:
        disconnect = true;
        break;
      case State::kConnected:
        host = e.host_;
        if (host) break;
        e.no_receive_ |= receive;
        if (send && !e.fin_sent_) {
          e.fin_sent_ = true;
          e.fin_first_ = !e.fin_received_;
          peer = e.peer_;
          if (e.fin_received_) {
            e.state_ = State::kDone;
            ended = true;
          }
        }
        e.queue_.Wake(kAll);
        break;
      case State::kClosed:
      case State::kDone:
        e.no_receive_ |= receive;
        e.no_send_ |= send;
        e.queue_.Wake(kAll);
        return abi::Errno::kENOTCONN;
    }
  }
  if (host) return host->Shutdown(how);
  if (disconnect) Disconnect();
  if (peer) peer->ReceiveFin();
  if (ended) end_->Unclaim(false);
  return {};
}

base::Result<SockAddr> TcpSocket::LocalName() {
  base::MutexLock lock(end_->mu_);
  return Name(end_->claim_.local);
}

base::Result<SockAddr> TcpSocket::PeerName() {
  base::MutexLock lock(end_->mu_);
  if (end_->state_ != State::kConnected) return abi::Errno::kENOTCONN;
  return Name(end_->remote_);
}

InetSocket::Row TcpSocket::Show() {
  base::MutexLock lock(end_->mu_);
  Row r;
  r.local = end_->claim_.local;
  r.remote = end_->remote_;
  r.state = end_->ShownStateLocked();
  if (r.state == TcpState::kListen) {
    r.receive_queue = static_cast<uint32_t>(end_->pending_.size());
    r.send_queue = end_->backlog_;
    r.remote = Unbound();
  } else {
    r.receive_queue = static_cast<uint32_t>(end_->stream_.size());
  }
  return r;
}

// tcp_poll().
uint32_t TcpSocket::Poll() {
  if (base::Ref<HostEnd> host = host_end()) {
    const uint32_t m = host->Poll();
    base::MutexLock lock(end_->mu_);
    if (end_->state_ != State::kListening) return m;
    return end_->pending_.empty() && (m & abi::kEPOLLIN) == 0 ? 0 : kReadable;
  }
  TcpEnd& e = *end_;
  base::MutexLock lock(e.mu_);
  if (e.state_ == State::kListening) return e.pending_.empty() ? 0 : kReadable;
  uint32_t m = 0;
  const bool closed = e.state_ == State::kClosed || e.state_ == State::kDone;
  const bool no_receive = e.no_receive_ || e.fin_received_;
  const bool no_send = e.fin_sent_ || e.no_send_;
  if (closed || (no_receive && no_send)) m |= abi::kEPOLLHUP;
  if (no_receive) m |= kReadable | abi::kEPOLLRDHUP;
  if (e.state_ != State::kConnecting) {
    uint64_t target = static_cast<uint64_t>(receive_low_.load(std::memory_order_relaxed));
    const bool urgent = e.urgent_ != TcpEnd::Urgent::kNone;
    if (urgent && e.urgent_pos_ == e.read_pos_ && !e.oob_inline_.load()) target++;
    if (e.stream_.size() >= target) m |= kReadable;
    if (no_send || !e.peer_ || e.Writable(*e.peer_)) m |= kWritable;
    if (e.urgent_ == TcpEnd::Urgent::kValid) m |= abi::kEPOLLPRI;
  }
  if (e.error_ != 0) m |= abi::kEPOLLERR;
  return m;
}

}  // namespace sentry
