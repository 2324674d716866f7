// seccomp(2) with filters.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>

#include <atomic>

#include "tests/syscalls/test_util.h"

namespace {

using Program = std::vector<sock_filter>;

constexpr uint32_t kNr = offsetof(seccomp_data, nr);

// RESULT for one call, everything else is allowed.
Program ForCall(long nr, uint32_t result) {
  return {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(nr), 0, 1),
          BPF_STMT(BPF_RET | BPF_K, result), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
}

long Install(const Program& p, unsigned flags = 0) {
  sock_fprog prog{static_cast<unsigned short>(p.size()), const_cast<sock_filter*>(p.data())};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

void NoNewPrivs() { CHILD_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }

TEST(Seccomp, ErrnoAndInheritance) {
  COVERS("seccomp", "prctl");
  EXPECT_CHILD([] {
    NoNewPrivs();
    CHILD_RET(prctl(PR_GET_SECCOMP), 0);
    CHILD_OK(Install(ForCall(SYS_getpgid, SECCOMP_RET_ERRNO | EXDEV)));
    CHILD_RET(prctl(PR_GET_SECCOMP), 2);
    CHILD_ERR(syscall(SYS_getpgid, 0), EXDEV);
    CHILD_OK(syscall(SYS_getppid));
    // Numbers that mean something else inside a kernel are errnos like others.
    CHILD_OK(Install(ForCall(SYS_getsid, SECCOMP_RET_ERRNO | 512)));
    CHILD_ERR(syscall(SYS_getsid, 0), 512);
    CHILD_OK(Install(ForCall(SYS_getpgrp, SECCOMP_RET_ERRNO | 0)));
    CHILD_RET(syscall(SYS_getpgrp), 0);
    CHILD_OK(Install(ForCall(SYS_getpriority, SECCOMP_RET_ERRNO | 0xffff)));
    CHILD_ERR(syscall(SYS_getpriority, 0, 0), 4095);
    int status = WaitFor(Spawn([] {
      if (prctl(PR_GET_SECCOMP) != 2) return 1;
      return syscall(SYS_getpgid, 0) == -1 && errno == EXDEV ? 7 : 2;
    }));
    CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    // Strict mode can't follow.
    CHILD_ERR(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), EINVAL);
  });
}

TEST(Seccomp, ArgumentsAndPrecedence) {
  COVERS("seccomp");
  EXPECT_CHILD([] {
    NoNewPrivs();
    // lseek(fd 77) fails with ENOTTY; the high half of the register counts too.
    Program p = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr),
                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_lseek, 0, 5),
                 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 77, 0, 3),
                 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0]) + 4),
                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    CHILD_OK(Install(p));
    CHILD_ERR(syscall(SYS_lseek, 77, 0, 0), ENOTTY);
    CHILD_ERR(syscall(SYS_lseek, 77 + (1L << 32), 0, 0), EBADF);
    CHILD_ERR(syscall(SYS_lseek, 78, 0, 0), EBADF);
    // The architecture, arithmetic and memory: (arch ^ x) via scratch words.
    Program q = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
                 BPF_STMT(BPF_ST, 3),
                 BPF_STMT(BPF_LDX | BPF_MEM, 3),
                 BPF_STMT(BPF_LD | BPF_IMM, AUDIT_ARCH_X86_64),
                 BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr),
                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getuid, 0, 1),
                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 11),
                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    CHILD_OK(Install(q));
    CHILD_ERR(syscall(SYS_getuid), 11);
    // The newest filter's result wins among equal actions; a stricter action always does.
    CHILD_OK(Install(ForCall(SYS_getuid, SECCOMP_RET_ERRNO | 12)));
    CHILD_ERR(syscall(SYS_getuid), 12);
    CHILD_OK(Install(ForCall(SYS_getuid, SECCOMP_RET_LOG)));
    CHILD_ERR(syscall(SYS_getuid), 12);
    CHILD_OK(Install(ForCall(SYS_getgid, SECCOMP_RET_LOG)));
    CHILD_OK(syscall(SYS_getgid));
    CHILD_OK(Install(ForCall(SYS_getegid, SECCOMP_RET_TRACE)));
    CHILD_ERR(syscall(SYS_getegid), ENOSYS);
  });
}

std::atomic<int> trap_errno, trap_nr, trap_code;
std::atomic<unsigned> trap_arch;
std::atomic<long> trap_rax;

TEST(Seccomp, Trap) {
  COVERS("seccomp");
  EXPECT_CHILD([] {
    struct sigaction sa = {};
    sa.sa_flags = SA_SIGINFO;
    sa.sa_sigaction = [](int, siginfo_t* info, void* context) {
      auto* uc = static_cast<ucontext_t*>(context);
      trap_errno = info->si_errno;
      trap_nr = info->si_syscall;
      trap_arch = info->si_arch;
      trap_code = info->si_code;
      trap_rax = uc->uc_mcontext.gregs[REG_RAX];
      uc->uc_mcontext.gregs[REG_RAX] = 4242;
    };
    CHILD_OK(sigaction(SIGSYS, &sa, nullptr));
    NoNewPrivs();
    CHILD_OK(Install(ForCall(SYS_getpgid, SECCOMP_RET_TRAP | 99)));
    CHILD_RET(syscall(SYS_getpgid, 0), 4242);
    CHILD_EQ(trap_errno.load(), 99);
    CHILD_EQ(trap_nr.load(), SYS_getpgid);
    CHILD_EQ(trap_arch.load(), AUDIT_ARCH_X86_64);
    CHILD_EQ(trap_code.load(), 1);
    CHILD_EQ(trap_rax.load(), SYS_getpgid);
  });
  // Blocked, it kills.
  pid_t pid = Spawn([] {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (Install(ForCall(SYS_getpgid, SECCOMP_RET_TRAP)) != 0) return 1;
    syscall(SYS_getpgid, 0);
    return 2;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGSYS);
}

TEST(Seccomp, Kill) {
  COVERS("seccomp");
  for (uint32_t action : {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, 0x12340000u}) {
    pid_t pid = Spawn([action] {
      struct rlimit none = {0, 0};
      setrlimit(RLIMIT_CORE, &none);
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      if (Install(ForCall(SYS_getpgid, action)) != 0) return 1;
      syscall(SYS_getpgid, 0);
      return 2;
    });
    EXPECT_KILLED_BY(WaitFor(pid), SIGSYS);
  }
  // One thread of several dies alone.
  EXPECT_CHILD([] {
    NoNewPrivs();
    CHILD_OK(Install(ForCall(SYS_getpgid, SECCOMP_RET_KILL_THREAD)));
    static std::atomic<int> state{0};
    pthread_t th;
    CHILD_EQ(pthread_create(
                 &th, nullptr,
                 [](void*) -> void* {
                   state = 1;
                   syscall(SYS_getpgid, 0);
                   state = 2;
                   return nullptr;
                 },
                 nullptr),
             0);
    CHILD_EQ(pthread_join(th, nullptr), 0);
    CHILD_EQ(state.load(), 1);
  });
}

TEST(Seccomp, AllThreads) {
  COVERS("seccomp");
  EXPECT_CHILD([] {
    NoNewPrivs();
    static std::atomic<int> go{0}, result{0}, nnp{0};
    pthread_t th;
    CHILD_EQ(pthread_create(
                 &th, nullptr,
                 [](void*) -> void* {
                   while (go == 0) sched_yield();
                   errno = 0;
                   syscall(SYS_getpgid, 0);
                   result = errno;
                   nnp = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
                   return nullptr;
                 },
                 nullptr),
             0);
    CHILD_RET(Install(ForCall(SYS_getpgid, SECCOMP_RET_ERRNO | 33), SECCOMP_FILTER_FLAG_TSYNC), 0);
    go = 1;
    CHILD_EQ(pthread_join(th, nullptr), 0);
    CHILD_EQ(result.load(), 33);
    CHILD_EQ(nnp.load(), 1);
  });
  // A thread with a filter of its own stands in the way.
  EXPECT_CHILD([] {
    NoNewPrivs();
    static std::atomic<int> ready{0}, done{0};
    pthread_t th;
    CHILD_EQ(pthread_create(
                 &th, nullptr,
                 [](void*) -> void* {
                   Install(ForCall(SYS_getpgid, SECCOMP_RET_ERRNO | 33));
                   ready = static_cast<int>(syscall(SYS_gettid));
                   while (done == 0) sched_yield();
                   return nullptr;
                 },
                 nullptr),
             0);
    while (ready == 0) sched_yield();
    CHILD_RET(Install(ForCall(SYS_getsid, SECCOMP_RET_ERRNO | 1), SECCOMP_FILTER_FLAG_TSYNC),
              ready.load());
    done = 1;
    CHILD_EQ(pthread_join(th, nullptr), 0);
    CHILD_OK(syscall(SYS_getsid, 0));
  });
}

TEST(Seccomp, BadPrograms) {
  COVERS("seccomp");
  EXPECT_CHILD([] {
    NoNewPrivs();
    auto bad = [](const Program& p) { CHILD_ERR(Install(p), EINVAL); };
    sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    sock_fprog none{0, &allow};
    CHILD_ERR(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &none), EINVAL);
    CHILD_ERR(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, nullptr), EFAULT);
    sock_fprog wild{1, reinterpret_cast<sock_filter*>(8)};
    CHILD_ERR(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &wild), EFAULT);
    CHILD_ERR(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1u << 20, &wild), EINVAL);
    bad(Program(4097, allow));
    bad({BPF_STMT(BPF_LD | BPF_IMM, 1)});                 // no return
    bad({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), allow});  // unaligned
    bad({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sizeof(seccomp_data)), allow});
    bad({BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), allow});
    bad({BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0), allow});
    bad({BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), allow});
    bad({BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 3), allow});
    bad({BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), allow});
    bad({BPF_STMT(BPF_ST, 16), allow});
    bad({BPF_STMT(BPF_LD | BPF_MEM, 2), allow});  // never written
    bad({BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0), allow});
    bad({BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1), allow});
    // Written on one path only.
    bad({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
         BPF_STMT(BPF_ST, 0), BPF_STMT(BPF_LD | BPF_MEM, 0), allow});
    CHILD_RET(prctl(PR_GET_SECCOMP), 0);
    CHILD_OK(Install(Program(4096, allow)));
    // The instructions of all filters are limited, to 32768 as the kernel translates them.
    int more = 0;
    while (more < 16 && Install(Program(4096, allow)) == 0) more++;
    CHILD_EQ(errno, ENOMEM);
    CHILD_CHECK(more >= 1 && more <= 7);
  });
}

TEST(Seccomp, NeedsPrivilegeOrPromise) {
  COVERS("seccomp", "prctl");
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([] {
    systest::BecomeNobody();
    CHILD_ERR(Install(ForCall(SYS_getpgid, SECCOMP_RET_ALLOW)), EACCES);
    NoNewPrivs();
    CHILD_OK(Install(ForCall(SYS_getpgid, SECCOMP_RET_ALLOW)));
  });
}

TEST(Seccomp, Actions) {
  COVERS("seccomp");
  for (uint32_t a : {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP,
                     SECCOMP_RET_ERRNO, SECCOMP_RET_TRACE, SECCOMP_RET_LOG, SECCOMP_RET_ALLOW}) {
    EXPECT_OK(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &a)) << a;
  }
  uint32_t unknown = 0x12340000;
  EXPECT_ERR(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown), EOPNOTSUPP);
  EXPECT_ERR(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 1, &unknown), EINVAL);
  EXPECT_ERR(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, nullptr), EFAULT);
}

}  // namespace
