#include "sentry/kernel/task.h"

#include <algorithm>

#include "platform/host/host.h"
#include "sentry/kernel/async_io.h"
#include "sentry/kernel/signal_ops.h"
#include "syscalls/abi/sched.h"

namespace sentry {

// --- FsContext ---

Path FsContext::root() const {
  base::MutexLock l(mu_);
  return root_;
}

Path FsContext::cwd() const {
  base::MutexLock l(mu_);
  return cwd_;
}

void FsContext::set_root(Path p) {
  base::MutexLock l(mu_);
  std::swap(root_, p);
}

void FsContext::set_cwd(Path p) {
  base::MutexLock l(mu_);
  std::swap(cwd_, p);
}

base::Ref<FsContext> FsContext::Clone() const {
  base::MutexLock l(mu_);
  return base::MakeRef<FsContext>(root_, cwd_, umask());
}

// --- Task ---

Task::Task(Kernel& kernel, base::Ref<ThreadGroup> group)
    : kernel_(kernel), group_(std::move(group)) {
  const int n = group_->container().cpu_count.load(std::memory_order_relaxed);
  cpu_mask_.store(n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1, std::memory_order_relaxed);
}

Task::~Task() = default;

base::Ref<MemoryManager> Task::mm_ref() const {
  base::MutexLock l(mu_);
  return mm_;
}

base::Ref<FdTable> Task::fds_ref() const {
  base::MutexLock l(mu_);
  return fds_;
}

base::Ref<FsContext> Task::fs_ref() const {
  base::MutexLock l(mu_);
  return fs_;
}

base::Ref<const Creds> Task::creds_ref() const {
  base::MutexLock l(mu_);
  return creds_;
}

base::Ref<MountNamespace> Task::mounts_ref() const {
  base::MutexLock l(mu_);
  return mounts_;
}

base::Ref<UtsNamespace> Task::uts_ns() const {
  base::MutexLock l(mu_);
  return uts_ns_;
}

base::Ref<IpcNamespace> Task::ipc_ns() const {
  base::MutexLock l(mu_);
  return ipc_ns_;
}

base::Ref<NetNamespace> Task::net_ns() const {
  base::MutexLock l(mu_);
  return net_ns_;
}

// What is replaced is released with the parameter, after the lock.
void Task::set_creds(base::Ref<const Creds> c) {
  base::MutexLock l(mu_);
  std::swap(creds_, c);
  local_stale_.store(true, std::memory_order_relaxed);
}

void Task::set_fds(base::Ref<FdTable> f) {
  base::MutexLock l(mu_);
  std::swap(fds_, f);
}

void Task::set_fs(base::Ref<FsContext> f) {
  base::MutexLock l(mu_);
  std::swap(fs_, f);
}

void Task::set_mounts(base::Ref<MountNamespace> m) {
  base::MutexLock l(mu_);
  std::swap(mounts_, m);
}

void Task::set_uts_ns(base::Ref<UtsNamespace> n) {
  base::MutexLock l(mu_);
  std::swap(uts_ns_, n);
}

const base::Ref<SemUndoShare>& Task::sem_undo() {
  if (!sem_undo_) sem_undo_ = base::MakeRef<SemUndoShare>();
  return sem_undo_;
}

void Task::set_ipc_ns(base::Ref<IpcNamespace> n) {
  DropSemUndo();
  base::MutexLock l(mu_);
  std::swap(ipc_ns_, n);
}

void Task::set_net_ns(base::Ref<NetNamespace> n) {
  base::MutexLock l(mu_);
  std::swap(net_ns_, n);
}

TaskVfs Task::vfs() const {
  return TaskVfs{creds_, fs_->root(), fs_->cwd(), mounts_, fs_->umask(), const_cast<Task*>(this)};
}

std::string Task::comm() const {
  base::MutexLock l(mu_);
  return comm_;
}

void Task::set_comm(std::string_view name) {
  base::MutexLock l(mu_);
  comm_ = name.substr(0, abi::kTASK_COMM_LEN - 1);
}

uint64_t Task::FileLimit() const { return group_->limits.Get(abi::kRLIMIT_NOFILE).cur; }

platform::Regs Task::GuestRegs() const {
  if (set_ == Set::kRegs) return set_regs_;
  platform::Regs r = guest_->regs();
  if (set_ == Set::kReturn) r.rax = set_return_;
  return r;
}

void Task::SetGuestRegs(const platform::Regs& regs) {
  guest_->SetRegs(regs);
  set_regs_ = regs;
  set_ = Set::kRegs;
}

// --- Waiting ---

void Task::AccountSleep() {
  int64_t now = HostClock().Monotonic();
  run_ns_.fetch_add(now - run_since_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  run_since_.store(0, std::memory_order_relaxed);
  nvcsw.fetch_add(1, std::memory_order_relaxed);
  state.store('S', std::memory_order_relaxed);
  if (guest_ != nullptr) guest_->Rest();
}

void Task::AccountWake() {
  run_since_.store(HostClock().Monotonic(), std::memory_order_relaxed);
  state.store('R', std::memory_order_relaxed);
}

bool Task::OnlyIoEvents() {
  if (io_events == nullptr) return false;
  AsyncOwner::Deliver(*this);
  base::MutexLock l(group_->signal_mu);
  if (SignalOps::HasWork(*group_, *this)) return false;
  interrupt_.store(false, std::memory_order_relaxed);
  return true;
}

base::Result<void> Task::Block(int64_t deadline_ns) {
  if (interrupted() && !OnlyIoEvents()) return base::Restart::kSys;
  AccountSleep();
  bool token = parker_.Park(deadline_ns);
  AccountWake();
  if (interrupted()) return base::Restart::kSys;
  if (!token) return abi::Errno::kETIMEDOUT;
  return {};
}

void Task::StaleLocal() {
  local_stale_.store(true, std::memory_order_seq_cst);
  if (this == current_ || !in_guest_.load(std::memory_order_seq_cst)) return;
  base::MutexLock l(mu_);
  if (guest_ != nullptr) guest_->Interrupt();
}

int32_t Task::ParentId() {
  base::MutexLock l(kernel_.tree_mu);
  return group_->parent == nullptr ? 0 : pid_ns_->IdOf(*group_->parent);
}

void Task::PublishLocal() {
  local_stale_.store(false, std::memory_order_relaxed);
  platform::LocalThread* local = guest_->local();
  if (local == nullptr) return;
  ThreadGroup& g = *group_;
  {
    base::MutexLock l(g.signal_mu);
    if (local_.load(std::memory_order_relaxed) != local) {
      SignalSet mask = blocked();
      local->blocked = mask;
      local->sleeps = 0;
      local->slept_ns = local->asleep_since = 0;
      local->robust_list = robust_list_.load(std::memory_order_relaxed);
      local_.store(local, std::memory_order_release);
    }
    SetLocalPending((pending.pending() | g.pending.pending()) != 0);
  }
  local->pid = tgid();
  local->tid = tid();
  local->ppid = ParentId();
  local->uid = creds_->uid;
  local->euid = creds_->euid;
  local->gid = creds_->gid;
  local->egid = creds_->egid;
  local->altstack_sp = altstack.sp;
  local->altstack_size = altstack.size;
  local->altstack_flags = static_cast<uint32_t>(altstack.flags);
  // In a user namespace ids change with its map, which others write.
  local->enabled = kernel_.options().hooks.enter == nullptr && seccomp_mode() == 0 &&
                   creds_->user_ns->parent() == nullptr;
}

void Task::SetAltStack(const abi::StackT& s) {
  altstack = s;
  local_stale_.store(true, std::memory_order_relaxed);
}

Task::LocalSleep Task::LocalSleeps() const {
  // Under mu_ the memory stays: guest_ goes after local_ was reset.
  base::MutexLock lock(mu_);
  const platform::LocalThread* l = local_.load(std::memory_order_acquire);
  if (l == nullptr) return {};
  LocalSleep s;
  s.ns = __atomic_load_n(&l->slept_ns, __ATOMIC_RELAXED);
  s.times = __atomic_load_n(&l->sleeps, __ATOMIC_RELAXED);
  // The guest may have written anything.
  constexpr int64_t kMax = INT64_MAX / 4;
  if (s.ns < 0 || s.ns > kMax) s.ns = 0;
  const int64_t since = __atomic_load_n(&l->asleep_since, __ATOMIC_RELAXED);
  if (since > 0 && in_guest_.load(std::memory_order_relaxed)) {
    s.asleep = true;
    s.ns += std::clamp<int64_t>(HostClock().Monotonic() - since, 0, kMax);
  }
  return s;
}

uint64_t Task::RobustList() const {
  base::MutexLock lock(mu_);
  const platform::LocalThread* l = local_.load(std::memory_order_acquire);
  return l != nullptr ? __atomic_load_n(&l->robust_list, __ATOMIC_RELAXED)
                      : robust_list_.load(std::memory_order_relaxed);
}

void Task::SetRobustList(uint64_t head) {
  robust_list_.store(head, std::memory_order_relaxed);
  platform::LocalThread* l = local_.load(std::memory_order_relaxed);
  if (l != nullptr) __atomic_store_n(&l->robust_list, head, __ATOMIC_RELAXED);
}

char Task::State() const {
  const char s = state.load(std::memory_order_relaxed);
  return s == 'R' && LocalSleeps().asleep ? 'S' : s;
}

void Task::DetachLocal() {
  const LocalSleep slept = LocalSleeps();
  robust_list_.store(RobustList(), std::memory_order_relaxed);
  run_ns_.fetch_sub(slept.ns, std::memory_order_relaxed);
  nvcsw.fetch_add(slept.times, std::memory_order_relaxed);
  base::MutexLock l(group_->signal_mu);
  blocked_ = blocked();
  local_.store(nullptr, std::memory_order_relaxed);
  local_stale_.store(true, std::memory_order_relaxed);
}

void Task::StoreBlocked(SignalSet mask) {
  platform::LocalThread* l = local_.load(std::memory_order_relaxed);
  if (l != nullptr) {
    __atomic_store_n(&l->blocked, mask, __ATOMIC_RELAXED);
  } else {
    blocked_ = mask;
  }
}

void Task::SetLocalPending(bool pending) {
  platform::LocalThread* l = local_.load(std::memory_order_relaxed);
  if (l != nullptr) __atomic_store_n(&l->pending, pending, __ATOMIC_SEQ_CST);
}

void Task::Interrupt() {
  interrupt_.store(true, std::memory_order_seq_cst);
  if (this == current_) return;
  parker_.Unpark();
  if (in_guest_.load(std::memory_order_seq_cst)) {
    base::MutexLock l(mu_);
    if (guest_ != nullptr) guest_->Interrupt();
  }
}

namespace {

// CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED of a thread (include/linux/posix-timers.h); 0: it is gone.
int64_t ThreadCpuNs(int32_t tid) {
  timespec ts{};
  if (host::Call<SYS_clock_gettime>((~tid << 3) | 6, &ts) != 0) return 0;
  return ts.tv_sec * abi::kNsPerSec + ts.tv_nsec;
}

}  // namespace

void Task::StartCpuTime() {
  auto tid = static_cast<int32_t>(host::Gettid());
  sys_base_ns_ = ThreadCpuNs(tid);
  host_tid_.store(tid, std::memory_order_release);
  run_since_.store(HostClock().Monotonic(), std::memory_order_relaxed);
}

Task::CpuTime Task::cpu_time() const {
  if (exiting() && state.load(std::memory_order_acquire) == 'Z') {
    return {final_user_ns_, final_sys_ns_};
  }
  int64_t total = run_ns_.load(std::memory_order_relaxed);
  int64_t since = run_since_.load(std::memory_order_relaxed);
  if (since != 0) total += HostClock().Monotonic() - since;
  total = std::max<int64_t>(total - LocalSleeps().ns, 0);
  int64_t sys = 0;
  int32_t tid = host_tid_.load(std::memory_order_acquire);
  if (tid != 0) sys = std::clamp<int64_t>(ThreadCpuNs(tid) - sys_base_ns_, 0, total);
  return {total - sys, sys};
}

// --- Lifecycle ---

void Task::Exit(int32_t status) {
  exit_status_ = status;
  exiting_.store(true, std::memory_order_release);
  interrupt_.store(true, std::memory_order_release);
}

void Task::ExitGroup(int32_t status) {
  ThreadGroup& g = *group_;
  base::MutexLock l(g.signal_mu);
  if (!g.group_exiting) {
    g.group_exiting = true;
    g.group_exit_status = status;
    g.stop_signal = 0;
    for (Task* t : g.tasks) {
      t->killed_.store(true, std::memory_order_release);
      if (t != this) t->Interrupt();
    }
  }
  exit_status_ = g.group_exit_status;
  exiting_.store(true, std::memory_order_release);
  interrupt_.store(true, std::memory_order_release);
}

}  // namespace sentry
