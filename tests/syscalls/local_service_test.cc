// What a thread may have answered without its kernel, once it has asked often enough: waits and
// wakes of futexes, returns from signal handlers. Every case goes round often.
#include <errno.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/syscalls/test_util.h"

namespace {

constexpr int kRounds = 400;

long Futex(std::atomic<uint32_t>* word, int op, uint32_t value, const timespec* timeout = nullptr,
           uint32_t bits = 0) {
  return syscall(SYS_futex, word, op, value, timeout, nullptr, bits);
}
long Wait(std::atomic<uint32_t>* word, uint32_t value) {
  return Futex(word, FUTEX_WAIT_PRIVATE, value);
}
long Wake(std::atomic<uint32_t>* word, int n) { return Futex(word, FUTEX_WAKE_PRIVATE, n); }

timespec After(clockid_t clock, int64_t ns) {
  timespec t;
  clock_gettime(clock, &t);
  ns += t.tv_nsec;
  t.tv_sec += ns / 1'000'000'000;
  t.tv_nsec = ns % 1'000'000'000;
  return t;
}

char StateOf(pid_t tid) {
  std::string path = "/proc/self/task/" + std::to_string(tid) + "/stat";
  FILE* f = fopen(path.c_str(), "r");
  if (f == nullptr) return 0;
  char line[512] = {};
  char* got = fgets(line, sizeof line, f);
  fclose(f);
  const char* end = got ? strrchr(line, ')') : nullptr;
  return end ? end[2] : 0;
}

void AwaitSleep(pid_t tid) {
  while (StateOf(tid) != 'S') sched_yield();
}

// A thread that waits on a word until it is non-zero, and then puts it back.
struct Waiter {
  std::atomic<uint32_t> word{0}, done{0}, looks{0};
  std::atomic<pid_t> tid{0};
  std::atomic<bool> stop{false};
  std::thread thread{[this] {
    tid = gettid();
    while (!stop) {
      while (word == 0) {
        if (Wait(&word, 0) != 0 && errno != EAGAIN && errno != EINTR) abort();
        looks++;
      }
      word = 0;
      done++;
      Wake(&done, 1);
    }
  }};
  ~Waiter() {
    stop = true;
    word = 1;
    Wake(&word, 1);
    thread.join();
  }
};

TEST(LocalFutex, PingPong) {
  COVERS("futex");
  Waiter w;
  for (uint32_t i = 0; i < 4 * kRounds; i++) {
    w.word = 1;
    Wake(&w.word, 1);
    while (w.done == i) Wait(&w.done, i);
  }
  EXPECT_EQ(w.done, 4u * kRounds);
}

TEST(LocalFutex, WakeCountsWhoSlept) {
  COVERS("futex");
  Waiter w;
  uint32_t rounds = 0;
  for (int i = 0; i < kRounds; i++) {
    while (w.tid == 0) sched_yield();
    AwaitSleep(w.tid);
    const uint32_t looks = w.looks;
    ASSERT_EQ(Wake(&w.word, 0x7fffffff), 1) << i;  // spurious: it looks again
    while (w.looks == looks) sched_yield();
    AwaitSleep(w.tid);
    w.word = 1;
    ASSERT_EQ(Futex(&w.word, FUTEX_WAKE_BITSET_PRIVATE, 1, nullptr, ~0u), 1) << i;
    rounds++;
    while (w.done < rounds) sched_yield();
  }
}

TEST(LocalFutex, EveryWayOfWaking) {
  COVERS("futex");
  Waiter w;
  std::atomic<uint32_t> other{0};
  while (w.tid == 0) sched_yield();
  for (uint32_t i = 0; i < kRounds; i++) {
    AwaitSleep(w.tid);
    w.word = 1;
    switch (i % 4) {
      case 0:
        Wake(&w.word, 1);
        break;
      case 1:
        syscall(SYS_futex, &w.word, FUTEX_REQUEUE_PRIVATE, 1, 1, &other, 0);
        break;
      case 2:
        // Sets other to 0; it was 0, so the second word's sleepers are woken.
        syscall(SYS_futex, &other, FUTEX_WAKE_OP_PRIVATE, 1, 1, &w.word,
                FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 1));
        break;
      case 3:
        syscall(SYS_futex, &w.word, FUTEX_CMP_REQUEUE_PRIVATE, 1, 0, &other, 1);
        break;
    }
    while (w.done == i) sched_yield();
  }
}

TEST(LocalFutex, AnswersOfTheKernel) {
  COVERS("futex");
  std::atomic<uint32_t> word{7};
  for (int i = 0; i < kRounds; i++) {
    ASSERT_EQ(Wait(&word, 6), -1);
    ASSERT_EQ(errno, EAGAIN);
    timespec at = After(CLOCK_MONOTONIC, 20'000);
    ASSERT_EQ(Futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 7, &at, ~0u), -1);
    ASSERT_EQ(errno, ETIMEDOUT);
    at = After(CLOCK_REALTIME, 20'000);
    ASSERT_EQ(Futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 7, &at, ~0u), -1);
    ASSERT_EQ(errno, ETIMEDOUT);
    timespec bad{0, -1};
    ASSERT_EQ(Futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 7, &bad, ~0u), -1);
    ASSERT_EQ(errno, EINVAL);
    ASSERT_EQ(Futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 7, nullptr, 0), -1);
    ASSERT_EQ(errno, EINVAL);
    ASSERT_EQ(Futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 7, reinterpret_cast<timespec*>(8), ~0u), -1);
    ASSERT_EQ(errno, EFAULT);
    ASSERT_EQ(Futex(nullptr, FUTEX_WAIT_PRIVATE, 0), -1);
    ASSERT_EQ(errno, EFAULT);
    auto* odd = reinterpret_cast<std::atomic<uint32_t>*>(reinterpret_cast<char*>(&word) + 1);
    ASSERT_EQ(Futex(odd, FUTEX_WAIT_PRIVATE, 0), -1);
    ASSERT_EQ(errno, EINVAL);
    ASSERT_EQ(Futex(odd, FUTEX_WAKE_PRIVATE, 1), -1);
    ASSERT_EQ(errno, EINVAL);
    // Private and shared sleepers don't meet.
    ASSERT_EQ(Futex(&word, FUTEX_WAKE, 1), 0);
  }
}

// The page with the word becomes another one while somebody sleeps on it.
TEST(LocalFutex, SleepersSurviveFork) {
  COVERS("futex");
  Waiter w;
  while (w.tid == 0) sched_yield();
  for (uint32_t i = 0; i < 40; i++) {
    AwaitSleep(w.tid);
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(0);
    w.word = 1;
    ASSERT_EQ(Wake(&w.word, 1), 1);
    while (w.done == i) Wait(&w.done, i);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
  }
}

std::atomic<int> handled{0};
void Count(int) { handled++; }

TEST(LocalFutex, SignalsInterrupt) {
  COVERS("futex");
  struct sigaction sa {};
  sa.sa_handler = Count;
  sigaction(SIGUSR1, &sa, nullptr);
  std::atomic<uint32_t> word{0};
  std::atomic<pid_t> tid{0};
  std::atomic<int> interrupted{0};
  std::thread t([&] {
    tid = gettid();
    while (word == 0) {
      if (Wait(&word, 0) == -1 && errno == EINTR) interrupted++;
    }
  });
  while (tid == 0) sched_yield();
  handled = 0;
  for (int i = 0; i < kRounds; i++) {
    AwaitSleep(tid);
    ASSERT_EQ(syscall(SYS_tgkill, getpid(), tid.load(), SIGUSR1), 0);
    while (interrupted <= i) sched_yield();
  }
  EXPECT_EQ(handled, kRounds);
  word = 1;
  Wake(&word, 1);
  t.join();
  EXPECT_EQ(interrupted, kRounds);
}

TEST(LocalFutex, SleepCostsNoProcessorTime) {
  COVERS("futex");
  Waiter w;
  for (uint32_t i = 0; i < kRounds; i++) {
    w.word = 1;
    Wake(&w.word, 1);
    while (w.done == i) Wait(&w.done, i);
  }
  AwaitSleep(w.tid);
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  usleep(300'000);
  getrusage(RUSAGE_SELF, &after);
  auto ms = [](const rusage& r) {
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 +
           (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1000;
  };
  EXPECT_LT(ms(after) - ms(before), 100);
}

TEST(LocalFutex, AKilledProcessDoesNotSleepOn) {
  COVERS("futex");
  for (int i = 0; i < 20; i++) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Waiter w;
      for (uint32_t k = 0; k < 200; k++) {
        w.word = 1;
        Wake(&w.word, 1);
        while (w.done == k) Wait(&w.done, k);
      }
      AwaitSleep(w.tid);
      if (i % 2) _exit(3);
      raise(SIGKILL);
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, i % 2 ? 3 << 8 : SIGKILL);
  }
}

// --- signal handlers ---

// Raises a signal with values in the registers that a handler and its return must leave alone.
struct Registers {
  uint64_t general[6];
  double vector[4];
};

Registers RaiseWith(uint64_t seed) {
  Registers r;
  double in[4] = {static_cast<double>(seed), seed + .5, seed + .25, seed + .125};
  long pid = getpid();
  register uint64_t r12 __asm__("r12") = seed;
  register uint64_t r13 __asm__("r13") = seed + 1;
  register uint64_t r14 __asm__("r14") = seed + 2;
  register uint64_t r15 __asm__("r15") = seed + 3;
  register uint64_t r8 __asm__("r8") = seed + 4;
  register uint64_t r9 __asm__("r9") = seed + 5;
  __asm__ volatile(
      "movsd (%[in]), %%xmm0\n movsd 8(%[in]), %%xmm7\n"
      "movsd 16(%[in]), %%xmm8\n movsd 24(%[in]), %%xmm15\n"
      "mov %[sig], %%esi\n mov $62, %%eax\n syscall\n"
      "movsd %%xmm0, (%[out])\n movsd %%xmm7, 8(%[out])\n"
      "movsd %%xmm8, 16(%[out])\n movsd %%xmm15, 24(%[out])"
      : "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15), "+r"(r8), "+r"(r9), "+D"(pid)
      : [in] "b"(in), [out] "d"(r.vector), [sig] "i"(SIGUSR1)
      : "rax", "rcx", "rsi", "r11", "memory", "xmm0", "xmm7", "xmm8", "xmm15", "cc");
  uint64_t general[6] = {r12, r13, r14, r15, r8, r9};
  memcpy(r.general, general, sizeof general);
  return r;
}

void Clobber(int) {
  handled++;
  __asm__ volatile(
      "xorps %%xmm0, %%xmm0\n xorps %%xmm7, %%xmm7\n xorps %%xmm8, %%xmm8\n"
      "xorps %%xmm15, %%xmm15\n mov $1, %%r8d\n mov $1, %%r9d\n std\n cld" ::
          : "xmm0", "xmm7", "xmm8", "xmm15", "r8", "r9", "cc");
}

void ExpectSame(const Registers& r, uint64_t seed) {
  for (int k = 0; k < 6; k++) ASSERT_EQ(r.general[k], seed + k);
  const double off[4] = {0, .5, .25, .125};
  for (int k = 0; k < 4; k++) ASSERT_EQ(r.vector[k], seed + off[k]);
}

TEST(LocalSigreturn, RegistersComeBack) {
  COVERS("rt_sigreturn");
  struct sigaction sa {};
  sa.sa_handler = Clobber;
  sigaction(SIGUSR1, &sa, nullptr);
  handled = 0;
  for (uint64_t i = 0; i < kRounds; i++) {
    Registers r = RaiseWith(i * 7);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(r, i * 7));
  }
  EXPECT_EQ(handled, kRounds);
}

TEST(LocalSigreturn, OnTheAlternateStack) {
  COVERS("rt_sigreturn");
  static uint8_t stack[65536];
  stack_t ss{stack, 0, sizeof stack}, old;
  ASSERT_EQ(sigaltstack(&ss, &old), 0);
  struct sigaction sa {};
  sa.sa_handler = Clobber;
  sa.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR1, &sa, nullptr);
  for (uint64_t i = 0; i < kRounds; i++) {
    Registers r = RaiseWith(i);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(r, i));
    // The stack that a frame restores may be another one.
    ss.ss_size = sizeof stack - 4096 * (i % 3);
    ASSERT_EQ(sigaltstack(&ss, nullptr), 0);
  }
  ASSERT_EQ(sigaltstack(&old, nullptr), 0);
}

// A handler's first vector registers, and its MXCSR.
void LookAtState(int) {
  uint64_t low;
  uint32_t mxcsr;
  __asm__ volatile("movq %%xmm15, %0\n stmxcsr %1" : "=r"(low), "=m"(mxcsr));
  if (low == 0 && mxcsr == 0x1f80) handled++;
}

TEST(LocalSigreturn, HandlersBeginWithTheInitialState) {
  COVERS("rt_sigreturn");
  struct sigaction sa {};
  sa.sa_handler = LookAtState;
  sigaction(SIGUSR1, &sa, nullptr);
  handled = 0;
  uint32_t mxcsr, changed, back;
  __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
  changed = mxcsr | 0x8000;  // flush to zero
  for (uint64_t i = 0; i < kRounds; i++) {
    __asm__ volatile("ldmxcsr %0" ::"m"(changed));
    Registers r = RaiseWith(i + 1);
    __asm__ volatile("stmxcsr %0\n ldmxcsr %1" : "=m"(back) : "m"(mxcsr));
    ASSERT_EQ(back, changed);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(r, i + 1));
  }
  EXPECT_EQ(handled, kRounds);
}

// Whether the rounding mode and a register are as ChildrenBeginWithTheCallersState made them.
bool StateIs(uint32_t mxcsr, uint64_t mark) {
  uint64_t low, high;
  uint32_t now;
  __asm__ volatile("movq %%xmm15, %0\n movhlps %%xmm15, %%xmm14\n movq %%xmm14, %1\n stmxcsr %2"
                   : "=r"(low), "=r"(high), "=m"(now)
                   :
                   : "xmm14");
  return low == mark && high == mark && now == mxcsr;
}

// A child by clone(2) or its like, called here with that state: a library would use the registers.
template <long kNr>
pid_t CloneWith(uint32_t mxcsr, uint64_t mark) {
  long pid;
  __asm__ volatile(
      "ldmxcsr %2\n movq %1, %%xmm15\n punpcklqdq %%xmm15, %%xmm15\n mov $17, %%edi\n"
      "xor %%esi, %%esi\n xor %%edx, %%edx\n xor %%r10d, %%r10d\n xor %%r8d, %%r8d\n"
      "mov %3, %%eax\n syscall"
      : "=&a"(pid)
      : "r"(mark), "m"(mxcsr), "i"(kNr)
      : "rcx", "rdx", "rdi", "rsi", "r8", "r10", "r11", "xmm15", "memory");
  const bool same = StateIs(mxcsr, mark);
  if (pid == 0) _exit(same ? 0 : 1);
  EXPECT_TRUE(same);
  return static_cast<pid_t>(pid);
}

TEST(LocalClone, ChildrenBeginWithTheCallersState) {
  COVERS("clone", "fork", "vfork");
  uint32_t mxcsr, changed;
  __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
  changed = mxcsr | 0x6000;  // round towards zero
  for (uint64_t i = 0; i < 60; i++) {
    const uint64_t mark = 0x0123456789abcdef + i;
    pid_t pid = i % 3 == 0   ? CloneWith<SYS_fork>(changed, mark)
                : i % 3 == 1 ? CloneWith<SYS_vfork>(changed, mark)
                             : CloneWith<SYS_clone>(changed, mark);
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    ASSERT_GT(pid, 0);
    int status;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_EQ(status, 0);
  }
}

void Edit(int, siginfo_t*, void* context) {
  auto* uc = static_cast<ucontext_t*>(context);
  uc->uc_mcontext.gregs[REG_R12] += 100;
  uc->uc_mcontext.gregs[REG_R9] += 100;
  uc->uc_mcontext.fpregs->_xmm[7].element[1] ^= 0x00100000;  // in or out of the double's exponent
  sigaddset(&uc->uc_sigmask, SIGUSR2);
}

TEST(LocalSigreturn, WhatTheHandlerChanged) {
  COVERS("rt_sigreturn");
  struct sigaction sa {};
  sa.sa_sigaction = Edit;
  sa.sa_flags = SA_SIGINFO;
  sigaction(SIGUSR1, &sa, nullptr);
  sigset_t none, now;
  sigemptyset(&none);
  for (uint64_t i = 1; i < kRounds; i++) {
    sigprocmask(SIG_SETMASK, &none, nullptr);
    Registers r = RaiseWith(i);
    ASSERT_EQ(r.general[0], i + 100);
    ASSERT_EQ(r.general[5], i + 5 + 100);
    ASSERT_NE(r.vector[1], i + .5);
    ASSERT_EQ(r.vector[2], i + .25);
    sigprocmask(SIG_SETMASK, nullptr, &now);
    ASSERT_EQ(sigismember(&now, SIGUSR2), 1);
    ASSERT_EQ(sigismember(&now, SIGUSR1), 0);
  }
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// What was blocked while a handler ran comes when it returns.
int depth = 0, deepest = 0;
void Nest(int sig) {
  if (++depth > deepest) deepest = depth;
  if (sig == SIGUSR1) {
    raise(SIGUSR1);
    raise(SIGUSR2);
  }
  depth--;
  handled++;
}

TEST(LocalSigreturn, PendingSignals) {
  COVERS("rt_sigreturn");
  struct sigaction sa {};
  sa.sa_handler = Nest;
  sigaction(SIGUSR2, &sa, nullptr);
  sigaction(SIGUSR1, &sa, nullptr);
  for (int i = 0; i < kRounds; i++) {
    depth = deepest = 0;
    handled = 0;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    struct sigaction once = sa;
    once.sa_flags = SA_RESETHAND;
    once.sa_handler = [](int) {
      struct sigaction quiet {};
      quiet.sa_handler = Count;
      sigaction(SIGUSR1, &quiet, nullptr);
      Nest(SIGUSR1);
    };
    sigaction(SIGUSR1, &once, nullptr);
    raise(SIGUSR1);
    ASSERT_EQ(handled, 3) << i;
    ASSERT_EQ(deepest, 2);
  }
}

// Floods a computing and calling thread with signals: nothing of it changes.
TEST(LocalSigreturn, SignalsFromOutside) {
  COVERS("rt_sigreturn");
  struct sigaction sa {};
  sa.sa_handler = Clobber;
  sa.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &sa, nullptr);
  sigaction(SIGUSR1, &sa, nullptr);
  std::atomic<bool> stop{false};
  pid_t self = gettid();
  std::thread t([&] {
    while (!stop) {
      syscall(SYS_tgkill, getpid(), self, SIGUSR2);
      for (int i = 0; i < 50; i++) sched_yield();
    }
  });
  for (uint64_t i = 0; i < 10 * kRounds; i++) {
    Registers r = RaiseWith(i);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(r, i));
    ASSERT_EQ(syscall(SYS_getpid), getpid());
  }
  stop = true;
  t.join();
}

TEST(LocalSigreturn, BadFrames) {
  COVERS("rt_sigreturn");
  for (int kind = 0; kind < 3; kind++) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      struct sigaction sa {};
      sa.sa_handler = Count;
      sigaction(SIGUSR1, &sa, nullptr);
      for (int i = 0; i < 100; i++) raise(SIGUSR1);
      static int what;
      what = kind;
      sa.sa_sigaction = [](int, siginfo_t*, void* context) {
        auto* uc = static_cast<ucontext_t*>(context);
        if (what == 0) uc->uc_mcontext.gregs[REG_RIP] = 8;
        if (what == 1) uc->uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(64);
        if (what == 2) uc->uc_mcontext.fpregs->mxcsr = ~0u;
      };
      sa.sa_flags = SA_SIGINFO;
      sigaction(SIGUSR1, &sa, nullptr);
      raise(SIGUSR1);
      _exit(0);
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << kind << " " << status;
  }
}

}  // namespace
