// Options and flags of inet sockets at their edges: levels that are others', values of odd lengths,
// addresses that say too little, what flags mean to each protocol.
#include <linux/net_tstamp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>

#include <vector>

#include "tests/syscalls/inet_util.h"

#ifndef SO_TXREHASH
#define SO_TXREHASH 74
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif

namespace {

Fd Tcp4() { return Fd(socket(AF_INET, SOCK_STREAM, 0)); }
Fd Tcp6() { return Fd(socket(AF_INET6, SOCK_STREAM, 0)); }
Fd Udp4() { return Fd(socket(AF_INET, SOCK_DGRAM, 0)); }
Fd Udp6() { return Fd(socket(AF_INET6, SOCK_DGRAM, 0)); }

// getsockopt(2) with room for n bytes; the length that it tells.
int LengthOf(int fd, int level, int name, socklen_t n) {
  std::vector<char> value(n);
  const int r = getsockopt(fd, level, name, value.data(), &n);
  return r < 0 ? -errno : static_cast<int>(n);
}
int SetBytes(int fd, int level, int name, const std::string& value) {
  return setsockopt(fd, level, name, value.data(), static_cast<socklen_t>(value.size()));
}

TEST(InetOptions, LevelsOfOthers) {
  COVERS("getsockopt", "setsockopt");
  Fd t4 = Tcp4(), t6 = Tcp6(), u4 = Udp4(), u6 = Udp6();
  EXPECT_EQ(LengthOf(t4, IPPROTO_IPV6, IPV6_V6ONLY, 4), -EOPNOTSUPP);
  EXPECT_EQ(LengthOf(t4, IPPROTO_UDP, UDP_CORK, 4), -EOPNOTSUPP);
  EXPECT_EQ(LengthOf(u4, IPPROTO_TCP, TCP_NODELAY, 4), -EOPNOTSUPP);
  EXPECT_EQ(LengthOf(t6, IPPROTO_UDP, UDP_CORK, 4), -ENOPROTOOPT);
  EXPECT_EQ(LengthOf(u6, IPPROTO_TCP, TCP_NODELAY, 4), -ENOPROTOOPT);
  EXPECT_ERR(Set(t4, IPPROTO_IPV6, IPV6_V6ONLY, 1), ENOPROTOOPT);
  EXPECT_ERR(Set(u4, IPPROTO_TCP, TCP_NODELAY, 1), ENOPROTOOPT);
  EXPECT_ERR(Set(t6, IPPROTO_UDP, UDP_CORK, 1), ENOPROTOOPT);
}

TEST(InetOptions, Lengths) {
  COVERS("getsockopt", "setsockopt");
  Fd t = Tcp4(), u = Udp4();
  // A level's own unknown option comes after a look at the length.
  EXPECT_ERR(SetBytes(t, IPPROTO_TCP, 99, "abc"), EINVAL);
  EXPECT_ERR(SetBytes(t, IPPROTO_TCP, 99, "abcd"), ENOPROTOOPT);
  EXPECT_ERR(SetBytes(u, IPPROTO_UDP, 99, "abc"), EINVAL);
  EXPECT_ERR(SetBytes(u, IPPROTO_UDP, 99, "abcd"), ENOPROTOOPT);
  // IP's numbers may be a byte, or nothing.
  EXPECT_OK(SetBytes(t, IPPROTO_IP, IP_RECVTTL, std::string("\1", 1)));
  EXPECT_EQ(Get(t, IPPROTO_IP, IP_RECVTTL), 1);
  EXPECT_OK(SetBytes(t, IPPROTO_IP, IP_RECVTTL, ""));
  EXPECT_EQ(Get(t, IPPROTO_IP, IP_RECVTTL), 0);
  EXPECT_ERR(SetBytes(t, SOL_SOCKET, SO_KEEPALIVE, std::string("\1", 1)), EINVAL);
  // Longer than they are.
  EXPECT_OK(SetBytes(t, IPPROTO_TCP, TCP_NODELAY, std::string("\1\0\0\0rest", 8)));
  EXPECT_EQ(LengthOf(t, IPPROTO_TCP, TCP_NODELAY, 300), 4);
  EXPECT_EQ(LengthOf(t, IPPROTO_TCP, TCP_NODELAY, 3), 3);
  EXPECT_EQ(LengthOf(t, IPPROTO_TCP, TCP_NODELAY, 0), 0);
  // Two words where there is room for them.
  for (int name : {SO_TIMESTAMPING, SO_MAX_PACING_RATE}) {
    EXPECT_EQ(LengthOf(t, SOL_SOCKET, name, 4), 4);
    EXPECT_EQ(LengthOf(t, SOL_SOCKET, name, 8), 8);
  }
  socklen_t negative = static_cast<socklen_t>(-1);
  int v;
  EXPECT_ERR(getsockopt(t, IPPROTO_TCP, TCP_NODELAY, &v, &negative), EINVAL);
  EXPECT_ERR(setsockopt(t, IPPROTO_TCP, TCP_NODELAY, &v, negative), EINVAL);
}

TEST(InetOptions, Values) {
  COVERS("getsockopt", "setsockopt");
  Fd t = Tcp4(), u = Udp4(), t6 = Tcp6();
  // The lowest byte of a type of service; TCP keeps the congestion bits for itself.
  EXPECT_OK(Set(u, IPPROTO_IP, IP_TOS, 0x1ff));
  EXPECT_EQ(Get(u, IPPROTO_IP, IP_TOS), 0xff);
  EXPECT_OK(Set(t, IPPROTO_IP, IP_TOS, -1));
  EXPECT_EQ(Get(t, IPPROTO_IP, IP_TOS), 0xfc);
  EXPECT_EQ(Get(t, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0);
  EXPECT_ERR(Set(t, SOL_SOCKET, SO_TIMESTAMPING, 1 << 30), EINVAL);
  // Groups are for datagrams.
  ip_mreq group{};
  group.imr_multiaddr.s_addr = htonl(0xe0000105);
  EXPECT_ERR(setsockopt(t, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group), EPROTO);
  ipv6_mreq group6{};
  EXPECT_ERR(setsockopt(t6, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group6, sizeof group6), EPROTO);
  EXPECT_ERR(SetBytes(t6, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ""), ENOPROTOOPT);
  // Names of interfaces of any length, also of none.
  EXPECT_OK(SetBytes(u, SOL_SOCKET, SO_BINDTODEVICE, ""));
  EXPECT_ERR(SetBytes(u, SOL_SOCKET, SO_BINDTODEVICE, "x"), ENODEV);
  EXPECT_EQ(LengthOf(u, SOL_SOCKET, SO_BUSY_POLL_BUDGET, 4), -ENOPROTOOPT);
}

TEST(InetOptions, AddressesThatSayTooLittle) {
  COVERS("bind", "connect");
  Fd t6 = Tcp6(), u6 = Udp6();
  EXPECT_ERR(Connect(t6, V4(9)), EINVAL);  // shorter than an address of IPv6
  sockaddr_in6 local = V6(9, "fe80::1234");
  EXPECT_ERR(Connect(t6, local), EINVAL);
  EXPECT_ERR(Connect(u6, local), EINVAL);
  EXPECT_ERR(Bind(u6, local), EINVAL);
}

TEST(InetOptions, ControlsThatAreNothingHere) {
  COVERS("sendmsg");
  Fd u = Udp4();
  ASSERT_OK(Bind(u, V4(0)));
  ASSERT_OK(Connect(u, V4(PortOf(u))));
  char text[] = "x";
  iovec v{text, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  auto* c = reinterpret_cast<cmsghdr*>(control);
  c->cmsg_len = CMSG_LEN(sizeof(int));
  c->cmsg_level = SOL_SOCKET;
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  for (int type : {SCM_RIGHTS, SCM_CREDENTIALS}) {
    c->cmsg_type = type;
    EXPECT_RET(sendmsg(u, &m, 0), 1);
  }
  c->cmsg_type = 99;
  EXPECT_ERR(sendmsg(u, &m, 0), EINVAL);
}

TEST(InetOptions, FlagsOfDatagrams) {
  COVERS("recvfrom", "sendto", "shutdown");
  Fd u = Udp4();
  ASSERT_OK(Bind(u, V4(0)));
  ASSERT_OK(Connect(u, V4(PortOf(u))));
  char c;
  EXPECT_RET(send(u, "xy", 2, 0), 2);
  EXPECT_RET(recv(u, &c, 1, MSG_OOB), 1);  // UDP has no urgent data, and doesn't say so
  EXPECT_OK(shutdown(u, SHUT_RDWR));
  // Too much is told before that nothing may be sent.
  const std::string much(65508, 'x');
  EXPECT_ERR(send(u, much.data(), much.size(), MSG_NOSIGNAL), EMSGSIZE);
  EXPECT_ERR(send(u, "x", 1, MSG_NOSIGNAL), EPIPE);
  // Only who would wait hears of the end.
  EXPECT_ERR(recv(u, &c, 1, MSG_DONTWAIT), EAGAIN);
  EXPECT_RET(recv(u, &c, 1, 0), 0);
}

TEST(InetOptions, FamiliesByTheHundred) {
  COVERS("socket", "socketpair");
  for (int family = 46; family < 400; family++) {
    EXPECT_ERR(socket(family, SOCK_STREAM, 0), EAFNOSUPPORT) << family;
  }
  for (int family : {-1, INT32_MIN, INT32_MAX}) {
    EXPECT_ERR(socket(family, SOCK_STREAM, 0), EAFNOSUPPORT) << family;
  }
  for (int type : {0, 7, 8, 11, 15}) {
    EXPECT_ERR(socket(AF_INET, type, 0), type < 11 ? ESOCKTNOSUPPORT : EINVAL) << type;
  }
  EXPECT_ERR(socket(AF_INET, SOCK_STREAM | 0x1000000, 0), EINVAL);
  EXPECT_ERR(socket(AF_INET, SOCK_STREAM, -1), EINVAL);
  EXPECT_ERR(socket(AF_INET, SOCK_STREAM, 1000), EINVAL);
  EXPECT_ERR(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
  int pair[2];
  EXPECT_ERR(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP);
}

}  // namespace
