// execve(2), execveat(2): the arguments; the rest is Kernel::Exec().
#include "sentry/kernel/kernel.h"
#include "syscalls/abi/fcntl.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

constexpr size_t kMaxArgLen = 32 * sentry::kPageSize;  // MAX_ARG_STRLEN
constexpr size_t kArgMax = 32 * sentry::kPageSize;     // ARG_MAX: always granted

// bprm_stack_limits(): a quarter of the stack limit, at most 6 MiB.
size_t StringsLimit(Task& task) {
  uint64_t limit = task.group().limits.Get(abi::kRLIMIT_STACK).cur / 4;
  if (limit > (6 << 20)) limit = 6 << 20;
  return limit < kArgMax ? kArgMax : static_cast<size_t>(limit);
}

base::Result<void> FetchStrings(Task& task, UserAddr array, size_t* budget,
                                std::vector<std::string>* out) {
  if (array.null()) return {};
  uint64_t batch[32];
  for (;;) {
    // Up to the page's end, so that nothing behind the terminator is needed.
    uint64_t room = (sentry::kPageSize - array.value % sentry::kPageSize) / sizeof batch[0];
    uint64_t want = room == 0 ? 1 : room < 32 ? room : 32;
    uint64_t got = task.mm().CopyInPartial(batch, array, want * sizeof batch[0]) / sizeof batch[0];
    for (uint64_t i = 0; i < got; i++) {
      if (batch[i] == 0) return {};
      auto s = task.mm().CopyInString(UserAddr{batch[i]}, kMaxArgLen);
      if (!s.ok()) {
        return s.is(abi::Errno::kENAMETOOLONG) ? base::Error(abi::Errno::kE2BIG) : s.error();
      }
      size_t cost = s->size() + 1 + sizeof batch[0];
      if (cost > *budget) return abi::Errno::kE2BIG;
      *budget -= cost;
      out->push_back(*std::move(s));
    }
    if (got < want) return abi::Errno::kEFAULT;
    array = array + want * sizeof batch[0];
  }
}

SyscallResult Exec(Task& task, sentry::ExecArgs args, UserAddr argv, UserAddr envp) {
  size_t budget = StringsLimit(task);
  TRY(FetchStrings(task, argv, &budget, &args.argv));
  TRY(FetchStrings(task, envp, &budget, &args.envp));
  // Since Linux 5.18 there is always an argv[0].
  if (args.argv.empty()) args.argv.emplace_back();
  return task.kernel().Exec(task, std::move(args));
}

}  // namespace

SyscallResult sys_execve(Task& task, UserCString path, UserAddr argv, UserAddr envp) {
  sentry::ExecArgs args;
  args.filename = TRY(path.Fetch(task.mm()));
  if (args.filename.empty()) return abi::Errno::kENOENT;
  return Exec(task, std::move(args), argv, envp);
}

SyscallResult sys_execveat(Task& task, int32_t dirfd, UserCString path, UserAddr argv,
                           UserAddr envp, int32_t flags) {
  sentry::ExecArgs args;
  std::string name = TRY(path.Fetch(task.mm()));
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) {
    return abi::Errno::kEINVAL;
  }
  bool empty = name.empty();
  if (empty && (flags & abi::kAT_EMPTY_PATH) == 0) return abi::Errno::kENOENT;
  bool absolute = !empty && name[0] == '/';
  if (absolute || (dirfd == abi::kAT_FDCWD && !empty)) {
    args.filename = name;
  } else {
    args.filename = "/dev/fd/" + std::to_string(dirfd) + (empty ? "" : "/" + name);
  }
  if (!absolute || (flags & abi::kAT_SYMLINK_NOFOLLOW) != 0) {
    sentry::TaskVfs vfs = task.vfs();
    sentry::Path start;
    if (!absolute && dirfd != abi::kAT_FDCWD) {
      start = TRY(task.fds().GetAny(dirfd))->path();
      if (!start) return empty ? abi::Errno::kEACCES : abi::Errno::kENOTDIR;
    }
    sentry::ResolveFlags how;
    how.follow = (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0;
    how.empty_path = empty;
    sentry::Path place = TRY(sentry::Vfs::Resolve(vfs.ctx(), start ? &start : nullptr, name, how));
    base::Ref<sentry::Inode> inode = place.dentry->inode();
    if (inode && inode->is_symlink()) return abi::Errno::kELOOP;
    // do_open_execat(): a regular file that may be executed.
    if (!inode || !inode->is_reg()) return abi::Errno::kEACCES;
    TRY(sentry::Vfs::CheckAccess(vfs.ctx(), place, sentry::kMayExec));
    args.file = TRY(inode->Open(place.dentry, sentry::OpenFlags{abi::kO_RDONLY, 0}, task.creds()));
    args.file->set_path(place);
    // A script's interpreter could not open a name that closes on exec.
  }
  return Exec(task, std::move(args), argv, envp);
}

}  // namespace syscalls
