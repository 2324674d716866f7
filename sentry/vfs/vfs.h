// The generic file system code: path walks, permission checks, and the operations behind the system
// calls. Everything takes the caller's view of the world as a VfsContext; there is no current task
// here.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/file.h"

namespace sentry {

// MAY_* bits of a permission check.
constexpr uint32_t kMayExec = 1, kMayWrite = 2, kMayRead = 4;

class MountNamespace : public base::RefCounted {
 public:
  MountNamespace(base::Ref<Superblock> root_sb, base::Ref<Inode> root_inode, uint32_t flags,
                 base::Ref<UserNamespace> owner);
  ~MountNamespace() override;
  Path root();
  const base::Ref<UserNamespace>& owner() const { return owner_; }

  // The topmost mount's root if something is mounted at p, repeatedly; else p itself.
  Path FollowMounts(Path p);
  // From the root of a mount to the place it is mounted on; false at the namespace's root.
  bool FollowUp(Path* p);
  // Attaches. EBUSY, ENOTDIR.
  base::Result<base::Ref<Mount>> Attach(base::Ref<Superblock> sb, base::Ref<Dentry> root,
                                        const Path& at, uint32_t flags, std::string source);
  // mount --bind and --rbind.
  base::Result<void> Bind(const Path& from, const Path& at, bool recursive);
  base::Result<void> Move(const Path& from, const Path& at);
  base::Result<void> Remount(const Path& at, uint32_t flags);
  // MNT_DETACH, MNT_FORCE, MNT_EXPIRE. EINVAL if p is no mount's root; EBUSY.
  base::Result<void> Unmount(const Path& p, uint32_t flags);
  // root: the caller's. EBUSY, EINVAL.
  base::Result<void> PivotRoot(const Path& root, const Path& new_root, const Path& put_old);
  base::Ref<MountNamespace> Clone(base::Ref<UserNamespace> owner, std::span<Path*> translate);

  struct Info {
    uint64_t id, parent_id;
    std::string mountpoint, root, source, type, options, sb_options;
    uint64_t dev;
    uint32_t flags;
  };
  // The mounts below root as seen from there, for /proc/[pid]/mountinfo.
  std::vector<Info> List(const Path& root);
  std::vector<base::Ref<Mount>> Mounts();
  // Raised when the set of mounts changes: poll on /proc/self/mounts.
  WaitQueue& changes() { return changes_; }

 private:
  friend class Vfs;
  base::Mutex<base::LockClass::kMountTree> mu_;
  const base::Ref<UserNamespace> owner_;
  WaitQueue changes_;
  using Place = std::pair<const Mount*, const Dentry*>;
  base::Ref<Mount> NewMount(base::Ref<Superblock> sb, base::Ref<Dentry> root, uint32_t flags,
                            std::string source);
  void Hang(const base::Ref<Mount>& m, const Path& at) REQUIRES_LOCK(mu_);
  void Unhang(const base::Ref<Mount>& m) REQUIRES_LOCK(mu_);
  base::Ref<Mount> TopLocked(Path* p) REQUIRES_LOCK(mu_);
  bool Below(const Mount* m, const Mount* top) REQUIRES_LOCK(mu_);
  bool KnownLocked(const base::Ref<Mount>& mount) REQUIRES_LOCK(mu_);  // check_mnt()
  base::Result<void> CheckPlace(const Path& at, const Dentry& root) REQUIRES_LOCK(mu_);
  // In the order of mounting; at_: by the place where each hangs.
  std::vector<base::Ref<Mount>> mounts_ GUARDED_BY(mu_);
  absl::flat_hash_map<Place, Mount*> at_ GUARDED_BY(mu_);
  base::Ref<Mount> root_ GUARDED_BY(mu_);
};

// Whose view an operation has. References are held by the caller for the length of the call.
struct VfsContext {
  const Creds& creds;
  const Path& root;
  const Path& cwd;
  MountNamespace& mounts;
  uint32_t umask = 022;
  // For magic links and FIFO opens: the calling task; may be null in boot code.
  Task* task = nullptr;
  // The real uid checks of access(2) without AT_EACCESS are done with changed creds by the caller.
};

// How a path is resolved (flags of openat2's resolve, and O_NOFOLLOW and O_DIRECTORY effects).
struct ResolveFlags {
  bool follow = true;       // the last component, if it is a symlink
  bool directory = false;   // must be a directory
  bool empty_path = false;  // AT_EMPTY_PATH: "" means the start itself
  bool beneath = false, in_root = false, no_symlinks = false, no_magiclinks = false,
       no_xdev = false, cached = false;
};

// Where a walk starts: a dirfd's path, or nothing for the cwd.
using StartAt = const Path*;

// A magic link's Inode (proc) derives from this.
class MagicLink : public Inode {
 public:
  using Inode::Inode;
  bool magic() const final { return true; }
  static bool Is(Inode& i) { return i.magic(); }
  // Where the link leads. EACCES, ENOENT.
  virtual base::Result<Path> Target(const VfsContext& ctx) = 0;
  // A link to an object without a place in the tree (a pipe): opening it opens this again. ENXIO if
  // it can't be reopened.
  virtual base::Result<base::Ref<File>> Reopen(const VfsContext& ctx, const OpenFlags& flags) {
    return abi::Errno::kENXIO;
  }
};

class Vfs {
 public:
  static base::Result<Path> Resolve(const VfsContext& ctx, StartAt start, std::string_view path,
                                    ResolveFlags flags);

  struct Parent {
    Path dir;          // a directory, search permission checked
    std::string last;  // final component; empty for "/" ; may be "." or ".."
    bool trailing_slash;
  };
  static base::Result<Parent> ResolveParent(const VfsContext& ctx, StartAt start,
                                            std::string_view path, ResolveFlags flags = {});

  // open(2) in full but for the blocking of FIFO opens (EAGAIN: wait on the file's queue... see
  // OpenFifo in sentry/fs/pipe).
  static base::Result<base::Ref<File>> Open(const VfsContext& ctx, StartAt start,
                                            std::string_view path, const OpenFlags& how,
                                            ResolveFlags resolve = {});
  // Opens a place that is already found (exec, boot).
  static base::Result<base::Ref<File>> OpenPath(const VfsContext& ctx, const Path& p,
                                                const OpenFlags& how);

  static base::Result<void> Mkdir(const VfsContext& ctx, StartAt start, std::string_view path,
                                  uint32_t mode);
  static base::Result<void> Mknod(const VfsContext& ctx, StartAt start, std::string_view path,
                                  uint32_t mode, uint64_t rdev);
  // As Mknod of a socket, returning the new place (bind(2)). EADDRINUSE when it exists.
  static base::Result<Path> MknodSocket(const VfsContext& ctx, std::string_view path,
                                        uint32_t mode);
  static base::Result<void> Symlink(const VfsContext& ctx, std::string_view target, StartAt start,
                                    std::string_view path);
  static base::Result<void> Link(const VfsContext& ctx, const Path& old, StartAt start,
                                 std::string_view path);
  static base::Result<void> Unlink(const VfsContext& ctx, StartAt start, std::string_view path);
  static base::Result<void> Rmdir(const VfsContext& ctx, StartAt start, std::string_view path);
  static base::Result<void> Rename(const VfsContext& ctx, StartAt old_start,
                                   std::string_view old_path, StartAt new_start,
                                   std::string_view new_path, uint32_t flags);
  // notify_change(): checks ownership, capabilities, read-only mounts; clears set-id bits; sends
  // inotify events.
  static base::Result<void> Setattr(const VfsContext& ctx, const Path& p, const SetAttr& a);
  // The same for an open file, which may have no place in the tree (a pipe).
  static base::Result<void> SetattrFile(const VfsContext& ctx, const File& file, const SetAttr& a);
  // truncate(2): everything but RLIMIT_FSIZE. TruncateOpen: O_TRUNC (handle_truncate()), for which
  // no permission is needed beyond that of the open.
  static base::Result<void> Truncate(const VfsContext& ctx, const Path& p, uint64_t size);
  static base::Result<void> TruncateOpen(const VfsContext& ctx, const Path& p, uint64_t size);
  // file_remove_privs(): a write by a task without CAP_FSETID removes set-id bits.
  static base::Result<void> RemovePrivs(const Creds& creds, File& file);
  // Read, write and search permission, with EROFS (inode_permission(), access(2)).
  static base::Result<void> CheckAccess(const VfsContext& ctx, const Path& p, uint32_t mask);

  // Extended attributes with namespace rules (xattr(7)).
  static base::Result<std::string> Getxattr(const VfsContext& ctx, const Path& p,
                                            std::string_view name);
  static base::Result<void> Setxattr(const VfsContext& ctx, const Path& p, std::string_view name,
                                     std::string_view value, int flags);
  static base::Result<std::vector<std::string>> Listxattr(const VfsContext& ctx, const Path& p);
  static base::Result<void> Removexattr(const VfsContext& ctx, const Path& p,
                                        std::string_view name);

  // d_path(): "/a/b", or "/a/b (deleted)"; "(unreachable)/..." for a place outside root.
  static std::string PathName(MountNamespace& ns, const Path& root, const Path& p);

  // Whether p is still reachable by names from root (getcwd's rules).
  static bool Reachable(MountNamespace& ns, const Path& root, const Path& p);

  // The place of an open file; for one without a name a place of its own, outside every tree.
  static Path PlaceOf(const File& f);

  // Unnamed inodes (pipes, sockets, epoll, memfd...) hang off one internal superblock: a File of an
  // anonymous inode.
  static base::Ref<Inode> NewAnonInode(uint32_t mode, uint32_t uid = 0, uint32_t gid = 0);

  // What kinds of special files open as; installed by boot. Device: major/minor tables. Fifo:
  // sentry/fs/pipe.
  using OpenSpecial = base::Result<base::Ref<File>> (*)(const VfsContext& ctx, const Path& p,
                                                        const OpenFlags& how);
  static void SetSpecialOpeners(OpenSpecial fifo, OpenSpecial device);

  // Every file system type that mount(2) knows; installed by boot.
  struct FsType {
    const char* name;
    bool nodev;  // shown in /proc/filesystems
    // Root inode of a new instance; data: the option string. null: not mountable from inside.
    base::Result<base::Ref<Inode>> (*mount)(Kernel& kernel, const Creds& creds,
                                            std::string_view source, std::string_view data);
  };
  // The parts of open(2) behind the walk (may_open() and do_open()).
  static base::Result<base::Ref<File>> OpenFound(const VfsContext& ctx, const Path& p,
                                                 const OpenFlags& how, bool created);
  static void SetFsTypes(std::span<const FsType> types);

  // fs.protected_* (proc_sys_fs(5)); a sandbox starts as distributions set them.
  static inline std::atomic<int32_t> protected_symlinks{1}, protected_hardlinks{1},
      protected_fifos{1}, protected_regular{2};
  static std::span<const FsType> fs_types();
};

// inotify hooks, called by the generic code (sentry/fs/inotify); cheap when nobody watches. mask:
// IN_*.
void NotifyChange(const Path& p, uint32_t mask);
void NotifyName(const Path& dir, std::string_view name, Inode* child, uint32_t mask,
                uint32_t cookie);
// Events of the object that its directory does not hear of (fsnotify_inode()).
void NotifyInode(Inode& inode, uint32_t mask);
// NotifyChange for the object and place of an open file.
void NotifyFile(const File& f, uint32_t mask);

}  // namespace sentry
