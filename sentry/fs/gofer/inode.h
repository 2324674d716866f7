// Private to sentry/fs/gofer.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "sentry/fs/gofer/superblock.h"
#include "sentry/memory/backing_file.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/file.h"

namespace sentry {

class GoferMappable;

// What must survive a checkpoint of an inode: how to find it again, and what is true of it.
struct GoferInodeState {
  gofer::wire::Attr attr;
  // The text of a symlink, once it was asked for.
  std::string link;
  bool link_known = false;
};

class GoferInode : public Inode {
 public:
  using Attr = gofer::wire::Attr;

  GoferInode(base::Ref<GoferSuperblock> sb, const Attr& attr, uint64_t ino);
  ~GoferInode() override;

  GoferSuperblock& gsb() const { return static_cast<GoferSuperblock&>(sb()); }
  uint64_t host_dev() const { return host_dev_; }
  uint64_t host_ino() const { return host_ino_; }
  uint64_t size() const { return size_.load(std::memory_order_acquire); }

  Perm perm() override {
    return {mode_.load(std::memory_order_relaxed), uid_.load(std::memory_order_relaxed),
            gid_.load(std::memory_order_relaxed)};
  }
  base::Result<Kstat> Getattr() override;
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override;
  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override;
  base::Result<base::Ref<Inode>> LookupAhead(const Creds& creds, std::string_view name,
                                             const LookupHint& hint) override;
  base::Result<base::Ref<Inode>> Create(std::string_view name, const CreateArgs& a) override;
  base::Result<base::Ref<Inode>> Mkdir(std::string_view name, const CreateArgs& a) override;
  base::Result<base::Ref<Inode>> Mknod(std::string_view name, const CreateArgs& a) override;
  base::Result<base::Ref<Inode>> Symlink(std::string_view name, std::string_view target,
                                         const CreateArgs& a) override;
  base::Result<void> Link(std::string_view name, Inode& target) override;
  base::Result<void> Unlink(std::string_view name, Inode& victim) override;
  base::Result<void> Rmdir(std::string_view name, Inode& victim) override;
  base::Result<void> Rename(std::string_view old_name, Inode& moved, Inode& new_dir,
                            std::string_view new_name, Inode* replaced, uint32_t flags) override;
  base::Result<std::string> Readlink(const Creds& creds) override;
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;
  base::Result<std::string> Getxattr(std::string_view name) override;
  base::Result<void> Setxattr(std::string_view name, std::string_view value, int flags) override;
  base::Result<std::vector<std::string>> Listxattr() override;
  base::Result<void> Removexattr(std::string_view name) override;

  // For open files. ---
  enum class Access : uint8_t {
    kRead,      // any descriptor that can be read
    kReadOnly,  // one that can't be written, for mappings
    kWrite,     // one that can be read and written
  };
  base::Result<base::Ref<BackingFile>> Backing(Access access, bool truncate = false)
      EXCLUDES_LOCK(mu);
  base::Result<base::Ref<Mappable>> Mapping(bool shared_writable);
  void Opened();
  void Closed();
  base::Result<void> Fsync(bool data_only);

  // The contents' size, attributes, and their changes.
  base::Mutex<base::LockClass::kInode> mu;
  // After a write or truncation through a descriptor. end: where it ended; the size only grows by
  // it.
  void Wrote(int fd, uint64_t end) REQUIRES_LOCK(mu);
  // Attributes as the host has them now, from a descriptor of the object.
  void RefreshFrom(int fd) REQUIRES_LOCK(mu);
  // After a read through file.
  void Accessed(const File& file);

 private:
  friend class GoferSuperblock;
  friend class GoferDirFile;
  friend class GoferMappable;

  struct Name {
    base::Ref<GoferNode> dir;
    std::string name;
  };
  static constexpr size_t kMaxNames = 16;  // hard links remembered

  // Functions named Locked, and those from AddName to Made: the caller holds the superblock's mu.
  static GoferInode& Of(Inode& i) { return static_cast<GoferInode&>(i); }
  // How to address it; ESTALE if it has neither node nor name. Valid while the lock is held.
  base::Result<gofer::Target> TargetLocked();
  // A directory's node, asked for if this inode came from a listing. PlaceLocked: its id may be
  // still to be asked for.
  base::Result<base::Ref<GoferNode>> NodeLocked();
  base::Result<base::Ref<GoferNode>> PlaceLocked();
  GoferNumber number() const { return {host_dev_, host_ino_}; }
  void AddName(const base::Ref<GoferNode>& dir, std::string_view name);
  void DropName(const base::Ref<GoferNode>& dir, std::string_view name);
  bool NeedsPin();
  // After how many names that were looked up in it a directory is worth knowing as a whole.
  uint64_t WorthListing() const;
  // One of its names is gone; pinned: the node that keeps it reachable, or kNoNode.
  void NameRemoved(const base::Ref<GoferNode>& dir, std::string_view name,
                   gofer::wire::NodeId pinned);
  base::Result<base::Ref<Inode>> Made(const base::Ref<GoferNode>& dir, std::string_view name,
                                      const Attr& attr, gofer::wire::NodeId node);
  void Update(const Attr& attr) REQUIRES_LOCK(mu);
  Kstat ToKstat() const REQUIRES_LOCK(mu);
  // Whether its bytes never change and every guest may read them.
  bool stable() const;
  base::Ref<BackingFile> AnyBacking();
  void DropBacking(bool only_if_idle);

  const uint64_t host_dev_;
  const uint64_t host_ino_;

  // What a walk through this directory learnt of the name behind: the inode, or null for a name
  // that does not exist. Used once.
  struct Ahead {
    std::string name;
    base::Ref<GoferInode> inode;
  };
  void DonateReadOnly(base::UniqueFd fd);

  // Guarded by gsb().mu, which the analysis can't name here. Rebuilt by walking after a restore.
  absl::InlinedVector<Name, 1> names_;
  base::Ref<GoferNode> node_;
  std::optional<Ahead> ahead_;
  uint32_t asked_ = 0;  // names that the gofer was asked for

  GoferInodeState state_ GUARDED_BY(mu);
  // Copies of what is in state_, for those who don't lock.
  std::atomic<uint32_t> mode_, uid_, gid_;
  std::atomic<uint64_t> size_;
  // state_.attr is older than the object.
  std::atomic<bool> stale_{false};
  std::atomic<bool> unlinked_{false};  // no name leads to it any more
  // Guests may write it through mappings at any time: ask the host for times.
  std::atomic<bool> mapped_writable_{false};
  std::atomic<bool> no_capabilities_{false};  // it has no file capabilities, and can't get any

  // Rebuilt on demand.
  base::Mutex<base::LockClass::kLeaf> fd_mu_;
  base::Ref<BackingFile> read_only_ GUARDED_BY(fd_mu_);
  base::Ref<BackingFile> read_write_ GUARDED_BY(fd_mu_);
  uint32_t open_count_ GUARDED_BY(fd_mu_) = 0;
  GoferMappable* mappable_ GUARDED_BY(fd_mu_) = nullptr;  // not owned

  // The superblock's list of idle inodes, under its lock.
  GoferInode* idle_next_ = nullptr;
  GoferInode* idle_prev_ = nullptr;
  bool idle_listed_ = false;
};

// What mappings of one inode map; one object per inode, so that it identifies the inode's memory.
class GoferMappable : public Mappable {
 public:
  explicit GoferMappable(base::Ref<GoferInode> inode) : inode_(std::move(inode)) {}
  ~GoferMappable() override;
  base::Result<Extent> Translate(uint64_t offset, uint64_t len, bool write) override;
  uint64_t size() override;
  void OnMap(uint64_t len, bool shared_writable) override;
  void Provide(base::Ref<BackingFile> read_only, base::Ref<BackingFile> read_write);

 private:
  const base::Ref<GoferInode> inode_;
  base::Mutex<base::LockClass::kLeaf> mu_;
  base::Ref<BackingFile> read_only_ GUARDED_BY(mu_);
  base::Ref<BackingFile> read_write_ GUARDED_BY(mu_);
};

}  // namespace sentry
