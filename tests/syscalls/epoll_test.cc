// epoll.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

class Epoll : public ::testing::Test {
 protected:
  void SetUp() override {
    ep_.reset(epoll_create1(0));
    ASSERT_GE(ep_.get(), 0);
    int p[2];
    ASSERT_OK(pipe2(p, O_NONBLOCK));
    r_.reset(p[0]);
    w_.reset(p[1]);
  }
  int Ctl(int op, int fd, uint32_t events, uint64_t data = 0) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = data;
    return epoll_ctl(ep_, op, fd, &e);
  }
  // "events:data" of each ready entry.
  std::string Wait(int timeout = 0, int max = 8) {
    epoll_event e[8];
    int n = epoll_wait(ep_, e, max, timeout);
    if (n < 0) return systest::ErrnoText(errno);
    std::string s;
    for (int i = 0; i < n; i++) {
      if (i) s += " ";
      s += std::to_string(e[i].events) + ":" + std::to_string(e[i].data.u64);
    }
    return s;
  }
  Fd ep_, r_, w_;
};

TEST_F(Epoll, Create) {
  COVERS("epoll_create", "epoll_create1");
  EXPECT_ERR(epoll_create(0), EINVAL);
  Fd a(epoll_create(1));
  EXPECT_GE(a.get(), 0);
  EXPECT_ERR(epoll_create1(1), EINVAL);
  Fd b(epoll_create1(EPOLL_CLOEXEC));
  EXPECT_RET(fcntl(b, F_GETFD), FD_CLOEXEC);
}

TEST_F(Epoll, ControlErrors) {
  COVERS("epoll_ctl");
  EXPECT_ERR(Ctl(EPOLL_CTL_MOD, r_, EPOLLIN), ENOENT);
  EXPECT_ERR(Ctl(EPOLL_CTL_DEL, r_, 0), ENOENT);
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN));
  EXPECT_ERR(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN), EEXIST);
  EXPECT_ERR(Ctl(99, r_, EPOLLIN), EINVAL);
  EXPECT_ERR(Ctl(EPOLL_CTL_ADD, 9999, EPOLLIN), EBADF);
  EXPECT_ERR(Ctl(EPOLL_CTL_ADD, ep_, EPOLLIN), EINVAL);
  EXPECT_ERR(epoll_ctl(9999, EPOLL_CTL_ADD, r_, nullptr), EFAULT);
  EXPECT_ERR(epoll_ctl(r_, EPOLL_CTL_DEL, w_, nullptr), EINVAL);
  EXPECT_ERR(epoll_ctl(ep_, EPOLL_CTL_ADD, r_, nullptr), EFAULT);
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "f", ""));
  Fd f(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_ERR(Ctl(EPOLL_CTL_ADD, f, EPOLLIN), EPERM);
  EXPECT_OK(epoll_ctl(ep_, EPOLL_CTL_DEL, r_, nullptr));
}

TEST_F(Epoll, WaitErrors) {
  COVERS("epoll_wait", "epoll_pwait");
  epoll_event e[2];
  EXPECT_ERR(epoll_wait(ep_, e, 0, 0), EINVAL);
  EXPECT_ERR(epoll_wait(ep_, e, -1, 0), EINVAL);
  EXPECT_ERR(epoll_wait(r_, e, 1, 0), EINVAL);
  EXPECT_ERR(epoll_wait(9999, e, 1, 0), EBADF);
  EXPECT_RET(epoll_wait(ep_, e, 1, 0), 0);
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, w_, EPOLLOUT));
  EXPECT_ERR(epoll_wait(ep_, reinterpret_cast<epoll_event*>(8), 1, 0), EFAULT);
  EXPECT_ERR(syscall(SYS_epoll_pwait, ep_.get(), e, 1, 0, e, 4), EINVAL);
}

TEST_F(Epoll, LevelTriggered) {
  COVERS("epoll_ctl", "epoll_wait");
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN, 7));
  EXPECT_EQ(Wait(), "");
  EXPECT_RET(write(w_, "ab", 2), 2);
  EXPECT_EQ(Wait(), "1:7");
  EXPECT_EQ(Wait(), "1:7");
  char c[2];
  EXPECT_RET(read(r_, c, 1), 1);
  EXPECT_EQ(Wait(), "1:7");
  EXPECT_RET(read(r_, c, 1), 1);
  EXPECT_EQ(Wait(), "");
}

TEST_F(Epoll, EdgeTriggered) {
  COVERS("epoll_ctl", "epoll_wait");
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN | EPOLLET, 7));
  EXPECT_RET(write(w_, "a", 1), 1);
  EXPECT_EQ(Wait(), "1:7");
  EXPECT_EQ(Wait(), "");
  EXPECT_RET(write(w_, "b", 1), 1);
  EXPECT_EQ(Wait(), "1:7");
  EXPECT_EQ(Wait(), "");
  EXPECT_OK(Ctl(EPOLL_CTL_MOD, r_, EPOLLIN | EPOLLET, 8));  // re-arms
  EXPECT_EQ(Wait(), "1:8");
}

TEST_F(Epoll, EdgeTriggeredWritability) {
  COVERS("epoll_wait");
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, w_, EPOLLOUT | EPOLLET, 1));
  EXPECT_EQ(Wait(), "4:1");
  EXPECT_EQ(Wait(), "");
  std::string big(65536, 'x');
  EXPECT_RET(write(w_, big.data(), big.size()), 65536);
  EXPECT_EQ(Wait(), "");
  EXPECT_RET(read(r_, big.data(), big.size()), 65536);
  EXPECT_EQ(Wait(), "4:1");
}

TEST_F(Epoll, OneShot) {
  COVERS("epoll_ctl", "epoll_wait");
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN | EPOLLONESHOT, 1));
  EXPECT_RET(write(w_, "a", 1), 1);
  EXPECT_EQ(Wait(), "1:1");
  EXPECT_EQ(Wait(), "");
  EXPECT_RET(write(w_, "a", 1), 1);
  EXPECT_EQ(Wait(), "");
  EXPECT_OK(Ctl(EPOLL_CTL_MOD, r_, EPOLLIN | EPOLLONESHOT, 2));
  EXPECT_EQ(Wait(), "1:2");
}

TEST_F(Epoll, HangupIsAlwaysReported) {
  COVERS("epoll_wait");
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, r_, 0, 1));
  EXPECT_EQ(Wait(), "");
  w_.reset();
  EXPECT_EQ(Wait(), "16:1");
}

TEST_F(Epoll, SocketPeerShutdown) {
  COVERS("epoll_wait", "shutdown");
  int s[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, s[0], EPOLLIN | EPOLLRDHUP, 1));
  EXPECT_OK(shutdown(s[1], SHUT_WR));
  EXPECT_EQ(Wait(), std::to_string(EPOLLIN | EPOLLRDHUP) + ":1");
  close(s[1]);
  EXPECT_EQ(Wait(), std::to_string(EPOLLIN | EPOLLRDHUP | EPOLLHUP) + ":1");
  close(s[0]);
}

TEST_F(Epoll, ClosedDescriptorsLeave) {
  COVERS("epoll_wait", "close", "dup");
  Fd e(eventfd(1, 0));
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, e, EPOLLIN, 5));
  EXPECT_EQ(Wait(), "1:5");
  Fd d(dup(e));
  e.reset();
  EXPECT_EQ(Wait(), "1:5");  // the description lives on
  d.reset();
  EXPECT_EQ(Wait(), "");
}

TEST_F(Epoll, SameDescriptionTwice) {
  COVERS("epoll_ctl", "dup");
  Fd e(eventfd(1, 0));
  Fd d(dup(e));
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, e, EPOLLIN, 1));
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, d, EPOLLIN, 2));
  EXPECT_EQ(Wait(), "1:1 1:2");
}

TEST_F(Epoll, RoundRobinWhenTooMany) {
  COVERS("epoll_wait");
  std::vector<Fd> fds;
  for (int i = 0; i < 4; i++) {
    fds.emplace_back(eventfd(1, 0));
    EXPECT_OK(Ctl(EPOLL_CTL_ADD, fds.back(), EPOLLIN, i));
  }
  EXPECT_EQ(Wait(0, 2), "1:0 1:1");
  EXPECT_EQ(Wait(0, 2), "1:2 1:3");
  EXPECT_EQ(Wait(0, 2), "1:0 1:1");
}

TEST_F(Epoll, WakesABlockedWaiter) {
  COVERS("epoll_wait");
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN, 3));
  std::thread t([&] {
    SleepMs(30);
    EXPECT_RET(write(w_, "x", 1), 1);
  });
  EXPECT_EQ(Wait(10000), "1:3");
  t.join();
}

TEST_F(Epoll, AddingWakesABlockedWaiter) {
  COVERS("epoll_wait", "epoll_ctl");
  Fd e(eventfd(1, 0));
  std::thread t([&] {
    SleepMs(30);
    EXPECT_OK(Ctl(EPOLL_CTL_ADD, e, EPOLLIN, 4));
  });
  EXPECT_EQ(Wait(10000), "1:4");
  t.join();
}

TEST_F(Epoll, Timeout) {
  COVERS("epoll_wait", "epoll_pwait2");
  int64_t begin = NowNs();
  EXPECT_EQ(Wait(30), "");
  EXPECT_GE(NowNs() - begin, 30'000'000);
#ifdef SYS_epoll_pwait2
  epoll_event e;
  timespec ts{0, 20'000'000};
  begin = NowNs();
  EXPECT_RET(syscall(SYS_epoll_pwait2, ep_.get(), &e, 1, &ts, nullptr, 8), 0);
  EXPECT_GE(NowNs() - begin, 20'000'000);
  ts.tv_nsec = 1'000'000'000;
  EXPECT_ERR(syscall(SYS_epoll_pwait2, ep_.get(), &e, 1, &ts, nullptr, 8), EINVAL);
#endif
}

TEST_F(Epoll, InterruptedAndMask) {
  COVERS("epoll_pwait");
  EXPECT_CHILD([&] {
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    sa.sa_flags = SA_RESTART;  // epoll_wait is never restarted
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    epoll_event e;
    ualarm(30000, 30000);  // the first may come before the wait
    CHILD_ERR(epoll_wait(ep_, &e, 1, 10000), EINTR);
    ualarm(0, 0);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    CHILD_OK(sigprocmask(SIG_BLOCK, &all, nullptr));
    CHILD_OK(raise(SIGALRM));
    CHILD_RET(epoll_wait(ep_, &e, 1, 20), 0);
    CHILD_ERR(epoll_pwait(ep_, &e, 1, 10000, &none), EINTR);
    sigset_t now;
    CHILD_OK(sigprocmask(SIG_BLOCK, nullptr, &now));
    CHILD_CHECK(sigismember(&now, SIGALRM));
  });
}

TEST_F(Epoll, Nested) {
  COVERS("epoll_ctl", "epoll_wait");
  Fd outer(epoll_create1(0));
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN, 1));
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = 2;
  EXPECT_OK(epoll_ctl(outer, EPOLL_CTL_ADD, ep_, &e));
  EXPECT_RET(epoll_wait(outer, &e, 1, 0), 0);
  EXPECT_RET(write(w_, "x", 1), 1);
  EXPECT_RET(epoll_wait(outer, &e, 1, 0), 1);
  EXPECT_EQ(e.data.u64, 2u);
  e.events = EPOLLIN;
  EXPECT_ERR(epoll_ctl(ep_, EPOLL_CTL_ADD, outer, &e), ELOOP);
}

TEST_F(Epoll, ExclusiveRules) {
  COVERS("epoll_ctl");
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN | EPOLLEXCLUSIVE, 1));
  EXPECT_ERR(Ctl(EPOLL_CTL_MOD, r_, EPOLLIN, 1), EINVAL);
  EXPECT_OK(Ctl(EPOLL_CTL_DEL, r_, 0));
  EXPECT_ERR(Ctl(EPOLL_CTL_ADD, r_, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1), EINVAL);
  EXPECT_OK(Ctl(EPOLL_CTL_ADD, w_, EPOLLOUT, 1));
  EXPECT_ERR(Ctl(EPOLL_CTL_MOD, w_, EPOLLOUT | EPOLLEXCLUSIVE, 1), EINVAL);
}

TEST_F(Epoll, ManyDescriptors) {
  COVERS("epoll_ctl", "epoll_wait");
  std::vector<Fd> fds;
  for (int i = 0; i < 300; i++) {
    fds.emplace_back(eventfd(0, 0));
    ASSERT_OK(Ctl(EPOLL_CTL_ADD, fds.back(), EPOLLIN, i));
  }
  uint64_t one = 1;
  EXPECT_RET(write(fds[277], &one, 8), 8);
  EXPECT_EQ(Wait(), "1:277");
}

}  // namespace
