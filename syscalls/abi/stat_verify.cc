// stat.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/stat.h>

#include "syscalls/abi/stat.h"
#include "syscalls/abi/verify.h"

SAME(S_IFSOCK);
SAME(S_IFBLK);
SAME(S_IFMT);
SAME(S_IFLNK);
SAME(S_IFCHR);
SAME(S_IFREG);
SAME(S_IFDIR);
SAME(S_IFIFO);
SAME(S_ISUID);
SAME(S_ISGID);
SAME(S_ISVTX);
SAME(S_IRWXO);
SAME(S_IRWXU);
SAME(S_IRWXG);
SAME(S_IRUSR);
SAME(S_IRGRP);
SAME(S_IROTH);
SAME(S_IWGRP);
SAME(S_IWUSR);
SAME(S_IWOTH);
SAME(S_IXOTH);
SAME(S_IXUSR);
SAME(S_IXGRP);
SAME(STATX_BASIC_STATS);
SAME(STATX_BTIME);
SAME(STATX_MTIME);
SAME(STATX_NLINK);
SAME(STATX_UID);
SAME(STATX_SIZE);
SAME(STATX_DIOALIGN);
SAME(STATX_GID);
SAME(STATX_MNT_ID);
SAME(STATX_MODE);
SAME(STATX__RESERVED);
SAME(STATX_CTIME);
SAME(STATX_BLOCKS);
SAME(STATX_INO);
SAME(STATX_TYPE);
SAME(STATX_ALL);
SAME(STATX_ATIME);
SAME(STATX_ATTR_AUTOMOUNT);
SAME(STATX_ATTR_VERITY);
SAME(STATX_ATTR_APPEND);
SAME(STATX_ATTR_ENCRYPTED);
SAME(STATX_ATTR_COMPRESSED);
SAME(STATX_ATTR_IMMUTABLE);
SAME(STATX_ATTR_MOUNT_ROOT);
SAME(STATX_ATTR_DAX);
SAME(STATX_ATTR_NODUMP);
SAME(TMPFS_MAGIC);
SAME(PROC_SUPER_MAGIC);
SAME(SYSFS_MAGIC);
SAME(DEVPTS_SUPER_MAGIC);
SAME(EXT4_SUPER_MAGIC);
SAME(OVERLAYFS_SUPER_MAGIC);
SAME(CGROUP_SUPER_MAGIC);
SAME(CGROUP2_SUPER_MAGIC);
SAME(PIPEFS_MAGIC);
SAME(SOCKFS_MAGIC);
SAME(ANON_INODE_FS_MAGIC);
SAME(RAMFS_MAGIC);
SAME(HUGETLBFS_MAGIC);
SAME(NSFS_MAGIC);
SAME(DEBUGFS_MAGIC);
SAME(TRACEFS_MAGIC);
SAME(SECURITYFS_MAGIC);
SAME(BPF_FS_MAGIC);
SAME(V9FS_MAGIC);
SAME(BTRFS_SUPER_MAGIC);
SAME(XFS_SUPER_MAGIC);
SAME(FS_SECRM_FL);
SAME(FS_UNRM_FL);
SAME(FS_COMPR_FL);
SAME(FS_SYNC_FL);
SAME(FS_IMMUTABLE_FL);
SAME(FS_APPEND_FL);
SAME(FS_NODUMP_FL);
SAME(FS_NOATIME_FL);
SAME(FS_JOURNAL_DATA_FL);
SAME(FS_NOTAIL_FL);
SAME(FS_DIRSYNC_FL);
SAME(FS_TOPDIR_FL);
SAME(FS_EXTENT_FL);
SAME(FS_NOCOW_FL);
SAME(FS_PROJINHERIT_FL);
SAME(FS_CASEFOLD_FL);
#ifdef STATX_SUBVOL
SAME(STATX_SUBVOL);
#endif
#ifdef STATX_MNT_ID_UNIQUE
SAME(STATX_MNT_ID_UNIQUE);
#endif
#ifdef STATX_WRITE_ATOMIC
SAME(STATX_WRITE_ATOMIC);
#endif
SIZE(Stat, struct stat);
FIELD(Stat, dev, struct stat, st_dev);
FIELD(Stat, nlink, struct stat, st_nlink);
FIELD(Stat, mode, struct stat, st_mode);
FIELD(Stat, rdev, struct stat, st_rdev);
FIELD(Stat, size, struct stat, st_size);
FIELD(Stat, blocks, struct stat, st_blocks);
FIELD(Stat, ctime_nsec, struct stat, st_ctime_nsec);
SIZE(Statx, struct statx);
FIELD(Statx, mode, struct statx, stx_mode);
FIELD(Statx, attributes_mask, struct statx, stx_attributes_mask);
FIELD(Statx, btime, struct statx, stx_btime);
FIELD(Statx, mnt_id, struct statx, stx_mnt_id);
FIELD(Statx, dio_offset_align, struct statx, stx_dio_offset_align);
SIZE(Statfs, struct statfs);
FIELD(Statfs, fsid, struct statfs, f_fsid);
FIELD(Statfs, namelen, struct statfs, f_namelen);
FIELD(Statfs, flags, struct statfs, f_flags);
SIZE(Fsxattr, struct fsxattr);
SIZE(FileCloneRange, struct file_clone_range);
