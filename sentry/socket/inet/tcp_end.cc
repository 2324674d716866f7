#include "sentry/socket/inet/tcp_end.h"

#include "sentry/time/clock.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM;
constexpr uint32_t kAll =
    kReadable | kWritable | abi::kEPOLLRDHUP | abi::kEPOLLHUP | abi::kEPOLLERR;
}  // namespace

TcpEnd::~TcpEnd() = default;

// tcp_set_state() as far as it shows.
TcpState TcpEnd::ShownStateLocked() const {
  switch (state_) {
    case State::kListening:
      return TcpState::kListen;
    case State::kConnecting:
      return TcpState::kSynSent;
    case State::kConnected:
      if (fin_sent_) return TcpState::kFinWait2;
      return fin_received_ ? TcpState::kCloseWait : TcpState::kEstablished;
    default:
      return TcpState::kClose;
  }
}

// tcp_fin().
void TcpEnd::ReceiveFin() {
  bool ended = false;
  {
    base::MutexLock lock(mu_);
    if (state_ != State::kConnected || fin_received_) return;
    fin_received_ = true;
    if (fin_sent_) {
      state_ = State::kDone;
      ended = true;
    }
    queue_.Wake(ended ? kAll : kReadable | abi::kEPOLLRDHUP);
  }
  if (ended) Unclaim(true);
}

void TcpEnd::ResetLocked(abi::Errno e) {
  state_ = State::kDone;
  error_ = static_cast<int32_t>(e);
  fin_sent_ = fin_received_ = true;
  queue_.Wake(kAll);
}

// tcp_reset().
void TcpEnd::ReceiveReset() {
  {
    base::MutexLock lock(mu_);
    if (state_ != State::kConnected) return;
    ResetLocked(fin_received_ ? abi::Errno::kEPIPE : abi::Errno::kECONNRESET);
  }
  stack_->counters.tcp_reset.fetch_add(1, std::memory_order_relaxed);
  Unclaim(false);
}

void TcpEnd::Unclaim(bool time_wait) {
  Claimed claimed;
  PortClaim claim;
  Endpoint remote;
  bool paired;
  {
    base::MutexLock lock(mu_);
    claimed = std::exchange(claimed_, Claimed::kNo);
    claim = claim_;
    remote = remote_;
    paired = std::exchange(paired_, false);
    time_wait = time_wait && fin_first_;
  }
  const int64_t until = time_wait ? HostClock().Monotonic() + kTimeWait : 0;
  switch (claimed) {
    case Claimed::kNo:
      return;
    case Claimed::kShared:
      stack_->tcp.ReleaseShared(claim, until);
      return;
    case Claimed::kBound:
    case Claimed::kOwn:
      stack_->tcp.Release(this, claim.local.port, paired ? &remote : nullptr);
      return;
  }
}

void TcpEnd::UnclaimConnection() {
  PortClaim bound;
  Endpoint remote;
  bool paired = false;
  {
    base::MutexLock lock(mu_);
    if (claimed_ == Claimed::kBound) {
      bound = claim_;
      bound.local = bound_;
      remote = remote_;
      claim_ = bound;
      paired = std::exchange(paired_, false);
    }
  }
  if (bound.local.port == 0) {
    Unclaim(false);
  } else if (paired) {
    stack_->tcp.Disconnect(this, bound, remote);
  }
}

// tcp_close().
void TcpEnd::Close(bool reset) {
  base::Ref<TcpEnd> peer;
  base::Ref<HostEnd> host;
  std::deque<base::Ref<TcpEnd>> pending, waiting;
  bool connected, ended = false;
  {
    base::MutexLock lock(mu_);
    dead_ = true;
    file_ = nullptr;
    stack_->counters.lo_bytes.fetch_add(bytes_received_, std::memory_order_relaxed);
    stack_->counters.lo_packets.fetch_add(messages_received_, std::memory_order_relaxed);
    connected = state_ == State::kConnected;
    reset = connected && (reset || !stream_.empty());
    peer = std::move(peer_);
    host = std::move(host_);
    pending.swap(pending_);
    waiting.swap(waiting_);
    stream_ = StreamQueue();
    queued_.store(0, std::memory_order_relaxed);
    if (connected && !fin_sent_) {
      fin_first_ = !fin_received_;
      fin_sent_ = true;
    }
    ended = connected && (reset || fin_received_);
    if (ended || !connected) state_ = State::kDone;
  }
  if (peer && connected) {
    if (reset) {
      peer->ReceiveReset();
    } else {
      peer->ReceiveFin();
    }
  }
  // An end that closed first keeps its port in TIME_WAIT from now on; Linux waits for the peer's
  // FIN, a minute at most.
  Unclaim(!reset);
  // inet_csk_listen_stop(): what nobody accepted is reset.
  for (auto& e : pending) e->Close(true);
  for (auto& e : waiting) {
    base::MutexLock lock(e->mu_);
    if (e->state_ == State::kConnecting) e->ResetLocked(abi::Errno::kECONNREFUSED);
  }
}

base::Ref<TcpEnd> TcpEnd::EstablishLocked(const base::Ref<TcpEnd>& client, TcpEnd& listener,
                                          const PortClaim& claim) {
  auto e = base::MakeRef<TcpEnd>(client->stack_);
  TcpEnd& fresh = *e;  // nobody else knows it yet
  fresh.send_room_.store(listener.send_room_.load());
  fresh.receive_room_.store(listener.receive_room_.load());
  fresh.mu_.Lock(true);
  fresh.state_ = State::kConnected;
  fresh.peer_ = client;
  fresh.claim_ = claim;
  fresh.claimed_ = Claimed::kShared;
  fresh.remote_ = client->claim_.local;
  fresh.mu_.Unlock(true);
  client->state_ = State::kConnected;
  client->peer_ = e;
  return e;
}

base::Result<void> TcpEnd::ConnectTo(const base::Ref<TcpEnd>& client, TcpEnd& listener,
                                     const Endpoint& to) {
  PortTable& ports = listener.stack_->tcp;
  PortClaim shared;
  {
    base::MutexLock lock(listener.mu_);
    shared = listener.claim_;
  }
  shared.local = to;
  shared.dual = false;
  // Claimed before the connection can be seen, and closed.
  ports.AddShared(shared);
  bool refused = false, full = false;
  {
    base::MutexLock2 lock(client->mu_, listener.mu_);
    refused = listener.state_ != State::kListening;
    // sk_acceptq_is_full(): one more than the backlog.
    full = listener.pending_.size() > listener.backlog_;
    if (!refused) client->remote_ = to;
    if (!refused && full) {
      client->state_ = State::kConnecting;
      listener.waiting_.push_back(client);
    } else if (!refused) {
      listener.pending_.push_back(EstablishLocked(client, listener, shared));
      listener.queue_.Wake(kReadable);
      client->queue_.Wake(kWritable);
    }
  }
  if (refused || full) {
    ports.ReleaseShared(shared, 0);
    return refused ? abi::Errno::kECONNREFUSED : base::Result<void>();
  }
  NetCounters& c = listener.stack_->counters;
  c.tcp_active.fetch_add(1, std::memory_order_relaxed);
  c.tcp_passive.fetch_add(1, std::memory_order_relaxed);
  return {};
}

void TcpEnd::OutsideConnected(base::Ref<NetOutside> outside,
                              base::Result<NetOutside::HostSocket> answer) {
  base::Ref<HostEnd> host;
  if (answer.ok()) host = base::MakeRef<HostEnd>(std::move(outside), std::move(*answer));
  {
    base::MutexLock lock(mu_);
    // Closed or disconnected meanwhile: the host's socket goes with the reference.
    if (state_ != State::kConnecting || dead_) return;
    if (!host) {
      ResetLocked(answer.error().guest_errno());
      return;
    }
    host->Attach(&queue_);
    claim_.local = host->local();
    state_ = State::kConnected;
    host_ = host;
    outside_.store(true, std::memory_order_relaxed);
    queue_.Wake(kWritable);
  }
  // Who waits already must hear of what comes.
  host->Arm();
}

void TcpEnd::OutsideListens(base::Ref<HostEnd> host) {
  base::Ref<HostEnd> old;  // goes after the lock
  {
    base::MutexLock lock(mu_);
    if (state_ != State::kListening || dead_) return;
    host->Attach(&queue_);
    old = std::exchange(host_, host);
  }
  host->Arm();
}

void TcpEnd::AdmitWaiting() {
  for (;;) {
    base::Ref<TcpEnd> client;
    Endpoint to;
    {
      base::MutexLock lock(mu_);
      if (waiting_.empty() || pending_.size() > backlog_) return;
      client = std::move(waiting_.front());
      waiting_.pop_front();
    }
    {
      base::MutexLock lock(client->mu_);
      // It may have been closed, or connected elsewhere.
      if (client->state_ != State::kConnecting || client->dead_) continue;
      to = client->remote_;
    }
    if (!ConnectTo(client, *this, to).ok()) {
      base::MutexLock lock(client->mu_);
      client->ResetLocked(abi::Errno::kECONNREFUSED);
    }
  }
}

}  // namespace sentry
