#include "sentry/kernel/cpu_limit.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/posix_timers.h"
#include "syscalls/abi/time.h"

namespace sentry {

void CpuLimit::Watch(ThreadGroup& g) {
  if (g.limits.Get(abi::kRLIMIT_CPU).cur == abi::kRLIM_INFINITY) return;
  CpuLimit* limit = nullptr;
  {
    base::MutexLock l(g.signal_mu);
    if (!g.cpu_limit) g.cpu_limit = std::make_unique<CpuLimit>(g);
    limit = static_cast<CpuLimit*>(g.cpu_limit.get());
  }
  limit->Check();
}

void CpuLimit::Check() {
  abi::Rlimit l = group_.limits.Get(abi::kRLIMIT_CPU);
  if (l.cur == abi::kRLIM_INFINITY && l.max == abi::kRLIM_INFINITY) return;
  CpuTimes c = GroupCpuTimes(group_);
  uint64_t used = static_cast<uint64_t>(c.user + c.system);
  constexpr uint64_t kSecond = abi::kNsPerSec;
  constexpr uint64_t kFar = INT64_MAX / kSecond / 2;
  if (std::min(l.max, kFar) * kSecond <= used) {
    (void)group_.kernel().SendToGroup(group_, KernelSigInfo(abi::kSIGKILL), true);
    return;
  }
  if (std::min(l.cur, kFar) * kSecond <= used) {
    (void)group_.kernel().SendToGroup(group_, KernelSigInfo(abi::kSIGXCPU), true);
    l.cur = std::min(used / kSecond + 1, l.max);
    group_.limits.Set(abi::kRLIMIT_CPU, l);
  }
  // CPU time passes at most as fast as all processors together.
  uint64_t left = std::min(std::min(l.cur, l.max), kFar) * kSecond - used;
  uint64_t wait =
      std::max<uint64_t>(left / static_cast<uint64_t>(group_.kernel().cpu_count()), 10000000);
  Arm(HostClock().Monotonic() + static_cast<int64_t>(std::min(wait, 3600 * kSecond)));
}

}  // namespace sentry
