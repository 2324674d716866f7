// tmpfs: files in memory (mm/shmem.c). Also the tree that other synthetic file systems hang their
// own inodes into (TmpfsDir::AddEntry), and what the overlay keeps changed files in.
#pragma once

#include <memory>
#include <string>

#include "absl/container/btree_map.h"
#include "sentry/fs/tmpfs/tmpfs_data.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/name_map.h"
#include "sentry/vfs/vfs.h"

namespace sentry {

class TmpfsInode;
class TmpfsDir;

class TmpfsSuperblock : public Superblock {
 public:
  struct Options {
    std::string type_name = "tmpfs";
    uint64_t magic = abi::kTMPFS_MAGIC;
    uint64_t size_limit = 0;  // bytes; 0: none
    uint32_t mode = 01777, uid = 0, gid = 0;
    bool show_mode = false;  // in /proc/mounts
  };
  explicit TmpfsSuperblock(Options o);
  // A new file system's root.
  static base::Ref<TmpfsDir> NewRoot(Options o);
  // mount -t tmpfs -o data. EINVAL.
  static base::Result<base::Ref<Inode>> Mount(const Creds& creds, std::string_view data);

  // An inode without a name (nlink 0; a directory 1). target: of a symlink.
  base::Ref<TmpfsInode> NewInode(const CreateArgs& a, std::string_view target = {});

  base::Result<FsStat> Statfs() override;
  std::string Options() const override;
  std::string Source() const override { return options_.type_name; }
  StorageLimit& limit() { return *limit_; }

 private:
  const struct Options options_;
  const base::Ref<StorageLimit> limit_;
  std::atomic<uint64_t> inodes_{0};
  friend class TmpfsInode;
};

// All inodes of tmpfs; symlinks, FIFOs, sockets and devices are just this.
class TmpfsInode : public Inode {
 public:
  static constexpr char kKind = 0;
  TmpfsInode(base::Ref<Superblock> sb, const CreateArgs& a, std::string_view target);
  ~TmpfsInode() override;

  const void* kind() const override { return &kKind; }
  Perm perm() override {
    return Perm{mode_.load(std::memory_order_relaxed), uid_.load(std::memory_order_relaxed),
                gid_.load(std::memory_order_relaxed)};
  }
  base::Result<Kstat> Getattr() override;
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override;
  base::Result<std::string> Readlink(const Creds& creds) override;
  base::Result<std::string> Getxattr(std::string_view name) override;
  base::Result<void> Setxattr(std::string_view name, std::string_view value, int flags) override;
  base::Result<std::vector<std::string>> Listxattr() override;
  base::Result<void> Removexattr(std::string_view name) override;

  // Links: changes the count and ctime.
  void AddLinks(int32_t n);
  uint32_t links() const { return nlink_.load(std::memory_order_relaxed); }
  // Whether linkat(2) may give it a (first) name.
  bool linkable() const { return links() != 0 || tmpfile_linkable_; }
  void set_tmpfile_linkable() { tmpfile_linkable_ = true; }
  void TouchModified();
  // A read through f: atime by the rules of its mount.
  void TouchAccessed(const File& f);
  // Sets all four as they are (the overlay's copies).
  void SetTimes(const FileTime& atime, const FileTime& mtime, const FileTime& ctime,
                const FileTime& btime);

 protected:
  virtual uint64_t Size() { return target_.size(); }
  virtual uint64_t Blocks() { return 0; }
  virtual base::Result<void> Resize(uint64_t size) { return abi::Errno::kEINVAL; }

 private:
  friend class TmpfsSuperblock;
  // What must survive a checkpoint: all of this and the subclasses' content.
  std::atomic<uint32_t> mode_, uid_, gid_, nlink_{0};
  bool tmpfile_linkable_ = false;
  const uint64_t rdev_;
  const std::string target_;
  base::Mutex<base::LockClass::kInode> attr_mu_;
  FileTime atime_ GUARDED_BY(attr_mu_), mtime_ GUARDED_BY(attr_mu_), ctime_ GUARDED_BY(attr_mu_),
      btime_ GUARDED_BY(attr_mu_);
  std::unique_ptr<absl::btree_map<std::string, std::string>> xattrs_ GUARDED_BY(attr_mu_);
};

// A regular file.
class TmpfsFile : public TmpfsInode {
 public:
  TmpfsFile(base::Ref<Superblock> sb, const CreateArgs& a, base::Ref<StorageLimit> limit);
  const base::Ref<TmpfsData>& data() const { return data_; }
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;

 protected:
  uint64_t Size() override { return data_->size(); }
  uint64_t Blocks() override { return data_->Blocks(); }
  base::Result<void> Resize(uint64_t size) override { return data_->Truncate(size); }

 private:
  const base::Ref<TmpfsData> data_;
};

class TmpfsDir : public TmpfsInode {
 public:
  static constexpr uint64_t kDirentSize = 20;  // what a name counts in st_size (BOGO_DIRENT_SIZE)
  TmpfsDir(base::Ref<Superblock> sb, const CreateArgs& a);
  ~TmpfsDir() override;

  // For synthetic trees: hangs any inode in (or takes it out). EEXIST, ENOENT.
  base::Result<void> AddEntry(std::string_view name, base::Ref<Inode> inode);
  base::Result<void> RemoveEntry(std::string_view name);
  // mkdir -p of one level, for building trees at boot.
  base::Ref<TmpfsDir> EnsureDir(std::string_view name, uint32_t mode = 0755);
  base::Ref<Inode> Find(std::string_view name);

  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override;
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
  // Entries with a position of at least pos, to the sink; the position behind the last one taken.
  int64_t ListFrom(int64_t pos, DirSink& sink);

 protected:
  uint64_t Size() override;

 private:
  struct Entry {
    base::Ref<Inode> inode;
    int64_t pos;
  };
  base::Result<base::Ref<Inode>> Make(std::string_view name, const CreateArgs& a,
                                      std::string_view target);
  void PutLocked(std::string_view name, base::Ref<Inode> inode) REQUIRES_LOCK(mu_);
  base::Ref<Inode> TakeLocked(std::string_view name) REQUIRES_LOCK(mu_);
  // Removed directories take no new names.
  bool Kill();

  base::Mutex<base::LockClass::kInode> mu_;
  NameMap<Entry> entries_ GUARDED_BY(mu_);
  // The order of listing: positions are never reused, so that an offset stays valid while names
  // come and go.
  absl::btree_map<int64_t, std::string> order_ GUARDED_BY(mu_);
  int64_t next_pos_ GUARDED_BY(mu_) = 2;
  bool dead_ GUARDED_BY(mu_) = false;
};

// memfd_create(2): a file without a name. flags: MFD_*.
base::Ref<File> NewMemfd(std::string_view name, uint32_t flags, const Creds& creds);
// The data behind an open tmpfs file or memfd, for seals; null for other files.
TmpfsData* TmpfsDataOf(File& f);

}  // namespace sentry
