// Dentries: names in a file system, cached; a negative one records that a name does not exist.
// Mounts: where file systems hang.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "sentry/vfs/inode.h"

namespace sentry {

class Dentry : public base::RefCounted {
 public:
  // A root has no parent. inode null: negative.
  Dentry(base::Ref<Dentry> parent, std::string name, base::Ref<Inode> inode);
  ~Dentry() override;

  // Stable only under Vfs's rename lock or for a caller that tolerates a stale answer.
  base::Ref<Dentry> parent() const;
  std::string name() const;
  base::Ref<Inode> inode() const;
  bool negative() const { return !inode(); }
  // Its name was removed (unlink, rmdir, overwritten by rename): it lives on for those who hold it.
  bool unhashed() const { return unhashed_.load(std::memory_order_acquire); }
  // Something is mounted here in some namespace: the walk asks the mount table.
  bool mounted() const { return mounts_.load(std::memory_order_acquire) != 0; }

  // Children, by the generic code and by file systems that drop names on their own.
  base::Ref<Dentry> FindChild(std::string_view name);
  base::Ref<Dentry> AddChild(std::string_view name, base::Ref<Inode> inode);
  void DropChild(std::string_view name);
  // Drops the cached children that nobody uses; used when the cache grows too large.
  void Shrink();

 private:
  friend class Vfs;
  friend class MountNamespace;
  mutable base::Mutex<base::LockClass::kDentry> mu_;
  base::Ref<Dentry> parent_ GUARDED_BY(mu_);
  std::string name_ GUARDED_BY(mu_);
  base::Ref<Inode> inode_ GUARDED_BY(mu_);
  // Children hold their parent; the parent lists children with a reference too while they are
  // cached.
  absl::flat_hash_map<std::string, base::Ref<Dentry>> children_ GUARDED_BY(mu_);
  std::atomic<bool> unhashed_{false};
  std::atomic<uint32_t> mounts_{0};
};

class MountNamespace;

class Mount : public base::RefCounted {
 public:
  Mount(uint64_t id, base::Ref<Superblock> sb, base::Ref<Dentry> root, uint32_t flags)
      : id_(id), sb_(std::move(sb)), root_(std::move(root)), flags_(flags) {}
  uint64_t id() const { return id_; }
  Superblock& sb() const { return *sb_; }
  const base::Ref<Dentry>& root() const { return root_; }
  // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME...
  uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }
  void set_flags(uint32_t f) { flags_.store(f, std::memory_order_relaxed); }
  bool read_only() const;

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
};

// A place in the tree of mounts.
struct Path {
  base::Ref<Mount> mount;
  base::Ref<Dentry> dentry;
  explicit operator bool() const { return static_cast<bool>(dentry); }
  friend bool operator==(const Path&, const Path&) = default;
};

}  // namespace sentry
