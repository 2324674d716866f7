// futex(2) and robust lists.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kFUTEX_WAIT = 0;
inline constexpr int32_t kFUTEX_WAKE = 1;
inline constexpr int32_t kFUTEX_FD = 2;
inline constexpr int32_t kFUTEX_REQUEUE = 3;
inline constexpr int32_t kFUTEX_CMP_REQUEUE = 4;
inline constexpr int32_t kFUTEX_WAKE_OP = 5;
inline constexpr int32_t kFUTEX_LOCK_PI = 6;
inline constexpr int32_t kFUTEX_UNLOCK_PI = 7;
inline constexpr int32_t kFUTEX_TRYLOCK_PI = 8;
inline constexpr int32_t kFUTEX_WAIT_BITSET = 9;
inline constexpr int32_t kFUTEX_WAKE_BITSET = 10;
inline constexpr int32_t kFUTEX_WAIT_REQUEUE_PI = 11;
inline constexpr int32_t kFUTEX_CMP_REQUEUE_PI = 12;
inline constexpr int32_t kFUTEX_LOCK_PI2 = 13;
inline constexpr int32_t kFUTEX_PRIVATE_FLAG = 0x80;
inline constexpr int32_t kFUTEX_CLOCK_REALTIME = 0x100;
inline constexpr int32_t kFUTEX_CMD_MASK = ~(kFUTEX_PRIVATE_FLAG | kFUTEX_CLOCK_REALTIME);
inline constexpr uint32_t kFUTEX_WAITERS = 0x80000000;
inline constexpr int32_t kFUTEX_OWNER_DIED = 0x40000000;
inline constexpr int32_t kFUTEX_TID_MASK = 0x3fffffff;
inline constexpr uint32_t kFUTEX_BITSET_MATCH_ANY = 0xffffffff;

// FUTEX_WAKE_OP.
inline constexpr int32_t kFUTEX_OP_SET = 0;
inline constexpr int32_t kFUTEX_OP_CMP_EQ = 0;
inline constexpr int32_t kFUTEX_OP_CMP_NE = 1;
inline constexpr int32_t kFUTEX_OP_ADD = 1;
inline constexpr int32_t kFUTEX_OP_CMP_LT = 2;
inline constexpr int32_t kFUTEX_OP_OR = 2;
inline constexpr int32_t kFUTEX_OP_ANDN = 3;
inline constexpr int32_t kFUTEX_OP_CMP_LE = 3;
inline constexpr int32_t kFUTEX_OP_XOR = 4;
inline constexpr int32_t kFUTEX_OP_CMP_GT = 4;
inline constexpr int32_t kFUTEX_OP_CMP_GE = 5;
inline constexpr int32_t kFUTEX_OP_OPARG_SHIFT = 8;

// futex_waitv(2), futex_wait(2), futex_wake(2), futex_requeue(2).
inline constexpr int32_t kFUTEX_WAITV_MAX = 128;
inline constexpr int32_t kFUTEX_32 = 0x2;
inline constexpr int32_t kFUTEX2_SIZE_U8 = 0;
inline constexpr int32_t kFUTEX2_SIZE_U16 = 1;
inline constexpr int32_t kFUTEX2_SIZE_U32 = 2;
inline constexpr int32_t kFUTEX2_SIZE_U64 = 3;
inline constexpr int32_t kFUTEX2_SIZE_MASK = 3;
inline constexpr int32_t kFUTEX2_NUMA = 4;
inline constexpr int32_t kFUTEX2_MPOL = 8;
inline constexpr int32_t kFUTEX2_PRIVATE = 128;
struct FutexWaitv {
  uint64_t val, uaddr;
  uint32_t flags, reserved;
};

// set_robust_list(2). Addresses; bit 0 of a next pointer marks a PI lock.
struct RobustList {
  uint64_t next;
};
struct RobustListHead {
  RobustList list;
  int64_t futex_offset;
  uint64_t list_op_pending;
};
inline constexpr int32_t kROBUST_LIST_LIMIT = 2048;

}  // namespace uapi
