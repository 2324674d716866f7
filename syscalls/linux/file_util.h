// What the handlers of files share.
#pragma once

#include <cstdint>
#include <string>

#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"
#include "syscalls/abi/fcntl.h"
#include "syscalls/abi/uio.h"

namespace syscalls {

// The caller's view with a dirfd and path argument pair.
class AtPath {
 public:
  explicit AtPath(sentry::Task& task) : task_(task), view_(task.vfs()), ctx_(view_.ctx()) {}
  AtPath(const AtPath&) = delete;
  AtPath& operator=(const AtPath&) = delete;

  // EFAULT, ENAMETOOLONG, ENOENT for "" unless empty_ok; EBADF and ENOTDIR of dirfd, which an
  // absolute path ignores. null_ok: a null path with AT_EMPTY_PATH means "".
  // in_root: dirfd is the root of absolute paths too (RESOLVE_IN_ROOT).
  base::Result<void> Set(int32_t dirfd, sentry::UserCString path, bool empty_ok = false,
                         bool null_ok = false, bool in_root = false);
  // The place, following a final symlink or not.
  base::Result<sentry::Path> Find(bool follow = true);

  const sentry::VfsContext& ctx() const { return ctx_; }
  const std::string& path() const { return path_; }
  sentry::StartAt start() const { return start_ ? &start_ : nullptr; }
  bool empty() const { return path_.empty(); }
  // The file that dirfd named; null for AT_FDCWD and absolute paths.
  const base::Ref<sentry::File>& file() const { return file_; }

 private:
  sentry::Task& task_;
  const sentry::TaskVfs view_;
  const sentry::VfsContext ctx_;
  std::string path_;
  sentry::Path start_;
  base::Ref<sentry::File> file_;
};

// Where a read or write happens: at the file's own position, or an explicit one.
struct At {
  bool own = true;
  uint64_t offset = 0;
};
constexpr uint32_t kRwfKnown = abi::kRWF_HIPRI | abi::kRWF_DSYNC | abi::kRWF_SYNC |
                               abi::kRWF_NOWAIT | abi::kRWF_APPEND | abi::kRWF_NOAPPEND;
// vfs_read() and vfs_write(): wait unless the file or rwf (RWF_*) says not to; limits, set-id bits,
// inotify, SIGPIPE.
base::Result<uint64_t> ReadFile(sentry::Task& task, sentry::File& f, sentry::IoBuffer& dst, At at,
                                uint32_t rwf);
base::Result<uint64_t> WriteFile(sentry::Task& task, sentry::File& f, sentry::IoBuffer& src, At at,
                                 uint32_t rwf);

// What close(2) does with a file that left the table: record locks, Flush().
base::Result<void> CloseFile(sentry::FdTable& table, base::Ref<sentry::File> f);

// O_ASYNC goes on or off: fd is what si_fd shows. No-op for files that send no signals.
base::Result<void> SetAsync(int32_t fd, sentry::File& f, bool on);
// F_SETOWN and F_GETOWN; below 0: a process group. EINVAL, ESRCH.
base::Result<void> SetOwner(sentry::Task& task, sentry::File& f, int32_t who);
int64_t GetOwner(sentry::Task& task, sentry::File& f);

// Ids of files and of the caller's namespace. ToUser shows unmapped ones as the overflow id;
// FromUser fails with EINVAL.
uint32_t UidToUser(sentry::Task& task, uint32_t uid);
uint32_t GidToUser(sentry::Task& task, uint32_t gid);
base::Result<uint32_t> UidFromUser(sentry::Task& task, uint32_t uid);
base::Result<uint32_t> GidFromUser(sentry::Task& task, uint32_t gid);

// How many of n bytes a write at offset may put under RLIMIT_FSIZE; SIGXFSZ and EFBIG at the limit
// (generic_write_check_limits()).
base::Result<uint64_t> CheckFileSizeLimit(sentry::Task& task, uint64_t offset, uint64_t n);

}  // namespace syscalls
