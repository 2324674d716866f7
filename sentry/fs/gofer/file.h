// Open files of the gofer file system. Private to sentry/fs/gofer.
#pragma once

#include <string>
#include <vector>

#include "sentry/fs/gofer/inode.h"
#include "sentry/vfs/file.h"

namespace sentry {

// A regular file: all goes to the donated descriptor.
class GoferFile : public File {
 public:
  GoferFile(Path path, base::Ref<GoferInode> inode, uint32_t flags, base::Ref<BackingFile> data);
  ~GoferFile() override;

  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) override;
  base::Result<uint64_t> SeekExtent(uint64_t offset, bool hole, uint64_t size) override;
  base::Result<void> Fsync(bool data_only) override;
  base::Result<void> Fallocate(int mode, uint64_t offset, uint64_t len) override;
  base::Result<base::Ref<Mappable>> Mmap(uint64_t offset, uint64_t len, uint8_t prot,
                                         bool shared) override;

 private:
  GoferInode& gofer_inode() const { return static_cast<GoferInode&>(*inode()); }
  const base::Ref<BackingFile> data_;
};

// A directory being listed. Positions are counts of entries.
class GoferDirFile : public File {
 public:
  GoferDirFile(Path path, base::Ref<GoferInode> inode, uint32_t flags);

  base::Result<uint64_t> Seek(int64_t offset, int whence) override;
  base::Result<void> Iterate(DirSink& sink) override;
  base::Result<void> Fsync(bool data_only) override;

 private:
  const gofer::DirectoryEntries& entries() const { return listing_ ? listing_->entries() : told_; }
  // The caller holds the superblock's mu.
  base::Result<void> ReadMoreLocked();
  GoferInode& gofer_inode() const { return static_cast<GoferInode&>(*inode()); }

  // All under pos_mu. Where nothing changes, the directory's listing; else what was told, kept
  // until the position returns to 0, so that positions stay meaningful.
  base::Ref<GoferListing> listing_;
  gofer::DirectoryEntries told_;
  uint64_t cookie_ = 0;
  bool end_ = false;
  uint64_t listing_serial_ = 0;  // of the listing that this one feeds; 0: none
};

}  // namespace sentry
