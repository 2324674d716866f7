// stat(2), statx(2), access(2), statfs(2).
#include "syscalls/abi/capability.h"
#include "syscalls/abi/mount.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::Creds;
using sentry::File;
using sentry::FsStat;
using sentry::Kstat;
using sentry::Mount;
using sentry::Path;
using sentry::Vfs;

namespace {

abi::Stat ToStat(Task& task, const Kstat& k) {
  abi::Stat s{};
  s.dev = k.dev;
  s.ino = k.ino;
  s.nlink = k.nlink;
  s.mode = k.mode;
  s.uid = UidToUser(task, k.uid);
  s.gid = GidToUser(task, k.gid);
  s.rdev = k.rdev;
  s.size = static_cast<int64_t>(k.size);
  s.blksize = k.blksize;
  s.blocks = static_cast<int64_t>(k.blocks);
  s.atime = static_cast<uint64_t>(k.atime.sec);
  s.atime_nsec = k.atime.nsec;
  s.mtime = static_cast<uint64_t>(k.mtime.sec);
  s.mtime_nsec = k.mtime.nsec;
  s.ctime = static_cast<uint64_t>(k.ctime.sec);
  s.ctime_nsec = k.ctime.nsec;
  return s;
}

SyscallResult StatAt(Task& task, int32_t dirfd, UserCString path, UserOut<abi::Stat> st,
                     bool follow, bool empty_ok) {
  auto run = [&]() -> base::Result<void> {
    AtPath at(task);
    TRY(at.Set(dirfd, path, empty_ok, empty_ok));
    Kstat k;
    if (at.empty() && at.file()) {
      k = TRY(at.file()->attr_inode().Getattr());
    } else {
      Path p = TRY(at.Find(follow));
      k = TRY(p.dentry->inode()->Getattr());
    }
    return st.Store(task.mm(), ToStat(task, k));
  };
  return run();
}

abi::StatxTimestamp ToTimestamp(const sentry::FileTime& t) { return {t.sec, t.nsec, 0}; }

abi::Statfs ToStatfs(const FsStat& f, const Mount* mount) {
  abi::Statfs s{};
  s.type = static_cast<int64_t>(f.type);
  s.bsize = s.frsize = static_cast<int64_t>(f.bsize);
  s.blocks = f.blocks;
  s.bfree = f.bfree;
  s.bavail = f.bavail;
  s.files = f.files;
  s.ffree = f.ffree;
  s.fsid[0] = static_cast<int32_t>(f.fsid);
  s.fsid[1] = static_cast<int32_t>(f.fsid >> 32);
  s.namelen = static_cast<int64_t>(f.namelen);
  // calculate_f_flags().
  s.flags = abi::kST_VALID;
  const uint32_t m = mount != nullptr ? mount->flags() : 0;
  if ((m & abi::kMS_RDONLY) != 0) s.flags |= abi::kST_RDONLY;
  if ((m & abi::kMS_NOSUID) != 0) s.flags |= abi::kST_NOSUID;
  if ((m & abi::kMS_NODEV) != 0) s.flags |= abi::kST_NODEV;
  if ((m & abi::kMS_NOEXEC) != 0) s.flags |= abi::kST_NOEXEC;
  if ((m & abi::kMS_NODIRATIME) != 0) s.flags |= abi::kST_NODIRATIME;
  if ((m & abi::kMS_NOATIME) != 0) {
    s.flags |= abi::kST_NOATIME;
  } else if (mount != nullptr && (m & abi::kMS_STRICTATIME) == 0) {
    s.flags |= abi::kST_RELATIME;
  }
  if ((m & abi::kMS_NOSYMFOLLOW) != 0) s.flags |= abi::kST_NOSYMFOLLOW;
  return s;
}

}  // namespace

SyscallResult sys_stat(Task& task, UserCString path, UserOut<abi::Stat> st) {
  return StatAt(task, abi::kAT_FDCWD, path, st, true, false);
}

SyscallResult sys_lstat(Task& task, UserCString path, UserOut<abi::Stat> st) {
  return StatAt(task, abi::kAT_FDCWD, path, st, false, false);
}

SyscallResult sys_fstat(Task& task, int32_t fd, UserOut<abi::Stat> st) {
  base::Result<base::Ref<File>> f = task.fds().GetAny(fd);
  if (!f.ok()) return f.error();
  base::Result<Kstat> k = (*f)->attr_inode().Getattr();
  if (!k.ok()) return k.error();
  return st.Store(task.mm(), ToStat(task, *k));
}

SyscallResult sys_newfstatat(Task& task, int32_t dirfd, UserCString path, UserOut<abi::Stat> st,
                             int32_t flags) {
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_NO_AUTOMOUNT | abi::kAT_EMPTY_PATH)) != 0)
    return abi::Errno::kEINVAL;
  const bool empty = (flags & abi::kAT_EMPTY_PATH) != 0;
  if (empty && dirfd >= 0) {
    // fstat(3) in new C libraries.
    uint8_t first = 0;
    if (path.null() || (task.mm().CopyIn(&first, path.addr, 1).ok() && first == 0))
      return sys_fstat(task, dirfd, st);
  }
  return StatAt(task, dirfd, path, st, (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0, empty);
}

SyscallResult sys_statx(Task& task, int32_t dirfd, UserCString path, int32_t flags, uint32_t mask,
                        UserOut<abi::Statx> buf) {
  if ((mask & abi::kSTATX__RESERVED) != 0) return abi::Errno::kEINVAL;
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_NO_AUTOMOUNT | abi::kAT_EMPTY_PATH |
                 abi::kAT_STATX_SYNC_TYPE)) != 0) {
    return abi::Errno::kEINVAL;
  }
  if ((flags & abi::kAT_STATX_SYNC_TYPE) == abi::kAT_STATX_SYNC_TYPE) return abi::Errno::kEINVAL;
  auto run = [&]() -> base::Result<void> {
    AtPath at(task);
    const bool empty = (flags & abi::kAT_EMPTY_PATH) != 0;
    TRY(at.Set(dirfd, path, empty, empty));
    Path p;
    if (at.empty() && at.file()) {
      p = Vfs::PlaceOf(*at.file());
    } else {
      p = TRY(at.Find((flags & abi::kAT_SYMLINK_NOFOLLOW) == 0));
    }
    Kstat k = TRY(p.dentry->inode()->Getattr());
    abi::Statx x{};
    x.mask = abi::kSTATX_BASIC_STATS | abi::kSTATX_MNT_ID;
    x.blksize = k.blksize;
    x.nlink = k.nlink;
    x.uid = UidToUser(task, k.uid);
    x.gid = GidToUser(task, k.gid);
    x.mode = static_cast<uint16_t>(k.mode);
    x.ino = k.ino;
    x.size = k.size;
    x.blocks = k.blocks;
    x.atime = ToTimestamp(k.atime);
    x.mtime = ToTimestamp(k.mtime);
    x.ctime = ToTimestamp(k.ctime);
    if (k.btime.sec != 0 || k.btime.nsec != 0) {
      x.btime = ToTimestamp(k.btime);
      x.mask |= abi::kSTATX_BTIME;
    }
    x.rdev_major = abi::DevMajor(k.rdev);
    x.rdev_minor = abi::DevMinor(k.rdev);
    x.dev_major = abi::DevMajor(k.dev);
    x.dev_minor = abi::DevMinor(k.dev);
    x.mnt_id = p.mount->id();
    x.attributes_mask = abi::kSTATX_ATTR_MOUNT_ROOT;
    if (p.dentry == p.mount->root()) x.attributes |= abi::kSTATX_ATTR_MOUNT_ROOT;
    return buf.Store(task.mm(), x);
  };
  return run();
}

namespace {

// access_override_creds(): the real ids decide.
base::Ref<const Creds> RealCreds(Task& task) {
  const Creds& c = task.creds();
  base::Ref<Creds> n = base::MakeRef<Creds>(c);
  n->fsuid = c.uid;
  n->fsgid = c.gid;
  const bool root = (c.user_ns ? c.user_ns->UidFromGlobal(c.uid) : c.uid) == 0;
  // SECURE_NO_SETUID_FIXUP (bit 2) keeps the capabilities as they are.
  if ((c.securebits & 4) == 0) n->effective = root ? c.permitted : 0;
  return n;
}

SyscallResult Access(Task& task, int32_t dirfd, UserCString path, int32_t mode, int32_t flags) {
  if ((mode & ~7) != 0) return abi::Errno::kEINVAL;
  if ((flags & ~(abi::kAT_EACCESS | abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0)
    return abi::Errno::kEINVAL;
  auto run = [&]() -> base::Result<void> {
    AtPath at(task);
    TRY(at.Set(dirfd, path, (flags & abi::kAT_EMPTY_PATH) != 0));
    base::Ref<const Creds> real =
        (flags & abi::kAT_EACCESS) != 0 ? task.creds_ref() : RealCreds(task);
    const sentry::VfsContext& c = at.ctx();
    const sentry::VfsContext ctx{*real, c.root, c.cwd, c.mounts, c.umask, c.task};
    sentry::ResolveFlags rf;
    rf.follow = (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0;
    rf.empty_path = at.empty();
    Path p = TRY(Vfs::Resolve(ctx, at.start(), at.path(), rf));
    if (mode == 0) return {};
    return Vfs::CheckAccess(ctx, p, static_cast<uint32_t>(mode));
  };
  return run();
}

}  // namespace

SyscallResult sys_access(Task& task, UserCString path, int32_t mode) {
  return Access(task, abi::kAT_FDCWD, path, mode, 0);
}
SyscallResult sys_faccessat(Task& task, int32_t dirfd, UserCString path, int32_t mode) {
  return Access(task, dirfd, path, mode, 0);
}
SyscallResult sys_faccessat2(Task& task, int32_t dirfd, UserCString path, int32_t mode,
                             int32_t flags) {
  return Access(task, dirfd, path, mode, flags);
}

SyscallResult sys_statfs(Task& task, UserCString path, UserOut<abi::Statfs> buf) {
  auto run = [&]() -> base::Result<void> {
    AtPath at(task);
    TRY(at.Set(abi::kAT_FDCWD, path));
    Path p = TRY(at.Find());
    FsStat f = TRY(p.dentry->inode()->sb().Statfs());
    return buf.Store(task.mm(), ToStatfs(f, p.mount.get()));
  };
  return run();
}

SyscallResult sys_fstatfs(Task& task, int32_t fd, UserOut<abi::Statfs> buf) {
  auto run = [&]() -> base::Result<void> {
    base::Ref<File> f = TRY(task.fds().GetAny(fd));
    FsStat st = TRY(f->attr_inode().sb().Statfs());
    return buf.Store(task.mm(), ToStatfs(st, f->path().mount.get()));
  };
  return run();
}

}  // namespace syscalls
