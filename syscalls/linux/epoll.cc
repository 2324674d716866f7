// epoll_create(2), epoll_ctl(2), epoll_wait(2).
#include "sentry/fs/anon/epoll.h"

#include <vector>

#include "sentry/kernel/task.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::Epoll;
using sentry::EpollFile;
using sentry::File;
using sentry::FileCast;

namespace {

// EPOLLEXCLUSIVE_OK_BITS.
constexpr uint32_t kExclusiveOk = abi::kEPOLLIN | abi::kEPOLLOUT | abi::kEPOLLERR | abi::kEPOLLHUP |
                                  abi::kEPOLLWAKEUP | abi::kEPOLLET | abi::kEPOLLEXCLUSIVE;
constexpr uint64_t kUserEnd = 0x7ffffffff000;

SyscallResult Create(Task& task, bool cloexec) {
  return InstallFile(task, base::MakeRef<EpollFile>(), cloexec);
}

// deadline: 0 does not wait.
SyscallResult Wait(Task& task, int32_t epfd, UserAddr events, int32_t maxevents, int64_t deadline) {
  if (maxevents <= 0 || maxevents > abi::kEP_MAX_EVENTS) return abi::Errno::kEINVAL;
  uint64_t bytes = static_cast<uint64_t>(maxevents) * sizeof(abi::EpollEvent);
  if (events.value > kUserEnd || bytes > kUserEnd - events.value) return abi::Errno::kEFAULT;
  base::Ref<File> file = TRY(task.fds().Get(epfd));
  auto* ep = FileCast<EpollFile>(file.get());
  if (ep == nullptr) return abi::Errno::kEINVAL;
  Epoll& e = ep->epoll();

  std::vector<abi::EpollEvent> got = e.Take(maxevents);
  if (got.empty() && deadline != 0) {
    task.parker().Reset();
    Epoll::Waiter waiter(task.parker());
    e.queue().Add(&waiter, abi::kEPOLLIN, true);
    base::Result<void> r;
    for (;;) {
      waiter.Rearm();
      got = e.Take(maxevents);
      if (!got.empty() || !r.ok()) break;
      // On expiry one more look: the wake-up may have been for this waiter alone.
      r = task.Block(deadline);
    }
    e.queue().Remove(&waiter);
    e.PassOn();
    if (got.empty()) {
      if (r.is(abi::Errno::kETIMEDOUT)) return 0;
      return abi::Errno::kEINTR;
    }
  }
  if (got.empty()) return 0;
  TRY(task.mm().CopyOut(events, got.data(), got.size() * sizeof(abi::EpollEvent)));
  return static_cast<int32_t>(got.size());
}

int64_t MsDeadline(int32_t timeout_ms) {
  if (timeout_ms < 0) return sentry::kNoDeadline;
  if (timeout_ms == 0) return 0;
  return DeadlineAfter(int64_t{timeout_ms} * 1000000);
}

}  // namespace

SyscallResult sys_epoll_create(Task& task, int32_t size) {
  if (size <= 0) return abi::Errno::kEINVAL;
  return Create(task, false);
}

SyscallResult sys_epoll_create1(Task& task, int32_t flags) {
  if (flags & ~abi::kEPOLL_CLOEXEC) return abi::Errno::kEINVAL;
  return Create(task, (flags & abi::kEPOLL_CLOEXEC) != 0);
}

// do_epoll_ctl() in fs/eventpoll.c.
SyscallResult sys_epoll_ctl(Task& task, int32_t epfd, int32_t op, int32_t fd,
                            UserIn<abi::EpollEvent> event) {
  abi::EpollEvent ev{};
  bool has_event = op != abi::kEPOLL_CTL_DEL;
  if (has_event) {
    TRY(task.mm().CopyIn(&ev, event.addr, sizeof ev));
  }
  base::Ref<File> file = TRY(task.fds().Get(epfd));
  base::Ref<File> target = TRY(task.fds().Get(fd));
  if (target->wait_queue() == nullptr) return abi::Errno::kEPERM;
  auto* ep = FileCast<EpollFile>(file.get());
  if (file == target || ep == nullptr) return abi::Errno::kEINVAL;
  if (has_event && (ev.events & abi::kEPOLLEXCLUSIVE)) {
    if (op == abi::kEPOLL_CTL_MOD) return abi::Errno::kEINVAL;
    if (op == abi::kEPOLL_CTL_ADD &&
        (FileCast<EpollFile>(target.get()) != nullptr || (ev.events & ~kExclusiveOk) != 0)) {
      return abi::Errno::kEINVAL;
    }
  }
  switch (op) {
    case abi::kEPOLL_CTL_ADD:
      return ep->epoll().Add(*ep, fd, *target, ev);
    case abi::kEPOLL_CTL_MOD:
      return ep->epoll().Modify(fd, *target, ev);
    case abi::kEPOLL_CTL_DEL:
      return ep->epoll().Delete(fd, *target);
    default:
      return abi::Errno::kEINVAL;
  }
}

SyscallResult sys_epoll_wait(Task& task, int32_t epfd, UserAddr events, int32_t maxevents,
                             int32_t timeout_ms) {
  return Wait(task, epfd, events, maxevents, MsDeadline(timeout_ms));
}

SyscallResult sys_epoll_pwait(Task& task, int32_t epfd, UserAddr events, int32_t maxevents,
                              int32_t timeout_ms, UserIn<abi::SigSet> sigmask,
                              uint64_t sigsetsize) {
  TRY(SetCallMask(task, sigmask.addr, sigsetsize));
  return Wait(task, epfd, events, maxevents, MsDeadline(timeout_ms));
}

SyscallResult sys_epoll_pwait2(Task& task, int32_t epfd, UserAddr events, int32_t maxevents,
                               UserIn<abi::Timespec> timeout, UserIn<abi::SigSet> sigmask,
                               uint64_t sigsetsize) {
  int64_t deadline = sentry::kNoDeadline;
  if (!timeout.null()) {
    abi::Timespec ts = TRY(timeout.Fetch(task.mm()));
    if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
    int64_t ns = TimespecToNs(ts);
    deadline = ns == 0 ? 0 : DeadlineAfter(ns);
  }
  TRY(SetCallMask(task, sigmask.addr, sigsetsize));
  return Wait(task, epfd, events, maxevents, deadline);
}

}  // namespace syscalls
