// io_setup(2) and relatives.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kIOCB_CMD_PREAD = 0;
inline constexpr int32_t kIOCB_CMD_PWRITE = 1;
inline constexpr int32_t kIOCB_CMD_FSYNC = 2;
inline constexpr int32_t kIOCB_CMD_FDSYNC = 3;
inline constexpr int32_t kIOCB_CMD_POLL = 5;
inline constexpr int32_t kIOCB_CMD_NOOP = 6;
inline constexpr int32_t kIOCB_CMD_PREADV = 7;
inline constexpr int32_t kIOCB_CMD_PWRITEV = 8;
inline constexpr int32_t kIOCB_FLAG_RESFD = 0x1;
inline constexpr int32_t kIOCB_FLAG_IOPRIO = 0x2;
struct Iocb {
  uint64_t data;
  uint32_t key;
  int32_t rw_flags;
  uint16_t opcode;
  int16_t reqprio;
  uint32_t fildes;
  uint64_t buf, nbytes;
  int64_t offset;
  uint64_t reserved2;
  uint32_t flags, resfd;
};
struct IoEvent {
  uint64_t data, obj;
  int64_t res, res2;
};

}  // namespace uapi
