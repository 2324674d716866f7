// overlay: a file system that is never written below and tmpfs above (fs/overlayfs).
//
// There is no tree of upper directories: each directory that changed keeps the names that differ
// from its lower one, so a lower directory moves by moving its object.
#pragma once

#include <atomic>

#include "absl/container/flat_hash_map.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/name_map.h"

namespace sentry {

class OverlayInode;

class OverlaySuperblock : public Superblock {
 public:
  explicit OverlaySuperblock(base::Ref<Inode> lower_root, uint64_t upper_limit);
  // The root of a new overlay over a directory of any file system, whose inodes must be one object
  // per file. upper_limit: bytes of changed data, 0: no limit.
  static base::Ref<Inode> NewRoot(base::Ref<Inode> lower_root, uint64_t upper_limit = 0);

  base::Result<FsStat> Statfs() override;
  std::string Source() const override { return "overlay"; }

  TmpfsSuperblock& upper() { return static_cast<TmpfsSuperblock&>(upper_root_->sb()); }
  // The overlay's object for a lower one.
  base::Ref<OverlayInode> ForLower(base::Ref<Inode> lower);
  base::Ref<OverlayInode> NewUpper(base::Ref<TmpfsInode> upper);
  // Objects that differ from their lower ones stay until they are gone by name.
  void Retain(OverlayInode* i);
  void Forget(OverlayInode* i);
  void Died(const Inode* lower, OverlayInode* i);

 private:
  const base::Ref<TmpfsDir> upper_root_;
  base::Mutex<base::LockClass::kLeaf> table_mu_;  // no reference is dropped under it
  absl::flat_hash_map<const Inode*, OverlayInode*> by_lower_ GUARDED_BY(table_mu_);
  absl::flat_hash_map<OverlayInode*, base::Ref<OverlayInode>> retained_ GUARDED_BY(table_mu_);
};

class OverlayInode : public Inode {
 public:
  OverlayInode(base::Ref<OverlaySuperblock> sb, uint32_t mode, uint64_t ino, base::Ref<Inode> lower,
               base::Ref<TmpfsInode> upper);
  ~OverlayInode() override;

  Perm perm() override { return top().perm(); }
  base::Result<Kstat> Getattr() override;
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override;
  base::Result<std::string> Readlink(const Creds& creds) override { return top().Readlink(creds); }
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;
  base::Result<std::string> Getxattr(std::string_view name) override {
    return with_xattrs().Getxattr(name);
  }
  base::Result<void> Setxattr(std::string_view name, std::string_view value, int flags) override;
  base::Result<std::vector<std::string>> Listxattr() override { return with_xattrs().Listxattr(); }
  base::Result<void> Removexattr(std::string_view name) override;

  // Makes the upper object, with the first max_data bytes of the lower file. ENOSPC, EIO.
  base::Result<base::Ref<TmpfsInode>> CopyUp(uint64_t max_data = UINT64_MAX);
  bool has_lower() const { return static_cast<bool>(lower_); }
  const base::Ref<Inode>& lower() const { return lower_; }
  bool changed() const { return upper_ptr_.load(std::memory_order_acquire) != nullptr; }
  // A name was added or removed.
  void AddLinks(int32_t n);
  bool linkable_tmpfile = false;

 protected:
  OverlaySuperblock& osb() const { return static_cast<OverlaySuperblock&>(sb()); }
  Inode& top() const {
    Inode* u = upper_ptr_.load(std::memory_order_acquire);
    return u != nullptr ? *u : *lower_;
  }

 private:
  // Extended attributes are copied up by themselves, when one of them changes.
  Inode& with_xattrs() const {
    return lower_ && !own_xattrs_.load(std::memory_order_acquire) ? *lower_ : top();
  }
  base::Result<base::Ref<TmpfsInode>> CopyUpXattrs();

  const base::Ref<Inode> lower_;
  std::atomic<TmpfsInode*> upper_ptr_{nullptr};  // upper_ owns; set once
  std::atomic<bool> own_xattrs_{false};          // those of upper_ count
  // Names that came and went above, beside the lower object's count.
  std::atomic<int32_t> links_{0};
  std::atomic<int32_t> lower_links_{-1};  // known from the copy-up on
  base::Mutex<base::LockClass::kOverlay> copy_mu_;
  base::Ref<TmpfsInode> upper_ GUARDED_BY(copy_mu_);
};

class OverlayDir : public OverlayInode {
 public:
  using OverlayInode::OverlayInode;

  base::Result<Kstat> Getattr() override;
  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override {
    return LookupAhead(creds, name, {});
  }
  base::Result<base::Ref<Inode>> LookupAhead(const Creds& creds, std::string_view name,
                                             const LookupHint& hint) override;
  base::Result<base::Ref<Inode>> Create(std::string_view name, const CreateArgs& a) override {
    return Make(name, a, {});
  }
  base::Result<base::Ref<Inode>> Mkdir(std::string_view name, const CreateArgs& a) override {
    return Make(name, a, {});
  }
  base::Result<base::Ref<Inode>> Mknod(std::string_view name, const CreateArgs& a) override {
    return Make(name, a, {});
  }
  base::Result<base::Ref<Inode>> Symlink(std::string_view name, std::string_view target,
                                         const CreateArgs& a) override {
    return Make(name, a, target);
  }
  base::Result<void> Link(std::string_view name, Inode& target) override;
  base::Result<void> Unlink(std::string_view name, Inode& victim) override;
  base::Result<void> Rmdir(std::string_view name, Inode& victim) override;
  base::Result<void> Rename(std::string_view old_name, Inode& moved, Inode& new_dir,
                            std::string_view new_name, Inode* replaced, uint32_t flags) override;
  base::Result<base::Ref<Inode>> Tmpfile(const CreateArgs& a) override;
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;

  struct Listed {
    std::string name;
    uint64_t ino;
    uint8_t type;
  };
  // The lower directory, opened, if nothing differs from it; else null.
  base::Result<base::Ref<File>> OpenUnchanged();
  // What the directory shows, without "." and "..".
  base::Result<std::vector<Listed>> ListAll(const Creds& creds);

 private:
  base::Result<base::Ref<Inode>> Make(std::string_view name, const CreateArgs& a,
                                      std::string_view target);
  // Hides a name: forgets it, or leaves a whiteout over the lower one.
  void HideLocked(std::string_view name) REQUIRES_LOCK(names_mu_);
  void PutLocked(std::string_view name, base::Ref<OverlayInode> i) REQUIRES_LOCK(names_mu_);
  // Marks a directory that shows nothing as removed. ENOTEMPTY.
  base::Result<void> Kill();
  void Touch();

  base::Mutex<base::LockClass::kOverlay> names_mu_;
  // The names that differ from the lower directory; null: a whiteout.
  NameMap<base::Ref<OverlayInode>> names_ GUARDED_BY(names_mu_);
};

}  // namespace sentry
