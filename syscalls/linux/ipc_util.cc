#include "syscalls/linux/ipc_util.h"

#include <algorithm>

#include "sentry/time/clock.h"
#include "syscalls/abi/signal.h"
#include "syscalls/abi/socket.h"
#include "syscalls/abi/uio.h"

namespace syscalls {

using sentry::File;
using sentry::Task;
using sentry::UserAddr;

base::Result<UserSegments> ImportIovec(Task& task, UserAddr iov, uint64_t count) {
  if (count > abi::kUIO_MAXIOV) return abi::Errno::kEINVAL;
  UserSegments out;
  out.reserve(count);
  uint64_t total = 0;
  abi::Iovec chunk[32];
  for (uint64_t i = 0; i < count; i += 32) {
    uint64_t n = std::min<uint64_t>(32, count - i);
    TRY(task.mm().CopyIn(chunk, iov + i * sizeof(abi::Iovec), n * sizeof(abi::Iovec)));
    for (uint64_t k = 0; k < n; k++) {
      if (static_cast<int64_t>(chunk[k].len) < 0) return abi::Errno::kEINVAL;
      uint64_t len = std::min(chunk[k].len, sentry::kMaxRwCount - total);
      total += len;
      out.push_back({UserAddr{chunk[k].base}, len});
    }
  }
  return out;
}

base::Result<int32_t> InstallFile(Task& task, base::Ref<File> file, bool cloexec) {
  return task.fds().Install(std::move(file), cloexec, task.FileLimit());
}

base::Result<void> InstallPair(Task& task, base::Ref<File> a, base::Ref<File> b, bool cloexec,
                               UserAddr out) {
  int32_t fds[2];
  TRY(task.fds().InstallTwo(std::move(a), std::move(b), cloexec, task.FileLimit(), fds));
  base::Result<void> r = task.mm().CopyOut(out, fds, sizeof fds);
  if (!r.ok()) {
    for (int32_t fd : fds) {
      base::Result<base::Ref<File>> gone = task.fds().Remove(fd);
      (void)gone;
    }
  }
  return r;
}

void RaiseSigpipe(Task& task) {
  abi::SigInfo info{};
  info.signo = abi::kSIGPIPE;
  info.code = abi::kSI_USER;
  info.f.kill.pid = task.tgid();
  info.f.kill.uid = task.creds().uid;
  base::Result<void> r = task.SendSignal(info);
  (void)r;
}

base::Result<void> SetCallMask(Task& task, UserAddr mask, uint64_t size) {
  if (mask.null()) return {};
  if (size != sizeof(uint64_t)) return abi::Errno::kEINVAL;
  uint64_t set;
  TRY(task.mm().CopyIn(&set, mask, sizeof set));
  task.SetTemporaryMask(set & ~sentry::kUnblockable);
  return {};
}

int64_t TimespecToNs(const abi::Timespec& ts) {
  if (ts.sec >= INT64_MAX / abi::kNsPerSec) return INT64_MAX;
  return ts.sec * abi::kNsPerSec + ts.nsec;
}

int64_t DeadlineAfter(int64_t ns) {
  int64_t now = sentry::HostClock().Monotonic();
  return ns >= sentry::kNoDeadline - now ? sentry::kNoDeadline : now + ns;
}

}  // namespace syscalls
