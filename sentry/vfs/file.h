// File: an open file description (the kernel's struct file). Operations never block: where Linux
// would wait they return EAGAIN, and the caller (syscalls/linux) waits on wait_queue() and tries
// again, unless O_NONBLOCK.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "sentry/mm/io_buffer.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/dentry.h"
#include "syscalls/abi/fcntl.h"

namespace sentry {

class Task;

struct OpenFlags {
  uint32_t flags = 0;  // O_*
  uint32_t mode = 0;   // for O_CREAT and O_TMPFILE
  // Access mode 3 allows neither (open(2)).
  bool readable() const {
    const uint32_t mode = flags & abi::kO_ACCMODE;
    return (flags & abi::kO_PATH) == 0 && (mode == abi::kO_RDONLY || mode == abi::kO_RDWR);
  }
  bool writable() const {
    const uint32_t mode = flags & abi::kO_ACCMODE;
    return (flags & abi::kO_PATH) == 0 && (mode == abi::kO_WRONLY || mode == abi::kO_RDWR);
  }
};

// Who is signalled about a file (sentry/kernel/async_io.h).
class FileOwner : public base::RefCounted {
 public:
  // The file is about to be destroyed, and still whole.
  virtual void FileGone() = 0;
};

class File : public base::RefCounted {
 public:
  // path may be empty for anonymous objects (then description() names them).
  File(Path path, base::Ref<Inode> inode, uint32_t flags);
  // The last reference is gone: releases what a last close releases (flock locks; the lease of a
  // pipe end).
  ~File() override;

  const Path& path() const { return path_; }
  const base::Ref<Inode>& inode() const { return inode_; }
  // The inode whose attributes, locks and watches are those of this file: that of its name. It
  // differs from inode() where a stacked file system opened a file of one of its layers.
  Inode& attr_inode() const { return path_.dentry ? *path_.dentry->inode() : *inode_; }
  // Set by the generic open once the mount is known.
  void set_path(Path p) { path_ = std::move(p); }
  // Whose credentials opened it.
  void set_creds(base::Ref<const Creds> c) { creds_ = std::move(c); }
  const base::Ref<const Creds>& creds() const { return creds_; }

  // O_* status and access bits without creation flags; fcntl(F_SETFL) changes a few.
  uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }
  void set_flags(uint32_t f) { flags_.store(f, std::memory_order_relaxed); }
  bool readable() const { return OpenFlags{flags(), 0}.readable(); }
  bool writable() const { return OpenFlags{flags(), 0}.writable(); }
  bool nonblocking() const { return (flags() & abi::kO_NONBLOCK) != 0; }

  // False: pipes, sockets and the like; read and write have no position, and lseek is ESPIPE.
  virtual bool seekable() const { return true; }

  // Reads into dst at *offset (ignored by streams), advances *offset by what moved. 0 at the end.
  // Never more than dst.remaining(). EAGAIN: nothing there yet. rwf: RWF_* bits.
  virtual base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
    return abi::Errno::kEINVAL;
  }
  // Writes from src. Streams (seekable() is false) may take less than all: a blocking write(2) goes
  // on with the rest, waiting for EPOLLOUT on EAGAIN. O_APPEND (or RWF_APPEND) moves *offset to the
  // end first, atomically. EPIPE: the caller raises SIGPIPE.
  virtual base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) {
    return abi::Errno::kEINVAL;
  }

  // The present EPOLL* mask.
  virtual uint32_t Poll();
  // Where readiness changes are announced; nullptr: always ready as Poll() says.
  virtual WaitQueue* wait_queue() { return nullptr; }
  // Called when somebody starts to listen through epoll or poll, for objects that must arm a host
  // notification.
  virtual void WillWait(uint32_t mask) {}

  // When a blocking read or write that starts now gives up with EAGAIN (SO_RCVTIMEO).
  virtual int64_t WaitDeadline(bool write) { return INT64_MAX; }

  // Moves the position (takes pos_mu) and returns it. The default serves regular files by Getattr's
  // size. SEEK_DATA/SEEK_HOLE may be answered as one extent.
  virtual base::Result<uint64_t> Seek(int64_t offset, int whence);
  // Where data (or a hole) begins at or behind offset, for the default Seek. size: of the file,
  // above offset. The default: all data.
  virtual base::Result<uint64_t> SeekExtent(uint64_t offset, bool hole, uint64_t size) {
    return hole ? size : offset;
  }
  // Directory entries from the current position on; updates it. ENOTDIR.
  virtual base::Result<void> Iterate(DirSink& sink) { return abi::Errno::kENOTDIR; }
  virtual base::Result<void> Fsync(bool data_only) { return abi::Errno::kEINVAL; }
  virtual base::Result<void> Fallocate(int mode, uint64_t offset, uint64_t len) {
    return abi::Errno::kEOPNOTSUPP;
  }
  virtual base::Result<void> Fadvise(uint64_t offset, uint64_t len, int advice) { return {}; }
  // Runs on the calling task. ENOTTY when the object knows no such request; the generic FIO*
  // requests come before.
  virtual base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
    return abi::Errno::kENOTTY;
  }
  // What mmap of this file maps. ENODEV.
  virtual base::Result<base::Ref<Mappable>> Mmap(uint64_t offset, uint64_t len, uint8_t prot,
                                                 bool shared) {
    return abi::Errno::kENODEV;
  }
  // Each close(2) of a descriptor (filp_close): errors that close reports.
  virtual base::Result<void> Flush() { return {}; }
  // Checks a change of status flags (F_SETFL); the generic code stores them afterwards.
  virtual base::Result<void> CheckFlags(uint32_t flags) { return {}; }
  // Lines for /proc/[pid]/fdinfo/N behind pos, flags, mnt_id and ino.
  virtual std::string Fdinfo() { return ""; }
  // What readlink of /proc/[pid]/fd/N shows for an object without a path: "pipe:[12]",
  // "anon_inode:[eventpoll]".
  virtual std::string description() { return ""; }

  // Epoll instances that watch this file, which own no reference to it (sentry/fs/anon/epoll).
  // The hook takes the file off all of them while it is still whole; called before destruction if
  // epoll_watched is set.
  mutable std::atomic<bool> epoll_watched{false};
  static inline void (*epoll_release_hook)(const File* f) = nullptr;

  // Opening /proc/[pid]/fd/N of an object that has no place in the tree. ENXIO: can't be.
  virtual base::Result<base::Ref<File>> Reopen(const OpenFlags& how) { return abi::Errno::kENXIO; }

  // A tag for downcasts: &SomeClass::kKind. RTTI is off.
  virtual const void* kind() const { return nullptr; }

  // The shared position of seekable files; read, write, lseek and getdents hold the lock across the
  // operation (FMODE_ATOMIC_POS).
  base::Mutex<base::LockClass::kPosition> pos_mu;
  uint64_t pos GUARDED_BY(pos_mu) = 0;

  // O_ASYNC means something: changes on wait_queue() are signalled (it has an f_op->fasync).
  virtual bool signals_io() const { return false; }
  // Made by the first F_SETOWN, F_SETSIG or O_ASYNC; the file holds one reference.
  std::atomic<FileOwner*> owner{nullptr};

  // Pages of this file are plain zero memory: mmap makes anonymous memory of it (/dev/zero).
  virtual bool maps_zeros() const { return false; }

  // Its reference on the inode's write access, until the file is released. The first is taken by
  // the generic open; the second by execve, and may be given back. ETXTBSY.
  void HoldsWriteAccess() { access_ = WriteAccess::kWrites; }
  base::Result<void> DenyWrite();
  void AllowWrite();

 protected:
  void LastRef() const override {
    if (epoll_watched.load(std::memory_order_acquire)) epoll_release_hook(this);
    if (FileOwner* o = owner.load(std::memory_order_acquire)) o->FileGone();
    delete this;
  }

 private:
  Path path_;
  const base::Ref<Inode> inode_;
  base::Ref<const Creds> creds_;
  std::atomic<uint32_t> flags_;
  enum class WriteAccess : uint8_t { kNone, kWrites, kDenies };
  WriteAccess access_ = WriteAccess::kNone;
};

// Downcast by kind: nullptr if the file is of another class. T has `static constexpr char kKind =
// 0;` and overrides kind().
template <typename T>
T* FileCast(File* f) {
  return f != nullptr && f->kind() == &T::kKind ? static_cast<T*>(f) : nullptr;
}

// relatime and its relatives (atime_needs_update()): whether a read through file moves atime.
bool NeedsAtime(const File& file, const FileTime& atime, const FileTime& mtime,
                const FileTime& ctime, const FileTime& now);

}  // namespace sentry
