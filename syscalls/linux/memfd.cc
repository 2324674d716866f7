// memfd_create(2).
#include "sentry/fs/tmpfs/tmpfs.h"
#include "syscalls/abi/mman.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

SyscallResult sys_memfd_create(Task& task, UserCString name, uint32_t flags) {
  constexpr uint32_t kKnown =
      abi::kMFD_CLOEXEC | abi::kMFD_ALLOW_SEALING | abi::kMFD_NOEXEC_SEAL | abi::kMFD_EXEC;
  if ((flags & abi::kMFD_HUGETLB) != 0) return abi::Errno::kENOSYS;
  if ((flags & ~kKnown) != 0) return abi::Errno::kEINVAL;
  if ((flags & abi::kMFD_EXEC) != 0 && (flags & abi::kMFD_NOEXEC_SEAL) != 0)
    return abi::Errno::kEINVAL;
  // "memfd:" and the name fill NAME_MAX together.
  base::Result<std::string> s = name.Fetch(task.mm(), 255 - 6 + 1);
  if (s.is(abi::Errno::kENAMETOOLONG)) return abi::Errno::kEINVAL;
  if (!s.ok()) return s.error();
  base::Ref<sentry::File> f = sentry::NewMemfd(*s, flags, task.creds());
  f->set_flags(f->flags() | abi::kO_LARGEFILE);
  return InstallFile(task, std::move(f), (flags & abi::kMFD_CLOEXEC) != 0);
}

}  // namespace syscalls
