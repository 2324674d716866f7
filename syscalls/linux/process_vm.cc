// process_vm_readv(2), process_vm_writev(2).

#include <algorithm>
#include <memory>

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/capability.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

namespace {

constexpr size_t kChunk = 64 << 10;

// ptrace_may_access(PTRACE_MODE_ATTACH_REALCREDS).
bool MayAttach(Task& task, Task& other, sentry::MemoryManager& mm) {
  if (&task.group() == &other.group()) return true;
  const sentry::Creds& mine = task.creds();
  base::Ref<const sentry::Creds> theirs = other.creds_ref();
  bool same = mine.uid == theirs->euid && mine.uid == theirs->suid && mine.uid == theirs->uid &&
              mine.gid == theirs->egid && mine.gid == theirs->sgid && mine.gid == theirs->gid;
  bool capable = mine.HasIn(*theirs->user_ns, abi::kCAP_SYS_PTRACE);
  if (!same && !capable) return false;
  if (!mm.dumpable.load() && !capable) return false;
  // cap_ptrace_access_check(): no more capable than the caller.
  return capable || (theirs->user_ns == mine.user_ns && (theirs->permitted & ~mine.permitted) == 0);
}

base::Result<uint64_t> Move(Task& task, int32_t pid, UserAddr lvec, uint64_t liovcnt, UserAddr rvec,
                            uint64_t riovcnt, uint64_t flags, bool write) {
  if (flags != 0) return abi::Errno::kEINVAL;
  UserSegments local = TRY(ImportIovec(task, lvec, liovcnt));
  UserSegments remote = TRY(ImportIovec(task, rvec, riovcnt));
  uint64_t left = 0, remote_bytes = 0;
  for (const auto& s : local) left += s.len;
  for (const auto& s : remote) remote_bytes += s.len;
  if (left == 0 || remote_bytes == 0) return uint64_t{0};
  base::Ref<Task> other;
  {
    base::MutexLock tree(task.kernel().tree_mu);
    Task* found = task.pid_ns()->FindTask(pid);
    if (found == nullptr) return abi::Errno::kESRCH;
    other = base::Ref<Task>(found);
  }
  base::Ref<sentry::MemoryManager> mm = other->mm_ref();
  if (!mm) return abi::Errno::kESRCH;
  if (!MayAttach(task, *other, *mm)) return abi::Errno::kEPERM;

  sentry::IoBuffer here = sentry::IoBuffer::UserVec(task.mm(), local);
  std::unique_ptr<uint8_t[]> chunk(new uint8_t[std::min<uint64_t>(kChunk, remote_bytes)]);
  uint64_t moved = 0;
  bool fault = false;
  for (const auto& s : remote) {
    for (uint64_t done = 0; done < s.len && here.remaining() != 0 && !fault;) {
      size_t n = std::min<uint64_t>({kChunk, s.len - done, here.remaining()});
      UserAddr there = s.addr + done;
      size_t part;
      if (write) {
        size_t got = here.PeekFrom(chunk.get(), n);
        part = mm->CopyOutPartial(there, chunk.get(), got);
        here.Consume(part);
      } else {
        size_t got = mm->CopyInPartial(chunk.get(), there, n);
        part = here.CopyTo(chunk.get(), got);
      }
      moved += part;
      done += part;
      fault = part < n;
    }
    if (fault || here.remaining() == 0) break;
  }
  if (write && mm.get() != &task.mm()) {
    // What was copied before the write is mapped in the target at its next stop.
    other->Interrupt();
  }
  if (moved == 0) return abi::Errno::kEFAULT;
  return moved;
}

}  // namespace

SyscallResult sys_process_vm_readv(Task& task, int32_t pid, UserAddr lvec, uint64_t liovcnt,
                                   UserAddr rvec, uint64_t riovcnt, uint64_t flags) {
  return Move(task, pid, lvec, liovcnt, rvec, riovcnt, flags, false);
}

SyscallResult sys_process_vm_writev(Task& task, int32_t pid, UserAddr lvec, uint64_t liovcnt,
                                    UserAddr rvec, uint64_t riovcnt, uint64_t flags) {
  return Move(task, pid, lvec, liovcnt, rvec, riovcnt, flags, true);
}

}  // namespace syscalls
