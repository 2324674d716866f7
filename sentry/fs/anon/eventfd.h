// eventfd(2).
#pragma once

#include <atomic>

#include "sentry/vfs/file.h"

namespace sentry {

class EventFd : public File {
 public:
  static constexpr char kKind = 0;
  // flags: O_NONBLOCK.
  EventFd(uint64_t value, bool semaphore, uint32_t flags);

  // Adds for the sentry's own use (aio completion); saturates. Never blocks.
  void Signal(uint64_t n);

  bool seekable() const override { return false; }
  // noop_llseek().
  base::Result<uint64_t> Seek(int64_t offset, int whence) override { return uint64_t{0}; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  std::string Fdinfo() override;
  std::string description() override { return "anon_inode:[eventfd]"; }
  const void* kind() const override { return &kKind; }

 private:
  std::atomic<uint64_t> count_;
  const bool semaphore_;
  WaitQueue queue_;
};

}  // namespace sentry
