// TaskRunner: the loop that runs a task: guest, system calls, faults, signals. For sentry/kernel
// only; one per task, on its host thread's stack.
#pragma once

#include "sentry/kernel/kernel.h"

namespace sentry {

class TaskRunner {
 public:
  explicit TaskRunner(Task& task) : t_(task), kernel_(task.kernel()) {}
  // Until the task has to exit.
  void Run();

 private:
  void Loop();
  void DoSyscall();
  // The guest's own filters: false, and the outcome is set, if the call is not to be made.
  bool Seccomp(const SyscallArgs& args);
  void DoFault(const platform::Stop& s);
  // Acts on all that is pending: death (false: the task must exit), stops, signals.
  bool HandleInterrupt();
  // get_signal(): the next signal that has a handler; signo 0: none. Dies, stops and ignores
  // inside. False: exit.
  bool NextSignal(abi::SigInfo* info, abi::SigAction* action);
  void Stop();
  void Deliver(const abi::SigInfo& info, const abi::SigAction& action);
  // regs: those of the handler's start. started: the guest has them already.
  base::Result<void> PushFrame(platform::Regs* regs, const abi::SigInfo& info,
                               const abi::SigAction& action, SignalSet mask, bool* started);

  Task& t_;
  Kernel& kernel_;
  // A system call that returned a restart code and whose fate is not decided yet; 0: none. A
  // handler decides (arch_do_signal_or_restart()); without one the call runs again.
  int16_t restart_ = 0;
};

}  // namespace sentry
