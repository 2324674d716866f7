// personality(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kUNAME26 = 0x20000;
inline constexpr int32_t kADDR_NO_RANDOMIZE = 0x40000;
inline constexpr int32_t kFDPIC_FUNCPTRS = 0x80000;
inline constexpr int32_t kMMAP_PAGE_ZERO = 0x100000;
inline constexpr int32_t kADDR_COMPAT_LAYOUT = 0x200000;
inline constexpr int32_t kREAD_IMPLIES_EXEC = 0x400000;
inline constexpr int32_t kADDR_LIMIT_32BIT = 0x800000;
inline constexpr int32_t kSHORT_INODE = 0x1000000;
inline constexpr int32_t kWHOLE_SECONDS = 0x2000000;
inline constexpr int32_t kSTICKY_TIMEOUTS = 0x4000000;
inline constexpr int32_t kADDR_LIMIT_3GB = 0x8000000;
inline constexpr int32_t kPER_LINUX = 0x0;
inline constexpr int32_t kPER_LINUX32 = 0x8;
inline constexpr int32_t kPER_CLEAR_ON_SETID = 0x740000;

}  // namespace uapi
