// Sockets of the local domain: stream, datagram, seqpacket, names, control messages, states.
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

sockaddr_un Name(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  memcpy(a.sun_path, path.data(), path.size());
  return a;
}
socklen_t NameLen(const std::string& path) {
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (path[0] ? 1 : 0));
}
int Bind(int fd, const std::string& path) {
  sockaddr_un a = Name(path);
  return bind(fd, reinterpret_cast<sockaddr*>(&a), NameLen(path));
}
int Connect(int fd, const std::string& path) {
  sockaddr_un a = Name(path);
  return connect(fd, reinterpret_cast<sockaddr*>(&a), NameLen(path));
}

struct Pair {
  explicit Pair(int type = SOCK_STREAM) {
    int s[2] = {-1, -1};
    EXPECT_OK(socketpair(AF_UNIX, type, 0, s));
    a.reset(s[0]);
    b.reset(s[1]);
  }
  Fd a, b;
};

class UnixSocket : public ::testing::Test {
 protected:
  // Listening stream socket at a path.
  Fd Listen(const std::string& path, int type = SOCK_STREAM, int backlog = 5) {
    Fd s(socket(AF_UNIX, type, 0));
    EXPECT_OK(Bind(s, path));
    EXPECT_OK(listen(s, backlog));
    return s;
  }
  std::string P(const char* n) { return dir_ / n; }
  TempDir dir_;
};

TEST_F(UnixSocket, Create) {
  COVERS("socket", "socketpair", "fcntl");
  Fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  EXPECT_RET(fcntl(s, F_GETFD), FD_CLOEXEC);
  EXPECT_RET(fcntl(s, F_GETFL), O_RDWR | O_NONBLOCK);
  EXPECT_ERR(socket(AF_UNIX, 99, 0), EINVAL);
  EXPECT_ERR(socket(AF_UNIX, SOCK_STREAM, 5), EPROTONOSUPPORT);
  EXPECT_ERR(socket(999, SOCK_STREAM, 0), EAFNOSUPPORT);
  EXPECT_ERR(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
  int v[2];
  EXPECT_ERR(socketpair(AF_UNIX, SOCK_STREAM, 0, reinterpret_cast<int*>(8)), EFAULT);
  EXPECT_ERR(socketpair(AF_UNIX, 99, 0, v), EINVAL);
  struct stat st {};
  EXPECT_OK(fstat(s, &st));
  EXPECT_EQ(st.st_mode, S_IFSOCK | 0777u);
}

TEST_F(UnixSocket, StreamPairBothWays) {
  COVERS("socketpair", "read", "write", "sendto", "recvfrom");
  Pair p;
  EXPECT_RET(write(p.a, "abc", 3), 3);
  EXPECT_RET(send(p.a, "def", 3, 0), 3);
  char buf[16] = {};
  EXPECT_RET(read(p.b, buf, 16), 6);
  EXPECT_STREQ(buf, "abcdef");
  EXPECT_RET(send(p.b, "x", 1, 0), 1);
  EXPECT_RET(recv(p.a, buf, 16, 0), 1);
  EXPECT_ERR(recv(p.a, buf, 16, MSG_DONTWAIT), EAGAIN);
}

TEST_F(UnixSocket, PeerClose) {
  COVERS("close", "read", "sendto");
  Pair p;
  EXPECT_RET(write(p.a, "z", 1), 1);
  p.a.reset();
  char c;
  EXPECT_RET(read(p.b, &c, 1), 1);
  EXPECT_RET(read(p.b, &c, 1), 0);
  EXPECT_ERR(send(p.b, "x", 1, MSG_NOSIGNAL), EPIPE);
  pid_t pid = Spawn([&] {
    write(p.b, "x", 1);
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGPIPE);
}

TEST_F(UnixSocket, CloseWithUnreadDataResetsPeer) {
  COVERS("close", "read");
  Pair p;
  EXPECT_RET(write(p.a, "unread", 6), 6);
  p.b.reset();
  char c;
  EXPECT_ERR(read(p.a, &c, 1), ECONNRESET);
  EXPECT_RET(read(p.a, &c, 1), 0);
}

TEST_F(UnixSocket, ConnectAcceptByPath) {
  COVERS("bind", "listen", "connect", "accept", "accept4", "getsockname", "getpeername");
  Fd l = Listen(P("s"));
  struct stat st {};
  EXPECT_OK(stat(P("s").c_str(), &st));
  EXPECT_EQ(st.st_mode, S_IFSOCK | 0755u);
  Fd c(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_OK(Connect(c, P("s")));
  sockaddr_un a{};
  socklen_t len = sizeof a;
  Fd s(accept4(l, reinterpret_cast<sockaddr*>(&a), &len, SOCK_NONBLOCK | SOCK_CLOEXEC));
  ASSERT_GE(s.get(), 0);
  EXPECT_EQ(len, 2u);  // an unnamed client
  EXPECT_EQ(a.sun_family, AF_UNIX);
  EXPECT_RET(fcntl(s, F_GETFD), FD_CLOEXEC);
  EXPECT_RET(fcntl(s, F_GETFL), O_RDWR | O_NONBLOCK);
  len = sizeof a;
  EXPECT_OK(getsockname(s, reinterpret_cast<sockaddr*>(&a), &len));
  EXPECT_EQ(len, NameLen(P("s")));
  EXPECT_EQ(P("s"), a.sun_path);
  len = sizeof a;
  EXPECT_OK(getpeername(c, reinterpret_cast<sockaddr*>(&a), &len));
  EXPECT_EQ(P("s"), a.sun_path);
  EXPECT_RET(write(c, "hi", 2), 2);
  char buf[4] = {};
  EXPECT_RET(read(s, buf, 4), 2);
  EXPECT_ERR(Connect(c, P("s")), EISCONN);
  EXPECT_ERR(accept4(l, nullptr, nullptr, 1), EINVAL);
}

TEST_F(UnixSocket, ConnectErrors) {
  COVERS("connect", "bind", "listen", "accept");
  Fd c(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_ERR(Connect(c, P("none")), ENOENT);
  ASSERT_TRUE(WriteFile(P("file"), ""));
  EXPECT_ERR(Connect(c, P("file")), ECONNREFUSED);
  {
    Fd l = Listen(P("s"));
    Fd d(socket(AF_UNIX, SOCK_DGRAM, 0));
    EXPECT_ERR(Connect(d, P("s")), EPROTOTYPE);
    EXPECT_ERR(Bind(c, P("s")), EADDRINUSE);
    EXPECT_ERR(Bind(l, P("t")), EINVAL);
    EXPECT_ERR(connect(l, nullptr, 0), EINVAL);
  }
  EXPECT_ERR(Connect(c, P("s")), ECONNREFUSED);  // the file is left, nobody listens
  EXPECT_ERR(accept(c, nullptr, nullptr), EINVAL);
  EXPECT_ERR(listen(c, 1), EINVAL);  // not bound
  EXPECT_ERR(listen(0x7fff, 1), EBADF);
  Fd f(open(P("file").c_str(), O_RDONLY));
  EXPECT_ERR(listen(f, 1), ENOTSOCK);
  EXPECT_ERR(Connect(f, P("s")), ENOTSOCK);
  char b;
  EXPECT_ERR(recv(f, &b, 1, 0), ENOTSOCK);
  sockaddr_un a = Name(P("x"));
  EXPECT_ERR(bind(c, reinterpret_cast<sockaddr*>(&a), 200), EINVAL);
  a.sun_family = AF_INET;
  EXPECT_ERR(bind(c, reinterpret_cast<sockaddr*>(&a), 20), EINVAL);
  EXPECT_ERR(bind(c, reinterpret_cast<sockaddr*>(8), 20), EFAULT);
  EXPECT_ERR(Bind(c, P("no/dir")), ENOENT);
  Fd d(socket(AF_UNIX, SOCK_DGRAM, 0));
  EXPECT_OK(Bind(d, P("d")));
  EXPECT_ERR(listen(d, 1), EOPNOTSUPP);
  EXPECT_ERR(accept(d, nullptr, nullptr), EOPNOTSUPP);
}

TEST_F(UnixSocket, PermissionToConnect) {
  COVERS("connect", "chmod");
  SKIP_UNLESS_ROOT();
  Fd l = Listen(P("s"));
  ASSERT_OK(chmod(P("s").c_str(), 0600));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    int c = socket(AF_UNIX, SOCK_STREAM, 0);
    CHILD_ERR(Connect(c, P("s")), EACCES);
  });
}

TEST_F(UnixSocket, Backlog) {
  COVERS("listen", "connect");
  Fd l = Listen(P("s"), SOCK_STREAM, 0);
  Fd a(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)),
      b(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  EXPECT_OK(Connect(a, P("s")));
  EXPECT_ERR(Connect(b, P("s")), EAGAIN);
  Fd s(accept(l, nullptr, nullptr));
  EXPECT_OK(Connect(b, P("s")));
}

TEST_F(UnixSocket, BlockedAcceptAndNonBlocking) {
  COVERS("accept", "connect");
  Fd l = Listen(P("s"));
  std::thread t([&] {
    SleepMs(30);
    Fd c(socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_OK(Connect(c, P("s")));
  });
  Fd s(accept(l, nullptr, nullptr));
  EXPECT_GE(s.get(), 0);
  t.join();
  EXPECT_OK(fcntl(l, F_SETFL, O_NONBLOCK));
  EXPECT_ERR(accept(l, nullptr, nullptr), EAGAIN);
}

TEST_F(UnixSocket, AbstractNames) {
  COVERS("bind", "connect", "getsockname");
  std::string name = std::string(1, '\0') + "moat-test-" + std::to_string(getpid());
  {
    Fd l = Listen(name);
    Fd again(socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_ERR(Bind(again, name), EADDRINUSE);
    Fd c(socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_OK(Connect(c, name));
    sockaddr_un a{};
    socklen_t len = sizeof a;
    EXPECT_OK(getpeername(c, reinterpret_cast<sockaddr*>(&a), &len));
    EXPECT_EQ(len, NameLen(name));
    EXPECT_EQ(std::string(a.sun_path, len - 2), name);
    EXPECT_ERR(Connect(again, name + "x"), ECONNREFUSED);
  }
  Fd reuse(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_OK(Bind(reuse, name));  // gone with the last descriptor
}

TEST_F(UnixSocket, Autobind) {
  COVERS("bind", "getsockname");
  Fd s(socket(AF_UNIX, SOCK_DGRAM, 0));
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  EXPECT_OK(bind(s, reinterpret_cast<sockaddr*>(&a), sizeof(sa_family_t)));
  socklen_t len = sizeof a;
  EXPECT_OK(getsockname(s, reinterpret_cast<sockaddr*>(&a), &len));
  EXPECT_EQ(len, 2u + 6u);  // NUL and five hexadecimal digits
  EXPECT_EQ(a.sun_path[0], 0);
}

TEST_F(UnixSocket, Datagrams) {
  COVERS("sendto", "recvfrom", "bind", "connect");
  Fd r(socket(AF_UNIX, SOCK_DGRAM, 0)), s(socket(AF_UNIX, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(r, P("r")));
  ASSERT_OK(Bind(s, P("s")));
  sockaddr_un to = Name(P("r"));
  EXPECT_RET(sendto(s, "one", 3, 0, reinterpret_cast<sockaddr*>(&to), NameLen(P("r"))), 3);
  EXPECT_ERR(send(s, "x", 1, 0), ENOTCONN);
  ASSERT_OK(Connect(s, P("r")));
  EXPECT_RET(send(s, "three", 5, 0), 5);
  EXPECT_RET(send(s, "", 0, 0), 0);
  char buf[16] = {};
  sockaddr_un from{};
  socklen_t len = sizeof from;
  EXPECT_RET(recvfrom(r, buf, 16, 0, reinterpret_cast<sockaddr*>(&from), &len), 3);
  EXPECT_EQ(P("s"), from.sun_path);
  EXPECT_RET(recv(r, buf, 2, MSG_TRUNC), 5);  // the real length; the rest is dropped
  EXPECT_RET(recv(r, buf, 16, 0), 0);
  EXPECT_ERR(recv(r, buf, 16, MSG_DONTWAIT), EAGAIN);
  // A socket connected elsewhere takes nothing from strangers.
  ASSERT_OK(Connect(r, P("r")));
  EXPECT_ERR(sendto(s, "x", 1, 0, reinterpret_cast<sockaddr*>(&to), NameLen(P("r"))), EPERM);
}

TEST_F(UnixSocket, DatagramToClosed) {
  COVERS("sendto", "close");
  Fd s(socket(AF_UNIX, SOCK_DGRAM, 0));
  {
    Fd r(socket(AF_UNIX, SOCK_DGRAM, 0));
    ASSERT_OK(Bind(r, P("r")));
    ASSERT_OK(Connect(s, P("r")));
  }
  EXPECT_ERR(send(s, "x", 1, MSG_NOSIGNAL), ECONNREFUSED);
}

TEST_F(UnixSocket, Seqpacket) {
  COVERS("socketpair", "sendto", "recvfrom");
  Pair p(SOCK_SEQPACKET);
  EXPECT_RET(send(p.a, "first", 5, 0), 5);
  EXPECT_RET(send(p.a, "second", 6, 0), 6);
  char buf[16] = {};
  EXPECT_RET(recv(p.b, buf, 3, 0), 3);
  EXPECT_RET(recv(p.b, buf, 16, 0), 6);
  p.a.reset();
  EXPECT_RET(recv(p.b, buf, 16, 0), 0);
  EXPECT_ERR(send(p.b, "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST_F(UnixSocket, PeekAndWaitall) {
  COVERS("recvfrom");
  Pair p;
  EXPECT_RET(send(p.a, "abcd", 4, 0), 4);
  char buf[16] = {};
  EXPECT_RET(recv(p.b, buf, 2, MSG_PEEK), 2);
  EXPECT_RET(recv(p.b, buf, 16, MSG_PEEK), 4);
  std::thread t([&] {
    SleepMs(30);
    EXPECT_RET(send(p.a, "ef", 2, 0), 2);
  });
  EXPECT_RET(recv(p.b, buf, 6, MSG_WAITALL), 6);
  EXPECT_STREQ(buf, "abcdef");
  t.join();
}

TEST_F(UnixSocket, Shutdown) {
  COVERS("shutdown");
  Pair p;
  EXPECT_OK(shutdown(p.a, SHUT_WR));
  EXPECT_ERR(send(p.a, "x", 1, MSG_NOSIGNAL), EPIPE);
  char c;
  EXPECT_RET(read(p.b, &c, 1), 0);
  EXPECT_RET(send(p.b, "y", 1, 0), 1);
  EXPECT_RET(read(p.a, &c, 1), 1);
  EXPECT_OK(shutdown(p.a, SHUT_RD));
  EXPECT_ERR(send(p.b, "y", 1, MSG_NOSIGNAL), EPIPE);
  EXPECT_ERR(shutdown(p.a, 5), EINVAL);
  EXPECT_ERR(shutdown(-1, SHUT_RD), EBADF);
  Fd fresh(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_OK(shutdown(fresh, SHUT_RD));
}

TEST_F(UnixSocket, ShutdownWakesReader) {
  COVERS("shutdown", "read");
  Pair p;
  std::thread t([&] {
    SleepMs(30);
    EXPECT_OK(shutdown(p.b, SHUT_RD));
  });
  char c;
  EXPECT_RET(read(p.b, &c, 1), 0);
  t.join();
}

// Sends DATA with the descriptors; returns sendmsg's result.
ssize_t SendFds(int s, const std::string& data, std::vector<int> fds) {
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  iovec v{const_cast<char*>(data.data()), data.size()};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control.data();
  m.msg_controllen = control.size();
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
  return sendmsg(s, &m, MSG_NOSIGNAL);
}

struct Received {
  ssize_t n;
  std::string data;
  std::vector<int> fds;
  ucred cred{};
  bool has_cred = false;
  int flags = 0;
};

Received Receive(int s, size_t size = 64, size_t control_size = 256, int flags = 0) {
  Received r;
  std::vector<char> buf(size), control(control_size);
  iovec v{buf.data(), size};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control.data();
  m.msg_controllen = control_size;
  r.n = recvmsg(s, &m, flags);
  if (r.n < 0) return r;
  r.data.assign(buf.data(), r.n);
  r.flags = m.msg_flags;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_RIGHTS) {
      size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
        r.fds.push_back(fd);
      }
    } else if (c->cmsg_type == SCM_CREDENTIALS) {
      memcpy(&r.cred, CMSG_DATA(c), sizeof r.cred);
      r.has_cred = true;
    }
  }
  return r;
}

TEST_F(UnixSocket, PassDescriptors) {
  COVERS("sendmsg", "recvmsg");
  Pair p;
  ASSERT_TRUE(WriteFile(P("f"), "through"));
  Fd f(open(P("f").c_str(), O_RDONLY));
  int q[2];
  ASSERT_OK(pipe(q));
  EXPECT_RET(SendFds(p.a, "x", {f, q[1]}), 1);
  f.reset();
  close(q[1]);
  Received r = Receive(p.b, 64, 256, MSG_CMSG_CLOEXEC);
  EXPECT_EQ(r.data, "x");
  ASSERT_EQ(r.fds.size(), 2u);
  EXPECT_RET(fcntl(r.fds[0], F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(ReadAllFd(r.fds[0]), "through");
  EXPECT_RET(write(r.fds[1], "p", 1), 1);
  char c;
  EXPECT_RET(read(q[0], &c, 1), 1);
  close(r.fds[0]);
  close(r.fds[1]);
  EXPECT_RET(read(q[0], &c, 1), 0);
  close(q[0]);
}

TEST_F(UnixSocket, DescriptorsStopAStreamRead) {
  COVERS("sendmsg", "recvmsg");
  Pair p;
  EXPECT_RET(send(p.a, "aa", 2, 0), 2);
  EXPECT_RET(SendFds(p.a, "bb", {0}), 2);
  EXPECT_RET(send(p.a, "cc", 2, 0), 2);
  Received r = Receive(p.b);
  // Data sent before the descriptors may come with theirs, data after them not.
  EXPECT_TRUE(r.data == "aa" || r.data == "aabb") << r.data;
  if (r.data == "aa") {
    EXPECT_TRUE(r.fds.empty());
    r = Receive(p.b);
    EXPECT_EQ(r.data, "bb");
  }
  ASSERT_EQ(r.fds.size(), 1u);
  close(r.fds[0]);
  r = Receive(p.b);
  EXPECT_EQ(r.data, "cc");
}

TEST_F(UnixSocket, DescriptorsTruncatedAndDropped) {
  COVERS("sendmsg", "recvmsg", "read");
  Pair p;
  EXPECT_RET(SendFds(p.a, "x", {0, 0, 0}), 1);
  Received r = Receive(p.b, 64, CMSG_SPACE(sizeof(int)));
  // CMSG_SPACE of one has room for two.
  EXPECT_EQ(r.fds.size(), 2u);
  EXPECT_TRUE(r.flags & MSG_CTRUNC);
  for (int fd : r.fds) close(fd);
  // Plain read throws them away: the pipe's write end closes.
  int q[2];
  ASSERT_OK(pipe(q));
  EXPECT_RET(SendFds(p.a, "y", {q[1]}), 1);
  close(q[1]);
  char c;
  EXPECT_RET(read(p.b, &c, 1), 1);
  EXPECT_RET(read(q[0], &c, 1), 0);
  close(q[0]);
}

TEST_F(UnixSocket, DescriptorErrors) {
  COVERS("sendmsg");
  Pair p;
  EXPECT_ERR(SendFds(p.a, "x", {9999}), EBADF);
  EXPECT_ERR(SendFds(p.a, "x", std::vector<int>(254, 0)), EINVAL);
  EXPECT_RET(SendFds(p.a, "x", std::vector<int>(253, 0)), 1);
  msghdr m{};
  char control[4] = {};
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  EXPECT_RET(sendmsg(p.a, &m, 0), 0);  // too short for a header: ignored
  m.msg_control = reinterpret_cast<void*>(8);
  m.msg_controllen = 64;
  EXPECT_ERR(sendmsg(p.a, &m, 0), EFAULT);
  EXPECT_ERR(sendmsg(p.a, reinterpret_cast<msghdr*>(8), 0), EFAULT);
}

TEST_F(UnixSocket, InFlightDescriptorsDieWithTheSocket) {
  COVERS("sendmsg", "close");
  int q[2];
  ASSERT_OK(pipe(q));
  {
    Pair p;
    EXPECT_RET(SendFds(p.a, "x", {q[1]}), 1);
    close(q[1]);
  }
  char c;
  EXPECT_RET(read(q[0], &c, 1), 0);
  close(q[0]);
}

TEST_F(UnixSocket, Credentials) {
  COVERS("setsockopt", "getsockopt", "recvmsg", "sendmsg");
  Pair p;
  int on = 1;
  EXPECT_OK(setsockopt(p.b, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  EXPECT_RET(send(p.a, "x", 1, 0), 1);
  Received r = Receive(p.b);
  ASSERT_TRUE(r.has_cred);
  EXPECT_EQ(r.cred.pid, getpid());
  EXPECT_EQ(r.cred.uid, getuid());
  EXPECT_EQ(r.cred.gid, getgid());
  ucred peer{};
  socklen_t len = sizeof peer;
  EXPECT_OK(getsockopt(p.a, SOL_SOCKET, SO_PEERCRED, &peer, &len));
  EXPECT_EQ(peer.pid, getpid());
  EXPECT_EQ(len, sizeof peer);
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    char control[CMSG_SPACE(sizeof(ucred))] = {};
    iovec v{const_cast<char*>("y"), 1};
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_CREDENTIALS;
    c->cmsg_len = CMSG_LEN(sizeof(ucred));
    ucred fake{1, 0, 0};
    memcpy(CMSG_DATA(c), &fake, sizeof fake);
    CHILD_ERR(sendmsg(p.a, &m, 0), EPERM);
    ucred real{getpid(), 65534, 65534};
    memcpy(CMSG_DATA(c), &real, sizeof real);
    CHILD_RET(sendmsg(p.a, &m, 0), 1);
  });
  r = Receive(p.b);
  EXPECT_EQ(r.cred.uid, 65534u);
}

TEST_F(UnixSocket, Options) {
  COVERS("getsockopt", "setsockopt");
  Pair p;
  int v = 0;
  socklen_t len = sizeof v;
  auto get = [&](int opt) {
    len = sizeof v;
    v = -1;
    EXPECT_OK(getsockopt(p.a, SOL_SOCKET, opt, &v, &len));
    EXPECT_EQ(len, sizeof v);
    return v;
  };
  EXPECT_EQ(get(SO_TYPE), SOCK_STREAM);
  EXPECT_EQ(get(SO_DOMAIN), AF_UNIX);
  EXPECT_EQ(get(SO_PROTOCOL), 0);
  EXPECT_EQ(get(SO_ACCEPTCONN), 0);
  EXPECT_EQ(get(SO_ERROR), 0);
  int size = 20000;
  EXPECT_OK(setsockopt(p.a, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
  EXPECT_EQ(get(SO_SNDBUF), 40000);
  EXPECT_ERR(setsockopt(p.a, SOL_SOCKET, SO_TYPE, &size, sizeof size), ENOPROTOOPT);
  EXPECT_ERR(setsockopt(p.a, SOL_SOCKET, 9999, &size, sizeof size), ENOPROTOOPT);
  EXPECT_ERR(getsockopt(p.a, SOL_SOCKET, 9999, &v, &len), ENOPROTOOPT);
  EXPECT_ERR(setsockopt(p.a, SOL_SOCKET, SO_SNDBUF, &size, 2), EINVAL);
  EXPECT_ERR(setsockopt(p.a, SOL_SOCKET, SO_SNDBUF, reinterpret_cast<int*>(8), 4), EFAULT);
  EXPECT_ERR(getsockopt(-1, SOL_SOCKET, SO_TYPE, &v, &len), EBADF);
  EXPECT_ERR(getsockopt(0x7fff, SOL_SOCKET, SO_TYPE, &v, &len), EBADF);
}

TEST_F(UnixSocket, Timeouts) {
  COVERS("setsockopt", "recvfrom", "sendto");
  Pair p;
  timeval tv{0, 30000};
  EXPECT_OK(setsockopt(p.a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  char c;
  int64_t begin = NowNs();
  EXPECT_ERR(recv(p.a, &c, 1, 0), EAGAIN);
  EXPECT_GE(NowNs() - begin, 30'000'000);
  EXPECT_OK(setsockopt(p.a, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
  std::string big(100000, 'x');
  ssize_t n;
  do {
    n = send(p.a, big.data(), big.size(), 0);
  } while (n > 0);
  EXPECT_EQ(errno, EAGAIN);
  timeval bad{0, 1000000};
  EXPECT_ERR(setsockopt(p.a, SOL_SOCKET, SO_RCVTIMEO, &bad, sizeof bad), EDOM);
}

TEST_F(UnixSocket, NonBlockingSendFillsUp) {
  COVERS("sendto", "poll");
  Pair p;
  std::string chunk(10000, 'x');
  size_t sent = 0;
  for (;;) {
    ssize_t n = send(p.a, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (n < 0) break;
    sent += n;
  }
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GT(sent, 50000u);
  pollfd f{p.a, POLLOUT, 0};
  EXPECT_RET(poll(&f, 1, 0), 0);
  size_t got = 0;
  while (got < sent) {
    ssize_t n = recv(p.b, chunk.data(), chunk.size(), MSG_DONTWAIT);
    ASSERT_GT(n, 0);
    got += n;
  }
  EXPECT_EQ(got, sent);
  EXPECT_RET(poll(&f, 1, 0), 1);
}

TEST_F(UnixSocket, BigTransferThroughThreads) {
  COVERS("write", "read");
  Pair p;
  std::string big(2'000'000, 0);
  for (size_t i = 0; i < big.size(); i++) big[i] = static_cast<char>(i >> 5);
  std::thread t([&] {
    EXPECT_RET(write(p.a, big.data(), big.size()), big.size());
    p.a.reset();
  });
  EXPECT_TRUE(ReadAllFd(p.b) == big);
  t.join();
}

TEST_F(UnixSocket, PollStates) {
  COVERS("poll", "listen");
  Fd l = Listen(P("s"));
  pollfd f{l, POLLIN | POLLOUT, 0};
  EXPECT_RET(poll(&f, 1, 0), 0);
  Fd c(socket(AF_UNIX, SOCK_STREAM, 0));
  pollfd g{c, POLLIN | POLLOUT, 0};
  EXPECT_RET(poll(&g, 1, 0), 1);
  EXPECT_EQ(g.revents, POLLOUT | POLLHUP);
  EXPECT_OK(Connect(c, P("s")));
  EXPECT_RET(poll(&f, 1, 0), 1);
  EXPECT_EQ(f.revents, POLLIN);
  EXPECT_RET(poll(&g, 1, 0), 1);
  EXPECT_EQ(g.revents, POLLOUT);
  l.reset();
  EXPECT_RET(poll(&g, 1, 0), 1);
  // Never accepted: reset.
  EXPECT_EQ(g.revents, POLLIN | POLLOUT | POLLERR | POLLHUP);
}

TEST_F(UnixSocket, Queued) {
  COVERS("ioctl");
  Pair p;
  EXPECT_RET(send(p.a, "hello", 5, 0), 5);
  int n = 0;
  EXPECT_OK(ioctl(p.b, FIONREAD, &n));
  EXPECT_EQ(n, 5);
}

TEST_F(UnixSocket, SendmmsgRecvmmsg) {
  COVERS("sendmmsg", "recvmmsg");
  Pair p(SOCK_DGRAM);
  iovec v[2] = {{const_cast<char*>("ab"), 2}, {const_cast<char*>("cde"), 3}};
  mmsghdr m[2] = {};
  for (int i = 0; i < 2; i++) {
    m[i].msg_hdr.msg_iov = &v[i];
    m[i].msg_hdr.msg_iovlen = 1;
  }
  EXPECT_RET(sendmmsg(p.a, m, 2, 0), 2);
  EXPECT_EQ(m[1].msg_len, 3u);
  char buf[3][8];
  iovec w[3] = {{buf[0], 8}, {buf[1], 8}, {buf[2], 8}};
  mmsghdr r[3] = {};
  for (int i = 0; i < 3; i++) {
    r[i].msg_hdr.msg_iov = &w[i];
    r[i].msg_hdr.msg_iovlen = 1;
  }
  EXPECT_RET(recvmmsg(p.b, r, 3, MSG_DONTWAIT, nullptr), 2);
  EXPECT_EQ(r[0].msg_len, 2u);
  EXPECT_EQ(r[1].msg_len, 3u);
}

TEST_F(UnixSocket, OpenOfASocketFile) {
  COVERS("openat", "connect");
  Fd l = Listen(P("s"));
  EXPECT_ERR(open(P("s").c_str(), O_RDWR), ENXIO);
  ASSERT_OK(rename(P("s").c_str(), P("t").c_str()));
  Fd c(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_OK(Connect(c, P("t")));  // the node counts, not the name
  ASSERT_OK(unlink(P("t").c_str()));
  Fd d(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_ERR(Connect(d, P("t")), ENOENT);
}

TEST_F(UnixSocket, EmptyControlMessage) {
  COVERS("sendmsg");
  Pair p;
  char c = 'x';
  iovec v{&c, 1};
  cmsghdr h{CMSG_LEN(0), SOL_SOCKET, SCM_RIGHTS};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = &h;
  m.msg_controllen = sizeof h;
  EXPECT_RET(sendmsg(p.a, &m, 0), 1);
  h.cmsg_type = SCM_CREDENTIALS;
  EXPECT_ERR(sendmsg(p.a, &m, 0), EINVAL);
}

}  // namespace
