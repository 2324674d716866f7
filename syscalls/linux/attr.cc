// chmod(2), chown(2), utimensat(2), truncate(2), fallocate(2), fadvise(2), fsync(2) and their
// relatives.
#include "syscalls/abi/resource.h"
#include "syscalls/abi/time.h"
#include "syscalls/abi/uio.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::Path;
using sentry::SetAttr;
using sentry::Vfs;

namespace {

SyscallResult Apply(Task& task, int32_t dirfd, UserCString path, bool follow, bool empty_ok,
                    const SetAttr& a) {
  AtPath at(task);
  if (base::Result<void> r = at.Set(dirfd, path, empty_ok); !r.ok()) return r;
  base::Result<Path> p = at.Find(follow);
  if (!p.ok()) return p.error();
  if ((a.mask & SetAttr::kMode) != 0 && (*p).dentry->inode()->is_symlink())
    return abi::Errno::kEOPNOTSUPP;
  return Vfs::Setattr(at.ctx(), *p, a);
}

SyscallResult ApplyFile(Task& task, File& f, const SetAttr& a) {
  AtPath at(task);
  return Vfs::SetattrFile(at.ctx(), f, a);
}

SetAttr Mode(uint32_t mode) {
  SetAttr a;
  a.mask = SetAttr::kMode;
  a.mode = mode & 07777;
  return a;
}

base::Result<SetAttr> Owner(Task& task, uint32_t uid, uint32_t gid) {
  SetAttr a;
  if (uid != UINT32_MAX) {
    a.mask |= SetAttr::kUid;
    a.uid = TRY(UidFromUser(task, uid));
  }
  if (gid != UINT32_MAX) {
    a.mask |= SetAttr::kGid;
    a.gid = TRY(GidFromUser(task, gid));
  }
  return a;
}

SyscallResult DoChmod(Task& task, int32_t dirfd, UserCString path, uint32_t mode, int32_t flags) {
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) return abi::Errno::kEINVAL;
  return Apply(task, dirfd, path, (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0,
               (flags & abi::kAT_EMPTY_PATH) != 0, Mode(mode));
}

SyscallResult DoChown(Task& task, int32_t dirfd, UserCString path, uint32_t uid, uint32_t gid,
                      int32_t flags) {
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) return abi::Errno::kEINVAL;
  base::Result<SetAttr> a = Owner(task, uid, gid);
  if (!a.ok()) return a.error();
  return Apply(task, dirfd, path, (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0,
               (flags & abi::kAT_EMPTY_PATH) != 0, *a);
}

// vfs_utimes(): null means now. False: nothing to do (both UTIME_OMIT).
base::Result<bool> Times(const abi::Timespec* t, SetAttr* a) {
  if (t == nullptr) {
    a->mask = SetAttr::kAtimeNow | SetAttr::kMtimeNow;
    return true;
  }
  for (int i = 0; i < 2; i++) {
    const bool special = t[i].nsec == abi::kUTIME_NOW || t[i].nsec == abi::kUTIME_OMIT;
    if (!special && (t[i].nsec < 0 || t[i].nsec >= abi::kNsPerSec)) return abi::Errno::kEINVAL;
  }
  if (t[0].nsec == abi::kUTIME_OMIT && t[1].nsec == abi::kUTIME_OMIT) return false;
  if (t[0].nsec == abi::kUTIME_NOW) {
    a->mask |= SetAttr::kAtimeNow;
  } else if (t[0].nsec != abi::kUTIME_OMIT) {
    a->mask |= SetAttr::kAtime;
    a->atime = {t[0].sec, static_cast<uint32_t>(t[0].nsec)};
  }
  if (t[1].nsec == abi::kUTIME_NOW) {
    a->mask |= SetAttr::kMtimeNow;
  } else if (t[1].nsec != abi::kUTIME_OMIT) {
    a->mask |= SetAttr::kMtime;
    a->mtime = {t[1].sec, static_cast<uint32_t>(t[1].nsec)};
  }
  return true;
}

SyscallResult DoUtimes(Task& task, int32_t dirfd, UserCString path, const abi::Timespec* t,
                       int32_t flags) {
  SetAttr a;
  base::Result<bool> some = Times(t, &a);
  if (!some.ok()) return some.error();
  if (!*some) return 0;
  if (path.null() && dirfd != abi::kAT_FDCWD) {
    if (flags != 0) return abi::Errno::kEINVAL;
    base::Result<base::Ref<File>> f = task.fds().Get(dirfd);
    if (!f.ok()) return f.error();
    return ApplyFile(task, **f, a);
  }
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) return abi::Errno::kEINVAL;
  if (path.null() && (flags & abi::kAT_EMPTY_PATH) == 0) return abi::Errno::kEFAULT;
  return Apply(task, dirfd, path, (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0,
               (flags & abi::kAT_EMPTY_PATH) != 0, a);
}

// Two struct timeval.
SyscallResult TimevalUtimes(Task& task, int32_t dirfd, UserCString path, UserAddr times) {
  if (times.null()) return DoUtimes(task, dirfd, path, nullptr, 0);
  abi::Timeval tv[2];
  if (base::Result<void> r = task.mm().CopyIn(tv, times, sizeof tv); !r.ok()) return r;
  abi::Timespec t[2];
  for (int i = 0; i < 2; i++) {
    if (tv[i].usec < 0 || tv[i].usec >= 1000000) return abi::Errno::kEINVAL;
    t[i] = {tv[i].sec, tv[i].usec * 1000};
  }
  return DoUtimes(task, dirfd, path, t, 0);
}

base::Result<void> LimitSize(Task& task, uint64_t old_size, uint64_t size) {
  // inode_newsize_ok().
  if (size > old_size) TRY(CheckFileSizeLimit(task, size - 1, 1));
  return {};
}

}  // namespace

SyscallResult sys_chmod(Task& task, UserCString path, uint32_t mode) {
  return DoChmod(task, abi::kAT_FDCWD, path, mode, 0);
}
SyscallResult sys_fchmodat(Task& task, int32_t dirfd, UserCString path, uint32_t mode) {
  return DoChmod(task, dirfd, path, mode, 0);
}
SyscallResult sys_fchmodat2(Task& task, int32_t dirfd, UserCString path, uint32_t mode,
                            int32_t flags) {
  return DoChmod(task, dirfd, path, mode, flags);
}
SyscallResult sys_fchmod(Task& task, int32_t fd, uint32_t mode) {
  base::Result<base::Ref<File>> f = task.fds().Get(fd);
  if (!f.ok()) return f.error();
  return ApplyFile(task, **f, Mode(mode));
}

SyscallResult sys_chown(Task& task, UserCString path, uint32_t uid, uint32_t gid) {
  return DoChown(task, abi::kAT_FDCWD, path, uid, gid, 0);
}
SyscallResult sys_lchown(Task& task, UserCString path, uint32_t uid, uint32_t gid) {
  return DoChown(task, abi::kAT_FDCWD, path, uid, gid, abi::kAT_SYMLINK_NOFOLLOW);
}
SyscallResult sys_fchownat(Task& task, int32_t dirfd, UserCString path, uint32_t uid, uint32_t gid,
                           int32_t flags) {
  return DoChown(task, dirfd, path, uid, gid, flags);
}
SyscallResult sys_fchown(Task& task, int32_t fd, uint32_t uid, uint32_t gid) {
  base::Result<base::Ref<File>> f = task.fds().Get(fd);
  if (!f.ok()) return f.error();
  base::Result<SetAttr> a = Owner(task, uid, gid);
  if (!a.ok()) return a.error();
  return ApplyFile(task, **f, *a);
}

SyscallResult sys_utime(Task& task, UserCString path, UserIn<abi::Utimbuf> times) {
  if (times.null()) return DoUtimes(task, abi::kAT_FDCWD, path, nullptr, 0);
  base::Result<abi::Utimbuf> u = times.Fetch(task.mm());
  if (!u.ok()) return u.error();
  const abi::Timespec t[2] = {{u->actime, 0}, {u->modtime, 0}};
  return DoUtimes(task, abi::kAT_FDCWD, path, t, 0);
}
SyscallResult sys_utimes(Task& task, UserCString path, UserAddr times) {
  return TimevalUtimes(task, abi::kAT_FDCWD, path, times);
}
SyscallResult sys_futimesat(Task& task, int32_t dirfd, UserCString path, UserAddr times) {
  return TimevalUtimes(task, dirfd, path, times);
}
SyscallResult sys_utimensat(Task& task, int32_t dirfd, UserCString path, UserAddr times,
                            int32_t flags) {
  if (times.null()) return DoUtimes(task, dirfd, path, nullptr, flags);
  abi::Timespec t[2];
  if (base::Result<void> r = task.mm().CopyIn(t, times, sizeof t); !r.ok()) return r;
  return DoUtimes(task, dirfd, path, t, flags);
}

SyscallResult sys_truncate(Task& task, UserCString path, int64_t length) {
  if (length < 0) return abi::Errno::kEINVAL;
  auto run = [&]() -> base::Result<void> {
    AtPath at(task);
    TRY(at.Set(abi::kAT_FDCWD, path));
    Path p = TRY(at.Find());
    if (p.dentry->inode()->is_reg()) {
      TRY(LimitSize(task, TRY(p.dentry->inode()->Getattr()).size, static_cast<uint64_t>(length)));
    }
    return Vfs::Truncate(at.ctx(), p, static_cast<uint64_t>(length));
  };
  return run();
}

SyscallResult sys_ftruncate(Task& task, int32_t fd, int64_t length) {
  if (length < 0) return abi::Errno::kEINVAL;
  auto run = [&]() -> base::Result<void> {
    base::Ref<File> f = TRY(task.fds().Get(fd));
    if (!f->attr_inode().is_reg() || !f->writable()) return abi::Errno::kEINVAL;
    TRY(LimitSize(task, TRY(f->attr_inode().Getattr()).size, static_cast<uint64_t>(length)));
    SetAttr a;
    a.mask = SetAttr::kSize | SetAttr::kTruncateOpen;
    a.size = static_cast<uint64_t>(length);
    AtPath at(task);
    return Vfs::SetattrFile(at.ctx(), *f, a);
  };
  return run();
}

SyscallResult sys_fallocate(Task& task, int32_t fd, int32_t mode, int64_t offset, int64_t len) {
  auto run = [&]() -> base::Result<void> {
    base::Ref<File> f = TRY(task.fds().Get(fd));
    // vfs_fallocate().
    if (offset < 0 || len <= 0) return abi::Errno::kEINVAL;
    constexpr int kKnown = abi::kFALLOC_FL_KEEP_SIZE | abi::kFALLOC_FL_PUNCH_HOLE |
                           abi::kFALLOC_FL_COLLAPSE_RANGE | abi::kFALLOC_FL_ZERO_RANGE |
                           abi::kFALLOC_FL_INSERT_RANGE | abi::kFALLOC_FL_UNSHARE_RANGE;
    if ((mode & ~kKnown) != 0) return abi::Errno::kEOPNOTSUPP;
    if ((mode & abi::kFALLOC_FL_PUNCH_HOLE) != 0 && (mode & abi::kFALLOC_FL_KEEP_SIZE) == 0)
      return abi::Errno::kEOPNOTSUPP;
    if (!f->writable()) return abi::Errno::kEBADF;
    const uint32_t type = f->attr_inode().type();
    if (type == abi::kS_IFIFO) return abi::Errno::kESPIPE;
    if (type == abi::kS_IFDIR) return abi::Errno::kEISDIR;
    if (type != abi::kS_IFREG && type != abi::kS_IFBLK) return abi::Errno::kENODEV;
    int64_t end;
    if (__builtin_add_overflow(offset, len, &end)) return abi::Errno::kEFBIG;
    if ((mode & abi::kFALLOC_FL_KEEP_SIZE) == 0)
      TRY(LimitSize(task, TRY(f->attr_inode().Getattr()).size, static_cast<uint64_t>(end)));
    TRY(Vfs::RemovePrivs(task.creds(), *f));
    return f->Fallocate(mode, static_cast<uint64_t>(offset), static_cast<uint64_t>(len));
  };
  return run();
}

SyscallResult sys_fadvise64(Task& task, int32_t fd, int64_t offset, int64_t len, int32_t advice) {
  base::Result<base::Ref<File>> f = task.fds().Get(fd);
  if (!f.ok()) return f.error();
  if ((*f)->attr_inode().type() == abi::kS_IFIFO) return abi::Errno::kESPIPE;
  if (len < 0) return abi::Errno::kEINVAL;
  if (advice < abi::kPOSIX_FADV_NORMAL || advice > abi::kPOSIX_FADV_NOREUSE)
    return abi::Errno::kEINVAL;
  return (*f)->Fadvise(static_cast<uint64_t>(offset), static_cast<uint64_t>(len), advice);
}

SyscallResult sys_readahead(Task& task, int32_t fd, int64_t offset, uint64_t count) {
  base::Result<base::Ref<File>> f = task.fds().Get(fd);
  if (!f.ok()) return f.error();
  if (!(*f)->readable()) return abi::Errno::kEBADF;
  if (!(*f)->attr_inode().is_reg()) return abi::Errno::kEINVAL;
  return (*f)->Fadvise(static_cast<uint64_t>(offset), count, abi::kPOSIX_FADV_WILLNEED);
}

namespace {

SyscallResult Sync(Task& task, int32_t fd, bool data_only) {
  base::Result<base::Ref<File>> f = task.fds().Get(fd);
  if (!f.ok()) return f.error();
  return (*f)->Fsync(data_only);
}

}  // namespace

SyscallResult sys_fsync(Task& task, int32_t fd) { return Sync(task, fd, false); }
SyscallResult sys_fdatasync(Task& task, int32_t fd) { return Sync(task, fd, true); }

SyscallResult sys_sync_file_range(Task& task, int32_t fd, int64_t offset, int64_t nbytes,
                                  uint32_t flags) {
  base::Result<base::Ref<File>> f = task.fds().Get(fd);
  if (!f.ok()) return f.error();
  constexpr uint32_t kKnown = abi::kSYNC_FILE_RANGE_WAIT_BEFORE | abi::kSYNC_FILE_RANGE_WRITE |
                              abi::kSYNC_FILE_RANGE_WAIT_AFTER;
  int64_t end;
  if ((flags & ~kKnown) != 0 || offset < 0 || __builtin_add_overflow(offset, nbytes, &end) ||
      end < offset) {
    return abi::Errno::kEINVAL;
  }
  const uint32_t type = (*f)->attr_inode().type();
  if (type != abi::kS_IFREG && type != abi::kS_IFBLK && type != abi::kS_IFDIR &&
      type != abi::kS_IFLNK) {
    return abi::Errno::kESPIPE;
  }
  // More than what was asked, which the call's contract allows.
  if (flags == 0) return 0;
  return (*f)->Fsync(true);
}

SyscallResult sys_sync(Task& task) {
  const sentry::TaskVfs v = task.vfs();
  for (const base::Ref<sentry::Mount>& m : v.mounts->Mounts()) (void)m->sb().Sync();
  return 0;
}

SyscallResult sys_syncfs(Task& task, int32_t fd) {
  base::Result<base::Ref<File>> f = task.fds().Get(fd);
  if (!f.ok()) return f.error();
  return (*f)->attr_inode().sb().Sync();
}

}  // namespace syscalls
