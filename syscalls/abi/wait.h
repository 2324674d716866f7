// wait4(2), waitid(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kWNOHANG = 0x1;
inline constexpr int32_t kWUNTRACED = 0x2;
inline constexpr int32_t kWSTOPPED = 0x2;
inline constexpr int32_t kWEXITED = 0x4;
inline constexpr int32_t kWCONTINUED = 0x8;
inline constexpr int32_t kWNOWAIT = 0x1000000;
inline constexpr int32_t k__WNOTHREAD = 0x20000000;
inline constexpr int32_t k__WALL = 0x40000000;
inline constexpr uint32_t k__WCLONE = 0x80000000;
inline constexpr int32_t kP_ALL = 0;
inline constexpr int32_t kP_PID = 1;
inline constexpr int32_t kP_PGID = 2;
inline constexpr int32_t kP_PIDFD = 3;

constexpr int32_t WaitStatusExited(int32_t code) { return (code & 0xff) << 8; }
constexpr int32_t WaitStatusSignaled(int32_t sig, bool core) { return sig | (core ? 0x80 : 0); }
constexpr int32_t WaitStatusStopped(int32_t sig) { return (sig << 8) | 0x7f; }
inline constexpr int32_t kWaitStatusContinued = 0xffff;

}  // namespace uapi
