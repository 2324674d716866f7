// open(2) (fs/namei.c do_open(), fs/open.c).
#include "sentry/vfs/walk.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/inotify.h"

namespace sentry {
namespace {

Vfs::OpenSpecial open_fifo = nullptr;
Vfs::OpenSpecial open_device = nullptr;
std::span<const Vfs::FsType> the_fs_types;

constexpr uint32_t kCreationFlags =
    abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY | abi::kO_TRUNC | abi::kO_CLOEXEC;
constexpr uint32_t kTmpfileBit = abi::kO_TMPFILE & ~abi::kO_DIRECTORY;

uint32_t Access(uint32_t flags) {
  uint32_t acc = 0;
  switch (flags & abi::kO_ACCMODE) {
    case abi::kO_RDONLY:
      acc = kMayRead;
      break;
    case abi::kO_WRONLY:
      acc = kMayWrite;
      break;
    default:
      acc = kMayRead | kMayWrite;
  }
  if ((flags & abi::kO_TRUNC) != 0) acc |= kMayWrite;
  return acc;
}

base::Ref<File> Ready(const VfsContext& ctx, const Path& p, const OpenFlags& how,
                      base::Ref<File> f) {
  f->set_path(p);
  f->set_flags(how.flags & ~kCreationFlags);
  f->set_creds(base::Ref<const Creds>(&ctx.creds));
  return f;
}

base::Result<base::Ref<File>> OpenTmpfile(const VfsContext& ctx, StartAt start,
                                          std::string_view path, const OpenFlags& how,
                                          ResolveFlags resolve) {
  resolve.directory = true;
  resolve.follow = (how.flags & abi::kO_NOFOLLOW) == 0;
  Path dir = TRY(Vfs::Resolve(ctx, start, path, resolve));
  if (dir.mount->read_only()) return abi::Errno::kEROFS;
  Inode& d = *dir.dentry->inode();
  TRY(d.Permission(ctx.creds, kMayWrite | kMayExec));
  CreateArgs a{ctx.creds, (how.mode & 07777 & ~ctx.umask) | abi::kS_IFREG, ctx.creds.fsuid,
               ctx.creds.fsgid, 0};
  if (Inode::Perm p = d.perm(); (p.mode & abi::kS_ISGID) != 0) a.gid = p.gid;
  a.unlinkable = (how.flags & abi::kO_EXCL) != 0;
  base::Ref<Inode> inode = TRY(d.Tmpfile(a));
  Path p{dir.mount, Dentry::NewUnhashed(dir.dentry, "#" + std::to_string(inode->ino()), inode)};
  base::Ref<File> f = TRY(inode->Open(p.dentry, OpenFlags{how.flags & ~kTmpfileBit, 0}, ctx.creds));
  f = Ready(ctx, p, how, std::move(f));
  TRY(inode->GetWriteAccess());
  f->HoldsWriteAccess();
  return f;
}

// may_create_in_sticky(): O_CREAT met somebody else's file in a directory like /tmp.
base::Result<void> MayCreateInSticky(const Creds& creds, const Path& at) {
  Inode& inode = *at.dentry->inode();
  int32_t level = 0;
  if (inode.is_reg()) level = Vfs::protected_regular.load(std::memory_order_relaxed);
  if (inode.type() == abi::kS_IFIFO) level = Vfs::protected_fifos.load(std::memory_order_relaxed);
  base::Ref<Dentry> dir = level != 0 ? at.dentry->parent() : nullptr;
  if (!dir) return {};
  const Inode::Perm d = dir->inode()->perm();
  if ((d.mode & abi::kS_ISVTX) == 0) return {};
  const uint32_t owner = inode.perm().uid;
  if (owner == d.uid || owner == creds.fsuid) return {};
  if ((d.mode & abi::kS_IWOTH) != 0 || (level >= 2 && (d.mode & abi::kS_IWGRP) != 0))
    return abi::Errno::kEACCES;
  return {};
}

}  // namespace

void Vfs::SetSpecialOpeners(OpenSpecial fifo, OpenSpecial device) {
  open_fifo = fifo;
  open_device = device;
}
void Vfs::SetFsTypes(std::span<const FsType> types) { the_fs_types = types; }
std::span<const Vfs::FsType> Vfs::fs_types() { return the_fs_types; }

base::Result<base::Ref<File>> Vfs::OpenFound(const VfsContext& ctx, const Path& p,
                                             const OpenFlags& how, bool created) {
  Inode& inode = *p.dentry->inode();
  uint32_t flags = how.flags;
  uint32_t acc = Access(flags);
  if (created) {
    flags &= ~static_cast<uint32_t>(abi::kO_TRUNC);
    acc = 0;
  }
  bool truncate = false;
  if (inode.is_reg() && (flags & abi::kO_TRUNC) != 0) {
    if (p.mount->read_only()) return abi::Errno::kEROFS;
    truncate = true;
  }
  // may_open().
  switch (inode.type()) {
    case abi::kS_IFLNK:
      return abi::Errno::kELOOP;
    case abi::kS_IFDIR:
      if ((acc & kMayWrite) != 0) return abi::Errno::kEISDIR;
      break;
    case abi::kS_IFBLK:
    case abi::kS_IFCHR:
      if ((p.mount->flags() & abi::kMS_NODEV) != 0) return abi::Errno::kEACCES;
      [[fallthrough]];
    case abi::kS_IFIFO:
    case abi::kS_IFSOCK:
      flags &= ~static_cast<uint32_t>(abi::kO_TRUNC);
      break;
    default:
      break;
  }
  if (acc != 0) TRY(inode.Permission(ctx.creds, acc));
  if ((flags & abi::kO_NOATIME) != 0 && !OwnerOrCapable(ctx.creds, inode.perm()))
    return abi::Errno::kEPERM;
  if ((acc & kMayWrite) != 0 && inode.is_reg() && p.mount->read_only()) return abi::Errno::kEROFS;

  const OpenFlags open{flags, how.mode};
  base::Ref<File> file;
  switch (inode.type()) {
    case abi::kS_IFIFO:
      if (open_fifo == nullptr) return abi::Errno::kENXIO;
      file = TRY(open_fifo(ctx, p, open));
      break;
    case abi::kS_IFBLK:
    case abi::kS_IFCHR:
      if (open_device == nullptr) return abi::Errno::kENXIO;
      file = TRY(open_device(ctx, p, open));
      break;
    case abi::kS_IFSOCK:
      return abi::Errno::kENXIO;
    default: {
      const bool writes = inode.is_reg() && open.writable();
      if (writes) TRY(inode.GetWriteAccess());
      base::Result<base::Ref<File>> opened = inode.Open(p.dentry, open, ctx.creds);
      if (!opened.ok()) {
        if (writes) inode.PutWriteAccess();
        return opened.error();
      }
      file = *std::move(opened);
      if (writes) {
        // Before it can be released.
        file->set_path(p);
        file->HoldsWriteAccess();
      }
    }
  }
  file = Ready(ctx, p, open, std::move(file));
  if (truncate) TRY(TruncateOpen(ctx, p, 0));
  NotifyFile(*file, abi::kIN_OPEN);
  return file;
}

base::Result<base::Ref<File>> Vfs::OpenPath(const VfsContext& ctx, const Path& p,
                                            const OpenFlags& how) {
  if ((how.flags & abi::kO_PATH) != 0)
    return Ready(ctx, p, how, base::MakeRef<File>(p, p.dentry->inode(), how.flags));
  return OpenFound(ctx, p, how, false);
}

base::Result<base::Ref<File>> Vfs::Open(const VfsContext& ctx, StartAt start, std::string_view path,
                                        const OpenFlags& how, ResolveFlags resolve) {
  const uint32_t flags = how.flags;
  if ((flags & abi::kO_PATH) == 0 && (flags & kTmpfileBit) != 0)
    return OpenTmpfile(ctx, start, path, how, resolve);
  const bool path_only = (flags & abi::kO_PATH) != 0;
  const bool create = !path_only && (flags & abi::kO_CREAT) != 0;
  const bool excl = create && (flags & abi::kO_EXCL) != 0;
  resolve.follow = (flags & abi::kO_NOFOLLOW) == 0 && !excl;

  Walker w(ctx, start, path, resolve);
  w.set_open_read(!path_only && OpenFlags{flags, 0}.readable() && !OpenFlags{flags, 0}.writable());
  TRY(w.ToParent());
  bool created = false;
  for (;;) {
    if (w.last().empty() || w.last() == ".") break;
    if (w.last() == "..") {
      TRY(w.DotDot());
      break;
    }
    if (create && w.trailing_slash()) return abi::Errno::kEISDIR;
    const base::Ref<Dentry>& dir = w.at().dentry;
    base::Ref<Dentry> child = TRY(w.Child());
    if (child->negative() && create) {
      // lookup_open().
      base::MutexLock l(dir->dir_mu);
      child = TRY(LookupChildLocked(ctx.creds, dir, w.last()));
      if (child->negative()) {
        if (w.at().mount->read_only()) return abi::Errno::kEROFS;
        Inode& d = *dir->inode();
        TRY(d.Permission(ctx.creds, kMayWrite | kMayExec));
        CreateArgs a{ctx.creds, (how.mode & 07777 & ~ctx.umask) | abi::kS_IFREG, ctx.creds.fsuid,
                     ctx.creds.fsgid, 0};
        if (Inode::Perm p = d.perm(); (p.mode & abi::kS_ISGID) != 0) {
          a.gid = p.gid;
          if ((a.mode & (abi::kS_ISGID | abi::kS_IXGRP)) == (abi::kS_ISGID | abi::kS_IXGRP) &&
              !ctx.creds.InGroup(p.gid) && !CapableOver(ctx.creds, p, abi::kCAP_FSETID)) {
            a.mode &= ~static_cast<uint32_t>(abi::kS_ISGID);
          }
        }
        base::Result<base::Ref<Inode>> made = d.Create(w.last(), a);
        if (made.ok()) {
          child = dir->AddChild(w.last(), std::move(*made));
          created = true;
        } else if (!excl && made.is(abi::Errno::kEEXIST)) {
          dir->DropChild(w.last());
          child = TRY(LookupChildLocked(ctx.creds, dir, w.last()));
        } else {
          return made.error();
        }
      }
    }
    if (child->negative()) return abi::Errno::kENOENT;
    if (created) {
      NotifyName(w.at(), w.last(), child->inode().get(), abi::kIN_CREATE, 0);
    } else if (child->inode()->is_symlink() && !child->mounted() && w.follow()) {
      if (MagicLink::Is(*child->inode()) && !path_only && !resolve.no_magiclinks &&
          !resolve.no_symlinks) {
        base::Result<base::Ref<File>> f = static_cast<MagicLink&>(*child->inode()).Reopen(ctx, how);
        if (!f.is(abi::Errno::kENXIO)) return f;
      }
      TRY(w.FollowLast(child));
      TRY(w.ToParent());
      continue;
    }
    TRY(w.Enter(std::move(child)));
    break;
  }
  const Path& at = w.at();
  const bool is_dir = at.dentry->inode()->is_dir();
  if (create) {
    if (excl && !created) return abi::Errno::kEEXIST;
    if (is_dir) return abi::Errno::kEISDIR;
    if (!created) TRY(MayCreateInSticky(ctx.creds, at));
  }
  if ((w.must_be_dir() || (flags & abi::kO_DIRECTORY) != 0) && !is_dir) return abi::Errno::kENOTDIR;
  if (path_only) return Ready(ctx, at, how, base::MakeRef<File>(at, at.dentry->inode(), flags));
  return OpenFound(ctx, at, how, created);
}

}  // namespace sentry
