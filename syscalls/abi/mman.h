// mmap(2) and relatives.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kPageMask = ~(kPageSize - 1);
inline constexpr uint32_t kPageShift = 12;

inline constexpr int32_t kPROT_NONE = 0x0;
inline constexpr int32_t kPROT_READ = 0x1;
inline constexpr int32_t kPROT_WRITE = 0x2;
inline constexpr int32_t kPROT_EXEC = 0x4;
inline constexpr int32_t kPROT_SEM = 0x8;
inline constexpr int32_t kPROT_GROWSDOWN = 0x1000000;
inline constexpr int32_t kPROT_GROWSUP = 0x2000000;
inline constexpr int32_t kMAP_FILE = 0x0;
inline constexpr int32_t kMAP_SHARED = 0x1;
inline constexpr int32_t kMAP_PRIVATE = 0x2;
inline constexpr int32_t kMAP_SHARED_VALIDATE = 0x3;
inline constexpr int32_t kMAP_TYPE = 0xf;
inline constexpr int32_t kMAP_FIXED = 0x10;
inline constexpr int32_t kMAP_HUGE_SHIFT = 0x1a;
inline constexpr int32_t kMAP_ANONYMOUS = 0x20;
inline constexpr int32_t kMAP_HUGE_MASK = 0x3f;
inline constexpr int32_t kMAP_32BIT = 0x40;
inline constexpr int32_t kMAP_GROWSDOWN = 0x100;
inline constexpr int32_t kMAP_DENYWRITE = 0x800;
inline constexpr int32_t kMAP_EXECUTABLE = 0x1000;
inline constexpr int32_t kMAP_LOCKED = 0x2000;
inline constexpr int32_t kMAP_NORESERVE = 0x4000;
inline constexpr int32_t kMAP_POPULATE = 0x8000;
inline constexpr int32_t kMAP_NONBLOCK = 0x10000;
inline constexpr int32_t kMAP_STACK = 0x20000;
inline constexpr int32_t kMAP_HUGETLB = 0x40000;
inline constexpr int32_t kMAP_SYNC = 0x80000;
inline constexpr int32_t kMAP_FIXED_NOREPLACE = 0x100000;
inline constexpr int32_t kMAP_UNINITIALIZED = 0x4000000;
inline constexpr int32_t kMAP_HUGE_16KB = 0x38000000;
inline constexpr int32_t kMAP_HUGE_64KB = 0x40000000;
inline constexpr int32_t kMAP_HUGE_512KB = 0x4c000000;
inline constexpr int32_t kMAP_HUGE_1MB = 0x50000000;
inline constexpr int32_t kMAP_HUGE_2MB = 0x54000000;
inline constexpr int32_t kMAP_HUGE_8MB = 0x5c000000;
inline constexpr int32_t kMAP_HUGE_16MB = 0x60000000;
inline constexpr int32_t kMAP_HUGE_32MB = 0x64000000;
inline constexpr int32_t kMAP_HUGE_256MB = 0x70000000;
inline constexpr int32_t kMAP_HUGE_512MB = 0x74000000;
inline constexpr int32_t kMAP_HUGE_1GB = 0x78000000;
inline constexpr int32_t kMAP_HUGE_2GB = 0x7c000000;
inline constexpr uint32_t kMAP_HUGE_16GB = 0x88000000;
inline constexpr int32_t kMAP_DROPPABLE = 0x08;
inline constexpr int32_t kMREMAP_MAYMOVE = 0x1;
inline constexpr int32_t kMREMAP_FIXED = 0x2;
inline constexpr int32_t kMREMAP_DONTUNMAP = 0x4;
inline constexpr int32_t kMS_ASYNC = 0x1;
inline constexpr int32_t kMS_INVALIDATE = 0x2;
inline constexpr int32_t kMS_SYNC = 0x4;
inline constexpr int32_t kMCL_CURRENT = 0x1;
inline constexpr int32_t kMLOCK_ONFAULT = 0x1;
inline constexpr int32_t kMCL_FUTURE = 0x2;
inline constexpr int32_t kMCL_ONFAULT = 0x4;
inline constexpr int32_t kMADV_NORMAL = 0;
inline constexpr int32_t kMADV_RANDOM = 1;
inline constexpr int32_t kMADV_SEQUENTIAL = 2;
inline constexpr int32_t kMADV_WILLNEED = 3;
inline constexpr int32_t kMADV_DONTNEED = 4;
inline constexpr int32_t kMADV_FREE = 8;
inline constexpr int32_t kMADV_REMOVE = 9;
inline constexpr int32_t kMADV_DONTFORK = 10;
inline constexpr int32_t kMADV_DOFORK = 11;
inline constexpr int32_t kMADV_MERGEABLE = 12;
inline constexpr int32_t kMADV_UNMERGEABLE = 13;
inline constexpr int32_t kMADV_HUGEPAGE = 14;
inline constexpr int32_t kMADV_NOHUGEPAGE = 15;
inline constexpr int32_t kMADV_DONTDUMP = 16;
inline constexpr int32_t kMADV_DODUMP = 17;
inline constexpr int32_t kMADV_WIPEONFORK = 18;
inline constexpr int32_t kMADV_KEEPONFORK = 19;
inline constexpr int32_t kMADV_COLD = 20;
inline constexpr int32_t kMADV_PAGEOUT = 21;
inline constexpr int32_t kMADV_POPULATE_READ = 22;
inline constexpr int32_t kMADV_POPULATE_WRITE = 23;
inline constexpr int32_t kMADV_DONTNEED_LOCKED = 24;
inline constexpr int32_t kMADV_COLLAPSE = 25;
inline constexpr int32_t kMADV_HWPOISON = 100;
inline constexpr int32_t kMADV_SOFT_OFFLINE = 101;
inline constexpr int32_t kMADV_GUARD_INSTALL = 102;
inline constexpr int32_t kMADV_GUARD_REMOVE = 103;
inline constexpr int32_t kPKEY_DISABLE_ACCESS = 0x1;
inline constexpr int32_t kPKEY_DISABLE_WRITE = 0x2;
inline constexpr int32_t kPKEY_ACCESS_MASK = 0x3;

// memfd_create(2).
inline constexpr int32_t kMFD_CLOEXEC = 0x1;
inline constexpr int32_t kMFD_ALLOW_SEALING = 0x2;
inline constexpr int32_t kMFD_HUGETLB = 0x4;
inline constexpr int32_t kMFD_NOEXEC_SEAL = 0x8;
inline constexpr int32_t kMFD_EXEC = 0x10;
inline constexpr int32_t kMFD_HUGE_SHIFT = 26;
inline constexpr int32_t kMFD_HUGE_MASK = 0x3f;

// mbind(2), set_mempolicy(2).
inline constexpr int32_t kMPOL_DEFAULT = 0;
inline constexpr int32_t kMPOL_PREFERRED = 1;
inline constexpr int32_t kMPOL_BIND = 2;
inline constexpr int32_t kMPOL_INTERLEAVE = 3;
inline constexpr int32_t kMPOL_LOCAL = 4;
inline constexpr int32_t kMPOL_PREFERRED_MANY = 5;
inline constexpr int32_t kMPOL_WEIGHTED_INTERLEAVE = 6;
inline constexpr int32_t kMPOL_F_STATIC_NODES = 0x8000;
inline constexpr int32_t kMPOL_F_RELATIVE_NODES = 0x4000;
inline constexpr int32_t kMPOL_F_NUMA_BALANCING = 0x2000;
inline constexpr int32_t kMPOL_F_NODE = 0x1;
inline constexpr int32_t kMPOL_F_ADDR = 0x2;
inline constexpr int32_t kMPOL_F_MEMS_ALLOWED = 0x4;
inline constexpr int32_t kMPOL_MF_STRICT = 0x1;
inline constexpr int32_t kMPOL_MF_MOVE = 0x2;
inline constexpr int32_t kMPOL_MF_MOVE_ALL = 0x4;

// membarrier(2).
inline constexpr int32_t kMEMBARRIER_CMD_QUERY = 0x0;
inline constexpr int32_t kMEMBARRIER_CMD_GLOBAL = 0x1;
inline constexpr int32_t kMEMBARRIER_CMD_GLOBAL_EXPEDITED = 0x2;
inline constexpr int32_t kMEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED = 0x4;
inline constexpr int32_t kMEMBARRIER_CMD_PRIVATE_EXPEDITED = 0x8;
inline constexpr int32_t kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 0x10;
inline constexpr int32_t kMEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE = 0x20;
inline constexpr int32_t kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 0x40;
inline constexpr int32_t kMEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ = 0x80;
inline constexpr int32_t kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ = 0x100;
inline constexpr int32_t kMEMBARRIER_CMD_GET_REGISTRATIONS = 0x200;
inline constexpr int32_t kMEMBARRIER_CMD_FLAG_CPU = 0x1;

}  // namespace uapi
