// poll, ppoll, select, pselect6.
#include <poll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

class PollSelect : public ::testing::Test {
 protected:
  void SetUp() override {
    int p[2];
    ASSERT_OK(pipe(p));
    r_.reset(p[0]);
    w_.reset(p[1]);
  }
  Fd r_, w_;
};

TEST_F(PollSelect, PollBasics) {
  COVERS("poll");
  pollfd f[3] = {{r_, POLLIN, -1}, {-1, POLLIN, -1}, {9999, POLLIN, 0}};
  EXPECT_RET(poll(f, 2, 0), 0);
  EXPECT_EQ(f[0].revents, 0);
  EXPECT_EQ(f[1].revents, 0);
  EXPECT_RET(poll(f, 3, -1), 1);
  EXPECT_EQ(f[2].revents, POLLNVAL);
  EXPECT_RET(write(w_, "x", 1), 1);
  EXPECT_RET(poll(f, 3, 0), 2);
  EXPECT_EQ(f[0].revents, POLLIN);
  f[0].events = POLLIN | POLLRDNORM | POLLPRI;
  EXPECT_RET(poll(f, 1, 0), 1);
  EXPECT_EQ(f[0].revents, POLLIN | POLLRDNORM);
}

TEST_F(PollSelect, RegularFilesAreAlwaysReady) {
  COVERS("poll", "select");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "f", ""));
  Fd f(open((dir / "f").c_str(), O_RDONLY));
  pollfd p{f, POLLIN | POLLOUT | POLLPRI, 0};
  EXPECT_RET(poll(&p, 1, 0), 1);
  EXPECT_EQ(p.revents, POLLIN | POLLOUT);
}

TEST_F(PollSelect, PollErrors) {
  COVERS("poll", "ppoll");
  pollfd f{r_, POLLIN, 0};
  EXPECT_ERR(poll(reinterpret_cast<pollfd*>(8), 1, 0), EFAULT);
  EXPECT_RET(poll(nullptr, 0, 0), 0);
  EXPECT_CHILD([&] {
    rlimit r{10, 10};
    CHILD_OK(setrlimit(RLIMIT_NOFILE, &r));
    pollfd many[11] = {};
    CHILD_ERR(poll(many, 11, 0), EINVAL);
  });
  timespec bad{0, 1'000'000'000}, negative{-1, 0};
  EXPECT_ERR(ppoll(&f, 1, &bad, nullptr), EINVAL);
  EXPECT_ERR(ppoll(&f, 1, &negative, nullptr), EINVAL);
  EXPECT_ERR(syscall(SYS_ppoll, &f, 1, nullptr, &f, 4), EINVAL);
}

TEST_F(PollSelect, PollTimeoutAndWake) {
  COVERS("poll");
  pollfd f{r_, POLLIN, 0};
  int64_t begin = NowNs();
  EXPECT_RET(poll(&f, 1, 30), 0);
  EXPECT_GE(NowNs() - begin, 30'000'000);
  std::thread t([&] {
    SleepMs(30);
    EXPECT_RET(write(w_, "x", 1), 1);
  });
  EXPECT_RET(poll(&f, 1, 10000), 1);
  t.join();
}

TEST_F(PollSelect, PpollWritesBackRemainingTime) {
  COVERS("ppoll");
  EXPECT_RET(write(w_, "x", 1), 1);
  pollfd f{r_, POLLIN, 0};
  timespec ts{1000, 0};
  EXPECT_RET(syscall(SYS_ppoll, &f, 1, &ts, nullptr, 8), 1);
  EXPECT_LT(ts.tv_sec, 1000);
  EXPECT_GE(ts.tv_sec, 990);
}

TEST_F(PollSelect, InterruptedNeverRestarts) {
  COVERS("poll", "ppoll", "select", "pselect6");
  EXPECT_CHILD([&] {
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    sa.sa_flags = SA_RESTART;
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    pollfd f{r_, POLLIN, 0};
    ualarm(30000, 30000);  // one may come before a wait
    CHILD_ERR(poll(&f, 1, 10000), EINTR);
    CHILD_ERR(select(0, nullptr, nullptr, nullptr, nullptr), EINTR);
    ualarm(0, 0);
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    CHILD_OK(sigprocmask(SIG_BLOCK, &block, nullptr));
    raise(SIGALRM);
    CHILD_RET(poll(&f, 1, 10), 0);
    timespec ts{10, 0};
    CHILD_ERR(ppoll(&f, 1, &ts, &none), EINTR);
    raise(SIGALRM);
    CHILD_ERR(pselect(0, nullptr, nullptr, nullptr, &ts, &none), EINTR);
    CHILD_OK(sigprocmask(SIG_BLOCK, nullptr, &none));
    CHILD_CHECK(sigismember(&none, SIGALRM) == 1);
  });
}

TEST_F(PollSelect, PollRestartsAfterStop) {
  COVERS("poll", "restart_syscall", "kill");
  // A stop and a continue without a handler are invisible to a poll with a time-out.
  pid_t pid = Spawn([&] {
    pollfd f{r_, POLLIN, 0};
    return poll(&f, 1, 10000) == 1 ? 0 : errno;
  });
  SleepMs(50);
  EXPECT_OK(kill(pid, SIGSTOP));
  int status;
  EXPECT_RET(waitpid(pid, &status, WUNTRACED), pid);
  EXPECT_OK(kill(pid, SIGCONT));
  SleepMs(20);
  EXPECT_RET(write(w_, "x", 1), 1);
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
}

TEST_F(PollSelect, SelectBasics) {
  COVERS("select");
  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(r_, &in);
  FD_SET(w_, &out);
  timeval tv{5, 0};
  int n = std::max(r_.get(), w_.get()) + 1;
  EXPECT_RET(select(n, &in, &out, nullptr, &tv), 1);
  EXPECT_FALSE(FD_ISSET(r_, &in));
  EXPECT_TRUE(FD_ISSET(w_, &out));
  EXPECT_RET(write(w_, "x", 1), 1);
  FD_SET(r_, &in);
  EXPECT_RET(select(n, &in, &out, nullptr, nullptr), 2);
  EXPECT_TRUE(FD_ISSET(r_, &in));
}

TEST_F(PollSelect, SelectErrors) {
  COVERS("select", "pselect6");
  fd_set in;
  FD_ZERO(&in);
  FD_SET(60, &in);
  timeval tv{0, 0};
  EXPECT_ERR(select(61, &in, nullptr, nullptr, &tv), EBADF);
  EXPECT_ERR(select(-1, nullptr, nullptr, nullptr, &tv), EINVAL);
  tv.tv_sec = -1;
  EXPECT_ERR(select(0, nullptr, nullptr, nullptr, &tv), EINVAL);
  tv = {0, 0};
  EXPECT_ERR(syscall(SYS_select, 10, 8, nullptr, nullptr, &tv), EFAULT);
  timespec bad{0, -1};
  EXPECT_ERR(pselect(0, nullptr, nullptr, nullptr, &bad, nullptr), EINVAL);
}

// No descriptors: the sets aren't looked at, wherever they are.
TEST_F(PollSelect, SelectOfNone) {
  COVERS("select", "pselect6");
  fd_set in;
  FD_ZERO(&in);
  FD_SET(60, &in);
  timeval tv{0, 0};
  timespec ts{0, 0};
  EXPECT_RET(select(0, &in, &in, &in, &tv), 0);
  EXPECT_RET(pselect(0, &in, &in, &in, &ts, nullptr), 0);
  EXPECT_TRUE(FD_ISSET(60, &in));
  EXPECT_RET(syscall(SYS_select, 0, -4096L, 8, -4096L, &tv), 0);
}

TEST_F(PollSelect, SelectTimeout) {
  COVERS("select");
  timeval tv{0, 30000};
  fd_set in;
  FD_ZERO(&in);
  FD_SET(r_, &in);
  int64_t begin = NowNs();
  EXPECT_RET(select(r_ + 1, &in, nullptr, nullptr, &tv), 0);
  EXPECT_GE(NowNs() - begin, 30'000'000);
  EXPECT_FALSE(FD_ISSET(r_, &in));
  EXPECT_EQ(tv.tv_sec, 0);
  EXPECT_EQ(tv.tv_usec, 0);  // Linux writes the remaining time back
}

TEST_F(PollSelect, SelectSeesHangupAsReadable) {
  COVERS("select");
  w_.reset();
  fd_set in, ex;
  FD_ZERO(&in);
  FD_ZERO(&ex);
  FD_SET(r_, &in);
  FD_SET(r_, &ex);
  timeval tv{0, 0};
  EXPECT_RET(select(r_ + 1, &in, nullptr, &ex, &tv), 1);
  EXPECT_TRUE(FD_ISSET(r_, &in));
  EXPECT_FALSE(FD_ISSET(r_, &ex));
}

TEST_F(PollSelect, SocketStates) {
  COVERS("poll", "shutdown");
  int s[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  pollfd f{s[0], POLLIN | POLLOUT | POLLRDHUP, 0};
  EXPECT_RET(poll(&f, 1, 0), 1);
  EXPECT_EQ(f.revents, POLLOUT);
  EXPECT_OK(shutdown(s[1], SHUT_WR));
  EXPECT_RET(poll(&f, 1, 0), 1);
  EXPECT_EQ(f.revents, POLLIN | POLLOUT | POLLRDHUP);
  EXPECT_OK(shutdown(s[0], SHUT_WR));
  EXPECT_RET(poll(&f, 1, 0), 1);
  EXPECT_EQ(f.revents, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
  close(s[0]);
  close(s[1]);
}

}  // namespace
