// NETLINK_ROUTE's requests that change something (net/core/rtnetlink.c, net/ipv4/devinet.c,
// fib_frontend.c and IPv6's): what this kernel has itself, lo and dummies. Interfaces of the
// outside can be seen, not changed: EOPNOTSUPP.
#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/socket/netlink/netlink_socket.h"

namespace sentry {

namespace {

base::Result<uint32_t> Number(std::span<const uint8_t> attribute) {
  uint32_t v;
  if (attribute.size() < sizeof v) return abi::Errno::kERANGE;
  memcpy(&v, attribute.data(), sizeof v);
  return v;
}

// An IPv4 or IPv6 address of as many bytes as it has.
base::Result<IpAddress> Ip(std::span<const uint8_t> attribute, bool v4) {
  IpAddress a = v4 ? IpAddress::V4(0) : IpAddress{};
  const size_t size = v4 ? 4 : 16;
  if (attribute.size() != size) return abi::Errno::kEINVAL;
  std::copy(attribute.begin(), attribute.end(), a.b.end() - static_cast<long>(size));
  return a;
}

// dev_valid_name().
bool ValidName(std::string_view name) {
  if (name.empty() || name.size() >= abi::kIFNAMSIZ || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == ':' || c == ' ' || (c >= '\t' && c <= '\r');
  });
}

// dev_alloc_name(): the first number that makes the name free. ENFILE.
base::Result<std::string> FreeName(NetStack& stack, std::string_view pattern) {
  const size_t at = pattern.find("%d");
  if (at == std::string_view::npos) return std::string(pattern);
  if (pattern.find('%', at + 1) != std::string_view::npos) return abi::Errno::kEINVAL;
  constexpr int kMost = 1024;
  for (int i = 0; i < kMost; i++) {
    std::string name(pattern.substr(0, at));
    name += std::to_string(i);
    name += pattern.substr(at + 2);
    if (stack.InterfaceIndex(name) == 0) return name;
  }
  return abi::Errno::kENFILE;
}

// Whether a link is one that can be changed. ENODEV; EOPNOTSUPP: the outside's.
base::Result<void> MustBeOwn(NetStack& stack, int32_t index) {
  if (stack.links().Has(index)) return {};
  const std::vector<NetInterface> all = stack.Interfaces();
  const bool known =
      std::any_of(all.begin(), all.end(), [&](const NetInterface& i) { return i.index == index; });
  return known ? abi::Errno::kEOPNOTSUPP : abi::Errno::kENODEV;
}

// What the request says about a link's state. ERANGE, EINVAL.
base::Result<OwnLinks::Change> ReadChange(const NetlinkRequest& r) {
  const auto head = r.Head<abi::Ifinfomsg>();
  OwnLinks::Change c;
  if (std::span<const uint8_t> a = r.Find(sizeof head, abi::kIFLA_MTU); a.data() != nullptr) {
    c.mtu = TRY(Number(a));
  }
  if (std::span<const uint8_t> a = r.Find(sizeof head, abi::kIFLA_TXQLEN); a.data() != nullptr) {
    c.txqlen = TRY(Number(a));
  }
  if (std::span<const uint8_t> a = r.Find(sizeof head, abi::kIFLA_ADDRESS); a.data() != nullptr) {
    std::array<uint8_t, 6> mac;
    if (a.size() < mac.size()) return abi::Errno::kEINVAL;
    std::copy(a.begin(), a.begin() + mac.size(), mac.begin());
    c.hwaddr = mac;
  }
  if ((head.change & static_cast<uint32_t>(abi::kIFF_UP)) != 0) {
    c.up = (head.flags & static_cast<uint32_t>(abi::kIFF_UP)) != 0;
  }
  return c;
}

// rtnl_newlink_create(). Kinds of links that can be made: dummy.
base::Result<void> MakeLink(NetStack& stack, const NetlinkRequest& r, std::string_view name) {
  if ((r.header.flags & abi::kNLM_F_CREATE) == 0) return abi::Errno::kENODEV;
  constexpr size_t kHead = sizeof(abi::Ifinfomsg);
  const std::span<const uint8_t> info = r.Find(kHead, abi::kIFLA_LINKINFO);
  if (NameIn(NetlinkRequest::FindIn(info, 0, abi::kIFLA_INFO_KIND)) != "dummy") {
    return abi::Errno::kEOPNOTSUPP;
  }
  const OwnLinks::Change change = TRY(ReadChange(r));
  std::string free = TRY(FreeName(stack, name.empty() ? "dummy%d" : name));
  if (!ValidName(free)) return abi::Errno::kEINVAL;
  int32_t last = 0;
  for (const NetInterface& i : stack.Interfaces()) last = std::max(last, i.index);
  return stack.links().MakeDummy(std::move(free), last + 1, change);
}

// The link that a request is about; 0: none of that name. EINVAL, ENODEV, EOPNOTSUPP.
base::Result<int32_t> FindLink(NetStack& stack, const NetlinkRequest& r) {
  const auto head = r.Head<abi::Ifinfomsg>();
  const std::string_view name = NameIn(r.Find(sizeof head, abi::kIFLA_IFNAME));
  int32_t index = head.index;
  if (index < 0) return abi::Errno::kEINVAL;
  if (index == 0 && !name.empty()) index = stack.InterfaceIndex(name);
  if (index != 0) TRY(MustBeOwn(stack, index));
  return index;
}

// __rtnl_newlink(), rtnl_setlink().
base::Result<void> SetLink(NetStack& stack, const NetlinkRequest& r) {
  const auto head = r.Head<abi::Ifinfomsg>();
  const std::span<const uint8_t> name_bytes = r.Find(sizeof head, abi::kIFLA_IFNAME);
  const std::string_view name = NameIn(name_bytes);
  if (name.size() >= abi::kIFNAMSIZ) return abi::Errno::kERANGE;
  const base::Result<int32_t> found = FindLink(stack, r);
  const bool make = r.header.type == abi::kRTM_NEWLINK;
  const bool missing = (found.ok() && *found == 0) || found.is(abi::Errno::kENODEV);
  if (make && missing && head.index == 0) return MakeLink(stack, r, name);
  if (make && !missing && (r.header.flags & abi::kNLM_F_EXCL) != 0) return abi::Errno::kEEXIST;
  if (!found.ok()) return found.error();
  const int32_t index = *found;
  if (index == 0) return name.empty() ? abi::Errno::kEINVAL : abi::Errno::kENODEV;
  OwnLinks::Change change = TRY(ReadChange(r));
  // do_setlink(): a name beside an index is a new one.
  if (head.index != 0 && name_bytes.data() != nullptr && stack.InterfaceIndex(name) != index) {
    if (!ValidName(name)) return abi::Errno::kEINVAL;
    if (stack.InterfaceIndex(name) != 0) return abi::Errno::kEEXIST;
    if (index == kLoopbackIndex) return abi::Errno::kEOPNOTSUPP;
    change.name = std::string(name);
  }
  return stack.links().Apply(index, change);
}

// rtnl_dellink().
base::Result<void> RemoveLink(NetStack& stack, const NetlinkRequest& r) {
  const int32_t index = TRY(FindLink(stack, r));
  if (index != 0) return stack.links().Remove(index);
  const bool named = r.Find(sizeof(abi::Ifinfomsg), abi::kIFLA_IFNAME).data() != nullptr;
  return named ? abi::Errno::kENODEV : abi::Errno::kEINVAL;
}

// inet_rtm_newaddr(), inet6_rtm_newaddr() and their opposites.
base::Result<void> ChangeAddress(NetStack& stack, const NetlinkRequest& r) {
  const auto head = r.Head<abi::Ifaddrmsg>();
  const bool v4 = head.family == abi::kAF_INET;
  if (!v4 && head.family != abi::kAF_INET6) return abi::Errno::kEOPNOTSUPP;
  std::span<const uint8_t> bytes = r.Find(sizeof head, abi::kIFA_LOCAL);
  if (bytes.data() == nullptr) bytes = r.Find(sizeof head, abi::kIFA_ADDRESS);
  NetInterface::Address a;
  a.addr = TRY(Ip(bytes, v4));
  a.prefix = head.prefixlen;
  if (a.prefix > (v4 ? 32 : 128)) return abi::Errno::kEINVAL;
  const std::span<const uint8_t> broadcast = r.Find(sizeof head, abi::kIFA_BROADCAST);
  if (v4 && broadcast.data() != nullptr) a.broadcast = TRY(Ip(broadcast, v4));
  const auto index = static_cast<int32_t>(head.index);
  TRY(MustBeOwn(stack, index));
  if (r.header.type == abi::kRTM_DELADDR) return stack.links().RemoveAddress(index, a);
  if (!v4 && (a.addr.is_any() || a.addr.is_multicast())) return abi::Errno::kEADDRNOTAVAIL;
  const bool replace = (r.header.flags & abi::kNLM_F_REPLACE) != 0;
  return stack.links().AddAddress(index, a, replace);
}

// inet_rtm_newroute(), inet6_rtm_newroute() and their opposites: of the table main, to one place.
base::Result<void> ChangeOneRoute(NetStack& stack, const NetlinkRequest& r) {
  const auto head = r.Head<abi::Rtmsg>();
  const bool v4 = head.family == abi::kAF_INET, remove = r.header.type == abi::kRTM_DELROUTE;
  if (!v4 && head.family != abi::kAF_INET6) return abi::Errno::kEOPNOTSUPP;
  if (head.dst_len > (v4 ? 32 : 128)) return abi::Errno::kEINVAL;
  auto find = [&](int32_t type) { return r.Find(sizeof head, static_cast<uint16_t>(type)); };
  uint32_t table = head.table;
  if (find(abi::kRTA_TABLE).data() != nullptr) table = TRY(Number(find(abi::kRTA_TABLE)));
  const bool plain = head.type == abi::kRTN_UNICAST || (remove && head.type == 0);
  if (table != static_cast<uint32_t>(abi::kRT_TABLE_MAIN) || !plain || head.src_len != 0 ||
      find(abi::kRTA_MULTIPATH).data() != nullptr) {
    return abi::Errno::kEOPNOTSUPP;
  }
  NetRoute route;
  route.dst = v4 ? IpAddress::V4(0) : IpAddress{};
  route.prefix = head.dst_len;
  route.protocol = head.protocol;
  route.scope = head.scope;
  if (find(abi::kRTA_DST).data() != nullptr) route.dst = TRY(Ip(find(abi::kRTA_DST), v4));
  // fib_valid_key_len().
  for (size_t bit = route.prefix + (v4 ? 96u : 0u); bit < 128; bit++) {
    if ((route.dst.b[bit / 8] & 0x80 >> bit % 8) != 0) return abi::Errno::kEINVAL;
  }
  if (find(abi::kRTA_GATEWAY).data() != nullptr) {
    route.gateway = TRY(Ip(find(abi::kRTA_GATEWAY), v4));
  }
  if (find(abi::kRTA_PREFSRC).data() != nullptr) {
    route.source = TRY(Ip(find(abi::kRTA_PREFSRC), v4));
    if (!remove && !stack.IsOwn(route.source)) return abi::Errno::kEINVAL;
  }
  if (find(abi::kRTA_PRIORITY).data() != nullptr) {
    route.metric = TRY(Number(find(abi::kRTA_PRIORITY)));
  }
  if (find(abi::kRTA_OIF).data() != nullptr) {
    route.interface = static_cast<int32_t>(TRY(Number(find(abi::kRTA_OIF))));
  }
  if (remove) return stack.links().RemoveRoute(route);
  constexpr uint32_t kUserMetric6 = 1024;  // IP6_RT_PRIO_USER
  if (!v4 && route.metric == 0) route.metric = kUserMetric6;
  if (route.interface != 0) TRY(MustBeOwn(stack, route.interface));
  return stack.links().AddRoute(route, r.header.flags);
}

}  // namespace

base::Result<void> ChangeRoute(NetStack& stack, const NetlinkRequest& r) {
  switch (r.header.type) {
    case abi::kRTM_NEWLINK:
    case abi::kRTM_SETLINK:
      return SetLink(stack, r);
    case abi::kRTM_DELLINK:
      return RemoveLink(stack, r);
    case abi::kRTM_NEWADDR:
    case abi::kRTM_DELADDR:
      return ChangeAddress(stack, r);
    default:
      return ChangeOneRoute(stack, r);
  }
}

}  // namespace sentry
