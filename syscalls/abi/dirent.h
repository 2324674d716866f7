// getdents64(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kDT_UNKNOWN = 0;
inline constexpr int32_t kDT_FIFO = 1;
inline constexpr int32_t kDT_CHR = 2;
inline constexpr int32_t kDT_DIR = 4;
inline constexpr int32_t kDT_BLK = 6;
inline constexpr int32_t kDT_REG = 8;
inline constexpr int32_t kDT_LNK = 10;
inline constexpr int32_t kDT_SOCK = 12;
inline constexpr int32_t kDT_WHT = 14;
// struct linux_dirent64 without its name, which follows at offset 19, NUL-terminated; records are
// multiples of 8 bytes.
#pragma pack(push, 1)
struct Dirent64Head {
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
  uint8_t type;
};
// struct linux_dirent of getdents(2): the name follows at offset 18, and the type is the record's
// last byte.
struct DirentHead {
  uint64_t ino, off;
  uint16_t reclen;
};
#pragma pack(pop)
static_assert(sizeof(Dirent64Head) == 19 && sizeof(DirentHead) == 18);

// The type of a directory entry from st_mode.
constexpr uint8_t DtFromMode(uint32_t mode) { return (mode & 0170000) >> 12; }

}  // namespace uapi
