#include "sentry/kernel/task_run.h"

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "sentry/kernel/async_io.h"
#include "sentry/kernel/posix_timers.h"
#include "sentry/kernel/signal_ops.h"
#include "sentry/mm/scarcity.h"

namespace sentry {

void TaskRunner::Run() {
  platform::active.fetch_add(1, std::memory_order_relaxed);
  if (t_.group().container().frozen.load()) t_.interrupt_.store(true);
  {
    LateWakes late;
    Loop();
  }
  platform::active.fetch_sub(1, std::memory_order_relaxed);
}

void TaskRunner::Loop() {
  Task& t = t_;
  for (;;) {
    if (t.interrupt_.load(std::memory_order_acquire)) [[unlikely]] {
      if (!HandleInterrupt()) return;
    }
    if (restart_ != 0) [[unlikely]] {
      // No handler came between: the call starts again. The guest sees nothing of it, so it need
      // not go there.
      DoSyscall();
      continue;
    }
    t.in_guest_.store(true, std::memory_order_seq_cst);
    if (t.interrupt_.load(std::memory_order_seq_cst)) [[unlikely]] {
      t.in_guest_.store(false, std::memory_order_relaxed);
      continue;
    }
    if (t.local_stale_.load(std::memory_order_seq_cst)) [[unlikely]]
      t.PublishLocal();
    t.set_ = Task::Set::kNothing;
    LateWakes::Tick();
    platform::Stop s = t.guest_->Run();
    t.in_guest_.store(false, std::memory_order_relaxed);
    switch (s.kind) {
      case platform::Stop::Kind::kSyscall:
        DoSyscall();
        break;
      case platform::Stop::Kind::kFault:
        DoFault(s);
        break;
      case platform::Stop::Kind::kInterrupted:
        break;
      case platform::Stop::Kind::kDead:
        if (!t.killed()) LOG_WARNING("guest thread %d died; its process is killed", t.root_tid());
        t.ExitGroup(abi::kSIGKILL);
        break;
    }
  }
}

void TaskRunner::DoSyscall() {
  Task& t = t_;
  const SyscallTable& table = kernel_.options().syscalls;
  const SyscallHooks& hooks = kernel_.options().hooks;
  const SyscallArgs& args = t.guest_->syscall();
  // do_syscall_64(): the number is the low 32 bits of rax.
  uint32_t nr = static_cast<uint32_t>(args.nr);
  SyscallFn fn = nr < table.fn.size() ? table.fn[nr] : table.unknown;
  SyscallResult r(0);
  if (std::exchange(restart_, 0) == static_cast<int16_t>(base::Restart::kRestartBlock))
      [[unlikely]] {
    RestartBlock block = std::exchange(t.restart_block, nullptr);
    r = block ? block(t) : SyscallResult(abi::Errno::kEINTR);
  } else if (t.seccomp_mode() != 0 && !Seccomp(args)) [[unlikely]] {
    return;
  } else if (hooks.enter != nullptr) [[unlikely]] {
    SyscallArgs copy = args;
    hooks.enter(t, copy);
    r = fn(t, copy);
    if (hooks.leave != nullptr) hooks.leave(t, copy, r);
  } else {
    r = fn(t, args);
  }
  if (r.regs_set()) [[unlikely]] {
    t.retired_guest_.reset();
    t.retired_mm_.reset();
    return;
  }
  if (t.has_saved_mask_) [[unlikely]] {
    // restore_saved_sigmask_unless(): signals get through the temporary mask only if they ended
    // the call.
    bool interrupted = r.is_restart() || r.code() == static_cast<int16_t>(abi::Errno::kEINTR);
    if (!interrupted || !t.interrupted()) {
      t.has_saved_mask_ = false;
      t.SetBlocked(t.saved_mask_);
    }
  }
  if (copy_lacked_memory) [[unlikely]] {
    copy_lacked_memory = false;
    // If nothing was transferred, the call can start again.
    if (kernel_.OutOfMemory(t) && r.code() == static_cast<int16_t>(abi::Errno::kEFAULT))
      r = base::Restart::kNoIntr;
  }
  if (!r.is_restart()) [[likely]] {
    uint64_t value =
        r.code() == 0 ? r.value() : static_cast<uint64_t>(-static_cast<int64_t>(r.code()));
    t.guest_->SetReturn(value);
    t.set_return_ = value;
    t.set_ = Task::Set::kReturn;
  } else {
    restart_ = r.code();
    t.interrupt_.store(true, std::memory_order_release);
  }
}

void TaskRunner::DoFault(const platform::Stop& s) {
  Task& t = t_;
  // The engine's word comes from the guest's side: only signals that faults raise pass.
  constexpr uint32_t kPageFault = 14, kGeneralProtection = 13, kBreakpoint = 3, kAlignment = 17;
  t.fault_trapno_ = s.trapno;
  t.fault_error_ = s.error;
  if (s.trapno == kPageFault) {
    t.fault_cr2_ = s.addr;
    uint8_t access = (s.error & 16) != 0  ? platform::kProtExec
                     : (s.error & 2) != 0 ? platform::kProtWrite
                                          : platform::kProtRead;
    MemoryManager::FaultError err{};
    if (t.mm_->HandleFault(s.addr, access, &err, s.signo == abi::kSIGBUS)) {
      t.min_flt.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    if (err.no_memory && kernel_.OutOfMemory(t)) return;
    // What the guest sees in sigcontext: a user access; the page may be present to the sentry only.
    t.fault_error_ = (s.error & ~uint64_t{1}) | 4 | (err.code == abi::kSEGV_ACCERR ? 1 : 0);
    abi::SigInfo info = MakeSigInfo(err.signo, err.code);
    info.f.fault.addr = s.addr;
    t.ForceSignal(info);
    return;
  }
  constexpr SignalSet kFaults = SignalBit(abi::kSIGSEGV) | SignalBit(abi::kSIGBUS) |
                                SignalBit(abi::kSIGFPE) | SignalBit(abi::kSIGILL) |
                                SignalBit(abi::kSIGTRAP);
  if (s.signo == 0 || s.signo > 31 || (SignalBit(s.signo) & kFaults) == 0) {
    LOG_WARNING("guest thread %d reports signal %d; its process is killed", t.root_tid(), s.signo);
    t.ExitGroup(abi::kSIGKILL);
    return;
  }
  abi::SigInfo info = MakeSigInfo(s.signo, s.code);
  bool no_address =
      s.trapno == kGeneralProtection || s.trapno == kBreakpoint || s.trapno == kAlignment;
  info.f.fault.addr = no_address ? 0 : s.addr;
  t.ForceSignal(info);
}

bool TaskRunner::HandleInterrupt() {
  Task& t = t_;
  const Container& container = t.group().container();
  if (container.frozen.load()) [[unlikely]]
    t.BlockKillable([&] { return !container.frozen.load(); });
  AsyncOwner::Deliver(t);
  for (;;) {
    abi::SigInfo info;
    abi::SigAction action;
    if (!NextSignal(&info, &action)) return false;
    if (info.signo == 0) break;
    Deliver(info, action);
  }
  if (t.has_saved_mask_) {
    // Nobody took the mask with a frame.
    t.has_saved_mask_ = false;
    t.SetBlocked(t.saved_mask_);
  }
  return true;
}

bool TaskRunner::NextSignal(abi::SigInfo* info, abi::SigAction* action) {
  Task& t = t_;
  ThreadGroup& g = t.group();
  for (;;) {
    int32_t notify = 0;
    bool stop = false;
    {
      base::MutexLock l(g.signal_mu);
      t.interrupt_.store(false, std::memory_order_relaxed);
      if (t.exiting() || t.killed()) {
        if (!t.exiting()) {
          t.exit_status_ = g.group_exit_status;
          t.exiting_.store(true, std::memory_order_release);
        }
        return false;
      }
      notify = std::exchange(g.notify_parent, 0);
      if (notify == 0 && g.stop_signal != 0) {
        stop = true;
      } else if (notify == 0) {
        *info = t.pending.DequeueSynchronous(t.blocked());
        if (info->signo == 0) *info = SignalOps::Dequeue(g, t, t.blocked());
        t.SetLocalPending((t.pending.pending() | g.pending.pending()) != 0);
      }
    }
    if (notify != 0) {
      // do_notify_parent_cldstop(): needs the tree lock, so the stopped side's own task does it.
      base::MutexLock l(kernel_.tree_mu);
      kernel_.NotifyStop(g, notify);
      continue;
    }
    if (stop) {
      Stop();
      continue;
    }
    if (info->signo == 0) return true;
    int sig = info->signo;
    if (info->code == abi::kSI_TIMER && g.timers) g.timers->OnDequeue(info);
    *action = g.handlers->Get(sig);
    if (action->handler == abi::kSIG_IGN) continue;
    if (action->handler != abi::kSIG_DFL) {
      if ((action->flags & abi::kSA_RESETHAND) != 0) {
        abi::SigAction reset = *action;
        reset.handler = abi::kSIG_DFL;
        g.handlers->Set(sig, reset);
      }
      return true;
    }
    DefaultAction d = DefaultActionOf(sig);
    if (d == DefaultAction::kIgnore || d == DefaultAction::kContinue) continue;
    bool kernel_only = sig == abi::kSIGKILL || sig == abi::kSIGSTOP;
    if (g.unkillable.load(std::memory_order_relaxed) && !kernel_only) continue;
    if (d == DefaultAction::kStop) {
      if (sig != abi::kSIGSTOP) {
        base::MutexLock l(kernel_.tree_mu);
        if (g.pgrp && Kernel::IsOrphaned(*g.pgrp)) continue;
      }
      base::MutexLock l(g.signal_mu);
      // do_signal_stop(): not after death or a SIGCONT that came meanwhile.
      if (g.group_exiting || t.killed()) continue;
      if (g.stop_signal == 0) {
        g.stop_signal = sig;
        g.stop_remaining = 0;
        g.continue_report = false;
        for (Task* x : g.tasks) {
          if (x->exiting()) continue;
          x->stop_counted_ = true;
          g.stop_remaining++;
          x->Interrupt();
        }
      }
      continue;
    }
    t.ExitGroup(sig);
  }
}

void TaskRunner::Stop() {
  Task& t = t_;
  ThreadGroup& g = t.group();
  bool report = false;
  {
    base::MutexLock l(g.signal_mu);
    if (g.stop_signal == 0) return;
    report = SignalOps::CountStopped(g, t);
    if (report) g.stop_report = g.stop_signal;
  }
  if (report) {
    base::MutexLock l(kernel_.tree_mu);
    kernel_.NotifyStop(g, abi::kCLD_STOPPED);
  }
  t.parker_.Reset();
  t.AccountSleep();
  t.state.store('T', std::memory_order_relaxed);
  for (;;) {
    {
      base::MutexLock l(g.signal_mu);
      if (g.stop_signal == 0 || t.killed()) break;
    }
    t.parker_.Park();
  }
  t.AccountWake();
}

}  // namespace sentry
