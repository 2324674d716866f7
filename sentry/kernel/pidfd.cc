#include "sentry/kernel/pidfd.h"

#include <atomic>

#include "sentry/vfs/vfs.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

base::Ref<File> PidFd::Make(base::Ref<Task> task, bool thread, uint32_t flags) {
  base::Ref<ThreadGroup> g = task->group_ref();
  return base::MakeRef<PidFd>(Vfs::NewAnonInode(0600), std::move(g),
                              thread ? std::move(task) : base::Ref<Task>(), abi::kO_RDWR | flags);
}

uint32_t PidFd::Poll() {
  // pidfd_poll(): readable once dead, hung up once reaped.
  if (task_) {
    return task_->state.load(std::memory_order_acquire) == 'Z' ? abi::kEPOLLIN | abi::kEPOLLRDNORM
                                                               : 0;
  }
  if (!group_->dead.load(std::memory_order_acquire)) return 0;
  uint32_t mask = abi::kEPOLLIN | abi::kEPOLLRDNORM;
  if (group_->gone.load(std::memory_order_acquire)) mask |= abi::kEPOLLHUP;
  return mask;
}

std::string PidFd::Fdinfo() {
  int32_t pid = -1;
  const Task* self = Task::Current();
  if (self != nullptr) {
    base::MutexLock l(group_->kernel().tree_mu);
    if (!group_->reaped) {
      pid = task_ ? self->pid_ns()->IdOf(*task_) : self->pid_ns()->IdOf(*group_);
    }
  }
  return "Pid:\t" + std::to_string(pid) + "\nNSpid:\t" + std::to_string(pid) + "\n";
}

namespace {
std::atomic<base::Ref<ThreadGroup> (*)(File&)> process_of_directory{nullptr};
}  // namespace

void SetProcessOfDirectory(base::Ref<ThreadGroup> (*find)(File& file)) {
  process_of_directory.store(find, std::memory_order_release);
}

base::Ref<ThreadGroup> ProcessOfDirectory(File& file) {
  base::Ref<ThreadGroup> (*find)(File&) = process_of_directory.load(std::memory_order_acquire);
  return find == nullptr ? nullptr : find(file);
}

}  // namespace sentry
