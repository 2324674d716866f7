// What of the machine a container may use, as its programs shall see it.
#pragma once

#include <cstdint>

#include "runsc-cli/oci/spec.h"
#include "sentry/fs/sys/cgroup.h"

namespace runsc {

struct Share {
  int cpus = 1;
  uint64_t memory_bytes = 0;
  uint32_t tasks = 0;  // 0: no limit
};

// What this process may use itself.
Share MachineShare();
// Of a machine, with limits.
Share ShareOf(const Resources& r, const Share& machine);
// What the guest's memory may take: a host's control group with the limit counts the sandbox's own
// processes too, and would kill one of those.
uint64_t GuestMemory(const Resources& r, const Share& machine);
// The same limits as the guest's control group says them.
sentry::CgroupLimits LimitsOf(const Resources& r);

}  // namespace runsc
