// RLIMIT_CPU: SIGXCPU at the soft limit and every second behind it, SIGKILL at the hard one
// (check_process_timers() in kernel/time/posix-cpu-timers.c).
#pragma once

#include "sentry/kernel/process.h"
#include "sentry/time/timer.h"

namespace sentry {

class CpuLimit final : public Timer {
 public:
  explicit CpuLimit(ThreadGroup& g) : Timer(TheTimerQueue()), group_(g) {}
  ~CpuLimit() override { Cancel(); }
  // Watches from now on, if the group's limit is finite; made on demand. No lock held.
  static void Watch(ThreadGroup& g);

 private:
  void OnTimer() override { Check(); }
  void Check();

  ThreadGroup& group_;
};

}  // namespace sentry
