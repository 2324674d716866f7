// The middle of signal delivery, under a thread group's signal lock; for sentry/kernel only.
#pragma once

#include "sentry/kernel/kernel.h"

namespace sentry {

struct SignalOps {
  // __send_signal_locked(). task: directed to it alone; null: to the group. EAGAIN: queue full.
  static base::Result<void> Send(ThreadGroup& g, Task* task, const abi::SigInfo& info, bool force)
      REQUIRES_LOCK(g.signal_mu);
  // prepare_signal(): side effects of stop and continue signals; false: drop it.
  static bool Prepare(ThreadGroup& g, Task& t, int sig, bool force) REQUIRES_LOCK(g.signal_mu);
  static bool Ignored(ThreadGroup& g, Task& t, int sig, bool force) REQUIRES_LOCK(g.signal_mu);
  // complete_signal(): wakes a task that takes it; a fatal one ends the group at once.
  static void Complete(ThreadGroup& g, Task* task, int sig) REQUIRES_LOCK(g.signal_mu);
  static bool Wants(ThreadGroup& g, Task& t, int sig) REQUIRES_LOCK(g.signal_mu);
  // Everybody dies with this wait status.
  static void StartGroupExit(ThreadGroup& g, int32_t status) REQUIRES_LOCK(g.signal_mu);
  // retarget_shared_pending(): t no longer takes the signals of set.
  static void Retarget(ThreadGroup& g, Task& t, SignalSet set) REQUIRES_LOCK(g.signal_mu);
  // recalc_sigpending() for the calling task: signals; any reason to be interrupted.
  static bool HasPending(ThreadGroup& g, Task& t) REQUIRES_LOCK(g.signal_mu);
  static bool HasWork(ThreadGroup& g, Task& t) REQUIRES_LOCK(g.signal_mu);
  static abi::SigInfo Dequeue(ThreadGroup& g, Task& t, SignalSet blocked)
      REQUIRES_LOCK(g.signal_mu);
  // t need not stop any more (it exits, or has stopped). True: it was the last one, the group is
  // stopped now.
  static bool CountStopped(ThreadGroup& g, Task& t) REQUIRES_LOCK(g.signal_mu);
};

}  // namespace sentry
