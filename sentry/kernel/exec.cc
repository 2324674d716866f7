// execve(2): fs/exec.c, security/commoncap.c.
#include "platform/base/log.h"
#include "sentry/kernel/exec_creds.h"
#include "sentry/kernel/posix_timers.h"
#include "sentry/kernel/released.h"
#include "sentry/kernel/signal_ops.h"
#include "sentry/kernel/vfork.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/personality.h"

namespace sentry {

base::Ref<const Creds> CredsAfterExec(const base::Ref<const Creds>& old,
                                      const Kernel::LoadedImage& image, bool no_new_privs) {
  // cap_bprm_creds_from_file().
  const Creds& o = *old;
  auto c = base::MakeRef<Creds>(o);
  if (image.set_uid) c->euid = image.uid;
  if (image.set_gid) c->egid = image.gid;
  uint32_t root = o.user_ns->UidToGlobal(0);
  bool set_id = c->euid != o.uid || c->egid != o.gid;
  bool changed = c->euid != o.euid || c->egid != o.egid;
  bool effective = image.caps_effective;
  CapSet permitted = (o.bounding & image.caps_permitted) | (o.inheritable & image.caps_inheritable);
  // handle_privileged_root(): a file's own capabilities count for a program that is set-user-ID
  // root, rather than all of them.
  const bool caps_instead = image.has_caps && c->euid == root && c->uid != root;
  if ((o.securebits & abi::kSECBIT_NOROOT) == 0 && !caps_instead &&
      (c->euid == root || c->uid == root)) {
    permitted = o.bounding | o.inheritable;
    effective = effective || c->euid == root;
  }
  if ((set_id || (permitted & ~o.permitted) != 0) && no_new_privs) {
    c->euid = c->uid;
    c->egid = c->gid;
    permitted &= o.permitted;
  }
  c->suid = c->fsuid = c->euid;
  c->sgid = c->fsgid = c->egid;
  if (changed || image.has_caps) c->ambient = 0;
  c->permitted = permitted | c->ambient;
  c->effective = effective ? c->permitted : c->ambient;
  c->securebits &= ~static_cast<uint32_t>(abi::kSECBIT_KEEP_CAPS);
  return c;
}

base::Result<void> Kernel::KillOtherThreads(Task& t) {
  // de_thread().
  ThreadGroup& g = t.group();
  {
    base::MutexLock l(g.signal_mu);
    if (g.group_exiting || g.exec_task != nullptr || t.killed()) return abi::Errno::kEAGAIN;
    bool alone = g.tasks.size() == 1;
    if (alone) return {};
    g.exec_task = &t;
    for (Task* x : g.tasks) {
      if (x == &t) continue;
      x->killed_.store(true, std::memory_order_release);
      x->Interrupt();
    }
  }
  bool done = t.BlockKillable([&] {
    base::MutexLock l(tree_mu);
    return g.live == 1;
  });
  Released released;
  base::MutexLock l(tree_mu);
  base::MutexLock s(g.signal_mu);
  g.exec_task = nullptr;
  if (!done) return abi::Errno::kEAGAIN;
  if (g.leader != &t) {
    // The dead leader's numbers become this task's.
    Task* old = g.leader;
    for (PidNamespace* ns = t.pid_ns_.get(); ns != nullptr; ns = ns->parent_.get()) {
      int32_t lead = ns->IdOf(*old), own = ns->IdOf(t);
      ns->tasks_.erase(own);
      ns->tasks_[lead] = &t;
      if (ns->ids_.erase(old) != 0) ns->ids_[&t] = lead;
    }
    t.tid_.store(old->tid());
    t.root_tid_.store(old->root_tid());
    g.leader = &t;
    std::erase(g.tasks, old);
    released.DropTask(old);
  }
  return {};
}

SyscallResult Kernel::Exec(Task& t, ExecArgs args) {
  if (loader_ == nullptr) return abi::Errno::kENOSYS;
  ThreadGroup& g = t.group();
  bool nnp = t.no_new_privs.load(std::memory_order_relaxed);
  LoadedImage image;
  {
    TaskVfs vfs = t.vfs();
    auto loaded = loader_(*this, vfs, args, *t.creds_, nnp, g.limits);
    if (!loaded.ok()) return loaded.error();
    image = *std::move(loaded);
  }
  t.guest_->Rest();
  auto guest = image.mm->address_space().NewThread(nullptr, image.regs, platform::FpState());
  if (!guest.ok()) return guest.error();
  base::Result<void> alone = KillOtherThreads(t);
  if (!alone.ok()) return alone.error();

  // The point of no return.
  ReleaseMemory(t);
  t.SetRobustList(0);
  base::Ref<const Creds> creds = CredsAfterExec(t.creds_, image, nnp);
  const Creds& o = *t.creds_;
  bool id_change = creds->euid != o.euid || creds->egid != o.egid;
  if (id_change) t.pdeath_signal.store(0);
  image.mm->dumpable.store(creds->euid == creds->uid && creds->egid == creds->gid);
  image.mm->limits.as.store(g.limits.Get(abi::kRLIMIT_AS).cur);
  image.mm->limits.data.store(g.limits.Get(abi::kRLIMIT_DATA).cur);
  image.mm->limits.stack.store(g.limits.Get(abi::kRLIMIT_STACK).cur);
  image.mm->limits.memlock.store(g.limits.Get(abi::kRLIMIT_MEMLOCK).cur);
  t.DetachLocal();
  {
    base::MutexLock l(t.mu_);
    t.retired_mm_ = std::exchange(t.mm_, std::move(image.mm));
    t.retired_guest_ = std::exchange(t.guest_, *std::move(guest));
  }
  if (t.retired_mm_->users.fetch_sub(1) == 1) t.retired_mm_->address_space().Kill();
  if (g.handlers->RefCount() > 1) {
    base::Ref<SignalHandlers> own = g.handlers->Clone();
    base::MutexLock l(g.signal_mu);
    std::swap(g.handlers, own);
  }
  g.handlers->ResetForExec();
  {
    // Before files are closed, which tells others that the program runs.
    base::MutexLock l(tree_mu);
    g.exec_done = true;
    g.exit_signal = abi::kSIGCHLD;  // de_thread()
  }
  if (t.fds_->RefCount() > 1) t.set_fds(t.fds_->Clone());
  // Closed like close(2) would: record locks go, then the references.
  for (base::Ref<File>& f : t.fds_->RemoveCloexec()) (void)f->Flush();
  if (g.timers) g.timers->DeleteAll();
  t.SetAltStack(abi::StackT{0, abi::kSS_DISABLE, 0, 0});
  t.persona.store(t.persona.load() &
                  ~(id_change ? static_cast<uint32_t>(abi::kPER_CLEAR_ON_SETID) : 0));
  t.set_comm(image.comm);
  t.set_creds(std::move(creds));
  t.set_regs_ = image.regs;
  t.set_ = Task::Set::kRegs;
  t.restart_block = nullptr;
  return SyscallResult::RegsSet();
}

}  // namespace sentry
