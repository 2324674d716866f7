// What may be written to /proc/sys/net, in network namespaces of the test's own.
#include <sched.h>
#include <unistd.h>

#include "tests/syscalls/inet_util.h"
#include "tests/syscalls/netns_util.h"

namespace {

constexpr char kPingGroups[] = "/proc/sys/net/ipv4/ping_group_range";
constexpr char kPorts[] = "/proc/sys/net/ipv4/ip_local_port_range";
constexpr char kPrivileged[] = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
constexpr char kBacklog[] = "/proc/sys/net/core/somaxconn";

// 0, or why it wasn't written.
int Put(const char* path, const std::string& text) {
  Fd f(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC));
  if (f.get() < 0) return errno;
  return write(f, text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno;
}

using SysctlNet = NewNetwork;

TEST_F(SysctlNet, PingGroups) {
  COVERS("write", "socket");
  EXPECT_EQ(ReadFile(kPingGroups), "1\t0\n");
  EXPECT_ERR(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), EACCES);
  EXPECT_EQ(Put(kPingGroups, "0 4294967294\n"), 0);
  EXPECT_EQ(ReadFile(kPingGroups), "0\t4294967294\n");
  Fd allowed(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
  EXPECT_GE(allowed.get(), 0);
  for (const char* text : {"a b", "\n", "0 4294967295", "0 -1", "0 1x"}) {
    EXPECT_EQ(Put(kPingGroups, text), EINVAL) << text;
    EXPECT_EQ(ReadFile(kPingGroups), "0\t4294967294\n") << text;
  }
  // A range that is none: nobody.
  for (const char* text : {"1 0", "5 3\n"}) {
    EXPECT_EQ(Put(kPingGroups, "0 9"), 0);
    EXPECT_EQ(Put(kPingGroups, text), 0) << text;
    EXPECT_EQ(ReadFile(kPingGroups), "1\t0\n") << text;
    EXPECT_ERR(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), EACCES);
  }
  // One number is the first.
  EXPECT_EQ(Put(kPingGroups, "0\t9"), 0);
  EXPECT_EQ(Put(kPingGroups, "4"), 0);
  EXPECT_EQ(ReadFile(kPingGroups), "4\t9\n");
}

TEST_F(SysctlNet, PingGroupsAreTheReaders) {
  COVERS("write", "unshare");
  EXPECT_CHILD([] {
    CHILD_CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
    CHILD_CHECK(Put("/proc/self/uid_map", "0 0 1") == 0);
    CHILD_CHECK(Put("/proc/self/setgroups", "deny") == 0);
    CHILD_CHECK(Put("/proc/self/gid_map", "5 0 1") == 0);
    CHILD_CHECK(ReadFile(kPingGroups) == "65534\t5\n");
    CHILD_CHECK(Put(kPingGroups, "0 5") == EINVAL);
    CHILD_CHECK(Put(kPingGroups, "5 5") == 0);
    CHILD_CHECK(ReadFile(kPingGroups) == "5\t5\n");
  });
}

TEST_F(SysctlNet, Ports) {
  COVERS("write", "bind");
  EXPECT_EQ(ReadFile(kPorts), "32768\t60999\n");
  for (const char* text :
       {"5", "40000 30000", "0 50000", "1023 50000", "40000 65536", "40000 5x"}) {
    EXPECT_EQ(Put(kPorts, text), EINVAL) << text;
  }
  EXPECT_EQ(Put(kPorts, "  0x9c40    040000\n"), EINVAL);  // 40000 and 16384
  EXPECT_EQ(Put(kPorts, "  020000  0x9c40\n"), 0);
  EXPECT_EQ(ReadFile(kPorts), "8192\t40000\n");
  EXPECT_EQ(Put(kPorts, "39999"), 0);
  EXPECT_EQ(ReadFile(kPorts), "39999\t40000\n");
  EXPECT_EQ(Put(kPrivileged, "40000"), EINVAL);
  EXPECT_EQ(Put(kPrivileged, "65536"), EINVAL);
  EXPECT_EQ(Put(kPrivileged, "39999"), 0);
  EXPECT_EQ(Put(kPorts, "39998 40000"), EINVAL);
  EXPECT_EQ(Put(kPrivileged, "0"), 0);
  EXPECT_EQ(Put(kPorts, "0 40000"), EINVAL);
  EXPECT_EQ(Put(kPorts, "1 1"), 0);
  Fd s(socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(s, V4(0, INADDR_ANY)));
  EXPECT_EQ(PortOf(s), 1);
}

TEST_F(SysctlNet, OneNumber) {
  COVERS("write");
  for (const char* text : {"5x", "x", "\n", "-1", "2147483648", "0x"}) {
    EXPECT_EQ(Put(kBacklog, text), EINVAL) << text;
  }
  for (const char* text : {" 16 ", "16", "0x10\n", "020"}) {
    EXPECT_EQ(Put(kBacklog, text), 0) << text;
    EXPECT_EQ(ReadFile(kBacklog), "16\n") << text;
    EXPECT_EQ(Put(kBacklog, "1"), 0);
  }
}

}  // namespace
