// NETLINK_ROUTE (rtnetlink(7); net/core/rtnetlink.c, net/ipv4/devinet.c, fib_frontend.c and
// IPv6's): what links, addresses, routes and rules there are.
#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/socket/netlink/netlink_socket.h"
#include "syscalls/abi/capability.h"

namespace sentry {

namespace {
constexpr uint8_t kOperUp = 6, kOperUnknown = 0, kOperDown = 2;
constexpr uint8_t kTableMain = abi::kRT_TABLE_MAIN, kTableLocal = abi::kRT_TABLE_LOCAL;
constexpr uint32_t kForever = UINT32_MAX;

size_t AddressLength(const IpAddress& a) { return a.is_v4() ? 4 : 16; }
const uint8_t* AddressBytes(const IpAddress& a) { return a.is_v4() ? &a.b[12] : a.b.data(); }
uint8_t FamilyOf(const IpAddress& a) { return a.is_v4() ? abi::kAF_INET : abi::kAF_INET6; }
void PutIp(NetlinkMessage* m, int32_t type, const IpAddress& a) {
  m->Attribute(type, AddressBytes(a), AddressLength(a));
}

// rtnl_fill_ifinfo().
void AddLink(const NetInterface& i, const NetCounters& c, NetlinkReply* reply) {
  const bool up = (i.flags & abi::kIFF_UP) != 0, lo = i.index == kLoopbackIndex;
  NetlinkMessage m = reply->Start(abi::kRTM_NEWLINK);
  constexpr uint32_t kLowerUp = 0x10000;
  m.Append(abi::Ifinfomsg{0, 0, i.type, i.index, i.flags | (up ? kLowerUp : 0), 0});
  m.Text(abi::kIFLA_IFNAME, i.name).Value(abi::kIFLA_TXQLEN, i.txqlen);
  // Drivers without a carrier to tell of.
  const uint8_t up_state = lo || !i.kind.empty() ? kOperUnknown : kOperUp;
  m.Value(abi::kIFLA_OPERSTATE, up ? up_state : kOperDown);
  m.Value(abi::kIFLA_LINKMODE, uint8_t{0}).Value(abi::kIFLA_MTU, i.mtu);
  m.Value(abi::kIFLA_GROUP, uint32_t{0}).Value(abi::kIFLA_PROMISCUITY, uint32_t{0});
  m.Value(abi::kIFLA_NUM_TX_QUEUES, uint32_t{1}).Value(abi::kIFLA_NUM_RX_QUEUES, uint32_t{1});
  m.Value(abi::kIFLA_CARRIER, static_cast<uint8_t>(up));
  m.Text(abi::kIFLA_QDISC, up || lo || i.kind.empty() ? "noqueue" : "noop");
  const std::array<uint8_t, 6> all_ones{255, 255, 255, 255, 255, 255};
  m.Value(abi::kIFLA_ADDRESS, i.hwaddr);
  m.Value(abi::kIFLA_BROADCAST, lo ? std::array<uint8_t, 6>{} : all_ones);
  // struct rtnl_link_stats64: packets and bytes received and sent, then errors.
  std::array<uint64_t, 25> stats{};
  if (lo) {
    stats[0] = stats[1] = c.lo_packets.load(std::memory_order_relaxed);
    stats[2] = stats[3] = c.lo_bytes.load(std::memory_order_relaxed);
  }
  m.Value(abi::kIFLA_STATS64, stats);
  if (!i.kind.empty()) {
    m.Nest(abi::kIFLA_LINKINFO, [&] { m.Text(abi::kIFLA_INFO_KIND, i.kind); });
  }
  reply->Add(std::move(m));
}

base::Result<void> GetLink(NetStack& stack, const NetlinkRequest& r, NetlinkReply* reply) {
  const auto head = r.Head<abi::Ifinfomsg>();
  const std::string_view name = NameIn(r.Find(sizeof head, abi::kIFLA_IFNAME));
  bool found = false;
  for (const NetInterface& i : stack.Interfaces()) {
    if (!r.dump() && (head.index > 0 ? i.index != head.index : i.name != name)) continue;
    AddLink(i, stack.counters, reply);
    found = true;
  }
  if (!found && !r.dump()) return abi::Errno::kENODEV;
  return {};
}

// inet_fill_ifaddr(), inet6_fill_ifaddr().
base::Result<void> GetAddr(NetStack& stack, const NetlinkRequest& r, NetlinkReply* reply) {
  if (!r.dump()) return abi::Errno::kEOPNOTSUPP;
  const auto head = r.Head<abi::Ifaddrmsg>();
  // IPv4 first, as Linux asks one family after the other.
  for (const uint8_t family : {uint8_t{abi::kAF_INET}, uint8_t{abi::kAF_INET6}}) {
    if (head.family != 0 && head.family != family) continue;
    for (const NetInterface& i : stack.Interfaces()) {
      for (const NetInterface::Address& a : i.addresses) {
        if (FamilyOf(a.addr) != family) continue;
        const uint8_t scope = a.addr.is_loopback()     ? abi::kRT_SCOPE_HOST
                              : a.addr.is_link_local() ? abi::kRT_SCOPE_LINK
                                                       : abi::kRT_SCOPE_UNIVERSE;
        NetlinkMessage m = reply->Start(abi::kRTM_NEWADDR);
        m.Append(abi::Ifaddrmsg{family, a.prefix, abi::kIFA_F_PERMANENT, scope,
                                static_cast<uint32_t>(i.index)});
        PutIp(&m, abi::kIFA_ADDRESS, a.addr);
        if (family == abi::kAF_INET) {
          PutIp(&m, abi::kIFA_LOCAL, a.addr);
          if (a.broadcast.is_v4()) PutIp(&m, abi::kIFA_BROADCAST, a.broadcast);
          m.Text(abi::kIFA_LABEL, i.name);
        }
        m.Value(abi::kIFA_FLAGS, static_cast<uint32_t>(abi::kIFA_F_PERMANENT));
        m.Value(abi::kIFA_CACHEINFO, std::array<uint32_t, 4>{kForever, kForever, 0, 0});
        reply->Add(std::move(m));
      }
    }
  }
  return {};
}

struct Route {
  NetRoute r;
  uint8_t table, type;
};

// The table local is made of the addresses (fib_add_ifaddr()).
std::vector<Route> AllRoutes(NetStack& stack) {
  std::vector<Route> all;
  for (NetRoute& r : stack.Routes()) all.push_back({std::move(r), kTableMain, abi::kRTN_UNICAST});
  for (const NetInterface& i : stack.Interfaces()) {
    for (const NetInterface::Address& a : i.addresses) {
      NetRoute r;
      r.dst = r.source = a.addr;
      r.prefix = a.addr.is_v4() ? 32 : 128;
      r.interface = i.index;
      r.scope = abi::kRT_SCOPE_HOST;
      if (a.addr.is_v4() && a.addr.is_loopback()) {
        NetRoute net = r;
        net.dst = IpAddress::V4(abi::kINADDR_LOOPBACK & 0xff000000);
        net.prefix = a.prefix;
        all.push_back({net, kTableLocal, abi::kRTN_LOCAL});
      }
      all.push_back({r, kTableLocal, abi::kRTN_LOCAL});
    }
  }
  return all;
}

// fib_dump_info(), rt6_fill_node().
void AddRoute(const Route& x, NetlinkReply* reply, const IpAddress* asked) {
  const NetRoute& r = x.r;
  NetlinkMessage m = reply->Start(abi::kRTM_NEWROUTE);
  const auto full = static_cast<uint8_t>(asked != nullptr ? AddressLength(*asked) * 8 : r.prefix);
  m.Append(abi::Rtmsg{FamilyOf(r.dst), full, 0, 0, x.table, r.protocol, r.scope, x.type, 0});
  m.Value(abi::kRTA_TABLE, uint32_t{x.table});
  if (asked != nullptr) {
    PutIp(&m, abi::kRTA_DST, *asked);
  } else if (r.prefix != 0) {
    PutIp(&m, abi::kRTA_DST, r.dst);
  }
  if (r.metric != 0) m.Value(abi::kRTA_PRIORITY, r.metric);
  if (r.source != IpAddress{}) PutIp(&m, abi::kRTA_PREFSRC, r.source);
  if (r.gateway != IpAddress{}) PutIp(&m, abi::kRTA_GATEWAY, r.gateway);
  m.Value(abi::kRTA_OIF, r.interface);
  reply->Add(std::move(m));
}

base::Result<void> GetRoute(NetStack& stack, const NetlinkRequest& r, NetlinkReply* reply) {
  const auto head = r.Head<abi::Rtmsg>();
  std::vector<Route> all = AllRoutes(stack);
  if (r.dump()) {
    uint32_t table = head.table;
    if (std::span<const uint8_t> t = r.Find(sizeof head, abi::kRTA_TABLE); t.size() >= 4) {
      memcpy(&table, t.data(), sizeof table);
    }
    for (const Route& x : all) {
      if (head.family != 0 && FamilyOf(x.r.dst) != head.family) continue;
      if (table != 0 && table != x.table) continue;
      AddRoute(x, reply, nullptr);
    }
    return {};
  }
  // inet_rtm_getroute(): the way to one destination.
  const std::span<const uint8_t> dst = r.Find(sizeof head, abi::kRTA_DST);
  IpAddress to;
  if (head.family == abi::kAF_INET && dst.size() == 4) {
    to = IpAddress::V4(0);
    std::copy(dst.begin(), dst.end(), to.b.begin() + 12);
  } else if (head.family == abi::kAF_INET6 && dst.size() == 16) {
    std::copy(dst.begin(), dst.end(), to.b.begin());
  } else {
    return abi::Errno::kEINVAL;
  }
  const Route* best = nullptr;
  for (const Route& x : all) {
    if (!to.InPrefix(x.r.dst, x.r.prefix)) continue;
    if (best == nullptr || x.table > best->table ||
        (x.table == best->table && x.r.prefix > best->r.prefix)) {
      best = &x;
    }
  }
  if (best == nullptr) return abi::Errno::kENETUNREACH;
  AddRoute(*best, reply, &to);
  return {};
}

// fib_nl_fill_rule(): the rules that every namespace starts with.
base::Result<void> GetRule(const NetlinkRequest& r, NetlinkReply* reply) {
  const auto head = r.Head<abi::Rtmsg>();
  struct Rule {
    uint8_t family;
    uint32_t priority;
    uint8_t table;
  };
  constexpr uint8_t kTableDefault = 253, kActionTable = 1;
  const Rule rules[] = {{abi::kAF_INET, 0, kTableLocal},
                        {abi::kAF_INET, 32766, kTableMain},
                        {abi::kAF_INET, 32767, kTableDefault},
                        {abi::kAF_INET6, 0, kTableLocal},
                        {abi::kAF_INET6, 32766, kTableMain}};
  constexpr int32_t kFraPriority = 6, kFraTable = 15;
  for (const Rule& x : rules) {
    if (head.family != 0 && head.family != x.family) continue;
    NetlinkMessage m = reply->Start(abi::kRTM_NEWRULE);
    m.Append(abi::Rtmsg{x.family, 0, 0, 0, x.table, 0, 0, kActionTable, 0});
    m.Value(kFraTable, uint32_t{x.table});
    if (x.priority != 0) m.Value(kFraPriority, x.priority);
    reply->Add(std::move(m));
  }
  return {};
}

}  // namespace

// rtnetlink_rcv_msg().
base::Result<void> AnswerRoute(Task& task, NetStack& stack, const NetlinkRequest& r,
                               NetlinkReply* reply) {
  // Message types come in fours: new, delete, get, set.
  const bool get = (r.header.type & 3) == 2;
  if (!get && !task.creds().HasIn(*stack.owner(), abi::kCAP_NET_ADMIN)) return abi::Errno::kEPERM;
  switch (r.header.type) {
    case abi::kRTM_GETLINK:
      return GetLink(stack, r, reply);
    case abi::kRTM_GETADDR:
      return GetAddr(stack, r, reply);
    case abi::kRTM_GETROUTE:
      return GetRoute(stack, r, reply);
    case abi::kRTM_GETRULE:
      return GetRule(r, reply);
    case abi::kRTM_NEWLINK:
    case abi::kRTM_SETLINK:
    case abi::kRTM_DELLINK:
    case abi::kRTM_NEWADDR:
    case abi::kRTM_DELADDR:
    case abi::kRTM_NEWROUTE:
    case abi::kRTM_DELROUTE:
      return ChangeRoute(stack, r);
    case abi::kRTM_GETNEIGH:
    case abi::kRTM_GETQDISC:
      // There are none.
      return r.dump() ? base::Result<void>() : abi::Errno::kENOENT;
    default:
      return abi::Errno::kEOPNOTSUPP;
  }
}

}  // namespace sentry
