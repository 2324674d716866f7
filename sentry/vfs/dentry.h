// Dentries: names in a file system, cached; a negative one records that a name does not exist.
// Mounts: where file systems hang.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "sentry/vfs/inode.h"
#include "sentry/vfs/name_map.h"
#include "syscalls/abi/mount.h"

namespace sentry {

class Dentry : public base::RefCounted {
 public:
  // A root has no parent. inode null: negative.
  Dentry(base::Ref<Dentry> parent, std::string name, base::Ref<Inode> inode);
  ~Dentry() override;
  // One that is in no directory (O_TMPFILE): parent and name are for d_path() only.
  static base::Ref<Dentry> NewUnhashed(base::Ref<Dentry> parent, std::string name,
                                       base::Ref<Inode> inode);

  // Fixed for life: a name that appears or changes its object gets another dentry.
  const base::Ref<Inode>& inode() const { return inode_; }
  bool negative() const { return !inode_; }
  // Null for a root. rename changes both: stable only under the file system's rename lock.
  base::Ref<Dentry> parent() const;
  std::string name() const;
  // Its name was removed (unlink, rmdir, overwritten by rename): it lives on for those who hold it.
  bool unhashed() const { return unhashed_.load(std::memory_order_acquire); }
  // Something is mounted here in some namespace: the walk asks the mount table.
  bool mounted() const { return mounts_.load(std::memory_order_acquire) != 0; }

  // Children, by the generic code and by file systems that drop names on their own. FindChild: the
  // cached child, negative ones included, or null.
  base::Ref<Dentry> FindChild(std::string_view name);
  // The caller holds dir_mu, or its file system keeps names stable itself. An entry that exists
  // already wins, but for a negative one against an inode. Not cached when the file system says so.
  base::Ref<Dentry> AddChild(std::string_view name, base::Ref<Inode> inode);
  // The name is gone from the file system.
  void DropChild(std::string_view name);
  // Puts a dentry that the file system does not cache into the cache (a mount point in proc).
  void Pin(const base::Ref<Dentry>& child);
  // Drops the cached names below that nobody holds; those used since the last pass stay unless all.
  void Shrink(bool all = false);

  // Held while a name in this directory is looked up in the file system, made or removed. Two are
  // held at once only under Superblock::rename_mu.
  base::Mutex<base::LockClass::kDir> dir_mu;

 private:
  friend class Vfs;
  friend class MountNamespace;
  void Erase(std::string_view name, base::Ref<Dentry>* dropped);
  // Both directories' dir_mu and the rename lock are held.
  static void Move(const base::Ref<Dentry>& child, const base::Ref<Dentry>& from,
                   std::string_view old_name, const base::Ref<Dentry>& to,
                   std::string_view new_name);
  static void Exchange(const base::Ref<Dentry>& a, const base::Ref<Dentry>& a_dir,
                       std::string_view a_name, const base::Ref<Dentry>& b,
                       const base::Ref<Dentry>& b_dir, std::string_view b_name);
  const base::Ref<Inode> inode_;
  mutable base::Mutex<base::LockClass::kDentry> mu_;
  base::Ref<Dentry> parent_ GUARDED_BY(mu_);
  std::string name_ GUARDED_BY(mu_);
  // Children hold their parent; the parent lists children with a reference too while they are
  // cached.
  NameMap<base::Ref<Dentry>> children_ GUARDED_BY(mu_);
  std::atomic<bool> unhashed_{false};
  std::atomic<bool> used_{true};  // since the last pass of the shrinker
  std::atomic<uint32_t> mounts_{0};
};

class MountNamespace;

class Mount : public base::RefCounted {
 public:
  Mount(uint64_t id, base::Ref<Superblock> sb, base::Ref<Dentry> root, uint32_t flags)
      : id_(id), sb_(std::move(sb)), root_(std::move(root)), flags_(flags) {}
  ~Mount() override { root_->Shrink(true); }
  uint64_t id() const { return id_; }
  Superblock& sb() const { return *sb_; }
  const base::Ref<Dentry>& root() const { return root_; }
  // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME...
  uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }
  void set_flags(uint32_t f) { flags_.store(f, std::memory_order_relaxed); }
  bool read_only() const { return (flags() & abi::kMS_RDONLY) != 0; }

 private:
  friend class MountNamespace;
  const uint64_t id_;
  const base::Ref<Superblock> sb_;
  const base::Ref<Dentry> root_;
  std::atomic<uint32_t> flags_;
  // Where it is mounted; guarded by the namespace's lock. Null for the namespace's root and for
  // detached mounts.
  base::Ref<Mount> parent_;
  base::Ref<Dentry> mountpoint_;
  std::string source_;
  bool expiry_mark_ = false;
};

// A place in the tree of mounts.
struct Path {
  base::Ref<Mount> mount;
  base::Ref<Dentry> dentry;
  explicit operator bool() const { return static_cast<bool>(dentry); }
  friend bool operator==(const Path&, const Path&) = default;
};

}  // namespace sentry
