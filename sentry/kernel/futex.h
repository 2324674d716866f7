// Futexes (futex(2); kernel/futex/): one table of waiters for the sandbox, keyed by what memory the
// word lies in. The word itself is read and written only with the guest's own rights.
#pragma once

#include "sentry/kernel/task.h"
#include "syscalls/abi/futex.h"

namespace sentry {

using FutexKey = MemoryManager::FutexKey;

// EINVAL: not aligned. EFAULT. is_private: FUTEX_PRIVATE_FLAG.
base::Result<FutexKey> GetFutexKey(Task& t, UserAddr addr, bool is_private);

// Sleeps while the word is value. deadline: CLOCK_MONOTONIC, kNoDeadline for none. EAGAIN: another
// value; ETIMEDOUT; a restart code. EINVAL: bitset 0.
base::Result<void> FutexWait(Task& t, UserAddr addr, bool is_private, uint32_t value,
                             uint32_t bitset, int64_t deadline);

// The most waiters of one FutexWaitMany (FUTEX_WAITV_MAX).
struct FutexWaitOne {
  UserAddr addr;
  uint32_t value = 0;
  bool is_private = false;
};
// The index of a futex that was woken.
base::Result<uint32_t> FutexWaitMany(Task& t, std::span<const FutexWaitOne> futexes,
                                     int64_t deadline);

// How many were woken. At least one is, if one waits, whatever count says (as Linux).
base::Result<int32_t> FutexWake(Task& t, UserAddr addr, bool is_private, int32_t count,
                                uint32_t bitset);
// FUTEX_REQUEUE and FUTEX_CMP_REQUEUE (expected not null): woken plus moved.
base::Result<int32_t> FutexRequeue(Task& t, UserAddr from, bool from_private, UserAddr to,
                                   bool to_private, int32_t wake, int32_t move,
                                   const uint32_t* expected);
base::Result<int32_t> FutexWakeOp(Task& t, UserAddr addr, UserAddr addr2, bool is_private,
                                  int32_t wake, int32_t wake2, uint32_t op);

// Priority inheritance is order of arrival here: the host schedules guests.
base::Result<void> FutexLockPi(Task& t, UserAddr addr, bool is_private, bool try_only,
                               int64_t deadline);
base::Result<void> FutexUnlockPi(Task& t, UserAddr addr, bool is_private);

// --- for the end of a task, which still has its address space ---
// Wakes waiters on the word at addr, as a shared futex (CLONE_CHILD_CLEARTID).
void FutexWakeAddr(Task& t, UserAddr addr, int32_t count);
// Marks the locks that the task's robust list names as dead.
void ExitRobustList(Task& t);
// Hands PI locks that the task still holds to their next waiters.
void ExitPiFutexes(Task& t);

}  // namespace sentry
