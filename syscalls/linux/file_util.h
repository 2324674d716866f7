// What the handlers of files share.
#pragma once

#include <cstdint>
#include <string>

#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"
#include "syscalls/abi/fcntl.h"

namespace syscalls {

// The caller's view with a dirfd and path argument pair.
class AtPath {
 public:
  explicit AtPath(sentry::Task& task) : task_(task), view_(task.vfs()), ctx_(view_.ctx()) {}
  AtPath(const AtPath&) = delete;
  AtPath& operator=(const AtPath&) = delete;

  // EFAULT, ENAMETOOLONG, ENOENT for "" unless empty_ok; EBADF and ENOTDIR of dirfd, which an
  // absolute path ignores. null_ok: a null path with AT_EMPTY_PATH means "".
  base::Result<void> Set(int32_t dirfd, sentry::UserCString path, bool empty_ok = false,
                         bool null_ok = false);
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

// What close(2) does with a file that left the table: record locks, Flush().
base::Result<void> CloseFile(sentry::FdTable& table, base::Ref<sentry::File> f);

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
