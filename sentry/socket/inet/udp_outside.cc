#include "sentry/socket/inet/udp_outside.h"

#include <algorithm>

#include "syscalls/abi/epoll.h"

namespace sentry {

template <typename Op>
auto UdpOutside::WithoutRefusals(Op&& op) {
  auto r = op();
  if (r.is(abi::Errno::kECONNREFUSED) && !hears_refusals_.load(std::memory_order_relaxed)) r = op();
  return r;
}

void UdpOutside::Detach() {
  base::Ref<HostEnd> bound;
  std::list<Peer> peers;
  {
    base::MutexLock lock(mu_);
    queue_ = nullptr;
    std::swap(bound, bound_);
    peers.swap(peers_);
  }
  if (bound) bound->Detach();
  for (const Peer& p : peers) {
    if (p.host) p.host->Detach();
  }
}

base::Result<Endpoint> UdpOutside::Connect(Task& task, NetOutside::Request r) {
  const Endpoint remote = r.remote;
  base::Ref<HostEnd> host = TRY(HostEnd::Ask(task, outside_, &NetOutside::Connect, std::move(r)));
  if (!host) return abi::Errno::kENETUNREACH;
  std::list<Peer> old;
  {
    base::MutexLock lock(mu_);
    if (host->lost()) return abi::Errno::kENETDOWN;
    host->Attach(queue_);
    peers_.swap(old);
    peers_.push_front({remote, host, {}});
  }
  host->Arm();
  return host->local();
}

base::Result<void> UdpOutside::Bind(Task& task, NetOutside::Request r) {
  base::Ref<HostEnd> host = TRY(HostEnd::Ask(task, outside_, &NetOutside::Bind, std::move(r)));
  return host ? Adopt(std::move(host)) : base::Result<void>();
}

base::Result<void> UdpOutside::Adopt(base::Ref<HostEnd> bound) {
  base::Ref<HostEnd> old;  // goes after the lock
  {
    base::MutexLock lock(mu_);
    if (queue_ == nullptr) return {};
    if (bound->lost()) return abi::Errno::kENETDOWN;
    bound->Attach(queue_);
    old = std::exchange(bound_, bound);
    binds_ = true;
  }
  bound->Arm();
  return {};
}

void UdpOutside::Fail(abi::Errno e) {
  error_ = static_cast<int32_t>(e);
  if (queue_ != nullptr) queue_->Wake(abi::kEPOLLERR | abi::kEPOLLOUT | abi::kEPOLLIN);
}

bool UdpOutside::Lost(bool again) {
  // They go after the lock, and before the same port is asked for again.
  base::Ref<HostEnd> bound;
  std::list<Peer> peers;
  base::MutexLock lock(mu_);
  std::swap(bound, bound_);
  peers.swap(peers_);
  if (binds_ && again) return true;
  if (bound || !peers.empty()) Fail(abi::Errno::kENETDOWN);
  return false;
}

void UdpOutside::BindAgain(NetOutside::Request r) {
  outside_->Bind(std::move(r),
                 [self = base::Ref<UdpOutside>(this)](base::Result<NetOutside::HostSocket> answer) {
                   base::Result<void> bound;
                   if (!answer.ok()) {
                     bound = answer.error();
                   } else if (answer->fd.valid()) {
                     bound =
                         self->Adopt(base::MakeRef<HostEnd>(self->outside_, std::move(*answer)));
                   }
                   if (bound.ok()) return;
                   base::MutexLock lock(self->mu_);
                   self->Fail(bound.error().guest_errno());
                 });
}

base::Result<void> UdpOutside::Send(NetOutside::Request r, std::span<const uint8_t> data,
                                    std::span<const ControlMessage> controls) {
  auto message = [&] {
    return Message{{data.begin(), data.end()}, {controls.begin(), controls.end()}};
  };
  const Endpoint remote = r.remote;
  const bool ipv6 = r.ipv6;
  base::Ref<HostEnd> host;
  const Endpoint* to = nullptr;
  {
    std::list<Peer> dropped;
    base::MutexLock lock(mu_);
    if (error_ != 0) return static_cast<abi::Errno>(std::exchange(error_, 0));
    if (bound_ && bound_->sends_anywhere()) {
      host = bound_;
      to = &remote;
    } else {
      auto it = std::find_if(peers_.begin(), peers_.end(),
                             [&](const Peer& p) { return p.remote == remote; });
      if (it != peers_.end()) {
        peers_.splice(peers_.begin(), peers_, it);
        host = it->host;
        if (!host) {
          if (it->waiting.size() >= kMaxWaiting) return abi::Errno::kEAGAIN;
          it->waiting.push_back(message());
          return {};
        }
      } else {
        peers_.push_front({remote, nullptr, {message()}});
        if (peers_.size() > kMaxPeers) {
          dropped.splice(dropped.begin(), peers_, std::prev(peers_.end()));
        }
      }
    }
  }
  if (host) {
    TRY(WithoutRefusals(
        [&] { return host->SendTo(data.data(), data.size(), to, ipv6, controls); }));
    return {};
  }
  outside_->Connect(std::move(r), [self = base::Ref<UdpOutside>(this), remote,
                                   ipv6](base::Result<NetOutside::HostSocket> answer) {
    self->Answered(remote, ipv6, std::move(answer));
  });
  return {};
}

void UdpOutside::Answered(const Endpoint& remote, bool ipv6,
                          base::Result<NetOutside::HostSocket> answer) {
  base::Ref<HostEnd> host;
  if (answer.ok()) host = base::MakeRef<HostEnd>(outside_, std::move(*answer));
  std::vector<Message> waiting;
  {
    base::MutexLock lock(mu_);
    auto it = std::find_if(peers_.begin(), peers_.end(),
                           [&](const Peer& p) { return p.remote == remote; });
    if (queue_ == nullptr || it == peers_.end()) return;
    if (!host) {
      peers_.erase(it);
      Fail(answer.error().guest_errno());
      return;
    }
    host->Attach(queue_);
    it->host = host;
    waiting.swap(it->waiting);
  }
  for (const Message& m : waiting) {
    (void)host->SendTo(m.data.data(), m.data.size(), nullptr, ipv6, m.controls);
  }
  // Who waits already must hear of what comes.
  host->Arm();
}

std::vector<base::Ref<HostEnd>> UdpOutside::Hosts() {
  std::vector<base::Ref<HostEnd>> all;
  base::MutexLock lock(mu_);
  if (bound_) all.push_back(bound_);
  for (const Peer& p : peers_) {
    if (p.host) all.push_back(p.host);
  }
  return all;
}

base::Result<HostEnd::Received> UdpOutside::Receive(IoBuffer& dst, uint32_t flags, bool controls) {
  {
    base::MutexLock lock(mu_);
    if (error_ != 0) return static_cast<abi::Errno>(std::exchange(error_, 0));
  }
  for (const base::Ref<HostEnd>& host : Hosts()) {
    base::Result<HostEnd::Received> r =
        WithoutRefusals([&] { return host->ReceiveDatagram(dst, flags, controls); });
    if (!r.is(abi::Errno::kEAGAIN)) return r;
  }
  return abi::Errno::kEAGAIN;
}

void UdpOutside::SetOption(const NetOutside::Option& o) {
  for (const base::Ref<HostEnd>& host : Hosts()) host->SetOption(o);
}

uint32_t UdpOutside::Poll() {
  uint32_t m = 0;
  for (const base::Ref<HostEnd>& host : Hosts()) m |= host->Poll();
  base::MutexLock lock(mu_);
  return error_ != 0 ? m | abi::kEPOLLERR : m;
}

uint32_t UdpOutside::ReadableBytes() {
  for (const base::Ref<HostEnd>& host : Hosts()) {
    if (const uint32_t n = host->DatagramBytes(); n != 0) return n;
  }
  return 0;
}

void UdpOutside::Arm() {
  for (const base::Ref<HostEnd>& host : Hosts()) host->Arm();
}

int32_t UdpOutside::TakeError() {
  {
    base::MutexLock lock(mu_);
    if (error_ != 0) return std::exchange(error_, 0);
  }
  for (const base::Ref<HostEnd>& host : Hosts()) {
    if (const int32_t e = host->TakeError()) return e;
  }
  return 0;
}

}  // namespace sentry
