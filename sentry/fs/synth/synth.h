// Synthetic file systems (proc, sys): directories and files whose content is made when it is read.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sentry/vfs/vfs.h"
#include "syscalls/abi/dirent.h"

namespace sentry {

class SynthSuperblock : public Superblock {
 public:
  // magic: f_type of statfs(2).
  SynthSuperblock(std::string type_name, uint64_t magic, bool cache)
      : Superblock(type_name), magic_(magic), cache_(cache), source_(std::move(type_name)) {}
  base::Result<FsStat> Statfs() override;
  bool cache_dentries() const override { return cache_; }
  std::string Source() const override { return source_; }

 private:
  const uint64_t magic_;
  const bool cache_;
  const std::string source_;
};

// What all synthetic inodes share. Attributes can't be changed from inside.
class SynthInode : public Inode {
 public:
  SynthInode(base::Ref<Superblock> sb, uint32_t mode, uint64_t ino, uint32_t uid = 0,
             uint32_t gid = 0)
      : Inode(std::move(sb), mode, ino), mode_(mode), uid_(uid), gid_(gid) {}
  Perm perm() override { return {mode_, uid_, gid_}; }
  base::Result<Kstat> Getattr() override;

 protected:
  virtual uint32_t nlink() { return 1; }

 private:
  const uint32_t mode_, uid_, gid_;
};

class SynthFile : public SynthInode {
 public:
  using ReadFn = std::function<base::Result<std::string>()>;
  // The text of one write(2), at most a page.
  using WriteFn = std::function<base::Result<void>(std::string_view)>;
  SynthFile(base::Ref<Superblock> sb, uint32_t mode, uint64_t ino, ReadFn read,
            WriteFn write = nullptr, uint32_t uid = 0, uint32_t gid = 0)
      : SynthInode(std::move(sb), abi::kS_IFREG | mode, ino, uid, gid),
        read_(std::move(read)),
        write_(std::move(write)) {}
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;
  // O_TRUNC of a writable file is accepted, as for Linux's proc and sysfs.
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override;
  const ReadFn& read() const { return read_; }
  const WriteFn& write() const { return write_; }

 private:
  const ReadFn read_;
  const WriteFn write_;
};

class SynthLink : public SynthInode {
 public:
  using TargetFn = std::function<base::Result<std::string>()>;
  SynthLink(base::Ref<Superblock> sb, uint64_t ino, TargetFn target)
      : SynthInode(std::move(sb), abi::kS_IFLNK | 0777, ino), target_(std::move(target)) {}
  base::Result<std::string> Readlink(const Creds&) override { return target_(); }

 private:
  const TargetFn target_;
};

// A directory whose entries are computed. Derive and implement List and Lookup.
class SynthDir : public SynthInode {
 public:
  struct Entry {
    std::string name;
    uint64_t ino;
    uint8_t type;    // DT_*
    int64_t cookie;  // ascending and stable, > 2
  };
  SynthDir(base::Ref<Superblock> sb, uint32_t mode, uint64_t ino, uint32_t uid = 0,
           uint32_t gid = 0)
      : SynthInode(std::move(sb), abi::kS_IFDIR | mode, ino, uid, gid) {}
  // The entries whose cookie is greater than after, in order; "." and ".." are added by the caller.
  virtual base::Result<void> List(int64_t after, std::vector<Entry>* out) = 0;
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;
  // The process whose /proc/[pid] this is, else null. Lives as long as the directory.
  virtual Task* shown_process() { return nullptr; }

 protected:
  uint32_t nlink() override { return 2; }
};

// A directory that is filled at boot and never changes.
class SynthStaticDir : public SynthDir {
 public:
  using SynthDir::SynthDir;
  void Add(std::string name, base::Ref<Inode> inode);
  // A file below, with the superblock's next inode number.
  void AddFile(std::string name, uint32_t mode, SynthFile::ReadFn read,
               SynthFile::WriteFn write = nullptr);
  void AddText(std::string name, std::string text);
  void AddLink(std::string name, std::string target);
  base::Ref<SynthStaticDir> AddDir(std::string name, uint32_t mode = 0555);
  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override;
  base::Result<void> List(int64_t after, std::vector<Entry>* out) override;

 private:
  struct Child {
    base::Ref<Inode> inode;
    std::string name;
  };
  std::vector<Child> children_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace sentry
