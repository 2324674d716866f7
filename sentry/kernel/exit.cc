// The end of tasks and processes: kernel/exit.c.
#include <algorithm>

#include "sentry/kernel/futex.h"
#include "sentry/kernel/posix_timers.h"
#include "sentry/kernel/released.h"
#include "sentry/kernel/signal_ops.h"
#include "sentry/kernel/vfork.h"

namespace sentry {

void Kernel::ReleaseMemory(Task& t) {
  if (t.mm_ == nullptr) return;
  // setmax_mm_hiwater_rss(), but of what is resident now.
  if (t.mm_->users.load() == 1) {
    const auto kib = static_cast<int64_t>(t.mm_->ResidentAtEnd() >> 10);
    base::MutexLock l(tree_mu);
    t.group().max_rss = std::max(t.group().max_rss, kib);
  }
  if (t.RobustList() != 0) ExitRobustList(t);
  ExitPiFutexes(t);
  // mm_release(): only if somebody is left to see it.
  uint64_t clear = t.clear_child_tid.exchange(0);
  if (clear != 0 && t.mm_->users.load() > 1) {
    uint32_t zero = 0;
    (void)t.mm_->CopyOut(UserAddr{clear}, &zero, sizeof zero);
    FutexWakeAddr(t, UserAddr{clear}, 1);
  }
  if (t.vfork_) {
    static_cast<VforkDone*>(t.vfork_.get())->Complete();
    t.vfork_.reset();
  }
}

void Kernel::ExitTask(Task& t) {
  ThreadGroup& g = t.group();
  // It doesn't run again: others may want its processor.
  if (t.guest_ != nullptr) t.guest_->Rest();
  bool stopped = false;
  {
    // exit_signals(): others take what was meant for this task, and it stops no more.
    base::MutexLock l(g.signal_mu);
    t.exiting_.store(true, std::memory_order_release);
    if (!g.group_exiting) {
      SignalOps::Retarget(g, t, ~t.blocked());
      stopped = SignalOps::CountStopped(g, t);
      if (stopped) g.stop_report = g.stop_signal;
    }
  }
  if (stopped) {
    base::MutexLock l(tree_mu);
    NotifyStop(g, abi::kCLD_STOPPED);
  }
  ReleaseMemory(t);
  // Moved out under the lock, dropped after it: others may hold references for a moment.
  base::Ref<MemoryManager> mm;
  base::Ref<FdTable> fds;
  base::Ref<FsContext> fs;
  base::Ref<MountNamespace> mounts;
  std::unique_ptr<platform::GuestThread> guest;
  t.DetachLocal();
  {
    base::MutexLock l(t.mu_);
    mm = std::move(t.mm_);
    fds = std::move(t.fds_);
    fs = std::move(t.fs_);
    guest = std::move(t.guest_);
  }
  if (mm && mm->users.fetch_sub(1) == 1) {
    // The whole guest process goes at once, rather than its threads one by one. Its memory is put
    // away at the end of this function, when the parent knows: nobody can tell.
    mm->address_space().Kill();
    mm->DropFiles();
  } else {
    guest.reset();
    mm.reset();
  }
  t.DropSemUndo();
  fds.reset();
  fs.reset();
  bool zap = false, tty = false;
  {
    base::MutexLock l(tree_mu);
    if (g.live == 1) {
      zap = t.pid_ns_->init_ == &g && !t.pid_ns_->dying_;
      tty = g.pgrp && g.pgrp->session()->leader == &g && g.pgrp->session()->tty;
    }
  }
  if (zap) ZapPidNamespace(t);
  if (tty && session_leader_exit != nullptr) session_leader_exit(*this, g);
  {
    base::MutexLock l(t.mu_);
    mounts = std::move(t.mounts_);
  }
  mounts.reset();
  Task::CpuTime cpu = t.cpu_time();
  t.final_user_ns_ = cpu.user;
  t.final_sys_ns_ = cpu.sys;
  t.host_tid_.store(0, std::memory_order_relaxed);
  std::unique_ptr<PosixTimers> timers;
  std::unique_ptr<Timer> cpu_limit;
  Released released;
  base::MutexLock l(tree_mu);
  if (g.live == 1) {
    base::MutexLock s(g.signal_mu);
    timers = std::move(g.timers);
    cpu_limit = std::move(g.cpu_limit);
  }
  ExitNotify(t, &released);
}

void Kernel::ZapPidNamespace(Task& init) {
  // zap_pid_ns_processes(). The sandbox's own end waits for nothing: its host processes are killed.
  PidNamespace& ns = *init.pid_ns_;
  {
    base::MutexLock l(tree_mu);
    ns.dying_ = true;
    for (ThreadGroup* g : ns.Groups()) {
      if (g == &init.group() || g->zombie) continue;
      base::MutexLock s(g->signal_mu);
      SignalOps::StartGroupExit(*g, abi::kSIGKILL);
    }
  }
  if (ns.level_ == 0) return;
  Parker::Entry entry(init.parker_);
  ns.exits.Add(&entry, abi::kEPOLLIN);
  for (;;) {
    bool others = false;
    {
      Released released;
      base::MutexLock l(tree_mu);
      for (ThreadGroup* g : ns.Groups()) {
        if (g == &init.group()) continue;
        if (!g->zombie) {
          others = true;
        } else if (g->parent == &init.group()) {
          Reap(*g, &released);
        }
      }
    }
    if (!others) break;
    init.parker_.Park();
  }
  ns.exits.Remove(&entry);
}

void Kernel::ForgetIds(Task& t, Released* out) {
  for (PidNamespace* ns = t.pid_ns_.get(); ns != nullptr; ns = ns->parent_.get()) {
    int32_t id = ns->IdOf(t);
    auto it = ns->tasks_.find(id);
    if (it != ns->tasks_.end() && it->second == &t) ns->tasks_.erase(it);
    ns->ids_.erase(&t);
  }
}

void Kernel::ExitNotify(Task& t, Released* out) {
  ThreadGroup& g = t.group();
  AddUsage(&g.dead_usage, t.Usage());
  t.state.store('Z', std::memory_order_release);
  // pdeath_signal is bound to the thread that made the child (prctl(2)).
  for (base::Ref<ThreadGroup>& c : g.children) {
    if (c->parent_thread != &t) continue;
    c->parent_thread = nullptr;
    for (Task* x : c->tasks) {
      int32_t sig = x->pdeath_signal.load();
      if (sig != 0 && ValidSignal(static_cast<uint64_t>(sig))) {
        (void)SendToGroup(*c, UserSigInfo(t, sig, abi::kSI_USER, *x->pid_ns_));
        break;
      }
    }
  }
  Task* execing = nullptr;
  {
    base::MutexLock s(g.signal_mu);
    g.live--;
    t.pending.Discard(~SignalSet{0});
    if (&t != g.leader) g.tasks.erase(std::find(g.tasks.begin(), g.tasks.end(), &t));
    execing = g.exec_task;
    if (g.live == 0) {
      // synchronize_group_exit(): without a group exit the last task's status counts.
      g.exit_status = g.group_exiting ? g.group_exit_status : t.exit_status_;
      g.pending.Discard(~SignalSet{0});
    }
  }
  t.pid_ns_->exits.Wake(abi::kEPOLLIN);
  if (&t != g.leader) {
    ForgetIds(t, out);
    out->DropTask(&t);
  }
  g.exit_events.Wake(abi::kEPOLLIN | abi::kEPOLLRDNORM);
  if (execing != nullptr && execing != &t) execing->parker_.Unpark();
  if (g.live != 0) return;

  // The process is dead.
  if (g.pgrp && g.pgrp->session()->leader == &g) {
    g.pgrp->session()->leader = nullptr;
    if (g.pgrp->session()->tty) out->refs.push_back(std::move(g.pgrp->session()->tty));
  }
  KillOrphaned(g, nullptr);
  Reparent(g, out);
  g.zombie = true;
  g.dead.store(true, std::memory_order_release);
  g.exit_events.Wake(abi::kEPOLLIN | abi::kEPOLLRDNORM);
  NotifyParent(g, out);
}

ThreadGroup* Kernel::NewParent(ThreadGroup& dying) {
  // find_new_reaper().
  PidNamespace& ns = *dying.leader->pid_ns_;
  for (ThreadGroup* p = dying.parent; p != nullptr && p->leader->pid_ns_.get() == &ns;
       p = p->parent) {
    if (p == ns.init_) break;
    if (p->is_child_subreaper && p->live != 0) return p;
  }
  for (PidNamespace* n = &ns; n != nullptr; n = n->parent_.get()) {
    if (n->init_ != nullptr && n->init_ != &dying && n->init_->live != 0) return n->init_;
  }
  return nullptr;
}

void Kernel::Reparent(ThreadGroup& dying, Released* out) {
  if (dying.children.empty()) return;
  ThreadGroup* heir = NewParent(dying);
  std::vector<base::Ref<ThreadGroup>> children = std::move(dying.children);
  dying.children.clear();
  for (base::Ref<ThreadGroup>& c : children) {
    c->parent = heir;
    c->parent_thread = nullptr;
    c->adopted = heir == root_pid_ns_->init_;
    // reparent_leader().
    c->exit_signal = abi::kSIGCHLD;
    ThreadGroup* child = c.get();
    for (Task* t : child->tasks) t->StaleLocal();
    if (heir != nullptr) {
      heir->children.push_back(c);
    } else {
      out->refs.push_back(c);
    }
    KillOrphaned(*child, &dying);
    if (child->zombie) NotifyParent(*child, out);
  }
}

bool Kernel::IsOrphaned(const ProcessGroup& p, const ThreadGroup* ignored) {
  // will_become_orphaned_pgrp().
  for (const ThreadGroup* m : p.members) {
    if (m == ignored || m->zombie || m->adopted || m->parent == nullptr || !m->parent->pgrp) {
      continue;
    }
    const ProcessGroup& up = *m->parent->pgrp;
    if (&up != &p && up.session() == p.session()) return false;
  }
  return true;
}

void Kernel::KillOrphaned(ThreadGroup& g, ThreadGroup* parent) {
  // kill_orphaned_pgrp().
  const ThreadGroup* ignored = nullptr;
  if (parent == nullptr) {
    parent = g.parent;
    ignored = &g;
  }
  if (parent == nullptr || !g.pgrp || !parent->pgrp) return;
  ProcessGroup& p = *g.pgrp;
  if (parent->pgrp == g.pgrp || !(parent->pgrp->session() == p.session())) return;
  if (!IsOrphaned(p, ignored)) return;
  bool stopped = false;
  for (ThreadGroup* m : p.members) {
    base::MutexLock s(m->signal_mu);
    if (m->stopped) stopped = true;
  }
  if (!stopped) return;
  SendToPgrpLocked(p, KernelSigInfo(abi::kSIGHUP));
  SendToPgrpLocked(p, KernelSigInfo(abi::kSIGCONT));
}

namespace {

abi::SigInfo ChildInfo(ThreadGroup& g, const PidNamespace& ns, int32_t code, int32_t status) {
  abi::SigInfo info = MakeSigInfo(abi::kSIGCHLD, code);
  info.f.chld.pid = ns.IdOf(g);
  info.f.chld.uid = g.leader->creds_ref()->uid;
  info.f.chld.status = status;
  abi::Rusage u = g.Usage();
  auto ticks = [](const abi::Timeval& t) {
    return t.sec * abi::kUSER_HZ + t.usec / (1000000 / abi::kUSER_HZ);
  };
  info.f.chld.utime = ticks(u.utime);
  info.f.chld.stime = ticks(u.stime);
  return info;
}

}  // namespace

void Kernel::NotifyParent(ThreadGroup& g, Released* out) {
  // do_notify_parent().
  if (g.on_exit) {
    out->on_exit = std::move(g.on_exit);
    out->status = g.exit_status;
    g.on_exit = nullptr;
  }
  ThreadGroup* parent = g.parent;
  if (parent == nullptr || parent->live == 0 || g.reap_silently) {
    Reap(g, out);
    return;
  }
  int sig = g.exit_signal;
  bool reap = false;
  if (sig == abi::kSIGCHLD) {
    abi::SigAction a = parent->handlers->Get(sig);
    if (a.handler == abi::kSIG_IGN) {
      reap = true;
      sig = 0;
    } else if ((a.flags & abi::kSA_NOCLDWAIT) != 0) {
      reap = true;
    }
  }
  if (sig != 0 && ValidSignal(static_cast<uint64_t>(sig))) {
    int32_t st = g.exit_status;
    int32_t code = (st & 0x7f) == 0   ? abi::kCLD_EXITED
                   : (st & 0x80) != 0 ? abi::kCLD_DUMPED
                                      : abi::kCLD_KILLED;
    abi::SigInfo info = ChildInfo(g, *parent->leader->pid_ns_, code,
                                  code == abi::kCLD_EXITED ? st >> 8 & 0xff : st & 0x7f);
    info.signo = sig;
    (void)SendToGroup(*parent, info);
  }
  if (reap) Reap(g, out);
  parent->child_events.Wake(abi::kEPOLLIN);
}

void Kernel::NotifyStop(ThreadGroup& g, int32_t cld) {
  // do_notify_parent_cldstop().
  ThreadGroup* parent = g.parent;
  if (parent == nullptr || parent->live == 0 || g.leader == nullptr) return;
  int32_t status = abi::kSIGCONT;
  if (cld == abi::kCLD_STOPPED) {
    base::MutexLock s(g.signal_mu);
    status = g.stop_report != 0 ? g.stop_report : abi::kSIGSTOP;
  }
  abi::SigAction a = parent->handlers->Get(abi::kSIGCHLD);
  if (a.handler != abi::kSIG_IGN && (a.flags & abi::kSA_NOCLDSTOP) == 0) {
    (void)SendToGroup(*parent, ChildInfo(g, *parent->leader->pid_ns_, cld, status));
  }
  parent->child_events.Wake(abi::kEPOLLIN);
}

void Kernel::Reap(ThreadGroup& g, Released* out) {
  // release_task() of the leader.
  if (g.reaped) return;
  g.reaped = true;
  g.zombie = true;
  g.dead.store(true, std::memory_order_release);
  Task* leader = g.leader;
  if (leader->pid_ns_->init_ == &g) leader->pid_ns_->init_ = nullptr;
  ForgetIds(*leader, out);
  {
    // Late senders (timers, pidfds) find nobody.
    base::MutexLock s(g.signal_mu);
    g.tasks.clear();
    g.leader = nullptr;
  }
  LeavePgrp(g, out);
  if (g.parent != nullptr) {
    auto& siblings = g.parent->children;
    for (auto it = siblings.begin(); it != siblings.end(); ++it) {
      if (it->get() == &g) {
        out->refs.push_back(std::move(*it));
        siblings.erase(it);
        break;
      }
    }
    g.parent = nullptr;
  }
  g.gone.store(true, std::memory_order_release);
  g.exit_events.Wake(abi::kEPOLLIN | abi::kEPOLLRDNORM | abi::kEPOLLHUP);
  out->DropTask(leader);
}

}  // namespace sentry
