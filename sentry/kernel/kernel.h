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

struct KernelOptions {
  platform::Platform* platform;
  SyscallTable syscalls;
  SyscallHooks hooks;
  int cpu_count = 1;          // what the guest sees
  uint64_t memory_bytes = 0;  // MemTotal that the guest sees
  std::string hostname = "moat";
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

  // --- boot ---
  struct InitProcess {
    ExecArgs exec;
    base::Ref<const Creds> creds;
    base::Ref<MountNamespace> mounts;
    Path root, cwd;
    base::Ref<FdTable> fds;
    uint32_t umask = 022;
    Limits limits;
    bool no_new_privs = false;
    base::Ref<base::RefCounted> controlling_tty;  // Terminal or null
    bool new_session = true;
  };
  // Starts a process (pid 1 the first time; later ones, for exec, are adopted by it). on_exit gets
  // the wait status. Errors of the program's loading come back here (ENOENT...).
  base::Result<base::Ref<ThreadGroup>> StartProcess(InitProcess p,
                                                    std::function<void(int32_t)> on_exit);
  // Blocks until every task is gone.
  void WaitAll();
  // Kills everything: the end of the sandbox.
  void KillAll();

  // --- tasks ---
  // clone(2), clone3(2), fork(2), vfork(2), by the calling task; the child's tid in the caller's
  // namespace.
  base::Result<int32_t> Clone(Task& t, const CloneArgs& a);
  // execve(2): on success the task runs the new program (SyscallResult::RegsSet).
  SyscallResult Exec(Task& t, ExecArgs args);

  // --- signals ---
  // kill(2)-style: to a group, with permission already checked. sig 0: nothing. Locks inside.
  base::Result<void> SendToGroup(ThreadGroup& g, const abi::SigInfo& info);
  void SendToPgrp(ProcessGroup& p, const abi::SigInfo& info);
  // kill_ok_by_cred() and the session rule of SIGCONT.
  static bool MaySignal(const Task& sender, Task& target, int sig);

  struct Loadavg {
    double avg[3];
    int running, total;
    int32_t last_pid;
  };
  Loadavg loadavg();
  int64_t boot_time_ns() const { return boot_time_; }  // CLOCK_REALTIME at boot
  // Host facts shown to guests.
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
    bool secure = false;
  };
  using Loader = base::Result<LoadedImage> (*)(Kernel& k, const TaskVfs& vfs, const ExecArgs& args,
                                               const Creds& creds, bool no_new_privs,
                                               const Limits& limits);
  void set_loader(Loader l) { loader_ = l; }

 private:
  friend class Task;
  friend class TaskRunner;
  KernelOptions options_;
  Loader loader_ = nullptr;
  base::Ref<PidNamespace> root_pid_ns_;
  base::Ref<UserNamespace> root_user_ns_;
  int64_t boot_time_ = 0;
  std::atomic<int64_t> live_tasks_{0};
  WaitQueue all_gone_;
};

}  // namespace sentry
