// signalfd(2). Reads, polls and waits concern the signals of the task that calls, whoever made the
// descriptor.
#pragma once

#include <atomic>
#include <vector>

#include "sentry/kernel/task.h"
#include "sentry/vfs/file.h"

namespace sentry {

class SignalFd : public File {
 public:
  static constexpr char kKind = 0;
  SignalFd(SignalSet mask, uint32_t flags);
  ~SignalFd() override;
  void set_mask(SignalSet mask);

  bool seekable() const override { return false; }
  // noop_llseek().
  base::Result<uint64_t> Seek(int64_t offset, int whence) override { return uint64_t{0}; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override;
  std::string Fdinfo() override;
  std::string description() override { return "anon_inode:[signalfd]"; }
  const void* kind() const override { return &kKind; }

 private:
  std::atomic<SignalSet> mask_;
  base::Mutex<base::LockClass::kLeaf> mu_;
  // The groups whose queues were handed out: an epoll instance may still be on one when the group
  // is gone otherwise.
  std::vector<base::Ref<ThreadGroup>> groups_ GUARDED_BY(mu_);
};

}  // namespace sentry
