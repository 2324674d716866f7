// Client and server together, over loopback.
#include "netgofer/client/client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <future>

#include "netgofer/policy/dns_testing.h"
#include "netgofer/server/testing.h"
#include "platform/host/host.h"

namespace netgofer {
namespace {

using base::UniqueFd;
using testing::At;
using testing::Heard;
using testing::Next;
using testing::Outside;
using testing::Say;

class NetGofer : public ::testing::Test {
 protected:
  void Start(std::optional<Policy> policy = {}, bool own_ports = true) {
    ServerOptions o;
    o.policy = std::move(policy);
    o.own_ports = own_ports;
    Start(std::move(o));
  }
  void Start(ServerOptions o) {
    server_ = std::make_unique<testing::ServerThread>(std::move(o));
    UniqueFd socket = server_->TakeClientSocket();
    same_socket_.reset(dup(socket.get()));
    client_ = base::MakeRef<Client>(std::move(socket), [this](UniqueFd) { lost_.set_value(); });
  }
  void TearDown() override {
    // The client's thread has a reference of its own.
    if (same_socket_) shutdown(same_socket_.get(), SHUT_RDWR);
    if (client_ && client_->RefCount() > 1) when_lost_.wait();
    client_.reset();
    server_.reset();
  }
  base::Result<Socket> Ask(wire::Op op, uint8_t protocol, const Endpoint& remote,
                           const Endpoint& local = {}, std::vector<SocketOption> options = {},
                           bool ipv6 = false) {
    auto got = std::make_shared<std::promise<base::Result<Socket>>>();
    auto future = got->get_future();
    wire::SocketRequest r{.local = local, .remote = remote, .backlog = 8, .protocol = protocol};
    r.ipv6 = ipv6;
    client_->Ask(op, r, options, [got](base::Result<Socket> s) { got->set_value(std::move(s)); });
    if (future.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
      return abi::Errno::kETIMEDOUT;
    }
    return future.get();
  }
  base::Result<Socket> Connect(const Endpoint& remote, uint8_t protocol = IPPROTO_TCP,
                               const Endpoint& local = {}) {
    return Ask(wire::Op::kConnect, protocol, remote, local);
  }

  std::unique_ptr<testing::ServerThread> server_;
  base::Ref<Client> client_;
  UniqueFd same_socket_;
  std::promise<void> lost_;
  std::shared_future<void> when_lost_ = lost_.get_future().share();
};

Policy AllowPort(uint16_t port) {
  Policy p;
  Rule r{.allow = true, .ports = {{port, port}}, .prefixes = {*ParsePrefix("127.0.0.0/8")}};
  p.rules.push_back(r);
  return p;
}

TEST_F(NetGofer, Connects) {
  uint16_t port;
  UniqueFd listener = Outside(SOCK_STREAM, "127.0.0.1", 0, &port);
  Start();
  const int one = 1;
  const SocketOption nodelay{
      IPPROTO_TCP, TCP_NODELAY, {reinterpret_cast<const uint8_t*>(&one), sizeof one}};
  const SocketOption mark{SOL_SOCKET, SO_MARK, nodelay.value};
  auto s = Ask(wire::Op::kConnect, IPPROTO_TCP, At("127.0.0.1", port), {}, {nodelay, mark});
  ASSERT_TRUE(s.ok());
  UniqueFd peer(accept(listener.get(), nullptr, nullptr));
  EXPECT_NE(s->body.local.port, 0);
  EXPECT_EQ(s->body.remote.port, port);
  int value = 0;
  socklen_t n = sizeof value;
  getsockopt(s->fd.get(), IPPROTO_TCP, TCP_NODELAY, &value, &n);
  EXPECT_EQ(value, 1);
  EXPECT_NE(fcntl(s->fd.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(write(s->fd.get(), "hello", 5), 5);
  EXPECT_EQ(Next(peer.get()), "hello");
  // The peer sees the end only when both ends are closed.
  s->fd.reset();
  EXPECT_EQ(Next(peer.get(), 50), "<none>");
  client_->Close(s->id);
  EXPECT_EQ(Next(peer.get()), "");
}

TEST_F(NetGofer, ErrorsOfTheHost) {
  uint16_t port;
  Outside(SOCK_STREAM, "127.0.0.1", 0, &port).reset();
  Start();
  EXPECT_TRUE(Connect(At("127.0.0.1", port)).is(abi::Errno::kECONNREFUSED));
  EXPECT_TRUE(Connect(At("127.0.0.1", port), IPPROTO_TCP, At("192.0.2.1", 0))
                  .is(abi::Errno::kEADDRNOTAVAIL));
}

TEST_F(NetGofer, ManyAtOnce) {
  uint16_t port;
  UniqueFd listener = Outside(SOCK_STREAM, "127.0.0.1", 0, &port);
  Start();
  std::atomic<int> good{0}, all{0};
  for (int i = 0; i < 200; i++) {
    wire::SocketRequest r{.remote = At("127.0.0.1", port), .protocol = IPPROTO_TCP};
    client_->Ask(wire::Op::kConnect, r, {}, [&](base::Result<Socket> s) {
      if (s.ok()) {
        s->fd.reset();
        client_->Close(s->id);
        good++;
      }
      all++;
    });
    if (i % 8 == 0) UniqueFd(accept(listener.get(), nullptr, nullptr));
  }
  for (int i = 0; i < 1000 && all != 200; i++) {
    pollfd p{listener.get(), POLLIN, 0};
    if (poll(&p, 1, 10) > 0) UniqueFd(accept(listener.get(), nullptr, nullptr));
  }
  EXPECT_EQ(good, 200);
}

TEST_F(NetGofer, PolicyHolds) {
  uint16_t port, other;
  UniqueFd listener = Outside(SOCK_STREAM, "127.0.0.1", 0, &port);
  UniqueFd forbidden = Outside(SOCK_STREAM, "127.0.0.1", 0, &other);
  Start(AllowPort(port));
  EXPECT_TRUE(Connect(At("127.0.0.1", port)).ok());
  for (const char* a : {"127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "0.0.0.0", "::1"}) {
    EXPECT_TRUE(Connect(At(a, other)).is(abi::Errno::kEPERM)) << a;
  }
}

TEST_F(NetGofer, Limits) {
  uint16_t port;
  UniqueFd listener = Outside(SOCK_STREAM, "127.0.0.1", 0, &port);
  Policy p = AllowPort(port);
  p.limits.connections = 2;
  Start(p);
  auto a = Connect(At("127.0.0.1", port)), b = Connect(At("127.0.0.1", port));
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_TRUE(Connect(At("127.0.0.1", port)).is(abi::Errno::kEPERM));
  client_->Close(a->id);
  EXPECT_TRUE(Connect(At("127.0.0.1", port)).ok());
}

TEST_F(NetGofer, Datagrams) {
  uint16_t port;
  UniqueFd peer = Outside(SOCK_DGRAM, "127.0.0.1", 0, &port);
  Start();
  auto s = Ask(wire::Op::kBind, IPPROTO_UDP, {});
  ASSERT_TRUE(s.ok());
  EXPECT_EQ(s->body.flags, wire::kSendsAnywhere);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sendto(s->fd.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
  EXPECT_EQ(Next(peer.get()), "x");
  // Another socket for one peer, from the same port.
  auto c = Connect(At("127.0.0.1", port), IPPROTO_UDP, s->body.local);
  ASSERT_TRUE(c.ok());
  EXPECT_EQ(c->body.local.port, s->body.local.port);
}

TEST_F(NetGofer, DatagramsUnderAPolicy) {
  uint16_t port;
  UniqueFd peer = Outside(SOCK_DGRAM, "127.0.0.1", 0, &port);
  Start(AllowPort(port));
  auto s = Connect(At("127.0.0.1", port), IPPROTO_UDP);
  ASSERT_TRUE(s.ok());
  int domain = 0;
  socklen_t n = sizeof domain;
  getsockopt(s->fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &n);
  EXPECT_EQ(domain, AF_UNIX);
  EXPECT_TRUE(Say(s->fd.get(), "ping"));
  EXPECT_TRUE(Say(s->fd.get(), ""));
  sockaddr_in from{};
  n = sizeof from;
  char buffer[8];
  ASSERT_EQ(recvfrom(peer.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &n),
            4);
  EXPECT_EQ(ntohs(from.sin_port), s->body.local.port);
  EXPECT_EQ(Next(peer.get()), "");
  for (int i = 0; i < 40; i++) {
    const std::string text = "pong" + std::to_string(i);
    sendto(peer.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from), n);
  }
  for (int i = 0; i < 40; i++) EXPECT_EQ(Heard(s->fd.get()), "pong" + std::to_string(i));
  // Less than a head is nothing.
  EXPECT_EQ(send(s->fd.get(), "x", 1, 0), 1);
  EXPECT_TRUE(Say(s->fd.get(), "more"));
  EXPECT_EQ(Next(peer.get()), "more");
  EXPECT_TRUE(Connect(At("127.0.0.1", port + 1), IPPROTO_UDP).is(abi::Errno::kEPERM));
  // A socket that receives from anywhere sends nowhere.
  auto b = Ask(wire::Op::kBind, IPPROTO_UDP, {}, At("127.0.0.1", 0));
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(b->body.flags, 0u);
  from.sin_port = htons(b->body.local.port);
  sendto(peer.get(), "in", 2, 0, reinterpret_cast<sockaddr*>(&from), sizeof from);
  EXPECT_EQ(Next(b->fd.get()), "in");
  from.sin_port = htons(port);
  EXPECT_EQ(
      sendto(b->fd.get(), "out", 3, MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&from), sizeof from),
      -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(NetGofer, MarksOfRelayedDatagrams) {
  uint16_t port;
  UniqueFd peer = Outside(SOCK_DGRAM, "127.0.0.1", 0, &port);
  const int one = 1;
  setsockopt(peer.get(), IPPROTO_IP, IP_RECVTTL, &one, sizeof one);
  setsockopt(peer.get(), IPPROTO_IP, IP_RECVTOS, &one, sizeof one);
  Start(AllowPort(port));
  const std::span<const uint8_t> on{reinterpret_cast<const uint8_t*>(&one), sizeof one};
  auto s = Ask(wire::Op::kConnect, IPPROTO_UDP, At("127.0.0.1", port), {},
               {{IPPROTO_IP, IP_RECVTTL, on}, {IPPROTO_IP, IP_RECVTOS, on}});
  ASSERT_TRUE(s.ok());
  EXPECT_TRUE(Say(s->fd.get(), "marked",
                  {.refused = 0, .marks = wire::kTos | wire::kTtl, .tos = 0x28, .ttl = 9}));
  sockaddr_in from{};
  char buffer[8];
  alignas(cmsghdr) char room[128];
  iovec iov{buffer, sizeof buffer};
  msghdr m{&from, sizeof from, &iov, 1, room, sizeof room, 0};
  ASSERT_EQ(recvmsg(peer.get(), &m, 0), 6);
  int ttl = 0, tos = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    (c->cmsg_type == IP_TTL ? ttl : tos) = *CMSG_DATA(c);
  }
  EXPECT_EQ(ttl, 9);
  EXPECT_EQ(tos, 0x28);
  const int answer_ttl = 33;
  setsockopt(peer.get(), IPPROTO_IP, IP_TTL, &answer_ttl, sizeof answer_ttl);
  sendto(peer.get(), "answer", 6, 0, reinterpret_cast<sockaddr*>(&from), sizeof from);
  wire::RelayHead head{};
  EXPECT_EQ(Heard(s->fd.get(), 5000, &head), "answer");
  EXPECT_EQ(head.marks, wire::kTos | wire::kTtl);
  EXPECT_EQ(head.ttl, 33);
  EXPECT_EQ(head.tos, 0);
  // Nobody there: the relay says so.
  peer.reset();
  EXPECT_TRUE(Say(s->fd.get(), "lost"));
  EXPECT_EQ(Heard(s->fd.get()), "<refused>");
}

TEST_F(NetGofer, ServesPorts) {
  Start();
  auto s = Ask(wire::Op::kListen, IPPROTO_TCP, {}, At("127.0.0.1", 0));
  ASSERT_TRUE(s.ok() && s->fd.valid());
  auto again = Ask(wire::Op::kListen, IPPROTO_TCP, {}, At("127.0.0.1", s->body.local.port));
  EXPECT_TRUE(again.is(abi::Errno::kEADDRINUSE));
  auto c = Connect(At("127.0.0.1", s->body.local.port));
  ASSERT_TRUE(c.ok());
  pollfd p{s->fd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 5000), 1);
  s->fd.reset();
  client_->Close(s->id);
  EXPECT_TRUE(Connect(At("127.0.0.1", s->body.local.port)).is(abi::Errno::kECONNREFUSED));
}

TEST_F(NetGofer, PublishesOnly) {
  uint16_t port;
  Outside(SOCK_STREAM, "127.0.0.1", 0, &port).reset();
  ServerOptions o;
  o.own_ports = false;
  o.published = {{kTcp, *ParseAddress("127.0.0.1"), port, 8080}};
  Start(std::move(o));
  auto none = Ask(wire::Op::kListen, IPPROTO_TCP, {}, At("0.0.0.0", 8081));
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->fd.valid());
  auto inner = Ask(wire::Op::kListen, IPPROTO_TCP, {}, At("127.0.0.1", 8080));
  EXPECT_TRUE(inner.ok() && !inner->fd.valid());
  auto s = Ask(wire::Op::kListen, IPPROTO_TCP, {}, At("0.0.0.0", 8080));
  ASSERT_TRUE(s.ok() && s->fd.valid());
  EXPECT_EQ(s->body.local.port, 8080);
  EXPECT_TRUE(Connect(At("127.0.0.1", port)).ok());
}

TEST_F(NetGofer, LoopbackOfTheHostIsClosed) {
  uint16_t port;
  UniqueFd listener = Outside(SOCK_STREAM, "127.0.0.1", 0, &port);
  ServerOptions o;
  o.loopback = Loopback::kResolvers;
  Start(std::move(o));
  for (const char* a : {"127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(Connect(At(a, port)).is(abi::Errno::kECONNREFUSED)) << a;
  }
}

TEST_F(NetGofer, TellsWhatThereIs) {
  Start();
  auto d = client_->Describe();
  ASSERT_TRUE(d.ok());
  EXPECT_TRUE(d->loopback);
  for (const Interface& i : d->interfaces) {
    EXPECT_NE(i.name, "lo");
    EXPECT_FALSE(i.name.empty());
  }
}

TEST_F(NetGofer, ItsEnd) {
  uint16_t port;
  UniqueFd listener = Outside(SOCK_STREAM, "127.0.0.1", 0, &port);
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  UniqueFd far(fds[1]);
  client_ = base::MakeRef<Client>(UniqueFd(fds[0]), [this](UniqueFd) { lost_.set_value(); });
  std::thread killer([&] {
    Next(far.get());
    far.reset();
  });
  EXPECT_TRUE(Connect(At("127.0.0.1", port)).is(abi::Errno::kENETDOWN));
  killer.join();
  EXPECT_EQ(when_lost_.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_TRUE(Connect(At("127.0.0.1", port)).is(abi::Errno::kENETDOWN));
  EXPECT_FALSE(client_->Describe().ok());
}

TEST_F(NetGofer, ItsSuccessor) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  UniqueFd far(fds[1]), successor;
  client_ = base::MakeRef<Client>(UniqueFd(fds[0]), [&](UniqueFd next) {
    successor = std::move(next);
    lost_.set_value();
  });
  std::thread heir([&] {
    // What was asked of the dead one is not asked again.
    Next(far.get());
    int next[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, next);
    UniqueFd given(next[0]), kept(next[1]);
    const wire::ReplyHeader word{.id = wire::kSuccessorId, .error = 0, .fds = 1};
    const int fd = given.get();
    EXPECT_GT(host::SendWithFds(far.get(), &word, sizeof word, {&fd, 1}, 0), 0);
    far = std::move(kept);
  });
  EXPECT_TRUE(Connect(At("127.0.0.1", 1)).is(abi::Errno::kENETDOWN));
  heir.join();
  when_lost_.wait();
  ASSERT_TRUE(successor.valid());
  EXPECT_TRUE(Connect(At("127.0.0.1", 1)).is(abi::Errno::kENETDOWN));
  // Its client goes on counting, so that no id means two sockets.
  const uint64_t first = client_->next_id();
  lost_ = {};
  when_lost_ = lost_.get_future().share();
  client_ = base::MakeRef<Client>(
      std::move(successor), [this](UniqueFd) { lost_.set_value(); }, first);
  client_->Close(first - 1);
  wire::RequestHeader asked{};
  ASSERT_EQ(recv(far.get(), &asked, sizeof asked, 0), static_cast<ssize_t>(sizeof asked));
  EXPECT_EQ(asked.id, first - 1);
  client_->Ask(wire::Op::kConnect, {}, {}, [](base::Result<Socket>) {});
  const std::string next = Next(far.get());
  ASSERT_GE(next.size(), sizeof asked);
  memcpy(&asked, next.data(), sizeof asked);
  EXPECT_GE(asked.id, first);
}

// A resolver on a loopback address, and names that it knows.
class Names : public NetGofer {
 protected:
  static constexpr char kResolver[] = "127.0.0.77";
  void SetUp() override {
    uint16_t port;
    udp_ = Outside(SOCK_DGRAM, kResolver, 53, &port);
    tcp_ = Outside(SOCK_STREAM, kResolver, 53, &port);
    if (!udp_ || !tcp_) GTEST_SKIP() << "port 53 can't be bound";
    policy_.resolvers = {*ParseAddress(kResolver)};
    policy_.rules = {{.allow = true, .domains = {"*.example.com"}}};
  }
  // What the sandbox asks; the resolver's answer is made of what it was asked, with address.
  std::vector<uint8_t> Question(const char* name) {
    return dns::testing::Message(77, 0x0100).Question(name, 1).bytes();
  }
  static uint16_t IdOf(const std::string& m) {
    return static_cast<uint16_t>(static_cast<uint8_t>(m[0]) << 8 | static_cast<uint8_t>(m[1]));
  }
  std::string Ask(int fd, const char* name, uint32_t address) {
    const std::vector<uint8_t> q = Question(name);
    Say(fd, {reinterpret_cast<const char*>(q.data()), q.size()});
    sockaddr_in from{};
    socklen_t n = sizeof from;
    pollfd p{udp_.get(), POLLIN, 0};
    if (poll(&p, 1, 200) > 0) {
      char buffer[512];
      const ssize_t size =
          recvfrom(udp_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &n);
      dns::testing::Message answer(IdOf(std::string(buffer, static_cast<size_t>(size))), 0x8180);
      answer.Question(name, 1).A(name, address, 1);
      sendto(udp_.get(), answer.bytes().data(), answer.bytes().size(), 0,
             reinterpret_cast<sockaddr*>(&from), n);
    }
    return Heard(fd);
  }
  static int Rcode(const std::string& m) { return m.size() < 12 ? -1 : m[3] & 15; }

  UniqueFd udp_, tcp_;
  Policy policy_;
};

TEST_F(Names, AllowWhatTheyResolveTo) {
  uint16_t port;
  // The rebinding check is what keeps loopback out, so a rule lets it in.
  policy_.rules.push_back(
      {.allow = true, .ports = {{1, 1}}, .prefixes = {*ParsePrefix("127.0.0.0/8")}});
  UniqueFd listener = Outside(SOCK_STREAM, "127.0.0.99", 0, &port);
  Start(policy_);
  EXPECT_TRUE(Connect(At("127.0.0.99", port)).is(abi::Errno::kEPERM));
  auto s = Connect(At(kResolver, 53), IPPROTO_UDP);
  ASSERT_TRUE(s.ok());
  const std::string answer = Ask(s->fd.get(), "a.example.com", 0x7f000063);
  ASSERT_EQ(Rcode(answer), 0);
  EXPECT_EQ(IdOf(answer), 77);
  EXPECT_TRUE(Connect(At("127.0.0.99", port)).ok());
  EXPECT_TRUE(Connect(At("127.0.0.98", port)).is(abi::Errno::kEPERM));
}

TEST_F(Names, OthersAreRefused) {
  Start(policy_);
  auto s = Connect(At(kResolver, 53), IPPROTO_UDP);
  ASSERT_TRUE(s.ok());
  EXPECT_EQ(Rcode(Ask(s->fd.get(), "example.com", 0x01010101)), 5);
  EXPECT_EQ(Rcode(Ask(s->fd.get(), "a.example.net", 0x01010101)), 5);
  // The resolver's other ports are addresses like any other.
  EXPECT_TRUE(Connect(At(kResolver, 54), IPPROTO_UDP).is(abi::Errno::kEPERM));
  EXPECT_TRUE(Connect(At("127.0.0.78", 53), IPPROTO_UDP).is(abi::Errno::kEPERM));
}

TEST_F(Names, Rebinding) {
  Start(policy_);
  auto s = Connect(At(kResolver, 53), IPPROTO_UDP);
  ASSERT_TRUE(s.ok());
  EXPECT_EQ(Rcode(Ask(s->fd.get(), "a.example.com", 0x0a000001)), 5);
  EXPECT_EQ(Rcode(Ask(s->fd.get(), "a.example.com", 0xa9fea9fe)), 5);
  EXPECT_EQ(Rcode(Ask(s->fd.get(), "a.example.com", 0x01010101)), 0);
}

TEST_F(Names, OverTcp) {
  Start(policy_);
  auto s = Connect(At(kResolver, 53));
  ASSERT_TRUE(s.ok());
  UniqueFd peer(accept(tcp_.get(), nullptr, nullptr));
  auto framed = [](const std::vector<uint8_t>& m) {
    std::string out = {static_cast<char>(m.size() >> 8), static_cast<char>(m.size())};
    return out + std::string(m.begin(), m.end());
  };
  const std::string good = framed(Question("a.example.com"));
  for (char c : good) ASSERT_EQ(write(s->fd.get(), &c, 1), 1);
  const std::string asked = Next(peer.get());
  ASSERT_EQ(asked.size(), good.size());
  dns::testing::Message answer(IdOf(asked.substr(2)), 0x8180);
  answer.Question("a.example.com", 1).A("a.example.com", 0x01010101, 1);
  const std::string reply = framed(answer.bytes());
  ASSERT_EQ(write(peer.get(), reply.data(), reply.size()), static_cast<ssize_t>(reply.size()));
  std::string got = Next(s->fd.get());
  EXPECT_EQ(Rcode(got.substr(2)), 0);
  const std::string bad = framed(Question("example.org"));
  ASSERT_EQ(write(s->fd.get(), bad.data(), bad.size()), static_cast<ssize_t>(bad.size()));
  got = Next(s->fd.get());
  EXPECT_EQ(Rcode(got.substr(2)), 5);
  EXPECT_EQ(Next(peer.get(), 50), "<none>");
  // What is no DNS ends it.
  const std::string junk("\xff\xff junk");
  ASSERT_EQ(write(s->fd.get(), junk.data(), junk.size()), static_cast<ssize_t>(junk.size()));
  EXPECT_EQ(Next(s->fd.get()), "");
}

TEST(Control, ChangesThePolicy) {
  uint16_t port;
  UniqueFd listener = Outside(SOCK_STREAM, "127.0.0.1", 0, &port);
  // In this thread, so that the server can be asked directly.
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  UniqueFd near(fds[0]);
  ServerOptions o;
  o.socket.reset(fds[1]);
  Server server(std::move(o));
  ASSERT_EQ(server.Open(), 0);
  auto ask = [&](uint64_t id, wire::Op op, uint8_t protocol) {
    uint8_t message[sizeof(wire::RequestHeader) + sizeof(wire::SocketRequest)];
    wire::Writer w(message);
    w.Put(wire::RequestHeader{.op = static_cast<uint32_t>(op), .reserved = 0, .id = id});
    w.Put(wire::SocketRequest{.remote = At("127.0.0.1", port), .protocol = protocol});
    ASSERT_TRUE(server.Handle(message));
  };
  ask(1, wire::Op::kConnect, IPPROTO_TCP);
  ask(2, wire::Op::kBind, IPPROTO_UDP);
  ASSERT_EQ(server.RunOnce(), 0);
  UniqueFd peer(accept(listener.get(), nullptr, nullptr));
  auto set = [&](const Policy& p, uint32_t cut) {
    std::vector<uint8_t> message(8);
    const uint32_t words[2] = {static_cast<uint32_t>(wire::ControlOp::kSetPolicy), cut};
    memcpy(message.data(), words, sizeof words);
    const std::vector<uint8_t> policy = Encode(p);
    message.insert(message.end(), policy.begin(), policy.end());
    wire::ControlReply reply;
    memcpy(&reply, server.HandleControl(message).data(), sizeof reply);
    return reply;
  };
  // The datagram socket could send anywhere, so it goes with the first policy in any case.
  EXPECT_EQ(set(AllowPort(port), 1).cut, 1u);
  EXPECT_EQ(set({}, 0).cut, 0u);
  EXPECT_EQ(Next(peer.get(), 50), "<none>");
  EXPECT_EQ(set({}, 1).cut, 1u);
  EXPECT_EQ(Next(peer.get()), "<error>");  // reset
  EXPECT_EQ(server.HandleControl({}).size(), sizeof(wire::ControlReply));
}

}  // namespace
}  // namespace netgofer
