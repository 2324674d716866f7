#include "sentry/kernel/kernel.h"

#include <cmath>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/host/thread.h"
#include "sentry/kernel/cpu_limit.h"
#include "sentry/kernel/exec_creds.h"
#include "sentry/kernel/released.h"
#include "sentry/kernel/signal_ops.h"
#include "sentry/kernel/task_run.h"

namespace sentry {

Kernel::Kernel(const KernelOptions& o)
    : options_(o), root_uts_ns_(base::MakeRef<UtsNamespace>()), boot_time_(HostClock().Realtime()) {
  if (!options_.user_ns) options_.user_ns = base::MakeRef<UserNamespace>();
  const base::Ref<UserNamespace>& owner = options_.user_ns;
  root_user_ns_ = owner->parent() ? owner->parent() : owner;
  root_pid_ns_ = base::MakeRef<PidNamespace>(owner);
  root_ipc_ns_ = base::MakeRef<IpcNamespace>(owner);
  root_net_ns_ = base::MakeRef<NetNamespace>(owner);
  root_container_ = base::MakeRef<Container>(o.cpu_count, o.memory_bytes, o.max_tasks);
  root_uts_ns_->owner = owner;
  base::MutexLock l(root_uts_ns_->mu);
  root_uts_ns_->nodename = o.hostname;
  root_uts_ns_->domainname = o.domainname;
}

Kernel::~Kernel() { WaitAll(); }

base::Result<base::Ref<ThreadGroup>> Kernel::StartProcess(InitProcess p,
                                                          std::function<void(int32_t)> on_exit) {
  CHECK(loader_ != nullptr);
  base::Ref<const Creds> creds = p.creds;
  if (!creds->user_ns) {
    auto c = base::MakeRef<Creds>(*creds);
    c->user_ns = root_user_ns_;
    creds = c;
  }
  auto g = base::MakeRef<ThreadGroup>(*this, p.container ? p.container : root_container_);
  auto task = base::Ref<Task>::Adopt(new Task(*this, g));
  Task& t = *task;
  t.creds_ = creds;
  t.fs_ = base::MakeRef<FsContext>(p.root, p.cwd, p.umask);
  t.mounts_ = p.mounts;
  t.fds_ = p.fds ? std::move(p.fds) : base::MakeRef<FdTable>();
  t.pid_ns_ = p.pid_ns ? p.pid_ns : root_pid_ns_;
  t.uts_ns_ = p.uts_ns ? p.uts_ns : root_uts_ns_;
  t.ipc_ns_ = p.ipc_ns ? p.ipc_ns : root_ipc_ns_;
  t.net_ns_ = root_net_ns_;
  t.no_new_privs.store(p.no_new_privs);
  t.start_time = g->start_time = clock().BootTime();
  t.persona.store(p.personality);
  if (!p.seccomp.empty()) {
    base::Ref<SeccompFilter> filter = TRY(SeccompFilter::Create(std::move(p.seccomp), nullptr));
    base::MutexLock l(t.mu_);
    t.seccomp_ = std::move(filter);
    t.seccomp_mode_.store(abi::kSECCOMP_MODE_FILTER);
  }
  g->limits = p.limits;
  g->oom_score_adj.store(p.oom_score_adj);
  g->handlers = base::MakeRef<SignalHandlers>();
  g->on_exit = std::move(on_exit);

  LoadedImage image = TRY(loader_(*this, t.vfs(), p.exec, *creds, p.no_new_privs, g->limits));
  t.creds_ = CredsAfterExec(creds, image, p.no_new_privs);
  t.guest_ = TRY(image.mm->address_space().NewThread(nullptr, image.regs, platform::FpState()));
  t.mm_ = std::move(image.mm);
  t.mm_->limits.as.store(g->limits.Get(abi::kRLIMIT_AS).cur);
  t.mm_->limits.data.store(g->limits.Get(abi::kRLIMIT_DATA).cur);
  t.mm_->limits.stack.store(g->limits.Get(abi::kRLIMIT_STACK).cur);
  t.mm_->limits.memlock.store(g->limits.Get(abi::kRLIMIT_MEMLOCK).cur);
  t.set_comm(image.comm);
  for (base::Ref<File>& f : t.fds_->RemoveCloexec()) (void)f->Flush();
  {
    base::MutexLock l(tree_mu);
    TRY(AssignIds(t, *g, {}, nullptr));
    LinkTask(t, *g);
    base::Ref<Session> session = NewSession(*g);
    session->tty = std::move(p.controlling_tty);
    JoinPgrp(*g, NewPgrp(*g, std::move(session)));
    if (const auto& tty = g->pgrp->session()->tty; tty && terminal_attached != nullptr) {
      terminal_attached(*tty, g->pgrp);
    }
    g->exec_done = true;
    if (p.killable) g->unkillable.store(false);
  }
  Task* raw = task.Release();  // the tree's reference
  if (p.before_first != nullptr && !p.before_first()) return abi::Errno::kEINTR;
  if (!StartThread(*raw).ok()) {
    {
      base::MutexLock l(tree_mu);
      g->on_exit = nullptr;
    }
    raw->Exit(abi::kSIGKILL);
    ExitTask(*raw);
    TaskGone(g->container());
    return abi::Errno::kEAGAIN;
  }
  CpuLimit::Watch(*g);
  return g;
}

void Kernel::ThreadMain(void* arg) {
  Task* t = static_cast<Task*>(arg);
  Kernel& k = t->kernel_;
  Task::SetCurrent(t);
  t->StartCpuTime();
  if (t->set_child_tid_ != 0) {
    // schedule_tail(): a bad address is ignored.
    int32_t tid = t->tid();
    (void)t->mm_->CopyOut(UserAddr{t->set_child_tid_}, &tid, sizeof tid);
  }
  TaskRunner(*t).Run();
  k.ExitTask(*t);
  Task::SetCurrent(nullptr);
  const base::Ref<Container> container(&t->group().container());
  t->DecRef();
  k.TaskGone(*container);
}

void Kernel::TaskGone(Container& container) {
  container.live_tasks.fetch_sub(1);
  // The woken one may end the kernel: only the word's address is used behind the subtraction.
  if (live_tasks_.fetch_sub(1) == 1) host::FutexWake(&live_tasks_, INT32_MAX);
}

void Kernel::WaitAll() {
  for (;;) {
    uint32_t n = live_tasks_.load();
    if (n == 0) return;
    host::FutexWait(&live_tasks_, n);
  }
}

void Kernel::KillAll() {
  base::MutexLock l(tree_mu);
  root_pid_ns_->dying_ = true;
  for (ThreadGroup* g : root_pid_ns_->Groups()) {
    if (g->zombie) continue;
    base::MutexLock s(g->signal_mu);
    SignalOps::StartGroupExit(*g, abi::kSIGKILL);
  }
}

void Kernel::SetFrozen(Container& container, bool frozen) {
  base::MutexLock l(tree_mu);
  container.frozen.store(frozen);
  for (ThreadGroup* g : root_pid_ns_->Groups()) {
    if (&g->container() != &container) continue;
    for (Task* t : g->tasks) t->Interrupt();
  }
}

uint64_t Kernel::MemoryInUse(const Container& container) {
  std::vector<base::Ref<MemoryManager>> spaces;
  {
    base::MutexLock l(tree_mu);
    for (ThreadGroup* g : root_pid_ns_->Groups()) {
      if (&g->container() != &container) continue;
      for (Task* t : g->tasks) {
        base::Ref<MemoryManager> mm = t->mm_ref();
        if (!mm) continue;
        spaces.push_back(std::move(mm));
        break;
      }
    }
  }
  uint64_t sum = 0;
  const MemoryManager* last = nullptr;
  for (const auto& mm : spaces) {
    if (mm.get() != last) sum += mm->usage().resident;
    last = mm.get();
  }
  return sum;
}

Kernel::Loadavg Kernel::loadavg() {
  Loadavg r{};
  {
    base::MutexLock l(tree_mu);
    for (Task* t : root_pid_ns_->Tasks()) {
      char s = t->state.load(std::memory_order_relaxed);
      if (s != 'Z') r.total++;
      if (s == 'R') r.running++;
    }
    r.last_pid = root_pid_ns_->last_pid();
  }
  // Decays towards what runs now, seen whenever somebody asks.
  int64_t now = clock().Monotonic();
  base::MutexLock l(load_mu_);
  double seconds = load_time_ == 0 ? 0 : static_cast<double>(now - load_time_) / 1e9;
  load_time_ = now;
  constexpr double kPeriod[3] = {60, 300, 900};
  for (int i = 0; i < 3; i++) {
    double keep = std::exp(-seconds / kPeriod[i]);
    load_[i] = load_[i] * keep + r.running * (1 - keep);
    r.avg[i] = load_[i];
  }
  return r;
}

}  // namespace sentry
