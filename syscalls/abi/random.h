// getrandom(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kGRND_NONBLOCK = 0x1;
inline constexpr int32_t kGRND_RANDOM = 0x2;
inline constexpr int32_t kGRND_INSECURE = 0x4;

}  // namespace uapi
