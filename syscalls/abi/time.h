// Clocks and timers.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kCLOCK_REALTIME = 0;
inline constexpr int32_t kCLOCK_MONOTONIC = 1;
inline constexpr int32_t kCLOCK_PROCESS_CPUTIME_ID = 2;
inline constexpr int32_t kCLOCK_THREAD_CPUTIME_ID = 3;
inline constexpr int32_t kCLOCK_MONOTONIC_RAW = 4;
inline constexpr int32_t kCLOCK_REALTIME_COARSE = 5;
inline constexpr int32_t kCLOCK_MONOTONIC_COARSE = 6;
inline constexpr int32_t kCLOCK_BOOTTIME = 7;
inline constexpr int32_t kCLOCK_REALTIME_ALARM = 8;
inline constexpr int32_t kCLOCK_BOOTTIME_ALARM = 9;
inline constexpr int32_t kCLOCK_SGI_CYCLE = 10;
inline constexpr int32_t kCLOCK_TAI = 11;
inline constexpr int32_t kCLOCK_INVALID = -1;
inline constexpr int32_t kMAX_CLOCKS = 16;
inline constexpr int64_t kUSER_HZ = 100;
inline constexpr int64_t kNsPerSec = 1000000000;

struct Timespec {
  int64_t sec, nsec;
};
struct Timeval {
  int64_t sec, usec;
};
struct Timezone {
  int32_t minuteswest, dsttime;
};
struct Itimerspec {
  Timespec interval, value;
};
struct Itimerval {
  Timeval interval, value;
};
struct Utimbuf {
  int64_t actime, modtime;
};
struct Tms {
  int64_t utime, stime, cutime, cstime;
};
inline constexpr int64_t kUTIME_NOW = 0x3fffffff;
inline constexpr int64_t kUTIME_OMIT = 0x3ffffffe;

inline constexpr int32_t kITIMER_REAL = 0;
inline constexpr int32_t kITIMER_VIRTUAL = 1;
inline constexpr int32_t kITIMER_PROF = 2;
inline constexpr int32_t kTIMER_ABSTIME = 1;

// timerfd_create(2).
inline constexpr int32_t kTFD_TIMER_ABSTIME = 01;
inline constexpr int32_t kTFD_TIMER_CANCEL_ON_SET = 02;
inline constexpr int32_t kTFD_CLOEXEC = 02000000;
inline constexpr int32_t kTFD_NONBLOCK = 04000;
inline constexpr uint32_t kTFD_IOC_SET_TICKS = 0x40085400;

// adjtimex(2).
struct Timex {
  uint32_t modes, pad0;
  int64_t offset, freq, maxerror, esterror;
  int32_t status, pad1;
  int64_t constant, precision, tolerance;
  Timeval time;
  int64_t tick, ppsfreq, jitter;
  int32_t shift, pad2;
  int64_t stabil, jitcnt, calcnt, errcnt, stbcnt;
  int32_t tai;
  int32_t pad3[11];
};
inline constexpr int32_t kADJ_OFFSET = 0x1;
inline constexpr int32_t kADJ_FREQUENCY = 0x2;
inline constexpr int32_t kADJ_MAXERROR = 0x4;
inline constexpr int32_t kADJ_ESTERROR = 0x8;
inline constexpr int32_t kADJ_STATUS = 0x10;
inline constexpr int32_t kADJ_TIMECONST = 0x20;
inline constexpr int32_t kADJ_TAI = 0x80;
inline constexpr int32_t kADJ_SETOFFSET = 0x100;
inline constexpr int32_t kADJ_MICRO = 0x1000;
inline constexpr int32_t kADJ_NANO = 0x2000;
inline constexpr int32_t kADJ_TICK = 0x4000;
inline constexpr int32_t kADJ_OFFSET_SINGLESHOT = 0x8001;
inline constexpr int32_t kADJ_OFFSET_SS_READ = 0xa001;
inline constexpr int32_t kSTA_PLL = 0x1;
inline constexpr int32_t kSTA_UNSYNC = 0x40;
inline constexpr int32_t kSTA_NANO = 0x2000;
inline constexpr int32_t kTIME_OK = 0;
inline constexpr int32_t kTIME_INS = 1;
inline constexpr int32_t kTIME_DEL = 2;
inline constexpr int32_t kTIME_OOP = 3;
inline constexpr int32_t kTIME_WAIT = 4;
inline constexpr int32_t kTIME_ERROR = 5;

}  // namespace uapi
