#include "netgofer/server/sockets.h"

#include <linux/if_packet.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

#include "platform/host/net_calls.h"

namespace netgofer {
namespace {

struct OptionRow {
  int level, name;
  size_t size;  // the value's, exactly
};

constexpr size_t kInt = sizeof(int);
// Nothing that chooses other interfaces, marks, programs, or privileges.
constexpr OptionRow kOptions[] = {
    {SOL_SOCKET, SO_REUSEADDR, kInt},
    {SOL_SOCKET, SO_REUSEPORT, kInt},
    {SOL_SOCKET, SO_KEEPALIVE, kInt},
    {SOL_SOCKET, SO_BROADCAST, kInt},
    {SOL_SOCKET, SO_OOBINLINE, kInt},
    {SOL_SOCKET, SO_SNDBUF, kInt},
    {SOL_SOCKET, SO_RCVBUF, kInt},
    {SOL_SOCKET, SO_RCVLOWAT, kInt},
    {SOL_SOCKET, SO_LINGER, sizeof(linger)},
    {SOL_SOCKET, SO_TIMESTAMP, kInt},
    {SOL_SOCKET, SO_TIMESTAMPNS, kInt},
    {IPPROTO_TCP, TCP_NODELAY, kInt},
    {IPPROTO_TCP, TCP_CORK, kInt},
    {IPPROTO_TCP, TCP_KEEPIDLE, kInt},
    {IPPROTO_TCP, TCP_KEEPINTVL, kInt},
    {IPPROTO_TCP, TCP_KEEPCNT, kInt},
    {IPPROTO_TCP, TCP_SYNCNT, kInt},
    {IPPROTO_TCP, TCP_LINGER2, kInt},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, kInt},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, kInt},
    {IPPROTO_TCP, TCP_QUICKACK, kInt},
    {IPPROTO_TCP, TCP_MAXSEG, kInt},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, kInt},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, kInt},
    {IPPROTO_IP, IP_TOS, kInt},
    {IPPROTO_IP, IP_TTL, kInt},
    {IPPROTO_IP, IP_MTU_DISCOVER, kInt},
    {IPPROTO_IP, IP_RECVERR, kInt},
    {IPPROTO_IP, IP_PKTINFO, kInt},
    {IPPROTO_IP, IP_RECVTTL, kInt},
    {IPPROTO_IP, IP_RECVTOS, kInt},
    {IPPROTO_IP, IP_MULTICAST_TTL, kInt},
    {IPPROTO_IP, IP_MULTICAST_LOOP, kInt},
    {IPPROTO_IP, IP_ADD_MEMBERSHIP, sizeof(ip_mreqn)},
    {IPPROTO_IP, IP_DROP_MEMBERSHIP, sizeof(ip_mreqn)},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, kInt},
    {IPPROTO_IPV6, IPV6_TCLASS, kInt},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, kInt},
    {IPPROTO_IPV6, IPV6_RECVERR, kInt},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, kInt},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, kInt},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, kInt},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, kInt},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, kInt},
    {IPPROTO_IPV6, IPV6_JOIN_GROUP, sizeof(ipv6_mreq)},
    {IPPROTO_IPV6, IPV6_LEAVE_GROUP, sizeof(ipv6_mreq)},
    {IPPROTO_IPV6, IPV6_2292PKTINFO, kInt},
    {IPPROTO_IPV6, IPV6_2292HOPLIMIT, kInt},
    {SOL_PACKET, PACKET_ADD_MEMBERSHIP, sizeof(packet_mreq)},
    {SOL_PACKET, PACKET_DROP_MEMBERSHIP, sizeof(packet_mreq)},
};

}  // namespace

SocketAddress::SocketAddress(const Endpoint& e, int family) : v6{} {
  if (family == AF_INET) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(e.port);
    // The unspecified address is the same in both families.
    if (e.address.is_v4()) std::memcpy(&v4.sin_addr, e.address.b.data() + 12, 4);
    size = sizeof v4;
    return;
  }
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(e.port);
  v6.sin6_scope_id = e.scope;
  if (!e.address.is_any()) std::memcpy(&v6.sin6_addr, e.address.b.data(), 16);
  size = sizeof v6;
}

Endpoint SocketAddress::ToEndpoint() const {
  Endpoint e;
  if (any.sa_family == AF_INET) {
    e.address = Address::V4(ntohl(v4.sin_addr.s_addr));
    e.port = ntohs(v4.sin_port);
  } else if (any.sa_family == AF_INET6) {
    std::memcpy(e.address.b.data(), &v6.sin6_addr, 16);
    e.port = ntohs(v6.sin6_port);
    e.scope = v6.sin6_scope_id;
  }
  return e;
}

int MakeSocket(int family, int type, int protocol, base::UniqueFd* out) {
  const int fd = host::Socket(family, type, protocol);
  out->reset(fd < 0 ? -1 : fd);
  return fd < 0 ? fd : 0;
}

int BindTo(int fd, const Endpoint& local, int family) {
  const SocketAddress a(local, family);
  return host::Bind(fd, &a.any, a.size);
}

int BindToLink(int fd, uint16_t ethertype, int interface) {
  sockaddr_ll a{};
  a.sll_family = AF_PACKET;
  a.sll_protocol = htons(ethertype);
  a.sll_ifindex = interface;
  return host::Bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a);
}

int ConnectTo(int fd, const Endpoint& remote, int family) {
  const SocketAddress a(remote, family);
  const int r = host::Connect(fd, &a.any, a.size);
  return r == -EINPROGRESS ? 0 : r;
}

Endpoint LocalOf(int fd) {
  SocketAddress a;
  return host::Getsockname(fd, &a.any, &a.size) < 0 ? Endpoint{} : a.ToEndpoint();
}

void Disconnect(int fd) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  host::Connect(fd, &none, sizeof none);
}

void StopSending(int fd) {
  // ENOTCONN for a socket without a peer, after having done it (inet_shutdown).
  host::Shutdown(fd, SHUT_WR);
}

void SetInt(int fd, int level, int name, int value) {
  host::Setsockopt(fd, level, name, &value, sizeof value);
}

bool SetGuestOption(int fd, int32_t level, int32_t name, std::span<const uint8_t> value) {
  for (const OptionRow& row : kOptions) {
    if (row.level != level || row.name != name || row.size != value.size()) continue;
    if (level == SOL_SOCKET && name == SO_LINGER) {
      // A close that waits would stop everybody's; one that resets doesn't wait.
      linger l;
      std::memcpy(&l, value.data(), sizeof l);
      if (l.l_onoff != 0 && l.l_linger != 0) return false;
    }
    return host::Setsockopt(fd, level, name, value.data(), static_cast<socklen_t>(row.size)) == 0;
  }
  return false;
}

}  // namespace netgofer
