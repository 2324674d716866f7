#include "sentry/socket/inet/net_stack.h"

#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/socket/inet/inet_socket.h"
#include "syscalls/abi/netlink.h"

namespace sentry {

namespace {

const IpAddress kLoopback6 = IpAddress::V6({{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}});

bool Owns(const NetConfig& config, const IpAddress& a) {
  for (const NetInterface& i : config.interfaces) {
    for (const NetInterface::Address& own : i.addresses) {
      if (own.addr == a) return true;
    }
  }
  return false;
}

}  // namespace

base::Ref<NetStack> NetStack::Of(NetNamespace& ns) {
  base::MutexLock lock(ns.mu);
  if (!ns.objects) ns.objects = base::MakeRef<NetStack>(ns.owner());
  return base::StaticRefCast<NetStack>(ns.objects);
}

NetInterface NetStack::Loopback() {
  NetInterface lo;
  lo.index = kLoopbackIndex;
  lo.name = "lo";
  lo.flags = static_cast<uint32_t>(abi::kIFF_LOOPBACK);
  lo.type = abi::kARPHRD_LOOPBACK;
  if (loopback_up()) lo.flags |= static_cast<uint32_t>(abi::kIFF_UP | abi::kIFF_RUNNING);
  base::MutexLock lock(loopback_mu_);
  lo.mtu = loopback_mtu_;
  lo.txqlen = loopback_txqlen_;
  lo.addresses = loopback_addresses_;
  return lo;
}

// inetdev_event(), addrconf_notify(): IPv4's addresses outlive the interface's being up, IPv6's
// don't.
void NetStack::set_loopback_up(bool up) {
  loopback_up_.store(up, std::memory_order_relaxed);
  base::MutexLock lock(loopback_mu_);
  auto& all = loopback_addresses_;
  std::erase_if(all, [](const NetInterface::Address& a) { return !a.addr.is_v4(); });
  if (!up) return;
  if (all.empty()) all.push_back({IpAddress::V4(abi::kINADDR_LOOPBACK), 8});
  all.push_back({kLoopback6, 128});
}

void NetStack::set_loopback_mtu(uint32_t mtu) {
  base::MutexLock lock(loopback_mu_);
  loopback_mtu_ = mtu;
}

void NetStack::set_loopback_txqlen(uint32_t n) {
  base::MutexLock lock(loopback_mu_);
  loopback_txqlen_ = n;
}

base::Result<void> NetStack::AddLoopbackAddress(const NetInterface::Address& a, bool replace) {
  constexpr size_t kMost = 1024;
  base::MutexLock lock(loopback_mu_);
  for (const NetInterface::Address& own : loopback_addresses_) {
    if (own.addr != a.addr || (a.addr.is_v4() && own.prefix != a.prefix)) continue;
    return replace ? base::Result<void>() : abi::Errno::kEEXIST;
  }
  if (loopback_addresses_.size() == kMost) return abi::Errno::kENOBUFS;
  // IPv4's first, as they are shown.
  auto at = loopback_addresses_.end();
  if (a.addr.is_v4()) {
    at = std::find_if(loopback_addresses_.begin(), loopback_addresses_.end(),
                      [](const NetInterface::Address& own) { return !own.addr.is_v4(); });
  }
  loopback_addresses_.insert(at, a);
  has_added_.store(true, std::memory_order_relaxed);
  return {};
}

base::Result<void> NetStack::RemoveLoopbackAddress(const NetInterface::Address& a) {
  base::MutexLock lock(loopback_mu_);
  const auto n = std::erase_if(loopback_addresses_, [&](const NetInterface::Address& own) {
    return own.addr == a.addr && own.prefix == a.prefix;
  });
  return n == 0 ? abi::Errno::kEADDRNOTAVAIL : base::Result<void>();
}

bool NetStack::IsAdded(const IpAddress& a) {
  if (!has_added_.load(std::memory_order_relaxed)) return false;
  base::MutexLock lock(loopback_mu_);
  return std::any_of(loopback_addresses_.begin(), loopback_addresses_.end(),
                     [&](const NetInterface::Address& own) { return own.addr == a; });
}

base::Ref<NetStack> NetStack::Of(const Task& task) { return Of(*task.net_ns()); }

void NetStack::SetOutside(base::Ref<NetOutside> outside) {
  base::MutexLock lock(mu_);
  std::swap(outside_, outside);
}

base::Ref<NetOutside> NetStack::outside() {
  base::MutexLock lock(mu_);
  return outside_;
}

void NetStack::OutsideLost(bool again) {
  const base::Ref<NetOutside> next = again ? outside() : nullptr;
  for (const base::Ref<InetSocket>& s : Sockets()) s->OutsideLost(next);
}

base::Ref<NetOutside> NetStack::OutsideFor(const Endpoint& to) {
  base::Ref<NetOutside> out = outside();
  if (!out) return nullptr;
  if (to.addr.is_loopback()) {
    constexpr uint16_t kDns = 53;
    const base::Ref<NetConfig> config = out->Config();
    return config->loopback || (config->loopback_dns && to.port == kDns) ? out : nullptr;
  }
  return Locate(to.addr) == Place::kOutside ? out : nullptr;
}

base::Ref<NetOutside> NetStack::OutsideTowards(const Endpoint& local) {
  base::Ref<NetOutside> out = outside();
  if (out && local.addr.is_loopback()) {
    const base::Ref<NetConfig> config = out->Config();
    if (!config->loopback && !config->loopback_dns) return nullptr;
  }
  if (IsAdded(local.addr)) return nullptr;
  return out;
}

std::vector<NetInterface> NetStack::Interfaces() {
  std::vector<NetInterface> all{Loopback()};
  if (base::Ref<NetOutside> out = outside()) {
    const base::Ref<NetConfig> config = out->Config();
    all.insert(all.end(), config->interfaces.begin(), config->interfaces.end());
  }
  return all;
}

std::vector<NetRoute> NetStack::Routes() {
  if (base::Ref<NetOutside> out = outside()) return out->Config()->routes;
  return {};
}

int32_t NetStack::InterfaceIndex(std::string_view name) {
  for (const NetInterface& i : Interfaces()) {
    if (i.name == name) return i.index;
  }
  return 0;
}

bool NetStack::IsOwn(const IpAddress& a) {
  if (a.is_loopback()) return loopback_up();
  if (IsAdded(a)) return true;
  base::Ref<NetOutside> out = outside();
  if (!out) return false;
  return Owns(*out->Config(), a);
}

NetStack::Place NetStack::Locate(const IpAddress& to) {
  if (to.is_loopback()) return loopback_up() ? Place::kHere : Place::kNowhere;
  if (IsAdded(to)) return Place::kHere;
  base::Ref<NetOutside> out = outside();
  if (!out) return Place::kNowhere;
  const base::Ref<NetConfig> config = out->Config();
  if (Owns(*config, to)) return Place::kHere;
  for (const NetRoute& r : config->routes) {
    if (to.InPrefix(r.dst, r.prefix)) return Place::kOutside;
  }
  return Place::kNowhere;
}

IpAddress NetStack::SourceFor(const IpAddress& to) {
  return to.is_v4() && to.is_loopback() ? IpAddress::V4(abi::kINADDR_LOOPBACK) : to;
}

void NetStack::Add(InetSocket* s) {
  base::MutexLock lock(sockets_mu_);
  sockets_.insert(s);
}

void NetStack::Remove(InetSocket* s) {
  base::MutexLock lock(sockets_mu_);
  sockets_.erase(s);
}

std::vector<base::Ref<InetSocket>> NetStack::Sockets() {
  std::vector<base::Ref<InetSocket>> out;
  base::MutexLock lock(sockets_mu_);
  for (InetSocket* s : sockets_) {
    if (s->TryIncRef()) out.push_back(base::Ref<InetSocket>::Adopt(s));
  }
  return out;
}

}  // namespace sentry
