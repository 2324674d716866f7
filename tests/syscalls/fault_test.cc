// What a program gets for touching memory wrongly: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP with
// their siginfo, and stack growth.
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "tests/syscalls/test_util.h"

namespace {

constexpr size_t kPage = 4096;

sigjmp_buf g_jump;
siginfo_t g_info;
greg_t g_rip, g_err, g_trapno;

void Handler(int, siginfo_t* info, void* context) {
  g_info = *info;
  auto* u = static_cast<ucontext_t*>(context);
  g_rip = u->uc_mcontext.gregs[REG_RIP];
  g_err = u->uc_mcontext.gregs[REG_ERR];
  g_trapno = u->uc_mcontext.gregs[REG_TRAPNO];
  siglongjmp(g_jump, 1);
}

class Fault : public ::testing::Test {
 protected:
  void SetUp() override {
    struct sigaction sa {};
    sa.sa_sigaction = Handler;
    sa.sa_flags = SA_SIGINFO;
    for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) sigaction(s, &sa, nullptr);
    memset(&g_info, 0, sizeof g_info);
  }
  void TearDown() override {
    for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) signal(s, SIG_DFL);
  }
  template <class F>
  static bool Faults(F f) {
    if (sigsetjmp(g_jump, 1) == 0) {
      f();
      return false;
    }
    return true;
  }
};

TEST_F(Fault, UnmappedRead) {
  COVERS("rt_sigaction");
  auto* p = static_cast<volatile char*>(
      mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(const_cast<char*>(p), kPage);
  ASSERT_TRUE(Faults([&] { (void)*p; }));
  EXPECT_EQ(g_info.si_signo, SIGSEGV);
  EXPECT_EQ(g_info.si_code, SEGV_MAPERR);
  EXPECT_EQ(g_info.si_addr, const_cast<char*>(p));
  EXPECT_EQ(g_info.si_errno, 0);
  EXPECT_EQ(g_trapno, 14);
  EXPECT_EQ(g_err & 7, 4);  // user, read, not present
  ASSERT_TRUE(Faults([&] { *p = 1; }));
  EXPECT_EQ(g_err & 7, 6);
}

TEST_F(Fault, NullPointer) {
  COVERS("rt_sigaction");
  volatile char* null = nullptr;
  ASSERT_TRUE(Faults([&] { *(null + 16) = 1; }));
  EXPECT_EQ(g_info.si_code, SEGV_MAPERR);
  EXPECT_EQ(g_info.si_addr, reinterpret_cast<void*>(16));
}

TEST_F(Fault, ProtectedWrite) {
  COVERS("mprotect", "rt_sigaction");
  auto* p = static_cast<volatile char*>(
      mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT_EQ(p[5], 0);
  ASSERT_TRUE(Faults([&] { p[5] = 1; }));
  EXPECT_EQ(g_info.si_signo, SIGSEGV);
  EXPECT_EQ(g_info.si_code, SEGV_ACCERR);
  EXPECT_EQ(g_info.si_addr, const_cast<char*>(p) + 5);
  EXPECT_EQ(g_err & 7, 7);
  munmap(const_cast<char*>(p), kPage);
}

TEST_F(Fault, ProtNone) {
  COVERS("mmap", "rt_sigaction");
  auto* p = static_cast<volatile char*>(
      mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_TRUE(Faults([&] { (void)*p; }));
  EXPECT_EQ(g_info.si_code, SEGV_ACCERR);
  munmap(const_cast<char*>(p), kPage);
}

TEST_F(Fault, NoExecute) {
  COVERS("mmap", "rt_sigaction");
  auto* p = static_cast<char*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  p[0] = static_cast<char>(0xc3);
  ASSERT_TRUE(Faults([&] { reinterpret_cast<void (*)()>(p)(); }));
  EXPECT_EQ(g_info.si_signo, SIGSEGV);
  EXPECT_EQ(g_info.si_code, SEGV_ACCERR);
  EXPECT_EQ(g_info.si_addr, p);
  EXPECT_EQ(g_rip, reinterpret_cast<greg_t>(p));
  munmap(p, kPage);
}

TEST_F(Fault, NonCanonicalAddress) {
  COVERS("rt_sigaction");
  auto* p = reinterpret_cast<volatile char*>(0x8000'0000'0000'0000);
  ASSERT_TRUE(Faults([&] { (void)*p; }));
  EXPECT_EQ(g_info.si_signo, SIGSEGV);
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
  EXPECT_EQ(g_info.si_addr, nullptr);
  EXPECT_EQ(g_trapno, 13);
}

TEST_F(Fault, KernelAddress) {
  COVERS("rt_sigaction");
  auto* p = reinterpret_cast<volatile char*>(0xffff'ffff'8000'0000);
  ASSERT_TRUE(Faults([&] { (void)*p; }));
  EXPECT_EQ(g_info.si_signo, SIGSEGV);
  EXPECT_EQ(g_info.si_code, SEGV_MAPERR);
}

TEST_F(Fault, BeyondEndOfFile) {
  COVERS("mmap", "rt_sigaction");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "f", "short"));
  Fd fd(open((dir / "f").c_str(), O_RDWR));
  auto* p = static_cast<volatile char*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  EXPECT_EQ(p[0], 's');
  ASSERT_TRUE(Faults([&] { (void)p[kPage]; }));
  EXPECT_EQ(g_info.si_signo, SIGBUS);
  EXPECT_EQ(g_info.si_code, BUS_ADRERR);
  EXPECT_EQ(g_info.si_addr, const_cast<char*>(p) + kPage);
  // Truncated under a mapping that was in use.
  ASSERT_OK(ftruncate(fd, 0));
  ASSERT_TRUE(Faults([&] { (void)p[0]; }));
  EXPECT_EQ(g_info.si_signo, SIGBUS);
  // The kernel, touching it for us, says EFAULT.
  int q[2];
  ASSERT_OK(pipe(q));
  EXPECT_ERR(write(q[1], const_cast<char*>(p), 1), EFAULT);
  // And it works again when the file has grown.
  ASSERT_OK(ftruncate(fd, kPage));
  EXPECT_EQ(p[0], 0);
  munmap(const_cast<char*>(p), 2 * kPage);
  close(q[0]);
  close(q[1]);
}

TEST_F(Fault, DivideByZero) {
  COVERS("rt_sigaction");
  ASSERT_TRUE(Faults([] {
    volatile int zero = 0, n = 100;
    volatile int r = n / zero;
    (void)r;
  }));
  EXPECT_EQ(g_info.si_signo, SIGFPE);
  EXPECT_EQ(g_info.si_code, FPE_INTDIV);
  EXPECT_EQ(reinterpret_cast<greg_t>(g_info.si_addr), g_rip);
  EXPECT_EQ(g_trapno, 0);
}

TEST_F(Fault, IllegalInstruction) {
  COVERS("rt_sigaction");
  ASSERT_TRUE(Faults([] { asm volatile("ud2"); }));
  EXPECT_EQ(g_info.si_signo, SIGILL);
  EXPECT_EQ(g_info.si_code, ILL_ILLOPN);
  EXPECT_EQ(reinterpret_cast<greg_t>(g_info.si_addr), g_rip);
}

TEST_F(Fault, PrivilegedInstruction) {
  COVERS("rt_sigaction");
  ASSERT_TRUE(Faults([] { asm volatile("hlt"); }));
  EXPECT_EQ(g_info.si_signo, SIGSEGV);
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
}

TEST_F(Fault, Breakpoint) {
  COVERS("rt_sigaction");
  ASSERT_TRUE(Faults([] { asm volatile("int3"); }));
  EXPECT_EQ(g_info.si_signo, SIGTRAP);
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
}

TEST_F(Fault, SingleStepFlag) {
  COVERS("rt_sigaction");
  ASSERT_TRUE(Faults([] {
    asm volatile("sub $128,%%rsp; pushfq; orq $0x100,(%%rsp); popfq; nop; add $128,%%rsp" ::
                     : "memory", "cc");
  }));
  asm volatile("sub $128,%%rsp; pushfq; andq $~0x100,(%%rsp); popfq; add $128,%%rsp" ::
                   : "memory", "cc");
  EXPECT_EQ(g_info.si_signo, SIGTRAP);
  EXPECT_EQ(g_info.si_code, TRAP_TRACE);
}

TEST_F(Fault, HandlerMayRepairAndReturn) {
  COVERS("rt_sigaction", "rt_sigreturn", "mprotect");
  static char* page;
  page = static_cast<char*>(mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  struct sigaction sa {};
  sa.sa_sigaction = [](int, siginfo_t*, void*) { mprotect(page, kPage, PROT_READ | PROT_WRITE); };
  sa.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &sa, nullptr);
  static_cast<volatile char*>(page)[9] = 'r';
  EXPECT_EQ(page[9], 'r');
  munmap(page, kPage);
}

TEST_F(Fault, HandlerMaySkipAnInstruction) {
  COVERS("rt_sigaction", "rt_sigreturn");
  struct sigaction sa {};
  sa.sa_sigaction = [](int, siginfo_t*, void* c) {
    auto* u = static_cast<ucontext_t*>(c);
    u->uc_mcontext.gregs[REG_RIP] += 2;  // ud2 is two bytes
    u->uc_mcontext.gregs[REG_RBX] = 0x1234;
  };
  sa.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &sa, nullptr);
  long rbx = 0;
  asm volatile("ud2" : "+b"(rbx));
  EXPECT_EQ(rbx, 0x1234);
}

TEST_F(Fault, BlockedOrIgnoredFaultKills) {
  COVERS("rt_sigprocmask", "rt_sigaction");
  pid_t pid = Spawn([] {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGSEGV, SIG_IGN);
    *reinterpret_cast<volatile char*>(8) = 1;
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGSEGV);
  pid = Spawn([] {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    *reinterpret_cast<volatile char*>(8) = 1;
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGSEGV);
}

__attribute__((noinline)) int Deep(int levels) {
  volatile char frame[4000];
  frame[0] = static_cast<char>(levels);
  if (levels == 0) return 1;
  return Deep(levels - 1) + (frame[0] == static_cast<char>(levels) ? 0 : 1000000);
}

TEST_F(Fault, StackGrows) {
  COVERS("mmap");
  EXPECT_EQ(Deep(1500), 1);  // about 6 MiB of the usual 8
}

TEST_F(Fault, StackOverflowKills) {
  COVERS("setrlimit", "mmap");
  pid_t pid = Spawn([] {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    rlimit small{1 << 20, 1 << 20};
    setrlimit(RLIMIT_STACK, &small);
    signal(SIGSEGV, SIG_DFL);
    return Deep(1 << 20) == 1 ? 0 : 1;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGSEGV);
}

TEST_F(Fault, StackOverflowOnAlternateStack) {
  COVERS("sigaltstack", "rt_sigaction");
  std::vector<char> alt(65536);
  stack_t ss{};
  ss.ss_sp = alt.data();
  ss.ss_size = alt.size();
  ASSERT_OK(sigaltstack(&ss, nullptr));
  struct sigaction sa {};
  sa.sa_sigaction = Handler;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &sa, nullptr);
  EXPECT_TRUE(Faults([] { Deep(1 << 20); }));
  EXPECT_EQ(g_info.si_signo, SIGSEGV);
  ss.ss_flags = SS_DISABLE;
  EXPECT_OK(sigaltstack(&ss, nullptr));
}

TEST_F(Fault, GrowsDownMapping) {
  COVERS("mmap");
  // A MAP_GROWSDOWN mapping extends to the page just below it when that is touched.
  char* area = static_cast<char*>(
      mmap(nullptr, 2000 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(area, MAP_FAILED);
  munmap(area, 2000 * kPage);
  auto* top = static_cast<volatile char*>(
      mmap(area + 1990 * kPage, kPage, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0));
  ASSERT_NE(top, MAP_FAILED);
  EXPECT_FALSE(Faults([&] { top[-1] = 'g'; }));
  EXPECT_EQ(top[-1], 'g');
  munmap(const_cast<char*>(top) - kPage, 2 * kPage);
}

TEST_F(Fault, SyscallWithDirtyRegistersKeepsThem) {
  COVERS("getpid");
  // All registers but rax, rcx and r11 survive a system call.
  uint64_t rbx = 0x1111, r12 = 0x2222, r13 = 0x3333, r10_out, r8_out, r9_out, rdx_out;
  long rax;
  asm volatile(
      "mov $0x4444,%%r10; mov $0x5555,%%r8; mov $0x6666,%%r9; mov $0x7777,%%rdx;"
      "mov %[b],%%r12; mov %[c],%%r13; mov $39,%%eax; syscall;"
      "mov %%r10,%[r10]; mov %%r8,%[r8]; mov %%r9,%[r9]; mov %%rdx,%[rdx];"
      "mov %%r12,%[b]; mov %%r13,%[c]"
      : "=&a"(rax), [b] "+m"(r12), [c] "+m"(r13), [r10] "=m"(r10_out), [r8] "=m"(r8_out),
        [r9] "=m"(r9_out), [rdx] "=m"(rdx_out), "+b"(rbx)
      :
      : "rcx", "r11", "r10", "r8", "r9", "rdx", "r12", "r13", "memory");
  EXPECT_EQ(rax, getpid());
  EXPECT_EQ(rbx, 0x1111u);
  EXPECT_EQ(r12, 0x2222u);
  EXPECT_EQ(r13, 0x3333u);
  EXPECT_EQ(r10_out, 0x4444u);
  EXPECT_EQ(r8_out, 0x5555u);
  EXPECT_EQ(r9_out, 0x6666u);
  EXPECT_EQ(rdx_out, 0x7777u);
}

TEST_F(Fault, UnknownSyscallNumbers) {
  COVERS("getpid");
  EXPECT_ERR(syscall(100000), ENOSYS);
  EXPECT_ERR(syscall(-5), ENOSYS);
  EXPECT_ERR(syscall(400), ENOSYS);
}

}  // namespace
