// pidfd_open(2): a file that stands for a process, or with PIDFD_THREAD for a thread.
#pragma once

#include "sentry/kernel/kernel.h"
#include "sentry/vfs/file.h"

namespace sentry {

class PidFd : public File {
 public:
  static constexpr char kKind = 0;
  // flags: PIDFD_NONBLOCK (O_NONBLOCK).
  static base::Ref<File> Make(base::Ref<Task> task, bool thread, uint32_t flags);
  PidFd(base::Ref<Inode> inode, base::Ref<ThreadGroup> group, base::Ref<Task> task, uint32_t flags)
      : File(Path(), std::move(inode), flags), group_(std::move(group)), task_(std::move(task)) {}
  const void* kind() const override { return &kKind; }
  bool seekable() const override { return false; }
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &group_->exit_events; }
  std::string Fdinfo() override;
  std::string description() override { return "anon_inode:[pidfd]"; }

  ThreadGroup& group() const { return *group_; }
  // Of PIDFD_THREAD, else null.
  const base::Ref<Task>& task() const { return task_; }

 private:
  const base::Ref<ThreadGroup> group_;
  const base::Ref<Task> task_;
};

// pidfd_send_signal(2) takes an open /proc/[pid] too. What finds its process (null: no such
// directory) is installed by proc, before the first instance is made.
void SetProcessOfDirectory(base::Ref<ThreadGroup> (*find)(File& file));
base::Ref<ThreadGroup> ProcessOfDirectory(File& file);

}  // namespace sentry
