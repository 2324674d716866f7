// A descriptor table (the kernel's files_struct), shared by tasks cloned with CLONE_FILES.
#pragma once

#include <cstdint>
#include <vector>

#include "sentry/vfs/file.h"

namespace sentry {

class FdTable : public base::RefCounted {
 public:
  FdTable() = default;
  ~FdTable() override;
  // A copy for fork; drops nothing. limit: descriptors >= limit are left out (close_range's
  // unshare).
  base::Ref<FdTable> Clone(uint32_t limit = UINT32_MAX);

  // EBADF. Get refuses O_PATH files; GetAny does not.
  base::Result<base::Ref<File>> Get(int32_t fd);
  base::Result<base::Ref<File>> GetAny(int32_t fd);
  // The lowest free descriptor >= min and < limit (RLIMIT_NOFILE). EMFILE; EINVAL if min >= limit
  // (F_DUPFD).
  base::Result<int32_t> Install(base::Ref<File> file, bool cloexec, uint64_t limit,
                                int32_t min = 0);
  // Several at once, all or none (pipe, socketpair, SCM_RIGHTS).
  base::Result<void> InstallTwo(base::Ref<File> a, base::Ref<File> b, bool cloexec, uint64_t limit,
                                int32_t out[2]);
  // dup2/dup3: replaces. The old file is returned for the caller to release outside locks. EBADF
  // when fd >= limit.
  base::Result<base::Ref<File>> InstallAt(int32_t fd, base::Ref<File> file, bool cloexec,
                                          uint64_t limit);
  // Removes and returns it; the caller does what close does (record locks, Flush). EBADF.
  base::Result<base::Ref<File>> Remove(int32_t fd);
  // close_range(2) without flags; exec's close-on-exec.
  std::vector<base::Ref<File>> RemoveRange(uint32_t first, uint32_t last);
  std::vector<base::Ref<File>> RemoveCloexec();
  void SetCloexecRange(uint32_t first, uint32_t last);
  base::Result<bool> cloexec(int32_t fd);
  base::Result<void> set_cloexec(int32_t fd, bool on);
  // Ascending, for /proc/[pid]/fd.
  std::vector<int32_t> List();
  uint32_t size();

 private:
  struct Slot {
    base::Ref<File> file;
    bool cloexec = false;
  };
  // sysctl_nr_open: no descriptor is as large, whatever RLIMIT_NOFILE says.
  static constexpr uint32_t kMaxFds = 1048576;
  base::Result<int32_t> PlaceLocked(base::Ref<File> file, bool cloexec, uint64_t limit,
                                    uint32_t min) REQUIRES_LOCK(mu_);
  base::Mutex<base::LockClass::kFdTable> mu_;
  std::vector<Slot> slots_ GUARDED_BY(mu_);
  uint32_t next_free_ GUARDED_BY(mu_) = 0;  // no free slot below
};

}  // namespace sentry
