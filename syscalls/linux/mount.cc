// mount(2), umount2(2), pivot_root(2) (fs/namespace.c).
#include "syscalls/abi/mount.h"

#include <algorithm>
#include <cstring>

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/capability.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::Path;
using sentry::Vfs;

namespace {

constexpr uint64_t kMountFlags = abi::kMS_RDONLY | abi::kMS_NOSUID | abi::kMS_NODEV |
                                 abi::kMS_NOEXEC | abi::kMS_NOATIME | abi::kMS_NODIRATIME |
                                 abi::kMS_STRICTATIME | abi::kMS_NOSYMFOLLOW;

// may_mount().
base::Result<void> MayMount(Task& task) {
  base::Ref<sentry::MountNamespace> ns = task.mounts_ref();
  if (!task.creds().HasIn(*ns->owner(), abi::kCAP_SYS_ADMIN)) return abi::Errno::kEPERM;
  return {};
}

// copy_mount_options(): up to a page, as much as is there, cut at the NUL.
base::Result<std::string> MountData(Task& task, UserAddr data) {
  if (data.null()) return std::string();
  char page[4096];
  const size_t n = task.mm().CopyInPartial(page, data, sizeof page);
  if (n == 0) return abi::Errno::kEFAULT;
  return std::string(page, strnlen(page, n));
}

base::Result<std::string> Optional(Task& task, UserCString s) {
  if (s.null()) return std::string();
  return s.Fetch(task.mm());
}

base::Result<void> NewMount(Task& task, const AtPath& at, const Path& p, std::string_view type,
                            std::string_view source, uint32_t flags, std::string_view data) {
  if (type.empty()) return abi::Errno::kEINVAL;
  for (const Vfs::FsType& t : Vfs::fs_types()) {
    if (type != t.name) continue;
    if (t.mount == nullptr) return abi::Errno::kEPERM;
    base::Ref<sentry::Inode> root = TRY(t.mount(task.kernel(), task.creds(), source, data));
    base::Ref<sentry::Superblock> sb(&root->sb());
    TRY(at.ctx().mounts.Attach(std::move(sb),
                               base::MakeRef<sentry::Dentry>(nullptr, "", std::move(root)), p,
                               flags, std::string(source)));
    return {};
  }
  return abi::Errno::kENODEV;
}

}  // namespace

SyscallResult sys_mount(Task& task, UserCString source, UserCString target, UserCString fstype,
                        uint64_t flags, UserAddr data) {
  auto run = [&]() -> base::Result<void> {
    const std::string type = TRY(Optional(task, fstype));
    const std::string from = TRY(Optional(task, source));
    const std::string options = TRY(MountData(task, data));
    if ((flags & abi::kMS_MGC_MSK) == abi::kMS_MGC_VAL) flags &= ~uint64_t{abi::kMS_MGC_MSK};
    AtPath at(task);
    TRY(at.Set(abi::kAT_FDCWD, target));
    Path p = TRY(at.Find());
    TRY(MayMount(task));
    sentry::MountNamespace& ns = at.ctx().mounts;
    const uint32_t mflags = static_cast<uint32_t>(flags & kMountFlags);
    if ((flags & abi::kMS_REMOUNT) != 0) {
      // Superblock options of what is mounted already do not change.
      return ns.Remount(p, mflags);
    }
    if ((flags & abi::kMS_BIND) != 0) {
      if (from.empty()) return abi::Errno::kEINVAL;
      Path src = TRY(Vfs::Resolve(at.ctx(), nullptr, from, {}));
      return ns.Bind(src, p, (flags & abi::kMS_REC) != 0);
    }
    constexpr uint64_t kPropagation =
        abi::kMS_SHARED | abi::kMS_PRIVATE | abi::kMS_SLAVE | abi::kMS_UNBINDABLE;
    if ((flags & kPropagation) != 0) {
      const uint64_t kind = flags & kPropagation;
      if ((kind & (kind - 1)) != 0 ||
          (flags & ~(kPropagation | abi::kMS_REC | abi::kMS_SILENT)) != 0) {
        return abi::Errno::kEINVAL;
      }
      if (!(p.dentry == p.mount->root())) return abi::Errno::kEINVAL;
      // Every mount is private: a shared one without peers behaves the same.
      return {};
    }
    if ((flags & abi::kMS_MOVE) != 0) {
      if (from.empty()) return abi::Errno::kEINVAL;
      Path src = TRY(Vfs::Resolve(at.ctx(), nullptr, from, {}));
      return ns.Move(src, p);
    }
    return NewMount(task, at, p, type, from, mflags, options);
  };
  return run();
}

SyscallResult sys_umount2(Task& task, UserCString target, int32_t flags) {
  constexpr int32_t kKnown =
      abi::kMNT_FORCE | abi::kMNT_DETACH | abi::kMNT_EXPIRE | abi::kUMOUNT_NOFOLLOW;
  if ((flags & ~kKnown) != 0) return abi::Errno::kEINVAL;
  auto run = [&]() -> base::Result<void> {
    AtPath at(task);
    TRY(at.Set(abi::kAT_FDCWD, target));
    Path p = TRY(at.Find((flags & abi::kUMOUNT_NOFOLLOW) == 0));
    TRY(MayMount(task));
    if ((flags & abi::kMNT_EXPIRE) != 0 && (flags & (abi::kMNT_FORCE | abi::kMNT_DETACH)) != 0)
      return abi::Errno::kEINVAL;
    return at.ctx().mounts.Unmount(p, static_cast<uint32_t>(flags));
  };
  return run();
}

SyscallResult sys_pivot_root(Task& task, UserCString new_root, UserCString put_old) {
  auto run = [&]() -> base::Result<void> {
    TRY(MayMount(task));
    sentry::ResolveFlags dir;
    dir.directory = true;
    AtPath a(task), b(task);
    TRY(a.Set(abi::kAT_FDCWD, new_root));
    Path fresh = TRY(Vfs::Resolve(a.ctx(), a.start(), a.path(), dir));
    TRY(b.Set(abi::kAT_FDCWD, put_old));
    Path old_place = TRY(Vfs::Resolve(b.ctx(), b.start(), b.path(), dir));
    const Path old = a.ctx().root;
    TRY(a.ctx().mounts.PivotRoot(old, fresh, old_place));
    // chroot_fs_refs(): whoever stood at the old root stands at the new one.
    std::vector<base::Ref<sentry::FsContext>> all;
    {
      base::MutexLock l(task.kernel().tree_mu);
      for (sentry::Task* t : task.kernel().root_pid_ns()->Tasks()) {
        if (base::Ref<sentry::FsContext> fs = t->fs_ref()) all.push_back(std::move(fs));
      }
    }
    for (const base::Ref<sentry::FsContext>& fs : all) {
      if (fs->root() == old) fs->set_root(fresh);
      if (fs->cwd() == old) fs->set_cwd(fresh);
    }
    return {};
  };
  return run();
}

}  // namespace syscalls
