// Threads: clone, futex, robust lists, thread ids, thread-local storage, exits.
#include <asm/prctl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <atomic>
#include <climits>
#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

long Futex(void* addr, int op, uint32_t val, const void* timeout = nullptr, void* addr2 = nullptr,
           uint32_t val3 = 0) {
  return syscall(SYS_futex, addr, op, val, timeout, addr2, val3);
}

TEST(FutexTest, WaitValueMismatch) {
  COVERS("futex");
  std::atomic<uint32_t> w{5};
  EXPECT_ERR(Futex(&w, FUTEX_WAIT, 4), EAGAIN);
  EXPECT_ERR(Futex(&w, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 4), EAGAIN);
  EXPECT_RET(Futex(&w, FUTEX_WAKE, 1), 0);
}

TEST(FutexTest, Timeouts) {
  COVERS("futex");
  std::atomic<uint32_t> w{5};
  timespec t{0, 20'000'000};
  int64_t begin = NowNs();
  EXPECT_ERR(Futex(&w, FUTEX_WAIT_PRIVATE, 5, &t), ETIMEDOUT);
  EXPECT_GE(NowNs() - begin, 20'000'000);
  // Absolute for WAIT_BITSET.
  timespec abs;
  clock_gettime(CLOCK_MONOTONIC, &abs);
  abs.tv_nsec += 20'000'000;
  if (abs.tv_nsec >= 1'000'000'000) {
    abs.tv_sec++;
    abs.tv_nsec -= 1'000'000'000;
  }
  EXPECT_ERR(Futex(&w, FUTEX_WAIT_BITSET_PRIVATE, 5, &abs, nullptr, ~0u), ETIMEDOUT);
  timespec past{1, 0};
  EXPECT_ERR(Futex(&w, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 5, &past, nullptr, ~0u),
             ETIMEDOUT);
  timespec bad{0, 1'000'000'000};
  EXPECT_ERR(Futex(&w, FUTEX_WAIT_PRIVATE, 5, &bad), EINVAL);
  EXPECT_ERR(Futex(&w, FUTEX_WAIT_PRIVATE, 5, reinterpret_cast<void*>(8)), EFAULT);
}

TEST(FutexTest, Errors) {
  COVERS("futex");
  alignas(8) char buf[16] = {};
  EXPECT_ERR(Futex(buf + 1, FUTEX_WAIT_PRIVATE, 0), EINVAL);
  EXPECT_ERR(Futex(buf + 2, FUTEX_WAKE_PRIVATE, 1), EINVAL);
  EXPECT_ERR(Futex(nullptr, FUTEX_WAIT_PRIVATE, 0), EFAULT);
  EXPECT_ERR(Futex(buf, 77, 0), ENOSYS);
  EXPECT_ERR(Futex(buf, FUTEX_WAIT_BITSET_PRIVATE, 0, nullptr, nullptr, 0), EINVAL);
  EXPECT_ERR(Futex(buf, FUTEX_WAKE_BITSET_PRIVATE, 1, nullptr, nullptr, 0), EINVAL);
}

struct Waiters {
  explicit Waiters(int n, std::atomic<uint32_t>* w, int op = FUTEX_WAIT_PRIVATE,
                   uint32_t bits = 0) {
    for (int i = 0; i < n; i++) {
      threads.emplace_back([=, this] {
        ready++;
        if (Futex(w, op, 0, nullptr, nullptr, bits) == 0) woken++;
      });
    }
    while (ready < n) SleepMs(1);
    SleepMs(50);  // into the futex; what arrives later makes the waker loop below longer
  }
  ~Waiters() {
    for (auto& t : threads) t.join();
  }
  std::vector<std::thread> threads;
  std::atomic<int> ready{0}, woken{0};
};

TEST(FutexTest, WakeCounts) {
  COVERS("futex");
  std::atomic<uint32_t> w{0};
  Waiters ws(4, &w);
  int total = 0;
  EXPECT_TRUE(WaitUntil([&] { return (total += Futex(&w, FUTEX_WAKE_PRIVATE, 1)) == 1; }));
  EXPECT_TRUE(WaitUntil([&] { return ws.woken == 1; }));
  EXPECT_TRUE(WaitUntil([&] { return (total += Futex(&w, FUTEX_WAKE_PRIVATE, INT_MAX)) == 4; }));
  EXPECT_TRUE(WaitUntil([&] { return ws.woken == 4; }));
}

TEST(FutexTest, Bitset) {
  COVERS("futex");
  std::atomic<uint32_t> w{0};
  Waiters a(1, &w, FUTEX_WAIT_BITSET_PRIVATE, 1), b(1, &w, FUTEX_WAIT_BITSET_PRIVATE, 2);
  EXPECT_RET(Futex(&w, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, nullptr, nullptr, 4), 0);
  EXPECT_TRUE(WaitUntil(
      [&] { return Futex(&w, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, nullptr, nullptr, 2) == 1; }));
  EXPECT_TRUE(WaitUntil([&] { return b.woken == 1; }));
  EXPECT_EQ(a.woken, 0);
  EXPECT_TRUE(WaitUntil([&] { return Futex(&w, FUTEX_WAKE_PRIVATE, INT_MAX) == 1; }));
}

TEST(FutexTest, Requeue) {
  COVERS("futex");
  std::atomic<uint32_t> w{0}, x{0};
  Waiters ws(3, &w);
  EXPECT_ERR(Futex(&w, FUTEX_CMP_REQUEUE_PRIVATE, 1, reinterpret_cast<void*>(INT_MAX), &x, 9),
             EAGAIN);
  // One is woken and two move: the count is of both.
  EXPECT_RET(Futex(&w, FUTEX_CMP_REQUEUE_PRIVATE, 1, reinterpret_cast<void*>(INT_MAX), &x, 0), 3);
  EXPECT_TRUE(WaitUntil([&] { return ws.woken == 1; }));
  EXPECT_RET(Futex(&w, FUTEX_WAKE_PRIVATE, INT_MAX), 0);
  EXPECT_RET(Futex(&x, FUTEX_WAKE_PRIVATE, INT_MAX), 2);
}

TEST(FutexTest, WakeOp) {
  COVERS("futex");
  std::atomic<uint32_t> w{0}, x{7};
  Waiters ws(1, &w);
  int op = FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 7);
  EXPECT_RET(Futex(&w, FUTEX_WAKE_OP_PRIVATE, 1, reinterpret_cast<void*>(1), &x,
                   static_cast<uint32_t>(op)),
             1);
  EXPECT_EQ(x.load(), 10u);
}

TEST(FutexTest, SharedBetweenProcesses) {
  COVERS("futex", "mmap");
  auto* w = static_cast<std::atomic<uint32_t>*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pid_t pid = Spawn([&] {
    while (w->load() == 0) {
      if (Futex(w, FUTEX_WAIT, 0) != 0 && errno != EAGAIN) return errno;
    }
    return 0;
  });
  SleepMs(30);
  w->store(1);
  Futex(w, FUTEX_WAKE, 1);
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  munmap(w, 4096);
}

TEST(FutexTest, SharedThroughAFile) {
  COVERS("futex", "mmap");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "f", std::string(4096, 0)));
  Fd fd(open((dir / "f").c_str(), O_RDWR));
  auto map = [&] {
    return static_cast<std::atomic<uint32_t>*>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  };
  auto *a = map(), *b = map();
  std::thread t([&] { EXPECT_RET(Futex(a, FUTEX_WAIT, 0), 0); });
  EXPECT_TRUE(WaitUntil([&] { return Futex(b, FUTEX_WAKE, 1) == 1; }));
  t.join();
  munmap(a, 4096);
  munmap(b, 4096);
}

TEST(FutexTest, InterruptedBySignal) {
  COVERS("futex");
  EXPECT_CHILD([] {
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    ualarm(20000, 20000);  // the first may come before the wait
    std::atomic<uint32_t> w{0};
    CHILD_ERR(Futex(&w, FUTEX_WAIT_PRIVATE, 0), EINTR);
  });
}

TEST(FutexTest, PriorityInheritance) {
  COVERS("futex");
  std::atomic<uint32_t> w{0};
  uint32_t tid = static_cast<uint32_t>(syscall(SYS_gettid));
  EXPECT_OK(Futex(&w, FUTEX_LOCK_PI_PRIVATE, 0));
  EXPECT_EQ(w.load(), tid);
  EXPECT_ERR(Futex(&w, FUTEX_LOCK_PI_PRIVATE, 0), EDEADLK);
  EXPECT_OK(Futex(&w, FUTEX_UNLOCK_PI_PRIVATE, 0));
  EXPECT_EQ(w.load(), 0u);
  EXPECT_ERR(Futex(&w, FUTEX_UNLOCK_PI_PRIVATE, 0), EPERM);
}

TEST(Threads, ClearTidWakesJoiner) {
  COVERS("clone", "futex", "exit");
  // What pthread_join is made of.
  static std::atomic<uint32_t> tid;
  constexpr size_t kStack = 65536;
  char* stack = static_cast<char*>(mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
  static std::atomic<int> ran;
  ran = 0;
  int r = clone(
      [](void*) {
        ran = 1;
        syscall(SYS_exit, 0);
        return 0;
      },
      stack + kStack,
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
          CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
      nullptr, &tid, nullptr, &tid);
  ASSERT_OK(r);
  uint32_t v;
  while ((v = tid.load()) != 0) {
    EXPECT_TRUE(v == static_cast<uint32_t>(r));
    Futex(&tid, FUTEX_WAIT, v);
  }
  EXPECT_EQ(ran, 1);
  munmap(stack, kStack);
}

TEST(Threads, IdsDifferAndPidIsShared) {
  COVERS("gettid", "getpid");
  EXPECT_EQ(syscall(SYS_gettid), getpid());
  long tid = 0, pid = 0, ppid = 0;
  std::thread([&] {
    tid = syscall(SYS_gettid);
    pid = syscall(SYS_getpid);
    ppid = syscall(SYS_getppid);
  }).join();
  EXPECT_NE(tid, getpid());
  EXPECT_EQ(pid, getpid());
  EXPECT_EQ(ppid, getppid());
}

TEST(Threads, RobustMutexOfDeadThread) {
  COVERS("set_robust_list", "get_robust_list", "futex");
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_t m;
  pthread_mutex_init(&m, &attr);
  std::thread([&] { pthread_mutex_lock(&m); }).join();
  EXPECT_EQ(pthread_mutex_lock(&m), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(&m), 0);
  EXPECT_EQ(pthread_mutex_unlock(&m), 0);
  void* head = nullptr;
  size_t len = 0;
  EXPECT_OK(syscall(SYS_get_robust_list, 0, &head, &len));
  EXPECT_EQ(len, 24u);
  EXPECT_NE(head, nullptr);
  EXPECT_ERR(syscall(SYS_set_robust_list, head, 23), EINVAL);
  EXPECT_ERR(syscall(SYS_get_robust_list, 0x7ffffff0, &head, &len), ESRCH);
}

TEST(Threads, RobustMutexOfDeadProcess) {
  COVERS("set_robust_list", "futex");
  auto* m = static_cast<pthread_mutex_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(m, &attr);
  pid_t pid = Spawn([&] {
    pthread_mutex_lock(m);
    kill(getpid(), SIGKILL);
    return 0;
  });
  EXPECT_EQ(WaitFor(pid), SIGKILL);
  EXPECT_EQ(pthread_mutex_lock(m), EOWNERDEAD);
  munmap(m, 4096);
}

TEST(Threads, ExitGroupEndsAll) {
  COVERS("exit_group");
  pid_t pid = Spawn([] {
    for (int i = 0; i < 3; i++) {
      std::thread([] {
        for (;;) pause();
      }).detach();
    }
    std::thread([] {
      SleepMs(20);
      syscall(SYS_exit_group, 33);
    }).detach();
    for (;;) pause();
    return 0;
  });
  EXPECT_EXIT_STATUS(WaitFor(pid), 33);
}

TEST(Threads, ProcessLivesUntilLastThread) {
  COVERS("exit", "wait4");
  pid_t pid = Spawn([] {
    std::thread([] {
      SleepMs(50);
      syscall(SYS_exit, 9);
    }).detach();
    syscall(SYS_exit, 8);  // the leader goes first; the last one's status counts
    return 0;
  });
  EXPECT_EXIT_STATUS(WaitFor(pid), 9);
}

TEST(Threads, ExecFromAThreadKeepsThePid) {
  COVERS("execve", "clone");
  int p[2];
  ASSERT_OK(pipe(p));
  pid_t pid = Spawn([&] {
    dup2(p[1], 1);
    close(p[1]);
    std::thread([] { execl("/bin/sh", "sh", "-c", "echo $$", nullptr); }).detach();
    for (;;) pause();
    return 0;
  });
  close(p[1]);
  EXPECT_EQ(ReadAllFd(Fd(p[0])), std::to_string(pid) + "\n");
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
}

TEST(Threads, ForkCopiesOnlyTheCaller) {
  COVERS("fork");
  std::atomic<bool> stop{false};
  std::thread t([&] {
    while (!stop) SleepMs(1);
  });
  EXPECT_CHILD([] {
    CHILD_EQ(syscall(SYS_gettid), getpid());
    std::string s = ReadFile("/proc/self/status");
    CHILD_CHECK(s.find("Threads:\t1\n") != std::string::npos);
  });
  stop = true;
  t.join();
}

TEST(Threads, ArchPrctl) {
  COVERS("arch_prctl");
  uint64_t fs = 0, gs = 1;
  EXPECT_OK(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
  uint64_t self;
  asm("mov %%fs:0,%0" : "=r"(self));
  EXPECT_EQ(fs, self);
  EXPECT_OK(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
  EXPECT_EQ(gs, 0u);
  static uint64_t area[4] = {11, 22, 33, 44};
  EXPECT_OK(syscall(SYS_arch_prctl, ARCH_SET_GS, area));
  uint64_t got;
  asm volatile("mov %%gs:8,%0" : "=r"(got));
  EXPECT_EQ(got, 22u);
  EXPECT_OK(syscall(SYS_sched_yield));
  asm volatile("mov %%gs:16,%0" : "=r"(got));
  EXPECT_EQ(got, 33u);
  EXPECT_OK(syscall(SYS_arch_prctl, ARCH_SET_GS, 0));
  EXPECT_ERR(syscall(SYS_arch_prctl, 0x9999, 0), EINVAL);
  EXPECT_ERR(syscall(SYS_arch_prctl, ARCH_SET_FS, 0xffff800000000000), EPERM);
}

TEST(Threads, ThreadLocalStorageAcrossManyThreads) {
  COVERS("clone", "futex");
  static thread_local int mine;
  std::vector<std::thread> ts;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 50; i++) {
    ts.emplace_back([i, &wrong] {
      mine = i;
      for (int k = 0; k < 20; k++) {
        sched_yield();
        if (mine != i) wrong++;
      }
    });
  }
  for (auto& t : ts) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, ConditionVariablePingPong) {
  COVERS("futex");
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t c = PTHREAD_COND_INITIALIZER;
  int turn = 0, rounds = 0;
  auto play = [&](int me) {
    for (int i = 0; i < 200; i++) {
      pthread_mutex_lock(&m);
      while (turn != me) pthread_cond_wait(&c, &m);
      rounds++;
      turn = 1 - me;
      pthread_cond_broadcast(&c);
      pthread_mutex_unlock(&m);
    }
  };
  std::thread a(play, 0), b(play, 1);
  a.join();
  b.join();
  EXPECT_EQ(rounds, 400);
}

TEST(Threads, SharedMemoryIsCoherent) {
  COVERS("clone");
  std::atomic<int> n{0};
  std::vector<std::thread> ts;
  for (int i = 0; i < 4; i++) {
    ts.emplace_back([&] {
      for (int k = 0; k < 10000; k++) n++;
    });
  }
  for (auto& t : ts) t.join();
  EXPECT_EQ(n, 40000);
}

TEST(Threads, MunmapWhileOthersRun) {
  COVERS("mmap", "munmap", "mprotect");
  std::atomic<bool> stop{false};
  std::thread t([&] {
    while (!stop) {
      void* p = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      memset(p, 1, 65536);
      munmap(p, 65536);
    }
  });
  for (int i = 0; i < 300; i++) {
    auto* p = static_cast<char*>(
        mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    p[i] = 1;
    mprotect(p, 4096, PROT_READ);
    EXPECT_EQ(p[i], 1);
    munmap(p, 65536);
  }
  stop = true;
  t.join();
}

// None ends before each has had its turn.
TEST(Threads, MoreThatNeverRestThanProcessors) {
  COVERS("clone");
  constexpr int kThreads = 72;
  std::atomic<int> turns{0};
  std::vector<std::thread> ts;
  for (int i = 0; i < kThreads; i++) {
    ts.emplace_back([&] {
      turns++;
      while (turns < kThreads) {
      }
    });
  }
  for (auto& t : ts) t.join();
  EXPECT_EQ(turns, kThreads);
}

}  // namespace
