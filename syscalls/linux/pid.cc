// Identities of tasks, groups and sessions: kernel/sys.c.
#include "sentry/kernel/kernel.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

SyscallResult sys_getpid(Task& task) { return task.tgid(); }
SyscallResult sys_gettid(Task& task) { return task.tid(); }

SyscallResult sys_getppid(Task& task) { return task.ParentId(); }

SyscallResult sys_setpgid(Task& task, int32_t pid, int32_t pgid) {
  return task.kernel().SetPgid(task, pid, pgid);
}

SyscallResult sys_getpgid(Task& task, int32_t pid) {
  base::MutexLock l(task.kernel().tree_mu);
  Task* t = pid == 0 ? &task : task.pid_ns()->FindTask(pid);
  if (t == nullptr || !t->group().pgrp) return abi::Errno::kESRCH;
  return task.pid_ns()->IdOf(*t->group().pgrp);
}

SyscallResult sys_getpgrp(Task& task) { return sys_getpgid(task, 0); }

SyscallResult sys_setsid(Task& task) { return task.kernel().SetSid(task); }

SyscallResult sys_getsid(Task& task, int32_t pid) {
  base::MutexLock l(task.kernel().tree_mu);
  Task* t = pid == 0 ? &task : task.pid_ns()->FindTask(pid);
  if (t == nullptr || !t->group().pgrp) return abi::Errno::kESRCH;
  return task.pid_ns()->IdOf(*t->group().pgrp->session());
}

}  // namespace syscalls
