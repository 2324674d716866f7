// A file over a descriptor that the sandbox was given: its standard streams. The description is
// shared with the outside, so its flags and, for regular files, its position are left as they are:
// nothing here sets O_NONBLOCK, and nothing blocks.
#pragma once

#include <atomic>

#include "platform/base/fd.h"
#include "sentry/fs/hostfd/notifier.h"
#include "sentry/vfs/file.h"

namespace sentry {

class HostFile : public File, private HostNotifier::Listener {
 public:
  static constexpr char kKind = 0;
  // Owns fd. Access mode and O_APPEND are those of the descriptor. uid, gid: the owner that the
  // guest sees.
  static base::Result<base::Ref<HostFile>> Create(base::UniqueFd fd, uint32_t uid, uint32_t gid);
  ~HostFile() override;

  bool seekable() const override { return seekable_; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return pollable_ ? &queue_ : nullptr; }
  void WillWait(uint32_t mask) override;
  bool signals_io() const override { return pollable_; }
  base::Result<uint64_t> Seek(int64_t offset, int whence) override;
  base::Result<void> Fsync(bool data_only) override;
  base::Result<void> Fallocate(int mode, uint64_t offset, uint64_t len) override;
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;
  base::Result<base::Ref<Mappable>> Mmap(uint64_t offset, uint64_t len, uint8_t prot,
                                         bool shared) override;
  std::string description() override;
  // The description is the outside's: there is no second one to be had.
  base::Result<base::Ref<File>> Reopen(const OpenFlags& how) override;
  const void* kind() const override { return &kKind; }

 private:
  class Storage;
  HostFile(base::Ref<Inode> inode, base::UniqueFd fd, uint32_t flags, uint32_t type, bool pollable);
  void OnHostReady(uint32_t ready) override;
  // The host's poll(2) mask, EPOLL* bits are the same.
  uint32_t HostPoll(uint32_t events) const;

  const base::UniqueFd fd_;
  const bool seekable_, pollable_;
  // Whether RWF_NOWAIT works on it; found out by the first use.
  std::atomic<bool> nowait_{true};
  base::Mutex<base::LockClass::kFile> notify_mu_;
  uint64_t notify_id_ GUARDED_BY(notify_mu_) = 0;
  std::atomic<bool> notified_{false};
  WaitQueue queue_;
};

}  // namespace sentry
