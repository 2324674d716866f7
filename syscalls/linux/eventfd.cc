// eventfd(2), timerfd_create(2), signalfd(2).
#include "sentry/fs/anon/eventfd.h"

#include "sentry/fs/anon/signalfd.h"
#include "sentry/fs/anon/timerfd.h"
#include "sentry/kernel/task.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/eventfd.h"
#include "syscalls/abi/signal.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::EventFd;
using sentry::File;
using sentry::FileCast;
using sentry::SignalFd;
using sentry::TimerFd;

SyscallResult sys_eventfd2(Task& task, uint32_t count, int32_t flags) {
  if (flags & ~(abi::kEFD_CLOEXEC | abi::kEFD_NONBLOCK | abi::kEFD_SEMAPHORE)) {
    return abi::Errno::kEINVAL;
  }
  return InstallFile(task, base::MakeRef<EventFd>(count, (flags & abi::kEFD_SEMAPHORE) != 0, flags),
                     (flags & abi::kEFD_CLOEXEC) != 0);
}

SyscallResult sys_eventfd(Task& task, uint32_t count) { return sys_eventfd2(task, count, 0); }

SyscallResult sys_timerfd_create(Task& task, int32_t clockid, int32_t flags) {
  if (flags & ~(abi::kTFD_CLOEXEC | abi::kTFD_NONBLOCK)) return abi::Errno::kEINVAL;
  switch (clockid) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_MONOTONIC:
    case abi::kCLOCK_BOOTTIME:
      break;
    case abi::kCLOCK_REALTIME_ALARM:
    case abi::kCLOCK_BOOTTIME_ALARM:
      if (!task.creds().Has(abi::kCAP_WAKE_ALARM)) return abi::Errno::kEPERM;
      break;
    default:
      return abi::Errno::kEINVAL;
  }
  return InstallFile(task, base::MakeRef<TimerFd>(clockid, flags),
                     (flags & abi::kTFD_CLOEXEC) != 0);
}

SyscallResult sys_timerfd_settime(Task& task, int32_t fd, int32_t flags,
                                  UserIn<abi::Itimerspec> value, UserOut<abi::Itimerspec> ovalue) {
  abi::Itimerspec v = TRY(value.Fetch(task.mm()));
  if (flags & ~(abi::kTFD_TIMER_ABSTIME | abi::kTFD_TIMER_CANCEL_ON_SET)) {
    return abi::Errno::kEINVAL;
  }
  if (!ValidTimespec(v.value) || !ValidTimespec(v.interval)) return abi::Errno::kEINVAL;
  base::Ref<File> file = TRY(task.fds().Get(fd));
  auto* timer = FileCast<TimerFd>(file.get());
  if (timer == nullptr) return abi::Errno::kEINVAL;
  abi::Itimerspec old = timer->Set(flags, v);
  if (!ovalue.null()) {
    TRY(ovalue.Store(task.mm(), old));
  }
  return 0;
}

SyscallResult sys_timerfd_gettime(Task& task, int32_t fd, UserOut<abi::Itimerspec> value) {
  base::Ref<File> file = TRY(task.fds().Get(fd));
  auto* timer = FileCast<TimerFd>(file.get());
  if (timer == nullptr) return abi::Errno::kEINVAL;
  return value.Store(task.mm(), timer->Get());
}

SyscallResult sys_signalfd4(Task& task, int32_t fd, UserIn<abi::SigSet> mask, uint64_t sizemask,
                            int32_t flags) {
  if (sizemask != sizeof(uint64_t)) return abi::Errno::kEINVAL;
  uint64_t set;
  TRY(task.mm().CopyIn(&set, mask.addr, sizeof set));
  if (flags & ~(abi::kSFD_CLOEXEC | abi::kSFD_NONBLOCK)) return abi::Errno::kEINVAL;
  if (fd == -1) {
    return InstallFile(task, base::MakeRef<SignalFd>(set, flags), (flags & abi::kSFD_CLOEXEC) != 0);
  }
  base::Ref<File> file = TRY(task.fds().Get(fd));
  auto* sfd = FileCast<SignalFd>(file.get());
  if (sfd == nullptr) return abi::Errno::kEINVAL;
  sfd->set_mask(set);
  return fd;
}

SyscallResult sys_signalfd(Task& task, int32_t fd, UserIn<abi::SigSet> mask, uint64_t sizemask) {
  return sys_signalfd4(task, fd, mask, sizemask, 0);
}

}  // namespace syscalls
