// What an engine's stub may answer without the sentry ("local service"). The memory is shared with
// the guest, which can write all of it: the sentry believes nothing that it says. What a guest does
// to itself with it, it could do by system calls, or harms nobody else.
#pragma once

#include <cstdint>

namespace platform {

// One guest thread.
struct LocalThread {
  uint32_t enabled;  // 0: every call goes to the sentry (it is traced, or filtered)
  int32_t pid, tid, ppid;
  uint32_t uid, euid, gid, egid;
  // The signal mask: the guest thread changes it while it runs, the sentry while it is stopped.
  // Who sends a signal sets pending and then looks at the mask; the guest side changes the mask and
  // then looks at pending, and leaves the call to the sentry if it is set.
  uint32_t pending;
  uint64_t blocked;
  // The alternate signal stack: rt_sigreturn restores it, so the stub must know whether that
  // changes it.
  uint64_t altstack_sp, altstack_size;
  uint32_t altstack_flags;
  uint64_t robust_list;  // as set_robust_list(2) set it
  // Sleeps in the stub, for CPU time and /proc: how many, for how long together, and since when the
  // thread is asleep (CLOCK_MONOTONIC, ns; 0: it isn't).
  uint32_t sleeps;
  int64_t slept_ns, asleep_since;
};

// One address space.
struct LocalSpace {
  static constexpr uint32_t kBuckets = 512;
  // By bucket of the address: how many wait, or are about to look whether they must, for a private
  // futex; in the sentry, and in the stub. Both 0: a waker need not ask anybody. Who sleeps in the
  // stub stays counted where it began when it is moved to another futex: that has kMoved then.
  static constexpr uint16_t kMoved = 0x8000;
  uint16_t futex_waiters[kBuckets];
  uint16_t futex_sleepers[kBuckets];

  static uint32_t BucketOf(uint64_t addr) { return (addr >> 2 ^ addr >> 12) % kBuckets; }
};

}  // namespace platform
