// Kernel: one sandbox's kernel: the process tree, the clocks, the platform, what all tasks share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "platform/api/platform.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"

namespace sentry {

// What uname(2) and /proc/version show: the kernel whose behaviour Moat has.
constexpr char kKernelRelease[] = "6.12.0-moat";
constexpr char kKernelVersion[] = "#1 SMP PREEMPT_DYNAMIC";

struct KernelOptions {
  platform::Platform* platform;
  SyscallTable syscalls;
  SyscallHooks hooks;
  int cpu_count = 1;          // what the guest sees
  uint64_t memory_bytes = 0;  // MemTotal that the guest sees
  std::string hostname = "moat";
  std::string domainname = "(none)";
  uint32_t max_tasks = 0;  // threads of all processes, as a pids control group limits; 0: no limit
  // Whose the first container's namespaces are: the root one or a child of it. Null: the root one.
  base::Ref<UserNamespace> user_ns;
};

// What a new program starts from (the loader's input).
struct ExecArgs {
  base::Ref<File> file;  // null: open filename
  std::string filename;  // as given to execve
  std::vector<std::string> argv, envp;
};

struct CloneArgs {
  uint64_t flags = 0;  // CLONE_*
  int exit_signal = 0;
  uint64_t stack = 0, tls = 0;                        // stack: the new rsp, 0 keeps the parent's
  uint64_t parent_tid = 0, child_tid = 0, pidfd = 0;  // guest addresses
  std::vector<int32_t> set_tid;
};

class Kernel {
 public:
  explicit Kernel(const KernelOptions& o);
  ~Kernel();

  platform::Platform& platform() const { return *options_.platform; }
  const KernelOptions& options() const { return options_; }
  Clock& clock() const { return HostClock(); }

  // The tree lock; see process.h.
  base::Mutex<base::LockClass::kTaskTree> tree_mu;
  const base::Ref<PidNamespace>& root_pid_ns() const { return root_pid_ns_; }
  const base::Ref<UserNamespace>& root_user_ns() const { return root_user_ns_; }
  const base::Ref<IpcNamespace>& root_ipc_ns() const { return root_ipc_ns_; }
  const base::Ref<NetNamespace>& root_net_ns() const { return root_net_ns_; }
  // The first container.
  const base::Ref<Container>& root_container() const { return root_container_; }

  // --- boot ---
  struct InitProcess {
    ExecArgs exec;
    base::Ref<const Creds> creds;
    base::Ref<MountNamespace> mounts;
    // Null: the first container, and what it has.
    base::Ref<Container> container;
    base::Ref<PidNamespace> pid_ns;
    base::Ref<UtsNamespace> uts_ns;
    base::Ref<IpcNamespace> ipc_ns;
    Path root, cwd;
    base::Ref<FdTable> fds;
    uint32_t umask = 022;
    Limits limits;
    bool no_new_privs = false;
    std::vector<abi::SockFilter> seccomp;  // its system call filter; empty: none
    int32_t oom_score_adj = 0;
    uint32_t personality = 0;
    base::Ref<base::RefCounted> controlling_tty;  // Terminal or null
    bool new_session = true;
    // Process 1 is immune to signals that it has no handler for (pid_namespaces(7)), unless this is
    // set: a command run by a person shall die of Ctrl-C.
    bool killable = false;
    // Called when the process has its place and number, before its first instruction. False:
    // StartProcess returns EINTR, and nothing but the sandbox's end is left. No lock is held.
    std::function<bool()> before_first;
  };
  // Starts a process (pid 1 the first time in a pid namespace; later ones, for exec, are adopted by
  // it). on_exit gets
  // the wait status. Errors of the program's loading come back here (ENOENT...).
  base::Result<base::Ref<ThreadGroup>> StartProcess(InitProcess p,
                                                    std::function<void(int32_t)> on_exit);
  // Blocks until every task is gone.
  void WaitAll();
  // Kills everything: the end of the sandbox.
  void KillAll();
  // As a freezer control group does: the container's tasks stand still, and no program can tell.
  // Only SIGKILL reaches them. A new task of it begins so.
  void SetFrozen(Container& container, bool frozen);
  // The sandbox's memory is used up, and t waits for some: kills the process that Linux would
  // choose, or waits a moment for one that dies. False: nothing can be killed. No lock is held.
  bool OutOfMemory(Task& t);

  // --- tasks ---
  // clone(2), clone3(2), fork(2), vfork(2), by the calling task; the child's tid in the caller's
  // namespace.
  base::Result<int32_t> Clone(Task& t, const CloneArgs& a);
  // unshare(2), and setns(2) of one namespace's object.
  base::Result<void> Unshare(Task& t, uint64_t flags);
  // execve(2): on success the task runs the new program (SyscallResult::RegsSet).
  SyscallResult Exec(Task& t, ExecArgs args);

  // --- signals ---
  // kill(2)-style: to a group, with permission already checked. sig 0: nothing. Takes the group's
  // signal_mu. force: from the sentry or an ancestor pid namespace. EAGAIN: RLIMIT_SIGPENDING.
  base::Result<void> SendToGroup(ThreadGroup& g, const abi::SigInfo& info, bool force = false);
  // Takes the tree lock; the Locked form expects it.
  void SendToPgrp(ProcessGroup& p, const abi::SigInfo& info);
  void SendToPgrpLocked(ProcessGroup& p, const abi::SigInfo& info);
  // kill_ok_by_cred() and the session rule of SIGCONT. Under the tree lock. sig 0: the mere check.
  static bool MaySignal(const Task& sender, Task& target, int sig);
  // ptrace_may_access() with PTRACE_MODE_ATTACH_REALCREDS (or, fs_creds, ..._FSCREDS as /proc
  // does).
  static bool MayAccess(const Task& caller, Task& target, bool fs_creds = false);
  // The siginfo of a signal that sender sends with kill(2) or tgkill(2) (code), as a task of ns
  // sees it.
  static abi::SigInfo UserSigInfo(const Task& sender, int sig, int32_t code,
                                  const PidNamespace& ns);
  // A process of the tree, alive or zombie; null: none. Under the tree lock inside.
  base::Ref<ThreadGroup> FindGroup(const PidNamespace& ns, int32_t tgid);
  base::Ref<Task> FindTask(const PidNamespace& ns, int32_t tid);

  // --- wait4(2), waitid(2) ---
  struct WaitArgs {
    int32_t type = 0;  // P_ALL, P_PID, P_PGID (id in the caller's namespace), P_PIDFD (group)
    int32_t id = 0;
    ThreadGroup* group = nullptr;
    uint32_t options = 0;      // W* and __W*
    bool nonblocking = false;  // a pidfd with PIDFD_NONBLOCK: EAGAIN
  };
  struct WaitResult {
    int32_t pid = 0;  // 0: WNOHANG and nothing happened
    uint32_t uid = 0;
    int32_t status = 0;  // wait status
    int32_t code = 0;    // CLD_*
    abi::Rusage usage{};
  };
  // ECHILD, EAGAIN, ERESTARTSYS.
  base::Result<WaitResult> Wait(Task& t, const WaitArgs& a);

  // --- job control ---
  base::Result<void> SetPgid(Task& t, int32_t pid, int32_t pgid);
  base::Result<int32_t> SetSid(Task& t);
  // The group has no member whose parent is in another group of the same session. Under the tree
  // lock.
  static bool IsOrphaned(const ProcessGroup& p, const ThreadGroup* ignored = nullptr);
  // Installed by sentry/fs/devpts: a session leader with a controlling terminal exits
  // (disassociate_ctty()). No lock held.
  void (*session_leader_exit)(Kernel& k, ThreadGroup& leader) = nullptr;
  // Likewise: a session starts with a terminal. Under the tree lock.
  void (*terminal_attached)(base::RefCounted& tty, base::Ref<ProcessGroup> foreground) = nullptr;

  struct Loadavg {
    double avg[3];
    int running, total;
    int32_t last_pid;
  };
  Loadavg loadavg();
  int64_t live_tasks() const { return live_tasks_.load(std::memory_order_relaxed); }
  int64_t boot_time_ns() const { return boot_time_; }  // CLOCK_REALTIME at boot
  // Bytes of guest memory in use, over all address spaces of a container (sysinfo, /proc/meminfo).
  // Not cheap.
  uint64_t MemoryInUse(const Container& container);
  // Of the first container.
  int cpu_count() const { return options_.cpu_count; }

  // Set by boot: maps a program (sentry/loader) into a fresh address space. Fills entry registers.
  // Kept as a hook because the loader stands above the kernel.
  struct LoadedImage {
    base::Ref<MemoryManager> mm;
    platform::Regs regs;
    base::Ref<File> executable;  // the file that was exec'd (the script's interpreter for #!)
    std::string comm;
    // set-user-ID and file capabilities, already filtered by nosuid and no_new_privs.
    bool set_uid = false, set_gid = false;
    uint32_t uid = 0, gid = 0;
    // The file's capabilities (security.capability), if it has any that count.
    bool has_caps = false, caps_effective = false;
    CapSet caps_permitted = 0, caps_inheritable = 0;
    bool secure = false;
  };
  using Loader = base::Result<LoadedImage> (*)(Kernel& k, const TaskVfs& vfs, const ExecArgs& args,
                                               const Creds& creds, bool no_new_privs,
                                               const Limits& limits);
  void set_loader(Loader l) { loader_ = l; }

 private:
  friend class Task;
  friend class TaskRunner;
  struct Released;  // what an unlock is followed by: references to drop, callbacks

  base::Result<void> CheckClone(Task& t, const CloneArgs& a);
  // Numbers in the task's namespace and all ancestors; adds it to its group. set_tid: wanted ones,
  // innermost first. Under the tree lock.
  base::Result<void> AssignIds(Task& t, ThreadGroup& g, const std::vector<int32_t>& set_tid,
                               const Task* creator);
  void LinkTask(Task& t, ThreadGroup& g);
  void ForgetIds(Task& t, Released* out);
  void JoinPgrp(ThreadGroup& g, base::Ref<ProcessGroup> p);
  void LeavePgrp(ThreadGroup& g, Released* out);
  base::Ref<ProcessGroup> NewPgrp(ThreadGroup& g, base::Ref<Session> s);
  base::Ref<Session> NewSession(ThreadGroup& g);
  base::Result<void> StartThread(Task& t);
  static void ThreadMain(void* task);
  void TaskGone(Container& container);

  // exit.cc
  void ExitTask(Task& t);
  void ReleaseMemory(Task& t);
  void ExitNotify(Task& t, Released* out);
  void Reparent(ThreadGroup& dying, Released* out);
  ThreadGroup* NewParent(ThreadGroup& dying);
  // A group became a zombie or got a new parent: tells it, or reaps at once.
  void NotifyParent(ThreadGroup& g, Released* out);
  void NotifyStop(ThreadGroup& g, int32_t cld);  // do_notify_parent_cldstop(); tree lock
  void KillOrphaned(ThreadGroup& g, ThreadGroup* parent);
  void Reap(ThreadGroup& g, Released* out);
  void ZapPidNamespace(Task& init);
  bool WaitStep(Task& t, const WaitArgs& a, WaitResult* r, base::Error* error, Released* out);

  base::Result<void> KillOtherThreads(Task& t);  // de_thread()

  KernelOptions options_;
  Loader loader_ = nullptr;
  base::Ref<PidNamespace> root_pid_ns_;
  base::Ref<UserNamespace> root_user_ns_;
  base::Ref<UtsNamespace> root_uts_ns_;
  base::Ref<IpcNamespace> root_ipc_ns_;
  base::Ref<NetNamespace> root_net_ns_;
  base::Ref<Container> root_container_;
  int64_t boot_time_ = 0;
  std::atomic<uint32_t> live_tasks_{0};  // a futex word: woken at 0
  base::Mutex<base::LockClass::kLeaf> load_mu_;
  double load_[3] GUARDED_BY(load_mu_) = {};
  int64_t load_time_ GUARDED_BY(load_mu_) = 0;
};

}  // namespace sentry
