// seccomp(2).
#include "syscalls/abi/seccomp.h"

#include <vector>

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/socket.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

namespace {

SyscallResult SetFilter(Task& task, uint32_t flags, UserAddr arg) {
  if ((flags & ~AcceptMask(FlagSet::seccomp_flags)) != 0) {
    TrackGap(Sys::seccomp, flags);
    return abi::Errno::kEINVAL;
  }
  // seccomp_prepare_user_filter() and seccomp_prepare_filter().
  abi::SockFprog fprog = TRY(UserIn<abi::SockFprog>{arg}.Fetch(task.mm()));
  if (fprog.len == 0 || fprog.len > abi::kBPF_MAXINSNS) return abi::Errno::kEINVAL;
  if (!task.no_new_privs.load() && !task.creds().Has(abi::kCAP_SYS_ADMIN)) {
    return abi::Errno::kEACCES;
  }
  std::vector<abi::SockFilter> program(fprog.len);
  TRY(task.mm().CopyIn(program.data(), UserAddr{fprog.filter},
                       program.size() * sizeof(abi::SockFilter)));
  bool tsync = (flags & abi::kSECCOMP_FILTER_FLAG_TSYNC) != 0;
  for (;;) {
    base::Result<int32_t> r = task.AddSeccompFilter(program, tsync);
    if (!r.is(abi::Errno::kEAGAIN)) return r;
  }
}

SyscallResult ActionAvailable(Task& task, uint32_t flags, UserAddr arg) {
  if (flags != 0) return abi::Errno::kEINVAL;
  switch (TRY(UserIn<uint32_t>{arg}.Fetch(task.mm()))) {
    case abi::kSECCOMP_RET_KILL_PROCESS:
    case abi::kSECCOMP_RET_KILL_THREAD:
    case abi::kSECCOMP_RET_TRAP:
    case abi::kSECCOMP_RET_ERRNO:
    case abi::kSECCOMP_RET_TRACE:
    case abi::kSECCOMP_RET_LOG:
    case abi::kSECCOMP_RET_ALLOW:
      return 0;
    default:
      return abi::Errno::kEOPNOTSUPP;
  }
}

}  // namespace

SyscallResult sys_seccomp(Task& task, uint32_t op, uint32_t flags, UserAddr args) {
  switch (static_cast<int32_t>(op)) {
    case abi::kSECCOMP_SET_MODE_STRICT:
      if (flags != 0 || !args.null()) return abi::Errno::kEINVAL;
      return task.SetSeccompStrict();
    case abi::kSECCOMP_SET_MODE_FILTER:
      return SetFilter(task, flags, args);
    case abi::kSECCOMP_GET_ACTION_AVAIL:
      return ActionAvailable(task, flags, args);
    default:
      TrackGap(Sys::seccomp, op);
      return abi::Errno::kEINVAL;
  }
}

}  // namespace syscalls
