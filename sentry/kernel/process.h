// Thread groups (processes), process groups, sessions, pid namespaces.
//
// Locks: the tree (parents, children, groups, sessions, pid tables, exit states) is guarded by
// Kernel::tree_mu; a thread group's signal state by its signal_mu, taken inside.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "sentry/kernel/signal.h"
#include "sentry/time/timer.h"
#include "syscalls/abi/resource.h"

namespace sentry {

class Kernel;
class PidNamespace;
class Session;
class Task;
class ThreadGroup;
class Terminal;
class UserNamespace;
class PosixTimers;

class Session : public base::RefCounted {
 public:
  Session(int32_t id) : id_(id) {}
  int32_t id() const { return id_; }  // in the root pid namespace
  // The controlling terminal (sentry/fs/devpts), opaque here; guarded by the tree lock.
  base::Ref<base::RefCounted> tty;

 private:
  const int32_t id_;
};

class ProcessGroup : public base::RefCounted {
 public:
  ProcessGroup(int32_t id, base::Ref<Session> session) : id_(id), session_(std::move(session)) {}
  int32_t id() const { return id_; }
  const base::Ref<Session>& session() const { return session_; }
  // Members in no order; guarded by the tree lock. The pointers are those of live thread groups.
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
  explicit ThreadGroup(Kernel& kernel);
  ~ThreadGroup() override;
  Kernel& kernel() const { return kernel_; }

  // --- under Kernel::tree_mu ---
  Task* leader = nullptr;    // keeps the thread group's pid; may be a zombie while others run
  std::vector<Task*> tasks;  // live tasks and a zombie leader
  ThreadGroup* parent = nullptr;
  std::vector<base::Ref<ThreadGroup>> children;
  base::Ref<ProcessGroup> pgrp;
  bool is_child_subreaper = false;
  bool exec_done = false;   // setpgid of a child that exec'd: EACCES
  int exit_signal = 17;     // what the parent gets (SIGCHLD), 0 none
  bool zombie = false;      // all tasks exited; waits to be reaped
  int32_t exit_status = 0;  // wait status
  // Job control events not yet waited for.
  bool stop_reported = true, continue_reported = true;
  int32_t stop_signal = 0;
  WaitQueue child_events;  // wait4 of this group's tasks listens here

  // --- under signal_mu ---
  base::Mutex<base::LockClass::kSignals> signal_mu;
  PendingSignals pending GUARDED_BY(signal_mu);
  bool group_exiting GUARDED_BY(signal_mu) = false;
  int32_t group_exit_status GUARDED_BY(signal_mu) = 0;
  Task* exec_task GUARDED_BY(signal_mu) =
      nullptr;  // the task that waits for the others to die in execve
  bool stopped GUARDED_BY(signal_mu) = false;  // group stop in effect
  // signalfd and sigtimedwait of this group's tasks listen here (mask: EPOLLIN).
  WaitQueue signal_queue;

  base::Ref<SignalHandlers> handlers;  // replaced only by exec with one task left
  Limits limits;
  std::unique_ptr<PosixTimers> timers;

  // CPU time and counters of exited tasks (ru of wait4, RUSAGE_SELF) and of waited-for children;
  // under tree_mu.
  abi::Rusage dead_usage{}, children_usage{};
  int64_t start_time = 0;  // CLOCK_BOOTTIME ns
  std::atomic<int32_t> oom_score_adj{0};

 private:
  Kernel& kernel_;
};

// Pid tables. Tasks have a number in their namespace and in every ancestor.
class PidNamespace : public base::RefCounted {
 public:
  PidNamespace() = default;
  explicit PidNamespace(base::Ref<PidNamespace> parent)
      : parent_(std::move(parent)), level_(parent_->level_ + 1) {}
  const base::Ref<PidNamespace>& parent() const { return parent_; }
  int level() const { return level_; }

  // Under Kernel::tree_mu.
  Task* FindTask(int32_t tid) const;
  ThreadGroup* FindGroup(int32_t tgid) const;
  ProcessGroup* FindPgrp(int32_t pgid) const;
  Session* FindSession(int32_t sid) const;
  // 0: the task is not visible here.
  int32_t IdOf(const Task& t) const;
  int32_t IdOf(const ThreadGroup& g) const;
  std::vector<Task*> Tasks() const;  // ascending by id
  std::vector<ThreadGroup*> Groups() const;

 private:
  friend class Kernel;
  base::Ref<PidNamespace> parent_;
  int level_ = 0;
  int32_t last_pid_ = 0;
  Task* init_ = nullptr;
  bool dying_ = false;
  absl::flat_hash_map<int32_t, Task*> tasks_;
  absl::flat_hash_map<const Task*, int32_t> ids_;
  absl::flat_hash_map<int32_t, base::Ref<ProcessGroup>> pgrps_;
  absl::flat_hash_map<int32_t, base::Ref<Session>> sessions_;
};

struct UtsNamespace : public base::RefCounted {
  mutable base::Mutex<base::LockClass::kLeaf> mu;
  std::string nodename GUARDED_BY(mu), domainname GUARDED_BY(mu) = "(none)";
  base::Ref<UserNamespace> owner;
};

class IpcNamespace;  // sentry/kernel/ipc: SysV objects and message queues
class NetNamespace;  // sentry/socket

}  // namespace sentry
