// Resource limits and usage: kernel/sys.c.
#include "sentry/kernel/cpu_limit.h"
#include "sentry/kernel/kernel.h"
#include "syscalls/abi/resource.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::Kernel;

constexpr uint64_t kMaxFiles = 1048576;  // fs.nr_open

// do_prlimit() on the caller's own or another process's limits.
base::Result<void> SetLimit(Task& task, Task& target, uint32_t resource, const abi::Rlimit& l) {
  if (l.cur > l.max) return abi::Errno::kEINVAL;
  if (resource == abi::kRLIMIT_NOFILE && l.max > kMaxFiles) return abi::Errno::kEPERM;
  sentry::Limits& limits = target.group().limits;
  int r = static_cast<int>(resource);
  if (l.max > limits.Get(r).max && !task.creds().Has(abi::kCAP_SYS_RESOURCE)) {
    return abi::Errno::kEPERM;
  }
  limits.Set(r, l);
  if (r == abi::kRLIMIT_CPU) sentry::CpuLimit::Watch(target.group());
  base::Ref<sentry::MemoryManager> mm = target.mm_ref();
  if (!mm) return {};
  switch (r) {
    case abi::kRLIMIT_AS:
      mm->limits.as.store(l.cur);
      break;
    case abi::kRLIMIT_DATA:
      mm->limits.data.store(l.cur);
      break;
    case abi::kRLIMIT_STACK:
      mm->limits.stack.store(l.cur);
      break;
    case abi::kRLIMIT_MEMLOCK:
      mm->limits.memlock.store(l.cur);
      break;
    default:
      break;
  }
  return {};
}

}  // namespace

SyscallResult sys_getrlimit(Task& task, uint32_t resource, UserOut<abi::Rlimit> rlim) {
  if (resource >= static_cast<uint32_t>(abi::kRLIM_NLIMITS)) return abi::Errno::kEINVAL;
  TRY(rlim.Store(task.mm(), task.group().limits.Get(static_cast<int>(resource))));
  return 0;
}

SyscallResult sys_setrlimit(Task& task, uint32_t resource, UserIn<abi::Rlimit> rlim) {
  abi::Rlimit l = TRY(rlim.Fetch(task.mm()));
  if (resource >= static_cast<uint32_t>(abi::kRLIM_NLIMITS)) return abi::Errno::kEINVAL;
  return SetLimit(task, task, resource, l);
}

SyscallResult sys_prlimit64(Task& task, int32_t pid, uint32_t resource,
                            UserIn<abi::Rlimit> new_rlim, UserOut<abi::Rlimit> old_rlim) {
  abi::Rlimit fresh{};
  if (!new_rlim.null()) fresh = TRY(new_rlim.Fetch(task.mm()));
  base::Ref<Task> target(&task);
  if (pid != 0) target = task.kernel().FindTask(*task.pid_ns(), pid);
  if (!target) return abi::Errno::kESRCH;
  if (target.get() != &task) {
    // check_prlimit_permission().
    const sentry::Creds& c = task.creds();
    base::Ref<const sentry::Creds> t = target->creds_ref();
    bool same = c.uid == t->euid && c.uid == t->suid && c.uid == t->uid && c.gid == t->egid &&
                c.gid == t->sgid && c.gid == t->gid;
    if (!same && !c.HasIn(*t->user_ns, abi::kCAP_SYS_RESOURCE)) return abi::Errno::kEPERM;
  }
  if (resource >= static_cast<uint32_t>(abi::kRLIM_NLIMITS)) return abi::Errno::kEINVAL;
  abi::Rlimit old = target->group().limits.Get(static_cast<int>(resource));
  if (!new_rlim.null()) TRY(SetLimit(task, *target, resource, fresh));
  if (!old_rlim.null()) TRY(old_rlim.Store(task.mm(), old));
  return 0;
}

SyscallResult sys_getrusage(Task& task, int32_t who, UserOut<abi::Rusage> usage) {
  abi::Rusage u{};
  switch (who) {
    case abi::kRUSAGE_SELF: {
      base::MutexLock l(task.kernel().tree_mu);
      u = task.group().Usage();
      break;
    }
    case abi::kRUSAGE_CHILDREN: {
      base::MutexLock l(task.kernel().tree_mu);
      u = task.group().children_usage;
      break;
    }
    case abi::kRUSAGE_THREAD:
      u = task.Usage();
      break;
    default:
      return abi::Errno::kEINVAL;
  }
  if (who != abi::kRUSAGE_CHILDREN) {
    int64_t kib = static_cast<int64_t>(task.mm().usage().resident >> 10);
    if (kib > u.maxrss) u.maxrss = kib;
  }
  TRY(usage.Store(task.mm(), u));
  return 0;
}

SyscallResult sys_times(Task& task, UserOut<abi::Tms> buf) {
  constexpr int64_t kTick = abi::kNsPerSec / abi::kUSER_HZ;
  if (!buf.null()) {
    abi::Rusage self, children;
    {
      base::MutexLock l(task.kernel().tree_mu);
      self = task.group().Usage();
      children = task.group().children_usage;
    }
    auto ticks = [](const abi::Timeval& t) {
      return (t.sec * abi::kNsPerSec + t.usec * 1000) / kTick;
    };
    abi::Tms t{ticks(self.utime), ticks(self.stime), ticks(children.utime), ticks(children.stime)};
    TRY(buf.Store(task.mm(), t));
  }
  return task.kernel().clock().BootTime() / kTick;
}

}  // namespace syscalls
