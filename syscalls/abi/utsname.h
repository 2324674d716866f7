// uname(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

struct Utsname {
  char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
};
inline constexpr uint32_t kNEW_UTS_LEN = 64;

}  // namespace uapi
