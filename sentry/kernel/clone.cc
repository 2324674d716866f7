// clone(2), unshare(2): kernel/fork.c.
#include "platform/host/thread.h"
#include "sentry/kernel/cpu_limit.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/released.h"
#include "sentry/kernel/signal_ops.h"
#include "sentry/kernel/vfork.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/sched.h"

namespace sentry {
namespace {

constexpr uint64_t kNamespaces = abi::kCLONE_NEWNS | abi::kCLONE_NEWUTS | abi::kCLONE_NEWIPC |
                                 abi::kCLONE_NEWPID | abi::kCLONE_NEWNET | abi::kCLONE_NEWCGROUP |
                                 abi::kCLONE_NEWTIME;
constexpr uint32_t kMaxUserNsLevel = 32;
constexpr int64_t kMaxTasks = 32768;
constexpr int32_t kPidLimit = 4194304;

// create_user_ns() and set_cred_user_ns().
base::Result<base::Ref<Creds>> NewUserNamespace(Task& t) {
  const Creds& old = t.creds();
  if (old.user_ns->level() >= kMaxUserNsLevel) return abi::Errno::kENOSPC;
  // A changed root would be left behind by the new capabilities (current_chrooted()).
  if (!(t.fs().root() == t.mounts_ref()->root())) return abi::Errno::kEPERM;
  if (old.user_ns->UidFromGlobal(old.euid) == UINT32_MAX ||
      old.user_ns->GidFromGlobal(old.egid) == UINT32_MAX) {
    return abi::Errno::kEPERM;
  }
  auto c = base::MakeRef<Creds>(old);
  c->user_ns = base::MakeRef<UserNamespace>(old.user_ns, old.euid);
  c->user_ns->setgroups_allowed = old.user_ns->setgroups_allowed;
  c->permitted = c->effective = c->bounding = abi::kCapFullSet;
  c->inheritable = c->ambient = 0;
  c->securebits = 0;
  return c;
}

base::Ref<UtsNamespace> CopyUts(UtsNamespace& old, const base::Ref<UserNamespace>& owner) {
  std::string node, domain;
  {
    base::MutexLock l(old.mu);
    node = old.nodename;
    domain = old.domainname;
  }
  auto n = base::MakeRef<UtsNamespace>();
  n->owner = owner;
  base::MutexLock l(n->mu);
  n->nodename = std::move(node);
  n->domainname = std::move(domain);
  return n;
}

}  // namespace

base::Result<void> Kernel::CheckClone(Task& t, const CloneArgs& a) {
  const Container& container = t.group().container();
  const uint32_t most = container.max_tasks.load(std::memory_order_relaxed);
  if (most != 0 && container.live_tasks.load(std::memory_order_relaxed) >= most) {
    return abi::Errno::kEAGAIN;
  }
  // copy_process(), in its order.
  uint64_t f = a.flags;
  auto both = [f](uint64_t m) { return (f & m) == m; };
  if (both(abi::kCLONE_NEWNS | abi::kCLONE_FS)) return abi::Errno::kEINVAL;
  if (both(abi::kCLONE_NEWUSER | abi::kCLONE_FS)) return abi::Errno::kEINVAL;
  if ((f & abi::kCLONE_THREAD) != 0 && (f & abi::kCLONE_SIGHAND) == 0) return abi::Errno::kEINVAL;
  if ((f & abi::kCLONE_SIGHAND) != 0 && (f & abi::kCLONE_VM) == 0) return abi::Errno::kEINVAL;
  if ((f & abi::kCLONE_PARENT) != 0 &&
      (t.group().parent == nullptr || t.group().unkillable.load())) {
    return abi::Errno::kEINVAL;
  }
  if ((f & abi::kCLONE_THREAD) != 0 &&
      ((f & (abi::kCLONE_NEWUSER | abi::kCLONE_NEWPID)) != 0 ||
       (t.child_pid_ns && t.child_pid_ns.get() != t.pid_ns_.get()))) {
    return abi::Errno::kEINVAL;
  }
  if (both(abi::kCLONE_PIDFD | abi::kCLONE_DETACHED)) return abi::Errno::kEINVAL;
  if (t.interrupted()) return base::Restart::kNoIntr;
  uint64_t nproc = t.group().limits.Get(abi::kRLIMIT_NPROC).cur;
  const Creds& c = t.creds();
  if (nproc != abi::kRLIM_INFINITY && c.uid != 0 && !c.Has(abi::kCAP_SYS_RESOURCE) &&
      !c.Has(abi::kCAP_SYS_ADMIN)) {
    uint64_t n = 0;
    base::MutexLock l(tree_mu);
    for (Task* x : root_pid_ns_->Tasks()) {
      if (x->creds_ref()->uid == c.uid) n++;
    }
    if (n >= nproc) return abi::Errno::kEAGAIN;
  }
  if (live_tasks() >= kMaxTasks) return abi::Errno::kEAGAIN;
  if ((f & abi::kCLONE_NEWUSER) == 0 && (f & kNamespaces) != 0 && !c.Has(abi::kCAP_SYS_ADMIN)) {
    return abi::Errno::kEPERM;
  }
  if (both(abi::kCLONE_NEWIPC | abi::kCLONE_SYSVSEM)) return abi::Errno::kEINVAL;
  if ((f & abi::kCLONE_NEWTIME) != 0) return abi::Errno::kEINVAL;
  if ((f & abi::kCLONE_SETTLS) != 0 && a.tls >= 0x7ffffffff000) return abi::Errno::kEPERM;
  return {};
}

base::Result<void> Kernel::AssignIds(Task& t, ThreadGroup& g, const std::vector<int32_t>& set_tid,
                                     const Task* creator) {
  PidNamespace* own = t.pid_ns_.get();
  if (own->dying_) return abi::Errno::kENOMEM;
  absl::InlinedVector<std::pair<PidNamespace*, int32_t>, 2> got;
  base::Result<void> result;
  size_t i = 0;
  for (PidNamespace* ns = own; ns != nullptr; ns = ns->parent_.get(), i++) {
    int32_t id = 0;
    if (i < set_tid.size()) {
      id = set_tid[i];
      if (id < 1 || id >= kPidLimit || (id != 1 && ns->init_ == nullptr)) {
        result = abi::Errno::kEINVAL;
      } else if (creator != nullptr && !creator->creds().HasIn(*ns->owner_, abi::kCAP_SYS_ADMIN) &&
                 !creator->creds().HasIn(*ns->owner_, abi::kCAP_CHECKPOINT_RESTORE)) {
        result = abi::Errno::kEPERM;
      } else if (ns->Taken(id)) {
        result = abi::Errno::kEEXIST;
      }
    } else {
      id = ns->Allocate();
      if (id == 0) result = abi::Errno::kEAGAIN;
    }
    if (!result.ok()) break;
    ns->tasks_[id] = &t;
    got.emplace_back(ns, id);
  }
  if (!result.ok()) {
    for (auto [ns, id] : got) ns->tasks_.erase(id);
    return result;
  }
  t.tid_.store(got.front().second, std::memory_order_relaxed);
  t.root_tid_.store(got.back().second, std::memory_order_relaxed);
  for (size_t k = 1; k + 1 < got.size(); k++) got[k].first->ids_[&t] = got[k].second;
  if (g.leader == nullptr) {
    t.tgid_ = t.tid();
    t.root_tgid_ = t.root_tid();
    if (own->init_ == nullptr) {
      own->init_ = &g;
      g.unkillable.store(true);
    }
  } else {
    t.tgid_ = g.leader->tgid_;
    t.root_tgid_ = g.leader->root_tgid_;
  }
  return {};
}

void Kernel::LinkTask(Task& t, ThreadGroup& g) {
  base::MutexLock l(g.signal_mu);
  if (g.leader == nullptr) g.leader = &t;
  g.tasks.push_back(&t);
  g.live++;
  // Under the lock: a filter for all threads must not miss the one that is being made.
  if (Task* creator = Task::Current()) t.InheritSeccomp(*creator);
  if (g.group_exiting || g.exec_task != nullptr) t.killed_.store(true);
  if (t.killed() || g.stop_signal != 0 || SignalOps::HasPending(g, t)) t.interrupt_.store(true);
  g.container().live_tasks.fetch_add(1);
  live_tasks_.fetch_add(1);
}

base::Result<void> Kernel::StartThread(Task& t) {
  t.IncRef();  // the host thread's; the first reference is the tree's
  if (host::Thread::StartPooled(ThreadMain, &t) != 0) {
    t.DecRef();
    return abi::Errno::kEAGAIN;
  }
  return {};
}

base::Result<int32_t> Kernel::Clone(Task& t, const CloneArgs& a) {
  TRY(CheckClone(t, a));
  uint64_t f = a.flags;
  bool thread = (f & abi::kCLONE_THREAD) != 0;
  ThreadGroup& pg = t.group();
  auto g =
      thread ? t.group_ : base::MakeRef<ThreadGroup>(*this, base::Ref<Container>(&pg.container()));
  auto child = base::Ref<Task>::Adopt(new Task(*this, g));
  Task& c = *child;

  // Credentials and namespaces.
  c.creds_ = t.creds_;
  if ((f & abi::kCLONE_NEWUSER) != 0) c.creds_ = TRY(NewUserNamespace(t));
  const base::Ref<UserNamespace>& user_ns = c.creds_->user_ns;
  if ((f & abi::kCLONE_NEWUSER) != 0 || (f & kNamespaces) == 0) {
    // Nothing to check: a new user namespace gives all capabilities in it.
  } else if (!c.creds_->HasIn(*user_ns, abi::kCAP_SYS_ADMIN)) {
    return abi::Errno::kEPERM;
  }
  c.pid_ns_ = t.child_pid_ns && !thread ? t.child_pid_ns : t.pid_ns_;
  if ((f & abi::kCLONE_NEWPID) != 0) {
    if (c.pid_ns_->level() >= static_cast<int>(abi::kMAX_PID_NS_LEVEL)) return abi::Errno::kENOSPC;
    c.pid_ns_ = base::MakeRef<PidNamespace>(c.pid_ns_, user_ns);
  }
  if (a.set_tid.size() > static_cast<size_t>(c.pid_ns_->level()) + 1) return abi::Errno::kEINVAL;
  c.uts_ns_ = (f & abi::kCLONE_NEWUTS) != 0 ? CopyUts(*t.uts_ns_, user_ns) : t.uts_ns_;
  c.ipc_ns_ = (f & abi::kCLONE_NEWIPC) != 0 ? base::MakeRef<IpcNamespace>(user_ns) : t.ipc_ns_;
  c.net_ns_ = (f & abi::kCLONE_NEWNET) != 0 ? base::MakeRef<NetNamespace>(user_ns) : t.net_ns_;
  c.fs_ = (f & abi::kCLONE_FS) != 0 ? t.fs_ : t.fs_->Clone();
  c.mounts_ = t.mounts_;
  if ((f & abi::kCLONE_NEWNS) != 0) {
    Path root = c.fs_->root(), cwd = c.fs_->cwd();
    Path* translate[] = {&root, &cwd};
    c.mounts_ = t.mounts_->Clone(user_ns, translate);
    c.fs_ = base::MakeRef<FsContext>(root, cwd, c.fs_->umask());
  }
  c.fds_ = (f & abi::kCLONE_FILES) != 0 ? t.fds_ : t.fds_->Clone();
  if ((f & abi::kCLONE_SYSVSEM) != 0) c.sem_undo_ = t.sem_undo();

  // Attributes.
  c.set_comm(t.comm());
  c.blocked_ = t.has_saved_mask_ ? t.saved_mask_ : t.blocked();
  if ((f & (abi::kCLONE_VM | abi::kCLONE_VFORK)) != abi::kCLONE_VM) c.SetAltStack(t.altstack);
  c.no_new_privs.store(t.no_new_privs.load());
  c.timer_slack.store(t.timer_slack.load());
  c.default_timer_slack.store(t.timer_slack.load());
  c.persona.store(t.persona.load());
  c.mempolicy = t.mempolicy;
  c.ioprio.store(t.ioprio.load());
  c.cpu_mask_.store(t.affinity());
  if (!t.sched_reset_on_fork.load()) {
    c.sched_policy.store(t.sched_policy.load());
    c.sched_priority.store(t.sched_priority.load());
    c.nice.store(t.nice.load());
  } else if (t.nice.load() > 0 && t.sched_policy.load() == abi::kSCHED_NORMAL) {
    c.nice.store(t.nice.load());
  }
  c.start_time = clock().BootTime();
  if ((f & abi::kCLONE_CHILD_SETTID) != 0) c.set_child_tid_ = a.child_tid;
  if ((f & abi::kCLONE_CHILD_CLEARTID) != 0) c.clear_child_tid.store(a.child_tid);
  if (!thread) {
    g->limits = pg.limits;
    g->start_time = c.start_time;
    g->oom_score_adj.store(pg.oom_score_adj.load());
    g->exit_signal = a.exit_signal;
    g->handlers = (f & abi::kCLONE_SIGHAND) != 0 ? pg.handlers : pg.handlers->Clone();
    if ((f & abi::kCLONE_CLEAR_SIGHAND) != 0) g->handlers->ResetForExec();
  }

  // Memory and the guest thread.
  platform::Regs regs = t.GuestRegs();
  regs.rax = 0;
  if (a.stack != 0) regs.rsp = a.stack;
  if ((f & abi::kCLONE_SETTLS) != 0) regs.fs_base = a.tls;
  bool share = (f & abi::kCLONE_VM) != 0;
  if (share) {
    c.mm_ = t.mm_;
    c.mm_->users.fetch_add(1);
  } else {
    c.mm_ = TRY(t.mm_->Fork(*t.guest_));
  }
  auto undo_mm = [&] {
    c.guest_.reset();
    if (share) c.mm_->users.fetch_sub(1);
  };
  auto guest =
      c.mm_->address_space().NewThread(share ? t.guest_.get() : nullptr, regs, t.guest_->GetFp());
  if (!guest.ok()) {
    undo_mm();
    return guest.error();
  }
  c.guest_ = *std::move(guest);

  base::Ref<VforkDone> vfork;
  if ((f & abi::kCLONE_VFORK) != 0) {
    vfork = base::MakeRef<VforkDone>();
    c.vfork_ = vfork;
  }
  int32_t pidfd = -1;
  auto undo = [&] {
    if (pidfd >= 0) (void)t.fds_->Remove(pidfd);
    undo_mm();
  };
  if ((f & abi::kCLONE_PIDFD) != 0) {
    // Made for the group or thread before it is visible.
    base::Ref<File> file = PidFd::Make(child, thread, 0);
    auto fd = t.fds_->Install(std::move(file), true, t.FileLimit());
    if (!fd.ok()) {
      undo_mm();
      return fd.error();
    }
    pidfd = *fd;
    if (!t.mm_->CopyOut(UserAddr{a.pidfd}, &pidfd, sizeof pidfd).ok()) {
      undo();
      return abi::Errno::kEFAULT;
    }
  }

  int32_t tid = 0;
  base::Result<void> assigned;
  {
    base::MutexLock l(tree_mu);
    assigned = AssignIds(c, *g, a.set_tid, &t);
    if (assigned.ok()) {
      tid = t.pid_ns_->IdOf(c);
      if (!thread) {
        bool sibling = (f & abi::kCLONE_PARENT) != 0;
        g->parent = sibling ? pg.parent : &pg;
        g->parent_thread = sibling ? pg.parent_thread : &t;
        if (sibling) g->exit_signal = pg.exit_signal;
        if (g->parent != nullptr) g->parent->children.push_back(g);
        JoinPgrp(*g, pg.pgrp);
        g->tty_given_up = pg.tty_given_up;
      }
      LinkTask(c, *g);
    }
  }
  if (!assigned.ok()) {
    undo();
    return assigned.error();
  }
  // After this point the child may run, and be gone at once.
  if ((f & abi::kCLONE_PARENT_SETTID) != 0) {
    (void)t.mm_->CopyOut(UserAddr{a.parent_tid}, &tid, sizeof tid);
  }
  Task* raw = child.Release();  // the tree's reference
  base::Ref<Task> hold(raw);
  if (!StartThread(*raw).ok()) {
    // Too late to undo: it dies before its first instruction, and nobody is told.
    if (pidfd >= 0) (void)t.fds_->Remove(pidfd);
    if (!thread) {
      base::MutexLock l(tree_mu);
      g->reap_silently = true;
    }
    raw->Exit(abi::kSIGKILL);
    ExitTask(*raw);
    TaskGone(g->container());
    return abi::Errno::kEAGAIN;
  }
  if (!thread) CpuLimit::Watch(*g);
  if (vfork) {
    Parker::Entry entry(t.parker_);
    vfork->queue.Add(&entry, abi::kEPOLLIN);
    t.BlockKillable([&] { return vfork->done.load(std::memory_order_acquire); });
    vfork->queue.Remove(&entry);
  }
  return tid;
}

base::Result<void> Kernel::Unshare(Task& t, uint64_t f) {
  // ksys_unshare().
  if ((f & abi::kCLONE_NEWUSER) != 0) f |= abi::kCLONE_THREAD | abi::kCLONE_FS;
  if ((f & abi::kCLONE_VM) != 0) f |= abi::kCLONE_SIGHAND;
  if ((f & abi::kCLONE_SIGHAND) != 0) f |= abi::kCLONE_THREAD;
  if ((f & abi::kCLONE_NEWNS) != 0) f |= abi::kCLONE_FS;
  constexpr uint64_t kKnown = abi::kCLONE_THREAD | abi::kCLONE_FS | abi::kCLONE_SIGHAND |
                              abi::kCLONE_VM | abi::kCLONE_FILES | abi::kCLONE_SYSVSEM |
                              abi::kCLONE_NEWUSER | kNamespaces;
  if ((f & ~kKnown) != 0) return abi::Errno::kEINVAL;
  if ((f & (abi::kCLONE_THREAD | abi::kCLONE_SIGHAND | abi::kCLONE_VM)) != 0) {
    base::MutexLock l(t.group().signal_mu);
    if (t.group().tasks.size() > 1) return abi::Errno::kEINVAL;
  }
  if ((f & (abi::kCLONE_SIGHAND | abi::kCLONE_VM)) != 0 && t.group().handlers->RefCount() > 1) {
    return abi::Errno::kEINVAL;
  }
  if ((f & abi::kCLONE_VM) != 0 && t.mm_->users.load() > 1) return abi::Errno::kEINVAL;
  if ((f & abi::kCLONE_NEWTIME) != 0) return abi::Errno::kEINVAL;
  base::Ref<const Creds> creds = t.creds_;
  if ((f & abi::kCLONE_NEWUSER) != 0) creds = TRY(NewUserNamespace(t));
  const base::Ref<UserNamespace>& user_ns = creds->user_ns;
  if ((f & kNamespaces) != 0 && !creds->Has(abi::kCAP_SYS_ADMIN)) return abi::Errno::kEPERM;
  base::Ref<PidNamespace> pids;
  if ((f & abi::kCLONE_NEWPID) != 0) {
    const base::Ref<PidNamespace>& parent = t.child_pid_ns ? t.child_pid_ns : t.pid_ns_;
    if (parent.get() != t.pid_ns_.get()) return abi::Errno::kEINVAL;
    if (parent->level() >= static_cast<int>(abi::kMAX_PID_NS_LEVEL)) return abi::Errno::kENOSPC;
    pids = base::MakeRef<PidNamespace>(parent, user_ns);
  }
  // Nothing fails from here on.
  if ((f & abi::kCLONE_FS) != 0 && t.fs_->RefCount() > 1) t.set_fs(t.fs_->Clone());
  if ((f & abi::kCLONE_FILES) != 0 && t.fds_->RefCount() > 1) t.set_fds(t.fds_->Clone());
  if ((f & abi::kCLONE_NEWNS) != 0) {
    Path root = t.fs_->root(), cwd = t.fs_->cwd();
    Path* translate[] = {&root, &cwd};
    t.set_mounts(t.mounts_->Clone(user_ns, translate));
    t.fs_->set_root(root);
    t.fs_->set_cwd(cwd);
  }
  if ((f & abi::kCLONE_NEWUTS) != 0) t.set_uts_ns(CopyUts(*t.uts_ns_, user_ns));
  if ((f & abi::kCLONE_SYSVSEM) != 0) t.DropSemUndo();
  if ((f & abi::kCLONE_NEWIPC) != 0) t.set_ipc_ns(base::MakeRef<IpcNamespace>(user_ns));
  if ((f & abi::kCLONE_NEWNET) != 0) t.set_net_ns(base::MakeRef<NetNamespace>(user_ns));
  if (pids) t.child_pid_ns = pids;
  if ((f & abi::kCLONE_NEWUSER) != 0) t.set_creds(creds);
  return {};
}

}  // namespace sentry
