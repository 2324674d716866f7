// What of the machine a container may use, as its programs shall see it.
#pragma once

#include <cstdint>

#include "runsc-cli/oci/spec.h"

namespace runsc {

struct Share {
  int cpus = 1;
  uint64_t memory_bytes = 0;
  uint32_t tasks = 0;  // 0: no limit
};

// Of what this process may use itself.
Share ShareOf(const Resources& r);

}  // namespace runsc
