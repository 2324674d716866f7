// Descriptors on their way through AF_UNIX sockets, and SO_PEEK_OFF.
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/syscalls/test_util.h"

namespace {

int SendFd(int s, int fd, const char* data = "x") {
  iovec v{const_cast<char*>(data), strlen(data)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return static_cast<int>(sendmsg(s, &m, 0));
}

int ReceiveFd(int s) {
  char buf[8];
  iovec v{buf, sizeof buf};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  if (recvmsg(s, &m, 0) < 0 || CMSG_FIRSTHDR(&m) == nullptr) return -1;
  int fd;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
  return fd;
}

// Whether the pipe's write ends are all gone, once another socket has been closed (which is when
// the kernel looks for garbage).
bool WriteEndGone(int read_end) {
  return WaitUntil([&] {
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    close(s);
    char c;
    return read(read_end, &c, 1) == 0;
  });
}

TEST(UnixInFlight, CycleOfTwoIsCollected) {
  COVERS("sendmsg", "close");
  for (int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    int s[2], p[2];
    ASSERT_OK(socketpair(AF_UNIX, type, 0, s));
    ASSERT_OK(pipe2(p, O_NONBLOCK));
    ASSERT_RET(SendFd(s[0], p[1]), 1);  // waits in s[1]
    ASSERT_RET(SendFd(s[0], s[0]), 1);
    ASSERT_RET(SendFd(s[1], s[1]), 1);
    close(s[0]);
    close(s[1]);
    close(p[1]);
    EXPECT_TRUE(WriteEndGone(p[0])) << type;
    close(p[0]);
  }
}

TEST(UnixInFlight, CycleThroughAListener) {
  COVERS("connect", "sendmsg");
  TempDir dir;
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  snprintf(a.sun_path, sizeof a.sun_path, "%s/s", dir.path().c_str());
  int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), p[2];
  ASSERT_OK(bind(l, reinterpret_cast<sockaddr*>(&a), sizeof a));
  ASSERT_OK(listen(l, 5));
  ASSERT_OK(connect(c, reinterpret_cast<sockaddr*>(&a), sizeof a));
  ASSERT_OK(pipe2(p, O_NONBLOCK));
  ASSERT_RET(SendFd(c, p[1]), 1);
  ASSERT_RET(SendFd(c, l), 1);  // waits in a connection that nobody accepted
  close(l);
  close(p[1]);
  close(c);
  EXPECT_TRUE(WriteEndGone(p[0]));
  close(p[0]);
}

TEST(UnixInFlight, ReachableOnesStay) {
  COVERS("sendmsg", "recvmsg");
  int a[2], b[2], p[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, b));
  ASSERT_OK(pipe2(p, O_NONBLOCK));
  ASSERT_RET(SendFd(b[0], p[1]), 1);
  ASSERT_RET(SendFd(a[0], b[1]), 1);
  ASSERT_RET(SendFd(b[0], b[0]), 1);
  close(b[0]);
  close(b[1]);
  close(p[1]);
  for (int i = 0; i < 3; i++) close(socket(AF_UNIX, SOCK_STREAM, 0));
  char c;
  EXPECT_ERR(read(p[0], &c, 1), EAGAIN);
  Fd got(ReceiveFd(a[1]));
  ASSERT_GE(got.get(), 0);
  Fd w(ReceiveFd(got));
  ASSERT_GE(w.get(), 0);
  EXPECT_RET(write(w, "!", 1), 1);
  EXPECT_RET(read(p[0], &c, 1), 1);
  close(a[0]);
  close(a[1]);
  close(p[0]);
}

TEST(UnixPeekOff, Stream) {
  COVERS("setsockopt", "getsockopt", "recvfrom");
  int s[2], v = 0;
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  socklen_t n = sizeof v;
  ASSERT_OK(getsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &v, &n));
  EXPECT_EQ(v, -1);
  v = 2;
  ASSERT_OK(setsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &v, sizeof v));
  ASSERT_RET(write(s[1], "abcdef", 6), 6);
  char buf[8] = {};
  EXPECT_RET(recv(s[0], buf, 2, MSG_PEEK), 2);
  EXPECT_EQ(std::string(buf, 2), "cd");
  EXPECT_RET(recv(s[0], buf, 8, MSG_PEEK), 2);
  EXPECT_EQ(std::string(buf, 2), "ef");
  EXPECT_ERR(recv(s[0], buf, 8, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
  EXPECT_RET(recv(s[0], buf, 3, 0), 3);
  EXPECT_EQ(std::string(buf, 3), "abc");
  ASSERT_OK(getsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &v, &n));
  EXPECT_EQ(v, 3);
  v = -1;
  ASSERT_OK(setsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &v, sizeof v));
  EXPECT_RET(recv(s[0], buf, 8, MSG_PEEK), 3);
  EXPECT_EQ(std::string(buf, 3), "def");
  close(s[0]);
  close(s[1]);
}

TEST(UnixPeekOff, Datagrams) {
  COVERS("setsockopt", "recvfrom");
  int s[2], v = 0;
  ASSERT_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
  ASSERT_OK(setsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &v, sizeof v));
  ASSERT_RET(write(s[1], "one", 3), 3);
  ASSERT_RET(write(s[1], "three", 5), 5);
  char buf[8] = {};
  EXPECT_RET(recv(s[0], buf, 8, MSG_PEEK), 3);
  EXPECT_RET(recv(s[0], buf, 8, MSG_PEEK), 5);
  EXPECT_EQ(std::string(buf, 5), "three");
  EXPECT_ERR(recv(s[0], buf, 8, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
  EXPECT_RET(recv(s[0], buf, 8, 0), 3);
  v = 2;
  ASSERT_OK(setsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &v, sizeof v));
  EXPECT_RET(recv(s[0], buf, 8, MSG_PEEK), 3);
  EXPECT_EQ(std::string(buf, 3), "ree");
  close(s[0]);
  close(s[1]);
}

TEST(UnixOptions, Cookie) {
  COVERS("getsockopt");
  int s[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  uint64_t a = 0, b = 0, again = 0;
  socklen_t n = sizeof a;
  ASSERT_OK(getsockopt(s[0], SOL_SOCKET, SO_COOKIE, &a, &n));
  ASSERT_OK(getsockopt(s[1], SOL_SOCKET, SO_COOKIE, &b, &n));
  ASSERT_OK(getsockopt(s[0], SOL_SOCKET, SO_COOKIE, &again, &n));
  EXPECT_NE(a, 0u);
  EXPECT_NE(a, b);
  EXPECT_EQ(a, again);
  n = 4;
  EXPECT_ERR(getsockopt(s[0], SOL_SOCKET, SO_COOKIE, &a, &n), EINVAL);
  close(s[0]);
  close(s[1]);
}

}  // namespace
