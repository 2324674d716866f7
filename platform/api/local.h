// What an engine's stub may answer without the sentry ("local service"). The memory is shared with
// the guest, which can write all of it: the sentry only writes (futex_waiters: adds and subtracts),
// and believes nothing that it says.
#pragma once

#include <cstdint>

namespace platform {

// One guest thread.
struct LocalThread {
  uint32_t enabled;  // 0: every call goes to the sentry (it is traced, or filtered)
  int32_t pid, tid, ppid;
  uint32_t uid, euid, gid, egid;
};

// One address space.
struct LocalSpace {
  static constexpr uint32_t kBuckets = 512;
  // How many wait, or are about to look whether they must, for a private futex whose address is of
  // the bucket. 0: a waker need not ask.
  uint32_t futex_waiters[kBuckets];

  static uint32_t BucketOf(uint64_t addr) { return (addr >> 2 ^ addr >> 12) % kBuckets; }
};

}  // namespace platform
