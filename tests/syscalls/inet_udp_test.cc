// Datagrams over the loopback addresses: UDP, its errors and control messages, ping sockets.
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "tests/syscalls/inet_util.h"

namespace {

short Poll(int fd, int timeout_ms = 1000, short events = POLLIN) {
  pollfd p{fd, events, 0};
  EXPECT_GE(poll(&p, 1, timeout_ms), 0);
  return p.revents;
}
Fd Bound() {
  Fd s(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_OK(Bind(s, V4(0)));
  return s;
}
// Receives one message with its control messages in *control.
ssize_t Receive(int fd, msghdr* m, char* buf, size_t n, char* control, size_t room, int flags = 0) {
  static iovec v;
  v = {buf, n};
  *m = msghdr{};
  m->msg_iov = &v;
  m->msg_iovlen = 1;
  m->msg_control = control;
  m->msg_controllen = room;
  return recvmsg(fd, m, flags);
}

TEST(Udp, SendAndReceive) {
  COVERS("sendto", "recvfrom");
  Fd a = Bound(), b(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_RET(SendTo(b, "hello", V4(PortOf(a))), 5);
  EXPECT_RET(SendTo(b, "", V4(PortOf(a))), 0);
  EXPECT_TRUE(Poll(a) & POLLIN);
  int first = -1;
  EXPECT_OK(ioctl(a, FIONREAD, &first));
  EXPECT_EQ(first, 5);
  char buf[16];
  sockaddr_in from{};
  socklen_t n = sizeof from;
  EXPECT_RET(recvfrom(a, buf, 3, MSG_TRUNC | MSG_PEEK, reinterpret_cast<sockaddr*>(&from), &n), 5);
  EXPECT_EQ(ntohs(from.sin_port), PortOf(b));
  EXPECT_RET(recv(a, buf, 3, 0), 3);
  EXPECT_RET(recv(a, buf, sizeof buf, 0), 0);
  EXPECT_ERR(recv(a, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
  EXPECT_EQ(Poll(a, 0, POLLIN | POLLOUT), POLLOUT);
}

TEST(Udp, Errors) {
  COVERS("socket", "listen", "shutdown", "accept", "sendto");
  Fd a = Bound(), b(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_ERR(send(b, "x", 1, 0), EDESTADDRREQ);
  EXPECT_ERR(SendTo(b, "x", V4(0)), EINVAL);
  EXPECT_ERR(SendTo(b, std::string(65508, 'x'), V4(PortOf(a))), EMSGSIZE);
  EXPECT_RET(SendTo(b, std::string(65507, 'x'), V4(PortOf(a))), 65507);
  EXPECT_ERR(SendTo(b, "x", V4(9, INADDR_BROADCAST)), EACCES);
  EXPECT_ERR(send(b, "x", 1, MSG_OOB), EOPNOTSUPP);
  EXPECT_ERR(listen(b, 1), EOPNOTSUPP);
  EXPECT_ERR(accept(b, nullptr, nullptr), EOPNOTSUPP);
  EXPECT_ERR(Bind(Fd(socket(AF_INET, SOCK_DGRAM, 0)), V4(PortOf(a))), EADDRINUSE);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  EXPECT_ERR(SendTo(b, "x", six), EAFNOSUPPORT);
  EXPECT_ERR(shutdown(Fd(socket(AF_INET, SOCK_DGRAM, 0)), SHUT_RD), ENOTCONN);
}

TEST(Udp, Connected) {
  COVERS("socket", "bind", "connect", "getpeername", "recvfrom", "sendto");
  Fd a = Bound(), b = Bound(), other = Bound();
  EXPECT_OK(Connect(b, V4(PortOf(a))));
  EXPECT_RET(send(b, "one", 3, 0), 3);
  char buf[16];
  EXPECT_RET(recv(a, buf, sizeof buf, 0), 3);
  // Only the peer is heard.
  EXPECT_RET(SendTo(other, "no", V4(PortOf(b))), 2);
  EXPECT_RET(SendTo(a, "yes!", V4(PortOf(b))), 4);
  EXPECT_RET(recv(b, buf, sizeof buf, 0), 4);
  const uint16_t port = PortOf(b);
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  EXPECT_OK(connect(b, &none, sizeof none));
  EXPECT_EQ(PortOf(b), 0);  // a port that bind(2) chose goes with the connection
  EXPECT_OK(Bind(b, V4(port)));
  EXPECT_RET(SendTo(other, "now", V4(port)), 3);
  EXPECT_RET(recv(b, buf, sizeof buf, 0), 3);
  sockaddr_in p{};
  socklen_t n = sizeof p;
  EXPECT_ERR(getpeername(b, reinterpret_cast<sockaddr*>(&p), &n), ENOTCONN);
}

TEST(Udp, Refused) {
  COVERS("socket", "recvfrom", "sendto");
  Fd a = Bound();
  const uint16_t port = PortOf(a);
  a.reset();
  Fd b(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_RET(SendTo(b, "x", V4(port)), 1);  // unconnected: nobody is told
  EXPECT_EQ(Get(b, SOL_SOCKET, SO_ERROR), 0);
  EXPECT_OK(Connect(b, V4(port)));
  EXPECT_RET(send(b, "x", 1, 0), 1);
  EXPECT_TRUE(Poll(b) & POLLERR);
  EXPECT_ERR(send(b, "x", 1, 0), ECONNREFUSED);
  EXPECT_RET(send(b, "x", 1, 0), 1);
  EXPECT_TRUE(Poll(b) & POLLERR);
  char c;
  EXPECT_ERR(recv(b, &c, 1, 0), ECONNREFUSED);
}

TEST(Udp, ErrorQueue) {
  COVERS("socket");
  Fd a = Bound();
  const uint16_t port = PortOf(a);
  a.reset();
  Fd b(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_OK(Set(b, IPPROTO_IP, IP_RECVERR, 1));
  EXPECT_RET(SendTo(b, "lost", V4(port)), 4);
  EXPECT_TRUE(Poll(b) & POLLERR);
  msghdr m;
  char buf[16], control[256];
  EXPECT_RET(Receive(b, &m, buf, sizeof buf, control, sizeof control, MSG_ERRQUEUE), 4);
  EXPECT_TRUE(m.msg_flags & MSG_ERRQUEUE);
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(c->cmsg_level, IPPROTO_IP);
  EXPECT_EQ(c->cmsg_type, IP_RECVERR);
  sock_extended_err e;
  memcpy(&e, CMSG_DATA(c), sizeof e);
  EXPECT_EQ(e.ee_errno, static_cast<uint32_t>(ECONNREFUSED));
  EXPECT_EQ(e.ee_origin, SO_EE_ORIGIN_ICMP);
  EXPECT_ERR(Receive(b, &m, buf, sizeof buf, control, sizeof control, MSG_ERRQUEUE), EAGAIN);
}

TEST(Udp, ControlMessages) {
  COVERS("recvmsg", "sendmsg");
  Fd a = Bound(), b = Bound();
  EXPECT_OK(Set(a, IPPROTO_IP, IP_PKTINFO, 1));
  EXPECT_OK(Set(a, IPPROTO_IP, IP_RECVTTL, 1));
  EXPECT_OK(Set(a, IPPROTO_IP, IP_RECVTOS, 1));
  EXPECT_OK(Set(a, SOL_SOCKET, SO_TIMESTAMP, 1));
  EXPECT_OK(Set(b, IPPROTO_IP, IP_TTL, 33));
  EXPECT_OK(Set(b, IPPROTO_IP, IP_TOS, 0x10));
  timeval before;
  gettimeofday(&before, nullptr);
  EXPECT_RET(SendTo(b, "x", V4(PortOf(a))), 1);
  msghdr m;
  char buf[4], control[256];
  EXPECT_RET(Receive(a, &m, buf, sizeof buf, control, sizeof control), 1);
  int seen = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level == SOL_SOCKET) {
      EXPECT_EQ(c->cmsg_type, SO_TIMESTAMP);
      timeval tv, now;
      memcpy(&tv, CMSG_DATA(c), sizeof tv);
      gettimeofday(&now, nullptr);
      EXPECT_GE(tv.tv_sec, before.tv_sec);
      EXPECT_LE(tv.tv_sec, now.tv_sec);
      seen |= 1;
    } else if (c->cmsg_type == IP_PKTINFO) {
      in_pktinfo i;
      memcpy(&i, CMSG_DATA(c), sizeof i);
      EXPECT_EQ(i.ipi_ifindex, 1);
      EXPECT_EQ(ntohl(i.ipi_addr.s_addr), INADDR_LOOPBACK);
      seen |= 2;
    } else if (c->cmsg_type == IP_TTL) {
      int v;
      memcpy(&v, CMSG_DATA(c), sizeof v);
      EXPECT_EQ(v, 33);
      seen |= 4;
    } else if (c->cmsg_type == IP_TOS) {
      EXPECT_EQ(*CMSG_DATA(c), 0x10);
      seen |= 8;
    }
  }
  EXPECT_EQ(seen, 15);
  // The sender names its source.
  iovec v{buf, 1};
  union {
    cmsghdr h;
    char bytes[CMSG_SPACE(sizeof(in_pktinfo))];
  } out{};
  sockaddr_in to = V4(PortOf(a));
  msghdr s{};
  s.msg_name = &to;
  s.msg_namelen = sizeof to;
  s.msg_iov = &v;
  s.msg_iovlen = 1;
  s.msg_control = &out;
  s.msg_controllen = sizeof out;
  out.h = {CMSG_LEN(sizeof(in_pktinfo)), IPPROTO_IP, IP_PKTINFO};
  in_pktinfo info{};
  info.ipi_spec_dst.s_addr = htonl(INADDR_LOOPBACK);
  memcpy(CMSG_DATA(&out.h), &info, sizeof info);
  EXPECT_RET(sendmsg(b, &s, 0), 1);
  out.h.cmsg_type = 77;
  EXPECT_ERR(sendmsg(b, &s, 0), EINVAL);
}

TEST(Udp, ManyAtOnce) {
  COVERS("sendmmsg", "recvmmsg");
  Fd a = Bound(), b(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_OK(Connect(b, V4(PortOf(a))));
  char data[3][2] = {"a", "b", "c"}, in[3][4];
  mmsghdr out[3]{}, got[3]{};
  iovec v[3], w[3];
  for (int i = 0; i < 3; i++) {
    v[i] = {data[i], static_cast<size_t>(i + 1) % 3};
    w[i] = {in[i], sizeof in[i]};
    out[i].msg_hdr.msg_iov = &v[i];
    got[i].msg_hdr.msg_iov = &w[i];
    out[i].msg_hdr.msg_iovlen = got[i].msg_hdr.msg_iovlen = 1;
  }
  EXPECT_RET(sendmmsg(b, out, 3, 0), 3);
  EXPECT_TRUE(Poll(a) & POLLIN);
  EXPECT_RET(recvmmsg(a, got, 3, 0, nullptr), 3);
  EXPECT_EQ(got[0].msg_len, 1u);
  EXPECT_EQ(got[1].msg_len, 2u);
  EXPECT_EQ(got[2].msg_len, 0u);
}

TEST(Udp, MoreIsOneDatagram) {
  COVERS("socket", "recvfrom", "sendto");
  Fd a = Bound(), b(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_OK(Connect(b, V4(PortOf(a))));
  EXPECT_RET(send(b, "ab", 2, MSG_MORE), 2);
  EXPECT_RET(send(b, "cd", 2, 0), 2);
  char buf[8];
  EXPECT_RET(recv(a, buf, sizeof buf, 0), 4);
}

TEST(Udp, Multicast) {
  COVERS("socket", "setsockopt", "recvfrom");
  Fd a(socket(AF_INET, SOCK_DGRAM, 0)), b(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_OK(Bind(a, V4(0, INADDR_ANY)));
  ip_mreq m{};
  m.imr_multiaddr.s_addr = inet_addr("239.1.2.3");
  m.imr_interface.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_OK(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
  EXPECT_ERR(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m), EADDRINUSE);
  EXPECT_OK(setsockopt(b, IPPROTO_IP, IP_MULTICAST_IF, &m.imr_interface, sizeof(in_addr)));
  EXPECT_RET(SendTo(b, "all", V4(PortOf(a), 0xef010203)), 3);
  EXPECT_TRUE(Poll(a) & POLLIN);
  char buf[8];
  EXPECT_RET(recv(a, buf, sizeof buf, 0), 3);
  EXPECT_OK(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof m));
  EXPECT_ERR(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof m), EADDRNOTAVAIL);
}

TEST(Udp, V6) {
  COVERS("socket", "getsockname", "recvfrom");
  Fd a(socket(AF_INET6, SOCK_DGRAM, 0)), b(socket(AF_INET6, SOCK_DGRAM, 0)),
      c(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  EXPECT_OK(Bind(a, any));
  socklen_t n = sizeof any;
  EXPECT_OK(getsockname(a, reinterpret_cast<sockaddr*>(&any), &n));
  sockaddr_in6 to = any;
  to.sin6_addr = in6addr_loopback;
  EXPECT_OK(Set(a, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
  EXPECT_RET(SendTo(b, "six", to), 3);
  msghdr m;
  char buf[8], control[128];
  EXPECT_RET(Receive(a, &m, buf, sizeof buf, control, sizeof control), 3);
  cmsghdr* h = CMSG_FIRSTHDR(&m);
  ASSERT_NE(h, nullptr);
  EXPECT_EQ(h->cmsg_type, IPV6_PKTINFO);
  EXPECT_RET(SendTo(c, "four", V4(ntohs(any.sin6_port))), 4);
  sockaddr_in6 from{};
  n = sizeof from;
  EXPECT_RET(recvfrom(a, buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &n), 4);
  EXPECT_TRUE(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
}

TEST(Udp, ControlsOfRfc2292) {
  COVERS("setsockopt", "getsockopt", "recvmsg", "sendmsg");
  constexpr int kPktinfo = 2, kHoplimit = 8;  // IPV6_2292PKTINFO, IPV6_2292HOPLIMIT
  Fd a(socket(AF_INET6, SOCK_DGRAM, 0)), b(socket(AF_INET6, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(a, V6(0)));
  for (const int option : {kPktinfo, kHoplimit, 3, 4, 5}) {
    EXPECT_EQ(Get(a, SOL_IPV6, option), 0);
    EXPECT_OK(Set(a, SOL_IPV6, option, 7));
    EXPECT_EQ(Get(a, SOL_IPV6, option), 1);
  }
  char out[CMSG_SPACE(sizeof(int))] = {};
  iovec v{const_cast<char*>("x"), 1};
  sockaddr_in6 to = V6(PortOf(a));
  msghdr m{};
  m.msg_name = &to;
  m.msg_namelen = sizeof to;
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = out;
  m.msg_controllen = sizeof out;
  cmsghdr* h = CMSG_FIRSTHDR(&m);
  *h = {CMSG_LEN(sizeof(int)), SOL_IPV6, kHoplimit};
  const int hops = 9;
  memcpy(CMSG_DATA(h), &hops, sizeof hops);
  EXPECT_RET(sendmsg(b, &m, 0), 1);
  char buf[8], control[128];
  EXPECT_RET(Receive(a, &m, buf, sizeof buf, control, sizeof control), 1);
  int info = 0, limit = 0;
  for (h = CMSG_FIRSTHDR(&m); h != nullptr; h = CMSG_NXTHDR(&m, h)) {
    EXPECT_EQ(h->cmsg_level, SOL_IPV6);
    if (h->cmsg_type == kPktinfo) info++;
    if (h->cmsg_type == kHoplimit) memcpy(&limit, CMSG_DATA(h), sizeof limit);
  }
  EXPECT_EQ(info, 1);
  EXPECT_EQ(limit, 9);
}

TEST(Udp, FullBufferDrops) {
  COVERS("socket", "recvfrom");
  Fd a = Bound(), b(socket(AF_INET, SOCK_DGRAM, 0));
  for (int i = 0; i < 5000; i++) EXPECT_RET(SendTo(b, std::string(1000, 'x'), V4(PortOf(a))), 1000);
  int got = 0;
  char buf[2000];
  while (recv(a, buf, sizeof buf, MSG_DONTWAIT) > 0) got++;
  EXPECT_GT(got, 10);
  EXPECT_LT(got, 5000);
}

TEST(Udp, RawAndPacketNeedARight) {
  if (geteuid() == 0) GTEST_SKIP() << "root has it";
  EXPECT_ERR(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
  EXPECT_ERR(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
}

TEST(Ping, Echo) {
  Fd s(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
  if (s.get() < 0) GTEST_SKIP() << "not in net.ipv4.ping_group_range";
  icmphdr h{};
  EXPECT_ERR(SendTo(s, "x", V4(0)), EINVAL);
  h.type = ICMP_ECHO;
  h.un.echo.sequence = htons(7);
  std::string data(reinterpret_cast<char*>(&h), sizeof h);
  EXPECT_RET(SendTo(s, data + "payload", V4(0)), 15);
  EXPECT_TRUE(Poll(s) & POLLIN);
  char buf[64];
  EXPECT_RET(recv(s, buf, sizeof buf, 0), 15);
  memcpy(&h, buf, sizeof h);
  EXPECT_EQ(h.type, ICMP_ECHOREPLY);
  EXPECT_EQ(ntohs(h.un.echo.sequence), 7);
  EXPECT_EQ(ntohs(h.un.echo.id), PortOf(s));
}

TEST(UdpLite, IsAProtocolOfItsOwn) {
  COVERS("socket", "bind", "setsockopt");
  constexpr int kSendCoverage = 10, kReceiveCoverage = 11;  // linux/udp.h lacks them in places
  for (int family : {AF_INET, AF_INET6}) {
    Fd a(socket(family, SOCK_DGRAM, IPPROTO_UDPLITE));
    if (a.get() < 0 && errno == EPROTONOSUPPORT) GTEST_SKIP() << "no UDP-Lite here";
    ASSERT_OK(family == AF_INET ? Bind(a, V4(0)) : Bind(a, V6(0)));
    const uint16_t port = PortOf(a);
    EXPECT_EQ(Get(a, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDPLITE);
    // Its ports are not UDP's.
    Fd other(socket(family, SOCK_DGRAM, 0));
    EXPECT_OK(family == AF_INET ? Bind(other, V4(port)) : Bind(other, V6(port)));
    Fd b(socket(family, SOCK_DGRAM, IPPROTO_UDPLITE));
    EXPECT_OK(Set(b, IPPROTO_UDPLITE, kSendCoverage, 3));
    EXPECT_EQ(Get(b, IPPROTO_UDPLITE, kSendCoverage), 8);
    EXPECT_OK(Set(b, IPPROTO_UDPLITE, kSendCoverage, 1 << 20));
    EXPECT_EQ(Get(b, IPPROTO_UDPLITE, kSendCoverage), UINT16_MAX);
    EXPECT_OK(Set(b, IPPROTO_UDPLITE, kSendCoverage, 20));
    EXPECT_EQ(Get(b, IPPROTO_UDPLITE, kReceiveCoverage), 0);
    EXPECT_ERR(Set(other, IPPROTO_UDPLITE, kSendCoverage, 8), ENOPROTOOPT);
    EXPECT_RET(family == AF_INET ? SendTo(b, "lite", V4(port)) : SendTo(b, "lite", V6(port)), 4);
    char buf[16];
    EXPECT_RET(recv(a, buf, sizeof buf, 0), 4);
    EXPECT_ERR(recv(other, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
  }
}

}  // namespace
