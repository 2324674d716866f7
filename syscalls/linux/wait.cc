// wait4(2), waitid(2): kernel/exit.c.
#include "syscalls/abi/wait.h"

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::Kernel;

constexpr uint32_t kThreadOptions = abi::k__WNOTHREAD | abi::k__WCLONE | abi::k__WALL;

}  // namespace

SyscallResult sys_wait4(Task& task, int32_t pid, UserOut<int32_t> wstatus, int32_t options,
                        UserOut<abi::Rusage> rusage) {
  uint32_t o = static_cast<uint32_t>(options);
  if ((o & ~(abi::kWNOHANG | abi::kWUNTRACED | abi::kWCONTINUED | kThreadOptions)) != 0) {
    return abi::Errno::kEINVAL;
  }
  if (pid == INT32_MIN) return abi::Errno::kESRCH;
  Kernel::WaitArgs a;
  a.options = o | abi::kWEXITED;
  if (pid == -1) {
    a.type = abi::kP_ALL;
  } else if (pid > 0) {
    a.type = abi::kP_PID;
    a.id = pid;
  } else {
    a.type = abi::kP_PGID;
    a.id = -pid;
    if (pid == 0) {
      base::MutexLock l(task.kernel().tree_mu);
      a.id = task.pid_ns()->IdOf(*task.group().pgrp);
    }
  }
  Kernel::WaitResult r = TRY(task.kernel().Wait(task, a));
  if (r.pid == 0) return 0;
  if (!wstatus.null()) TRY(wstatus.Store(task.mm(), r.status));
  if (!rusage.null()) TRY(rusage.Store(task.mm(), r.usage));
  return r.pid;
}

SyscallResult sys_waitid(Task& task, int32_t which, int32_t id, UserOut<abi::SigInfo> info,
                         int32_t options, UserOut<abi::Rusage> rusage) {
  uint32_t o = static_cast<uint32_t>(options);
  if ((o & ~(abi::kWNOHANG | abi::kWNOWAIT | abi::kWEXITED | abi::kWSTOPPED | abi::kWCONTINUED |
             kThreadOptions)) != 0) {
    return abi::Errno::kEINVAL;
  }
  if ((o & (abi::kWEXITED | abi::kWSTOPPED | abi::kWCONTINUED)) == 0) return abi::Errno::kEINVAL;
  Kernel::WaitArgs a;
  a.type = which;
  a.id = id;
  a.options = o;
  base::Ref<sentry::File> file;
  switch (which) {
    case abi::kP_ALL:
      break;
    case abi::kP_PID:
      if (id <= 0) return abi::Errno::kEINVAL;
      break;
    case abi::kP_PGID:
      if (id < 0) return abi::Errno::kEINVAL;
      if (id == 0) {
        base::MutexLock l(task.kernel().tree_mu);
        a.id = task.pid_ns()->IdOf(*task.group().pgrp);
      }
      break;
    case abi::kP_PIDFD: {
      if (id < 0) return abi::Errno::kEINVAL;
      file = TRY(task.fds().Get(id));
      sentry::PidFd* pidfd = sentry::FileCast<sentry::PidFd>(file.get());
      if (pidfd == nullptr) return abi::Errno::kEBADF;
      a.group = &pidfd->group();
      a.nonblocking = pidfd->nonblocking();
      break;
    }
    default:
      return abi::Errno::kEINVAL;
  }
  Kernel::WaitResult r = TRY(task.kernel().Wait(task, a));
  if (r.pid != 0 && !rusage.null()) TRY(rusage.Store(task.mm(), r.usage));
  if (!info.null()) {
    // Only these members are written, as put_user() does in the kernel: 0 if nothing happened.
    struct Head {
      int32_t signo, err, code, pad, pid;
      uint32_t uid;
      int32_t status;
    } head{};
    if (r.pid != 0) {
      head.signo = abi::kSIGCHLD;
      head.code = r.code;
      head.pid = r.pid;
      head.uid = r.uid;
      head.status = r.code == abi::kCLD_EXITED      ? r.status >> 8 & 0xff
                    : r.code == abi::kCLD_STOPPED   ? r.status >> 8 & 0xff
                    : r.code == abi::kCLD_CONTINUED ? abi::kSIGCONT
                                                    : r.status & 0x7f;
    }
    TRY(task.mm().CopyOut(info.addr, &head, sizeof head));
  }
  return 0;
}

}  // namespace syscalls
