// getrlimit(2), getrusage(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"
#include "syscalls/abi/time.h"

namespace uapi {

inline constexpr int32_t kRLIMIT_CPU = 0;
inline constexpr int32_t kRLIMIT_FSIZE = 1;
inline constexpr int32_t kRLIMIT_DATA = 2;
inline constexpr int32_t kRLIMIT_STACK = 3;
inline constexpr int32_t kRLIMIT_CORE = 4;
inline constexpr int32_t kRLIMIT_RSS = 5;
inline constexpr int32_t kRLIMIT_NPROC = 6;
inline constexpr int32_t kRLIMIT_NOFILE = 7;
inline constexpr int32_t kRLIMIT_MEMLOCK = 8;
inline constexpr int32_t kRLIMIT_AS = 9;
inline constexpr int32_t kRLIMIT_LOCKS = 10;
inline constexpr int32_t kRLIMIT_SIGPENDING = 11;
inline constexpr int32_t kRLIMIT_MSGQUEUE = 12;
inline constexpr int32_t kRLIMIT_NICE = 13;
inline constexpr int32_t kRLIMIT_RTPRIO = 14;
inline constexpr int32_t kRLIMIT_RTTIME = 15;
inline constexpr int32_t kRLIM_NLIMITS = 16;
inline constexpr uint64_t kRLIM_INFINITY = ~uint64_t{0};
struct Rlimit {
  uint64_t cur, max;
};

inline constexpr int32_t kRUSAGE_SELF = 0;
inline constexpr int32_t kRUSAGE_CHILDREN = -1;
inline constexpr int32_t kRUSAGE_BOTH = -2;
inline constexpr int32_t kRUSAGE_THREAD = 1;
struct Rusage {
  Timeval utime, stime;
  int64_t maxrss, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock, msgsnd, msgrcv,
      nsignals, nvcsw, nivcsw;
};

}  // namespace uapi
