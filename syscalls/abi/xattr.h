// xattr(7).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kXATTR_CREATE = 1;
inline constexpr int32_t kXATTR_REPLACE = 2;
inline constexpr int32_t kXATTR_NAME_MAX = 255;
inline constexpr int32_t kXATTR_SIZE_MAX = 65536;
inline constexpr int32_t kXATTR_LIST_MAX = 65536;
// setxattrat(2), getxattrat(2).
struct XattrArgs {
  uint64_t value;
  uint32_t size, flags;
};

}  // namespace uapi
