// Names: mkdir(2), unlink(2), link(2), symlink(2), readlink(2), rename(2), mknod(2); chdir(2),
// chroot(2), getcwd(2), umask(2).
#include <algorithm>

#include "syscalls/abi/capability.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::Path;
using sentry::Vfs;

namespace {

SyscallResult DoMkdir(Task& task, int32_t dirfd, UserCString path, uint32_t mode) {
  AtPath at(task);
  if (base::Result<void> r = at.Set(dirfd, path); !r.ok()) return r;
  return Vfs::Mkdir(at.ctx(), at.start(), at.path(), mode);
}

// new_decode_dev().
uint64_t DecodeDev(uint32_t dev) {
  return abi::MakeDev((dev & 0xfff00) >> 8, (dev & 0xff) | ((dev >> 12) & 0xfff00));
}

SyscallResult DoMknod(Task& task, int32_t dirfd, UserCString path, uint32_t mode, uint32_t dev) {
  AtPath at(task);
  if (base::Result<void> r = at.Set(dirfd, path); !r.ok()) return r;
  return Vfs::Mknod(at.ctx(), at.start(), at.path(), mode, DecodeDev(dev));
}

SyscallResult DoUnlink(Task& task, int32_t dirfd, UserCString path, bool dir) {
  AtPath at(task);
  if (base::Result<void> r = at.Set(dirfd, path); !r.ok()) return r;
  return dir ? Vfs::Rmdir(at.ctx(), at.start(), at.path())
             : Vfs::Unlink(at.ctx(), at.start(), at.path());
}

SyscallResult DoRename(Task& task, int32_t olddirfd, UserCString oldpath, int32_t newdirfd,
                       UserCString newpath, uint32_t flags) {
  constexpr uint32_t kNoreplace = abi::kRENAME_NOREPLACE, kExchange = abi::kRENAME_EXCHANGE,
                     kWhiteout = abi::kRENAME_WHITEOUT;
  if ((flags & ~(kNoreplace | kExchange | kWhiteout)) != 0) return abi::Errno::kEINVAL;
  if ((flags & (kNoreplace | kWhiteout)) != 0 && (flags & kExchange) != 0)
    return abi::Errno::kEINVAL;
  AtPath from(task), to(task);
  if (base::Result<void> r = from.Set(olddirfd, oldpath); !r.ok()) return r;
  if (base::Result<void> r = to.Set(newdirfd, newpath); !r.ok()) return r;
  return Vfs::Rename(from.ctx(), from.start(), from.path(), to.start(), to.path(), flags);
}

SyscallResult DoLink(Task& task, int32_t olddirfd, UserCString oldpath, int32_t newdirfd,
                     UserCString newpath, int32_t flags) {
  if ((flags & ~(abi::kAT_SYMLINK_FOLLOW | abi::kAT_EMPTY_PATH)) != 0) return abi::Errno::kEINVAL;
  auto run = [&]() -> base::Result<void> {
    const bool empty = (flags & abi::kAT_EMPTY_PATH) != 0;
    AtPath from(task), to(task);
    TRY(from.Set(olddirfd, oldpath, empty));
    if (empty && from.empty() && !task.creds().Has(abi::kCAP_DAC_READ_SEARCH)) {
      // linkat(2): allowed to whoever opened the file with the same credentials.
      if (!from.file() || !(from.file()->creds() == task.creds_ref())) return abi::Errno::kENOENT;
    }
    TRY(to.Set(newdirfd, newpath));
    Path old = TRY(from.Find((flags & abi::kAT_SYMLINK_FOLLOW) != 0));
    return Vfs::Link(from.ctx(), old, to.start(), to.path());
  };
  return run();
}

SyscallResult DoReadlink(Task& task, int32_t dirfd, UserCString path, UserAddr buf,
                         int32_t bufsiz) {
  if (bufsiz <= 0) return abi::Errno::kEINVAL;
  auto run = [&]() -> base::Result<uint64_t> {
    AtPath at(task);
    base::Result<void> set = at.Set(dirfd, path, true);
    if (!set.ok()) return set.error();
    // An empty path reads the link that dirfd itself is (O_PATH | O_NOFOLLOW).
    if (at.empty() && dirfd == abi::kAT_FDCWD) return abi::Errno::kENOENT;
    Path p = TRY(at.Find(false));
    if (!p.dentry->inode()->is_symlink())
      return at.empty() ? abi::Errno::kENOENT : abi::Errno::kEINVAL;
    std::string text = TRY(p.dentry->inode()->Readlink(task.creds()));
    const size_t n = std::min(text.size(), static_cast<size_t>(bufsiz));
    TRY(task.mm().CopyOut(buf, text.data(), n));
    return uint64_t{n};
  };
  return run();
}

base::Result<Path> FindDirectory(Task& task, UserCString path) {
  AtPath at(task);
  TRY(at.Set(abi::kAT_FDCWD, path));
  sentry::ResolveFlags rf;
  rf.directory = true;
  Path p = TRY(Vfs::Resolve(at.ctx(), at.start(), at.path(), rf));
  TRY(Vfs::CheckAccess(at.ctx(), p, sentry::kMayExec));
  return p;
}

}  // namespace

SyscallResult sys_mkdir(Task& task, UserCString path, uint32_t mode) {
  return DoMkdir(task, abi::kAT_FDCWD, path, mode);
}
SyscallResult sys_mkdirat(Task& task, int32_t dirfd, UserCString path, uint32_t mode) {
  return DoMkdir(task, dirfd, path, mode);
}
SyscallResult sys_mknod(Task& task, UserCString path, uint32_t mode, uint32_t dev) {
  return DoMknod(task, abi::kAT_FDCWD, path, mode, dev);
}
SyscallResult sys_mknodat(Task& task, int32_t dirfd, UserCString path, uint32_t mode,
                          uint32_t dev) {
  return DoMknod(task, dirfd, path, mode, dev);
}
SyscallResult sys_rmdir(Task& task, UserCString path) {
  return DoUnlink(task, abi::kAT_FDCWD, path, true);
}
SyscallResult sys_unlink(Task& task, UserCString path) {
  return DoUnlink(task, abi::kAT_FDCWD, path, false);
}
SyscallResult sys_unlinkat(Task& task, int32_t dirfd, UserCString path, int32_t flags) {
  if ((flags & ~abi::kAT_REMOVEDIR) != 0) return abi::Errno::kEINVAL;
  return DoUnlink(task, dirfd, path, (flags & abi::kAT_REMOVEDIR) != 0);
}
SyscallResult sys_rename(Task& task, UserCString oldpath, UserCString newpath) {
  return DoRename(task, abi::kAT_FDCWD, oldpath, abi::kAT_FDCWD, newpath, 0);
}
SyscallResult sys_renameat(Task& task, int32_t olddirfd, UserCString oldpath, int32_t newdirfd,
                           UserCString newpath) {
  return DoRename(task, olddirfd, oldpath, newdirfd, newpath, 0);
}
SyscallResult sys_renameat2(Task& task, int32_t olddirfd, UserCString oldpath, int32_t newdirfd,
                            UserCString newpath, uint32_t flags) {
  return DoRename(task, olddirfd, oldpath, newdirfd, newpath, flags);
}
SyscallResult sys_link(Task& task, UserCString oldpath, UserCString newpath) {
  return DoLink(task, abi::kAT_FDCWD, oldpath, abi::kAT_FDCWD, newpath, 0);
}
SyscallResult sys_linkat(Task& task, int32_t olddirfd, UserCString oldpath, int32_t newdirfd,
                         UserCString newpath, int32_t flags) {
  return DoLink(task, olddirfd, oldpath, newdirfd, newpath, flags);
}

SyscallResult sys_symlinkat(Task& task, UserCString target, int32_t newdirfd,
                            UserCString linkpath) {
  base::Result<std::string> text = target.Fetch(task.mm());
  if (!text.ok()) return text.error();
  if (text->empty()) return abi::Errno::kENOENT;
  AtPath at(task);
  if (base::Result<void> r = at.Set(newdirfd, linkpath); !r.ok()) return r;
  return Vfs::Symlink(at.ctx(), *text, at.start(), at.path());
}
SyscallResult sys_symlink(Task& task, UserCString target, UserCString linkpath) {
  return sys_symlinkat(task, target, abi::kAT_FDCWD, linkpath);
}

SyscallResult sys_readlink(Task& task, UserCString path, UserAddr buf, int32_t bufsiz) {
  return DoReadlink(task, abi::kAT_FDCWD, path, buf, bufsiz);
}
SyscallResult sys_readlinkat(Task& task, int32_t dirfd, UserCString path, UserAddr buf,
                             int32_t bufsiz) {
  return DoReadlink(task, dirfd, path, buf, bufsiz);
}

SyscallResult sys_chdir(Task& task, UserCString path) {
  base::Result<Path> p = FindDirectory(task, path);
  if (!p.ok()) return p.error();
  task.fs().set_cwd(std::move(*p));
  return 0;
}

SyscallResult sys_fchdir(Task& task, int32_t fd) {
  base::Result<base::Ref<File>> f = task.fds().GetAny(fd);
  if (!f.ok()) return f.error();
  const Path p = Vfs::PlaceOf(**f);
  if (!p.dentry->inode()->is_dir()) return abi::Errno::kENOTDIR;
  AtPath at(task);
  if (base::Result<void> r = Vfs::CheckAccess(at.ctx(), p, sentry::kMayExec); !r.ok()) return r;
  task.fs().set_cwd(p);
  return 0;
}

SyscallResult sys_chroot(Task& task, UserCString path) {
  base::Result<Path> p = FindDirectory(task, path);
  if (!p.ok()) return p.error();
  if (!task.creds().Has(abi::kCAP_SYS_CHROOT)) return abi::Errno::kEPERM;
  task.fs().set_root(std::move(*p));
  return 0;
}

SyscallResult sys_getcwd(Task& task, UserAddr buf, uint64_t size) {
  const sentry::TaskVfs v = task.vfs();
  if (v.cwd.dentry->unhashed()) return abi::Errno::kENOENT;
  std::string name = Vfs::PathName(*v.mounts, v.root, v.cwd);
  const size_t n = name.size() + 1;
  if (n > sentry::kPathMax) return abi::Errno::kENAMETOOLONG;
  if (n > size) return abi::Errno::kERANGE;
  if (base::Result<void> r = task.mm().CopyOut(buf, name.c_str(), n); !r.ok()) return r;
  return n;
}

SyscallResult sys_umask(Task& task, int32_t mask) {
  return task.fs().SwapUmask(static_cast<uint32_t>(mask));
}

}  // namespace syscalls
