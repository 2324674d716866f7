#include "sentry/socket/inet/own_links.h"

#include <algorithm>

#include "platform/host/host.h"
#include "syscalls/abi/netlink.h"

namespace sentry {

namespace {

const IpAddress kLoopback6 = IpAddress::V6({{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}});
constexpr auto kUp = static_cast<uint32_t>(abi::kIFF_UP | abi::kIFF_RUNNING);

bool IsUp(const NetInterface& i) { return (i.flags & static_cast<uint32_t>(abi::kIFF_UP)) != 0; }

// The address with zeros behind the prefix.
IpAddress Network(IpAddress a, uint8_t prefix) {
  for (size_t bit = prefix + (a.is_v4() ? 96u : 0u); bit < 128; bit++) {
    a.b[bit / 8] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
  }
  return a;
}

// addrconf_ifid_eui48(): what a link calls itself before anybody gives it an address.
IpAddress LinkLocal(const std::array<uint8_t, 6>& mac) {
  IpAddress a;
  a.b[0] = 0xfe;
  a.b[1] = 0x80;
  std::copy(mac.begin(), mac.begin() + 3, a.b.begin() + 8);
  a.b[8] ^= 2;
  a.b[11] = 0xff;
  a.b[12] = 0xfe;
  std::copy(mac.begin() + 3, mac.end(), a.b.begin() + 13);
  return a;
}

// fib_add_ifaddr(), addrconf_prefix_route().
NetRoute ConnectedRoute(const NetInterface& i, const NetInterface::Address& a) {
  NetRoute r;
  r.dst = Network(a.addr, a.prefix);
  r.prefix = a.prefix;
  r.interface = i.index;
  r.protocol = abi::kRTPROT_KERNEL;
  if (a.addr.is_v4()) {
    r.source = a.addr;
    r.scope = abi::kRT_SCOPE_LINK;
  } else {
    r.metric = 256;  // IP6_RT_PRIO_ADDRCONF
  }
  return r;
}

}  // namespace

// No lock: the maker may hold one of the same class, and nobody else has this yet.
OwnLinks::OwnLinks() {
  NetInterface lo;
  lo.index = kLoopbackIndex;
  lo.name = "lo";
  lo.flags = static_cast<uint32_t>(abi::kIFF_LOOPBACK);
  lo.type = abi::kARPHRD_LOOPBACK;
  lo.mtu = kLoopbackMtu;
  links_.push_back(std::move(lo));
}

NetInterface* OwnLinks::Find(int32_t index) {
  for (NetInterface& i : links_) {
    if (i.index == index) return &i;
  }
  return nullptr;
}

std::vector<NetInterface> OwnLinks::List() const {
  base::MutexLock lock(mu_);
  return links_;
}

bool OwnLinks::Has(int32_t index) const {
  base::MutexLock lock(mu_);
  return std::any_of(links_.begin(), links_.end(), [&](const auto& i) { return i.index == index; });
}

std::vector<NetRoute> OwnLinks::RoutesLocked() const {
  std::vector<NetRoute> all = routes_;
  for (const NetInterface& i : links_) {
    // What is sent to lo's networks is this host's.
    if (!IsUp(i) || i.index == kLoopbackIndex) continue;
    for (const NetInterface::Address& a : i.addresses) {
      if (a.prefix < (a.addr.is_v4() ? 32 : 128)) all.push_back(ConnectedRoute(i, a));
    }
  }
  return all;
}

std::vector<NetRoute> OwnLinks::Routes() const {
  base::MutexLock lock(mu_);
  return RoutesLocked();
}

base::Result<void> OwnLinks::MakeDummy(std::string name, int32_t index, const Change& c) {
  NetInterface i;
  i.index = index;
  i.name = std::move(name);
  i.kind = "dummy";
  i.flags = static_cast<uint32_t>(abi::kIFF_BROADCAST | abi::kIFF_NOARP);
  i.type = abi::kARPHRD_ETHER;
  i.mtu = 1500;
  // eth_hw_addr_random().
  host::Random(i.hwaddr.data(), i.hwaddr.size());
  i.hwaddr[0] = static_cast<uint8_t>((i.hwaddr[0] & 0xfe) | 2);
  {
    base::MutexLock lock(mu_);
    if (links_.size() == kMostLinks) return abi::Errno::kENOBUFS;
    links_.push_back(std::move(i));
    changed_.store(true, std::memory_order_relaxed);
  }
  return Apply(index, c);
}

base::Result<void> OwnLinks::Remove(int32_t index) {
  if (index == kLoopbackIndex) return abi::Errno::kEOPNOTSUPP;
  base::MutexLock lock(mu_);
  if (Find(index) == nullptr) return abi::Errno::kENODEV;
  std::erase_if(routes_, [&](const NetRoute& r) { return r.interface == index; });
  std::erase_if(links_, [&](const NetInterface& i) { return i.index == index; });
  return {};
}

// inetdev_event(), addrconf_notify(): IPv4's addresses outlive the interface's being up, IPv6's and
// the routes don't.
void OwnLinks::SetUp(NetInterface* i, bool up) {
  if (up == IsUp(*i)) return;
  const bool lo = i->index == kLoopbackIndex;
  auto& all = i->addresses;
  std::erase_if(all, [](const NetInterface::Address& a) { return !a.addr.is_v4(); });
  if (lo) loopback_up_.store(up, std::memory_order_relaxed);
  if (!up) {
    i->flags &= ~kUp;
    std::erase_if(routes_, [&](const NetRoute& r) { return r.interface == i->index; });
    return;
  }
  i->flags |= kUp;
  if (!lo) {
    all.push_back({LinkLocal(i->hwaddr), 64});
    return;
  }
  if (all.empty()) all.push_back({IpAddress::V4(abi::kINADDR_LOOPBACK), 8});
  all.push_back({kLoopback6, 128});
}

base::Result<void> OwnLinks::Apply(int32_t index, const Change& c) {
  base::MutexLock lock(mu_);
  NetInterface* i = Find(index);
  if (i == nullptr) return abi::Errno::kENODEV;
  if (c.name) i->name = *c.name;
  if (c.mtu) i->mtu = *c.mtu;
  if (c.txqlen) i->txqlen = *c.txqlen;
  if (c.hwaddr) i->hwaddr = *c.hwaddr;
  if (c.up) SetUp(i, *c.up);
  return {};
}

base::Result<void> OwnLinks::AddAddress(int32_t index, const NetInterface::Address& a,
                                        bool replace) {
  base::MutexLock lock(mu_);
  NetInterface* i = Find(index);
  if (i == nullptr) return abi::Errno::kENODEV;
  for (NetInterface::Address& own : i->addresses) {
    if (own.addr != a.addr || (a.addr.is_v4() && own.prefix != a.prefix)) continue;
    if (!replace) return abi::Errno::kEEXIST;
    own = a;
    return {};
  }
  if (i->addresses.size() == kMostAddresses) return abi::Errno::kENOBUFS;
  // IPv4's first, as they are shown.
  auto at = i->addresses.end();
  if (a.addr.is_v4()) {
    at = std::find_if(i->addresses.begin(), i->addresses.end(),
                      [](const NetInterface::Address& own) { return !own.addr.is_v4(); });
  }
  i->addresses.insert(at, a);
  changed_.store(true, std::memory_order_relaxed);
  return {};
}

base::Result<void> OwnLinks::RemoveAddress(int32_t index, const NetInterface::Address& a) {
  base::MutexLock lock(mu_);
  NetInterface* i = Find(index);
  if (i == nullptr) return abi::Errno::kENODEV;
  const auto n = std::erase_if(i->addresses, [&](const NetInterface::Address& own) {
    return own.addr == a.addr && own.prefix == a.prefix;
  });
  return n == 0 ? abi::Errno::kEADDRNOTAVAIL : base::Result<void>();
}

base::Result<void> OwnLinks::AddRoute(NetRoute r, uint32_t flags) {
  base::MutexLock lock(mu_);
  if (r.gateway != IpAddress{}) {
    // fib_check_nh(): a gateway is somebody on a link.
    const NetInterface* through = nullptr;
    for (const NetInterface& i : links_) {
      if (r.interface != 0 && r.interface != i.index) continue;
      for (const NetInterface::Address& a : i.addresses) {
        if (IsUp(i) && r.gateway != a.addr && r.gateway.InPrefix(a.addr, a.prefix)) through = &i;
      }
    }
    if (through == nullptr) return abi::Errno::kENETUNREACH;
    r.interface = through->index;
  }
  const NetInterface* i = Find(r.interface);
  if (i == nullptr) return abi::Errno::kENODEV;
  if (!IsUp(*i)) return abi::Errno::kENETDOWN;
  auto same = std::find_if(routes_.begin(), routes_.end(), [&](const NetRoute& o) {
    return o.dst == r.dst && o.prefix == r.prefix && o.metric == r.metric;
  });
  if (same != routes_.end()) {
    if ((flags & abi::kNLM_F_EXCL) != 0) return abi::Errno::kEEXIST;
    if ((flags & abi::kNLM_F_REPLACE) != 0) {
      *same = r;
      return {};
    }
    if ((flags & abi::kNLM_F_APPEND) == 0) return abi::Errno::kEEXIST;
  }
  if ((flags & abi::kNLM_F_CREATE) == 0) return abi::Errno::kENOENT;
  if (routes_.size() == kMostRoutes) return abi::Errno::kENOBUFS;
  routes_.push_back(r);
  changed_.store(true, std::memory_order_relaxed);
  return {};
}

base::Result<void> OwnLinks::RemoveRoute(const NetRoute& r) {
  base::MutexLock lock(mu_);
  auto it = std::find_if(routes_.begin(), routes_.end(), [&](const NetRoute& o) {
    return o.dst == r.dst && o.prefix == r.prefix && (r.metric == 0 || o.metric == r.metric) &&
           (r.interface == 0 || o.interface == r.interface) &&
           (r.gateway == IpAddress{} || o.gateway == r.gateway);
  });
  if (it == routes_.end()) return abi::Errno::kESRCH;
  routes_.erase(it);
  return {};
}

bool OwnLinks::Owns(const IpAddress& to) const {
  if (!changed()) return false;
  base::MutexLock lock(mu_);
  for (const NetInterface& i : links_) {
    for (const NetInterface::Address& a : i.addresses) {
      // lo's IPv4 networks are this host's as a whole.
      const bool net = i.index == kLoopbackIndex && to.is_v4();
      if (a.addr == to || (net && to.InPrefix(a.addr, a.prefix))) return true;
    }
  }
  return false;
}

std::optional<NetRoute> OwnLinks::RouteTo(const IpAddress& to) const {
  if (!changed()) return std::nullopt;
  base::MutexLock lock(mu_);
  std::optional<NetRoute> best;
  for (const NetRoute& r : RoutesLocked()) {
    if (!to.InPrefix(r.dst, r.prefix)) continue;
    const bool better =
        !best || r.prefix > best->prefix || (r.prefix == best->prefix && r.metric < best->metric);
    if (better) best = r;
  }
  if (!best || best->source != IpAddress{}) return best;
  // inet_select_addr(): an address of the link's.
  for (const NetInterface& i : links_) {
    if (i.index != best->interface) continue;
    for (const NetInterface::Address& a : i.addresses) {
      if (a.addr.is_v4() == to.is_v4() && best->source == IpAddress{}) best->source = a.addr;
    }
  }
  return best;
}

}  // namespace sentry
