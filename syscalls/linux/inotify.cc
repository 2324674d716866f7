// inotify_init1(2), inotify_add_watch(2), inotify_rm_watch(2).
#include "sentry/fs/inotify/inotify.h"

#include "syscalls/abi/inotify.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::FileCast;
using sentry::InotifyFile;
using sentry::Path;
using sentry::Vfs;

SyscallResult sys_inotify_init1(Task& task, int32_t flags) {
  if ((flags & ~(abi::kIN_CLOEXEC | abi::kIN_NONBLOCK)) != 0) return abi::Errno::kEINVAL;
  base::Ref<File> f = base::MakeRef<InotifyFile>(
      static_cast<uint32_t>(abi::kO_RDONLY | (flags & abi::kIN_NONBLOCK)));
  return InstallFile(task, std::move(f), (flags & abi::kIN_CLOEXEC) != 0);
}

SyscallResult sys_inotify_init(Task& task) { return sys_inotify_init1(task, 0); }

SyscallResult sys_inotify_add_watch(Task& task, int32_t fd, UserCString path, uint32_t mask) {
  constexpr uint32_t kKnown = abi::kIN_ALL_EVENTS | abi::kIN_UNMOUNT | abi::kIN_Q_OVERFLOW |
                              abi::kIN_IGNORED | abi::kIN_ONLYDIR | abi::kIN_DONT_FOLLOW |
                              abi::kIN_EXCL_UNLINK | abi::kIN_MASK_CREATE | abi::kIN_MASK_ADD |
                              abi::kIN_ISDIR | abi::kIN_ONESHOT;
  if ((mask & kKnown) == 0) return abi::Errno::kEINVAL;
  auto run = [&]() -> base::Result<int32_t> {
    base::Ref<File> file = TRY(task.fds().Get(fd));
    if ((mask & abi::kIN_MASK_ADD) != 0 && (mask & abi::kIN_MASK_CREATE) != 0)
      return abi::Errno::kEINVAL;
    InotifyFile* f = FileCast<InotifyFile>(file.get());
    if (f == nullptr) return abi::Errno::kEINVAL;
    AtPath at(task);
    TRY(at.Set(abi::kAT_FDCWD, path));
    sentry::ResolveFlags rf;
    rf.follow = (mask & abi::kIN_DONT_FOLLOW) == 0;
    rf.directory = (mask & abi::kIN_ONLYDIR) != 0;
    Path p = TRY(Vfs::Resolve(at.ctx(), at.start(), at.path(), rf));
    TRY(Vfs::CheckAccess(at.ctx(), p, sentry::kMayRead));
    base::MutexLock l(f->pos_mu);
    return f->instance().AddWatch(p.dentry->inode(), mask);
  };
  return run();
}

SyscallResult sys_inotify_rm_watch(Task& task, int32_t fd, int32_t wd) {
  base::Result<base::Ref<File>> file = task.fds().Get(fd);
  if (!file.ok()) return file.error();
  InotifyFile* f = FileCast<InotifyFile>(file->get());
  if (f == nullptr) return abi::Errno::kEINVAL;
  base::MutexLock l(f->pos_mu);
  return f->instance().RemoveWatch(wd);
}

}  // namespace syscalls
