#include "runsc-cli/boot/guest_paths.h"

#include <algorithm>

#include "runsc-cli/boot/guest_ids.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/mm/io_buffer.h"
#include "syscalls/abi/mount.h"

namespace runsc {
namespace {

using base::Ref;
using base::Status;
using sentry::Path;
using sentry::Vfs;
using sentry::VfsContext;

std::string ErrnoText(base::Error e) { return abi::ErrnoName(e.guest_errno()); }

// A place of the tree mounted once more: what bind mounts are made of.
base::Result<void> AttachPlace(sentry::MountNamespace& mounts, const Path& place, const Path& at,
                               uint32_t flags) {
  Ref<sentry::Superblock> sb(&place.dentry->inode()->sb());
  TRY(mounts.Attach(sb, place.dentry, at, flags, sb->Source()));
  return {};
}

// A directory shows nothing any more, a file reads as empty.
base::Result<void> Mask(const VfsContext& ctx, const Path& at) {
  if (!at.dentry->inode()->is_dir()) {
    const Path null = TRY(Vfs::Resolve(ctx, nullptr, "/dev/null", {}));
    return AttachPlace(ctx.mounts, null, at, 0);
  }
  const Ref<sentry::Inode> empty = TRY(sentry::TmpfsSuperblock::Mount(ctx.creds, "size=0k"));
  TRY(ctx.mounts.Attach(Ref<sentry::Superblock>(&empty->sb()),
                        base::MakeRef<sentry::Dentry>(nullptr, "", empty), at, abi::kMS_RDONLY,
                        "tmpfs"));
  return {};
}

base::Result<void> MakeDevice(const VfsContext& ctx, const DeviceSpec& d, Owner owner) {
  for (size_t at = d.path.find('/', 1); at != std::string::npos; at = d.path.find('/', at + 1)) {
    base::Result<void> made = Vfs::Mkdir(ctx, nullptr, d.path.substr(0, at), 0755);
    if (!made.ok() && !made.is(abi::Errno::kEEXIST)) return made;
  }
  base::Result<void> made = Vfs::Mknod(ctx, nullptr, d.path, d.mode, d.rdev);
  if (!made.ok() && !made.is(abi::Errno::kEEXIST)) return made;
  const Path node = TRY(Vfs::Resolve(ctx, nullptr, d.path, {.follow = false}));
  sentry::SetAttr attr;
  attr.mask = sentry::SetAttr::kMode | sentry::SetAttr::kUid | sentry::SetAttr::kGid;
  attr.mode = d.mode & 07777;
  attr.uid = owner.uid;
  attr.gid = owner.gid;
  return Vfs::Setattr(ctx, node, attr);
}

base::Result<void> WriteSysctl(const VfsContext& ctx, std::string name, const std::string& value) {
  std::replace(name.begin(), name.end(), '.', '/');
  sentry::OpenFlags how;
  how.flags = abi::kO_WRONLY;
  const Ref<sentry::File> file = TRY(Vfs::Open(ctx, nullptr, "/proc/sys/" + name, how));
  std::string text = value + "\n";
  sentry::IoBuffer b = sentry::IoBuffer::Kernel(text.data(), text.size());
  uint64_t offset = 0;
  TRY(file->Write(b, &offset, 0));
  return {};
}

}  // namespace

Status PreparePaths(const Place& place, const sentry::Creds& creds, sentry::MountNamespace& mounts,
                    std::string* warnings) {
  const Spec& spec = *place.spec;
  const Path root = mounts.root();
  const VfsContext ctx{creds, root, root, mounts, 0};
  for (const DeviceSpec& d : spec.devices) {
    base::Result<void> r = MakeDevice(ctx, d, OwnerOf(place, d.uid, d.gid));
    if (!r.ok()) return Status::Error("making the device " + d.path + ": " + ErrnoText(r.error()));
  }
  for (const auto& [name, value] : spec.sysctl) {
    base::Result<void> r = WriteSysctl(ctx, name, value);
    if (!r.ok()) {
      *warnings += "config.json: linux.sysctl: " + name + " can't be set (" + ErrnoText(r.error()) +
                   ") and is ignored\n";
    }
  }
  for (const std::string& path : spec.readonly_paths) {
    base::Result<Path> at = Vfs::Resolve(ctx, nullptr, path, {});
    // As the specification says: what isn't there needs no protection.
    if (!at.ok()) continue;
    base::Result<void> r = AttachPlace(mounts, *at, *at, abi::kMS_RDONLY);
    if (!r.ok()) return Status::Error("linux.readonlyPaths: " + path + ": " + ErrnoText(r.error()));
  }
  for (const std::string& path : spec.masked_paths) {
    base::Result<Path> at = Vfs::Resolve(ctx, nullptr, path, {});
    if (!at.ok()) continue;
    base::Result<void> r = Mask(ctx, *at);
    if (!r.ok()) return Status::Error("linux.maskedPaths: " + path + ": " + ErrnoText(r.error()));
  }
  return {};
}

}  // namespace runsc
