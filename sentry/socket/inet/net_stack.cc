#include "sentry/socket/inet/net_stack.h"

#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/socket/inet/inet_socket.h"
#include "syscalls/abi/netlink.h"

namespace sentry {

namespace {

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

void NetStack::OutsideLost(bool again) {
  const base::Ref<NetOutside> next = again ? outside() : nullptr;
  for (const base::Ref<InetSocket>& s : Sockets()) s->OutsideLost(next);
  EachObserver([](Observer& o) { o.OutsideGone(); });
}

void NetStack::AddObserver(base::RefCounted* self, Observer* o) {
  base::MutexLock lock(sockets_mu_);
  observers_.emplace_back(self, o);
  observed_.store(true, std::memory_order_relaxed);
}

void NetStack::RemoveObserver(Observer* o) {
  base::MutexLock lock(sockets_mu_);
  std::erase_if(observers_, [&](const auto& e) { return e.second == o; });
  observed_.store(!observers_.empty(), std::memory_order_relaxed);
}

template <typename F>
void NetStack::EachObserver(F&& f) {
  std::vector<std::pair<base::Ref<base::RefCounted>, Observer*>> all;
  {
    base::MutexLock lock(sockets_mu_);
    for (const auto& [self, o] : observers_) {
      if (self->TryIncRef()) all.emplace_back(base::Ref<base::RefCounted>::Adopt(self), o);
    }
  }
  for (const auto& [self, o] : all) f(*o);
}

std::string NetStack::ObserverLines() {
  std::string out;
  EachObserver([&](Observer& o) { out += o.Line(); });
  return out;
}

void NetStack::Show(const LocalPacket& p) {
  EachObserver([&](Observer& o) { o.Observe(p); });
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
  if (links_.Owns(local.addr)) return nullptr;
  return out;
}

std::vector<NetInterface> NetStack::Interfaces() {
  std::vector<NetInterface> all = links_.List();
  if (base::Ref<NetOutside> out = outside()) {
    const base::Ref<NetConfig> config = out->Config();
    all.insert(all.end(), config->interfaces.begin(), config->interfaces.end());
  }
  return all;
}

std::vector<NetRoute> NetStack::Routes() {
  std::vector<NetRoute> all = links_.Routes();
  if (base::Ref<NetOutside> out = outside()) {
    const base::Ref<NetConfig> config = out->Config();
    all.insert(all.end(), config->routes.begin(), config->routes.end());
  }
  return all;
}

int32_t NetStack::InterfaceIndex(std::string_view name) {
  for (const NetInterface& i : Interfaces()) {
    if (i.name == name) return i.index;
  }
  return 0;
}

bool NetStack::IsOwn(const IpAddress& a) {
  if (a.is_loopback()) return loopback_up();
  if (links_.Owns(a)) return true;
  base::Ref<NetOutside> out = outside();
  if (!out) return false;
  return Owns(*out->Config(), a);
}

NetStack::Place NetStack::Locate(const IpAddress& to) {
  if (to.is_loopback()) return loopback_up() ? Place::kHere : Place::kNowhere;
  if (links_.Owns(to)) return Place::kHere;
  const std::optional<NetRoute> own = links_.RouteTo(to);
  if (base::Ref<NetOutside> out = outside()) {
    const base::Ref<NetConfig> config = out->Config();
    if (Owns(*config, to)) return Place::kHere;
    for (const NetRoute& r : config->routes) {
      if (!to.InPrefix(r.dst, r.prefix)) continue;
      if (!own || r.prefix > own->prefix) return Place::kOutside;
    }
  }
  return own ? Place::kDiscard : Place::kNowhere;
}

IpAddress NetStack::SourceFor(const IpAddress& to) const {
  if (to.is_v4() && to.is_loopback()) return IpAddress::V4(abi::kINADDR_LOOPBACK);
  if (!links_.changed() || links_.Owns(to)) return to;
  const std::optional<NetRoute> own = links_.RouteTo(to);
  return own && own->source != IpAddress{} ? own->source : to;
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
