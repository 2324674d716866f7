// sysinfo(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kSI_LOAD_SHIFT = 16;
struct Sysinfo {
  int64_t uptime;
  uint64_t loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
  uint16_t procs, pad;
  uint32_t pad1;
  uint64_t totalhigh, freehigh;
  uint32_t mem_unit, pad2;
};

}  // namespace uapi
