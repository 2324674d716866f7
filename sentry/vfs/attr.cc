// Attributes and extended attributes (fs/attr.c, fs/xattr.c, fs/open.c).
#include "sentry/vfs/file_caps.h"
#include "sentry/vfs/vfs.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/inotify.h"

namespace sentry {
namespace {

constexpr uint32_t kTimes =
    SetAttr::kAtime | SetAttr::kMtime | SetAttr::kAtimeNow | SetAttr::kMtimeNow;
constexpr uint32_t kTouch = SetAttr::kAtimeNow | SetAttr::kMtimeNow;

// setattr_should_drop_suidgid(): the mode without the set-id bits that an unprivileged change of
// content or owner takes away.
uint32_t WithoutSetId(const Creds& creds, const Inode::Perm& p) {
  uint32_t mode = p.mode & 07777;
  if ((mode & abi::kS_ISGID) != 0 &&
      ((mode & abi::kS_IXGRP) != 0 ||
       (!creds.InGroup(p.gid) && !CapableOver(creds, p, abi::kCAP_FSETID)))) {
    mode &= ~static_cast<uint32_t>(abi::kS_ISGID);
  }
  return mode & ~static_cast<uint32_t>(abi::kS_ISUID);
}

// cap_inode_killpriv(): who changes the content or owner of a program takes its capabilities away.
void DropFileCaps(Inode& inode) {
  if (any_file_caps.load(std::memory_order_relaxed) && inode.Getxattr(kFileCaps).ok())
    (void)inode.Removexattr(kFileCaps);
}

// notify_change() with setattr_prepare().
base::Result<void> Change(const VfsContext& ctx, const Mount* mount, Inode& inode, SetAttr a) {
  const Creds& creds = ctx.creds;
  if (mount != nullptr && mount->read_only()) return abi::Errno::kEROFS;
  const Inode::Perm p = inode.perm();
  if ((a.mask & kTimes) != 0 && (a.mask & SetAttr::kSize) == 0 && !OwnerOrCapable(creds, p)) {
    if ((a.mask & kTimes) != kTouch) return abi::Errno::kEPERM;
    TRY(inode.Permission(creds, kMayWrite));
  }
  if ((a.mask & SetAttr::kUid) != 0 && !(creds.fsuid == p.uid && a.uid == p.uid) &&
      !CapableOver(creds, p, abi::kCAP_CHOWN)) {
    return abi::Errno::kEPERM;
  }
  if ((a.mask & SetAttr::kGid) != 0 &&
      !(creds.fsuid == p.uid && (creds.InGroup(a.gid) || a.gid == p.gid)) &&
      !CapableOver(creds, p, abi::kCAP_CHOWN)) {
    return abi::Errno::kEPERM;
  }
  if ((a.mask & SetAttr::kMode) != 0) {
    if (!OwnerOrCapable(creds, p)) return abi::Errno::kEPERM;
    a.mode &= 07777;
    const uint32_t gid = (a.mask & SetAttr::kGid) != 0 ? a.gid : p.gid;
    if (!creds.InGroup(gid) && !CapableOver(creds, p, abi::kCAP_FSETID))
      a.mode &= ~static_cast<uint32_t>(abi::kS_ISGID);
  } else if (!inode.is_dir()) {
    uint32_t mode = p.mode & 07777;
    if ((a.mask & (SetAttr::kUid | SetAttr::kGid)) != 0) {
      mode = WithoutSetId(creds, p);
    } else if ((a.mask & SetAttr::kSize) != 0 && !creds.Has(abi::kCAP_FSETID)) {
      mode = WithoutSetId(creds, p);
    }
    if (mode != (p.mode & 07777)) {
      a.mask |= SetAttr::kMode;
      a.mode = mode;
    }
  }
  if ((a.mask & (SetAttr::kUid | SetAttr::kGid | SetAttr::kSize)) != 0 && inode.is_reg())
    DropFileCaps(inode);
  return inode.Setattr(creds, a);
}

// fsnotify_change().
uint32_t EventsOf(uint32_t mask) {
  uint32_t ev = 0;
  if ((mask & (SetAttr::kUid | SetAttr::kGid | SetAttr::kMode)) != 0) ev |= abi::kIN_ATTRIB;
  if ((mask & SetAttr::kSize) != 0) ev |= abi::kIN_MODIFY;
  const bool atime = (mask & (SetAttr::kAtime | SetAttr::kAtimeNow)) != 0;
  const bool mtime = (mask & (SetAttr::kMtime | SetAttr::kMtimeNow)) != 0;
  if (atime && mtime) {
    ev |= abi::kIN_ATTRIB;
  } else if (atime) {
    ev |= abi::kIN_ACCESS;
  } else if (mtime) {
    ev |= abi::kIN_MODIFY;
  }
  return ev;
}

bool HasPrefix(std::string_view s, std::string_view prefix) {
  return s.substr(0, prefix.size()) == prefix && s.size() > prefix.size();
}

// xattr_permission() and the capability rules of security/commoncap.c.
base::Result<void> XattrAccess(const VfsContext& ctx, const Path& p, std::string_view name,
                               bool write) {
  Inode& inode = *p.dentry->inode();
  if (write && p.mount->read_only()) return abi::Errno::kEROFS;
  if (HasPrefix(name, "security.")) {
    if (!write) return {};
    const int cap = name == kFileCaps ? abi::kCAP_SETFCAP : abi::kCAP_SYS_ADMIN;
    if (!CapableOver(ctx.creds, inode.perm(), cap)) return abi::Errno::kEPERM;
    return {};
  }
  if (HasPrefix(name, "trusted.")) {
    if (!ctx.creds.Has(abi::kCAP_SYS_ADMIN))
      return write ? abi::Errno::kEPERM : abi::Errno::kENODATA;
    return {};
  }
  if (!HasPrefix(name, "user.")) return abi::Errno::kEOPNOTSUPP;
  if (!inode.is_reg() && !inode.is_dir()) return write ? abi::Errno::kEPERM : abi::Errno::kENODATA;
  const Inode::Perm perm = inode.perm();
  if (write && inode.is_dir() && (perm.mode & abi::kS_ISVTX) != 0 &&
      !OwnerOrCapable(ctx.creds, perm)) {
    return abi::Errno::kEPERM;
  }
  return inode.Permission(ctx.creds, write ? kMayWrite : kMayRead);
}

}  // namespace

base::Result<void> Vfs::Setattr(const VfsContext& ctx, const Path& p, const SetAttr& a) {
  TRY(Change(ctx, p.mount.get(), *p.dentry->inode(), a));
  NotifyChange(p, EventsOf(a.mask));
  return {};
}

base::Result<void> Vfs::SetattrFile(const VfsContext& ctx, const File& file, const SetAttr& a) {
  if (file.path()) return Setattr(ctx, file.path(), a);
  return Change(ctx, nullptr, *file.inode(), a);
}

base::Result<void> Vfs::Truncate(const VfsContext& ctx, const Path& p, uint64_t size) {
  Inode& inode = *p.dentry->inode();
  if (inode.is_dir()) return abi::Errno::kEISDIR;
  if (!inode.is_reg()) return abi::Errno::kEINVAL;
  if (p.mount->read_only()) return abi::Errno::kEROFS;
  TRY(inode.Permission(ctx.creds, kMayWrite));
  return TruncateOpen(ctx, p, size);
}

base::Result<void> Vfs::TruncateOpen(const VfsContext& ctx, const Path& p, uint64_t size) {
  Inode& inode = *p.dentry->inode();
  SetAttr a;
  a.mask = SetAttr::kSize | SetAttr::kTruncateOpen;
  a.size = size;
  TRY(inode.GetWriteAccess());
  base::Result<void> r = Setattr(ctx, p, a);
  inode.PutWriteAccess();
  return r;
}

base::Result<void> Vfs::RemovePrivs(const Creds& creds, File& file) {
  Inode& inode = file.attr_inode();
  if (!inode.is_reg()) return {};
  DropFileCaps(inode);
  const Inode::Perm p = inode.perm();
  if ((p.mode & (abi::kS_ISUID | abi::kS_ISGID)) == 0 || creds.Has(abi::kCAP_FSETID)) return {};
  SetAttr a;
  a.mask = SetAttr::kMode;
  a.mode = WithoutSetId(creds, p);
  if (a.mode == (p.mode & 07777)) return {};
  return inode.Setattr(creds, a);
}

base::Result<void> Vfs::CheckAccess(const VfsContext& ctx, const Path& p, uint32_t mask) {
  Inode& inode = *p.dentry->inode();
  if ((mask & kMayExec) != 0 && inode.is_reg() && (p.mount->flags() & abi::kMS_NOEXEC) != 0)
    return abi::Errno::kEACCES;
  TRY(inode.Permission(ctx.creds, mask));
  // access(2) reports the read-only file system only when the mode would allow the write.
  if ((mask & kMayWrite) != 0 && p.mount->read_only() &&
      (inode.is_reg() || inode.is_dir() || inode.is_symlink())) {
    return abi::Errno::kEROFS;
  }
  return {};
}

base::Result<std::string> Vfs::Getxattr(const VfsContext& ctx, const Path& p,
                                        std::string_view name) {
  TRY(XattrAccess(ctx, p, name, false));
  return p.dentry->inode()->Getxattr(name);
}

base::Result<void> Vfs::Setxattr(const VfsContext& ctx, const Path& p, std::string_view name,
                                 std::string_view value, int flags) {
  TRY(XattrAccess(ctx, p, name, true));
  TRY(p.dentry->inode()->Setxattr(name, value, flags));
  if (name == kFileCaps) any_file_caps.store(true, std::memory_order_relaxed);
  NotifyChange(p, abi::kIN_ATTRIB);
  return {};
}

base::Result<std::vector<std::string>> Vfs::Listxattr(const VfsContext& ctx, const Path& p) {
  std::vector<std::string> names = TRY(p.dentry->inode()->Listxattr());
  if (!ctx.creds.Has(abi::kCAP_SYS_ADMIN))
    std::erase_if(names, [](const std::string& n) { return HasPrefix(n, "trusted."); });
  return names;
}

base::Result<void> Vfs::Removexattr(const VfsContext& ctx, const Path& p, std::string_view name) {
  TRY(XattrAccess(ctx, p, name, true));
  TRY(p.dentry->inode()->Removexattr(name));
  NotifyChange(p, abi::kIN_ATTRIB);
  return {};
}

}  // namespace sentry
