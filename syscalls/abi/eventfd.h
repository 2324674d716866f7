// eventfd(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kEFD_SEMAPHORE = 1;
inline constexpr int32_t kEFD_CLOEXEC = 02000000;
inline constexpr int32_t kEFD_NONBLOCK = 04000;

}  // namespace uapi
