// futex(2) and its relatives, robust lists.

#include "sentry/kernel/futex.h"

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/time.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

namespace {

constexpr int64_t kNoDeadline = sentry::kNoDeadline;

// An absolute time of a clock as one of CLOCK_MONOTONIC.
int64_t AbsoluteDeadline(const abi::Timespec& ts, bool realtime) {
  int64_t at = TimespecToNs(ts);
  if (!realtime) return at;
  sentry::Clock& clock = sentry::HostClock();
  int64_t left = at - clock.Realtime(), now = clock.Monotonic();
  if (left <= 0) return 0;
  return left > kNoDeadline - 1 - now ? kNoDeadline - 1 : now + left;
}

// A wait that a signal cut short goes on with what is left of its time.
SyscallResult WaitUntil(Task& task, UserAddr addr, bool is_private, uint32_t val, uint32_t bitset,
                        int64_t deadline) {
  base::Result<void> r = sentry::FutexWait(task, addr, is_private, val, bitset, deadline);
  if (!r.ok() && r.error().is_restart() && deadline != kNoDeadline) {
    task.restart_block = [=](Task& t) {
      return WaitUntil(t, addr, is_private, val, bitset, deadline);
    };
    return base::Restart::kRestartBlock;
  }
  return r;
}

// The timeout of futex_waitv(2) and futex_wait(2): absolute, of CLOCK_REALTIME or CLOCK_MONOTONIC.
base::Result<int64_t> ClockDeadline(Task& task, UserIn<abi::Timespec> timeout, int32_t clockid) {
  if (timeout.null()) return kNoDeadline;
  if (clockid != abi::kCLOCK_REALTIME && clockid != abi::kCLOCK_MONOTONIC) {
    return abi::Errno::kEINVAL;
  }
  abi::Timespec ts = TRY(timeout.Fetch(task.mm()));
  if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
  return AbsoluteDeadline(ts, clockid == abi::kCLOCK_REALTIME);
}

// futex2_to_flags(): only private or shared words of 32 bits exist.
base::Result<bool> Futex2Private(uint32_t flags) {
  constexpr uint32_t kKnown = abi::kFUTEX2_SIZE_MASK | abi::kFUTEX2_PRIVATE;
  if ((flags & ~kKnown) != 0) return abi::Errno::kEINVAL;
  if ((flags & abi::kFUTEX2_SIZE_MASK) != abi::kFUTEX2_SIZE_U32) return abi::Errno::kEINVAL;
  return (flags & abi::kFUTEX2_PRIVATE) != 0;
}

}  // namespace

SyscallResult sys_futex(Task& task, UserAddr uaddr, int32_t op, uint32_t val,
                        uint64_t timeout_or_val2, UserAddr uaddr2, uint32_t val3) {
  const int32_t cmd = op & abi::kFUTEX_CMD_MASK;
  const bool is_private = (op & abi::kFUTEX_PRIVATE_FLAG) != 0;
  const bool realtime = (op & abi::kFUTEX_CLOCK_REALTIME) != 0;
  const int32_t count = static_cast<int32_t>(val), count2 = static_cast<int32_t>(timeout_or_val2);
  int64_t deadline = kNoDeadline;
  if (timeout_or_val2 != 0 &&
      (cmd == abi::kFUTEX_WAIT || cmd == abi::kFUTEX_WAIT_BITSET || cmd == abi::kFUTEX_LOCK_PI ||
       cmd == abi::kFUTEX_LOCK_PI2 || cmd == abi::kFUTEX_WAIT_REQUEUE_PI)) {
    abi::Timespec ts = TRY(UserIn<abi::Timespec>{UserAddr{timeout_or_val2}}.Fetch(task.mm()));
    if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
    if (cmd == abi::kFUTEX_WAIT) {
      deadline = DeadlineAfter(TimespecToNs(ts));
    } else {
      deadline = AbsoluteDeadline(ts, realtime || cmd == abi::kFUTEX_LOCK_PI);
    }
  }
  if (realtime && cmd != abi::kFUTEX_WAIT_BITSET && cmd != abi::kFUTEX_WAIT_REQUEUE_PI &&
      cmd != abi::kFUTEX_LOCK_PI2) {
    return abi::Errno::kENOSYS;
  }
  switch (cmd) {
    case abi::kFUTEX_WAIT:
      return WaitUntil(task, uaddr, is_private, val, abi::kFUTEX_BITSET_MATCH_ANY, deadline);
    case abi::kFUTEX_WAIT_BITSET:
      return WaitUntil(task, uaddr, is_private, val, val3, deadline);
    case abi::kFUTEX_WAKE:
      return sentry::FutexWake(task, uaddr, is_private, count, abi::kFUTEX_BITSET_MATCH_ANY);
    case abi::kFUTEX_WAKE_BITSET:
      return sentry::FutexWake(task, uaddr, is_private, count, val3);
    case abi::kFUTEX_REQUEUE:
      return sentry::FutexRequeue(task, uaddr, is_private, uaddr2, is_private, count, count2,
                                  nullptr);
    case abi::kFUTEX_CMP_REQUEUE:
      return sentry::FutexRequeue(task, uaddr, is_private, uaddr2, is_private, count, count2,
                                  &val3);
    case abi::kFUTEX_WAKE_OP:
      return sentry::FutexWakeOp(task, uaddr, uaddr2, is_private, count, count2, val3);
    case abi::kFUTEX_LOCK_PI:
    case abi::kFUTEX_LOCK_PI2:
      return sentry::FutexLockPi(task, uaddr, is_private, false, deadline);
    case abi::kFUTEX_TRYLOCK_PI:
      return sentry::FutexLockPi(task, uaddr, is_private, true, kNoDeadline);
    case abi::kFUTEX_UNLOCK_PI:
      return sentry::FutexUnlockPi(task, uaddr, is_private);
    default:
      TrackGap(Sys::futex, static_cast<uint64_t>(cmd));
      return abi::Errno::kENOSYS;
  }
}

SyscallResult sys_futex_waitv(Task& task, UserAddr waiters, uint32_t nr_futexes, uint32_t flags,
                              UserIn<abi::Timespec> timeout, int32_t clockid) {
  if (flags != 0) return abi::Errno::kEINVAL;
  if (nr_futexes == 0 || nr_futexes > abi::kFUTEX_WAITV_MAX || waiters.null()) {
    return abi::Errno::kEINVAL;
  }
  int64_t deadline = TRY(ClockDeadline(task, timeout, clockid));
  std::vector<sentry::FutexWaitOne> list(nr_futexes);
  for (uint32_t i = 0; i < nr_futexes; i++) {
    auto w = TRY(UserIn<abi::FutexWaitv>{waiters + i * sizeof(abi::FutexWaitv)}.Fetch(task.mm()));
    if (w.reserved != 0) return abi::Errno::kEINVAL;
    bool is_private = TRY(Futex2Private(w.flags));
    if (w.val > UINT32_MAX) return abi::Errno::kEINVAL;
    list[i] = {UserAddr{w.uaddr}, static_cast<uint32_t>(w.val), is_private};
  }
  return sentry::FutexWaitMany(task, list, deadline);
}

SyscallResult sys_futex_wait(Task& task, UserAddr uaddr, uint64_t val, uint64_t mask,
                             uint32_t flags, UserIn<abi::Timespec> timeout, int32_t clockid) {
  bool is_private = TRY(Futex2Private(flags));
  if (val > UINT32_MAX || mask > UINT32_MAX) return abi::Errno::kEINVAL;
  int64_t deadline = TRY(ClockDeadline(task, timeout, clockid));
  return WaitUntil(task, uaddr, is_private, static_cast<uint32_t>(val), static_cast<uint32_t>(mask),
                   deadline);
}

SyscallResult sys_futex_wake(Task& task, UserAddr uaddr, uint64_t mask, int32_t nr,
                             uint32_t flags) {
  bool is_private = TRY(Futex2Private(flags));
  if (mask > UINT32_MAX) return abi::Errno::kEINVAL;
  // FLAGS_STRICT: zero is zero here.
  if (nr == 0 && mask != 0) return 0;
  return sentry::FutexWake(task, uaddr, is_private, nr, static_cast<uint32_t>(mask));
}

SyscallResult sys_futex_requeue(Task& task, UserAddr waiters, uint32_t flags, int32_t nr_wake,
                                int32_t nr_requeue) {
  if (flags != 0 || waiters.null()) return abi::Errno::kEINVAL;
  abi::FutexWaitv w[2];
  TRY(task.mm().CopyIn(w, waiters, sizeof w));
  bool is_private[2];
  for (int i = 0; i < 2; i++) {
    if (w[i].reserved != 0) return abi::Errno::kEINVAL;
    is_private[i] = TRY(Futex2Private(w[i].flags));
    if (w[i].val > UINT32_MAX) return abi::Errno::kEINVAL;
  }
  uint32_t expected = static_cast<uint32_t>(w[0].val);
  return sentry::FutexRequeue(task, UserAddr{w[0].uaddr}, is_private[0], UserAddr{w[1].uaddr},
                              is_private[1], nr_wake, nr_requeue, &expected);
}

SyscallResult sys_set_robust_list(Task& task, UserAddr head, uint64_t len) {
  if (len != sizeof(abi::RobustListHead)) return abi::Errno::kEINVAL;
  task.SetRobustList(head.value);
  return 0;
}

SyscallResult sys_get_robust_list(Task& task, int32_t pid, UserOut<uint64_t> head,
                                  UserOut<uint64_t> len) {
  uint64_t value = task.RobustList();
  if (pid != 0) {
    base::MutexLock tree(task.kernel().tree_mu);
    Task* other = task.pid_ns()->FindTask(pid);
    if (other == nullptr) return abi::Errno::kESRCH;
    // ptrace_may_access(PTRACE_MODE_READ_REALCREDS).
    auto theirs = other->creds_ref();
    const sentry::Creds& mine = task.creds();
    bool same = mine.uid == theirs->euid && mine.uid == theirs->suid && mine.uid == theirs->uid &&
                mine.gid == theirs->egid && mine.gid == theirs->sgid && mine.gid == theirs->gid;
    if (&other->group() != &task.group() && !same && !mine.Has(abi::kCAP_SYS_PTRACE)) {
      return abi::Errno::kEPERM;
    }
    value = other->RobustList();
  }
  TRY(len.Store(task.mm(), sizeof(abi::RobustListHead)));
  return head.Store(task.mm(), value);
}

}  // namespace syscalls
