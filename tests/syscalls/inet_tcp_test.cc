// TCP over the loopback addresses: binding, connecting, accepting, states and errors, options.
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <thread>

#include "tests/syscalls/inet_util.h"

namespace {

short Poll(int fd, int timeout_ms = 0, short events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI) {
  pollfd p{fd, events, 0};
  EXPECT_GE(poll(&p, 1, timeout_ms), 0);
  return p.revents;
}
// Waits until the state is want: what goes over a real loopback takes a moment.
::testing::AssertionResult PollBecomes(int fd, short want) {
  short got = 0;
  for (int i = 0; i < 200; i++) {
    got = Poll(fd);
    if (got == want) return ::testing::AssertionSuccess();
    usleep(5000);
  }
  return ::testing::AssertionFailure() << "poll gives " << got << ", not " << want;
}
Fd Listener(int backlog = 8, int flags = 0) {
  Fd s(socket(AF_INET, SOCK_STREAM | flags, 0));
  EXPECT_OK(Bind(s, V4(0)));
  EXPECT_OK(listen(s, backlog));
  return s;
}
struct Pair {
  Pair() {
    Fd l = Listener();
    a = Fd(socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_OK(Connect(a, V4(PortOf(l))));
    b = Fd(accept(l, nullptr, nullptr));
    EXPECT_GE(b.get(), 0);
  }
  Fd a, b;
};

TEST(Tcp, Create) {
  COVERS("socket");
  EXPECT_OK(Fd(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)).get());
  EXPECT_OK(Fd(socket(AF_INET6, SOCK_STREAM, 0)).get());
  EXPECT_ERR(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
  EXPECT_ERR(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
  EXPECT_ERR(socket(AF_INET, SOCK_STREAM, 1000), EINVAL);
  int pair[2];
  EXPECT_ERR(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP);
  Fd s(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_DOMAIN), AF_INET);
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
  EXPECT_EQ(Poll(s), POLLOUT | POLLHUP);
}

TEST(Tcp, BindErrors) {
  COVERS("bind", "listen");
  Fd s(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in a = V4(0);
  EXPECT_ERR(bind(s, reinterpret_cast<sockaddr*>(&a), 8), EINVAL);
  a.sin_family = AF_INET6;
  EXPECT_ERR(Bind(s, a), EAFNOSUPPORT);
  EXPECT_ERR(Bind(s, V4(0, 0x01020304)), EADDRNOTAVAIL);
  EXPECT_OK(Bind(s, V4(0)));
  EXPECT_ERR(Bind(s, V4(0)), EINVAL);
  const uint16_t port = PortOf(s);
  EXPECT_GE(port, 1024);
  EXPECT_OK(listen(s, 4));
  Fd t(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_ERR(Bind(t, V4(port)), EADDRINUSE);
  EXPECT_ERR(Bind(t, V4(port, INADDR_ANY)), EADDRINUSE);
  EXPECT_OK(Set(t, SOL_SOCKET, SO_REUSEADDR, 1));
  EXPECT_ERR(Bind(t, V4(port)), EADDRINUSE);
  // Another address of 127.0.0.0/8 is another place.
  EXPECT_OK(Bind(t, V4(port, INADDR_LOOPBACK + 1)));
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_ACCEPTCONN), 1);
}

TEST(Tcp, ReuseAddr) {
  COVERS("socket", "listen");
  Fd s(socket(AF_INET, SOCK_STREAM, 0)), t(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_OK(Set(s, SOL_SOCKET, SO_REUSEADDR, 1));
  EXPECT_OK(Set(t, SOL_SOCKET, SO_REUSEADDR, 1));
  EXPECT_OK(Bind(s, V4(0)));
  EXPECT_OK(Bind(t, V4(PortOf(s))));
  EXPECT_OK(listen(s, 1));
  EXPECT_ERR(listen(t, 1), EADDRINUSE);
}

TEST(Tcp, ReusePort) {
  COVERS("socket", "listen");
  Fd s(socket(AF_INET, SOCK_STREAM, 0)), t(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_OK(Set(s, SOL_SOCKET, SO_REUSEPORT, 1));
  EXPECT_OK(Set(t, SOL_SOCKET, SO_REUSEPORT, 1));
  EXPECT_OK(Bind(s, V4(0)));
  const uint16_t port = PortOf(s);
  EXPECT_OK(Bind(t, V4(port)));
  EXPECT_OK(listen(s, 64));
  EXPECT_OK(listen(t, 64));
  std::vector<Fd> clients;
  for (int i = 0; i < 64; i++) {
    clients.emplace_back(socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_OK(Connect(clients.back(), V4(port)));
  }
  EXPECT_TRUE(Poll(s, 1000) & POLLIN);
  EXPECT_TRUE(Poll(t, 1000) & POLLIN);
}

TEST(Tcp, TimeWait) {
  COVERS("socket", "accept");
  uint16_t port;
  {
    Fd l = Listener();
    port = PortOf(l);
    Fd c(socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_OK(Connect(c, V4(port)));
    Fd s(accept(l, nullptr, nullptr));
    s.reset();  // the server closes first
    char x;
    EXPECT_RET(read(c, &x, 1), 0);
  }
  usleep(20000);
  Fd again(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_ERR(Bind(again, V4(port)), EADDRINUSE);
}

TEST(Tcp, Connect) {
  COVERS("connect", "accept4", "getpeername", "getsockname");
  Fd l = Listener();
  Fd c(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in a = V4(PortOf(l));
  EXPECT_ERR(connect(c, reinterpret_cast<sockaddr*>(&a), 8), EINVAL);
  EXPECT_ERR(connect(c, reinterpret_cast<sockaddr*>(&a), 1), EINVAL);
  sockaddr_in wrong = a;
  wrong.sin_family = AF_INET6;
  EXPECT_ERR(Connect(c, wrong), EAFNOSUPPORT);
  socklen_t n = sizeof a;
  EXPECT_ERR(getpeername(c, reinterpret_cast<sockaddr*>(&a), &n), ENOTCONN);
  EXPECT_OK(Connect(c, V4(PortOf(l))));
  EXPECT_ERR(Connect(c, V4(PortOf(l))), EISCONN);
  n = sizeof a;
  EXPECT_OK(getpeername(c, reinterpret_cast<sockaddr*>(&a), &n));
  EXPECT_EQ(n, sizeof a);
  EXPECT_EQ(ntohs(a.sin_port), PortOf(l));
  EXPECT_EQ(ntohl(a.sin_addr.s_addr), INADDR_LOOPBACK);
  n = sizeof a;
  Fd s(accept4(l, reinterpret_cast<sockaddr*>(&a), &n, SOCK_NONBLOCK | SOCK_CLOEXEC));
  EXPECT_EQ(ntohs(a.sin_port), PortOf(c));
  EXPECT_EQ(PortOf(s), PortOf(l));
  EXPECT_EQ(fcntl(s, F_GETFL), O_RDWR | O_NONBLOCK);
  EXPECT_EQ(Poll(c), POLLOUT);
  char x;
  EXPECT_ERR(read(s, &x, 1), EAGAIN);
  EXPECT_RET(write(c, "hello", 5), 5);
  EXPECT_TRUE(Poll(s, 1000, POLLIN) & POLLIN);
  char buf[16];
  EXPECT_RET(recv(s, buf, sizeof buf, MSG_PEEK), 5);
  int in = 0;
  EXPECT_OK(ioctl(s, FIONREAD, &in));
  EXPECT_EQ(in, 5);
  EXPECT_RET(read(s, buf, sizeof buf), 5);
}

TEST(Tcp, Refused) {
  COVERS("socket");
  Fd l = Listener();
  const uint16_t port = PortOf(l);
  l.reset();
  Fd c(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_ERR(Connect(c, V4(port)), ECONNREFUSED);
  Fd d(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  EXPECT_ERR(Connect(d, V4(port)), EINPROGRESS);
  EXPECT_TRUE(PollBecomes(d, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
  EXPECT_EQ(Get(d, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
  EXPECT_EQ(Get(d, SOL_SOCKET, SO_ERROR), 0);
  // The socket is as good as new.
  Fd l2 = Listener();
  EXPECT_OK(Connect(c, V4(PortOf(l2))));
}

TEST(Tcp, NonblockingConnect) {
  COVERS("socket", "listen", "accept");
  Fd l = Listener();
  Fd c(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  EXPECT_ERR(Connect(c, V4(PortOf(l))), EINPROGRESS);
  EXPECT_TRUE(PollBecomes(c, POLLOUT));
  EXPECT_EQ(Get(c, SOL_SOCKET, SO_ERROR), 0);
  EXPECT_OK(Connect(c, V4(PortOf(l))));
  EXPECT_ERR(Connect(c, V4(PortOf(l))), EISCONN);
  Fd n(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  EXPECT_OK(listen(n, 1));  // binds by itself
  EXPECT_ERR(accept(n, nullptr, nullptr), EAGAIN);
  EXPECT_ERR(Connect(n, V4(PortOf(l))), EISCONN);
  Fd plain(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_ERR(accept(plain, nullptr, nullptr), EINVAL);
}

TEST(Tcp, HalfClose) {
  COVERS("shutdown");
  Pair p;
  EXPECT_RET(write(p.a, "x", 1), 1);
  EXPECT_OK(shutdown(p.a, SHUT_WR));
  EXPECT_TRUE(PollBecomes(p.b, POLLIN | POLLOUT | POLLRDHUP));
  char c;
  EXPECT_RET(read(p.b, &c, 1), 1);
  EXPECT_RET(read(p.b, &c, 1), 0);
  EXPECT_RET(write(p.b, "y", 1), 1);
  EXPECT_RET(read(p.a, &c, 1), 1);
  EXPECT_ERR(send(p.a, "z", 1, MSG_NOSIGNAL), EPIPE);
  EXPECT_OK(shutdown(p.b, SHUT_WR));
  EXPECT_TRUE(PollBecomes(p.a, POLLIN | POLLOUT | POLLRDHUP | POLLHUP));
  EXPECT_RET(read(p.a, &c, 1), 0);
  Fd fresh(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_ERR(shutdown(fresh, SHUT_WR), ENOTCONN);
  EXPECT_ERR(shutdown(p.a, 3), EINVAL);
  EXPECT_ERR(send(fresh, "x", 1, MSG_NOSIGNAL), EPIPE);
  EXPECT_ERR(recv(fresh, &c, 1, 0), ENOTCONN);
}

TEST(Tcp, ResetByUnreadData) {
  COVERS("socket", "sendto");
  Pair p;
  EXPECT_RET(write(p.a, "data", 4), 4);
  EXPECT_TRUE(Poll(p.b, 1000, POLLIN) & POLLIN);
  p.b.reset();
  EXPECT_TRUE(PollBecomes(p.a, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
  char c;
  EXPECT_ERR(read(p.a, &c, 1), ECONNRESET);
  EXPECT_RET(read(p.a, &c, 1), 0);
  EXPECT_ERR(send(p.a, "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(Tcp, ResetByLinger) {
  COVERS("socket", "setsockopt");
  Pair p;
  linger l{1, 0};
  EXPECT_OK(setsockopt(p.b, SOL_SOCKET, SO_LINGER, &l, sizeof l));
  EXPECT_RET(write(p.b, "abc", 3), 3);
  char buf[8];
  EXPECT_TRUE(Poll(p.a, 1000, POLLIN) & POLLIN);
  p.b.reset();
  EXPECT_TRUE(PollBecomes(p.a, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
  EXPECT_RET(read(p.a, buf, sizeof buf), 3);
  EXPECT_ERR(read(p.a, buf, sizeof buf), ECONNRESET);
}

TEST(Tcp, SendAfterPeerClosed) {
  COVERS("socket", "sendto");
  Pair p;
  p.b.reset();
  char c;
  EXPECT_RET(read(p.a, &c, 1), 0);
  EXPECT_RET(write(p.a, "x", 1), 1);  // answered by a reset
  usleep(20000);
  EXPECT_ERR(send(p.a, "x", 1, MSG_NOSIGNAL), EPIPE);
  EXPECT_RET(read(p.a, &c, 1), 0);
}

TEST(Tcp, BufferFills) {
  COVERS("socket");
  Pair p;
  EXPECT_OK(fcntl(p.a, F_SETFL, O_NONBLOCK));
  std::string chunk(100000, 'x');
  size_t total = 0;
  for (;;) {
    ssize_t n = write(p.a, chunk.data(), chunk.size());
    if (n < 0) {
      EXPECT_EQ(errno, EAGAIN);
      break;
    }
    total += static_cast<size_t>(n);
    ASSERT_LT(total, 64u << 20);
  }
  EXPECT_EQ(Poll(p.a) & POLLOUT, 0);
  std::string buf(100000, 0);
  size_t got = 0;
  while (got < total) {
    ssize_t n = read(p.b, buf.data(), buf.size());
    ASSERT_GT(n, 0);
    got += static_cast<size_t>(n);
  }
  EXPECT_EQ(got, total);
  EXPECT_TRUE(Poll(p.a, 1000, POLLOUT) & POLLOUT);
}

TEST(Tcp, Stream) {
  COVERS("socket", "shutdown");
  Pair p;
  constexpr size_t kTotal = 8 << 20;
  std::thread writer([&] {
    std::string data(70001, 0);
    size_t at = 0;
    while (at < kTotal) {
      for (size_t i = 0; i < data.size(); i++) data[i] = static_cast<char>((at + i) % 251);
      size_t n = std::min(data.size(), kTotal - at), done = 0;
      while (done < n) {
        ssize_t k = write(p.a, data.data() + done, n - done);
        ASSERT_GT(k, 0);
        done += static_cast<size_t>(k);
      }
      at += n;
    }
    shutdown(p.a, SHUT_WR);
  });
  std::string buf(50000, 0);
  size_t at = 0;
  bool same = true;
  for (;;) {
    ssize_t n = read(p.b, buf.data(), buf.size());
    ASSERT_GE(n, 0);
    if (n == 0) break;
    for (ssize_t i = 0; i < n; i++) {
      same &= buf[static_cast<size_t>(i)] == static_cast<char>((at + static_cast<size_t>(i)) % 251);
    }
    at += static_cast<size_t>(n);
  }
  writer.join();
  EXPECT_EQ(at, kTotal);
  EXPECT_TRUE(same);
}

TEST(Tcp, WaitAll) {
  COVERS("socket", "shutdown", "recvfrom");
  Pair p;
  std::thread writer([&] {
    for (int i = 0; i < 4; i++) {
      EXPECT_RET(write(p.a, "abcd", 4), 4);
      usleep(5000);
    }
  });
  char buf[16];
  EXPECT_RET(recv(p.b, buf, sizeof buf, MSG_WAITALL), 16);
  writer.join();
  EXPECT_RET(write(p.a, "abcd", 4), 4);
  EXPECT_OK(shutdown(p.a, SHUT_WR));
  EXPECT_RET(recv(p.b, buf, sizeof buf, MSG_WAITALL), 4);
  // MSG_TRUNC throws bytes away.
  EXPECT_RET(write(p.b, "12345", 5), 5);
  EXPECT_TRUE(Poll(p.a, 1000, POLLIN) & POLLIN);
  EXPECT_RET(recv(p.a, nullptr, 3, MSG_TRUNC), 3);
  EXPECT_RET(read(p.a, buf, sizeof buf), 2);
}

TEST(Tcp, LowWater) {
  COVERS("socket");
  Pair p;
  EXPECT_OK(Set(p.b, SOL_SOCKET, SO_RCVLOWAT, 4));
  EXPECT_RET(write(p.a, "ab", 2), 2);
  usleep(20000);
  EXPECT_EQ(Poll(p.b), POLLOUT);
  EXPECT_RET(write(p.a, "cd", 2), 2);
  EXPECT_TRUE(PollBecomes(p.b, POLLIN | POLLOUT));
  EXPECT_EQ(Get(p.b, SOL_SOCKET, SO_RCVLOWAT), 4);
}

TEST(Tcp, Timeouts) {
  COVERS("socket", "setsockopt");
  Pair p;
  timeval tv{0, 20000};
  EXPECT_OK(setsockopt(p.a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  char c;
  EXPECT_ERR(read(p.a, &c, 1), EAGAIN);
}

TEST(Tcp, Urgent) {
  COVERS("socket", "ioctl", "recvfrom", "sendto");
  Pair p;
  char buf[16];
  EXPECT_ERR(recv(p.b, buf, 1, MSG_OOB), EINVAL);
  EXPECT_RET(send(p.a, "abc", 3, MSG_OOB), 3);
  EXPECT_RET(send(p.a, "de", 2, 0), 2);
  EXPECT_TRUE(Poll(p.b, 1000, POLLPRI) & POLLPRI);
  usleep(20000);
  EXPECT_RET(read(p.b, buf, sizeof buf), 2);  // up to the mark
  int at = 0;
  EXPECT_OK(ioctl(p.b, SIOCATMARK, &at));
  EXPECT_EQ(at, 1);
  EXPECT_RET(recv(p.b, buf, 1, MSG_OOB), 1);
  EXPECT_EQ(buf[0], 'c');
  EXPECT_ERR(recv(p.b, buf, 1, MSG_OOB), EINVAL);
  EXPECT_RET(read(p.b, buf, sizeof buf), 2);
  EXPECT_EQ(std::string(buf, 2), "de");
  EXPECT_OK(ioctl(p.b, SIOCATMARK, &at));
  EXPECT_EQ(at, 0);
}

TEST(Tcp, UrgentInline) {
  COVERS("socket", "sendto");
  Pair p;
  EXPECT_OK(Set(p.b, SOL_SOCKET, SO_OOBINLINE, 1));
  EXPECT_RET(send(p.a, "abc", 3, MSG_OOB), 3);
  EXPECT_TRUE(Poll(p.b, 1000, POLLPRI) & POLLPRI);
  char buf[16];
  EXPECT_RET(read(p.b, buf, sizeof buf), 2);
  EXPECT_RET(read(p.b, buf, sizeof buf), 1);
  EXPECT_EQ(buf[0], 'c');
}

volatile sig_atomic_t urgent_signals;

TEST(Tcp, UrgentSignal) {
  COVERS("socket", "sendto");
  Pair p;
  urgent_signals = 0;
  struct sigaction sa {};
  sa.sa_handler = [](int) { urgent_signals = urgent_signals + 1; };
  ASSERT_OK(sigaction(SIGURG, &sa, nullptr));
  EXPECT_OK(fcntl(p.b, F_SETOWN, getpid()));
  EXPECT_RET(send(p.a, "x", 1, MSG_OOB), 1);
  for (int i = 0; i < 200 && urgent_signals == 0; i++) usleep(5000);
  EXPECT_EQ(urgent_signals, 1);
  signal(SIGURG, SIG_DFL);
}

TEST(Tcp, Backlog) {
  COVERS("socket", "accept");
  Fd l = Listener(0);
  const uint16_t port = PortOf(l);
  Fd a(socket(AF_INET, SOCK_STREAM, 0)), b(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  EXPECT_OK(Connect(a, V4(port)));
  EXPECT_ERR(Connect(b, V4(port)), EINPROGRESS);
  usleep(50000);
  EXPECT_EQ(Poll(b), 0);
  EXPECT_ERR(Connect(b, V4(port)), EALREADY);
  Fd s(accept(l, nullptr, nullptr));
  EXPECT_TRUE(Poll(b, 5000, POLLOUT) & POLLOUT);
  EXPECT_EQ(Get(b, SOL_SOCKET, SO_ERROR), 0);
  Fd t(accept(l, nullptr, nullptr));
  EXPECT_GE(t.get(), 0);
}

TEST(Tcp, ListenerCloses) {
  COVERS("socket");
  Fd l = Listener();
  Fd c(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_OK(Connect(c, V4(PortOf(l))));
  l.reset();
  EXPECT_TRUE(PollBecomes(c, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
  char x;
  EXPECT_ERR(read(c, &x, 1), ECONNRESET);
}

TEST(Tcp, ListenerShutDown) {
  COVERS("socket", "shutdown", "accept");
  Fd l = Listener();
  std::thread waiter([&] { EXPECT_ERR(accept(l, nullptr, nullptr), EINVAL); });
  usleep(50000);
  EXPECT_OK(shutdown(l, SHUT_RD));
  waiter.join();
}

TEST(Tcp, Disconnect) {
  COVERS("socket", "connect");
  Pair p;
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  EXPECT_OK(connect(p.a, &none, sizeof none));
  EXPECT_TRUE(PollBecomes(p.b, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
  Fd l = Listener();
  EXPECT_OK(Connect(p.a, V4(PortOf(l))));
}

TEST(Tcp, V6AndDualStack) {
  COVERS("socket", "listen", "accept");
  Fd l(socket(AF_INET6, SOCK_STREAM, 0));
  EXPECT_OK(Bind(l, V6(0, "::")));
  EXPECT_OK(listen(l, 8));
  const uint16_t port = PortOf(l);
  Fd c4(socket(AF_INET, SOCK_STREAM, 0)), c6(socket(AF_INET6, SOCK_STREAM, 0)),
      mapped(socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 a{};
  socklen_t n = sizeof a;
  char text[64];
  EXPECT_OK(Connect(c4, V4(port)));
  Fd s4(accept(l, reinterpret_cast<sockaddr*>(&a), &n));
  EXPECT_EQ(n, sizeof a);
  EXPECT_STREQ(inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text), "::ffff:127.0.0.1");
  EXPECT_OK(Connect(c6, V6(port)));
  n = sizeof a;
  Fd s6(accept(l, reinterpret_cast<sockaddr*>(&a), &n));
  EXPECT_STREQ(inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text), "::1");
  EXPECT_OK(Connect(mapped, V6(port, "::ffff:127.0.0.1")));
  Fd in4(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_ERR(Bind(in4, V4(port)), EADDRINUSE);
  Fd only(socket(AF_INET6, SOCK_STREAM, 0));
  EXPECT_OK(Set(only, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  EXPECT_OK(Bind(only, V6(0, "::")));
  EXPECT_ERR(Set(only, IPPROTO_IPV6, IPV6_V6ONLY, 0), EINVAL);
  EXPECT_OK(listen(only, 1));
  EXPECT_OK(Bind(in4, V4(PortOf(only))));
  Fd c(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_ERR(Connect(c, V4(PortOf(only))), ECONNREFUSED);
}

TEST(Tcp, Options) {
  COVERS("setsockopt", "getsockopt");
  Pair p;
  EXPECT_EQ(Get(p.a, IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_OK(Set(p.a, IPPROTO_TCP, TCP_NODELAY, 5));
  EXPECT_EQ(Get(p.a, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(Get(p.a, IPPROTO_TCP, TCP_KEEPIDLE), 7200);
  EXPECT_ERR(Set(p.a, IPPROTO_TCP, TCP_KEEPIDLE, 0), EINVAL);
  EXPECT_ERR(Set(p.a, IPPROTO_TCP, TCP_KEEPCNT, 128), EINVAL);
  EXPECT_OK(Set(p.a, IPPROTO_TCP, TCP_KEEPINTVL, 5));
  EXPECT_EQ(Get(p.a, IPPROTO_TCP, TCP_KEEPINTVL), 5);
  EXPECT_OK(Set(p.a, IPPROTO_TCP, TCP_USER_TIMEOUT, 1000));
  EXPECT_ERR(Set(p.a, IPPROTO_TCP, TCP_USER_TIMEOUT, -1), EINVAL);
  EXPECT_OK(Set(p.a, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5));
  EXPECT_EQ(Get(p.a, IPPROTO_TCP, TCP_DEFER_ACCEPT), 7);
  EXPECT_ERR(Set(p.a, IPPROTO_TCP, 99, 1), ENOPROTOOPT);
  EXPECT_ERR(Set(p.a, 99, 1, 1), ENOPROTOOPT);
  char v = 1;
  EXPECT_ERR(setsockopt(p.a, IPPROTO_TCP, TCP_NODELAY, &v, 1), EINVAL);
  EXPECT_ERR(setsockopt(p.a, IPPROTO_TCP, TCP_CONGESTION, "nonsense", 8), ENOENT);
  char ca[32];
  socklen_t n = sizeof ca;
  EXPECT_OK(getsockopt(p.a, IPPROTO_TCP, TCP_CONGESTION, ca, &n));
  EXPECT_EQ(n, 16u);
  tcp_info info{};
  n = sizeof info;
  EXPECT_OK(getsockopt(p.a, IPPROTO_TCP, TCP_INFO, &info, &n));
  EXPECT_EQ(info.tcpi_state, TCP_ESTABLISHED);
  EXPECT_EQ(Get(p.a, IPPROTO_IP, IP_TTL), 64);
  EXPECT_ERR(Set(p.a, IPPROTO_IP, IP_TTL, 256), EINVAL);
  EXPECT_OK(Set(p.a, IPPROTO_IP, IP_TOS, 0x10));
  EXPECT_EQ(Get(p.a, IPPROTO_IP, IP_TOS), 0x10);
  EXPECT_ERR(Set(p.a, IPPROTO_IPV6, IPV6_V6ONLY, 1), ENOPROTOOPT);
  // Inherited from the listener.
  Fd l(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_OK(Set(l, IPPROTO_TCP, TCP_NODELAY, 1));
  EXPECT_OK(Set(l, SOL_SOCKET, SO_KEEPALIVE, 1));
  EXPECT_OK(Bind(l, V4(0)));
  EXPECT_OK(listen(l, 1));
  Fd c(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_OK(Connect(c, V4(PortOf(l))));
  Fd s(accept(l, nullptr, nullptr));
  EXPECT_EQ(Get(s, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_KEEPALIVE), 1);
}

TEST(Tcp, MuchAtOnce) {
  COVERS("socket", "write", "read");
  Pair p;
  constexpr size_t kAll = 8 << 20;
  auto byte = [](size_t i) { return static_cast<char>(i * 7 + (i >> 12)); };
  std::thread writer([&] {
    std::vector<char> buf(300000);
    size_t done = 0, turn = 0;
    while (done < kAll) {
      const size_t want = std::min(kAll - done, 1 + turn++ * 37139 % buf.size());
      for (size_t i = 0; i < want; i++) buf[i] = byte(done + i);
      const ssize_t n = write(p.a, buf.data(), want);
      EXPECT_GT(n, 0);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    EXPECT_OK(shutdown(p.a, SHUT_WR));
  });
  std::vector<char> buf(200000);
  size_t done = 0, turn = 0, wrong = 0;
  for (;;) {
    const ssize_t n = read(p.b, buf.data(), 1 + turn++ * 51437 % buf.size());
    EXPECT_GE(n, 0);
    if (n <= 0) break;
    for (size_t i = 0; i < static_cast<size_t>(n); i++) wrong += buf[i] != byte(done + i);
    done += static_cast<size_t>(n);
  }
  writer.join();
  EXPECT_EQ(done, kAll);
  EXPECT_EQ(wrong, 0u);
}

TEST(Tcp, ABadAddressLosesNothing) {
  COVERS("read");
  Pair p;
  constexpr size_t kAll = 100000, kGood = 64 << 10;
  std::string text(kAll, 0);
  for (size_t i = 0; i < kAll; i++) text[i] = static_cast<char>(i % 251);
  ASSERT_RET(write(p.a, text.data(), kAll), static_cast<ssize_t>(kAll));
  auto* m = static_cast<char*>(
      mmap(nullptr, 2 * kGood, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(m, MAP_FAILED);
  ASSERT_OK(mprotect(m + kGood, kGood, PROT_NONE));
  // How much comes before the fault depends on how the stream is cut.
  const ssize_t n = read(p.b, m, 2 * kGood);
  if (n < 0) {
    EXPECT_EQ(errno, EFAULT);
  }
  std::string got(m, n < 0 ? 0 : static_cast<size_t>(n));
  std::string rest(kAll - got.size(), 0);
  EXPECT_RET(recv(p.b, &rest[0], rest.size(), MSG_WAITALL), static_cast<ssize_t>(rest.size()));
  EXPECT_TRUE(got + rest == text);
  munmap(m, 2 * kGood);
}

TEST(Tcp, EpollEdges) {
  COVERS("socket", "epoll_wait");
  Pair p;
  Fd ep(epoll_create1(0));
  epoll_event e{};
  e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  EXPECT_OK(epoll_ctl(ep, EPOLL_CTL_ADD, p.b, &e));
  EXPECT_RET(epoll_wait(ep, &e, 1, 1000), 1);
  EXPECT_EQ(e.events, EPOLLOUT);
  EXPECT_RET(epoll_wait(ep, &e, 1, 0), 0);
  EXPECT_RET(write(p.a, "a", 1), 1);
  EXPECT_RET(epoll_wait(ep, &e, 1, 1000), 1);
  EXPECT_EQ(e.events, EPOLLIN | EPOLLOUT);
  EXPECT_RET(epoll_wait(ep, &e, 1, 0), 0);
  EXPECT_RET(write(p.a, "b", 1), 1);  // an edge each time data comes
  EXPECT_RET(epoll_wait(ep, &e, 1, 1000), 1);
  p.a.reset();
  EXPECT_RET(epoll_wait(ep, &e, 1, 1000), 1);
  EXPECT_EQ(e.events, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

}  // namespace
