// Task: one guest thread (the kernel's task_struct), driven by one host thread of the sentry which
// runs Task::Run().
//
// A blocked task keeps nothing on its stack that matters: every wait is interruptible, and a
// handler that is interrupted returns a restart code. So the whole sandbox can be stopped with
// every task at the guest boundary.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "platform/api/platform.h"
#include "sentry/auth/creds.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/seccomp.h"
#include "sentry/kernel/syscall.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/fd_table.h"
#include "sentry/vfs/vfs.h"
#include "sentry/wait/parker.h"

namespace sentry {

// root, cwd, umask; shared by CLONE_FS.
class FsContext : public base::RefCounted {
 public:
  FsContext(Path root, Path cwd, uint32_t umask)
      : root_(std::move(root)), cwd_(std::move(cwd)), umask_(umask) {}
  Path root() const;
  Path cwd() const;
  uint32_t umask() const { return umask_.load(std::memory_order_relaxed); }
  uint32_t SwapUmask(uint32_t m) { return umask_.exchange(m & 0777); }
  void set_root(Path p);
  void set_cwd(Path p);
  base::Ref<FsContext> Clone() const;

 private:
  mutable base::Mutex<base::LockClass::kFsContext> mu_;
  Path root_ GUARDED_BY(mu_), cwd_ GUARDED_BY(mu_);
  std::atomic<uint32_t> umask_;
};

// A VfsContext together with the references that it borrows.
struct TaskVfs {
  base::Ref<const Creds> creds;
  Path root, cwd;
  base::Ref<MountNamespace> mounts;
  uint32_t umask;
  Task* task;
  VfsContext ctx() const { return VfsContext{*creds, root, cwd, *mounts, umask, task}; }
};

// Continuation of a call that was interrupted and is restarted through restart_syscall(2).
using RestartBlock = std::function<SyscallResult(Task&)>;

class Task : public base::RefCounted {
 public:
  // The task of the calling thread, set by the thread that runs it; null on the sentry's own
  // threads.
  static Task* Current() { return current_; }
  static void SetCurrent(Task* t) { current_ = t; }

  Kernel& kernel() const { return kernel_; }
  ThreadGroup& group() const { return *group_; }
  const base::Ref<ThreadGroup>& group_ref() const { return group_; }
  // Ids in the task's own pid namespace, and in the root one.
  int32_t tid() const { return tid_.load(std::memory_order_relaxed); }
  int32_t tgid() const { return tgid_; }
  int32_t root_tid() const { return root_tid_.load(std::memory_order_relaxed); }
  int32_t root_tgid() const { return root_tgid_; }

  // --- touched by the task's own thread without locks; other threads use the Ref-returning
  // accessors, which lock ---
  MemoryManager& mm() const { return *mm_; }
  FdTable& fds() const { return *fds_; }
  FsContext& fs() const { return *fs_; }
  const Creds& creds() const { return *creds_; }
  platform::GuestThread& guest() const { return *guest_; }
  // The registers as the guest would go on with now: those of the stop, with the result or the
  // registers that were set since. After a system call's start and before its result, rax is
  // -ENOSYS. Own thread.
  platform::Regs GuestRegs() const;
  // Replaces them; a handler that does so returns SyscallResult::RegsSet().
  void SetGuestRegs(const platform::Regs& regs);
  // From any thread. mm may be null once the task is exiting.
  base::Ref<MemoryManager> mm_ref() const;
  base::Ref<FdTable> fds_ref() const;
  base::Ref<FsContext> fs_ref() const;
  base::Ref<const Creds> creds_ref() const;
  base::Ref<MountNamespace> mounts_ref() const;
  void set_creds(base::Ref<const Creds> c);
  void set_fds(base::Ref<FdTable> f);
  void set_fs(base::Ref<FsContext> f);
  void set_mounts(base::Ref<MountNamespace> m);

  // The parent's id as this task sees it; 0: outside its namespace.
  int32_t ParentId();
  // What the engine's stub may answer for this task has changed. From any thread.
  void StaleLocal();

  TaskVfs vfs() const;
  // "comm", at most 15 bytes.
  std::string comm() const;
  void set_comm(std::string_view name);

  const base::Ref<PidNamespace>& pid_ns() const { return pid_ns_; }  // that of the task itself
  base::Ref<UtsNamespace> uts_ns() const;
  base::Ref<IpcNamespace> ipc_ns() const;
  base::Ref<NetNamespace> net_ns() const;
  void set_uts_ns(base::Ref<UtsNamespace> n);
  void set_ipc_ns(base::Ref<IpcNamespace> n);
  void set_net_ns(base::Ref<NetNamespace> n);
  // Own thread: made at the first call; exit_sem().
  const base::Ref<SemUndoShare>& sem_undo();
  void DropSemUndo() { sem_undo_.reset(); }
  // unshare(CLONE_NEWPID): the namespace of future children; null: pid_ns(). Own thread only.
  base::Ref<PidNamespace> child_pid_ns;

  uint64_t FileLimit() const;  // RLIMIT_NOFILE

  // --- waiting (own thread only) ---
  // Sleeps until e fires, a deadline (CLOCK_MONOTONIC, ns) passes (ETIMEDOUT), or a signal or stop
  // request comes (ERESTARTSYS).
  Parker& parker() { return parker_; }
  base::Result<void> Block(int64_t deadline_ns = kNoDeadline);  // returns ok after any unpark; the
                                                                // caller re-checks its condition
  // Repeats op while it returns EAGAIN, waiting for events on the file's queue, unless nonblocking
  // (then EAGAIN goes through). deadline: EAGAIN at expiry (SO_RCVTIMEO).
  template <typename Op>
  auto BlockOn(File& file, uint32_t events, bool nonblocking, Op&& op,
               int64_t deadline_ns = kNoDeadline) -> decltype(op());
  // As BlockOn for a bare queue.
  template <typename Op>
  auto BlockOnQueue(WaitQueue& queue, uint32_t events, Op&& op, int64_t deadline_ns = kNoDeadline)
      -> decltype(op());
  // A signal to handle, a stop or death is pending: blocking calls must give up.
  bool interrupted() const { return interrupt_.load(std::memory_order_acquire); }
  // Makes the task look at its pending work soon, wherever it is. From any thread.
  void Interrupt();
  // Sleeps until done() or death; signals wait. The waker unparks through parker() or an Entry.
  // False: killed.
  template <typename Done>
  bool BlockKillable(Done&& done);
  // The task must die (SIGKILL, exit_group, another thread's execve): nothing may wait any more.
  bool killed() const { return killed_.load(std::memory_order_acquire); }

  // --- signals ---
  // Under group().signal_mu.
  PendingSignals pending;
  // Others call with signal_mu.
  SignalSet blocked() const {
    const platform::LocalThread* l = local_.load(std::memory_order_relaxed);
    return l == nullptr ? blocked_ : __atomic_load_n(&l->blocked, __ATOMIC_RELAXED) & ~kUnblockable;
  }
  // Own thread: sets the mask and re-evaluates what is pending.
  void SetBlocked(SignalSet mask);
  // sigsuspend, ppoll, pselect, epoll_pwait: the mask until the call ends; the old one returns
  // after a handler was set up.
  void SetTemporaryMask(SignalSet mask);
  // Own thread. Not in use: flags SS_DISABLE, as sas_ss_reset().
  abi::StackT altstack{0, 2, 0, 0};
  void SetAltStack(const abi::StackT& s);
  // A signal that this task's own action causes (a fault), that can't be blocked or ignored
  // (force_sig_info).
  void ForceSignal(const abi::SigInfo& info);
  // A thread-directed signal. The caller has checked permission. force: from the sentry or an
  // ancestor pid namespace (SIGKILL and SIGSTOP then reach an init). EAGAIN: RLIMIT_SIGPENDING.
  base::Result<void> SendSignal(const abi::SigInfo& info, bool force = false);
  // Own thread: takes a pending signal of set, blocked or not (dequeue_signal()). signo 0: none.
  abi::SigInfo TakeSignal(SignalSet set);
  // Own thread: rt_sigtimedwait(2). EAGAIN at the deadline, EINTR.
  base::Result<abi::SigInfo> WaitSignal(SignalSet set, int64_t deadline_ns);
  // Pending for this task or its group.
  SignalSet PendingSet();
  // sigaction(2) for a valid signal but SIGKILL and SIGSTOP: the old action; discards what became
  // ignored.
  abi::SigAction SetAction(int sig, const abi::SigAction& a);
  // rt_sigreturn(2). A bad frame raises SIGSEGV.
  SyscallResult SigReturn();
  // on_sig_stack(): sp lies on the alternate stack, which is in use.
  bool OnAltStack(uint64_t sp) const;
  RestartBlock restart_block;

  // Own thread: what it has to tell the owners of files (sentry/kernel/async_io.h); told before it
  // sleeps or goes back to the guest.
  struct IoEvent* io_events = nullptr;

  // --- lifecycle ---
  // exit(2) and exit_group(2): marks; the run loop ends the task when the handler returns.
  void Exit(int32_t status);  // wait status
  void ExitGroup(int32_t status);
  std::atomic<uint64_t> clear_child_tid{0};
  // What set_robust_list(2) set: an address that only the guest vouches for. Read by any thread,
  // set by the own.
  uint64_t RobustList() const;
  void SetRobustList(uint64_t head);
  bool exiting() const { return exiting_.load(std::memory_order_acquire); }

  // --- misc, per prctl and the like; own thread writes ---
  std::atomic<bool> no_new_privs{false};
  // seccomp(2): SECCOMP_MODE_*. Threads of the group may change it (SECCOMP_FILTER_FLAG_TSYNC).
  int seccomp_mode() const { return seccomp_mode_.load(std::memory_order_relaxed); }
  base::Ref<SeccompFilter> seccomp_filter() const;
  // Own thread. EINVAL: the other mode is on.
  base::Result<void> SetSeccompStrict();
  // Own thread; privilege is checked by the caller. tsync: for all threads, or the tid of one that
  // has filters which this task has not.
  base::Result<int32_t> AddSeccompFilter(std::vector<abi::SockFilter> program, bool tsync);
  std::atomic<int32_t> pdeath_signal{0};
  std::atomic<uint64_t> timer_slack{50000}, default_timer_slack{50000};
  std::atomic<int32_t> sched_policy{0}, sched_priority{0}, nice{0}, ioprio{0};
  std::atomic<uint32_t> persona{0};
  int32_t mempolicy = 0;  // set_mempolicy(2): MPOL_* and its flags; own thread
  std::atomic<bool> sched_reset_on_fork{false};
  // Which processors it may run on: bit n is processor n (a guest sees at most 64).
  uint64_t affinity() const { return cpu_mask_.load(std::memory_order_relaxed); }
  void set_affinity(uint64_t mask) { cpu_mask_.store(mask, std::memory_order_relaxed); }
  // CPU time, ns, approximate and free on the hot path: user plus system is the time in which the
  // task did not sleep; system is the CPU time of its sentry thread. From any thread.
  struct CpuTime {
    int64_t user, sys;
  };
  CpuTime cpu_time() const;
  // The own thread takes the task.
  void StartCpuTime();
  // 'S' for 'R' while it sleeps in the engine's stub.
  char State() const;
  abi::Rusage Usage() const;
  uint64_t VoluntarySwitches() const { return nvcsw.load() + LocalSleeps().times; }
  std::atomic<uint64_t> min_flt{0}, maj_flt{0}, nvcsw{0}, nivcsw{0};
  int64_t start_time = 0;  // CLOCK_BOOTTIME
  // See State(): 'R' running, 'S' blocked, 'T' stopped, 't' traced, 'Z' zombie.
  std::atomic<char> state{'R'};

 private:
  friend class Kernel;
  friend class PidNamespace;
  friend class TaskRunner;
  friend class ThreadGroup;
  friend struct SignalOps;
  Task(Kernel& kernel, base::Ref<ThreadGroup> group);
  ~Task() override;

  void InheritSeccomp(const Task& from);
  // Delivers io_events. True: there was nothing else to be interrupted for.
  bool OnlyIoEvents();
  void SetBlockedLocked(SignalSet mask);  // under signal_mu, by the own thread
  void PublishLocal();
  // Before guest_ goes: its memory holds the mask.
  void DetachLocal();
  void StoreBlocked(SignalSet mask);   // under signal_mu, by the own thread
  void SetLocalPending(bool pending);  // under signal_mu
  // Sleeps in the engine's stub, since guest_ was made.
  struct LocalSleep {
    int64_t ns = 0;
    uint32_t times = 0;
    bool asleep = false;
  };
  LocalSleep LocalSleeps() const;
  // Sleeping and running again, for CPU time and /proc.
  void AccountSleep();
  void AccountWake();

  static inline thread_local Task* current_ = nullptr;
  Kernel& kernel_;
  const base::Ref<ThreadGroup> group_;
  // tid_ and root_tid_ change when execve makes this task the leader.
  std::atomic<int32_t> tid_{0}, root_tid_{0};
  int32_t tgid_ = 0, root_tgid_ = 0;
  mutable base::Mutex<base::LockClass::kTask> mu_;
  // These are written by the own thread under mu_: it reads them without, others with the lock.
  base::Ref<MemoryManager> mm_;
  base::Ref<FdTable> fds_;
  base::Ref<FsContext> fs_;
  base::Ref<const Creds> creds_;
  base::Ref<MountNamespace> mounts_;
  base::Ref<PidNamespace> pid_ns_;  // fixed
  base::Ref<UtsNamespace> uts_ns_;
  base::Ref<IpcNamespace> ipc_ns_;
  base::Ref<NetNamespace> net_ns_;
  base::Ref<SemUndoShare> sem_undo_;
  std::atomic<int> seccomp_mode_{0};
  base::Ref<SeccompFilter> seccomp_ GUARDED_BY(mu_);  // changed under signal_mu too
  std::string comm_ GUARDED_BY(mu_);
  std::unique_ptr<platform::GuestThread> guest_;
  // What execve replaced; dropped when the call has returned.
  std::unique_ptr<platform::GuestThread> retired_guest_;
  base::Ref<MemoryManager> retired_mm_;
  // What was set since the stop.
  enum class Set : uint8_t { kNothing, kReturn, kRegs };
  Set set_ = Set::kNothing;
  uint64_t set_return_ = 0;
  platform::Regs set_regs_{};
  Parker parker_;
  std::atomic<bool> interrupt_{false};
  // True around GuestThread::Run(); Interrupt() stops the guest only then. Paired with interrupt_:
  // each side writes its own and then reads the other's, sequentially consistent.
  std::atomic<bool> in_guest_{false};
  std::atomic<bool> killed_{false};  // set under signal_mu
  std::atomic<bool> exiting_{false};
  int32_t exit_status_ = 0;
  // What the engine's stub answers must be written anew before the guest runs on.
  std::atomic<bool> local_stale_{true};
  // Where the mask is while the engine's stub may change it. Written by the own thread under
  // signal_mu.
  std::atomic<platform::LocalThread*> local_{nullptr};
  std::atomic<uint64_t> robust_list_{0};  // without local_
  SignalSet blocked_ = 0;       // without local_. Written by the own thread under signal_mu.
  SignalSet real_blocked_ = 0;  // under signal_mu: what sigtimedwait unblocked for its wait
  SignalSet saved_mask_ = 0;
  bool has_saved_mask_ = false;
  bool stop_counted_ = false;  // under signal_mu: still counts in stop_remaining
  // Of the last fault, for sigcontext.
  uint64_t fault_trapno_ = 0, fault_error_ = 0, fault_cr2_ = 0;
  uint64_t set_child_tid_ = 0;         // written by the new task itself (CLONE_CHILD_SETTID)
  base::Ref<base::RefCounted> vfork_;  // a VforkDone: the parent waits for exec or exit
  std::atomic<uint64_t> cpu_mask_{0};
  std::atomic<int64_t> run_ns_{0}, run_since_{0};  // run_since_ 0: asleep
  std::atomic<int32_t> host_tid_{0};
  int64_t sys_base_ns_ = 0;  // the host thread's CPU time when it took the task
  int64_t final_user_ns_ = 0, final_sys_ns_ = 0;  // once exited
};

template <typename Done>
bool Task::BlockKillable(Done&& done) {
  AccountSleep();
  while (!done() && !killed()) parker_.Park();
  AccountWake();
  return done();
}

template <typename Op>
auto Task::BlockOn(File& file, uint32_t events, bool nonblocking, Op&& op, int64_t deadline_ns)
    -> decltype(op()) {
  auto r = op();
  if (nonblocking || !r.is(abi::Errno::kEAGAIN)) return r;
  WaitQueue* q = file.wait_queue();
  if (q == nullptr) return r;
  file.WillWait(events);
  return BlockOnQueue(*q, events, op, deadline_ns);
}

template <typename Op>
auto Task::BlockOnQueue(WaitQueue& queue, uint32_t events, Op&& op, int64_t deadline_ns)
    -> decltype(op()) {
  parker_.Reset();
  Parker::Entry entry(parker_);
  queue.Add(&entry, events);
  for (;;) {
    auto r = op();
    if (!r.is(abi::Errno::kEAGAIN)) {
      queue.Remove(&entry);
      return r;
    }
    base::Result<void> b = Block(deadline_ns);
    if (!b.ok()) {
      queue.Remove(&entry);
      if (b.error() == base::Error(abi::Errno::kETIMEDOUT)) return r;
      return b.error();
    }
  }
}

}  // namespace sentry
