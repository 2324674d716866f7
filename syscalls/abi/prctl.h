// prctl(2), arch_prctl(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kPR_SET_PDEATHSIG = 1;
inline constexpr int32_t kPR_GET_PDEATHSIG = 2;
inline constexpr int32_t kPR_GET_DUMPABLE = 3;
inline constexpr int32_t kPR_SET_DUMPABLE = 4;
inline constexpr int32_t kPR_GET_UNALIGN = 5;
inline constexpr int32_t kPR_SET_UNALIGN = 6;
inline constexpr int32_t kPR_GET_KEEPCAPS = 7;
inline constexpr int32_t kPR_SET_KEEPCAPS = 8;
inline constexpr int32_t kPR_GET_FPEMU = 9;
inline constexpr int32_t kPR_SET_FPEMU = 10;
inline constexpr int32_t kPR_GET_FPEXC = 11;
inline constexpr int32_t kPR_SET_FPEXC = 12;
inline constexpr int32_t kPR_GET_TIMING = 13;
inline constexpr int32_t kPR_SET_TIMING = 14;
inline constexpr int32_t kPR_SET_NAME = 15;
inline constexpr int32_t kPR_GET_NAME = 16;
inline constexpr int32_t kPR_GET_ENDIAN = 19;
inline constexpr int32_t kPR_SET_ENDIAN = 20;
inline constexpr int32_t kPR_GET_SECCOMP = 21;
inline constexpr int32_t kPR_SET_SECCOMP = 22;
inline constexpr int32_t kPR_CAPBSET_READ = 23;
inline constexpr int32_t kPR_CAPBSET_DROP = 24;
inline constexpr int32_t kPR_GET_TSC = 25;
inline constexpr int32_t kPR_SET_TSC = 26;
inline constexpr int32_t kPR_GET_SECUREBITS = 27;
inline constexpr int32_t kPR_SET_SECUREBITS = 28;
inline constexpr int32_t kPR_SET_TIMERSLACK = 29;
inline constexpr int32_t kPR_GET_TIMERSLACK = 30;
inline constexpr int32_t kPR_TASK_PERF_EVENTS_DISABLE = 31;
inline constexpr int32_t kPR_TASK_PERF_EVENTS_ENABLE = 32;
inline constexpr int32_t kPR_MCE_KILL = 33;
inline constexpr int32_t kPR_SET_MM = 35;
inline constexpr int32_t kPR_SET_CHILD_SUBREAPER = 36;
inline constexpr int32_t kPR_GET_CHILD_SUBREAPER = 37;
inline constexpr int32_t kPR_SET_NO_NEW_PRIVS = 38;
inline constexpr int32_t kPR_GET_NO_NEW_PRIVS = 39;
inline constexpr int32_t kPR_GET_TID_ADDRESS = 40;
inline constexpr int32_t kPR_SET_THP_DISABLE = 41;
inline constexpr int32_t kPR_GET_THP_DISABLE = 42;
inline constexpr int32_t kPR_MPX_ENABLE_MANAGEMENT = 43;
inline constexpr int32_t kPR_MPX_DISABLE_MANAGEMENT = 44;
inline constexpr int32_t kPR_SET_FP_MODE = 45;
inline constexpr int32_t kPR_GET_FP_MODE = 46;
inline constexpr int32_t kPR_CAP_AMBIENT = 47;
inline constexpr int32_t kPR_GET_SPECULATION_CTRL = 52;
inline constexpr int32_t kPR_SET_SPECULATION_CTRL = 53;
inline constexpr int32_t kPR_SET_TAGGED_ADDR_CTRL = 55;
inline constexpr int32_t kPR_GET_TAGGED_ADDR_CTRL = 56;
inline constexpr int32_t kPR_SET_IO_FLUSHER = 57;
inline constexpr int32_t kPR_GET_IO_FLUSHER = 58;
inline constexpr int32_t kPR_SET_SYSCALL_USER_DISPATCH = 59;
inline constexpr int32_t kPR_SCHED_CORE = 62;
inline constexpr int32_t kPR_SET_VMA = 1398164801;
inline constexpr int32_t kPR_SET_PTRACER = 1499557217;
inline constexpr int32_t kPR_SET_MM_START_CODE = 1;
inline constexpr int32_t kPR_SET_MM_END_CODE = 2;
inline constexpr int32_t kPR_SET_MM_START_DATA = 3;
inline constexpr int32_t kPR_SET_MM_END_DATA = 4;
inline constexpr int32_t kPR_SET_MM_START_STACK = 5;
inline constexpr int32_t kPR_SET_MM_START_BRK = 6;
inline constexpr int32_t kPR_SET_MM_BRK = 7;
inline constexpr int32_t kPR_SET_MM_ARG_START = 8;
inline constexpr int32_t kPR_SET_MM_ARG_END = 9;
inline constexpr int32_t kPR_SET_MM_ENV_START = 10;
inline constexpr int32_t kPR_SET_MM_ENV_END = 11;
inline constexpr int32_t kPR_SET_MM_AUXV = 12;
inline constexpr int32_t kPR_SET_MM_EXE_FILE = 13;
inline constexpr int32_t kPR_SET_MM_MAP = 14;
inline constexpr int32_t kPR_SET_MM_MAP_SIZE = 15;
inline constexpr int32_t kPR_CAP_AMBIENT_IS_SET = 1;
inline constexpr int32_t kPR_CAP_AMBIENT_RAISE = 2;
inline constexpr int32_t kPR_CAP_AMBIENT_LOWER = 3;
inline constexpr int32_t kPR_CAP_AMBIENT_CLEAR_ALL = 4;
inline constexpr int32_t kPR_TIMING_STATISTICAL = 0;
inline constexpr int32_t kPR_TIMING_TIMESTAMP = 1;
inline constexpr int32_t kPR_TSC_ENABLE = 1;
inline constexpr int32_t kPR_TSC_SIGSEGV = 2;
inline constexpr int32_t kPR_UNALIGN_NOPRINT = 1;
inline constexpr int32_t kPR_UNALIGN_SIGBUS = 2;
inline constexpr int32_t kPR_ENDIAN_BIG = 0;
inline constexpr int32_t kPR_FPEMU_NOPRINT = 1;
inline constexpr int32_t kPR_FP_EXC_SW_ENABLE = 128;
inline constexpr int32_t kPR_MCE_KILL_LATE = 0;
inline constexpr int32_t kPR_MCE_KILL_CLEAR = 0;
inline constexpr int32_t kPR_MCE_KILL_SET = 1;
inline constexpr int32_t kPR_MCE_KILL_EARLY = 1;
inline constexpr int32_t kPR_MCE_KILL_DEFAULT = 2;
inline constexpr int32_t kPR_MCE_KILL_GET = 34;
inline constexpr int32_t kPR_SET_VMA_ANON_NAME = 0;
inline constexpr int32_t kPR_SPEC_STORE_BYPASS = 0x0;
inline constexpr int32_t kPR_SPEC_NOT_AFFECTED = 0x0;
inline constexpr int32_t kPR_SPEC_INDIRECT_BRANCH = 0x1;
inline constexpr int32_t kPR_SPEC_PRCTL = 0x1;
inline constexpr int32_t kPR_SPEC_L1D_FLUSH = 0x2;
inline constexpr int32_t kPR_SPEC_ENABLE = 0x2;
inline constexpr int32_t kPR_SPEC_DISABLE = 0x4;
inline constexpr int32_t kPR_SPEC_FORCE_DISABLE = 0x8;
inline constexpr int32_t kPR_SPEC_DISABLE_NOEXEC = 0x10;
inline constexpr int32_t kPR_SYS_DISPATCH_OFF = 0;
inline constexpr int32_t kPR_SYS_DISPATCH_ON = 1;
inline constexpr int32_t kSYSCALL_DISPATCH_FILTER_ALLOW = 0;
inline constexpr int32_t kSYSCALL_DISPATCH_FILTER_BLOCK = 1;
inline constexpr uint64_t kPR_SET_PTRACER_ANY = ~uint64_t{0};
inline constexpr int32_t kPR_SET_MDWE = 65;
inline constexpr int32_t kPR_GET_MDWE = 66;
inline constexpr int32_t kPR_MDWE_REFUSE_EXEC_GAIN = 1;
inline constexpr int32_t kPR_MDWE_NO_INHERIT = 2;
inline constexpr int32_t kPR_SET_MEMORY_MERGE = 67;
inline constexpr int32_t kPR_GET_MEMORY_MERGE = 68;
inline constexpr int32_t kPR_GET_AUXV = 0x41555856;
struct PrctlMmMap {
  uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start,
      arg_end, env_start, env_end, auxv;
  uint32_t auxv_size, exe_fd;
};

inline constexpr int32_t kARCH_SET_GS = 0x1001;
inline constexpr int32_t kARCH_SET_FS = 0x1002;
inline constexpr int32_t kARCH_GET_FS = 0x1003;
inline constexpr int32_t kARCH_GET_GS = 0x1004;
inline constexpr int32_t kARCH_GET_CPUID = 0x1011;
inline constexpr int32_t kARCH_SET_CPUID = 0x1012;
inline constexpr int32_t kARCH_GET_XCOMP_SUPP = 0x1021;
inline constexpr int32_t kARCH_GET_XCOMP_PERM = 0x1022;
inline constexpr int32_t kARCH_REQ_XCOMP_PERM = 0x1023;
inline constexpr int32_t kARCH_CET_STATUS = 0x3001;
inline constexpr int32_t kARCH_SHSTK_ENABLE = 0x5001;
inline constexpr int32_t kARCH_SHSTK_DISABLE = 0x5002;
inline constexpr int32_t kARCH_SHSTK_LOCK = 0x5003;
inline constexpr int32_t kARCH_SHSTK_STATUS = 0x5005;

}  // namespace uapi
