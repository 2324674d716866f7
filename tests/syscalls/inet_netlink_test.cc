// netlink(7), ioctls about interfaces, and /proc/net: what programs learn about the network.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <sstream>

#include "tests/syscalls/test_util.h"

namespace {

template <typename Body>
struct Request {
  nlmsghdr header;
  Body body;
};

// Sends a request and calls f with each message of the answer; the NLMSG_ERROR's value, 0 without.
template <typename Body, typename F>
int Ask(int fd, uint16_t type, uint16_t flags, const Body& body, F&& f) {
  Request<Body> r{};
  r.header = {sizeof r, type, static_cast<uint16_t>(NLM_F_REQUEST | flags), 7, 0};
  r.body = body;
  EXPECT_RET(send(fd, &r, sizeof r, 0), static_cast<ssize_t>(sizeof r));
  alignas(nlmsghdr) char buf[32768];
  for (;;) {
    ssize_t n = recv(fd, buf, sizeof buf, 0);
    EXPECT_GT(n, 0);
    if (n <= 0) return -1;
    for (auto* h = reinterpret_cast<nlmsghdr*>(buf); NLMSG_OK(h, static_cast<size_t>(n));
         h = NLMSG_NEXT(h, n)) {
      EXPECT_EQ(h->nlmsg_seq, 7u);
      if (h->nlmsg_type == NLMSG_DONE) return 0;
      if (h->nlmsg_type == NLMSG_ERROR) {
        return -reinterpret_cast<nlmsgerr*>(NLMSG_DATA(h))->error;
      }
      f(h);
      if ((h->nlmsg_flags & NLM_F_MULTI) == 0 && (flags & NLM_F_ACK) == 0) return 0;
    }
  }
}

Fd Route() {
  Fd s(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  EXPECT_GE(s.get(), 0);
  return s;
}

TEST(Netlink, Names) {
  COVERS("socket", "bind", "getsockname", "recvfrom");
  Fd s = Route(), t = Route();
  sockaddr_nl a{};
  a.nl_family = AF_NETLINK;
  EXPECT_OK(bind(s, reinterpret_cast<sockaddr*>(&a), sizeof a));
  EXPECT_OK(bind(t, reinterpret_cast<sockaddr*>(&a), sizeof a));
  sockaddr_nl x{}, y{};
  socklen_t n = sizeof x;
  EXPECT_OK(getsockname(s, reinterpret_cast<sockaddr*>(&x), &n));
  EXPECT_EQ(n, sizeof x);
  EXPECT_OK(getsockname(t, reinterpret_cast<sockaddr*>(&y), &n));
  EXPECT_NE(x.nl_pid, 0u);
  EXPECT_NE(x.nl_pid, y.nl_pid);
  EXPECT_ERR(bind(t, reinterpret_cast<sockaddr*>(&x), sizeof x), EINVAL);
  EXPECT_ERR(bind(t, reinterpret_cast<sockaddr*>(&a), 4), EINVAL);
  EXPECT_ERR(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), ESOCKTNOSUPPORT);
  EXPECT_ERR(socket(AF_NETLINK, SOCK_RAW, 99), EPROTONOSUPPORT);
  char c;
  EXPECT_ERR(recv(s, &c, 1, MSG_DONTWAIT), EAGAIN);
}

TEST(Netlink, Links) {
  COVERS("socket");
  Fd s = Route();
  bool lo = false;
  EXPECT_EQ(Ask(s, RTM_GETLINK, NLM_F_DUMP, ifinfomsg{},
                [&](nlmsghdr* h) {
                  ASSERT_EQ(h->nlmsg_type, RTM_NEWLINK);
                  auto* i = reinterpret_cast<ifinfomsg*>(NLMSG_DATA(h));
                  int left = static_cast<int>(IFLA_PAYLOAD(h));
                  for (auto* a = IFLA_RTA(i); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
                    if (a->rta_type != IFLA_IFNAME) continue;
                    if (strcmp(reinterpret_cast<char*>(RTA_DATA(a)), "lo") != 0) continue;
                    lo = true;
                    EXPECT_EQ(i->ifi_index, 1);
                    EXPECT_EQ(i->ifi_type, ARPHRD_LOOPBACK);
                    EXPECT_TRUE(i->ifi_flags & IFF_LOOPBACK);
                  }
                }),
            0);
  EXPECT_TRUE(lo);
  ifinfomsg one{};
  one.ifi_index = 1;
  int seen = 0;
  EXPECT_EQ(Ask(s, RTM_GETLINK, 0, one, [&](nlmsghdr*) { seen++; }), 0);
  EXPECT_EQ(seen, 1);
  one.ifi_index = 99999;
  EXPECT_EQ(Ask(s, RTM_GETLINK, 0, one, [](nlmsghdr*) {}), ENODEV);
  EXPECT_EQ(Ask(s, 200, 0, one, [](nlmsghdr*) {}), EOPNOTSUPP);
}

TEST(Netlink, Addresses) {
  COVERS("socket");
  ifaddrs* all = nullptr;
  ASSERT_OK(getifaddrs(&all));
  bool v4 = false;
  for (ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || strcmp(i->ifa_name, "lo") != 0) continue;
    if (i->ifa_addr->sa_family != AF_INET) continue;
    v4 = true;
    EXPECT_EQ(reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    EXPECT_EQ(reinterpret_cast<sockaddr_in*>(i->ifa_netmask)->sin_addr.s_addr, htonl(0xff000000));
    EXPECT_TRUE(i->ifa_flags & IFF_UP);
  }
  EXPECT_TRUE(v4);
  freeifaddrs(all);
  EXPECT_EQ(if_nametoindex("lo"), 1u);
  char name[IF_NAMESIZE];
  EXPECT_STREQ(if_indextoname(1, name), "lo");
}

struct AddrChange {
  ifaddrmsg head;
  rtattr local;
  in_addr address;
};

struct LinkChange {
  ifinfomsg head;
  rtattr mtu;
  uint32_t value;
};

TEST(Netlink, LoopbackCanBeChanged) {
  COVERS("socket", "bind", "unshare", "setns");
  SKIP_UNLESS_ROOT();
  Fd before(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  ASSERT_OK(unshare(CLONE_NEWNET));
  Fd s = Route();
  auto none = [](nlmsghdr*) {};
  LinkChange up{};
  up.head.ifi_index = 1;
  up.head.ifi_flags = up.head.ifi_change = IFF_UP;
  up.mtu = {8, IFLA_MTU};
  up.value = 1400;
  EXPECT_EQ(Ask(s, RTM_NEWLINK, NLM_F_ACK, up, none), 0);
  ifreq r{};
  strcpy(r.ifr_name, "lo");
  EXPECT_OK(ioctl(s, SIOCGIFMTU, &r));
  EXPECT_EQ(r.ifr_mtu, 1400);
  // What iproute2 asks to learn whether links can be made.
  EXPECT_EQ(Ask(s, RTM_NEWLINK, NLM_F_ACK, ifinfomsg{}, none), ENODEV);

  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(0x0a090901);
  const auto* where = reinterpret_cast<const sockaddr*>(&at);
  EXPECT_ERR(bind(Fd(socket(AF_INET, SOCK_DGRAM, 0)), where, sizeof at), EADDRNOTAVAIL);
  AddrChange change{{AF_INET, 32, 0, 0, 1}, {8, IFA_LOCAL}, at.sin_addr};
  EXPECT_EQ(Ask(s, RTM_DELADDR, NLM_F_ACK, change, none), EADDRNOTAVAIL);
  EXPECT_EQ(Ask(s, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, change, none), 0);
  EXPECT_EQ(Ask(s, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, change, none), EEXIST);
  Fd server(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_OK(bind(server, where, sizeof at));
  EXPECT_OK(listen(server, 1));
  socklen_t n = sizeof at;
  EXPECT_OK(getsockname(server, reinterpret_cast<sockaddr*>(&at), &n));
  EXPECT_OK(connect(Fd(socket(AF_INET, SOCK_STREAM, 0)), where, sizeof at));
  change.head.ifa_index = 99;
  EXPECT_EQ(Ask(s, RTM_NEWADDR, NLM_F_ACK, change, none), ENODEV);
  change.head.ifa_index = 1;
  change.head.ifa_prefixlen = 33;
  EXPECT_EQ(Ask(s, RTM_NEWADDR, NLM_F_ACK, change, none), EINVAL);
  change.head.ifa_prefixlen = 32;
  EXPECT_EQ(Ask(s, RTM_DELADDR, NLM_F_ACK, change, none), 0);
  at.sin_port = 0;
  EXPECT_ERR(bind(Fd(socket(AF_INET, SOCK_DGRAM, 0)), where, sizeof at), EADDRNOTAVAIL);
  // The first address stays when lo goes down.
  up.head.ifi_flags = 0;
  EXPECT_EQ(Ask(s, RTM_NEWLINK, NLM_F_ACK, up, none), 0);
  EXPECT_OK(ioctl(Fd(socket(AF_INET, SOCK_DGRAM, 0)), SIOCGIFADDR, &r));
  EXPECT_OK(setns(before, CLONE_NEWNET));
}

TEST(Netlink, RouteToLoopback) {
  COVERS("socket");
  Fd s = Route();
  struct {
    rtmsg m;
    rtattr a;
    uint32_t addr;
  } r{};
  r.m.rtm_family = AF_INET;
  r.m.rtm_dst_len = 32;
  r.a = {8, RTA_DST};
  r.addr = htonl(INADDR_LOOPBACK);
  int seen = 0;
  EXPECT_EQ(Ask(s, RTM_GETROUTE, 0, r,
                [&](nlmsghdr* h) {
                  auto* m = reinterpret_cast<rtmsg*>(NLMSG_DATA(h));
                  EXPECT_EQ(m->rtm_type, RTN_LOCAL);
                  seen++;
                }),
            0);
  EXPECT_EQ(seen, 1);
}

TEST(Netlink, Sockets) {
  COVERS("socket", "bind", "listen", "getsockname");
  Fd l(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_OK(bind(l, reinterpret_cast<sockaddr*>(&a), sizeof a));
  ASSERT_OK(listen(l, 5));
  socklen_t n = sizeof a;
  ASSERT_OK(getsockname(l, reinterpret_cast<sockaddr*>(&a), &n));
  Fd s(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
  if (s.get() < 0) GTEST_SKIP() << "no sock_diag here";
  inet_diag_req_v2 r{};
  r.sdiag_family = AF_INET;
  r.sdiag_protocol = IPPROTO_TCP;
  r.idiag_states = ~0u;
  bool found = false;
  const int error = Ask(s, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, r, [&](nlmsghdr* h) {
    auto* m = reinterpret_cast<inet_diag_msg*>(NLMSG_DATA(h));
    if (m->id.idiag_sport != a.sin_port || m->idiag_state != 10) return;
    found = true;
    EXPECT_EQ(m->idiag_wqueue, 5u);
  });
  if (error == ENOENT) GTEST_SKIP() << "no tcp_diag here";
  EXPECT_EQ(error, 0);
  EXPECT_TRUE(found);
  // The same in /proc.
  std::ifstream f("/proc/net/tcp");
  std::stringstream text;
  text << f.rdbuf();
  char line[64];
  snprintf(line, sizeof line, "0100007F:%04X 00000000:0000 0A", ntohs(a.sin_port));
  EXPECT_NE(text.str().find(line), std::string::npos) << text.str();
}

TEST(Netlink, InterfaceIoctls) {
  COVERS("socket", "ioctl");
  for (int family : {AF_INET, AF_UNIX}) {
    Fd s(socket(family, SOCK_DGRAM, 0));
    ifreq r{};
    strcpy(r.ifr_name, "lo");
    EXPECT_OK(ioctl(s, SIOCGIFFLAGS, &r));
    EXPECT_EQ(r.ifr_flags & (IFF_UP | IFF_LOOPBACK), IFF_UP | IFF_LOOPBACK);
    EXPECT_OK(ioctl(s, SIOCGIFMTU, &r));
    EXPECT_EQ(r.ifr_mtu, 65536);
    EXPECT_OK(ioctl(s, SIOCGIFINDEX, &r));
    EXPECT_EQ(r.ifr_ifindex, 1);
    strcpy(r.ifr_name, "none0");
    EXPECT_ERR(ioctl(s, SIOCGIFFLAGS, &r), ENODEV);
  }
  Fd s(socket(AF_INET, SOCK_DGRAM, 0));
  ifreq list[32];
  ifconf c{};
  c.ifc_len = sizeof list;
  c.ifc_req = list;
  EXPECT_OK(ioctl(s, SIOCGIFCONF, &c));
  ASSERT_GE(c.ifc_len, static_cast<int>(sizeof list[0]));
  EXPECT_STREQ(list[0].ifr_name, "lo");
}

TEST(ProcNet, Files) {
  COVERS("socket");
  for (const char* name : {"dev", "tcp", "tcp6", "udp", "udp6", "route", "if_inet6", "snmp",
                           "sockstat", "netstat", "protocols", "unix", "packet"}) {
    std::ifstream f(std::string("/proc/net/") + name);
    EXPECT_TRUE(f.good()) << name;
  }
  std::ifstream range("/proc/sys/net/ipv4/ip_local_port_range");
  int low = 0, high = 0;
  range >> low >> high;
  EXPECT_GT(low, 0);
  EXPECT_GT(high, low);
}

std::string Contents(const std::string& path) {
  std::ifstream f(path);
  std::stringstream text;
  text << f.rdbuf();
  return text.str();
}

TEST(ProcNet, UnixSockets) {
  COVERS("socket", "bind", "listen", "socketpair");
  Fd s(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  const std::string name = "shown " + std::to_string(getpid());
  memcpy(a.sun_path + 1, name.data(), name.size());
  const auto n = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_OK(bind(s, reinterpret_cast<sockaddr*>(&a), n));
  ASSERT_OK(listen(s, 1));
  struct stat st;
  ASSERT_OK(fstat(s, &st));
  char line[128];
  snprintf(line, sizeof line, ": 00000002 00000000 00010000 0001 01 %5lu @%s\n", st.st_ino,
           name.c_str());
  EXPECT_NE(Contents("/proc/net/unix").find(line), std::string::npos) << line;
  s.reset();
  EXPECT_EQ(Contents("/proc/net/unix").find(name), std::string::npos);
  int pair[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
  Fd one(pair[0]), two(pair[1]);
  ASSERT_OK(fstat(one, &st));
  snprintf(line, sizeof line, ": 00000003 00000000 00000000 0002 03 %5lu\n", st.st_ino);
  EXPECT_NE(Contents("/proc/net/unix").find(line), std::string::npos) << line;
}

TEST(SysClassNet, Loopback) {
  COVERS("socket", "readlink", "getdents64");
  if (access("/sys/class/net", F_OK) != 0) GTEST_SKIP() << "no sysfs here";
  char target[256];
  const ssize_t n = readlink("/sys/class/net/lo", target, sizeof target);
  ASSERT_GT(n, 0);
  EXPECT_EQ(std::string(target, static_cast<size_t>(n)), "../../devices/virtual/net/lo");
  EXPECT_EQ(Contents("/sys/class/net/lo/ifindex"), "1\n");
  EXPECT_EQ(Contents("/sys/class/net/lo/mtu"), "65536\n");
  EXPECT_EQ(Contents("/sys/class/net/lo/type"), "772\n");
  EXPECT_EQ(Contents("/sys/class/net/lo/address"), "00:00:00:00:00:00\n");
  EXPECT_EQ(Contents("/sys/class/net/lo/operstate"), "unknown\n");
  EXPECT_EQ(Contents("/sys/class/net/lo/flags"), "0x9\n");
  EXPECT_NE(Contents("/sys/class/net/lo/statistics/rx_bytes"), "");
  EXPECT_ERR(access("/sys/class/net/none0", F_OK), ENOENT);
  bool listed = false;
  DIR* d = opendir("/sys/class/net");
  ASSERT_NE(d, nullptr);
  while (dirent* e = readdir(d)) {
    if (strcmp(e->d_name, "lo") != 0) continue;
    listed = true;
    EXPECT_EQ(e->d_type, DT_LNK);
  }
  closedir(d);
  EXPECT_TRUE(listed);
}

}  // namespace
