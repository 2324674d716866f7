// Signal-driven I/O: F_SETOWN, F_SETSIG, O_ASYNC (fs/fcntl.c).
//
// A listener on the file's wait queue sees what becomes ready; the signal is sent later, without
// locks: by the task that caused it, before it sleeps or returns to its guest, or else by a thread
// of the sentry that starts with the first O_ASYNC.
#pragma once

#include "sentry/kernel/kernel.h"
#include "sentry/vfs/file.h"
#include "syscalls/abi/fcntl.h"

namespace sentry {

class AsyncOwner final : public FileOwner {
 public:
  // That of f: null if nobody ever asked; Of makes it.
  static AsyncOwner* Present(const File& f) {
    return static_cast<AsyncOwner*>(f.owner.load(std::memory_order_acquire));
  }
  static AsyncOwner& Of(File& f);

  // id in the task's pid namespace, 0: nobody; type: F_OWNER_*. ESRCH.
  base::Result<void> SetOwner(const Task& t, int32_t type, int32_t id);
  // pid 0: none, or it is gone.
  abi::FOwnerEx Owner(const Task& t) const;
  // The real and effective user who set the owner; global ids.
  std::array<uint32_t, 2> Uids() const;
  void SetSignal(int32_t sig);  // 0: plain SIGIO
  int32_t signal() const;

  // O_ASYNC goes on or off (fasync_helper()); fd is what si_fd shows. ENOMEM: the host gives no
  // thread.
  base::Result<void> Listen(File& f, int32_t fd, bool on);
  void FileGone() override { Stop(); }

  // send_sigurg(): O_ASYNC or not. No lock held.
  void SendUrgent() { SendInfo(KernelSigInfo(abi::kSIGURG)); }

  // Own thread: sends what t's calls have raised.
  static void Deliver(Task& t);

 private:
  friend struct IoEvent;
  class Dispatcher;
  class Listener : public WaitEntry {
   public:
    explicit Listener(AsyncOwner& o) : owner_(o) {}
    bool OnReady(uint32_t ready) override;

   private:
    AsyncOwner& owner_;
  };
  void Stop();
  void Send(int32_t reason);
  // To the owner, as far as it may be signalled.
  void SendInfo(const abi::SigInfo& info);
  // sigio_perm().
  static bool MaySignal(uint32_t uid, uint32_t euid, Task& to);

  Listener listener_{*this};
  base::Mutex<base::LockClass::kFileOwner> listen_mu_;
  WaitQueue* queue_ GUARDED_BY(listen_mu_) = nullptr;

  mutable base::Mutex<base::LockClass::kLeaf> mu_;
  Kernel* kernel_ GUARDED_BY(mu_) = nullptr;
  int32_t type_ GUARDED_BY(mu_) = 0;
  // A Task, ThreadGroup or ProcessGroup, as type_ says; null: nobody.
  base::Ref<base::RefCounted> who_ GUARDED_BY(mu_);
  uint32_t uid_ GUARDED_BY(mu_) = 0, euid_ GUARDED_BY(mu_) = 0;
  int32_t signal_ GUARDED_BY(mu_) = 0, fd_ GUARDED_BY(mu_) = -1;
};

}  // namespace sentry
