// Inodes: what file systems implement. The generic code (vfs.cc) has already checked permissions,
// names, mount flags and types when it calls these; file systems do what remains, and their own
// locking. Nothing here blocks except on the gofer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "platform/base/result.h"
#include "sentry/auth/creds.h"
#include "sentry/wait/wait_queue.h"
#include "syscalls/abi/stat.h"

namespace sentry {

class Dentry;
class File;
class Inode;
class Superblock;
class InotifyWatches;
class FileLocks;
class Kernel;
struct OpenFlags;

struct FileTime {
  int64_t sec = 0;
  uint32_t nsec = 0;
};

// The kernel's struct kstat; ids are sandbox-global.
struct Kstat {
  uint64_t dev = 0, ino = 0;
  uint32_t mode = 0, nlink = 1, uid = 0, gid = 0;
  uint64_t rdev = 0, size = 0, blocks = 0;  // blocks of 512 bytes
  uint32_t blksize = 4096;
  FileTime atime, mtime, ctime, btime;
};

// A change of attributes (struct iattr). Only the fields named in mask count.
struct SetAttr {
  enum Mask : uint32_t {
    kMode = 1,
    kUid = 2,
    kGid = 4,
    kSize = 8,
    kAtime = 16,
    kMtime = 32,
    kAtimeNow = 64,
    kMtimeNow = 128,
    kTruncateOpen = 256,  // kSize comes from O_TRUNC or ftruncate: no further permission needed
  };
  uint32_t mask = 0;
  uint32_t mode = 0, uid = 0, gid = 0;  // mode: permission bits only
  uint64_t size = 0;
  FileTime atime, mtime;
};

struct DirEntry {
  std::string_view name;
  uint64_t ino;
  uint8_t type;  // DT_*
  int64_t next;  // offset of the entry behind this one (d_off)
};

// Receives directory entries; returns false when full (the entry was not taken).
class DirSink {
 public:
  virtual bool Add(const DirEntry& e) = 0;

 protected:
  ~DirSink() = default;
};

struct FsStat {
  uint64_t type = 0, bsize = 4096, blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0;
  uint64_t fsid = 0, namelen = 255;
};

// Facts about who creates a node.
struct CreateArgs {
  const Creds& creds;
  uint32_t mode = 0;          // type and permission bits, umask applied
  uint32_t uid = 0, gid = 0;  // owner of the new node (set-group-id directories considered)
  uint64_t rdev = 0;
  bool unlinkable = false;  // Tmpfile with O_EXCL: may never get a name
};

// One file system instance.
class Superblock : public base::RefCounted {
 public:
  explicit Superblock(std::string type_name);
  const std::string& type_name() const { return type_name_; }
  // The anonymous device number shown in st_dev.
  uint64_t dev() const { return dev_; }
  uint64_t NextIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }
  virtual base::Result<FsStat> Statfs() = 0;
  virtual base::Result<void> Sync() { return {}; }
  // For /proc/mounts.
  virtual std::string Options() const { return ""; }
  virtual std::string Source() const { return "none"; }
  // Whether a cached dentry still tells the truth. File systems whose names come and go by
  // themselves say no.
  virtual bool Revalidate(Dentry&) { return true; }
  // False: a missing name is an error before anybody asks whether it may be created (proc).
  virtual bool has_negatives() const { return true; }
  // False: names found below are not kept in the dentry cache (proc).
  virtual bool cache_dentries() const { return true; }
  // Serializes renames and removals of directories: whoever holds two directories' locks holds it.
  base::Mutex<base::LockClass::kRename> rename_mu;

 private:
  const std::string type_name_;
  const uint64_t dev_;
  std::atomic<uint64_t> next_ino_{2};
};

// What a walk is about to do behind the name that it looks up.
struct LookupHint {
  std::string_view rest;   // of the path, slashes included; "" behind the last component
  bool open_read = false;  // what the path leads to will be opened for reading only
};

class Inode : public base::RefCounted {
 public:
  Inode(base::Ref<Superblock> sb, uint32_t mode, uint64_t ino)
      : sb_(std::move(sb)), ino_(ino), type_(mode & abi::kS_IFMT) {}
  ~Inode() override;

  Superblock& sb() const { return *sb_; }
  uint64_t ino() const { return ino_; }
  uint32_t type() const { return type_; }  // S_IFMT bits; fixed
  bool is_dir() const { return type_ == abi::kS_IFDIR; }
  bool is_reg() const { return type_ == abi::kS_IFREG; }
  bool is_symlink() const { return type_ == abi::kS_IFLNK; }

  // A tag for downcasts: &SomeClass::kKind. RTTI is off.
  virtual const void* kind() const { return nullptr; }
  // True for MagicLink.
  virtual bool magic() const { return false; }

  // What permission checks need, cheap (no message, no allocation).
  struct Perm {
    uint32_t mode, uid, gid;
  };
  virtual Perm perm() = 0;
  // POSIX ACLs do not exist. File systems with rules of their own (proc) override; mask: MAY_READ
  // 4, MAY_WRITE 2, MAY_EXEC 1.
  virtual base::Result<void> Permission(const Creds& creds, uint32_t mask);

  virtual base::Result<Kstat> Getattr() = 0;
  virtual base::Result<void> Setattr(const Creds& creds, const SetAttr& a) {
    return abi::Errno::kEPERM;
  }

  // Directories. Lookup: ENOENT. The names are valid and not "." or "..".
  virtual base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) {
    return abi::Errno::kENOTDIR;
  }
  // As Lookup. A file system that has to ask somebody may ask for what comes next in the same
  // message; the result is that of name alone.
  virtual base::Result<base::Ref<Inode>> LookupAhead(const Creds& creds, std::string_view name,
                                                     const LookupHint& hint) {
    return Lookup(creds, name);
  }
  // Regular file. EEXIST when the name appeared meanwhile.
  virtual base::Result<base::Ref<Inode>> Create(std::string_view name, const CreateArgs& a) {
    return abi::Errno::kEACCES;
  }
  virtual base::Result<base::Ref<Inode>> Mkdir(std::string_view name, const CreateArgs& a) {
    return abi::Errno::kEPERM;
  }
  // FIFO, socket, device, or regular file without opening it.
  virtual base::Result<base::Ref<Inode>> Mknod(std::string_view name, const CreateArgs& a) {
    return abi::Errno::kEPERM;
  }
  virtual base::Result<base::Ref<Inode>> Symlink(std::string_view name, std::string_view target,
                                                 const CreateArgs& a) {
    return abi::Errno::kEPERM;
  }
  virtual base::Result<void> Link(std::string_view name, Inode& target) {
    return abi::Errno::kEPERM;
  }
  virtual base::Result<void> Unlink(std::string_view name, Inode& victim) {
    return abi::Errno::kEPERM;
  }
  virtual base::Result<void> Rmdir(std::string_view name, Inode& victim) {
    return abi::Errno::kEPERM;
  }
  // Called on the old parent; new_dir is of the same superblock. replaced may be null. flags:
  // RENAME_EXCHANGE only (NOREPLACE is checked before).
  virtual base::Result<void> Rename(std::string_view old_name, Inode& moved, Inode& new_dir,
                                    std::string_view new_name, Inode* replaced, uint32_t flags) {
    return abi::Errno::kEPERM;
  }
  // An unnamed regular file (O_TMPFILE).
  virtual base::Result<base::Ref<Inode>> Tmpfile(const CreateArgs& a) {
    return abi::Errno::kEOPNOTSUPP;
  }

  // Symbolic links. A magic link (proc's fd, exe, cwd, root) leads to an object instead of a text:
  // see FollowMagic.
  virtual base::Result<std::string> Readlink(const Creds& creds) { return abi::Errno::kEINVAL; }

  // Opens. dentry: the name it was opened by. Directories, regular files, proc files. FIFOs,
  // sockets and devices are handled by the generic code through sb-independent tables. The default:
  // ENXIO.
  virtual base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry,
                                             const OpenFlags& flags, const Creds& creds);

  // Extended attributes, full names ("user.x"). Namespace rules are checked by the generic code.
  // ENODATA; flags XATTR_*.
  virtual base::Result<std::string> Getxattr(std::string_view name) {
    return abi::Errno::kEOPNOTSUPP;
  }
  virtual base::Result<void> Setxattr(std::string_view name, std::string_view value, int flags) {
    return abi::Errno::kEOPNOTSUPP;
  }
  virtual base::Result<std::vector<std::string>> Listxattr() { return std::vector<std::string>(); }
  virtual base::Result<void> Removexattr(std::string_view name) { return abi::Errno::kEOPNOTSUPP; }

  // get_write_access() and deny_write_access(): either somebody writes it or somebody runs it.
  // ETXTBSY.
  base::Result<void> GetWriteAccess() { return Enter(1); }
  void PutWriteAccess() { writers_.fetch_sub(1, std::memory_order_relaxed); }
  base::Result<void> DenyWriteAccess() { return Enter(-1); }
  void AllowWriteAccess() { writers_.fetch_add(1, std::memory_order_relaxed); }

  // State that the generic code hangs on inodes, made on demand: record and flock locks, inotify
  // watches, the pipe of a FIFO, the socket bound to a name.
  FileLocks& locks();
  // nullptr when locks() was never called.
  FileLocks* present_locks() const { return locks_.load(std::memory_order_acquire); }
  InotifyWatches* watches() const { return watches_.load(std::memory_order_acquire); }
  InotifyWatches& make_watches();
  // One slot for the object that a FIFO or socket inode stands for. Returns the present one, or
  // stores and returns made.
  base::Ref<base::RefCounted> bound_object();
  base::Ref<base::RefCounted> BindObject(base::Ref<base::RefCounted> made);
  void UnbindObject();
  // It carries state of its own (locks, watches, a bound object): its dentry stays cached.
  bool pinned() const { return pinned_.load(std::memory_order_relaxed); }

 private:
  base::Result<void> Enter(int32_t side) {
    int32_t n = writers_.load(std::memory_order_relaxed);
    do {
      if (side > 0 ? n < 0 : n > 0) return abi::Errno::kETXTBSY;
    } while (!writers_.compare_exchange_weak(n, n + side, std::memory_order_relaxed));
    return {};
  }

  const base::Ref<Superblock> sb_;
  const uint64_t ino_;
  const uint32_t type_;
  std::atomic<int32_t> writers_{0};  // below 0: the programs that run from it
  std::atomic<FileLocks*> locks_{nullptr};
  std::atomic<InotifyWatches*> watches_{nullptr};
  std::atomic<bool> pinned_{false};
  base::Mutex<base::LockClass::kLeaf> bound_mu_;
  base::Ref<base::RefCounted> bound_ GUARDED_BY(bound_mu_);
};

// Downcast by kind, as FileCast.
template <typename T>
T* InodeCast(Inode* i) {
  return i != nullptr && i->kind() == &T::kKind ? static_cast<T*>(i) : nullptr;
}

// capable_wrt_inode_uidgid(): the capability, if the owner is mapped in the caller's namespace.
bool CapableOver(const Creds& creds, const Inode::Perm& p, int cap);
// inode_owner_or_capable().
bool OwnerOrCapable(const Creds& creds, const Inode::Perm& p);
// generic_permission(): mode bits and capability overrides; mask of MAY_*. EACCES.
base::Result<void> CheckMode(const Creds& creds, const Inode::Perm& p, uint32_t type,
                             uint32_t mask);
// The present CLOCK_REALTIME as a time stamp.
FileTime Now();

}  // namespace sentry
