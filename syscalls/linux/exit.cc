// exit(2), exit_group(2).
#include "sentry/kernel/kernel.h"
#include "syscalls/abi/wait.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

SyscallResult sys_exit(Task& task, int32_t status) {
  task.Exit(abi::WaitStatusExited(status));
  return 0;
}

SyscallResult sys_exit_group(Task& task, int32_t status) {
  task.ExitGroup(abi::WaitStatusExited(status));
  return 0;
}

}  // namespace syscalls
