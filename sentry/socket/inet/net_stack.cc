#include "sentry/socket/inet/net_stack.h"

#include "sentry/kernel/task.h"
#include "sentry/socket/inet/inet_socket.h"
#include "syscalls/abi/netlink.h"

namespace sentry {

namespace {

const IpAddress kLoopback6 = IpAddress::V6({{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}});

NetInterface Loopback(bool up) {
  NetInterface lo;
  lo.index = kLoopbackIndex;
  lo.name = "lo";
  lo.flags = static_cast<uint32_t>(abi::kIFF_LOOPBACK);
  lo.type = abi::kARPHRD_LOOPBACK;
  lo.mtu = kLoopbackMtu;
  if (up) {
    lo.flags |= static_cast<uint32_t>(abi::kIFF_UP | abi::kIFF_RUNNING);
    lo.addresses.push_back({IpAddress::V4(abi::kINADDR_LOOPBACK), 8});
    lo.addresses.push_back({kLoopback6, 128});
  }
  return lo;
}

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

base::Ref<NetStack> NetStack::Of(const Task& task) { return Of(*task.net_ns()); }

void NetStack::SetOutside(base::Ref<NetOutside> outside) {
  base::MutexLock lock(mu_);
  std::swap(outside_, outside);
}

base::Ref<NetOutside> NetStack::outside() {
  base::MutexLock lock(mu_);
  return outside_;
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
  return out;
}

std::vector<NetInterface> NetStack::Interfaces() {
  std::vector<NetInterface> all{Loopback(loopback_up())};
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
  base::Ref<NetOutside> out = outside();
  if (!out) return false;
  return Owns(*out->Config(), a);
}

NetStack::Place NetStack::Locate(const IpAddress& to) {
  if (to.is_loopback()) return loopback_up() ? Place::kHere : Place::kNowhere;
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
