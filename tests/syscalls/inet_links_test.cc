// Links, addresses and routes that an administrator makes in a network namespace of his own
// (rtnetlink(7)): a dummy, behind which there is nobody. Skipped where the kernel has none.
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/syscalls/inet_util.h"
#include "tests/syscalls/netns_util.h"

namespace {

constexpr uint16_t kMake = NLM_F_CREATE | NLM_F_EXCL;

// A request with attributes.
class Message {
 public:
  template <typename T>
  Message(uint16_t type, uint16_t flags, const T& head) : bytes_(NLMSG_HDRLEN, '\0') {
    bytes_.append(reinterpret_cast<const char*>(&head), sizeof head);
    nlmsghdr* h = header();
    h->nlmsg_type = type;
    h->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  }
  Message& Add(uint16_t type, const std::string& value) {
    const rtattr a{static_cast<uint16_t>(RTA_LENGTH(value.size())), type};
    bytes_.append(reinterpret_cast<const char*>(&a), sizeof a);
    bytes_ += value;
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
    return *this;
  }
  template <typename T>
  Message& Add(uint16_t type, T value) {
    return Add(type, std::string(reinterpret_cast<const char*>(&value), sizeof value));
  }
  // The error that it is answered with.
  int Send(int fd) {
    header()->nlmsg_len = static_cast<uint32_t>(bytes_.size());
    EXPECT_RET(send(fd, bytes_.data(), bytes_.size(), 0), static_cast<ssize_t>(bytes_.size()));
    alignas(nlmsghdr) char buf[4096];
    const ssize_t n = recv(fd, buf, sizeof buf, 0);
    if (n < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) return -1;
    return -reinterpret_cast<nlmsgerr*>(NLMSG_DATA(reinterpret_cast<nlmsghdr*>(buf)))->error;
  }

 private:
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes_.data()); }
  std::string bytes_;
};

std::string Attribute(uint16_t type, const std::string& value) {
  const rtattr a{static_cast<uint16_t>(RTA_LENGTH(value.size())), type};
  return std::string(reinterpret_cast<const char*>(&a), sizeof a) + value;
}

class Links : public NewNetwork {
 protected:
  void SetUp() override {
    NewNetwork::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    s_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (Make("dummy0", "dummy") == EOPNOTSUPP) GTEST_SKIP() << "this kernel has no dummies";
    index_ = static_cast<int>(if_nametoindex("dummy0"));
  }
  int Make(const std::string& name, const std::string& kind) {
    return Message(RTM_NEWLINK, kMake, ifinfomsg{})
        .Add(IFLA_IFNAME, name + '\0')
        .Add(IFLA_LINKINFO, Attribute(IFLA_INFO_KIND, kind))
        .Send(s_);
  }
  int SetUpTo(bool up) {
    ifinfomsg head{};
    head.ifi_index = index_;
    head.ifi_change = IFF_UP;
    head.ifi_flags = up ? IFF_UP : 0;
    return Message(RTM_NEWLINK, 0, head).Send(s_);
  }
  int Address(uint16_t type, uint16_t flags, uint32_t addr, uint8_t prefix) {
    ifaddrmsg head{};
    head.ifa_family = AF_INET;
    head.ifa_prefixlen = prefix;
    head.ifa_index = static_cast<uint32_t>(index_);
    return Message(type, flags, head)
        .Add(IFA_LOCAL, htonl(addr))
        .Add(IFA_BROADCAST, htonl(addr | 0xff))
        .Send(s_);
  }
  int Route(uint16_t type, uint16_t flags, uint32_t dst, uint8_t prefix, uint32_t gateway = 0) {
    rtmsg head{};
    head.rtm_family = AF_INET;
    head.rtm_dst_len = prefix;
    head.rtm_table = RT_TABLE_MAIN;
    head.rtm_protocol = RTPROT_BOOT;
    head.rtm_scope = gateway != 0 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    head.rtm_type = RTN_UNICAST;
    Message m(type, flags, head);
    m.Add(RTA_DST, htonl(dst));
    if (gateway != 0) {
      m.Add(RTA_GATEWAY, htonl(gateway));
    } else {
      m.Add(RTA_OIF, index_);
    }
    return m.Send(s_);
  }
  // What getsockname(2) tells after a connect(2) there; 0 if it fails.
  uint32_t SourceTo(uint32_t addr) {
    Fd s(socket(AF_INET, SOCK_DGRAM, 0));
    if (Connect(s, V4(9, addr)) != 0) return 0;
    sockaddr_in a{};
    socklen_t n = sizeof a;
    EXPECT_OK(getsockname(s, reinterpret_cast<sockaddr*>(&a), &n));
    return ntohl(a.sin_addr.s_addr);
  }
  Fd s_;
  int index_ = 0;
};

constexpr uint32_t kOwn = 0x0a010001, kOther = 0x0a010009;  // 10.1.0.1, 10.1.0.9

TEST_F(Links, AreMadeAndRemoved) {
  COVERS("socket", "unshare", "setns");
  EXPECT_GT(index_, 1);
  EXPECT_EQ(Make("dummy0", "dummy"), EEXIST);
  EXPECT_EQ(Make("other", "nosuchkind"), EOPNOTSUPP);
  EXPECT_EQ(Make("a/b", "dummy"), EINVAL);
  EXPECT_EQ(Make("d%d", "dummy"), 0);
  EXPECT_NE(if_nametoindex("d0"), 0u);
  ifreq r{};
  strcpy(r.ifr_name, "dummy0");
  ASSERT_OK(ioctl(s_, SIOCGIFFLAGS, &r));
  EXPECT_EQ(r.ifr_flags & (IFF_UP | IFF_NOARP | IFF_BROADCAST | IFF_LOOPBACK),
            IFF_NOARP | IFF_BROADCAST);
  ASSERT_OK(ioctl(s_, SIOCGIFMTU, &r));
  EXPECT_EQ(r.ifr_mtu, 1500);
  r.ifr_flags = IFF_UP;
  ASSERT_OK(ioctl(s_, SIOCSIFFLAGS, &r));
  ASSERT_OK(ioctl(s_, SIOCGIFFLAGS, &r));
  EXPECT_TRUE(r.ifr_flags & IFF_UP);
  EXPECT_NE(ReadFile("/proc/net/dev").find("dummy0:"), std::string::npos);
  ifinfomsg head{};
  head.ifi_index = index_;
  EXPECT_EQ(Message(RTM_NEWLINK, 0, head).Add(IFLA_IFNAME, std::string("d0\0", 3)).Send(s_),
            EEXIST);
  EXPECT_EQ(Message(RTM_NEWLINK, 0, head).Add(IFLA_MTU, uint32_t{1280}).Send(s_), 0);
  ASSERT_OK(ioctl(s_, SIOCGIFMTU, &r));
  EXPECT_EQ(r.ifr_mtu, 1280);
  EXPECT_EQ(Message(RTM_DELLINK, 0, head).Send(s_), 0);
  EXPECT_EQ(Message(RTM_DELLINK, 0, head).Send(s_), ENODEV);
  EXPECT_EQ(if_nametoindex("dummy0"), 0u);
  head.ifi_index = 1;
  EXPECT_EQ(Message(RTM_DELLINK, 0, head).Send(s_), EOPNOTSUPP);
}

TEST_F(Links, HaveAddresses) {
  COVERS("bind", "connect", "listen");
  EXPECT_EQ(SetUpTo(true), 0);
  EXPECT_ERR(Bind(Fd(socket(AF_INET, SOCK_DGRAM, 0)), V4(0, kOwn)), EADDRNOTAVAIL);
  EXPECT_EQ(Address(RTM_NEWADDR, kMake, kOwn, 24), 0);
  EXPECT_EQ(Address(RTM_NEWADDR, kMake, kOwn, 24), EEXIST);
  ifaddrs* all = nullptr;
  ASSERT_OK(getifaddrs(&all));
  int v4 = 0, v6 = 0;
  for (ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || strcmp(i->ifa_name, "dummy0") != 0) continue;
    if (i->ifa_addr->sa_family == AF_INET6) v6++;
    if (i->ifa_addr->sa_family != AF_INET) continue;
    v4++;
    EXPECT_EQ(reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr.s_addr, htonl(kOwn));
    EXPECT_EQ(reinterpret_cast<sockaddr_in*>(i->ifa_broadaddr)->sin_addr.s_addr,
              htonl(kOwn | 0xff));
  }
  freeifaddrs(all);
  EXPECT_EQ(v4, 1);
  EXPECT_EQ(v6, 1);  // the link's own
  // A server on the address is found.
  Fd server(socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_OK(Bind(server, V4(0, kOwn)));
  ASSERT_OK(listen(server, 1));
  EXPECT_OK(Connect(Fd(socket(AF_INET, SOCK_STREAM, 0)), V4(PortOf(server), kOwn)));
  EXPECT_EQ(Address(RTM_DELADDR, 0, kOwn, 24), 0);
  EXPECT_EQ(Address(RTM_DELADDR, 0, kOwn, 24), EADDRNOTAVAIL);
}

TEST_F(Links, HaveRoutes) {
  COVERS("connect", "sendto");
  EXPECT_EQ(Address(RTM_NEWADDR, kMake, kOwn, 24), 0);
  EXPECT_EQ(SourceTo(kOther), 0u);
  EXPECT_EQ(Route(RTM_NEWROUTE, kMake, 0x0a020000, 16), ENETDOWN);
  EXPECT_EQ(SetUpTo(true), 0);
  EXPECT_EQ(SourceTo(kOther), kOwn);
  // What is sent there is gone.
  Fd s(socket(AF_INET, SOCK_DGRAM, 0));
  const sockaddr_in to = V4(9, kOther);
  EXPECT_RET(sendto(s, "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 1);
  constexpr uint32_t kNet = 0x0a020000, kFar = 0x0a030000;
  EXPECT_EQ(SourceTo(kNet + 1), 0u);
  EXPECT_EQ(Route(RTM_NEWROUTE, kMake, kNet, 16), 0);
  EXPECT_EQ(Route(RTM_NEWROUTE, kMake, kNet, 16), EEXIST);
  EXPECT_EQ(Route(RTM_NEWROUTE, kMake, kNet + 1, 16), EINVAL);
  EXPECT_EQ(SourceTo(kNet + 1), kOwn);
  EXPECT_EQ(Route(RTM_NEWROUTE, kMake, kFar, 16, 0x0b000001), ENETUNREACH);
  EXPECT_EQ(Route(RTM_NEWROUTE, kMake, kFar, 16, kOther), 0);
  EXPECT_EQ(SourceTo(kFar + 1), kOwn);
  EXPECT_NE(ReadFile("/proc/net/route").find("dummy0\t0000030A\t0900010A\t0003"),
            std::string::npos);
  EXPECT_EQ(Route(RTM_DELROUTE, 0, kFar, 16, kOther), 0);
  EXPECT_EQ(Route(RTM_DELROUTE, 0, kFar, 16, kOther), ESRCH);
  EXPECT_EQ(SourceTo(kFar + 1), 0u);
  // A link that goes down takes its routes along.
  EXPECT_EQ(SetUpTo(false), 0);
  EXPECT_EQ(SourceTo(kNet + 1), 0u);
  EXPECT_EQ(SetUpTo(true), 0);
  EXPECT_EQ(SourceTo(kNet + 1), 0u);
  EXPECT_EQ(SourceTo(kOther), kOwn);
}

}  // namespace
