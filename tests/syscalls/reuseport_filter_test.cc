// SO_ATTACH_REUSEPORT_CBPF: a program chooses among the sockets that share a port.
#include <poll.h>
#include <sys/socket.h>

#include "tests/syscalls/filter_util.h"

namespace {

int Attach(int fd, Program p) { return AttachProgram(fd, SO_ATTACH_REUSEPORT_CBPF, std::move(p)); }
int Detach(int fd) { return Set(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0); }

Program Always(uint32_t which) { return {BPF_STMT(BPF_RET | BPF_K, which)}; }
// The digit that a datagram starts with.
Program FirstDigit() {
  return {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, '0'),
          BPF_STMT(BPF_RET | BPF_A, 0)};
}

Fd Sharing(int type, uint16_t port, int family = AF_INET) {
  Fd s(socket(family, type, 0));
  EXPECT_OK(Set(s, SOL_SOCKET, SO_REUSEPORT, 1));
  EXPECT_OK(family == AF_INET ? Bind(s, V4(port)) : Bind(s, V6(port)));
  return s;
}

bool Readable(int fd, int timeout_ms) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

std::string Next(int fd) {
  char buf[64];
  const ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
  return n < 0 ? "-" : std::string(buf, static_cast<size_t>(n));
}

// All that came, group by group.
std::string Came(const std::vector<Fd>& group) {
  std::string all;
  for (const Fd& s : group) {
    for (std::string got = Next(s); got != "-"; got = Next(s)) all += got + " ";
    all += "/ ";
  }
  return all;
}

class Datagrams : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    group_.push_back(Sharing(SOCK_DGRAM, 0, GetParam()));
    for (int i = 1; i < 3; i++) Join();
    client_.reset(socket(GetParam(), SOCK_DGRAM, 0));
  }
  uint16_t port() const { return PortOf(group_[0]); }
  void Join() { group_.push_back(Sharing(SOCK_DGRAM, port(), GetParam())); }
  void Send(const std::string& text) {
    const ssize_t n = GetParam() == AF_INET ? SendTo(client_, text, V4(port()))
                                            : SendTo(client_, text, V6(port()));
    EXPECT_EQ(n, static_cast<ssize_t>(text.size()));
  }
  std::vector<Fd> group_;
  Fd client_;
};

TEST_P(Datagrams, GoWhereTheProgramSays) {
  COVERS("setsockopt", "sendto", "recvfrom");
  ASSERT_OK(Attach(group_[1], FirstDigit()));
  for (const char* s : {"0a", "2b", "1c", "2d", "0e"}) Send(s);
  EXPECT_EQ(Came(group_), "0a 0e / 1c / 2b 2d / ");
  // A number that is nobody's: as without a program, which is always the same for one sender.
  Send("7");
  Send("7");
  const std::string came = Came(group_);
  EXPECT_TRUE(came == "7 7 / / / " || came == "/ 7 7 / / " || came == "/ / 7 7 / ") << came;
  // It is the group's, whoever sets another.
  ASSERT_OK(Attach(group_[2], Always(1)));
  for (const char* s : {"0a", "2b"}) Send(s);
  EXPECT_EQ(Came(group_), "/ 0a 2b / / ");
}

TEST_P(Datagrams, WhoComesAndGoes) {
  COVERS("setsockopt", "bind", "close");
  ASSERT_OK(Attach(group_[0], FirstDigit()));
  Join();
  for (const char* s : {"3a", "0b"}) Send(s);
  EXPECT_EQ(Came(group_), "0b / / / 3a / ");
  // The last one takes the place of the one that goes.
  std::swap(group_[1], group_[3]);
  group_.pop_back();
  for (const char* s : {"0a", "1b", "2c"}) Send(s);
  EXPECT_EQ(Came(group_), "0a / 1b / 2c / ");
}

TEST_P(Datagrams, ProgramsSeeHeaders) {
  COVERS("setsockopt");
  ASSERT_OK(GetParam() == AF_INET ? Bind(client_, V4(0)) : Bind(client_, V6(0)));
  const uint32_t ports = GetParam() == AF_INET ? 20 : 40;
  // The first is whose datagrams come from that port, the third all others'.
  ASSERT_OK(Attach(group_[0],
                   {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, static_cast<uint32_t>(SKF_NET_OFF) + ports),
                    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PortOf(client_), 1, 0),
                    BPF_STMT(BPF_RET | BPF_K, 2), BPF_STMT(BPF_RET | BPF_K, 0)}));
  Send("mine");
  client_.reset(socket(GetParam(), SOCK_DGRAM, 0));
  Send("other");
  EXPECT_EQ(Came(group_), "mine / / other / ");
}

TEST_P(Datagrams, BeforeThereIsAGroup) {
  COVERS("setsockopt", "bind");
  auto unbound = [] {
    Fd s(socket(GetParam(), SOCK_DGRAM, 0));
    EXPECT_OK(Set(s, SOL_SOCKET, SO_REUSEPORT, 1));
    EXPECT_OK(Attach(s, Always(1)));
    return s;
  };
  auto bind_to = [](int fd, uint16_t port) {
    return GetParam() == AF_INET ? Bind(fd, V4(port)) : Bind(fd, V6(port));
  };
  group_.clear();
  group_.push_back(unbound());
  ASSERT_OK(bind_to(group_[0], 0));
  Join();
  for (const char* s : {"a", "b"}) Send(s);
  EXPECT_EQ(Came(group_), "/ a b / ");
  // Who has one of his own joins no other, not even when he has it no longer.
  Fd late = unbound();
  EXPECT_ERR(bind_to(late, port()), EADDRINUSE);
  EXPECT_OK(Detach(late));
  EXPECT_ERR(bind_to(late, port()), EADDRINUSE);
}

TEST_P(Datagrams, Detach) {
  COVERS("setsockopt");
  EXPECT_ERR(Detach(group_[0]), ENOENT);
  ASSERT_OK(Attach(group_[0], Always(1)));
  EXPECT_OK(Detach(group_[2]));
  EXPECT_ERR(Detach(group_[0]), ENOENT);
  ASSERT_OK(Set(group_[0], SOL_SOCKET, SO_REUSEPORT, 0));
  EXPECT_ERR(Detach(group_[0]), ENOENT);
  EXPECT_OK(Attach(group_[0], Always(1)));
}

INSTANTIATE_TEST_SUITE_P(Families, Datagrams, testing::Values(AF_INET, AF_INET6));

TEST(ReusePortFilter, Listeners) {
  COVERS("setsockopt", "listen", "accept");
  Fd a = Sharing(SOCK_STREAM, 0);
  Fd b = Sharing(SOCK_STREAM, PortOf(a));
  // Who is only bound is in no group: who listens first is the first.
  ASSERT_OK(listen(b, 8));
  ASSERT_OK(listen(a, 8));
  ASSERT_OK(Attach(b, Always(1)));
  for (int i = 0; i < 4; i++) {
    Fd c(socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_OK(Connect(c, V4(PortOf(a))));
    EXPECT_TRUE(Readable(a, 5000));
    Fd d(accept(a, nullptr, nullptr));
    EXPECT_GE(d.get(), 0);
    // A connection shares nothing.
    EXPECT_ERR(Attach(d, Always(0)), EINVAL);
    EXPECT_ERR(Attach(c, Always(0)), EINVAL);
    EXPECT_ERR(Detach(c), EINVAL);
  }
  ASSERT_OK(Attach(a, Always(0)));
  Fd c(socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_OK(Connect(c, V4(PortOf(a))));
  EXPECT_TRUE(Readable(b, 5000));
  EXPECT_FALSE(Readable(a, 0));
  EXPECT_OK(Detach(b));
  EXPECT_ERR(Detach(a), ENOENT);
}

TEST(ReusePortFilter, ListenersOfOneOwner) {
  COVERS("setsockopt", "listen");
  Fd a = Sharing(SOCK_STREAM, 0);
  Fd b = Sharing(SOCK_STREAM, PortOf(a));
  // A program before listen(2) is a group of its own, which has to be alone.
  ASSERT_OK(Attach(b, Always(0)));
  EXPECT_ERR(listen(b, 8), EADDRINUSE);
  a.reset();
  ASSERT_OK(listen(b, 8));
  Fd c = Sharing(SOCK_STREAM, PortOf(b));
  EXPECT_OK(listen(c, 8));
  EXPECT_OK(Detach(c));
  EXPECT_ERR(Detach(b), ENOENT);
}

TEST(ReusePortFilter, Errors) {
  COVERS("setsockopt");
  Fd s(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_ERR(Attach(s, Always(0)), EINVAL);
  EXPECT_ERR(Detach(s), EINVAL);
  ASSERT_OK(Set(s, SOL_SOCKET, SO_REUSEPORT, 1));
  EXPECT_ERR(Detach(s), ENOENT);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, 0), EINVAL);
  EXPECT_ERR(Attach(s, {}), EINVAL);
  EXPECT_ERR(Attach(s, {BPF_STMT(BPF_LD | BPF_IMM, 0)}), EINVAL);
  sock_fprog nowhere{1, reinterpret_cast<sock_filter*>(8)};
  EXPECT_ERR(setsockopt(s, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &nowhere, sizeof nowhere), EFAULT);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, -1), EBADF);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, s), EINVAL);
  EXPECT_OK(Attach(s, Always(0)));
  EXPECT_OK(Detach(s));
  EXPECT_ERR(Detach(s), ENOENT);
  ASSERT_OK(Set(s, SOL_SOCKET, SO_LOCK_FILTER, 1));
  EXPECT_ERR(Attach(s, Always(0)), EPERM);
  EXPECT_ERR(Set(s, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, s), EPERM);
  // Bound alone: there is no group.
  Fd alone(socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(alone, V4(0)));
  EXPECT_ERR(Attach(alone, Always(0)), EINVAL);
  ASSERT_OK(Set(alone, SOL_SOCKET, SO_REUSEPORT, 1));
  EXPECT_ERR(Attach(alone, Always(0)), EINVAL);
  Fd local(socket(AF_UNIX, SOCK_DGRAM, 0));
  EXPECT_ERR(Attach(local, Always(0)), EINVAL);
  EXPECT_ERR(Detach(local), EINVAL);
}

}  // namespace
