// stat(2), statx(2), statfs(2), file modes and device numbers.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

// File types and mode bits.
inline constexpr int32_t kS_IXOTH = 01;
inline constexpr int32_t kS_IWOTH = 02;
inline constexpr int32_t kS_IROTH = 04;
inline constexpr int32_t kS_IRWXO = 07;
inline constexpr int32_t kS_IXGRP = 010;
inline constexpr int32_t kS_IWGRP = 020;
inline constexpr int32_t kS_IRGRP = 040;
inline constexpr int32_t kS_IRWXG = 070;
inline constexpr int32_t kS_IXUSR = 0100;
inline constexpr int32_t kS_IWUSR = 0200;
inline constexpr int32_t kS_IRUSR = 0400;
inline constexpr int32_t kS_IRWXU = 0700;
inline constexpr int32_t kS_ISVTX = 01000;
inline constexpr int32_t kS_ISGID = 02000;
inline constexpr int32_t kS_ISUID = 04000;
inline constexpr int32_t kS_IFIFO = 010000;
inline constexpr int32_t kS_IFCHR = 020000;
inline constexpr int32_t kS_IFDIR = 040000;
inline constexpr int32_t kS_IFBLK = 060000;
inline constexpr int32_t kS_IFREG = 0100000;
inline constexpr int32_t kS_IFLNK = 0120000;
inline constexpr int32_t kS_IFSOCK = 0140000;
inline constexpr int32_t kS_IFMT = 0170000;

constexpr bool S_IsReg(uint32_t m) { return (m & kS_IFMT) == kS_IFREG; }
constexpr bool S_IsDir(uint32_t m) { return (m & kS_IFMT) == kS_IFDIR; }
constexpr bool S_IsLnk(uint32_t m) { return (m & kS_IFMT) == kS_IFLNK; }
constexpr bool S_IsChr(uint32_t m) { return (m & kS_IFMT) == kS_IFCHR; }
constexpr bool S_IsBlk(uint32_t m) { return (m & kS_IFMT) == kS_IFBLK; }
constexpr bool S_IsFifo(uint32_t m) { return (m & kS_IFMT) == kS_IFIFO; }
constexpr bool S_IsSock(uint32_t m) { return (m & kS_IFMT) == kS_IFSOCK; }

// struct stat of x86-64 (asm/stat.h).
struct Stat {
  uint64_t dev, ino, nlink;
  uint32_t mode, uid, gid, pad0;
  uint64_t rdev;
  int64_t size, blksize, blocks;
  uint64_t atime, atime_nsec, mtime, mtime_nsec, ctime, ctime_nsec;
  int64_t unused[3];
};

struct StatxTimestamp {
  int64_t sec;
  uint32_t nsec;
  int32_t reserved;
};
struct Statx {
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode, spare0;
  uint64_t ino, size, blocks, attributes_mask;
  StatxTimestamp atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t mnt_id;
  uint32_t dio_mem_align, dio_offset_align;
  uint64_t subvol;
  uint32_t atomic_write_unit_min, atomic_write_unit_max, atomic_write_segments_max;
  uint32_t dio_read_offset_align, atomic_write_unit_max_opt, spare2;
  uint64_t spare3[8];
};
inline constexpr int32_t kSTATX_TYPE = 0x1;
inline constexpr int32_t kSTATX_MODE = 0x2;
inline constexpr int32_t kSTATX_NLINK = 0x4;
inline constexpr int32_t kSTATX_ATTR_COMPRESSED = 0x4;
inline constexpr int32_t kSTATX_UID = 0x8;
inline constexpr int32_t kSTATX_GID = 0x10;
inline constexpr int32_t kSTATX_ATTR_IMMUTABLE = 0x10;
inline constexpr int32_t kSTATX_ATIME = 0x20;
inline constexpr int32_t kSTATX_ATTR_APPEND = 0x20;
inline constexpr int32_t kSTATX_MTIME = 0x40;
inline constexpr int32_t kSTATX_ATTR_NODUMP = 0x40;
inline constexpr int32_t kSTATX_CTIME = 0x80;
inline constexpr int32_t kSTATX_INO = 0x100;
inline constexpr int32_t kSTATX_SIZE = 0x200;
inline constexpr int32_t kSTATX_BLOCKS = 0x400;
inline constexpr int32_t kSTATX_BASIC_STATS = 0x7ff;
inline constexpr int32_t kSTATX_BTIME = 0x800;
inline constexpr int32_t kSTATX_ATTR_ENCRYPTED = 0x800;
inline constexpr int32_t kSTATX_ALL = 0xfff;
inline constexpr int32_t kSTATX_MNT_ID = 0x1000;
inline constexpr int32_t kSTATX_ATTR_AUTOMOUNT = 0x1000;
inline constexpr int32_t kSTATX_DIOALIGN = 0x2000;
inline constexpr int32_t kSTATX_ATTR_MOUNT_ROOT = 0x2000;
inline constexpr int32_t kSTATX_MNT_ID_UNIQUE = 0x4000;
inline constexpr int32_t kSTATX_SUBVOL = 0x8000;
inline constexpr int32_t kSTATX_WRITE_ATOMIC = 0x10000;
inline constexpr int32_t kSTATX_ATTR_VERITY = 0x100000;
inline constexpr int32_t kSTATX_ATTR_DAX = 0x200000;
inline constexpr uint32_t kSTATX__RESERVED = 0x80000000;

// struct statfs of x86-64 (asm-generic/statfs.h).
struct Statfs {
  int64_t type, bsize;
  uint64_t blocks, bfree, bavail, files, ffree;
  int32_t fsid[2];
  int64_t namelen, frsize, flags, spare[4];
};
// statfs f_flags (include/linux/statfs.h).
inline constexpr int64_t kST_RDONLY = 0x1;
inline constexpr int64_t kST_NOSUID = 0x2;
inline constexpr int64_t kST_NODEV = 0x4;
inline constexpr int64_t kST_NOEXEC = 0x8;
inline constexpr int64_t kST_SYNCHRONOUS = 0x10;
inline constexpr int64_t kST_VALID = 0x20;
inline constexpr int64_t kST_MANDLOCK = 0x40;
inline constexpr int64_t kST_NOATIME = 0x400;
inline constexpr int64_t kST_NODIRATIME = 0x800;
inline constexpr int64_t kST_RELATIME = 0x1000;
inline constexpr int64_t kST_NOSYMFOLLOW = 0x2000;

// File system magics.
inline constexpr int64_t kTMPFS_MAGIC = 0x1021994;
inline constexpr int64_t kPROC_SUPER_MAGIC = 0x9fa0;
inline constexpr int64_t kSYSFS_MAGIC = 0x62656572;
inline constexpr int64_t kDEVPTS_SUPER_MAGIC = 0x1cd1;
inline constexpr int64_t kEXT4_SUPER_MAGIC = 0xef53;
inline constexpr int64_t kOVERLAYFS_SUPER_MAGIC = 0x794c7630;
inline constexpr int64_t kCGROUP_SUPER_MAGIC = 0x27e0eb;
inline constexpr int64_t kCGROUP2_SUPER_MAGIC = 0x63677270;
inline constexpr int64_t kPIPEFS_MAGIC = 0x50495045;
inline constexpr int64_t kSOCKFS_MAGIC = 0x534f434b;
inline constexpr int64_t kANON_INODE_FS_MAGIC = 0x9041934;
inline constexpr int64_t kRAMFS_MAGIC = 0x858458f6;
inline constexpr int64_t kHUGETLBFS_MAGIC = 0x958458f6;
inline constexpr int64_t kNSFS_MAGIC = 0x6e736673;
inline constexpr int64_t kDEBUGFS_MAGIC = 0x64626720;
inline constexpr int64_t kTRACEFS_MAGIC = 0x74726163;
inline constexpr int64_t kSECURITYFS_MAGIC = 0x73636673;
inline constexpr int64_t kBPF_FS_MAGIC = 0xcafe4a11;
inline constexpr int64_t kV9FS_MAGIC = 0x1021997;
inline constexpr int64_t kBTRFS_SUPER_MAGIC = 0x9123683e;
inline constexpr int64_t kXFS_SUPER_MAGIC = 0x58465342;
inline constexpr int64_t kMQUEUE_MAGIC = 0x19800202;
inline constexpr int64_t kPID_FS_MAGIC = 0x50494446;

// The 64-bit dev_t that stat(2) reports (new_encode_dev: minor 20 bits, major 12).
constexpr uint64_t MakeDev(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | ((major & 0xfff) << 8) | (static_cast<uint64_t>(minor & ~0xffu) << 12);
}
constexpr uint32_t DevMajor(uint64_t dev) { return (dev & 0xfff00) >> 8; }
constexpr uint32_t DevMinor(uint64_t dev) { return (dev & 0xff) | ((dev >> 12) & 0xfff00); }

// FS_IOC_GETFLAGS bits and struct fsxattr of FS_IOC_FSGETXATTR.
inline constexpr int32_t kFS_SECRM_FL = 0x1;
inline constexpr int32_t kFS_UNRM_FL = 0x2;
inline constexpr int32_t kFS_COMPR_FL = 0x4;
inline constexpr int32_t kFS_SYNC_FL = 0x8;
inline constexpr int32_t kFS_IMMUTABLE_FL = 0x10;
inline constexpr int32_t kFS_APPEND_FL = 0x20;
inline constexpr int32_t kFS_NODUMP_FL = 0x40;
inline constexpr int32_t kFS_NOATIME_FL = 0x80;
inline constexpr int32_t kFS_JOURNAL_DATA_FL = 0x4000;
inline constexpr int32_t kFS_NOTAIL_FL = 0x8000;
inline constexpr int32_t kFS_DIRSYNC_FL = 0x10000;
inline constexpr int32_t kFS_TOPDIR_FL = 0x20000;
inline constexpr int32_t kFS_EXTENT_FL = 0x80000;
inline constexpr int32_t kFS_NOCOW_FL = 0x800000;
inline constexpr int32_t kFS_PROJINHERIT_FL = 0x20000000;
inline constexpr int32_t kFS_CASEFOLD_FL = 0x40000000;
struct Fsxattr {
  uint32_t xflags, extsize, nextents, projid, cowextsize;
  uint8_t pad[8];
};
// file_getattr(2), file_setattr(2).
struct FileAttr {
  uint64_t xflags;
  uint32_t extsize, nextents, projid, cowextsize;
};
struct FileCloneRange {
  int64_t src_fd;
  uint64_t src_offset, src_length, dest_offset;
};

}  // namespace uapi
