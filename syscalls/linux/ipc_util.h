// What the handlers of pipes, sockets and anonymous files share.
#pragma once

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/io_buffer.h"
#include "syscalls/abi/time.h"

namespace syscalls {

using UserSegments = absl::InlinedVector<sentry::UserSegment, 8>;

// import_iovec(): EINVAL for more than UIO_MAXIOV pieces or a negative length; the total is cut to
// MAX_RW_COUNT.
base::Result<UserSegments> ImportIovec(sentry::Task& task, sentry::UserAddr iov, uint64_t count);

// Installs one new file; the descriptor.
base::Result<int32_t> InstallFile(sentry::Task& task, base::Ref<sentry::File> file, bool cloexec);

// Installs two and stores the numbers at out; on EFAULT neither stays.
base::Result<void> InstallPair(sentry::Task& task, base::Ref<sentry::File> a,
                               base::Ref<sentry::File> b, bool cloexec, sentry::UserAddr out);

// The signal of a write to a pipe or socket that nobody will read.
void RaiseSigpipe(sentry::Task& task);

// A signal mask argument of ppoll, pselect6, epoll_pwait: set for the length of the call. EINVAL
// for a wrong size, EFAULT.
base::Result<void> SetCallMask(sentry::Task& task, sentry::UserAddr mask, uint64_t size);

// timespec_valid().
inline bool ValidTimespec(const abi::Timespec& ts) {
  return ts.sec >= 0 && ts.nsec >= 0 && ts.nsec < abi::kNsPerSec;
}
// Nanoseconds, saturating.
int64_t TimespecToNs(const abi::Timespec& ts);
// CLOCK_MONOTONIC of now plus a relative time, saturating at kNoDeadline.
int64_t DeadlineAfter(int64_t ns);

}  // namespace syscalls
