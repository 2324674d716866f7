// A process of the guest that was started from outside: the container's first, or an exec's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "runsc-cli/boot/place.h"
#include "runsc-cli/boot/streams.h"
#include "sentry/fs/devpts/console.h"
#include "sentry/kernel/kernel.h"

namespace runsc {

// Why a process could not be started, and what a shell would exit with. status 0: it was.
struct StartFailure {
  std::string text;
  int status = 0;
};

class GuestProcess : public base::RefCounted {
 public:
  // What Start would say of the program and the working directory.
  static StartFailure Check(const Place& c, const ProcessSpec& process);
  // first: its end is the container's. host_pid: what stands for it on the host. on_exit gets the
  // wait status, after the terminal's output has gone out, on a thread of the guest's.
  // state: what startContainer hooks of the first process read, or invalid.
  static StartFailure Start(const Place& c, const ProcessSpec& process, Streams streams, bool first,
                            int32_t host_pid, std::function<void(int32_t)> on_exit,
                            base::Ref<GuestProcess>* out,
                            const base::UniqueFd& state = base::UniqueFd());

  void Signal(int sig);
  void SetWindowSize(uint16_t rows, uint16_t columns);
  int32_t host_pid() const { return host_pid_; }
  const sentry::ThreadGroup* group() const { return group_.get(); }
  bool exited() const { return exited_.load(std::memory_order_acquire); }

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  // Shared with callers that use it while the process ends.
  struct Terminal : public base::RefCounted {
    std::unique_ptr<sentry::Console> console;
  };

  GuestProcess(sentry::Kernel& kernel, int32_t host_pid) : kernel_(kernel), host_pid_(host_pid) {}
  static StartFailure RunStartHooks(const Place& c, const ProcessSpec& process,
                                    const base::UniqueFd& state);
  base::Status OpenStreams(const Place& place, const sentry::VfsContext& ctx,
                           const ProcessSpec& process, Streams streams, sentry::FdTable& fds);
  void Ended();
  base::Ref<Terminal> terminal();

  sentry::Kernel& kernel_;
  const int32_t host_pid_;
  base::Ref<sentry::ThreadGroup> group_;
  std::atomic<bool> exited_{false};
  base::Mutex<base::LockClass::kControl> mu_;
  base::Ref<Terminal> terminal_ GUARDED_BY(mu_);
};

}  // namespace runsc
