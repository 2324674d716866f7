#include "platform/stub/guest_filter.h"

#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <initializer_list>
#include <utility>

namespace platform::stub {
namespace {

sock_filter Load(uint32_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset); }
sock_filter JumpEq(uint32_t k, uint8_t yes, uint8_t no) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, yes, no);
}
sock_filter JumpGe(uint32_t k, uint8_t yes, uint8_t no) {
  return BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, k, yes, no);
}
sock_filter Return(uint32_t k) { return BPF_STMT(BPF_RET | BPF_K, k); }

uint32_t ArgLow(int i) { return offsetof(seccomp_data, args) + 8 * i; }

struct Builder {
  std::vector<sock_filter> code;

  void Any(uint32_t nr) {
    code.push_back(JumpEq(nr, 0, 1));
    code.push_back(Return(SECCOMP_RET_ALLOW));
  }
  // The argument must be one of the values, its upper half 0.
  void OneOf(uint32_t nr, int arg, std::initializer_list<uint32_t> values) {
    auto n = static_cast<uint8_t>(values.size());
    code.push_back(JumpEq(nr, 0, static_cast<uint8_t>(n + 5)));
    code.push_back(Load(ArgLow(arg) + 4));
    code.push_back(JumpEq(0, 0, static_cast<uint8_t>(n + 1)));
    code.push_back(Load(ArgLow(arg)));
    uint8_t i = 0;
    for (uint32_t v : values) {
      code.push_back(JumpEq(v, static_cast<uint8_t>(n - i), 0));
      i++;
    }
    code.push_back(Return(SECCOMP_RET_TRAP));
    code.push_back(Return(SECCOMP_RET_ALLOW));
  }
  // All the arguments must have the values.
  void All(uint32_t nr, std::initializer_list<std::pair<int, uint64_t>> args) {
    size_t end = code.size() + 4 * args.size() + 2;
    auto unless = [&](uint32_t value) {
      code.push_back(JumpEq(value, 0, static_cast<uint8_t>(end - code.size() - 1)));
    };
    unless(nr);
    for (auto [arg, value] : args) {
      code.push_back(Load(ArgLow(arg) + 4));
      unless(static_cast<uint32_t>(value >> 32));
      code.push_back(Load(ArgLow(arg)));
      unless(static_cast<uint32_t>(value));
    }
    code.push_back(Return(SECCOMP_RET_ALLOW));
    code.push_back(Load(offsetof(seccomp_data, nr)));
  }
};

}  // namespace

std::vector<sock_filter> GuestFilter(const ForkSecret& secret) {
  static_assert((kText & 0xffffffff) + kTextSize <= 0xffffffff);
  Builder b;
  auto& c = b.code;
  // Guest code lies below the stub: two loads decide almost always.
  c.push_back(Load(offsetof(seccomp_data, instruction_pointer) + 4));
  c.push_back(JumpEq(static_cast<uint32_t>(kText >> 32), 1, 0));
  c.push_back(Return(SECCOMP_RET_TRAP));
  c.push_back(Load(offsetof(seccomp_data, instruction_pointer)));
  c.push_back(JumpGe(static_cast<uint32_t>(kText), 1, 0));
  c.push_back(Return(SECCOMP_RET_TRAP));
  c.push_back(JumpGe(static_cast<uint32_t>(kText + kTextSize), 0, 1));
  c.push_back(Return(SECCOMP_RET_TRAP));
  c.push_back(Load(offsetof(seccomp_data, arch)));
  c.push_back(JumpEq(AUDIT_ARCH_X86_64, 1, 0));
  c.push_back(Return(SECCOMP_RET_TRAP));
  c.push_back(Load(offsetof(seccomp_data, nr)));
  b.Any(SYS_rt_sigreturn);
  // The channel's waits and wakes; those of the guest's private futexes.
  b.OneOf(SYS_futex, 1,
          {FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE, FUTEX_REQUEUE_PRIVATE,
           FUTEX_WAIT_BITSET_PRIVATE, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME});
  // Only descriptors that the sentry gave, always at a fixed place, never anonymous or huge.
  b.OneOf(SYS_mmap, 3, {MAP_SHARED | MAP_FIXED});
  b.Any(SYS_munmap);
  b.Any(SYS_mprotect);
  b.OneOf(SYS_madvise, 2, {MADV_HUGEPAGE});
  // The socket to the sentry. What else has the zygote's number in a guest process is no socket.
  b.OneOf(SYS_recvmsg, 0, {kSocketFd, kZygoteSocketFd});
  b.Any(SYS_close);
  // The zygote's calls: a fork, with words that guests don't know, and its answers.
  b.All(SYS_clone, {{0, kForkFlags}, {4, secret.word[0]}, {5, secret.word[1]}});
  b.OneOf(SYS_clone, 0,
          {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
           CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID});
  b.Any(SYS_sched_yield);
  b.Any(SYS_sigaltstack);
  b.OneOf(SYS_arch_prctl, 0, {0x1001 /* ARCH_SET_GS */, 0x1002 /* ARCH_SET_FS */});
  b.Any(SYS_exit);
  b.Any(SYS_exit_group);
  static_assert(sizeof(ZygoteHello) == 8 && sizeof(ZygoteReply) == 8);
  b.All(SYS_sendto, {{0, kZygoteSocketFd}, {2, 8}, {3, MSG_NOSIGNAL}, {4, 0}, {5, 0}});
  // A new guest process's first call: it dies with the sentry.
  b.All(SYS_prctl, {{0, PR_SET_PDEATHSIG}, {1, SIGKILL}});
  c.push_back(Return(SECCOMP_RET_TRAP));
  return std::move(b.code);
}

}  // namespace platform::stub
