// mmap(2), brk(2), mprotect(2), mremap(2), madvise(2), mlock(2) and their relatives.

#include <algorithm>

#include "platform/host/host.h"
#include "sentry/kernel/kernel.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/mman.h"
#include "syscalls/abi/mount.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::kPageSize;
using sentry::MmapArgs;
using sentry::PageUp;

namespace {

constexpr uint64_t kProtBits = abi::kPROT_READ | abi::kPROT_WRITE | abi::kPROT_EXEC;

// What MAP_SHARED_VALIDATE lets pass (LEGACY_MAP_MASK and MAP_FIXED_NOREPLACE).
constexpr uint64_t kMmapFlags = abi::kMAP_TYPE | abi::kMAP_FIXED | abi::kMAP_ANONYMOUS |
                                abi::kMAP_32BIT | abi::kMAP_GROWSDOWN | abi::kMAP_DENYWRITE |
                                abi::kMAP_EXECUTABLE | abi::kMAP_LOCKED | abi::kMAP_NORESERVE |
                                abi::kMAP_POPULATE | abi::kMAP_NONBLOCK | abi::kMAP_STACK |
                                abi::kMAP_HUGETLB | abi::kMAP_FIXED_NOREPLACE;

bool MayLockAll(Task& task) { return task.creds().Has(abi::kCAP_IPC_LOCK); }

}  // namespace

SyscallResult sys_mmap(Task& task, UserAddr addr, uint64_t length, uint64_t prot, uint64_t flags,
                       int32_t fd, uint64_t offset) {
  if (offset % kPageSize != 0) return abi::Errno::kEINVAL;
  const uint64_t type = flags & abi::kMAP_TYPE;
  base::Ref<sentry::File> file;
  if ((flags & abi::kMAP_ANONYMOUS) == 0) {
    file = TRY(task.fds().Get(fd));
    if ((flags & abi::kMAP_HUGETLB) != 0) return abi::Errno::kEINVAL;
  } else if ((flags & abi::kMAP_HUGETLB) != 0) {
    // As on a host without reserved huge pages.
    TrackGap(Sys::mmap, abi::kMAP_HUGETLB);
    return abi::Errno::kENOMEM;
  }
  MmapArgs a;
  a.addr = addr.value;
  a.len = length;
  a.prot = static_cast<uint8_t>(prot & kProtBits);
  a.fixed = (flags & (abi::kMAP_FIXED | abi::kMAP_FIXED_NOREPLACE)) != 0;
  a.fixed_noreplace = (flags & abi::kMAP_FIXED_NOREPLACE) != 0;
  a.grows_down = (flags & abi::kMAP_GROWSDOWN) != 0;
  a.locked = (flags & abi::kMAP_LOCKED) != 0;
  a.ipc_lock = a.locked && MayLockAll(task);
  a.populate = (flags & (abi::kMAP_POPULATE | abi::kMAP_NONBLOCK)) == abi::kMAP_POPULATE;
  a.noreserve = (flags & abi::kMAP_NORESERVE) != 0;
  a.below_4g = (flags & abi::kMAP_32BIT) != 0 && !a.fixed;
  a.offset = offset;
  if (length == 0) return abi::Errno::kEINVAL;
  const uint64_t size = PageUp(length);
  if (size == 0) return abi::Errno::kENOMEM;
  if (offset + size < offset) return abi::Errno::kEOVERFLOW;
  if (a.locked && !a.ipc_lock && task.mm().limits.memlock.load() == 0) return abi::Errno::kEPERM;
  if (file) {
    // file_mmap_ok(): a regular file ends at MAX_LFS_FILESIZE.
    if (file->inode()->is_reg() && (size > INT64_MAX || offset > (INT64_MAX - size))) {
      return abi::Errno::kEOVERFLOW;
    }
    switch (type) {
      case abi::kMAP_SHARED:
      case abi::kMAP_SHARED_VALIDATE:
        if (type == abi::kMAP_SHARED_VALIDATE && (flags & ~kMmapFlags) != 0) {
          return abi::Errno::kEOPNOTSUPP;
        }
        a.shared = true;
        if ((prot & abi::kPROT_WRITE) != 0 && !file->writable()) return abi::Errno::kEACCES;
        if (!file->writable()) a.max_prot &= ~platform::kProtWrite;
        break;
      case abi::kMAP_PRIVATE:
        break;
      default:
        return abi::Errno::kEINVAL;
    }
    if (!file->readable()) return abi::Errno::kEACCES;
    if (file->path().mount && (file->path().mount->flags() & abi::kMS_NOEXEC) != 0) {
      if ((prot & abi::kPROT_EXEC) != 0) return abi::Errno::kEPERM;
      a.max_prot &= ~platform::kProtExec;
    }
    // A hint that no descriptor can be mapped at comes out here, before the file is asked.
    if (file->maps_zeros()) {
      a.offset = 0;
    } else {
      a.mappable = TRY(file->Mmap(offset, size, a.prot, a.shared));
    }
    if (a.grows_down) return abi::Errno::kEINVAL;
    a.file = file;
  } else {
    switch (type) {
      case abi::kMAP_SHARED:
        if (a.grows_down) return abi::Errno::kEINVAL;
        a.shared = true;
        break;
      case abi::kMAP_PRIVATE:
        break;
      default:
        return abi::Errno::kEINVAL;
    }
    a.offset = 0;
  }
  return task.mm().Mmap(a);
}

SyscallResult sys_munmap(Task& task, UserAddr addr, uint64_t length) {
  return task.mm().Munmap(addr.value, length);
}

SyscallResult sys_pkey_mprotect(Task& task, UserAddr addr, uint64_t length, uint64_t prot,
                                int32_t pkey) {
  const uint64_t grows = prot & (abi::kPROT_GROWSDOWN | abi::kPROT_GROWSUP);
  prot &= ~grows;
  if (grows == (abi::kPROT_GROWSDOWN | abi::kPROT_GROWSUP)) return abi::Errno::kEINVAL;
  if (addr.value % kPageSize != 0) return abi::Errno::kEINVAL;
  if (length == 0) return 0;
  if (addr.value + PageUp(length) <= addr.value) return abi::Errno::kENOMEM;
  // arch_validate_prot().
  if ((prot & ~(kProtBits | abi::kPROT_SEM)) != 0) return abi::Errno::kEINVAL;
  // No stack grows upwards on this machine: no mapping can have VM_GROWSUP.
  if ((grows & abi::kPROT_GROWSUP) != 0) return abi::Errno::kEINVAL;
  // No key is ever allocated: -1 stands for none.
  if (pkey != -1) return abi::Errno::kEINVAL;
  return task.mm().Mprotect(addr.value, length, static_cast<uint8_t>(prot & kProtBits), grows != 0);
}

SyscallResult sys_mprotect(Task& task, UserAddr addr, uint64_t length, uint64_t prot) {
  return sys_pkey_mprotect(task, addr, length, prot, -1);
}

// As Linux on a processor without protection keys: none is left.
SyscallResult sys_pkey_alloc(Task&, uint64_t flags, uint64_t rights) {
  constexpr uint64_t kRights = abi::kPKEY_DISABLE_ACCESS | abi::kPKEY_DISABLE_WRITE;
  if (flags != 0 || (rights & ~kRights) != 0) return abi::Errno::kEINVAL;
  return abi::Errno::kENOSPC;
}

SyscallResult sys_remap_file_pages(Task& task, uint64_t start, uint64_t size, uint64_t prot,
                                   uint64_t pgoff, uint64_t flags) {
  if (prot != 0) return abi::Errno::kEINVAL;
  start -= start % kPageSize;
  size -= size % kPageSize;
  if (start + size <= start) return abi::Errno::kEINVAL;
  if (pgoff + size / kPageSize < pgoff || (pgoff + size / kPageSize) > UINT64_MAX / kPageSize)
    return abi::Errno::kEINVAL;
  return task.mm().RemapFilePages(start, size, pgoff * kPageSize);
}

SyscallResult sys_brk(Task& task, UserAddr addr) { return task.mm().Brk(addr.value); }

SyscallResult sys_mremap(Task& task, UserAddr old_addr, uint64_t old_len, uint64_t new_len,
                         uint64_t flags, UserAddr new_addr) {
  if (flags > UINT32_MAX) return abi::Errno::kEINVAL;
  return task.mm().Mremap(old_addr.value, old_len, new_len, static_cast<uint32_t>(flags),
                          new_addr.value);
}

SyscallResult sys_msync(Task& task, UserAddr addr, uint64_t length, int32_t flags) {
  return task.mm().Msync(addr.value, length, static_cast<uint32_t>(flags));
}

SyscallResult sys_mincore(Task& task, UserAddr addr, uint64_t length, UserAddr vec) {
  if (addr.value % kPageSize != 0) return abi::Errno::kEINVAL;
  const uint64_t end = task.kernel().platform().user_range().max;
  if (length > end || addr.value > end - length) return abi::Errno::kENOMEM;
  uint64_t pages = PageUp(length) / kPageSize;
  // A page of answers at a time, as the kernel.
  std::vector<uint8_t> some;
  for (uint64_t done = 0; done < pages;) {
    uint64_t n = std::min(pages - done, kPageSize);
    TRY(task.mm().Mincore(addr.value + done * kPageSize, n * kPageSize, &some));
    TRY(task.mm().CopyOut(vec + done, some.data(), n));
    done += n;
  }
  return 0;
}

namespace {

// madvise_remove(): a hole in the mapped file, made through the file, which takes locks of its own
// before an address space's.
SyscallResult Remove(Task& task, uint64_t start, uint64_t length) {
  const uint64_t size = PageUp(length), end = start + size;
  if (start % kPageSize != 0 || (length != 0 && size == 0) || end < start) {
    return abi::Errno::kEINVAL;
  }
  bool hole = false;
  uint64_t at = start;
  for (const sentry::Vma& v : task.mm().Vmas()) {
    if (v.end <= at) continue;
    if (v.start >= end) break;
    hole |= v.start > at;
    at = std::max(at, v.start);
    const uint64_t stop = std::min(end, v.end);
    if (!v.file) {
      // Shared anonymous memory, or an error.
      TRY(task.mm().Madvise(at, stop - at, abi::kMADV_REMOVE));
    } else {
      if (v.locked) return abi::Errno::kEINVAL;
      if (!v.shared || (v.max_prot & platform::kProtWrite) == 0) return abi::Errno::kEACCES;
      auto& file = static_cast<sentry::File&>(*v.file);
      TRY(file.Fallocate(abi::kFALLOC_FL_PUNCH_HOLE | abi::kFALLOC_FL_KEEP_SIZE,
                         v.offset + (at - v.start), stop - at));
    }
    at = stop;
  }
  if (hole || at < end) return abi::Errno::kENOMEM;
  return 0;
}

}  // namespace

SyscallResult sys_madvise(Task& task, UserAddr addr, uint64_t length, int32_t advice) {
  if (advice == abi::kMADV_REMOVE) return Remove(task, addr.value, length);
  if ((advice == abi::kMADV_HWPOISON || advice == abi::kMADV_SOFT_OFFLINE) &&
      !task.creds().Has(abi::kCAP_SYS_ADMIN)) {
    return abi::Errno::kEPERM;
  }
  return task.mm().Madvise(addr.value, length, advice);
}

SyscallResult sys_mlock(Task& task, UserAddr addr, uint64_t length) {
  return task.mm().Mlock(addr.value, length, true, false, MayLockAll(task));
}

SyscallResult sys_mlock2(Task& task, UserAddr addr, uint64_t length, int32_t flags) {
  if ((flags & ~abi::kMLOCK_ONFAULT) != 0) return abi::Errno::kEINVAL;
  return task.mm().Mlock(addr.value, length, true, (flags & abi::kMLOCK_ONFAULT) != 0,
                         MayLockAll(task));
}

SyscallResult sys_munlock(Task& task, UserAddr addr, uint64_t length) {
  return task.mm().Mlock(addr.value, length, false, false);
}

SyscallResult sys_mlockall(Task& task, int32_t flags) {
  constexpr int32_t kKnown = abi::kMCL_CURRENT | abi::kMCL_FUTURE | abi::kMCL_ONFAULT;
  if (flags == 0 || (flags & ~kKnown) != 0 || flags == abi::kMCL_ONFAULT) {
    return abi::Errno::kEINVAL;
  }
  return task.mm().MlockAll(static_cast<uint32_t>(flags), MayLockAll(task));
}

SyscallResult sys_munlockall(Task& task) { return task.mm().MlockAll(0); }

SyscallResult sys_membarrier(Task& task, int32_t cmd, uint32_t flags, int32_t cpu_id) {
  constexpr uint32_t kSupported =
      abi::kMEMBARRIER_CMD_GLOBAL | abi::kMEMBARRIER_CMD_GLOBAL_EXPEDITED |
      abi::kMEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | abi::kMEMBARRIER_CMD_PRIVATE_EXPEDITED |
      abi::kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
  // Only the rseq variant, which does not exist here, knows a flag.
  if (flags != 0) return abi::Errno::kEINVAL;
  std::atomic<uint32_t>& registered = task.mm().membarrier;
  switch (cmd) {
    case abi::kMEMBARRIER_CMD_QUERY:
      return kSupported;
    case abi::kMEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
    case abi::kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
      registered.fetch_or(static_cast<uint32_t>(cmd));
      return 0;
    case abi::kMEMBARRIER_CMD_PRIVATE_EXPEDITED:
      if ((registered.load() & abi::kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0) {
        return abi::Errno::kEPERM;
      }
      if (task.mm().users.load() == 1) {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        return 0;
      }
      [[fallthrough]];
    case abi::kMEMBARRIER_CMD_GLOBAL_EXPEDITED:
    case abi::kMEMBARRIER_CMD_GLOBAL:
      // The guests' threads belong to other host processes: the barrier on all of them.
      host::Membarrier();
      return 0;
    default:
      TrackGap(Sys::membarrier, static_cast<uint64_t>(cmd));
      return abi::Errno::kEINVAL;
  }
}

}  // namespace syscalls
