// Signals: kernel/signal.c, arch/x86/kernel/signal.c.
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::Kernel;
using sentry::PidNamespace;
using sentry::SignalBit;
using sentry::ThreadGroup;
using sentry::ValidSignal;

constexpr uint64_t kSigSetSize = sizeof(abi::SigSet);

// Which task of a group shows its credentials and receives.
Task* Face(const ThreadGroup& g) { return g.leader; }

// A pid namespace's init takes SIGKILL and SIGSTOP from its ancestors' tasks.
bool FromAncestor(const Task& sender, const Task& target) {
  return sender.pid_ns().get() != target.pid_ns().get() &&
         target.pid_ns()->IsWithin(*sender.pid_ns());
}

// kill(2) on one process, under the tree lock.
base::Result<void> KillGroup(Task& task, ThreadGroup& g, int32_t sig) {
  Task* face = Face(g);
  if (!Kernel::MaySignal(task, *face, sig)) return abi::Errno::kEPERM;
  if (sig == 0 || g.zombie) return {};
  return task.kernel().SendToGroup(
      g, Kernel::UserSigInfo(task, sig, abi::kSI_USER, *face->pid_ns()), FromAncestor(task, *face));
}

base::Result<void> KillPgrp(Task& task, sentry::ProcessGroup& p, int32_t sig) {
  // __kill_pgrp_info(): one success is enough.
  base::Result<void> r = abi::Errno::kESRCH;
  bool success = false;
  std::vector<ThreadGroup*> members = p.members;
  for (ThreadGroup* g : members) {
    base::Result<void> one = KillGroup(task, *g, sig);
    if (one.ok()) success = true;
    r = one;
  }
  if (success) return {};
  return r;
}

SyscallResult TgKill(Task& task, int32_t tgid, int32_t tid, const abi::SigInfo& info) {
  // do_send_specific().
  if (tid == task.tid() && (tgid <= 0 || tgid == task.tgid())) return task.SendSignal(info);
  Kernel& k = task.kernel();
  base::MutexLock l(k.tree_mu);
  Task* t = task.pid_ns()->FindTask(tid);
  if (t == nullptr) return abi::Errno::kESRCH;
  if (tgid > 0 && task.pid_ns()->IdOf(t->group()) != tgid) return abi::Errno::kESRCH;
  // sigqueue to oneself is always allowed; the checks of kill(2) otherwise.
  if (!Kernel::MaySignal(task, *t, info.signo)) return abi::Errno::kEPERM;
  if (info.signo == 0 || t->exiting()) return 0;
  abi::SigInfo copy = info;
  if (info.code == abi::kSI_TKILL && t->pid_ns().get() != task.pid_ns().get()) {
    copy.f.kill.pid = t->pid_ns()->IdOf(task.group());
  }
  return t->SendSignal(copy, FromAncestor(task, *t));
}

abi::SigInfo TkillInfo(Task& task, int32_t sig) {
  return sentry::MakeSigInfo(sig, abi::kSI_TKILL, task.tgid(), task.creds().uid);
}

// Only the process itself may claim codes of the kernel or of kill(2) (rt_sigqueueinfo(2)).
bool MayClaim(const abi::SigInfo& info) { return info.code < 0 && info.code != abi::kSI_TKILL; }

}  // namespace

SyscallResult sys_rt_sigaction(Task& task, int32_t sig, UserIn<abi::SigAction> act,
                               UserOut<abi::SigAction> oldact, uint64_t sigsetsize) {
  if (sigsetsize != kSigSetSize) return abi::Errno::kEINVAL;
  abi::SigAction a{};
  if (!act.null()) a = TRY(act.Fetch(task.mm()));
  if (sig < 1 || sig > abi::kNSIG) return abi::Errno::kEINVAL;
  abi::SigAction old;
  if (act.null()) {
    old = task.group().handlers->Get(sig);
  } else {
    if ((SignalBit(sig) & sentry::kUnblockable) != 0) return abi::Errno::kEINVAL;
    a.mask &= ~sentry::kUnblockable;
    // do_sigaction(): unknown flags are cleared, so that a program can probe for support.
    constexpr uint64_t kKnown = abi::kSA_NOCLDSTOP | abi::kSA_NOCLDWAIT | abi::kSA_SIGINFO |
                                abi::kSA_ONSTACK | abi::kSA_RESTART | abi::kSA_NODEFER |
                                abi::kSA_RESETHAND | abi::kSA_EXPOSE_TAGBITS | abi::kSA_RESTORER;
    a.flags &= kKnown;
    old = task.SetAction(sig, a);
  }
  if (!oldact.null()) TRY(oldact.Store(task.mm(), old));
  return 0;
}

SyscallResult sys_rt_sigprocmask(Task& task, int32_t how, UserIn<abi::SigSet> set,
                                 UserOut<abi::SigSet> oldset, uint64_t sigsetsize) {
  if (sigsetsize != kSigSetSize) return abi::Errno::kEINVAL;
  abi::SigSet old = task.blocked();
  if (!set.null()) {
    abi::SigSet s = TRY(set.Fetch(task.mm()));
    s &= ~sentry::kUnblockable;
    switch (how) {
      case abi::kSIG_BLOCK:
        task.SetBlocked(old | s);
        break;
      case abi::kSIG_UNBLOCK:
        task.SetBlocked(old & ~s);
        break;
      case abi::kSIG_SETMASK:
        task.SetBlocked(s);
        break;
      default:
        return abi::Errno::kEINVAL;
    }
  }
  if (!oldset.null()) TRY(oldset.Store(task.mm(), old));
  return 0;
}

SyscallResult sys_rt_sigpending(Task& task, UserAddr set, uint64_t sigsetsize) {
  if (sigsetsize > kSigSetSize) return abi::Errno::kEINVAL;
  abi::SigSet s = task.PendingSet() & task.blocked();
  TRY(task.mm().CopyOut(set, &s, sigsetsize));
  return 0;
}

SyscallResult sys_rt_sigsuspend(Task& task, UserIn<abi::SigSet> set, uint64_t sigsetsize) {
  if (sigsetsize != kSigSetSize) return abi::Errno::kEINVAL;
  abi::SigSet s = TRY(set.Fetch(task.mm()));
  task.SetTemporaryMask(s & ~sentry::kUnblockable);
  while (task.Block().ok()) {
  }
  return base::Restart::kNoHand;
}

SyscallResult sys_pause(Task& task) {
  while (task.Block().ok()) {
  }
  return base::Restart::kNoHand;
}

SyscallResult sys_rt_sigtimedwait(Task& task, UserIn<abi::SigSet> set, UserOut<abi::SigInfo> info,
                                  UserIn<abi::Timespec> timeout, uint64_t sigsetsize) {
  if (sigsetsize != kSigSetSize) return abi::Errno::kEINVAL;
  abi::SigSet s = TRY(set.Fetch(task.mm()));
  int64_t deadline = sentry::kNoDeadline;
  if (!timeout.null()) {
    abi::Timespec ts = TRY(timeout.Fetch(task.mm()));
    if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
    int64_t ns = TimespecToNs(ts);
    deadline = ns == 0 ? 0 : DeadlineAfter(ns);
  }
  abi::SigInfo got = TRY(task.WaitSignal(s, deadline));
  if (!info.null()) TRY(info.Store(task.mm(), got));
  return got.signo;
}

SyscallResult sys_rt_sigreturn(Task& task) { return task.SigReturn(); }

SyscallResult sys_restart_syscall(Task& task) {
  sentry::RestartBlock block = std::exchange(task.restart_block, nullptr);
  if (!block) return abi::Errno::kEINTR;
  return block(task);
}

SyscallResult sys_kill(Task& task, int32_t pid, int32_t sig) {
  if (!ValidSignal(static_cast<uint32_t>(sig))) return abi::Errno::kEINVAL;
  Kernel& k = task.kernel();
  if (pid == INT32_MIN) return abi::Errno::kESRCH;
  base::MutexLock l(k.tree_mu);
  const PidNamespace& ns = *task.pid_ns();
  if (pid > 0) {
    // kill_pid_info() takes the number of any thread.
    Task* t = ns.FindTask(pid);
    if (t == nullptr) return abi::Errno::kESRCH;
    return KillGroup(task, t->group(), sig);
  }
  if (pid != -1) {
    sentry::ProcessGroup* p = pid == 0 ? task.group().pgrp.get() : ns.FindPgrp(-pid);
    if (p == nullptr) return abi::Errno::kESRCH;
    base::Ref<sentry::ProcessGroup> hold(p);
    return KillPgrp(task, *p, sig);
  }
  // Everybody but the namespace's init and the caller.
  base::Result<void> r;
  int count = 0;
  for (ThreadGroup* g : ns.Groups()) {
    if (ns.IdOf(*g) <= 1 || g == &task.group()) continue;
    base::Result<void> one = KillGroup(task, *g, sig);
    count++;
    if (!one.is(abi::Errno::kEPERM)) r = one;
  }
  if (count == 0) return abi::Errno::kESRCH;
  return r;
}

SyscallResult sys_tkill(Task& task, int32_t tid, int32_t sig) {
  if (tid <= 0) return abi::Errno::kEINVAL;
  if (!ValidSignal(static_cast<uint32_t>(sig))) return abi::Errno::kEINVAL;
  return TgKill(task, 0, tid, TkillInfo(task, sig));
}

SyscallResult sys_tgkill(Task& task, int32_t tgid, int32_t tid, int32_t sig) {
  if (tid <= 0 || tgid <= 0) return abi::Errno::kEINVAL;
  if (!ValidSignal(static_cast<uint32_t>(sig))) return abi::Errno::kEINVAL;
  return TgKill(task, tgid, tid, TkillInfo(task, sig));
}

SyscallResult sys_rt_sigqueueinfo(Task& task, int32_t pid, int32_t sig, UserIn<abi::SigInfo> info) {
  abi::SigInfo i = TRY(info.Fetch(task.mm()));
  i.signo = sig;
  if (!MayClaim(i) && pid != task.tgid()) return abi::Errno::kEPERM;
  if (!ValidSignal(static_cast<uint32_t>(sig))) return abi::Errno::kEINVAL;
  Kernel& k = task.kernel();
  base::MutexLock l(k.tree_mu);
  Task* t = task.pid_ns()->FindTask(pid);
  if (t == nullptr) return abi::Errno::kESRCH;
  ThreadGroup& g = t->group();
  if (!Kernel::MaySignal(task, *Face(g), sig)) return abi::Errno::kEPERM;
  if (sig == 0 || g.zombie) return 0;
  return k.SendToGroup(g, i, FromAncestor(task, *Face(g)));
}

SyscallResult sys_rt_tgsigqueueinfo(Task& task, int32_t tgid, int32_t tid, int32_t sig,
                                    UserIn<abi::SigInfo> info) {
  abi::SigInfo i = TRY(info.Fetch(task.mm()));
  i.signo = sig;
  if (tid <= 0 || tgid <= 0) return abi::Errno::kEINVAL;
  if (!MayClaim(i) && tid != task.tid()) return abi::Errno::kEPERM;
  if (!ValidSignal(static_cast<uint32_t>(sig))) return abi::Errno::kEINVAL;
  return TgKill(task, tgid, tid, i);
}

SyscallResult sys_sigaltstack(Task& task, UserIn<abi::StackT> ss, UserOut<abi::StackT> oss) {
  // do_sigaltstack().
  abi::StackT old = task.altstack;
  uint64_t sp = 0;
  abi::StackT fresh{};
  if (!ss.null()) fresh = TRY(ss.Fetch(task.mm()));
  // The stack pointer is only needed when a stack is set.
  if (old.size != 0) sp = task.GuestRegs().rsp;
  if (!ss.null()) {
    if (old.size != 0 && task.OnAltStack(sp)) return abi::Errno::kEPERM;
    uint32_t flags = static_cast<uint32_t>(fresh.flags), mode = flags & ~abi::kSS_AUTODISARM;
    if (mode != abi::kSS_DISABLE && mode != abi::kSS_ONSTACK && mode != 0) {
      return abi::Errno::kEINVAL;
    }
    if (mode == abi::kSS_DISABLE) {
      fresh.sp = 0;
      fresh.size = 0;
    } else if (fresh.size < static_cast<uint64_t>(abi::kMINSIGSTKSZ)) {
      return abi::Errno::kENOMEM;
    }
    fresh.pad = 0;
    task.SetAltStack(fresh);
  }
  if (!oss.null()) {
    uint32_t keep = static_cast<uint32_t>(old.flags) & abi::kSS_AUTODISARM;
    uint32_t state = old.size == 0                                         ? abi::kSS_DISABLE
                     : keep == 0 && sp > old.sp && sp - old.sp <= old.size ? abi::kSS_ONSTACK
                                                                           : 0;
    old.flags = static_cast<int32_t>(keep | state);
    old.pad = 0;
    TRY(oss.Store(task.mm(), old));
  }
  return 0;
}

// --- pidfd ---

SyscallResult sys_pidfd_open(Task& task, int32_t pid, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(abi::kPIDFD_NONBLOCK | abi::kPIDFD_THREAD)) != 0) {
    return abi::Errno::kEINVAL;
  }
  if (pid <= 0) return abi::Errno::kEINVAL;
  bool thread = (flags & abi::kPIDFD_THREAD) != 0;
  base::Ref<Task> target = task.kernel().FindTask(*task.pid_ns(), pid);
  if (!target) return abi::Errno::kESRCH;
  if (!thread) {
    base::MutexLock l(task.kernel().tree_mu);
    if (target->group().leader != target.get()) return abi::Errno::kENOENT;
  }
  base::Ref<sentry::File> file = sentry::PidFd::Make(
      std::move(target), thread,
      (flags & abi::kPIDFD_NONBLOCK) != 0 ? static_cast<uint32_t>(abi::kO_NONBLOCK) : 0);
  return InstallFile(task, std::move(file), true);
}

SyscallResult sys_pidfd_send_signal(Task& task, int32_t pidfd, int32_t sig,
                                    UserIn<abi::SigInfo> info, uint32_t flags) {
  constexpr uint32_t kKnown = abi::kPIDFD_SIGNAL_THREAD | abi::kPIDFD_SIGNAL_THREAD_GROUP |
                              abi::kPIDFD_SIGNAL_PROCESS_GROUP;
  if ((flags & ~kKnown) != 0 || (flags & (flags - 1)) != 0) return abi::Errno::kEINVAL;
  base::Ref<sentry::File> file = TRY(task.fds().Get(pidfd));
  sentry::PidFd* p = sentry::FileCast<sentry::PidFd>(file.get());
  base::Ref<ThreadGroup> hold_group(p != nullptr ? base::Ref<ThreadGroup>(&p->group())
                                                 : sentry::ProcessOfDirectory(*file));
  if (!hold_group) return abi::Errno::kEBADF;
  ThreadGroup& g = *hold_group;
  Task* target = p != nullptr ? p->task().get() : nullptr;
  Kernel& k = task.kernel();
  abi::SigInfo i = sentry::MakeSigInfo(0, 0);
  if (!info.null()) {
    i = TRY(info.Fetch(task.mm()));
    if (i.signo != sig) return abi::Errno::kEINVAL;
    if (&g != &task.group() && !MayClaim(i)) return abi::Errno::kEPERM;
  }
  if (!ValidSignal(static_cast<uint32_t>(sig))) return abi::Errno::kEINVAL;
  base::MutexLock l(k.tree_mu);
  if (g.reaped || g.leader == nullptr) return abi::Errno::kESRCH;
  Task* face = target != nullptr ? target : Face(g);
  if (!face->pid_ns()->IsWithin(*task.pid_ns())) return abi::Errno::kEINVAL;
  if (info.null()) i = Kernel::UserSigInfo(task, sig, abi::kSI_USER, *face->pid_ns());
  if ((flags & abi::kPIDFD_SIGNAL_PROCESS_GROUP) != 0) {
    if (!g.pgrp) return abi::Errno::kESRCH;
    base::Ref<sentry::ProcessGroup> hold = g.pgrp;
    return KillPgrp(task, *hold, sig);
  }
  if (!Kernel::MaySignal(task, *face, sig)) return abi::Errno::kEPERM;
  if (sig == 0 || g.zombie) return 0;
  bool thread = (flags & abi::kPIDFD_SIGNAL_THREAD) != 0 || (flags == 0 && target != nullptr);
  if (thread) {
    if (info.null()) i.code = abi::kSI_TKILL;
    return face->SendSignal(i, FromAncestor(task, *face));
  }
  return k.SendToGroup(g, i, FromAncestor(task, *face));
}

SyscallResult sys_pidfd_getfd(Task& task, int32_t pidfd, int32_t targetfd, uint32_t flags) {
  if (flags != 0) return abi::Errno::kEINVAL;
  base::Ref<sentry::File> file = TRY(task.fds().Get(pidfd));
  sentry::PidFd* p = sentry::FileCast<sentry::PidFd>(file.get());
  if (p == nullptr) return abi::Errno::kEBADF;
  base::Ref<Task> target = p->task();
  if (!target) {
    base::MutexLock l(task.kernel().tree_mu);
    if (p->group().reaped || p->group().leader == nullptr) return abi::Errno::kESRCH;
    target = base::Ref<Task>(p->group().leader);
  }
  if (!Kernel::MayAccess(task, *target)) return abi::Errno::kEPERM;
  base::Ref<sentry::FdTable> fds = target->fds_ref();
  if (!fds) return abi::Errno::kESRCH;
  base::Ref<sentry::File> got = TRY(fds->GetAny(targetfd));
  return InstallFile(task, std::move(got), true);
}

}  // namespace syscalls
