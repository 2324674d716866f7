// Sending signals and changing masks and actions (kernel/signal.c).
#include "sentry/kernel/posix_timers.h"
#include "sentry/kernel/signal_ops.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"

namespace sentry {
namespace {

bool KernelOnly(int sig) { return sig == abi::kSIGKILL || sig == abi::kSIGSTOP; }

uint32_t QueuedSignals(ThreadGroup& g) REQUIRES_LOCK(g.signal_mu) {
  uint32_t n = g.pending.queued();
  for (Task* t : g.tasks) n += t->pending.queued();
  return n;
}

}  // namespace

bool SignalOps::Ignored(ThreadGroup& g, Task& t, int sig, bool force) {
  if (((t.blocked() | t.real_blocked_) & SignalBit(sig)) != 0) return false;
  abi::SigAction a = g.handlers->Get(sig);
  if (g.unkillable.load(std::memory_order_relaxed) && a.handler == abi::kSIG_DFL &&
      !(force && KernelOnly(sig))) {
    return true;
  }
  if (a.handler == abi::kSIG_IGN) return true;
  if (a.handler != abi::kSIG_DFL) return false;
  DefaultAction d = DefaultActionOf(sig);
  return d == DefaultAction::kIgnore || d == DefaultAction::kContinue;
}

bool SignalOps::Prepare(ThreadGroup& g, Task& t, int sig, bool force) {
  if (g.group_exiting) return false;
  if ((SignalBit(sig) & kStopSignals) != 0) {
    g.pending.Discard(SignalBit(abi::kSIGCONT));
    for (Task* x : g.tasks) x->pending.Discard(SignalBit(abi::kSIGCONT));
  } else if (sig == abi::kSIGCONT) {
    g.pending.Discard(kStopSignals);
    for (Task* x : g.tasks) x->pending.Discard(kStopSignals);
    if (g.stop_signal != 0) {
      // A stop that was not complete yet is still told as one.
      g.notify_parent = g.stopped ? abi::kCLD_CONTINUED : abi::kCLD_STOPPED;
      if (g.stopped) g.stop_report = 0;
      g.continue_report = true;
      g.stop_signal = 0;
      g.stop_remaining = 0;
      g.stopped = false;
      for (Task* x : g.tasks) {
        x->stop_counted_ = false;
        x->Interrupt();
      }
    }
  }
  return !Ignored(g, t, sig, force);
}

bool SignalOps::Wants(ThreadGroup& g, Task& t, int sig) {
  if ((t.blocked() & SignalBit(sig)) != 0) return false;
  if (t.exiting()) return false;
  if (sig == abi::kSIGKILL) return true;
  if (t.state.load(std::memory_order_relaxed) == 'T') return false;
  return !t.interrupted() || t.in_guest_.load(std::memory_order_relaxed);
}

void SignalOps::StartGroupExit(ThreadGroup& g, int32_t status) {
  if (g.group_exiting) return;
  g.group_exiting = true;
  g.group_exit_status = status;
  g.stop_signal = 0;
  for (Task* t : g.tasks) {
    t->killed_.store(true, std::memory_order_release);
    t->Interrupt();
  }
}

void SignalOps::Complete(ThreadGroup& g, Task* task, int sig) {
  Task* t = nullptr;
  Task* first = task != nullptr ? task : g.leader;
  if (first != nullptr && Wants(g, *first, sig)) {
    t = first;
  } else if (task == nullptr) {
    for (Task* x : g.tasks) {
      if (x != first && Wants(g, *x, sig)) {
        t = x;
        break;
      }
    }
  }
  if (t == nullptr) return;  // who unblocks it finds it
  DefaultAction d = DefaultActionOf(sig);
  if ((d == DefaultAction::kTerminate || d == DefaultAction::kCore) &&
      g.handlers->Get(sig).handler == abi::kSIG_DFL && (t->real_blocked_ & SignalBit(sig)) == 0) {
    // No core files are written, so core signals need no detour through the receiver.
    StartGroupExit(g, sig);
    return;
  }
  t->Interrupt();
}

base::Result<void> SignalOps::Send(ThreadGroup& g, Task* task, const abi::SigInfo& info,
                                   bool force) {
  int sig = info.signo;
  Task* first = task != nullptr ? task : g.leader;
  if (first == nullptr || (task != nullptr && task->exiting())) return {};
  if (!Prepare(g, *first, sig, force)) return {};
  PendingSignals& pending = task != nullptr ? task->pending : g.pending;
  if (sig < abi::kSIGRTMIN && pending.Has(sig)) return {};
  bool override_limit = sig < abi::kSIGRTMIN && info.code >= 0;
  if (!override_limit && QueuedSignals(g) >= g.limits.Get(abi::kRLIMIT_SIGPENDING).cur) {
    if (sig >= abi::kSIGRTMIN && info.code != abi::kSI_USER) return abi::Errno::kEAGAIN;
    pending.Mark(sig);
  } else {
    pending.Queue(info);
  }
  // Before the masks are looked at: see platform::LocalThread.
  for (Task* x : g.tasks) x->SetLocalPending(true);
  g.signal_queue.Wake(abi::kEPOLLIN);
  Complete(g, task, sig);
  return {};
}

void SignalOps::Retarget(ThreadGroup& g, Task& t, SignalSet set) {
  set &= g.pending.pending();
  if (set == 0) return;
  for (Task* x : g.tasks) {
    if (x == &t || x->exiting()) continue;
    SignalSet takes = set & ~x->blocked();
    if (takes == 0) continue;
    x->Interrupt();
    set &= ~takes;
    if (set == 0) return;
  }
}

bool SignalOps::HasPending(ThreadGroup& g, Task& t) {
  return ((t.pending.pending() | g.pending.pending()) & ~t.blocked()) != 0;
}

bool SignalOps::HasWork(ThreadGroup& g, Task& t) {
  return t.killed() || t.exiting() || g.stop_signal != 0 || g.notify_parent != 0 ||
         HasPending(g, t);
}

abi::SigInfo SignalOps::Dequeue(ThreadGroup& g, Task& t, SignalSet blocked) {
  abi::SigInfo info = t.pending.Dequeue(blocked);
  if (info.signo == 0) info = g.pending.Dequeue(blocked);
  return info;
}

bool SignalOps::CountStopped(ThreadGroup& g, Task& t) {
  if (!t.stop_counted_) return false;
  t.stop_counted_ = false;
  if (--g.stop_remaining != 0 || g.stop_signal == 0) return false;
  g.stopped = true;
  return true;
}

// --- Kernel ---

base::Result<void> Kernel::SendToGroup(ThreadGroup& g, const abi::SigInfo& info, bool force) {
  if (info.signo == 0) return {};
  base::MutexLock l(g.signal_mu);
  return SignalOps::Send(g, nullptr, info, force);
}

void Kernel::SendToPgrpLocked(ProcessGroup& p, const abi::SigInfo& info) {
  for (ThreadGroup* g : p.members) (void)SendToGroup(*g, info);
}

void Kernel::SendToPgrp(ProcessGroup& p, const abi::SigInfo& info) {
  base::MutexLock l(tree_mu);
  SendToPgrpLocked(p, info);
}

bool Kernel::MaySignal(const Task& sender, Task& target, int sig) {
  if (&sender.group() == &target.group()) return true;
  const Creds& c = sender.creds();
  base::Ref<const Creds> t = target.creds_ref();
  if (c.euid == t->suid || c.euid == t->uid || c.uid == t->suid || c.uid == t->uid) return true;
  if (c.HasIn(*t->user_ns, abi::kCAP_KILL)) return true;
  return sig == abi::kSIGCONT && sender.group().pgrp && target.group().pgrp &&
         sender.group().pgrp->session() == target.group().pgrp->session();
}

bool Kernel::MayAccess(const Task& caller, Task& target, bool fs_creds) {
  // __ptrace_may_access() and cap_ptrace_access_check().
  if (&caller.group() == &target.group()) return true;
  const Creds& c = caller.creds();
  base::Ref<const Creds> t = target.creds_ref();
  uint32_t uid = fs_creds ? c.fsuid : c.uid, gid = fs_creds ? c.fsgid : c.gid;
  bool cap = c.HasIn(*t->user_ns, abi::kCAP_SYS_PTRACE);
  bool same = uid == t->euid && uid == t->suid && uid == t->uid && gid == t->egid &&
              gid == t->sgid && gid == t->gid;
  if (!same && !cap) return false;
  base::Ref<MemoryManager> mm = target.mm_ref();
  if (mm && !mm->dumpable.load() && !cap) return false;
  if (c.user_ns == t->user_ns && (t->permitted & ~c.permitted) == 0) return true;
  return cap;
}

abi::SigInfo Kernel::UserSigInfo(const Task& sender, int sig, int32_t code,
                                 const PidNamespace& ns) {
  int32_t pid = &ns == sender.pid_ns().get() ? sender.tgid() : ns.IdOf(sender.group());
  return MakeSigInfo(sig, code, pid, sender.creds().uid);
}

base::Ref<ThreadGroup> Kernel::FindGroup(const PidNamespace& ns, int32_t tgid) {
  base::MutexLock l(tree_mu);
  return base::Ref<ThreadGroup>(ns.FindGroup(tgid));
}

base::Ref<Task> Kernel::FindTask(const PidNamespace& ns, int32_t tid) {
  base::MutexLock l(tree_mu);
  return base::Ref<Task>(ns.FindTask(tid));
}

// --- Task ---

base::Result<void> Task::SendSignal(const abi::SigInfo& info, bool force) {
  if (info.signo == 0) return {};
  ThreadGroup& g = *group_;
  base::MutexLock l(g.signal_mu);
  return SignalOps::Send(g, this, info, force);
}

void Task::ForceSignal(const abi::SigInfo& info) {
  // force_sig_info_to_task().
  ThreadGroup& g = *group_;
  int sig = info.signo;
  base::MutexLock l(g.signal_mu);
  abi::SigAction a = g.handlers->Get(sig);
  bool blocked = (this->blocked() & SignalBit(sig)) != 0;
  if (blocked || a.handler == abi::kSIG_IGN || sig == abi::kSIGKILL) {
    a.handler = abi::kSIG_DFL;
    g.handlers->Set(sig, a);
    StoreBlocked(this->blocked() & ~SignalBit(sig));
  }
  if (a.handler == abi::kSIG_DFL) g.unkillable.store(false, std::memory_order_relaxed);
  (void)SignalOps::Send(g, this, info, true);
  interrupt_.store(true, std::memory_order_release);
}

// The caller holds signal_mu, which the analysis can't follow through group_.
void Task::SetBlockedLocked(SignalSet mask) NO_THREAD_SAFETY_ANALYSIS {
  ThreadGroup& g = *group_;
  SignalSet newly = mask & ~blocked();
  StoreBlocked(mask);
  if (newly != 0 && g.tasks.size() > 1) SignalOps::Retarget(g, *this, newly);
  if (SignalOps::HasPending(g, *this)) interrupt_.store(true, std::memory_order_release);
  SetLocalPending((pending.pending() | g.pending.pending()) != 0);
}

void Task::SetBlocked(SignalSet mask) {
  mask &= ~kUnblockable;
  const platform::LocalThread* local = local_.load(std::memory_order_relaxed);
  if (mask == blocked() &&
      (local == nullptr || __atomic_load_n(&local->pending, __ATOMIC_RELAXED) == 0))
    return;
  base::MutexLock l(group_->signal_mu);
  SetBlockedLocked(mask);
}

void Task::SetTemporaryMask(SignalSet mask) {
  if (!has_saved_mask_) {
    saved_mask_ = blocked();
    has_saved_mask_ = true;
  }
  SetBlocked(mask);
}

SignalSet Task::PendingSet() {
  ThreadGroup& g = *group_;
  base::MutexLock l(g.signal_mu);
  return pending.pending() | g.pending.pending();
}

abi::SigInfo Task::TakeSignal(SignalSet set) {
  ThreadGroup& g = *group_;
  abi::SigInfo info;
  {
    base::MutexLock l(g.signal_mu);
    info = SignalOps::Dequeue(g, *this, ~set);
  }
  if (info.signo != 0 && info.code == abi::kSI_TIMER && g.timers) g.timers->OnDequeue(&info);
  return info;
}

base::Result<abi::SigInfo> Task::WaitSignal(SignalSet set, int64_t deadline_ns) {
  // do_sigtimedwait().
  set &= ~kUnblockable;
  abi::SigInfo info = TakeSignal(set);
  if (info.signo != 0) return info;
  if (deadline_ns <= 0) return abi::Errno::kEAGAIN;
  ThreadGroup& g = *group_;
  parker_.Reset();
  {
    base::MutexLock l(g.signal_mu);
    // Between the look and the lock one may have come.
    if (((pending.pending() | g.pending.pending()) & set) == 0) {
      real_blocked_ = blocked();
      StoreBlocked(real_blocked_ & ~set);
    }
  }
  base::Result<void> slept;
  if (real_blocked_ != 0 || (blocked() & set) == 0) slept = Block(deadline_ns);
  {
    base::MutexLock l(g.signal_mu);
    if (real_blocked_ != 0) {
      SignalSet mask = real_blocked_;
      real_blocked_ = 0;
      SetBlockedLocked(mask);
    }
    info = SignalOps::Dequeue(g, *this, ~set);
    // The interruption that brought it is answered.
    if (info.signo != 0 && !SignalOps::HasWork(g, *this)) {
      interrupt_.store(false, std::memory_order_relaxed);
    }
  }
  if (info.signo != 0) {
    if (info.code == abi::kSI_TIMER && g.timers) g.timers->OnDequeue(&info);
    return info;
  }
  if (slept.is(abi::Errno::kETIMEDOUT)) return abi::Errno::kEAGAIN;
  return abi::Errno::kEINTR;
}

abi::SigAction Task::SetAction(int sig, const abi::SigAction& a) {
  ThreadGroup& g = *group_;
  base::MutexLock l(g.signal_mu);
  abi::SigAction old = g.handlers->Set(sig, a);
  DefaultAction d = DefaultActionOf(sig);
  bool ignored = a.handler == abi::kSIG_IGN ||
                 (a.handler == abi::kSIG_DFL &&
                  (d == DefaultAction::kIgnore || d == DefaultAction::kContinue));
  if (ignored) {
    // POSIX 3.3.1.3: a pending signal is discarded, blocked or not.
    g.pending.Discard(SignalBit(sig));
    for (Task* t : g.tasks) t->pending.Discard(SignalBit(sig));
  }
  return old;
}

bool Task::OnAltStack(uint64_t sp) const {
  // SS_AUTODISARM: never "on" it.
  if ((static_cast<uint32_t>(altstack.flags) & 0x80000000u) != 0) return false;
  return sp > altstack.sp && sp - altstack.sp <= altstack.size;
}

}  // namespace sentry
