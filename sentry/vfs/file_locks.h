// flock(2) and POSIX record locks (fcntl F_SETLK, F_OFD_SETLK), kept per inode. Owners are opaque:
// the descriptor table for POSIX locks, the File for flock and OFD locks.
#pragma once

#include <cstdint>
#include <vector>

#include "platform/base/mutex.h"
#include "platform/base/result.h"
#include "sentry/wait/wait_queue.h"

namespace sentry {

struct LockRange {
  uint64_t start = 0, end = UINT64_MAX;  // inclusive
};

class FileLocks {
 public:
  enum class Type : uint8_t { kRead, kWrite, kUnlock };
  struct Record {
    Type type;
    LockRange range;
    const void* owner;
    int32_t pid;  // -1 for OFD locks
    bool flock;
  };
  // Sets or clears; false: conflicts (wait on queue() and try again, or report EAGAIN).
  bool SetPosix(const void* owner, int32_t pid, Type type, LockRange range);
  // The first conflicting lock, if any.
  bool TestPosix(const void* owner, Type type, LockRange range, Record* conflict);
  bool SetFlock(const void* owner, int32_t pid, Type type);
  // close(2): the owner's POSIX locks of this inode go, whichever descriptor took them.
  void ReleasePosix(const void* owner);
  void ReleaseFlock(const void* owner);
  // Before the owner sleeps for a POSIX lock that SetPosix refused: false if that would be a
  // deadlock (EDEADLK). EndWait() afterwards, whatever came of it.
  bool BeginWait(const void* owner, Type type, LockRange range);
  static void EndWait(const void* owner);
  WaitQueue& queue() { return queue_; }
  std::vector<Record> List();
  bool has_posix(const void* owner);

 private:
  base::Mutex<base::LockClass::kFileLocks> mu_;
  std::vector<Record> posix_ GUARDED_BY(mu_);
  std::vector<Record> flock_ GUARDED_BY(mu_);
  WaitQueue queue_;
};

}  // namespace sentry
