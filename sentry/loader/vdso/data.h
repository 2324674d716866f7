// The page before the vDSO, which it reads. Shared by the freestanding vdso.cc and the loader.
#pragma once

#include <stdint.h>

struct VdsoData {
  uint64_t clock_gettime;  // the host's function in this address space, or 0
  uint32_t cpu_count;      // processors that the guest sees
  uint32_t reserved;
};
