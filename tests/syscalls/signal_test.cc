// Signals: delivery, masks, queues, flags of sigaction, siginfo, alternate stack, waiting for them.
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <ucontext.h>

#include <atomic>
#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

// What the handlers saw, in order.
struct Seen {
  int sig;
  siginfo_t info;
};
Seen g_seen[64];
volatile int g_count;

void Record(int sig, siginfo_t* info, void*) {
  int n = g_count;
  if (n < 64) {
    g_seen[n].sig = sig;
    if (info) g_seen[n].info = *info;
    g_count = n + 1;
  }
}

void Catch(int sig, int flags = 0, std::initializer_list<int> mask = {}) {
  struct sigaction sa {};
  sa.sa_sigaction = Record;
  sa.sa_flags = SA_SIGINFO | flags;
  for (int m : mask) sigaddset(&sa.sa_mask, m);
  ASSERT_EQ(sigaction(sig, &sa, nullptr), 0);
}

sigset_t Set(std::initializer_list<int> sigs) {
  sigset_t s;
  sigemptyset(&s);
  for (int x : sigs) sigaddset(&s, x);
  return s;
}

class Signal : public ::testing::Test {
 protected:
  void SetUp() override {
    g_count = 0;
    memset(g_seen, 0, sizeof g_seen);
  }
  void TearDown() override {
    sigset_t none = Set({});
    for (int s : {SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGTERM, SIGHUP, SIGINT, SIGCONT}) {
      signal(s, SIG_IGN);
    }
    for (int s = SIGRTMIN; s <= SIGRTMIN + 3; s++) signal(s, SIG_IGN);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (int s : {SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGTERM, SIGHUP, SIGINT, SIGCONT}) {
      signal(s, SIG_DFL);
    }
    for (int s = SIGRTMIN; s <= SIGRTMIN + 3; s++) signal(s, SIG_DFL);
  }
};

TEST_F(Signal, KillFillsSiginfo) {
  COVERS("kill", "rt_sigaction");
  Catch(SIGUSR1);
  EXPECT_OK(kill(getpid(), SIGUSR1));
  ASSERT_EQ(g_count, 1);
  EXPECT_EQ(g_seen[0].info.si_signo, SIGUSR1);
  EXPECT_EQ(g_seen[0].info.si_code, SI_USER);
  EXPECT_EQ(g_seen[0].info.si_pid, getpid());
  EXPECT_EQ(g_seen[0].info.si_uid, getuid());
  EXPECT_EQ(g_seen[0].info.si_errno, 0);
}

TEST_F(Signal, TkillAndTgkill) {
  COVERS("tkill", "tgkill", "gettid");
  Catch(SIGUSR1);
  long tid = syscall(SYS_gettid);
  EXPECT_OK(syscall(SYS_tgkill, getpid(), tid, SIGUSR1));
  EXPECT_OK(syscall(SYS_tkill, tid, SIGUSR1));
  ASSERT_EQ(g_count, 2);
  EXPECT_EQ(g_seen[0].info.si_code, SI_TKILL);
  EXPECT_EQ(g_seen[1].info.si_code, SI_TKILL);
  EXPECT_ERR(syscall(SYS_tgkill, getpid() + 1, tid, SIGUSR1), ESRCH);
  EXPECT_ERR(syscall(SYS_tgkill, -1, tid, SIGUSR1), EINVAL);
  EXPECT_ERR(syscall(SYS_tkill, 0, SIGUSR1), EINVAL);
  EXPECT_ERR(syscall(SYS_tkill, tid, 65), EINVAL);
}

TEST_F(Signal, KillErrors) {
  COVERS("kill");
  EXPECT_ERR(kill(getpid(), 65), EINVAL);
  EXPECT_ERR(kill(getpid(), -1), EINVAL);
  EXPECT_OK(kill(getpid(), 0));
  EXPECT_ERR(kill(0x7ffffff0, 0), ESRCH);
  EXPECT_ERR(kill(-0x7ffffff0, 0), ESRCH);
  SKIP_UNLESS_ROOT();
  pid_t parent = getpid();
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_ERR(kill(parent, 0), EPERM);
    CHILD_ERR(kill(parent, SIGUSR1), EPERM);
    CHILD_OK(kill(getpid(), 0));
  });
}

TEST_F(Signal, KillGroup) {
  COVERS("kill", "setpgid");
  EXPECT_CHILD([] {
    CHILD_OK(setpgid(0, 0));
    pid_t a = fork();
    if (a == 0) {
      pause();
      _exit(0);
    }
    signal(SIGTERM, SIG_IGN);
    CHILD_OK(kill(0, SIGTERM));
    CHILD_EQ(WaitFor(a), SIGTERM);
    CHILD_OK(kill(-getpid(), SIGTERM));
  });
}

TEST_F(Signal, Sigqueue) {
  COVERS("rt_sigqueueinfo", "rt_tgsigqueueinfo");
  Catch(SIGUSR2);
  sigval v;
  v.sival_ptr = reinterpret_cast<void*>(0x1234567890);
  EXPECT_OK(sigqueue(getpid(), SIGUSR2, v));
  ASSERT_EQ(g_count, 1);
  EXPECT_EQ(g_seen[0].info.si_code, SI_QUEUE);
  EXPECT_EQ(g_seen[0].info.si_value.sival_ptr, v.sival_ptr);
  EXPECT_EQ(g_seen[0].info.si_pid, getpid());
  siginfo_t si{};
  si.si_code = -60;
  si.si_value.sival_int = 5;
  EXPECT_OK(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGUSR2, &si));
  ASSERT_EQ(g_count, 2);
  EXPECT_EQ(g_seen[1].info.si_code, -60);
  pid_t child = Spawn([] {
    pause();
    return 0;
  });
  si.si_code = SI_USER;  // only the kernel may say so to others
  EXPECT_ERR(syscall(SYS_rt_sigqueueinfo, child, SIGUSR2, &si), EPERM);
  si.si_code = SI_TKILL;
  EXPECT_ERR(syscall(SYS_rt_sigqueueinfo, child, SIGUSR2, &si), EPERM);
  kill(child, SIGKILL);
  WaitFor(child);
}

TEST_F(Signal, StandardSignalsDontQueue) {
  COVERS("rt_sigprocmask", "rt_sigpending");
  Catch(SIGUSR1);
  sigset_t s = Set({SIGUSR1}), pending;
  ASSERT_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
  for (int i = 0; i < 5; i++) raise(SIGUSR1);
  EXPECT_EQ(g_count, 0);
  EXPECT_OK(sigpending(&pending));
  EXPECT_EQ(sigismember(&pending, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&pending, SIGUSR2), 0);
  ASSERT_OK(sigprocmask(SIG_UNBLOCK, &s, nullptr));
  EXPECT_EQ(g_count, 1);
}

TEST_F(Signal, RealTimeSignalsQueueInOrder) {
  COVERS("rt_sigqueueinfo", "rt_sigprocmask");
  for (int i = 0; i < 3; i++) Catch(SIGRTMIN + i, 0, {SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2});
  sigset_t s = Set({SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2});
  ASSERT_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
  for (int i = 2; i >= 0; i--) {
    for (int k = 0; k < 3; k++) {
      sigval v;
      v.sival_int = i * 10 + k;
      ASSERT_OK(sigqueue(getpid(), SIGRTMIN + i, v));
    }
  }
  ASSERT_OK(sigprocmask(SIG_UNBLOCK, &s, nullptr));
  // Lowest number first and, within a number, in order.
  ASSERT_EQ(g_count, 9);
  // Frames of several signals are stacked, so that the last one set up runs first; with all of
  // them masked in the handlers one is delivered at a time.
  for (int i = 0; i < 9; i++) {
    EXPECT_EQ(g_seen[i].info.si_value.sival_int, i / 3 * 10 + i % 3) << i;
  }
}

TEST_F(Signal, QueueLimit) {
  COVERS("rt_sigqueueinfo", "setrlimit");
  EXPECT_CHILD([] {
    sigset_t s = Set({SIGRTMIN});
    CHILD_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
    rlimit r{0, 0};
    CHILD_OK(setrlimit(RLIMIT_SIGPENDING, &r));
    sigval v{};
    CHILD_ERR(sigqueue(getpid(), SIGRTMIN, v), EAGAIN);
    CHILD_OK(kill(getpid(), SIGRTMIN));  // kill still gets through
  });
}

TEST_F(Signal, HandlerMaskAndNodefer) {
  COVERS("rt_sigaction", "rt_sigprocmask");
  static sigset_t inside;
  struct sigaction sa {};
  sa.sa_handler = [](int) { sigprocmask(SIG_BLOCK, nullptr, &inside); };
  sigaddset(&sa.sa_mask, SIGUSR2);
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  raise(SIGUSR1);
  EXPECT_EQ(sigismember(&inside, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&inside, SIGUSR2), 1);
  EXPECT_EQ(sigismember(&inside, SIGTERM), 0);
  sa.sa_flags = SA_NODEFER;
  sigemptyset(&sa.sa_mask);
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  raise(SIGUSR1);
  EXPECT_EQ(sigismember(&inside, SIGUSR1), 0);
  sigset_t after;
  sigprocmask(SIG_BLOCK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGUSR1), 0);
  EXPECT_EQ(sigismember(&after, SIGUSR2), 0);
}

TEST_F(Signal, ResetHand) {
  COVERS("rt_sigaction");
  Catch(SIGUSR1, SA_RESETHAND);
  raise(SIGUSR1);
  EXPECT_EQ(g_count, 1);
  struct sigaction now {};
  ASSERT_OK(sigaction(SIGUSR1, nullptr, &now));
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

TEST_F(Signal, ActionReadBack) {
  COVERS("rt_sigaction");
  Catch(SIGUSR1, SA_RESTART | SA_NODEFER, {SIGHUP});
  struct sigaction old {};
  ASSERT_OK(sigaction(SIGUSR1, nullptr, &old));
  EXPECT_EQ(old.sa_sigaction, Record);
  EXPECT_EQ(old.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER | SA_RESETHAND),
            SA_SIGINFO | SA_RESTART | SA_NODEFER);
  EXPECT_EQ(sigismember(&old.sa_mask, SIGHUP), 1);
  EXPECT_EQ(sigismember(&old.sa_mask, SIGUSR1), 0);
}

TEST_F(Signal, ActionErrors) {
  COVERS("rt_sigaction", "rt_sigprocmask", "rt_sigpending");
  struct sigaction sa {};
  EXPECT_ERR(sigaction(SIGKILL, &sa, nullptr), EINVAL);
  EXPECT_ERR(sigaction(SIGSTOP, &sa, nullptr), EINVAL);
  EXPECT_ERR(sigaction(0, &sa, nullptr), EINVAL);
  EXPECT_ERR(sigaction(65, &sa, nullptr), EINVAL);
  EXPECT_ERR(syscall(SYS_rt_sigaction, SIGUSR1, nullptr, nullptr, 4), EINVAL);
  EXPECT_ERR(syscall(SYS_rt_sigaction, SIGUSR1, 8, nullptr, 8), EFAULT);
  EXPECT_ERR(syscall(SYS_rt_sigaction, SIGUSR1, nullptr, 8, 8), EFAULT);
  EXPECT_OK(syscall(SYS_rt_sigaction, SIGKILL, nullptr, nullptr, 8));
  uint64_t set = 0;
  EXPECT_ERR(syscall(SYS_rt_sigprocmask, 99, &set, nullptr, 8), EINVAL);
  EXPECT_ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, nullptr, 16), EINVAL);
  EXPECT_ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, nullptr, 8), EFAULT);
  EXPECT_OK(syscall(SYS_rt_sigprocmask, 99, nullptr, nullptr, 8));
  EXPECT_ERR(syscall(SYS_rt_sigpending, &set, 16), EINVAL);
  EXPECT_ERR(syscall(SYS_rt_sigpending, 8, 8), EFAULT);
}

TEST_F(Signal, KillAndStopCantBeBlocked) {
  COVERS("rt_sigprocmask");
  sigset_t all;
  sigfillset(&all);
  uint64_t raw = ~0ull, now = 0;
  ASSERT_OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &raw, nullptr, 8));
  ASSERT_OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &now, 8));
  EXPECT_EQ(now, ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1)));
}

TEST_F(Signal, DefaultActions) {
  COVERS("kill", "wait4");
  for (int sig : {SIGHUP,  SIGINT,  SIGPIPE,   SIGALRM, SIGTERM,  SIGUSR1,  SIGUSR2, SIGVTALRM,
                  SIGPROF, SIGIO,   SIGSTKFLT, SIGPWR,  SIGRTMIN, SIGRTMAX, SIGQUIT, SIGILL,
                  SIGTRAP, SIGABRT, SIGBUS,    SIGFPE,  SIGSEGV,  SIGXCPU,  SIGXFSZ, SIGSYS}) {
    int status = WaitFor(Spawn([&] {
      rlimit none{0, 0};
      setrlimit(RLIMIT_CORE, &none);
      kill(getpid(), sig);
      return 0;
    }));
    EXPECT_EQ(status & 0x7f, sig) << strsignal(sig);
  }
  for (int sig : {SIGCHLD, SIGURG, SIGWINCH, SIGCONT}) {
    EXPECT_EXIT_STATUS(WaitFor(Spawn([&] {
                         kill(getpid(), sig);
                         return 3;
                       })),
                       3);
  }
}

TEST_F(Signal, SigchldTellsWhatHappened) {
  COVERS("rt_sigaction", "wait4");
  Catch(SIGCHLD);
  pid_t pid = Spawn([] { return 17; });
  EXPECT_TRUE(WaitUntil([] { return g_count == 1; }));
  EXPECT_EQ(g_seen[0].info.si_code, CLD_EXITED);
  EXPECT_EQ(g_seen[0].info.si_pid, pid);
  EXPECT_EQ(g_seen[0].info.si_status, 17);
  WaitFor(pid);
  g_count = 0;
  pid = Spawn([] {
    pause();
    return 0;
  });
  kill(pid, SIGSTOP);
  EXPECT_TRUE(WaitUntil([] { return g_count == 1; }));
  EXPECT_EQ(g_seen[0].info.si_code, CLD_STOPPED);
  EXPECT_EQ(g_seen[0].info.si_status, SIGSTOP);
  kill(pid, SIGCONT);
  EXPECT_TRUE(WaitUntil([] { return g_count == 2; }));
  EXPECT_EQ(g_seen[1].info.si_code, CLD_CONTINUED);
  kill(pid, SIGKILL);
  EXPECT_TRUE(WaitUntil([] { return g_count == 3; }));
  EXPECT_EQ(g_seen[2].info.si_code, CLD_KILLED);
  EXPECT_EQ(g_seen[2].info.si_status, SIGKILL);
  WaitFor(pid);
}

TEST_F(Signal, NoCldStop) {
  COVERS("rt_sigaction");
  Catch(SIGCHLD, SA_NOCLDSTOP);
  pid_t pid = Spawn([] {
    pause();
    return 0;
  });
  kill(pid, SIGSTOP);
  int status;
  EXPECT_RET(waitpid(pid, &status, WUNTRACED), pid);
  kill(pid, SIGCONT);
  EXPECT_RET(waitpid(pid, &status, WCONTINUED), pid);
  EXPECT_EQ(g_count, 0);
  kill(pid, SIGKILL);
  EXPECT_TRUE(WaitUntil([] { return g_count == 1; }));
  WaitFor(pid);
}

TEST_F(Signal, StopAndContinueDiscardEachOther) {
  COVERS("kill", "rt_sigpending");
  sigset_t s = Set({SIGTSTP, SIGCONT}), p;
  ASSERT_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
  signal(SIGTSTP, [](int) {});
  signal(SIGCONT, [](int) {});
  raise(SIGTSTP);
  raise(SIGCONT);
  sigpending(&p);
  EXPECT_EQ(sigismember(&p, SIGTSTP), 0);
  EXPECT_EQ(sigismember(&p, SIGCONT), 1);
  raise(SIGTSTP);
  sigpending(&p);
  EXPECT_EQ(sigismember(&p, SIGTSTP), 1);
  EXPECT_EQ(sigismember(&p, SIGCONT), 0);
  signal(SIGTSTP, SIG_IGN);
  sigprocmask(SIG_UNBLOCK, &s, nullptr);
  signal(SIGTSTP, SIG_DFL);
}

TEST_F(Signal, IgnoringDropsPending) {
  COVERS("rt_sigaction", "rt_sigpending");
  sigset_t s = Set({SIGUSR1}), p;
  ASSERT_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
  raise(SIGUSR1);
  signal(SIGUSR1, SIG_IGN);
  sigpending(&p);
  EXPECT_EQ(sigismember(&p, SIGUSR1), 0);
}

TEST_F(Signal, AlternateStack) {
  COVERS("sigaltstack", "rt_sigaction");
  static char* where;
  static stack_t during;
  std::vector<char> mem(65536);
  stack_t ss{}, old{};
  ASSERT_OK(sigaltstack(nullptr, &old));
  EXPECT_EQ(old.ss_flags, SS_DISABLE);
  ss.ss_sp = mem.data();
  ss.ss_size = mem.size();
  ASSERT_OK(sigaltstack(&ss, nullptr));
  struct sigaction sa {};
  sa.sa_flags = SA_ONSTACK;
  sa.sa_handler = [](int) {
    char here;
    where = &here;
    sigaltstack(nullptr, &during);
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    if (sigaltstack(&off, nullptr) == 0 || errno != EPERM) where = nullptr;
  };
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  raise(SIGUSR1);
  EXPECT_GT(where, mem.data());
  EXPECT_LT(where, mem.data() + mem.size());
  EXPECT_EQ(during.ss_flags, SS_ONSTACK);
  ASSERT_OK(sigaltstack(nullptr, &old));
  EXPECT_EQ(old.ss_flags, 0);
  EXPECT_EQ(old.ss_sp, mem.data());
  EXPECT_EQ(old.ss_size, mem.size());
  sa.sa_flags = 0;
  sa.sa_handler = [](int) {
    char here;
    where = &here;
  };
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  raise(SIGUSR1);
  EXPECT_FALSE(where > mem.data() && where < mem.data() + mem.size());
  ss.ss_size = 100;
  EXPECT_ERR(sigaltstack(&ss, nullptr), ENOMEM);
  ss.ss_size = 65536;
  ss.ss_flags = 0x100;
  EXPECT_ERR(sigaltstack(&ss, nullptr), EINVAL);
  EXPECT_ERR(sigaltstack(reinterpret_cast<stack_t*>(8), nullptr), EFAULT);
  ss.ss_flags = SS_DISABLE;
  EXPECT_OK(sigaltstack(&ss, nullptr));
}

TEST_F(Signal, Sigsuspend) {
  COVERS("rt_sigsuspend", "pause");
  Catch(SIGUSR1);
  sigset_t s = Set({SIGUSR1}), none = Set({}), now;
  ASSERT_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
  raise(SIGUSR1);
  EXPECT_ERR(sigsuspend(&none), EINTR);
  EXPECT_EQ(g_count, 1);
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 1);
  Catch(SIGALRM);
  ualarm(20000, 20000);  // the first may come before the wait
  EXPECT_ERR(pause(), EINTR);
  ualarm(0, 0);
  EXPECT_ERR(syscall(SYS_rt_sigsuspend, &none, 16), EINVAL);
}

TEST_F(Signal, Sigtimedwait) {
  COVERS("rt_sigtimedwait");
  sigset_t s = Set({SIGUSR1, SIGRTMIN});
  ASSERT_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
  siginfo_t si{};
  timespec zero{0, 0}, t{10, 0}, bad{0, -1};
  EXPECT_ERR(sigtimedwait(&s, &si, &zero), EAGAIN);
  EXPECT_ERR(sigtimedwait(&s, &si, &bad), EINVAL);
  sigval v;
  v.sival_int = 3;
  sigqueue(getpid(), SIGRTMIN, v);
  raise(SIGUSR1);
  EXPECT_RET(sigtimedwait(&s, &si, &zero), SIGUSR1);
  EXPECT_RET(sigtimedwait(&s, &si, &zero), SIGRTMIN);
  EXPECT_EQ(si.si_value.sival_int, 3);
  EXPECT_EQ(si.si_code, SI_QUEUE);
  pid_t child = Spawn([] {
    SleepMs(30);
    kill(getppid(), SIGUSR1);
    return 0;
  });
  EXPECT_RET(sigtimedwait(&s, &si, &t), SIGUSR1);
  EXPECT_EQ(si.si_pid, child);
  WaitFor(child);
  timespec brief{0, 20'000'000};
  int64_t begin = NowNs();
  EXPECT_ERR(sigtimedwait(&s, &si, &brief), EAGAIN);
  EXPECT_GE(NowNs() - begin, 20'000'000);
  // A signal outside the set interrupts.
  Catch(SIGALRM);
  ualarm(20000, 20000);
  EXPECT_ERR(sigtimedwait(&s, &si, &t), EINTR);
  ualarm(0, 0);
}

TEST_F(Signal, Signalfd) {
  COVERS("signalfd4", "signalfd", "read", "poll");
  sigset_t s = Set({SIGUSR1, SIGRTMIN});
  ASSERT_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
  Fd fd(signalfd(-1, &s, SFD_NONBLOCK | SFD_CLOEXEC));
  ASSERT_GE(fd.get(), 0);
  EXPECT_RET(fcntl(fd, F_GETFD), FD_CLOEXEC);
  signalfd_siginfo si[2];
  memset(si, 0xff, sizeof si);
  EXPECT_ERR(read(fd, si, sizeof si), EAGAIN);
  pollfd p{fd, POLLIN, 0};
  EXPECT_RET(poll(&p, 1, 0), 0);
  sigval v;
  v.sival_int = 77;
  sigqueue(getpid(), SIGRTMIN, v);
  kill(getpid(), SIGUSR1);
  EXPECT_RET(poll(&p, 1, 0), 1);
  EXPECT_RET(read(fd, si, sizeof si), 2 * 128);
  EXPECT_EQ(si[0].ssi_signo, unsigned{SIGUSR1});
  EXPECT_EQ(si[0].ssi_code, SI_USER);
  EXPECT_EQ(si[0].ssi_pid, static_cast<unsigned>(getpid()));
  EXPECT_EQ(si[0].ssi_uid, getuid());
  EXPECT_EQ(si[1].ssi_signo, static_cast<unsigned>(SIGRTMIN));
  EXPECT_EQ(si[1].ssi_int, 77);
  EXPECT_EQ(si[1].ssi_code, SI_QUEUE);
  EXPECT_ERR(read(fd, si, 127), EINVAL);
  sigset_t other = Set({SIGUSR2});
  sigprocmask(SIG_BLOCK, &other, nullptr);
  EXPECT_RET(signalfd(fd, &other, 0), fd.get());
  raise(SIGUSR1);
  EXPECT_ERR(read(fd, si, sizeof si), EAGAIN);
  raise(SIGUSR2);
  EXPECT_RET(read(fd, si, sizeof si), 128);
  EXPECT_ERR(signalfd(-1, &s, 1 << 20), EINVAL);
  EXPECT_ERR(signalfd(0x7fff, &s, 0), EBADF);
  EXPECT_ERR(syscall(SYS_signalfd4, -1, &s, 4, 0), EINVAL);
  int q[2];
  ASSERT_OK(pipe(q));
  EXPECT_ERR(signalfd(q[0], &s, 0), EINVAL);
  close(q[0]);
  close(q[1]);
}

TEST_F(Signal, SignalfdBlockingRead) {
  COVERS("signalfd4", "read");
  sigset_t s = Set({SIGUSR1});
  ASSERT_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
  Fd fd(signalfd(-1, &s, 0));
  pid_t child = Spawn([] {
    SleepMs(30);
    kill(getppid(), SIGUSR1);
    return 0;
  });
  signalfd_siginfo si{};
  EXPECT_RET(read(fd, &si, sizeof si), 128);
  EXPECT_EQ(si.ssi_pid, static_cast<unsigned>(child));
  WaitFor(child);
}

TEST_F(Signal, RestartOfNanosleep) {
  COVERS("nanosleep", "restart_syscall");
  // Never restarted after a handler: EINTR and the remaining time, SA_RESTART or not.
  Catch(SIGALRM, SA_RESTART);
  ualarm(20000, 20000);
  timespec t{10, 0}, left{};
  EXPECT_ERR(nanosleep(&t, &left), EINTR);
  ualarm(0, 0);
  EXPECT_GE(left.tv_sec, 8);
  EXPECT_LT(left.tv_sec, 10);
}

TEST_F(Signal, RestartOfWait) {
  COVERS("wait4", "rt_sigaction");
  pid_t child = Spawn([] {
    SleepMs(100);
    return 5;
  });
  Catch(SIGALRM, SA_RESTART);
  ualarm(20000, 0);
  int status = 0;
  EXPECT_RET(waitpid(child, &status, 0), child);
  EXPECT_EQ(g_count, 1);
  child = Spawn([] {
    SleepMs(10000);
    return 5;
  });
  Catch(SIGALRM);
  ualarm(20000, 20000);
  EXPECT_ERR(waitpid(child, &status, 0), EINTR);
  ualarm(0, 0);
  kill(child, SIGKILL);
  WaitFor(child);
}

TEST_F(Signal, IgnoredSignalDoesntInterrupt) {
  COVERS("nanosleep", "kill");
  signal(SIGUSR1, SIG_IGN);
  pid_t child = Spawn([] {
    SleepMs(20);
    kill(getppid(), SIGUSR1);
    kill(getppid(), SIGWINCH);
    return 0;
  });
  timespec t{0, 60'000'000};
  EXPECT_OK(nanosleep(&t, nullptr));
  WaitFor(child);
}

TEST_F(Signal, FloatingPointStateSurvives) {
  COVERS("rt_sigreturn");
  struct sigaction sa {};
  sa.sa_handler = [](int) {
    double x = 1e300;
    asm volatile("movsd %0,%%xmm0; movsd %0,%%xmm7; movsd %0,%%xmm15; fld1; fld1" ::"m"(x)
                 : "xmm0", "xmm7", "xmm15");
  };
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  double in7 = 3.25, in15 = -7.5, out7 = 0, out15 = 0, st = 0;
  long ret;
  pid_t pid = getpid();
  asm volatile(
      "movsd %[i7],%%xmm7; movsd %[i15],%%xmm15; fldpi;"
      "mov $62,%%eax; syscall;"
      "movsd %%xmm7,%[o7]; movsd %%xmm15,%[o15]; fstpl %[st]"
      : "=&a"(ret), [o7] "=m"(out7), [o15] "=m"(out15), [st] "=m"(st)
      : [i7] "m"(in7), [i15] "m"(in15), "D"(pid), "S"(SIGUSR1)
      : "rcx", "r11", "xmm7", "xmm15", "memory");
  EXPECT_EQ(ret, 0);
  EXPECT_EQ(out7, 3.25);
  EXPECT_EQ(out15, -7.5);
  EXPECT_DOUBLE_EQ(st, 3.141592653589793);
}

TEST_F(Signal, VectorRegistersSurvive) {
  COVERS("rt_sigreturn");
  if (!__builtin_cpu_supports("avx")) GTEST_SKIP() << "no AVX";
  struct sigaction sa {};
  sa.sa_handler = [](int) { asm volatile("vzeroall" ::: "memory"); };
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  alignas(32) uint64_t in[4] = {1, 2, 3, 0x123456789abcdef}, out[4] = {};
  long ret;
  pid_t pid = getpid();
  asm volatile("vmovdqa (%[in]),%%ymm9; mov $62,%%eax; syscall; vmovdqa %%ymm9,(%[out])"
               : "=&a"(ret)
               : [in] "r"(in), [out] "r"(out), "D"(pid), "S"(SIGUSR1)
               : "rcx", "r11", "xmm9", "memory");
  EXPECT_EQ(memcmp(in, out, sizeof in), 0);
}

TEST_F(Signal, ContextHoldsRegistersAndMask) {
  COVERS("rt_sigaction", "rt_sigreturn");
  static uint64_t rbx, mask;
  struct sigaction sa {};
  sa.sa_flags = SA_SIGINFO;
  sa.sa_sigaction = [](int, siginfo_t*, void* c) {
    auto* u = static_cast<ucontext_t*>(c);
    rbx = u->uc_mcontext.gregs[REG_RBX];
    memcpy(&mask, &u->uc_sigmask, 8);
    u->uc_mcontext.gregs[REG_RBX] = 0x7777;
    sigaddset(&u->uc_sigmask, SIGHUP);  // takes effect at the return
  };
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  long ret;
  uint64_t in_out = 0x5555;
  pid_t pid = getpid();
  asm volatile("mov $62,%%eax; syscall"
               : "=&a"(ret), "+b"(in_out)
               : "D"(pid), "S"(SIGUSR1)
               : "rcx", "r11", "memory");
  EXPECT_EQ(rbx, 0x5555u);
  EXPECT_EQ(mask, 0u);
  EXPECT_EQ(in_out, 0x7777u);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGHUP), 1);
}

TEST_F(Signal, BadReturnFrameKills) {
  COVERS("rt_sigreturn");
  pid_t pid = Spawn([] {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    asm volatile("mov $16,%%rsp; mov $15,%%eax; syscall" ::: "memory");
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGSEGV);
}

TEST_F(Signal, NoStackForHandlerKills) {
  COVERS("rt_sigaction");
  pid_t pid = Spawn([] {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGUSR1, [](int) {});
    pid_t me = getpid();
    asm volatile("mov $16,%%rsp; mov $62,%%eax; syscall" ::"D"(me), "S"(SIGUSR1) : "memory");
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGSEGV);
}

TEST_F(Signal, DirectedAtAThread) {
  COVERS("tgkill", "gettid");
  static std::atomic<long> got;
  got = 0;
  struct sigaction sa {};
  sa.sa_handler = [](int) { got = syscall(SYS_gettid); };
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  std::atomic<long> tid{0};
  std::atomic<bool> stop{false};
  std::thread t([&] {
    tid = syscall(SYS_gettid);
    while (!stop) SleepMs(1);
  });
  ASSERT_TRUE(WaitUntil([&] { return tid != 0; }));
  EXPECT_OK(syscall(SYS_tgkill, getpid(), tid.load(), SIGUSR1));
  EXPECT_TRUE(WaitUntil([&] { return got != 0; }));
  EXPECT_EQ(got.load(), tid.load());
  stop = true;
  t.join();
}

TEST_F(Signal, ProcessSignalGoesToAThreadThatTakesIt) {
  COVERS("kill", "rt_sigprocmask");
  static std::atomic<long> got;
  got = 0;
  struct sigaction sa {};
  sa.sa_handler = [](int) { got = syscall(SYS_gettid); };
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  std::atomic<long> tid{0};
  std::atomic<bool> stop{false};
  std::thread t([&] {
    tid = syscall(SYS_gettid);
    while (!stop) SleepMs(1);
  });
  ASSERT_TRUE(WaitUntil([&] { return tid != 0; }));
  sigset_t s = Set({SIGUSR1});
  pthread_sigmask(SIG_BLOCK, &s, nullptr);
  EXPECT_OK(kill(getpid(), SIGUSR1));
  EXPECT_TRUE(WaitUntil([&] { return got != 0; }));
  EXPECT_EQ(got.load(), tid.load());
  stop = true;
  t.join();
}

TEST_F(Signal, MaskChangesWhileSignalsCome) {
  COVERS("rt_sigprocmask", "tgkill");
  static std::atomic<int> handled;
  static std::atomic<bool> masked, wrong;
  handled = 0;
  masked = wrong = false;
  struct sigaction sa {};
  sa.sa_handler = [](int) {
    if (masked) wrong = true;
    handled++;
  };
  ASSERT_OK(sigaction(SIGUSR1, &sa, nullptr));
  std::atomic<long> tid{0};
  std::atomic<bool> stop{false};
  std::thread t([&] {
    tid = syscall(SYS_gettid);
    sigset_t s = Set({SIGUSR1}), old;
    while (!stop) {
      pthread_sigmask(SIG_BLOCK, &s, nullptr);
      masked = true;
      masked = false;
      pthread_sigmask(SIG_UNBLOCK, &s, &old);
      if (!sigismember(&old, SIGUSR1)) wrong = true;
    }
  });
  ASSERT_TRUE(WaitUntil([&] { return tid != 0; }));
  int sent = 0;
  for (; sent < 200 && !wrong; sent++) {
    EXPECT_OK(syscall(SYS_tgkill, getpid(), tid.load(), SIGUSR1));
    // Each one arrives, at the latest when the mask lets it.
    if (!WaitUntil([&] { return handled == sent + 1; })) break;
  }
  EXPECT_EQ(sent, 200);
  EXPECT_EQ(handled.load(), sent);
  EXPECT_FALSE(wrong);
  stop = true;
  t.join();
}

TEST_F(Signal, InterruptsASpinningThread) {
  COVERS("kill", "rt_sigaction");
  static volatile sig_atomic_t hit;
  hit = 0;
  struct sigaction sa {};
  sa.sa_handler = [](int) { hit = 1; };
  ASSERT_OK(sigaction(SIGALRM, &sa, nullptr));
  ualarm(20000, 0);
  int64_t end = NowNs() + 10'000'000'000;
  while (!hit && NowNs() < end) {
  }
  EXPECT_TRUE(hit);
}

}  // namespace
