// open(2), openat2(2), close(2), close_range(2), dup(2).
#include <cstring>

#include "syscalls/abi/capability.h"
#include "syscalls/abi/fcntl.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::FdTable;
using sentry::File;
using sentry::OpenFlags;
using sentry::ResolveFlags;
using sentry::Vfs;

namespace {

constexpr uint32_t kTmpfileBit = abi::kO_TMPFILE & ~abi::kO_DIRECTORY;
constexpr uint32_t kPathFlags =
    abi::kO_DIRECTORY | abi::kO_NOFOLLOW | abi::kO_PATH | abi::kO_CLOEXEC;
// VALID_OPEN_FLAGS.
constexpr uint32_t kValid = abi::kO_ACCMODE | abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY |
                            abi::kO_TRUNC | abi::kO_APPEND | abi::kO_NONBLOCK | abi::kO_SYNC |
                            abi::kFASYNC | abi::kO_DIRECT | abi::kO_LARGEFILE | abi::kO_DIRECTORY |
                            abi::kO_NOFOLLOW | abi::kO_NOATIME | abi::kO_CLOEXEC | abi::kO_PATH |
                            kTmpfileBit;

// build_open_flags() and do_sys_openat2().
SyscallResult DoOpen(Task& task, int32_t dirfd, UserCString path, uint32_t flags, uint32_t mode,
                     ResolveFlags resolve) {
  if ((flags & (abi::kO_DIRECTORY | abi::kO_CREAT)) == (abi::kO_DIRECTORY | abi::kO_CREAT))
    return abi::Errno::kEINVAL;
  if ((flags & kTmpfileBit) != 0) {
    if ((flags & abi::kO_DIRECTORY) == 0 || (flags & abi::kO_CREAT) != 0)
      return abi::Errno::kEINVAL;
    if ((flags & abi::kO_ACCMODE) == abi::kO_RDONLY) return abi::Errno::kEINVAL;
  }
  auto run = [&]() -> base::Result<int32_t> {
    AtPath at(task);
    TRY(at.Set(dirfd, path, false, false, resolve.in_root));
    base::Ref<File> f =
        TRY(Vfs::Open(at.ctx(), at.start(), at.path(), OpenFlags{flags, mode}, resolve));
    return InstallFile(task, std::move(f), (flags & abi::kO_CLOEXEC) != 0);
  };
  return run();
}

SyscallResult OpenLegacy(Task& task, int32_t dirfd, UserCString path, int32_t flags,
                         uint32_t mode) {
  uint32_t f = (static_cast<uint32_t>(flags) & kValid) | abi::kO_LARGEFILE;
  if ((f & abi::kO_PATH) != 0) f &= kPathFlags;
  mode = (f & (abi::kO_CREAT | kTmpfileBit)) != 0 ? mode & 07777 : 0;
  return DoOpen(task, dirfd, path, f, mode, ResolveFlags{});
}

}  // namespace

SyscallResult sys_open(Task& task, UserCString path, int32_t flags, uint32_t mode) {
  return OpenLegacy(task, abi::kAT_FDCWD, path, flags, mode);
}

SyscallResult sys_openat(Task& task, int32_t dirfd, UserCString path, int32_t flags,
                         uint32_t mode) {
  return OpenLegacy(task, dirfd, path, flags, mode);
}

SyscallResult sys_creat(Task& task, UserCString path, uint32_t mode) {
  return OpenLegacy(task, abi::kAT_FDCWD, path, abi::kO_CREAT | abi::kO_WRONLY | abi::kO_TRUNC,
                    mode);
}

SyscallResult sys_openat2(Task& task, int32_t dirfd, UserCString path, UserAddr how,
                          uint64_t size) {
  if (size < abi::kOPEN_HOW_SIZE_VER0) return abi::Errno::kEINVAL;
  if (size > 4096) return abi::Errno::kE2BIG;
  uint8_t raw[4096];
  if (base::Result<void> r = task.mm().CopyIn(raw, how, size); !r.ok()) return r;
  abi::OpenHow h;
  memcpy(&h, raw, sizeof h);
  for (uint64_t i = sizeof h; i < size; i++) {
    if (raw[i] != 0) return abi::Errno::kE2BIG;
  }
  if ((h.flags & ~uint64_t{kValid}) != 0 || (h.resolve & ~uint64_t{0x3f}) != 0)
    return abi::Errno::kEINVAL;
  if ((h.resolve & abi::kRESOLVE_BENEATH) != 0 && (h.resolve & abi::kRESOLVE_IN_ROOT) != 0)
    return abi::Errno::kEINVAL;
  const uint32_t flags = static_cast<uint32_t>(h.flags);
  if ((flags & (abi::kO_CREAT | kTmpfileBit)) != 0) {
    if ((h.mode & ~uint64_t{07777}) != 0) return abi::Errno::kEINVAL;
  } else if (h.mode != 0) {
    return abi::Errno::kEINVAL;
  }
  if ((flags & abi::kO_PATH) != 0 && (flags & ~kPathFlags) != 0) return abi::Errno::kEINVAL;
  ResolveFlags r;
  r.no_xdev = (h.resolve & abi::kRESOLVE_NO_XDEV) != 0;
  r.no_magiclinks = (h.resolve & abi::kRESOLVE_NO_MAGICLINKS) != 0;
  r.no_symlinks = (h.resolve & abi::kRESOLVE_NO_SYMLINKS) != 0;
  r.beneath = (h.resolve & abi::kRESOLVE_BENEATH) != 0;
  r.in_root = (h.resolve & abi::kRESOLVE_IN_ROOT) != 0;
  if ((h.resolve & abi::kRESOLVE_CACHED) != 0) {
    if ((flags & (abi::kO_TRUNC | abi::kO_CREAT | kTmpfileBit)) != 0) return abi::Errno::kEAGAIN;
    r.cached = true;
  }
  return DoOpen(task, dirfd, path, flags, static_cast<uint32_t>(h.mode), r);
}

SyscallResult sys_name_to_handle_at(Task& task, int32_t dirfd, UserCString path, UserAddr,
                                    UserOut<int32_t>, int32_t flags) {
  constexpr int32_t kKnown = abi::kAT_SYMLINK_FOLLOW | abi::kAT_EMPTY_PATH | abi::kAT_HANDLE_FID;
  if ((flags & ~kKnown) != 0) return abi::Errno::kEINVAL;
  AtPath at(task);
  TRY(at.Set(dirfd, path, (flags & abi::kAT_EMPTY_PATH) != 0));
  TRY(at.Find((flags & abi::kAT_SYMLINK_FOLLOW) != 0));
  return abi::Errno::kEOPNOTSUPP;  // exportfs_can_encode_fh()
}

SyscallResult sys_open_by_handle_at(Task& task, int32_t mount_fd, UserAddr handle, int32_t) {
  // handle_to_path().
  if (mount_fd != abi::kAT_FDCWD) TRY(task.fds().GetAny(mount_fd));
  if (!task.creds().Has(abi::kCAP_DAC_READ_SEARCH)) return abi::Errno::kEPERM;
  abi::FileHandle h;
  TRY(task.mm().CopyIn(&h, handle, sizeof h));
  if (h.handle_bytes == 0 || h.handle_bytes > abi::kMAX_HANDLE_SZ) return abi::Errno::kEINVAL;
  uint8_t bytes[abi::kMAX_HANDLE_SZ];
  TRY(task.mm().CopyIn(bytes, UserAddr{handle.value + sizeof h}, h.handle_bytes));
  return abi::Errno::kESTALE;
}

SyscallResult sys_close(Task& task, int32_t fd) {
  base::Result<base::Ref<File>> f = task.fds().Remove(fd);
  if (!f.ok()) return f.error();
  base::Result<void> r = CloseFile(task.fds(), std::move(*f));
  // The descriptor is gone: a restart would close another one (filp_close()).
  if (!r.ok() && r.error().is_restart()) return abi::Errno::kEINTR;
  return r;
}

SyscallResult sys_close_range(Task& task, uint32_t first, uint32_t last, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(abi::kCLOSE_RANGE_UNSHARE | abi::kCLOSE_RANGE_CLOEXEC)) != 0)
    return abi::Errno::kEINVAL;
  if (first > last) return abi::Errno::kEINVAL;
  if ((flags & abi::kCLOSE_RANGE_UNSHARE) != 0 && task.fds().RefCount() > 1) {
    const bool tail = (flags & abi::kCLOSE_RANGE_CLOEXEC) == 0 && last + 1 >= task.fds().size();
    task.set_fds(task.fds().Clone(tail ? first : UINT32_MAX));
  }
  if ((flags & abi::kCLOSE_RANGE_CLOEXEC) != 0) {
    task.fds().SetCloexecRange(first, last);
    return 0;
  }
  for (base::Ref<File>& f : task.fds().RemoveRange(first, last))
    (void)CloseFile(task.fds(), std::move(f));
  return 0;
}

SyscallResult sys_dup(Task& task, int32_t fd) {
  base::Result<base::Ref<File>> f = task.fds().GetAny(fd);
  if (!f.ok()) return f.error();
  return InstallFile(task, std::move(*f), false);
}

namespace {

SyscallResult Replace(Task& task, int32_t oldfd, int32_t newfd, bool cloexec) {
  FdTable& t = task.fds();
  // ksys_dup3(): newfd's limit comes before oldfd's validity.
  if (static_cast<uint32_t>(newfd) >= task.FileLimit()) return abi::Errno::kEBADF;
  base::Result<base::Ref<File>> f = t.GetAny(oldfd);
  if (!f.ok()) return f.error();
  base::Result<base::Ref<File>> old = t.InstallAt(newfd, std::move(*f), cloexec, task.FileLimit());
  if (!old.ok()) return old.error();
  if (*old) (void)CloseFile(t, std::move(*old));
  return newfd;
}

}  // namespace

SyscallResult sys_dup2(Task& task, int32_t oldfd, int32_t newfd) {
  if (oldfd == newfd) {
    base::Result<base::Ref<File>> f = task.fds().GetAny(oldfd);
    if (!f.ok()) return f.error();
    return newfd;
  }
  return Replace(task, oldfd, newfd, false);
}

SyscallResult sys_dup3(Task& task, int32_t oldfd, int32_t newfd, int32_t flags) {
  if ((flags & ~abi::kO_CLOEXEC) != 0 || oldfd == newfd) return abi::Errno::kEINVAL;
  return Replace(task, oldfd, newfd, (flags & abi::kO_CLOEXEC) != 0);
}

}  // namespace syscalls
