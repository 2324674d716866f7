// Thread groups (processes), process groups, sessions, pid namespaces.
//
// Locks: the tree (parents, children, groups, sessions, pid tables, exit states) is guarded by
// Kernel::tree_mu; a thread group's signal state by its signal_mu, taken inside.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "sentry/auth/creds.h"
#include "sentry/kernel/container.h"
#include "sentry/kernel/signal.h"
#include "sentry/time/timer.h"
#include "syscalls/abi/resource.h"

namespace sentry {

class Kernel;
class PidNamespace;
class Session;
class PosixTimers;
class Task;
class ThreadGroup;

// The number of a session or process group in each pid namespace where it is visible.
using PidNumbers = absl::InlinedVector<std::pair<PidNamespace*, int32_t>, 1>;

class Session : public base::RefCounted {
 public:
  Session(int32_t id, PidNumbers numbers) : numbers(std::move(numbers)), id_(id) {}
  int32_t id() const { return id_; }  // in the root pid namespace
  const PidNumbers numbers;
  // --- guarded by the tree lock ---
  // The controlling terminal (sentry/fs/devpts), opaque here.
  base::Ref<base::RefCounted> tty;
  ThreadGroup* leader = nullptr;  // null once it exited
  uint32_t pgrps = 0;             // process groups alive

 private:
  const int32_t id_;
};

class ProcessGroup : public base::RefCounted {
 public:
  ProcessGroup(int32_t id, PidNumbers numbers, base::Ref<Session> session)
      : numbers(std::move(numbers)), id_(id), session_(std::move(session)) {}
  int32_t id() const { return id_; }
  const base::Ref<Session>& session() const { return session_; }
  const PidNumbers numbers;
  // Members in no order; guarded by the tree lock. The pointers are those of thread groups that are
  // not reaped yet.
  std::vector<ThreadGroup*> members;

 private:
  const int32_t id_;
  const base::Ref<Session> session_;
};

// RLIMIT_*; shared by a thread group's tasks.
class Limits {
 public:
  Limits();
  abi::Rlimit Get(int resource) const;
  void Set(int resource, const abi::Rlimit& l);
  Limits(const Limits& o);
  Limits& operator=(const Limits& o);

 private:
  mutable base::Mutex<base::LockClass::kLeaf> mu_;
  std::array<abi::Rlimit, 16> limits_ GUARDED_BY(mu_);
};

class ThreadGroup : public base::RefCounted {
 public:
  ThreadGroup(Kernel& kernel, base::Ref<Container> container);
  ~ThreadGroup() override;
  Kernel& kernel() const { return kernel_; }
  Container& container() const { return *container_; }

  // --- under Kernel::tree_mu ---
  Task* leader = nullptr;  // keeps the thread group's pid; may be a zombie while others run
  // Live tasks and a zombie leader. Changed under tree_mu and signal_mu: either suffices to read.
  std::vector<Task*> tasks;
  uint32_t live = 0;  // tasks that have not exited
  ThreadGroup* parent = nullptr;
  const Task* parent_thread = nullptr;  // the task that made it, for PR_SET_PDEATHSIG; not followed
  std::vector<base::Ref<ThreadGroup>> children;
  base::Ref<ProcessGroup> pgrp;
  bool is_child_subreaper = false;
  // It gave up its share of its session's terminal (TIOCNOTTY); children inherit that.
  bool tty_given_up = false;
  // The sandbox's init took it over. No tie of job control then, as with Linux's global init; its
  // own children have one, for it may be a shell.
  bool adopted = false;
  bool exec_done = false;                // setpgid of a child that exec'd: EACCES
  int exit_signal = 17;                  // what the parent gets (SIGCHLD), 0 none
  bool zombie = false;                   // all tasks exited; waits to be reaped
  bool reaped = false;                   // removed from the tree
  int32_t exit_status = 0;               // wait status
  std::function<void(int32_t)> on_exit;  // of processes that were started from outside
  WaitQueue child_events;                // wait4 of this group's tasks listens here
  WaitQueue exit_events;                 // pidfds listen here; EPOLLIN once the group is dead
  // Zombie (or reaped); reaped: for readers without the lock.
  std::atomic<bool> dead{false}, gone{false};
  bool reap_silently = false;  // never started: nobody is told

  // --- under signal_mu ---
  base::Mutex<base::LockClass::kSignals> signal_mu;
  PendingSignals pending GUARDED_BY(signal_mu);
  bool group_exiting GUARDED_BY(signal_mu) = false;
  int32_t group_exit_status GUARDED_BY(signal_mu) = 0;
  // The task that waits for the others to die in execve.
  Task* exec_task GUARDED_BY(signal_mu) = nullptr;
  // Group stop: the signal that stops the group (0: none); how many tasks have not stopped yet;
  // complete.
  int32_t stop_signal GUARDED_BY(signal_mu) = 0;
  uint32_t stop_remaining GUARDED_BY(signal_mu) = 0;
  bool stopped GUARDED_BY(signal_mu) = false;
  // Job control events not yet waited for: the stop's signal, or 0; continued.
  int32_t stop_report GUARDED_BY(signal_mu) = 0;
  bool continue_report GUARDED_BY(signal_mu) = false;
  // CLD_* that the next task of the group to run tells the parent, 0: none.
  int32_t notify_parent GUARDED_BY(signal_mu) = 0;
  // signalfd and sigtimedwait of this group's tasks listen here (mask: EPOLLIN).
  WaitQueue signal_queue;
  // The init of a pid namespace: only a caught signal, or SIGKILL and SIGSTOP from outside, reaches
  // it (SIGNAL_UNKILLABLE).
  std::atomic<bool> unkillable{false};

  base::Ref<SignalHandlers> handlers;  // replaced only by exec with one task left
  Limits limits;
  // Made by the timer calls (PosixTimers::Of()); destroyed at exit.
  std::unique_ptr<PosixTimers> timers;
  std::unique_ptr<Timer> cpu_limit;  // a CpuLimit, while RLIMIT_CPU is finite; under signal_mu

  // CPU time and counters of exited tasks (ru of wait4, RUSAGE_SELF) and of waited-for children;
  // under tree_mu.
  abi::Rusage dead_usage{}, children_usage{};
  int64_t max_rss = 0;     // KiB, of address spaces that it has left; under tree_mu
  int64_t start_time = 0;  // CLOCK_BOOTTIME ns
  std::atomic<int32_t> oom_score_adj{0};
  bool oom_victim = false;  // dies to give memory back; under tree_mu
  // This process as wait4, getrusage(RUSAGE_SELF) and times see it. Under tree_mu.
  abi::Rusage Usage() const;

 private:
  Kernel& kernel_;
  const base::Ref<Container> container_;
};

// Adds b's times and counters to a (maxrss: the maximum).
void AddUsage(abi::Rusage* a, const abi::Rusage& b);

// Pid tables. Tasks have a number in their namespace and in every ancestor.
class PidNamespace : public base::RefCounted {
 public:
  explicit PidNamespace(base::Ref<UserNamespace> owner) : owner_(std::move(owner)) {}
  PidNamespace(base::Ref<PidNamespace> parent, base::Ref<UserNamespace> owner)
      : parent_(std::move(parent)), owner_(std::move(owner)), level_(parent_->level_ + 1) {}
  const base::Ref<PidNamespace>& parent() const { return parent_; }
  const base::Ref<UserNamespace>& owner() const { return owner_; }
  int level() const { return level_; }
  // This one or one of its ancestors is a.
  bool IsWithin(const PidNamespace& a) const;

  // Under Kernel::tree_mu.
  Task* FindTask(int32_t tid) const;
  ThreadGroup* FindGroup(int32_t tgid) const;
  ProcessGroup* FindPgrp(int32_t pgid) const;
  Session* FindSession(int32_t sid) const;
  // 0: the task is not visible here.
  int32_t IdOf(const Task& t) const;
  int32_t IdOf(const ThreadGroup& g) const;
  int32_t IdOf(const ProcessGroup& p) const;
  int32_t IdOf(const Session& s) const;
  std::vector<Task*> Tasks() const;  // ascending by id
  std::vector<ThreadGroup*> Groups() const;
  ThreadGroup* init() const { return init_; }
  bool dying() const { return dying_; }
  int32_t last_pid() const { return last_pid_; }
  size_t task_count() const { return tasks_.size(); }
  // Raised when a task of the namespace exits.
  WaitQueue exits;

 private:
  friend class Kernel;
  bool Taken(int32_t id) const {
    return tasks_.contains(id) || pgrps_.contains(id) || sessions_.contains(id);
  }
  // The next free number; 0: none.
  int32_t Allocate();

  base::Ref<PidNamespace> parent_;
  const base::Ref<UserNamespace> owner_;
  int level_ = 0;
  int32_t last_pid_ = 0;
  ThreadGroup* init_ = nullptr;
  bool dying_ = false;
  absl::flat_hash_map<int32_t, Task*> tasks_;
  // Only of tasks for which this is neither their own namespace nor the root.
  absl::flat_hash_map<const Task*, int32_t> ids_;
  absl::flat_hash_map<int32_t, base::Ref<ProcessGroup>> pgrps_;
  absl::flat_hash_map<int32_t, base::Ref<Session>> sessions_;
};

struct UtsNamespace : public base::RefCounted {
  mutable base::Mutex<base::LockClass::kLeaf> mu;
  std::string nodename GUARDED_BY(mu), domainname GUARDED_BY(mu) = "(none)";
  base::Ref<UserNamespace> owner;
};

// SysV objects and message queues (sentry/kernel/ipc*) hang off objects.
class IpcNamespace : public base::RefCounted {
 public:
  explicit IpcNamespace(base::Ref<UserNamespace> owner) : owner_(std::move(owner)) {}
  const base::Ref<UserNamespace>& owner() const { return owner_; }
  base::Mutex<base::LockClass::kLeaf> mu;
  // Made at first use by the code that owns it.
  base::Ref<base::RefCounted> objects GUARDED_BY(mu);

 private:
  const base::Ref<UserNamespace> owner_;
};

// The SEM_UNDO adjustments of the tasks that share them (CLONE_SYSVSEM). The list is made and, with
// the last reference, carried out by sentry/ipc.
struct SemUndoShare : public base::RefCounted {
  base::Mutex<base::LockClass::kLeaf> mu;
  base::Ref<base::RefCounted> list GUARDED_BY(mu);
};

// Interfaces, addresses and ports (sentry/socket/inet) hang off objects.
class NetNamespace : public base::RefCounted {
 public:
  explicit NetNamespace(base::Ref<UserNamespace> owner) : owner_(std::move(owner)) {}
  const base::Ref<UserNamespace>& owner() const { return owner_; }
  base::Mutex<base::LockClass::kLeaf> mu;
  // Made at first use by the code that owns it.
  base::Ref<base::RefCounted> objects GUARDED_BY(mu);

 private:
  const base::Ref<UserNamespace> owner_;
};

}  // namespace sentry
