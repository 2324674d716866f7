// What `ip addr` and `ip route` would show here, asked of the host by rtnetlink(7).
#include <linux/if_arp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include "netgofer/server/server.h"
#include "netgofer/server/sockets.h"
#include "platform/host/net_calls.h"

namespace netgofer {
namespace {

struct Interface {
  wire::InterfaceHead head;
  std::string name;
  std::vector<wire::InterfaceAddress> addresses;
};

// The attributes of a message, by type; the last of each.
class Attributes {
 public:
  Attributes(const rtattr* a, int size) {
    for (; RTA_OK(a, size); a = RTA_NEXT(a, size)) {
      const unsigned type = a->rta_type & NLA_TYPE_MASK;
      if (type < kMax) found_[type] = a;
    }
  }
  template <typename T>
  bool Get(unsigned type, T* out) const {
    if (type >= kMax || found_[type] == nullptr || RTA_PAYLOAD(found_[type]) < sizeof(T)) {
      return false;
    }
    std::memcpy(out, RTA_DATA(found_[type]), sizeof(T));
    return true;
  }
  bool GetAddress(unsigned type, int family, Address* out) const {
    if (family == AF_INET6) return Get(type, &out->b);
    uint32_t v4;
    if (!Get(type, &v4)) return false;
    *out = Address::V4(ntohl(v4));
    return true;
  }
  std::string String(unsigned type) const {
    if (type >= kMax || found_[type] == nullptr) return "";
    const char* s = static_cast<const char*>(RTA_DATA(found_[type]));
    return std::string(s, strnlen(s, RTA_PAYLOAD(found_[type])));
  }

 private:
  static constexpr unsigned kMax = 64;
  const rtattr* found_[kMax] = {};
};

// 0 or -errno; `each` gets every message of the dump.
int Dump(int fd, uint16_t type, const std::function<void(const nlmsghdr&)>& each) {
  struct {
    nlmsghdr header;
    rtgenmsg body;
  } request{};
  request.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(rtgenmsg)),
                    .nlmsg_type = type,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP};
  long r = host::SendWithFds(fd, &request, request.header.nlmsg_len, {}, 0);
  if (r < 0) return static_cast<int>(r);
  // The host makes the answer while it is read: never a wait.
  alignas(nlmsghdr) static uint8_t buffer[64 << 10];
  for (;;) {
    r = host::RecvWithFds(fd, buffer, sizeof buffer, {}, nullptr, MSG_DONTWAIT);
    if (r == -EINTR) continue;
    if (r <= 0) return r == 0 ? -EIO : static_cast<int>(r);
    auto left = static_cast<unsigned>(r);
    for (auto* h = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(h, left);
         h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_type == NLMSG_DONE) return 0;
      if (h->nlmsg_type == NLMSG_ERROR) return -EIO;
      each(*h);
    }
  }
}

template <typename Body>
const Body* BodyOf(const nlmsghdr& h) {
  if (h.nlmsg_len < NLMSG_LENGTH(sizeof(Body))) return nullptr;
  return static_cast<const Body*>(NLMSG_DATA(&h));
}

template <typename Body>
Attributes AttributesOf(const nlmsghdr& h, const Body* body) {
  const auto* first = reinterpret_cast<const rtattr*>(reinterpret_cast<const uint8_t*>(body) +
                                                      NLMSG_ALIGN(sizeof(Body)));
  return {first, static_cast<int>(h.nlmsg_len - NLMSG_LENGTH(sizeof(Body)))};
}

void AddLink(const nlmsghdr& h, std::vector<Interface>* out) {
  const auto* m = BodyOf<ifinfomsg>(h);
  if (m == nullptr || (m->ifi_flags & IFF_LOOPBACK) != 0 || out->size() == wire::kMaxInterfaces) {
    return;
  }
  const Attributes a = AttributesOf(h, m);
  Interface i{};
  i.head.index = m->ifi_index;
  i.head.flags = m->ifi_flags;
  i.head.type = m->ifi_type;
  i.name = a.String(IFLA_IFNAME);
  a.Get(IFLA_MTU, &i.head.mtu);
  a.Get(IFLA_TXQLEN, &i.head.txqlen);
  a.Get(IFLA_ADDRESS, &i.head.hwaddr);
  out->push_back(std::move(i));
}

void AddAddress(const nlmsghdr& h, std::vector<Interface>* out) {
  const auto* m = BodyOf<ifaddrmsg>(h);
  if (m == nullptr) return;
  auto i = std::find_if(out->begin(), out->end(), [&](const Interface& n) {
    return n.head.index == static_cast<int32_t>(m->ifa_index);
  });
  if (i == out->end() || i->addresses.size() == wire::kMaxAddresses) return;
  const Attributes a = AttributesOf(h, m);
  wire::InterfaceAddress address{};
  address.prefix = m->ifa_prefixlen;
  // On point-to-point links IFA_ADDRESS is the peer's.
  if (!a.GetAddress(IFA_LOCAL, m->ifa_family, &address.address) &&
      !a.GetAddress(IFA_ADDRESS, m->ifa_family, &address.address)) {
    return;
  }
  a.GetAddress(IFA_BROADCAST, m->ifa_family, &address.broadcast);
  i->addresses.push_back(address);
}

void AddRoute(const nlmsghdr& h, const std::vector<Interface>& interfaces,
              std::vector<wire::Route>* out) {
  const auto* m = BodyOf<rtmsg>(h);
  if (m == nullptr || m->rtm_table != RT_TABLE_MAIN || m->rtm_type != RTN_UNICAST ||
      out->size() == wire::kMaxRoutes) {
    return;
  }
  const Attributes a = AttributesOf(h, m);
  wire::Route r{};
  if (m->rtm_family == AF_INET) r.destination = Address::V4(0);
  a.GetAddress(RTA_DST, m->rtm_family, &r.destination);
  a.GetAddress(RTA_GATEWAY, m->rtm_family, &r.gateway);
  a.GetAddress(RTA_PREFSRC, m->rtm_family, &r.source);
  a.Get(RTA_OIF, &r.interface);
  a.Get(RTA_PRIORITY, &r.metric);
  r.prefix = m->rtm_dst_len;
  r.protocol = m->rtm_protocol;
  r.scope = m->rtm_scope;
  const bool shown = std::any_of(interfaces.begin(), interfaces.end(),
                                 [&](const Interface& i) { return i.head.index == r.interface; });
  if (shown) out->push_back(r);
}

}  // namespace

int DescribeNetwork(wire::Writer& out, Loopback loopback) {
  base::UniqueFd fd;
  if (const int r = MakeSocket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &fd); r < 0) return r;
  std::vector<Interface> interfaces;
  std::vector<wire::Route> routes;
  int r = Dump(fd.get(), RTM_GETLINK, [&](const nlmsghdr& h) { AddLink(h, &interfaces); });
  if (r == 0) {
    r = Dump(fd.get(), RTM_GETADDR, [&](const nlmsghdr& h) { AddAddress(h, &interfaces); });
  }
  if (r == 0) {
    r = Dump(fd.get(), RTM_GETROUTE, [&](const nlmsghdr& h) { AddRoute(h, interfaces, &routes); });
  }
  if (r < 0) return r;
  uint32_t flags = 0;
  if (loopback == Loopback::kAll) flags = wire::kLoopback;
  if (loopback == Loopback::kResolvers) flags = wire::kLoopbackDns;
  out.Put(flags);
  out.Put(static_cast<uint32_t>(interfaces.size()));
  for (Interface& i : interfaces) {
    i.head.addresses = static_cast<uint16_t>(i.addresses.size());
    out.Put(i.head);
    out.String(i.name.substr(0, wire::kMaxName));
    for (const wire::InterfaceAddress& a : i.addresses) out.Put(a);
  }
  out.Put(static_cast<uint32_t>(routes.size()));
  for (const wire::Route& route : routes) out.Put(route);
  return 0;
}

}  // namespace netgofer
