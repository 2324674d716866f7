#include "syscalls/linux/file_util.h"

#include <algorithm>

#include "sentry/vfs/file_locks.h"
#include "syscalls/abi/resource.h"
#include "syscalls/abi/signal.h"

namespace syscalls {

using sentry::File;
using sentry::Path;
using sentry::ResolveFlags;
using sentry::Task;
using sentry::UserCString;
using sentry::Vfs;

base::Result<void> AtPath::Set(int32_t dirfd, UserCString path, bool empty_ok, bool null_ok,
                               bool in_root) {
  if (path.null() && null_ok) {
    path_.clear();
  } else {
    path_ = TRY(path.Fetch(task_.mm()));
  }
  if (path_.empty() && !empty_ok) return abi::Errno::kENOENT;
  const bool absolute = !path_.empty() && path_[0] == '/';
  if (dirfd == abi::kAT_FDCWD || (absolute && !in_root)) return {};
  file_ = TRY(task_.fds().GetAny(dirfd));
  start_ = Vfs::PlaceOf(*file_);
  if (!path_.empty() && !start_.dentry->inode()->is_dir()) return abi::Errno::kENOTDIR;
  return {};
}

base::Result<Path> AtPath::Find(bool follow) {
  ResolveFlags flags;
  flags.follow = follow;
  flags.empty_path = path_.empty();
  return Vfs::Resolve(ctx_, start(), path_, flags);
}

base::Result<void> CloseFile(sentry::FdTable& table, base::Ref<File> f) {
  base::Result<void> r = f->Flush();
  if (sentry::FileLocks* l = f->attr_inode().present_locks()) l->ReleasePosix(&table);
  return r;
}

uint32_t UidToUser(Task& task, uint32_t uid) {
  const sentry::UserNamespace* ns = task.creds().user_ns.get();
  if (ns == nullptr || ns->level() == 0) return uid;
  const uint32_t u = ns->UidFromGlobal(uid);
  return u == UINT32_MAX ? sentry::kOverflowId : u;
}

uint32_t GidToUser(Task& task, uint32_t gid) {
  const sentry::UserNamespace* ns = task.creds().user_ns.get();
  if (ns == nullptr || ns->level() == 0) return gid;
  const uint32_t g = ns->GidFromGlobal(gid);
  return g == UINT32_MAX ? sentry::kOverflowId : g;
}

base::Result<uint32_t> UidFromUser(Task& task, uint32_t uid) {
  const sentry::UserNamespace* ns = task.creds().user_ns.get();
  const uint32_t g = ns == nullptr ? uid : ns->UidToGlobal(uid);
  if (g == UINT32_MAX) return abi::Errno::kEINVAL;
  return g;
}

base::Result<uint32_t> GidFromUser(Task& task, uint32_t gid) {
  const sentry::UserNamespace* ns = task.creds().user_ns.get();
  const uint32_t g = ns == nullptr ? gid : ns->GidToGlobal(gid);
  if (g == UINT32_MAX) return abi::Errno::kEINVAL;
  return g;
}

base::Result<uint64_t> CheckFileSizeLimit(Task& task, uint64_t offset, uint64_t n) {
  const uint64_t limit = task.group().limits.Get(abi::kRLIMIT_FSIZE).cur;
  if (limit == abi::kRLIM_INFINITY) return n;
  if (offset >= limit) {
    abi::SigInfo info{};
    info.signo = abi::kSIGXFSZ;
    info.code = abi::kSI_KERNEL;
    (void)task.SendSignal(info);
    return abi::Errno::kEFBIG;
  }
  return std::min(n, limit - offset);
}

}  // namespace syscalls
