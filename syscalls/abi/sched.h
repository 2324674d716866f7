// clone(2), namespaces and scheduling.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr uint64_t kCLONE_NEWTIME = 0x80;
inline constexpr uint64_t kCSIGNAL = 0xff;
inline constexpr uint64_t kCLONE_VM = 0x100;
inline constexpr uint64_t kCLONE_FS = 0x200;
inline constexpr uint64_t kCLONE_FILES = 0x400;
inline constexpr uint64_t kCLONE_SIGHAND = 0x800;
inline constexpr uint64_t kCLONE_PIDFD = 0x1000;
inline constexpr uint64_t kCLONE_PTRACE = 0x2000;
inline constexpr uint64_t kCLONE_VFORK = 0x4000;
inline constexpr uint64_t kCLONE_PARENT = 0x8000;
inline constexpr uint64_t kCLONE_THREAD = 0x10000;
inline constexpr uint64_t kCLONE_NEWNS = 0x20000;
inline constexpr uint64_t kCLONE_SYSVSEM = 0x40000;
inline constexpr uint64_t kCLONE_SETTLS = 0x80000;
inline constexpr uint64_t kCLONE_PARENT_SETTID = 0x100000;
inline constexpr uint64_t kCLONE_CHILD_CLEARTID = 0x200000;
inline constexpr uint64_t kCLONE_DETACHED = 0x400000;
inline constexpr uint64_t kCLONE_UNTRACED = 0x800000;
inline constexpr uint64_t kCLONE_CHILD_SETTID = 0x1000000;
inline constexpr uint64_t kCLONE_NEWCGROUP = 0x2000000;
inline constexpr uint64_t kCLONE_NEWUTS = 0x4000000;
inline constexpr uint64_t kCLONE_NEWIPC = 0x8000000;
inline constexpr uint64_t kCLONE_NEWUSER = 0x10000000;
inline constexpr uint64_t kCLONE_NEWPID = 0x20000000;
inline constexpr uint64_t kCLONE_NEWNET = 0x40000000;
inline constexpr uint64_t kCLONE_IO = 0x80000000;
inline constexpr uint64_t kCLONE_CLEAR_SIGHAND = 0x100000000;
inline constexpr uint64_t kCLONE_INTO_CGROUP = 0x200000000;
struct CloneArgs {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
      set_tid_size, cgroup;
};
inline constexpr int32_t kCLONE_ARGS_SIZE_VER0 = 64;
inline constexpr int32_t kCLONE_ARGS_SIZE_VER1 = 80;
inline constexpr int32_t kCLONE_ARGS_SIZE_VER2 = 88;
inline constexpr uint64_t kMAX_PID_NS_LEVEL = 32;

inline constexpr int32_t kSCHED_NORMAL = 0;
inline constexpr int32_t kSCHED_FIFO = 1;
inline constexpr int32_t kSCHED_RR = 2;
inline constexpr int32_t kSCHED_BATCH = 3;
inline constexpr int32_t kSCHED_IDLE = 5;
inline constexpr int32_t kSCHED_DEADLINE = 6;
inline constexpr int32_t kSCHED_EXT = 7;
inline constexpr int32_t kSCHED_FLAG_RESET_ON_FORK = 0x1;
inline constexpr int32_t kSCHED_FLAG_RECLAIM = 0x2;
inline constexpr int32_t kSCHED_FLAG_DL_OVERRUN = 0x4;
inline constexpr int32_t kSCHED_FLAG_KEEP_POLICY = 0x8;
inline constexpr int32_t kSCHED_FLAG_KEEP_PARAMS = 0x10;
inline constexpr int32_t kSCHED_FLAG_KEEP_ALL = 0x18;
inline constexpr int32_t kSCHED_FLAG_UTIL_CLAMP_MIN = 0x20;
inline constexpr int32_t kSCHED_FLAG_UTIL_CLAMP_MAX = 0x40;
inline constexpr int32_t kSCHED_FLAG_UTIL_CLAMP = 0x60;
inline constexpr int32_t kSCHED_FLAG_ALL = 0x7f;
inline constexpr int32_t kSCHED_RESET_ON_FORK = 0x40000000;
struct SchedParam {
  int32_t priority;
};
struct SchedAttr {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t util_min, util_max;
};
inline constexpr int32_t kSCHED_ATTR_SIZE_VER0 = 48;
inline constexpr int32_t kSCHED_ATTR_SIZE_VER1 = 56;

// getpriority(2).
inline constexpr int32_t kPRIO_PROCESS = 0;
inline constexpr int32_t kPRIO_PGRP = 1;
inline constexpr int32_t kPRIO_USER = 2;
inline constexpr int32_t kMIN_NICE = -20;
inline constexpr int32_t kMAX_NICE = 19;

// ioprio_get(2).
inline constexpr int32_t kIOPRIO_CLASS_SHIFT = 13;
inline constexpr int32_t kIOPRIO_CLASS_NONE = 0;
inline constexpr int32_t kIOPRIO_CLASS_RT = 1;
inline constexpr int32_t kIOPRIO_CLASS_BE = 2;
inline constexpr int32_t kIOPRIO_CLASS_IDLE = 3;
inline constexpr int32_t kIOPRIO_WHO_PROCESS = 1;
inline constexpr int32_t kIOPRIO_WHO_PGRP = 2;
inline constexpr int32_t kIOPRIO_WHO_USER = 3;

// ioctl_ns(2).
inline constexpr uint32_t kNS_GET_USERNS = 0xb701;
inline constexpr uint32_t kNS_GET_PARENT = 0xb702;
inline constexpr uint32_t kNS_GET_NSTYPE = 0xb703;
inline constexpr uint32_t kNS_GET_OWNER_UID = 0xb704;

// unshare/setns through a pidfd; pidfd_open(2), pidfd_send_signal(2).
inline constexpr int32_t kPIDFD_NONBLOCK = 04000;
inline constexpr int32_t kPIDFD_THREAD = 0200;
inline constexpr int32_t kPIDFD_SIGNAL_THREAD = 1;
inline constexpr int32_t kPIDFD_SIGNAL_THREAD_GROUP = 2;
inline constexpr int32_t kPIDFD_SIGNAL_PROCESS_GROUP = 4;

inline constexpr uint32_t kTASK_COMM_LEN = 16;

}  // namespace uapi
