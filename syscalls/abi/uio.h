// readv(2), preadv2(2), splice(2), process_vm_readv(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

struct Iovec {
  uint64_t base, len;
};
inline constexpr int32_t kUIO_FASTIOV = 8;
inline constexpr int32_t kRWF_HIPRI = 0x1;
inline constexpr int32_t kRWF_DSYNC = 0x2;
inline constexpr int32_t kRWF_SYNC = 0x4;
inline constexpr int32_t kRWF_NOWAIT = 0x8;
inline constexpr int32_t kRWF_APPEND = 0x10;
inline constexpr int32_t kRWF_NOAPPEND = 0x20;
inline constexpr int32_t kRWF_ATOMIC = 0x40;
inline constexpr int32_t kRWF_DONTCACHE = 0x80;
// read(2) and friends transfer at most this many bytes.
inline constexpr uint64_t kMAX_RW_COUNT = 0x7ffff000;

inline constexpr int32_t kSPLICE_F_MOVE = 1;
inline constexpr int32_t kSPLICE_F_NONBLOCK = 2;
inline constexpr int32_t kSPLICE_F_MORE = 4;
inline constexpr int32_t kSPLICE_F_GIFT = 8;

inline constexpr int32_t kSYNC_FILE_RANGE_WAIT_BEFORE = 0x1;
inline constexpr int32_t kSYNC_FILE_RANGE_WRITE = 0x2;
inline constexpr int32_t kSYNC_FILE_RANGE_WAIT_AFTER = 0x4;

}  // namespace uapi
