// poll(2), select(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kPOLLIN = 0x1;
inline constexpr int32_t kPOLLPRI = 0x2;
inline constexpr int32_t kPOLLOUT = 0x4;
inline constexpr int32_t kPOLLERR = 0x8;
inline constexpr int32_t kPOLLHUP = 0x10;
inline constexpr int32_t kPOLLNVAL = 0x20;
inline constexpr int32_t kPOLLRDNORM = 0x40;
inline constexpr int32_t kPOLLRDBAND = 0x80;
inline constexpr int32_t kPOLLWRNORM = 0x100;
inline constexpr int32_t kPOLLWRBAND = 0x200;
inline constexpr int32_t kPOLLMSG = 0x400;
inline constexpr int32_t kPOLLREMOVE = 0x1000;
inline constexpr int32_t kPOLLRDHUP = 0x2000;
inline constexpr int32_t kPOLLFREE = 0x4000;
inline constexpr int32_t kPOLL_BUSY_LOOP = 0x8000;
struct Pollfd {
  int32_t fd;
  int16_t events, revents;
};
inline constexpr int32_t kFD_SETSIZE = 1024;
// pselect6(2)'s sixth argument.
struct SigSetArg {
  uint64_t set, size;
};

}  // namespace uapi
