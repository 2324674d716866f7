// Clocks, sleeping, POSIX timers, interval timers, timerfd.
#include <linux/time_types.h>
#include <poll.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

TEST(Clocks, AllClocksRead) {
  COVERS("clock_gettime", "clock_getres");
  for (clockid_t c : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID,
                      CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
                      CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI}) {
    timespec a{}, b{}, r{};
    EXPECT_OK(syscall(SYS_clock_gettime, c, &a)) << c;
    EXPECT_OK(clock_gettime(c, &b)) << c;
    EXPECT_GE(b.tv_sec * 1000000000 + b.tv_nsec, a.tv_sec * 1000000000 + a.tv_nsec) << c;
    EXPECT_LT(a.tv_nsec, 1000000000);
    EXPECT_OK(clock_getres(c, &r)) << c;
    EXPECT_GT(r.tv_sec * 1000000000 + r.tv_nsec, 0) << c;
  }
  timespec r{};
  EXPECT_OK(clock_getres(CLOCK_MONOTONIC, &r));
  EXPECT_EQ(r.tv_nsec, 1);
}

TEST(Clocks, Errors) {
  COVERS("clock_gettime", "clock_settime", "clock_nanosleep", "clock_getres");
  timespec t{};
  EXPECT_ERR(syscall(SYS_clock_gettime, 99, &t), EINVAL);
  EXPECT_ERR(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8), EFAULT);
  EXPECT_ERR(clock_settime(CLOCK_MONOTONIC, &t), EINVAL);
  EXPECT_ERR(clock_settime(99, &t), EINVAL);
  EXPECT_OK(syscall(SYS_clock_getres, CLOCK_MONOTONIC, nullptr));
  EXPECT_ERR(syscall(SYS_clock_getres, 99, nullptr), EINVAL);
  t = {0, -1};
  EXPECT_RET(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr), EINVAL);
  t = {0, 0};
  EXPECT_RET(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, nullptr), EINVAL);
}

TEST(Clocks, MonotonicNeverGoesBack) {
  COVERS("clock_gettime");
  int64_t last = NowNs();
  for (int i = 0; i < 100000; i++) {
    int64_t now = NowNs();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(Clocks, WallClockCallsAgree) {
  COVERS("gettimeofday", "time", "clock_gettime");
  timeval tv{};
  struct timezone tz {};
  time_t a = time(nullptr);
  EXPECT_OK(gettimeofday(&tv, &tz));
  EXPECT_OK(syscall(SYS_gettimeofday, &tv, nullptr));
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  time_t b = 0;
  time_t c = syscall(SYS_time, &b);
  EXPECT_EQ(b, c);
  EXPECT_LE(a, tv.tv_sec + 1);
  EXPECT_LE(tv.tv_sec, ts.tv_sec);
  EXPECT_LE(c - a, 10);
  EXPECT_GT(a, 1600000000);
}

TEST(Clocks, CpuTimeAdvancesOnlyWhenRunning) {
  COVERS("clock_gettime", "times", "getrusage");
  int64_t before, during;
  int tries = 0;
  // Waiting for a processor may count as running: where they are short some sleep has none of it.
  do {
    before = NowNs(CLOCK_THREAD_CPUTIME_ID);
    SleepMs(50);
    during = NowNs(CLOCK_THREAD_CPUTIME_ID) - before;
  } while (during >= 40'000'000 && ++tries < 50);
  EXPECT_LT(during, 40'000'000);
  while (NowNs(CLOCK_THREAD_CPUTIME_ID) - before < 50'000'000) {
  }
  EXPECT_GE(NowNs(CLOCK_PROCESS_CPUTIME_ID), 50'000'000);
  tms t{};
  EXPECT_OK(times(&t));
  EXPECT_GE(t.tms_utime + t.tms_stime, 2);
}

TEST(Clocks, SettimeNeedsPrivilege) {
  COVERS("clock_settime", "settimeofday", "adjtimex");
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([] {
    systest::BecomeNobody();
    timespec t{1, 0};
    CHILD_ERR(clock_settime(CLOCK_REALTIME, &t), EPERM);
    timeval tv{1, 0};
    CHILD_ERR(settimeofday(&tv, nullptr), EPERM);
  });
}

TEST(Sleep, NanosleepRelative) {
  COVERS("nanosleep");
  int64_t begin = NowNs();
  timespec t{0, 30'000'000};
  EXPECT_OK(nanosleep(&t, nullptr));
  EXPECT_GE(NowNs() - begin, 30'000'000);
  timespec bad{-1, 0}, bad2{0, 1'000'000'000};
  EXPECT_ERR(nanosleep(&bad, nullptr), EINVAL);
  EXPECT_ERR(nanosleep(&bad2, nullptr), EINVAL);
  EXPECT_ERR(syscall(SYS_nanosleep, 8, nullptr), EFAULT);
  timespec zero{};
  EXPECT_OK(nanosleep(&zero, nullptr));
}

TEST(Sleep, AbsoluteSleep) {
  COVERS("clock_nanosleep");
  for (clockid_t c : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME}) {
    int64_t at = NowNs(c) + 20'000'000;
    timespec t{at / 1000000000, at % 1000000000};
    EXPECT_RET(clock_nanosleep(c, TIMER_ABSTIME, &t, nullptr), 0);
    EXPECT_GE(NowNs(c), at);
    EXPECT_RET(clock_nanosleep(c, TIMER_ABSTIME, &t, nullptr), 0);  // in the past
  }
}

TEST(Sleep, InterruptedTellsTheRest) {
  COVERS("clock_nanosleep", "nanosleep");
  EXPECT_CHILD([] {
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    ualarm(20000, 20000);  // one may come before a sleep
    timespec t{10, 0}, left{0, 0};
    CHILD_RET(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &left), EINTR);
    CHILD_CHECK(left.tv_sec >= 8 && left.tv_sec < 10);
    // With an absolute time nothing is written.
    left = {77, 77};
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += 10;
    CHILD_RET(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, &left), EINTR);
    CHILD_EQ(left.tv_sec, 77);
  });
}

TEST(Sleep, StopAndContinueKeepsDeadline) {
  COVERS("nanosleep", "restart_syscall", "kill");
  int64_t begin = NowNs();
  pid_t pid = Spawn([] {
    timespec t{0, 150'000'000};
    return nanosleep(&t, nullptr) == 0 ? 0 : 1;
  });
  SleepMs(30);
  kill(pid, SIGSTOP);
  int status;
  EXPECT_RET(waitpid(pid, &status, WUNTRACED), pid);
  kill(pid, SIGCONT);
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  EXPECT_GE(NowNs() - begin, 150'000'000);
}

TEST(Itimer, RealTimerFiresAndRepeats) {
  COVERS("setitimer", "getitimer");
  EXPECT_CHILD([] {
    static volatile int n;
    signal(SIGALRM, [](int) { n = n + 1; });
    itimerval it{{0, 10000}, {0, 10000}}, old{}, now{};
    CHILD_OK(setitimer(ITIMER_REAL, &it, nullptr));
    CHILD_CHECK(WaitUntil([] { return n >= 3; }));
    CHILD_OK(getitimer(ITIMER_REAL, &now));
    CHILD_EQ(now.it_interval.tv_usec, 10000);
    CHILD_CHECK(now.it_value.tv_usec > 0 && now.it_value.tv_usec <= 10000);
    it = {};
    CHILD_OK(setitimer(ITIMER_REAL, &it, &old));
    CHILD_EQ(old.it_interval.tv_usec, 10000);
    CHILD_OK(getitimer(ITIMER_REAL, &now));
    CHILD_EQ(now.it_value.tv_usec, 0);
  });
}

TEST(Itimer, CpuTimers) {
  COVERS("setitimer");
  EXPECT_CHILD([] {
    static volatile int prof, virt;
    signal(SIGPROF, [](int) { prof = prof + 1; });
    signal(SIGVTALRM, [](int) { virt = virt + 1; });
    itimerval it{{0, 0}, {0, 20000}};
    CHILD_OK(setitimer(ITIMER_PROF, &it, nullptr));
    CHILD_OK(setitimer(ITIMER_VIRTUAL, &it, nullptr));
    int64_t end = NowNs() + 10'000'000'000;
    while ((!prof || !virt) && NowNs() < end) {
    }
    CHILD_EQ(prof, 1);
    CHILD_EQ(virt, 1);
  });
}

TEST(Itimer, Errors) {
  COVERS("setitimer", "getitimer", "alarm");
  itimerval it{};
  EXPECT_ERR(syscall(SYS_setitimer, 9, &it, nullptr), EINVAL);
  EXPECT_ERR(syscall(SYS_getitimer, 9, &it), EINVAL);
  EXPECT_ERR(syscall(SYS_getitimer, ITIMER_REAL, 8), EFAULT);
  it.it_value.tv_usec = 1000000;
  EXPECT_ERR(setitimer(ITIMER_REAL, &it, nullptr), EINVAL);
}

TEST(Itimer, Alarm) {
  COVERS("alarm");
  EXPECT_CHILD([] {
    CHILD_EQ(alarm(100), 0);
    unsigned left = alarm(50);
    CHILD_CHECK(left >= 95 && left <= 100);
    CHILD_CHECK(alarm(0) > 45);
    CHILD_EQ(alarm(0), 0);
  });
  pid_t pid = Spawn([] {
    ualarm(10000, 0);
    pause();
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGALRM);
}

TEST(Itimer, NotInheritedByForkButKeptByExec) {
  COVERS("setitimer", "fork", "execve");
  EXPECT_CHILD([] {
    alarm(1000);
    pid_t pid = fork();
    if (pid == 0) _exit(alarm(0) == 0 ? 0 : 1);
    CHILD_EQ(WaitFor(pid), 0);
  });
  pid_t pid = Spawn([] {
    ualarm(100000, 0);
    execl("/bin/sleep", "sleep", "30", nullptr);
    return 1;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGALRM);
}

TEST(PosixTimer, SignalWithValueAndOverrun) {
  COVERS("timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete");
  EXPECT_CHILD([] {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGRTMIN);
    CHILD_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
    sigevent ev{};
    ev.sigev_notify = SIGEV_SIGNAL;
    ev.sigev_signo = SIGRTMIN;
    ev.sigev_value.sival_int = 42;
    timer_t t;
    CHILD_OK(timer_create(CLOCK_MONOTONIC, &ev, &t));
    itimerspec it{{0, 10'000'000}, {0, 10'000'000}}, now{};
    CHILD_OK(timer_settime(t, 0, &it, nullptr));
    SleepMs(60);
    siginfo_t si{};
    timespec zero{};
    CHILD_RET(sigtimedwait(&s, &si, &zero), SIGRTMIN);
    CHILD_EQ(si.si_code, SI_TIMER);
    CHILD_EQ(si.si_value.sival_int, 42);
    CHILD_CHECK(si.si_overrun >= 2);
    CHILD_CHECK(timer_getoverrun(t) >= 2);
    CHILD_OK(timer_gettime(t, &now));
    CHILD_EQ(now.it_interval.tv_nsec, 10'000'000);
    CHILD_CHECK(now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 10'000'000);
    CHILD_OK(timer_delete(t));
    while (sigtimedwait(&s, &si, &zero) > 0) {
    }
    SleepMs(30);
    CHILD_ERR(sigtimedwait(&s, &si, &zero), EAGAIN);
  });
}

TEST(PosixTimer, AbsoluteAndDisarm) {
  COVERS("timer_create", "timer_settime", "timer_gettime");
  EXPECT_CHILD([] {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGALRM);
    CHILD_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
    timer_t t;
    CHILD_OK(timer_create(CLOCK_REALTIME, nullptr, &t));  // SIGALRM by default
    itimerspec it{};
    clock_gettime(CLOCK_REALTIME, &it.it_value);
    it.it_value.tv_sec -= 5;
    CHILD_OK(timer_settime(t, TIMER_ABSTIME, &it, nullptr));
    timespec ten{10, 0};
    siginfo_t si{};
    CHILD_RET(sigtimedwait(&s, &si, &ten), SIGALRM);
    it = {{0, 0}, {100, 0}};
    CHILD_OK(timer_settime(t, 0, &it, nullptr));
    itimerspec old{};
    it = {};
    CHILD_OK(timer_settime(t, 0, &it, &old));
    CHILD_CHECK(old.it_value.tv_sec >= 95);
    CHILD_OK(timer_gettime(t, &old));
    CHILD_EQ(old.it_value.tv_sec, 0);
  });
}

TEST(PosixTimer, ThreadDirected) {
  COVERS("timer_create");
  EXPECT_CHILD([] {
    static volatile long got;
    struct sigaction sa {};
    sa.sa_handler = [](int) { got = syscall(SYS_gettid); };
    CHILD_OK(sigaction(SIGUSR1, &sa, nullptr));
    long tid = 0;
    std::thread t([&] {
      tid = syscall(SYS_gettid);
      sigevent ev{};
      ev.sigev_notify = SIGEV_THREAD_ID;
      ev.sigev_signo = SIGUSR1;
      ev._sigev_un._tid = static_cast<pid_t>(tid);
      int id;
      CHILD_OK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &id));
      itimerspec it{{0, 0}, {0, 10'000'000}};
      CHILD_OK(syscall(SYS_timer_settime, id, 0, &it, nullptr));
      CHILD_CHECK(WaitUntil([] { return got != 0; }));
    });
    t.join();
    CHILD_EQ(got, tid);
  });
}

TEST(PosixTimer, Errors) {
  COVERS("timer_create", "timer_settime", "timer_delete", "timer_gettime", "timer_getoverrun");
  int id = -1;
  sigevent ev{};
  EXPECT_ERR(syscall(SYS_timer_create, 99, nullptr, &id), EINVAL);
  ev.sigev_notify = 77;
  EXPECT_ERR(syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &id), EINVAL);
  ev.sigev_notify = SIGEV_SIGNAL;
  ev.sigev_signo = 65;
  EXPECT_ERR(syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &id), EINVAL);
  EXPECT_ERR(syscall(SYS_timer_create, CLOCK_MONOTONIC, 8, &id), EFAULT);
  ev.sigev_notify = SIGEV_NONE;
  ASSERT_OK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &id));
  itimerspec it{{0, 0}, {0, 1'000'000'000}};
  EXPECT_ERR(syscall(SYS_timer_settime, id, 0, &it, nullptr), EINVAL);
  EXPECT_ERR(syscall(SYS_timer_settime, id, 0, nullptr, nullptr), EINVAL);
  EXPECT_OK(syscall(SYS_timer_delete, id));
  EXPECT_ERR(syscall(SYS_timer_delete, id), EINVAL);
  EXPECT_ERR(syscall(SYS_timer_gettime, 9999, &it), EINVAL);
  EXPECT_ERR(syscall(SYS_timer_getoverrun, 9999), EINVAL);
}

class TimerFd : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    ASSERT_GE(fd_.get(), 0);
  }
  Fd fd_;
};

TEST_F(TimerFd, OneShotAndCount) {
  COVERS("timerfd_create", "timerfd_settime", "timerfd_gettime", "read");
  uint64_t n = 0;
  EXPECT_ERR(read(fd_, &n, 8), EAGAIN);
  itimerspec it{{0, 0}, {0, 20'000'000}}, now{};
  EXPECT_OK(timerfd_settime(fd_, 0, &it, nullptr));
  EXPECT_OK(timerfd_gettime(fd_, &now));
  EXPECT_GT(now.it_value.tv_nsec, 0);
  EXPECT_LE(now.it_value.tv_nsec, 20'000'000);
  EXPECT_ERR(read(fd_, &n, 4), EINVAL);
  pollfd p{fd_, POLLIN, 0};
  EXPECT_RET(poll(&p, 1, 10000), 1);
  EXPECT_RET(read(fd_, &n, 8), 8);
  EXPECT_EQ(n, 1u);
  EXPECT_ERR(read(fd_, &n, 8), EAGAIN);
  EXPECT_OK(timerfd_gettime(fd_, &now));
  EXPECT_EQ(now.it_value.tv_nsec, 0);
}

TEST_F(TimerFd, RepeatsCountUp) {
  COVERS("timerfd_settime", "read");
  itimerspec it{{0, 5'000'000}, {0, 5'000'000}};
  EXPECT_OK(timerfd_settime(fd_, 0, &it, nullptr));
  SleepMs(40);
  uint64_t n = 0;
  EXPECT_RET(read(fd_, &n, 8), 8);
  EXPECT_GE(n, 7u);
  EXPECT_LT(n, 2000u);
}

TEST_F(TimerFd, BlockingRead) {
  COVERS("timerfd_create", "read");
  Fd fd(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC));
  EXPECT_RET(fcntl(fd, F_GETFD), FD_CLOEXEC);
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  itimerspec it{};
  it.it_value = now;
  it.it_value.tv_sec -= 1;
  EXPECT_OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &it, nullptr));
  uint64_t n = 0;
  EXPECT_RET(read(fd, &n, 8), 8);
  EXPECT_EQ(n, 1u);
  it.it_value = {0, 20'000'000};
  int64_t begin = NowNs();
  EXPECT_OK(timerfd_settime(fd, 0, &it, nullptr));
  EXPECT_RET(read(fd, &n, 8), 8);
  EXPECT_GE(NowNs() - begin, 19'000'000);
}

TEST_F(TimerFd, SettingAgainForgetsExpirations) {
  COVERS("timerfd_settime");
  itimerspec it{{0, 0}, {0, 1}}, later{{1, 0}, {100, 0}}, old{};
  EXPECT_OK(timerfd_settime(fd_, 0, &it, nullptr));
  pollfd p{fd_, POLLIN, 0};
  EXPECT_RET(poll(&p, 1, 10000), 1);
  EXPECT_OK(timerfd_settime(fd_, 0, &later, nullptr));
  EXPECT_RET(poll(&p, 1, 0), 0);
  it = {};
  EXPECT_OK(timerfd_settime(fd_, 0, &it, &old));
  EXPECT_EQ(old.it_interval.tv_sec, 1);
  EXPECT_GE(old.it_value.tv_sec, 95);
}

TEST_F(TimerFd, Errors) {
  COVERS("timerfd_create", "timerfd_settime", "timerfd_gettime");
  EXPECT_ERR(timerfd_create(99, 0), EINVAL);
  EXPECT_ERR(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
  EXPECT_ERR(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
  itimerspec it{{0, 0}, {0, 1'000'000'000}};
  EXPECT_ERR(timerfd_settime(fd_, 0, &it, nullptr), EINVAL);
  it.it_value = {1, 0};
  EXPECT_ERR(timerfd_settime(fd_, 99, &it, nullptr), EINVAL);
  EXPECT_ERR(timerfd_settime(-1, 0, &it, nullptr), EBADF);
  EXPECT_ERR(timerfd_gettime(0, &it), EINVAL);
  char c;
  EXPECT_ERR(write(fd_, &c, 1), EINVAL);
  EXPECT_ERR(timerfd_settime(fd_, 0, reinterpret_cast<itimerspec*>(8), nullptr), EFAULT);
}

}  // namespace
