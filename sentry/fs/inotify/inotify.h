// inotify(7) instances. The hooks and the watches on inodes are in sentry/vfs.
#pragma once

#include <deque>
#include <string>

#include "absl/container/btree_map.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/vfs.h"
#include "sentry/vfs/watches.h"

namespace sentry {

class InotifyInstance : public InotifySink {
 public:
  void Event(int32_t wd, uint32_t mask, uint32_t cookie, std::string_view name) override;
  void Ignored(int32_t wd) override;

  // EAGAIN when empty, EINVAL when the first event does not fit, EFAULT.
  base::Result<uint64_t> Read(IoBuffer& dst);
  uint64_t QueuedBytes();
  WaitQueue& queue() { return queue_; }

  // One caller at a time (the file's pos_mu).
  base::Result<int32_t> AddWatch(base::Ref<Inode> inode, uint32_t mask);
  base::Result<void> RemoveWatch(int32_t wd);
  // The file is gone: takes all watches off.
  void Close();
  std::string Fdinfo();

 private:
  struct Queued {
    int32_t wd;
    uint32_t mask, cookie;
    std::string name;
  };
  static uint64_t SizeOf(const Queued& q);
  void Push(Queued q);

  base::Mutex<base::LockClass::kInotify> mu_;
  std::deque<Queued> events_ GUARDED_BY(mu_);
  absl::btree_map<int32_t, base::Ref<Inode>> watched_ GUARDED_BY(mu_);
  int32_t next_wd_ GUARDED_BY(mu_) = 1;
  WaitQueue queue_;
};

class InotifyFile : public File {
 public:
  static constexpr char kKind = 0;
  explicit InotifyFile(uint32_t flags)
      : File(Path{}, Vfs::NewAnonInode(0600), flags), instance_(base::MakeRef<InotifyInstance>()) {}
  ~InotifyFile() override { instance_->Close(); }
  const void* kind() const override { return &kKind; }
  bool seekable() const override { return false; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t*, uint32_t) override {
    return instance_->Read(dst);
  }
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &instance_->queue(); }
  bool signals_io() const override { return true; }
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;
  std::string Fdinfo() override { return instance_->Fdinfo(); }
  std::string description() override { return "anon_inode:inotify"; }
  InotifyInstance& instance() { return *instance_; }

 private:
  const base::Ref<InotifyInstance> instance_;
};

}  // namespace sentry
