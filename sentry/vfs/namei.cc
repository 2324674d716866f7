// Making, removing and renaming names (fs/namei.c).
#include "sentry/vfs/walk.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/inotify.h"

namespace sentry {
namespace {

// may_create().
base::Result<void> MayCreate(const VfsContext& ctx, const Dentry& dir) {
  if (dir.unhashed()) return abi::Errno::kENOENT;
  const UserNamespace* ns = ctx.creds.user_ns.get();
  if (ns != nullptr && ns->level() != 0 &&
      (ns->UidFromGlobal(ctx.creds.fsuid) == UINT32_MAX ||
       ns->GidFromGlobal(ctx.creds.fsgid) == UINT32_MAX)) {
    return abi::Errno::kEOVERFLOW;
  }
  return dir.inode()->Permission(ctx.creds, kMayWrite | kMayExec);
}

// may_delete(). want_dir: rmdir, or rename of a directory over it.
base::Result<void> MayDelete(const VfsContext& ctx, const Path& dir, const Dentry& victim,
                             bool want_dir) {
  TRY(dir.dentry->inode()->Permission(ctx.creds, kMayWrite | kMayExec));
  // check_sticky().
  Inode::Perm d = dir.dentry->inode()->perm();
  if ((d.mode & abi::kS_ISVTX) != 0) {
    Inode::Perm v = victim.inode()->perm();
    if (v.uid != ctx.creds.fsuid && d.uid != ctx.creds.fsuid &&
        !CapableOver(ctx.creds, v, abi::kCAP_FOWNER)) {
      return abi::Errno::kEPERM;
    }
  }
  if (want_dir) {
    if (!victim.inode()->is_dir()) return abi::Errno::kENOTDIR;
  } else if (victim.inode()->is_dir()) {
    return abi::Errno::kEISDIR;
  }
  if (dir.dentry->unhashed()) return abi::Errno::kENOENT;
  return {};
}

// may_linkat(): nobody pins down a file that is not his and that he could not write.
base::Result<void> MayLink(const Creds& creds, Inode& inode) {
  if (Vfs::protected_hardlinks.load(std::memory_order_relaxed) == 0) return {};
  const Inode::Perm p = inode.perm();
  constexpr uint32_t kSetGid = abi::kS_ISGID | abi::kS_IXGRP;
  const bool safe = inode.is_reg() && (p.mode & abi::kS_ISUID) == 0 &&
                    (p.mode & kSetGid) != kSetGid &&
                    inode.Permission(creds, kMayRead | kMayWrite).ok();
  if (!safe && !OwnerOrCapable(creds, p)) return abi::Errno::kEPERM;
  return {};
}

// inode_init_owner() and mode_strip_sgid().
CreateArgs Owner(const VfsContext& ctx, Inode& dir, uint32_t mode, uint64_t rdev = 0) {
  CreateArgs a{ctx.creds, mode, ctx.creds.fsuid, ctx.creds.fsgid, rdev};
  Inode::Perm d = dir.perm();
  if ((d.mode & abi::kS_ISGID) != 0) {
    a.gid = d.gid;
    if (abi::S_IsDir(mode)) {
      a.mode |= abi::kS_ISGID;
    } else if ((mode & (abi::kS_ISGID | abi::kS_IXGRP)) == (abi::kS_ISGID | abi::kS_IXGRP) &&
               !ctx.creds.InGroup(d.gid) && !CapableOver(ctx.creds, d, abi::kCAP_FSETID)) {
      a.mode &= ~static_cast<uint32_t>(abi::kS_ISGID);
    }
  }
  return a;
}

// filename_create() and the operation: make(dir inode, name) returns the new inode.
template <typename Make>
base::Result<Path> MakeName(const VfsContext& ctx, StartAt start, std::string_view path,
                            bool is_dir, Make&& make) {
  Walker w(ctx, start, path, ResolveFlags{});
  TRY(w.ToParent());
  if (w.last().empty() || w.last_is_dot()) return abi::Errno::kEEXIST;
  Path dir = w.at();
  Path made;
  {
    base::MutexLock l(dir.dentry->dir_mu);
    base::Ref<Dentry> old = TRY(LookupChildLocked(ctx.creds, dir.dentry, w.last()));
    if (!old->negative()) return abi::Errno::kEEXIST;
    if (w.trailing_slash() && !is_dir) return abi::Errno::kENOENT;
    if (dir.mount->read_only()) return abi::Errno::kEROFS;
    TRY(MayCreate(ctx, *dir.dentry));
    base::Ref<Inode> inode = TRY(make(*dir.dentry->inode(), w.last()));
    made = Path{dir.mount, dir.dentry->AddChild(w.last(), std::move(inode))};
  }
  NotifyName(dir, w.last(), made.dentry->inode().get(), abi::kIN_CREATE, 0);
  return made;
}

// Whether a is d or above it.
bool IsAncestor(const Dentry& a, const base::Ref<Dentry>& d) {
  for (base::Ref<Dentry> p = d; p; p = p->parent()) {
    if (p.get() == &a) return true;
  }
  return false;
}

std::atomic<uint32_t> next_cookie{1};

}  // namespace

base::Result<void> Vfs::Mkdir(const VfsContext& ctx, StartAt start, std::string_view path,
                              uint32_t mode) {
  TRY(MakeName(ctx, start, path, true, [&](Inode& dir, std::string_view name) {
    // vfs_prepare_mode(): only the sticky bit survives beside the permissions.
    uint32_t m = (mode & (0777 | abi::kS_ISVTX) & ~ctx.umask) | abi::kS_IFDIR;
    return dir.Mkdir(name, Owner(ctx, dir, m));
  }));
  return {};
}

base::Result<void> Vfs::Mknod(const VfsContext& ctx, StartAt start, std::string_view path,
                              uint32_t mode, uint64_t rdev) {
  uint32_t type = mode & abi::kS_IFMT;
  if (type == 0) type = abi::kS_IFREG;
  // may_mknod().
  switch (type) {
    case abi::kS_IFREG:
    case abi::kS_IFCHR:
    case abi::kS_IFBLK:
    case abi::kS_IFIFO:
    case abi::kS_IFSOCK:
      break;
    case abi::kS_IFDIR:
      return abi::Errno::kEPERM;
    default:
      return abi::Errno::kEINVAL;
  }
  const bool device = type == abi::kS_IFCHR || type == abi::kS_IFBLK;
  TRY(MakeName(ctx, start, path, false,
               [&](Inode& dir, std::string_view name) -> base::Result<base::Ref<Inode>> {
                 const bool root_ns = !ctx.creds.user_ns || ctx.creds.user_ns->level() == 0;
                 if (device && !(type == abi::kS_IFCHR && rdev == 0) &&
                     !(root_ns && ctx.creds.Has(abi::kCAP_MKNOD))) {
                   return abi::Errno::kEPERM;
                 }
                 CreateArgs a =
                     Owner(ctx, dir, (mode & 07777 & ~ctx.umask) | type, device ? rdev : 0);
                 return type == abi::kS_IFREG ? dir.Create(name, a) : dir.Mknod(name, a);
               }));
  return {};
}

base::Result<Path> Vfs::MknodSocket(const VfsContext& ctx, std::string_view path, uint32_t mode) {
  base::Result<Path> r =
      MakeName(ctx, nullptr, path, false, [&](Inode& dir, std::string_view name) {
        return dir.Mknod(name, Owner(ctx, dir, (mode & 07777 & ~ctx.umask) | abi::kS_IFSOCK));
      });
  if (r.is(abi::Errno::kEEXIST)) return abi::Errno::kEADDRINUSE;
  return r;
}

base::Result<void> Vfs::Symlink(const VfsContext& ctx, std::string_view target, StartAt start,
                                std::string_view path) {
  if (target.empty()) return abi::Errno::kENOENT;
  TRY(MakeName(ctx, start, path, false, [&](Inode& dir, std::string_view name) {
    return dir.Symlink(name, target, Owner(ctx, dir, 0777 | abi::kS_IFLNK));
  }));
  return {};
}

base::Result<void> Vfs::Link(const VfsContext& ctx, const Path& old, StartAt start,
                             std::string_view path) {
  const base::Ref<Inode>& inode = old.dentry->inode();
  Walker w(ctx, start, path, ResolveFlags{});
  TRY(w.ToParent());
  if (w.last().empty() || w.last_is_dot()) return abi::Errno::kEEXIST;
  const Path& dir = w.at();
  {
    base::MutexLock l(dir.dentry->dir_mu);
    base::Ref<Dentry> present = TRY(LookupChildLocked(ctx.creds, dir.dentry, w.last()));
    if (!present->negative()) return abi::Errno::kEEXIST;
    if (w.trailing_slash()) return abi::Errno::kENOENT;
    if (dir.mount->read_only()) return abi::Errno::kEROFS;
    if (!(old.mount == dir.mount)) return abi::Errno::kEXDEV;
    TRY(MayLink(ctx.creds, *inode));
    TRY(MayCreate(ctx, *dir.dentry));
    if (&inode->sb() != &dir.dentry->inode()->sb()) return abi::Errno::kEXDEV;
    if (inode->is_dir()) return abi::Errno::kEPERM;
    TRY(dir.dentry->inode()->Link(w.last(), *inode));
    dir.dentry->AddChild(w.last(), inode);
  }
  NotifyInode(*inode, abi::kIN_ATTRIB);  // fsnotify_link_count()
  NotifyName(dir, w.last(), inode.get(), abi::kIN_CREATE, 0);
  return {};
}

base::Result<void> Vfs::Unlink(const VfsContext& ctx, StartAt start, std::string_view path) {
  Walker w(ctx, start, path, ResolveFlags{});
  TRY(w.ToParent());
  if (w.last().empty() || w.last_is_dot()) return abi::Errno::kEISDIR;
  const Path& dir = w.at();
  base::Ref<Dentry> victim;
  {
    base::MutexLock l(dir.dentry->dir_mu);
    // do_unlinkat(): the mount's write access comes before the look-up.
    if (dir.mount->read_only()) return abi::Errno::kEROFS;
    victim = TRY(LookupChildLocked(ctx.creds, dir.dentry, w.last()));
    if (victim->negative()) return abi::Errno::kENOENT;
    if (w.trailing_slash())
      return victim->inode()->is_dir() ? abi::Errno::kEISDIR : abi::Errno::kENOTDIR;
    TRY(MayDelete(ctx, dir, *victim, false));
    if (victim->mounted()) return abi::Errno::kEBUSY;
    TRY(dir.dentry->inode()->Unlink(w.last(), *victim->inode()));
    dir.dentry->DropChild(w.last());
  }
  NotifyInode(*victim->inode(), abi::kIN_ATTRIB);
  NotifyName(dir, w.last(), victim->inode().get(), abi::kIN_DELETE, 0);
  return {};
}

base::Result<void> Vfs::Rmdir(const VfsContext& ctx, StartAt start, std::string_view path) {
  Walker w(ctx, start, path, ResolveFlags{});
  TRY(w.ToParent());
  if (w.last().empty()) return abi::Errno::kEBUSY;
  if (w.last() == ".") return abi::Errno::kEINVAL;
  if (w.last() == "..") return abi::Errno::kENOTEMPTY;
  const Path& dir = w.at();
  base::Ref<Dentry> victim;
  {
    base::MutexLock tree(dir.dentry->inode()->sb().rename_mu);
    base::MutexLock l(dir.dentry->dir_mu);
    if (dir.mount->read_only()) return abi::Errno::kEROFS;
    victim = TRY(LookupChildLocked(ctx.creds, dir.dentry, w.last()));
    if (victim->negative()) return abi::Errno::kENOENT;
    TRY(MayDelete(ctx, dir, *victim, true));
    if (victim->mounted()) return abi::Errno::kEBUSY;
    victim->dir_mu.Lock(true);
    base::Result<void> r = dir.dentry->inode()->Rmdir(w.last(), *victim->inode());
    if (r.ok()) dir.dentry->DropChild(w.last());
    victim->dir_mu.Unlock(true);
    if (!r.ok()) return r;
  }
  // Negative names below a removed directory keep it alive for nothing.
  victim->Shrink(true);
  NotifyName(dir, w.last(), victim->inode().get(), abi::kIN_DELETE, 0);
  return {};
}

base::Result<void> Vfs::Rename(const VfsContext& ctx, StartAt old_start, std::string_view old_path,
                               StartAt new_start, std::string_view new_path, uint32_t flags) {
  const bool exchange = (flags & abi::kRENAME_EXCHANGE) != 0;
  const bool noreplace = (flags & abi::kRENAME_NOREPLACE) != 0;
  if ((flags & ~static_cast<uint32_t>(abi::kRENAME_NOREPLACE | abi::kRENAME_EXCHANGE)) != 0 ||
      (exchange && noreplace)) {
    return abi::Errno::kEINVAL;
  }
  Walker from(ctx, old_start, old_path, ResolveFlags{});
  TRY(from.ToParent());
  Walker to(ctx, new_start, new_path, ResolveFlags{});
  TRY(to.ToParent());
  const Path& od = from.at();
  const Path& nd = to.at();
  if (!(od.mount == nd.mount)) return abi::Errno::kEXDEV;
  if (from.last().empty() || from.last_is_dot()) return abi::Errno::kEBUSY;
  if (to.last().empty() || to.last_is_dot())
    return noreplace ? abi::Errno::kEEXIST : abi::Errno::kEBUSY;
  if (od.mount->read_only()) return abi::Errno::kEROFS;

  base::Ref<Dentry> old, target;
  bool new_is_dir = false;
  {
    base::MutexLock tree(od.dentry->inode()->sb().rename_mu);
    base::MutexLock2 dirs(od.dentry->dir_mu, nd.dentry->dir_mu);
    auto lookup = [&](const base::Ref<Dentry>& dir, std::string_view name)
                      NO_THREAD_SAFETY_ANALYSIS { return LookupChildLocked(ctx.creds, dir, name); };
    old = TRY(lookup(od.dentry, from.last()));
    if (old->negative()) return abi::Errno::kENOENT;
    target = TRY(lookup(nd.dentry, to.last()));
    if (noreplace && !target->negative()) return abi::Errno::kEEXIST;
    if (exchange) {
      if (target->negative()) return abi::Errno::kENOENT;
      if (!target->inode()->is_dir() && to.trailing_slash()) return abi::Errno::kENOTDIR;
    }
    if (!old->inode()->is_dir()) {
      if (!exchange && from.trailing_slash()) return abi::Errno::kENOTDIR;
      if (!exchange && to.trailing_slash()) return abi::Errno::kENOTDIR;
      if (exchange && from.trailing_slash()) return abi::Errno::kENOTDIR;
    }
    if (IsAncestor(*old, nd.dentry)) return abi::Errno::kEINVAL;
    if (!target->negative() && IsAncestor(*target, od.dentry))
      return exchange ? abi::Errno::kEINVAL : abi::Errno::kENOTEMPTY;

    // vfs_rename().
    const base::Ref<Inode>& moved = old->inode();
    const bool is_dir = moved->is_dir();
    if (moved == target->inode()) return {};
    TRY(MayDelete(ctx, od, *old, is_dir));
    if (target->negative()) {
      TRY(MayCreate(ctx, *nd.dentry));
    } else {
      new_is_dir = target->inode()->is_dir();
      TRY(MayDelete(ctx, nd, *target, exchange ? new_is_dir : is_dir));
    }
    if (!(od.dentry == nd.dentry)) {
      // ".." changes.
      if (is_dir) TRY(moved->Permission(ctx.creds, kMayWrite));
      if (exchange && new_is_dir) TRY(target->inode()->Permission(ctx.creds, kMayWrite));
    }
    if (old->mounted() || target->mounted()) return abi::Errno::kEBUSY;
    TRY(od.dentry->inode()->Rename(from.last(), *moved, *nd.dentry->inode(), to.last(),
                                   target->inode().get(), flags & abi::kRENAME_EXCHANGE));
    if (exchange) {
      Dentry::Exchange(old, od.dentry, from.last(), target, nd.dentry, to.last());
    } else {
      Dentry::Move(old, od.dentry, from.last(), nd.dentry, to.last());
    }
  }
  if (!exchange && new_is_dir) target->Shrink(true);
  const uint32_t cookie = next_cookie.fetch_add(1, std::memory_order_relaxed);
  // fsnotify_move().
  NotifyName(od, from.last(), old->inode().get(), abi::kIN_MOVED_FROM, cookie);
  NotifyName(nd, to.last(), old->inode().get(), abi::kIN_MOVED_TO, cookie);
  NotifyChange(Path{od.mount, old}, abi::kIN_MOVE_SELF);
  if (exchange) {
    const uint32_t c2 = next_cookie.fetch_add(1, std::memory_order_relaxed);
    NotifyName(nd, to.last(), target->inode().get(), abi::kIN_MOVED_FROM, c2);
    NotifyName(od, from.last(), target->inode().get(), abi::kIN_MOVED_TO, c2);
    NotifyChange(Path{nd.mount, target}, abi::kIN_MOVE_SELF);
  }
  return {};
}

}  // namespace sentry
