// SO_ATTACH_FILTER on the sockets whose messages come one by one.
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/syscalls/filter_util.h"

namespace {

int Attach(int fd, Program p) { return AttachProgram(fd, SO_ATTACH_FILTER, std::move(p)); }
int Detach(int fd) { return Set(fd, SOL_SOCKET, SO_DETACH_FILTER, 0); }

// What starts with the byte at that place, as many bytes as keep.
Program Starts(uint32_t at, char c, uint32_t keep) {
  return {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, at),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(c), 0, 1),
          BPF_STMT(BPF_RET | BPF_K, keep), BPF_STMT(BPF_RET | BPF_K, 0)};
}

std::string Next(int fd) {
  char buf[256];
  const ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
  return n < 0 ? "<none>" : std::string(buf, static_cast<size_t>(n));
}

TEST(SocketFilter, DatagramsOfUdp) {
  COVERS("setsockopt", "recvfrom");
  Fd a(socket(AF_INET, SOCK_DGRAM, 0)), b(socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(a, V4(0)));
  ASSERT_OK(Connect(b, V4(PortOf(a))));
  // A filter sees the UDP header first: 8 bytes, of which all are kept.
  ASSERT_OK(Attach(a, Starts(8, 'y', 8 + 3)));
  for (const char* s : {"no", "yes and more", "yo"}) EXPECT_GT(send(b, s, strlen(s), 0), 0);
  pollfd p{a, POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 1000), 1);
  EXPECT_EQ(Next(a), "yes");
  EXPECT_EQ(Next(a), "yo");
  EXPECT_EQ(Next(a), "<none>");
  ASSERT_OK(Attach(a, {BPF_STMT(BPF_RET | BPF_K, 1)}));
  EXPECT_GT(send(b, "header", 6, 0), 0);
  EXPECT_EQ(Next(a), "");
  EXPECT_OK(Detach(a));
  EXPECT_GT(send(b, "no", 2, 0), 0);
  EXPECT_EQ(Next(a), "no");
}

TEST(SocketFilter, PortsAndInterfaces) {
  COVERS("setsockopt");
  Fd a(socket(AF_INET, SOCK_DGRAM, 0)), b(socket(AF_INET, SOCK_DGRAM, 0));
  Fd c(socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(a, V4(0)));
  ASSERT_OK(Bind(b, V4(0)));
  ASSERT_OK(Connect(b, V4(PortOf(a))));
  ASSERT_OK(Connect(c, V4(PortOf(a))));
  const auto protocol = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL);
  // The source port, and that the packet is one of IPv4, by its type and by its header.
  const Program from_b = {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PortOf(b), 0, 5),
                          BPF_STMT(BPF_LD | BPF_H | BPF_ABS, protocol),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x800, 0, 3),
                          BPF_STMT(BPF_LD | BPF_B | BPF_ABS, static_cast<uint32_t>(SKF_NET_OFF)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x45, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
                          BPF_STMT(BPF_RET | BPF_K, 0)};
  ASSERT_OK(Attach(a, from_b));
  EXPECT_GT(send(c, "c", 1, 0), 0);
  EXPECT_GT(send(b, "b", 1, 0), 0);
  EXPECT_EQ(Next(a), "b");
  EXPECT_EQ(Next(a), "<none>");
}

TEST(SocketFilter, DatagramsOfUnixSockets) {
  COVERS("setsockopt");
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    int s[2];
    ASSERT_OK(socketpair(AF_UNIX, type, 0, s));
    Fd a(s[0]), b(s[1]);
    ASSERT_OK(Attach(a, Starts(0, 'y', 3)));
    EXPECT_RET(send(b, "no", 2, 0), 2);
    EXPECT_RET(send(b, "yes!", 4, 0), 4);
    EXPECT_EQ(Next(a), "yes");
    EXPECT_EQ(Next(a), "<none>");
  }
}

TEST(SocketFilter, AnswersOfNetlink) {
  COVERS("setsockopt");
  Fd s(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  struct {
    nlmsghdr h;
    rtgenmsg g;
  } request{};
  request.h.nlmsg_len = NLMSG_LENGTH(sizeof request.g);
  request.h.nlmsg_type = RTM_GETLINK;
  request.h.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ASSERT_OK(Attach(s, {BPF_STMT(BPF_RET | BPF_K, 0)}));
  EXPECT_GT(send(s, &request, request.h.nlmsg_len, 0), 0);
  EXPECT_EQ(Next(s), "<none>");
}

TEST(SocketFilter, CanBeReadBack) {
  COVERS("getsockopt", "setsockopt");
  Fd s(socket(AF_INET, SOCK_DGRAM, 0));
  // Lengths are instructions, not bytes.
  sock_filter got[8] = {};
  socklen_t n = 8;
  ASSERT_OK(getsockopt(s, SOL_SOCKET, SO_GET_FILTER, got, &n));
  EXPECT_EQ(n, 0u);
  const Program program = Starts(8, 'y', 11);
  ASSERT_OK(Attach(s, program));
  n = 0;
  ASSERT_OK(getsockopt(s, SOL_SOCKET, SO_GET_FILTER, nullptr, &n));
  EXPECT_EQ(n, program.size());
  n = static_cast<socklen_t>(program.size() - 1);
  EXPECT_ERR(getsockopt(s, SOL_SOCKET, SO_GET_FILTER, got, &n), EINVAL);
  n = static_cast<socklen_t>(program.size());
  EXPECT_ERR(getsockopt(s, SOL_SOCKET, SO_GET_FILTER, nullptr, &n), EFAULT);
  n = 8;
  ASSERT_OK(getsockopt(s, SOL_SOCKET, SO_GET_FILTER, got, &n));
  EXPECT_EQ(n, program.size());
  EXPECT_EQ(memcmp(got, program.data(), program.size() * sizeof got[0]), 0);
  EXPECT_EQ(got[program.size()].code, 0);
  n = static_cast<socklen_t>(-1);
  EXPECT_ERR(getsockopt(s, SOL_SOCKET, SO_GET_FILTER, got, &n), EINVAL);
  // One that is longer than other options' values.
  Program longer(1000, BPF_STMT(BPF_LD | BPF_IMM, 7));
  longer.push_back(BPF_STMT(BPF_RET | BPF_A, 0));
  ASSERT_OK(Attach(s, longer));
  Program all(longer.size());
  n = static_cast<socklen_t>(all.size());
  ASSERT_OK(getsockopt(s, SOL_SOCKET, SO_GET_FILTER, all.data(), &n));
  EXPECT_EQ(n, longer.size());
  EXPECT_EQ(memcmp(all.data(), longer.data(), all.size() * sizeof all[0]), 0);
}

TEST(SocketFilter, Errors) {
  COVERS("setsockopt", "getsockopt");
  Fd s(socket(AF_INET, SOCK_DGRAM, 0));
  const Program all = {BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
  EXPECT_ERR(Detach(s), ENOENT);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_ATTACH_FILTER, 0), EINVAL);
  EXPECT_ERR(Attach(s, {}), EINVAL);
  EXPECT_ERR(Attach(s, {BPF_STMT(BPF_LD | BPF_IMM, 0)}), EINVAL);
  EXPECT_ERR(Attach(s, {BPF_STMT(BPF_LD | BPF_MEM, 0), BPF_STMT(BPF_RET | BPF_A, 0)}), EINVAL);
  EXPECT_ERR(Attach(s, {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_A, 0)}),
             EINVAL);
  EXPECT_ERR(Attach(s, {BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0), BPF_STMT(BPF_RET | BPF_A, 0)}),
             EINVAL);
  sock_fprog nowhere{1, reinterpret_cast<sock_filter*>(8)};
  EXPECT_ERR(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &nowhere, sizeof nowhere), EFAULT);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_ATTACH_BPF, -1), EBADF);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_ATTACH_BPF, s), EINVAL);
  ASSERT_OK(Attach(s, all));
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_LOCK_FILTER), 0);
  EXPECT_OK(Set(s, SOL_SOCKET, SO_LOCK_FILTER, 1));
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_LOCK_FILTER), 1);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_LOCK_FILTER, 0), EPERM);
  EXPECT_OK(Set(s, SOL_SOCKET, SO_LOCK_FILTER, 1));
  EXPECT_ERR(Attach(s, all), EPERM);
  EXPECT_ERR(Detach(s), EPERM);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_ATTACH_BPF, s), EPERM);
}

}  // namespace
