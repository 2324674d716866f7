// A sandbox's console: a pseudo-terminal whose master side is relayed by a sentry thread to and
// from descriptors of the host (a terminal in raw mode, which the command sets).
#pragma once

#include <atomic>
#include <memory>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "platform/host/thread.h"
#include "sentry/fs/devpts/devpts.h"

namespace sentry {

class Console {
 public:
  // in and out may be descriptors of one terminal. The nodes are owned by uid and gid of the guest.
  static base::StatusOr<std::unique_ptr<Console>> Create(Devpts& devpts, base::UniqueFd in,
                                                         base::UniqueFd out, uint32_t uid,
                                                         uint32_t gid);
  // Hangs the guest's side up and ends the thread.
  ~Console();

  // For Kernel::InitProcess::controlling_tty.
  const base::Ref<Terminal>& terminal() const { return terminal_; }
  // A new open file of the guest's side, for its descriptors 0, 1 and 2.
  base::Result<base::Ref<File>> OpenSlave();
  void SetWindowSize(const abi::Winsize& w) { terminal_->SetWindowSize(w); }
  // Waits until what the guest wrote has gone out, at most timeout_ns.
  void Drain(int64_t timeout_ns);

 private:
  class Waker : public WaitEntry {
   public:
    explicit Waker(Console& c) : owner_(c) {}
    bool OnReady(uint32_t) override {
      owner_.Wake();
      return true;
    }

   private:
    Console& owner_;
  };
  Console() = default;
  static void ThreadMain(void* self);
  void Run();
  void Wake();

  base::Ref<Terminal> terminal_;
  base::UniqueFd in_, out_, event_;
  Waker waker_{*this};
  host::Thread thread_;
  std::atomic<bool> signalled_{false}, stop_{false}, idle_{false};
};

}  // namespace sentry
