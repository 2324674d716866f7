// open(2), fcntl(2), *at(2) and flock(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

// open(2) flags. O_LARGEFILE is implied on x86-64, yet F_GETFL shows it.
inline constexpr int32_t kO_RDONLY = 0;
inline constexpr int32_t kO_WRONLY = 01;
inline constexpr int32_t kO_RDWR = 02;
inline constexpr int32_t kO_ACCMODE = 03;
inline constexpr int32_t kO_CREAT = 0100;
inline constexpr int32_t kO_EXCL = 0200;
inline constexpr int32_t kO_NOCTTY = 0400;
inline constexpr int32_t kO_TRUNC = 01000;
inline constexpr int32_t kO_APPEND = 02000;
inline constexpr int32_t kO_NDELAY = 04000;
inline constexpr int32_t kO_NONBLOCK = 04000;
inline constexpr int32_t kO_DSYNC = 010000;
inline constexpr int32_t kFASYNC = 020000;
inline constexpr int32_t kO_DIRECT = 040000;
inline constexpr int32_t kO_LARGEFILE = 0100000;
inline constexpr int32_t kO_DIRECTORY = 0200000;
inline constexpr int32_t kO_NOFOLLOW = 0400000;
inline constexpr int32_t kO_NOATIME = 01000000;
inline constexpr int32_t kO_CLOEXEC = 02000000;
inline constexpr int32_t kO_SYNC = 04010000;
inline constexpr int32_t kO_PATH = 010000000;
inline constexpr int32_t kO_TMPFILE = 020200000;
inline constexpr int32_t kFMODE_NONOTIFY = 0x4000000;

// openat2(2).
inline constexpr int32_t kRESOLVE_NO_XDEV = 0x1;
inline constexpr int32_t kRESOLVE_NO_MAGICLINKS = 0x2;
inline constexpr int32_t kRESOLVE_NO_SYMLINKS = 0x4;
inline constexpr int32_t kRESOLVE_BENEATH = 0x8;
inline constexpr int32_t kRESOLVE_IN_ROOT = 0x10;
inline constexpr int32_t kRESOLVE_CACHED = 0x20;
struct OpenHow {
  uint64_t flags, mode, resolve;
};
inline constexpr uint64_t kOPEN_HOW_SIZE_VER0 = 24;

// *at(2).
inline constexpr int32_t kAT_FDCWD = -100;
inline constexpr int32_t kAT_SYMLINK_NOFOLLOW = 0x100;
inline constexpr int32_t kAT_EACCESS = 0x200;
inline constexpr int32_t kAT_REMOVEDIR = 0x200;
inline constexpr int32_t kAT_SYMLINK_FOLLOW = 0x400;
inline constexpr int32_t kAT_NO_AUTOMOUNT = 0x800;
inline constexpr int32_t kAT_EMPTY_PATH = 0x1000;
inline constexpr int32_t kAT_STATX_SYNC_TYPE = 0x6000;
inline constexpr int32_t kAT_STATX_SYNC_AS_STAT = 0x0;
inline constexpr int32_t kAT_STATX_FORCE_SYNC = 0x2000;
inline constexpr int32_t kAT_STATX_DONT_SYNC = 0x4000;
inline constexpr int32_t kAT_RECURSIVE = 0x8000;
inline constexpr int32_t kAT_HANDLE_FID = 0x200;
inline constexpr int32_t kAT_EXECVE_CHECK = 0x10000;
inline constexpr int32_t kRENAME_NOREPLACE = 1;
inline constexpr int32_t kRENAME_EXCHANGE = 2;
inline constexpr int32_t kRENAME_WHITEOUT = 4;

// access(2).
inline constexpr int32_t kF_OK = 0;
inline constexpr int32_t kX_OK = 1;
inline constexpr int32_t kW_OK = 2;
inline constexpr int32_t kR_OK = 4;

// lseek(2).
inline constexpr int32_t kSEEK_SET = 0;
inline constexpr int32_t kSEEK_CUR = 1;
inline constexpr int32_t kSEEK_END = 2;
inline constexpr int32_t kSEEK_DATA = 3;
inline constexpr int32_t kSEEK_HOLE = 4;

// fcntl(2) commands.
inline constexpr int32_t kF_DUPFD = 0;
inline constexpr int32_t kF_GETFD = 1;
inline constexpr int32_t kF_SETFD = 2;
inline constexpr int32_t kF_GETFL = 3;
inline constexpr int32_t kF_SETFL = 4;
inline constexpr int32_t kF_GETLK = 5;
inline constexpr int32_t kF_SETLK = 6;
inline constexpr int32_t kF_SETLKW = 7;
inline constexpr int32_t kF_SETOWN = 8;
inline constexpr int32_t kF_GETOWN = 9;
inline constexpr int32_t kF_SETSIG = 10;
inline constexpr int32_t kF_GETSIG = 11;
inline constexpr int32_t kF_SETOWN_EX = 15;
inline constexpr int32_t kF_GETOWN_EX = 16;
inline constexpr int32_t kF_GETOWNER_UIDS = 17;
inline constexpr int32_t kF_OFD_GETLK = 36;
inline constexpr int32_t kF_OFD_SETLK = 37;
inline constexpr int32_t kF_OFD_SETLKW = 38;
inline constexpr int32_t kF_SETLEASE = 1024;
inline constexpr int32_t kF_GETLEASE = 1025;
inline constexpr int32_t kF_CANCELLK = 1029;
inline constexpr int32_t kF_DUPFD_CLOEXEC = 1030;
inline constexpr int32_t kF_NOTIFY = 1026;
inline constexpr int32_t kF_SETPIPE_SZ = 1031;
inline constexpr int32_t kF_GETPIPE_SZ = 1032;
inline constexpr int32_t kF_ADD_SEALS = 1033;
inline constexpr int32_t kF_GET_SEALS = 1034;
inline constexpr int32_t kF_GET_RW_HINT = 1035;
inline constexpr int32_t kF_SET_RW_HINT = 1036;
inline constexpr int32_t kF_GET_FILE_RW_HINT = 1037;
inline constexpr int32_t kF_SET_FILE_RW_HINT = 1038;
inline constexpr int32_t kF_DUPFD_QUERY = 1027;
inline constexpr int32_t kF_CREATED_QUERY = 1028;
inline constexpr int32_t kFD_CLOEXEC = 1;
inline constexpr int32_t kF_RDLCK = 0;
inline constexpr int32_t kF_WRLCK = 1;
inline constexpr int32_t kF_UNLCK = 2;
inline constexpr int32_t kF_EXLCK = 4;
inline constexpr int32_t kF_SHLCK = 8;
inline constexpr int32_t kF_OWNER_TID = 0;
inline constexpr int32_t kF_OWNER_PID = 1;
inline constexpr int32_t kF_OWNER_PGRP = 2;
inline constexpr int32_t kF_SEAL_SEAL = 0x1;
inline constexpr int32_t kF_SEAL_SHRINK = 0x2;
inline constexpr int32_t kF_SEAL_GROW = 0x4;
inline constexpr int32_t kF_SEAL_WRITE = 0x8;
inline constexpr int32_t kF_SEAL_FUTURE_WRITE = 0x10;
inline constexpr int32_t kF_SEAL_EXEC = 0x20;
inline constexpr int32_t kDN_ACCESS = 0x1;
inline constexpr int32_t kDN_MODIFY = 0x2;
inline constexpr int32_t kDN_CREATE = 0x4;
inline constexpr int32_t kDN_DELETE = 0x8;
inline constexpr int32_t kDN_RENAME = 0x10;
inline constexpr int32_t kDN_ATTRIB = 0x20;
inline constexpr uint32_t kDN_MULTISHOT = 0x80000000;
inline constexpr int32_t kRWH_WRITE_LIFE_NOT_SET = 0;
inline constexpr int32_t kRWF_WRITE_LIFE_NOT_SET = 0;
inline constexpr int32_t kRWH_WRITE_LIFE_NONE = 1;
inline constexpr int32_t kRWH_WRITE_LIFE_SHORT = 2;
inline constexpr int32_t kRWH_WRITE_LIFE_MEDIUM = 3;
inline constexpr int32_t kRWH_WRITE_LIFE_LONG = 4;
inline constexpr int32_t kRWH_WRITE_LIFE_EXTREME = 5;
struct Flock {
  int16_t type, whence;
  int32_t pad0;
  int64_t start, len;
  int32_t pid;
  int32_t pad1;
};
struct FOwnerEx {
  int32_t type, pid;
};

// flock(2).
inline constexpr int32_t kLOCK_SH = 1;
inline constexpr int32_t kLOCK_EX = 2;
inline constexpr int32_t kLOCK_NB = 4;
inline constexpr int32_t kLOCK_UN = 8;
inline constexpr int32_t kLOCK_MAND = 32;
inline constexpr int32_t kLOCK_READ = 64;
inline constexpr int32_t kLOCK_WRITE = 128;
inline constexpr int32_t kLOCK_RW = 192;

// fallocate(2).
inline constexpr int32_t kFALLOC_FL_KEEP_SIZE = 0x1;
inline constexpr int32_t kFALLOC_FL_PUNCH_HOLE = 0x2;
inline constexpr int32_t kFALLOC_FL_NO_HIDE_STALE = 0x4;
inline constexpr int32_t kFALLOC_FL_COLLAPSE_RANGE = 0x8;
inline constexpr int32_t kFALLOC_FL_ZERO_RANGE = 0x10;
inline constexpr int32_t kFALLOC_FL_INSERT_RANGE = 0x20;
inline constexpr int32_t kFALLOC_FL_UNSHARE_RANGE = 0x40;

// posix_fadvise(2).
inline constexpr int32_t kPOSIX_FADV_NORMAL = 0;
inline constexpr int32_t kPOSIX_FADV_RANDOM = 1;
inline constexpr int32_t kPOSIX_FADV_SEQUENTIAL = 2;
inline constexpr int32_t kPOSIX_FADV_WILLNEED = 3;
inline constexpr int32_t kPOSIX_FADV_DONTNEED = 4;
inline constexpr int32_t kPOSIX_FADV_NOREUSE = 5;

// close_range(2).
inline constexpr int32_t kCLOSE_RANGE_UNSHARE = 0x2;
inline constexpr int32_t kCLOSE_RANGE_CLOEXEC = 0x4;

// name_to_handle_at(2), open_by_handle_at(2): the handle bytes follow.
struct FileHandle {
  uint32_t handle_bytes;
  int32_t handle_type;
};
inline constexpr uint32_t kMAX_HANDLE_SZ = 128;

// kcmp(2).
inline constexpr int32_t kKCMP_FILE = 0;
inline constexpr int32_t kKCMP_VM = 1;
inline constexpr int32_t kKCMP_FILES = 2;
inline constexpr int32_t kKCMP_FS = 3;
inline constexpr int32_t kKCMP_SIGHAND = 4;
inline constexpr int32_t kKCMP_IO = 5;
inline constexpr int32_t kKCMP_SYSVSEM = 6;
inline constexpr int32_t kKCMP_EPOLL_TFD = 7;
struct KcmpEpollSlot {
  uint32_t efd, tfd, toff;
};

// Kernel limits.
inline constexpr uint32_t kPATH_MAX = 4096;
inline constexpr uint32_t kNAME_MAX = 255;
inline constexpr uint32_t kPIPE_BUF = 4096;

}  // namespace uapi
