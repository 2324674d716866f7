// Scheduling: kernel/sched/syscalls.c, kernel/sys.c, block/ioprio.c. Policies and priorities are
// kept and shown; the host schedules as it likes.
#include "syscalls/abi/sched.h"

#include <algorithm>
#include <cstring>

#include "platform/host/host.h"
#include "sentry/kernel/kernel.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::Kernel;

bool RealTime(int32_t policy) { return policy == abi::kSCHED_FIFO || policy == abi::kSCHED_RR; }

bool KnownPolicy(int32_t policy) {
  return policy == abi::kSCHED_NORMAL || RealTime(policy) || policy == abi::kSCHED_BATCH ||
         policy == abi::kSCHED_IDLE || policy == abi::kSCHED_DEADLINE;
}

base::Result<base::Ref<Task>> Find(Task& task, int32_t pid) {
  if (pid < 0) return abi::Errno::kEINVAL;
  if (pid == 0) return base::Ref<Task>(&task);
  base::Ref<Task> t = task.kernel().FindTask(*task.pid_ns(), pid);
  if (!t) return abi::Errno::kESRCH;
  return t;
}

// check_same_owner().
bool SameOwner(Task& task, Task& target) {
  base::Ref<const sentry::Creds> t = target.creds_ref();
  return task.creds().euid == t->euid || task.creds().euid == t->uid;
}

bool MayNice(Task& task, Task& target) {
  return task.creds().HasIn(*target.creds_ref()->user_ns, abi::kCAP_SYS_NICE);
}

// can_nice().
bool NiceAllowed(Task& task, Task& target, int32_t nice) {
  uint64_t need = static_cast<uint64_t>(20 - nice);
  return need <= target.group().limits.Get(abi::kRLIMIT_NICE).cur || MayNice(task, target);
}

struct Wanted {
  int32_t policy;
  uint32_t priority;
  int32_t nice;
  bool set_nice, reset_on_fork;
};

base::Result<void> Apply(Task& task, Task& target, const Wanted& w) {
  // __sched_setscheduler().
  if (!KnownPolicy(w.policy)) return abi::Errno::kEINVAL;
  if (w.priority > 99) return abi::Errno::kEINVAL;
  if (w.policy == abi::kSCHED_DEADLINE) return abi::Errno::kEINVAL;
  if (RealTime(w.policy) != (w.priority != 0)) return abi::Errno::kEINVAL;
  if (!MayNice(task, target)) {
    // user_check_sched_setscheduler().
    if (w.set_nice && !RealTime(w.policy) && w.nice < target.nice.load() &&
        !NiceAllowed(task, target, w.nice)) {
      return abi::Errno::kEPERM;
    }
    if (RealTime(w.policy)) {
      uint64_t limit = target.group().limits.Get(abi::kRLIMIT_RTPRIO).cur;
      if (w.policy != target.sched_policy.load() && limit == 0) return abi::Errno::kEPERM;
      if (w.priority > static_cast<uint32_t>(target.sched_priority.load()) && w.priority > limit) {
        return abi::Errno::kEPERM;
      }
    }
    if (target.sched_policy.load() == abi::kSCHED_IDLE && w.policy != abi::kSCHED_IDLE &&
        !NiceAllowed(task, target, target.nice.load())) {
      return abi::Errno::kEPERM;
    }
    if (!SameOwner(task, target)) return abi::Errno::kEPERM;
    if (target.sched_reset_on_fork.load() && !w.reset_on_fork) return abi::Errno::kEPERM;
  }
  target.sched_policy.store(w.policy);
  target.sched_priority.store(static_cast<int32_t>(w.priority));
  if (w.set_nice && !RealTime(w.policy)) target.nice.store(w.nice);
  target.sched_reset_on_fork.store(w.reset_on_fork);
  return {};
}

}  // namespace

SyscallResult sys_sched_yield(Task& task) {
  host::SchedYield();
  return 0;
}

SyscallResult sys_sched_setscheduler(Task& task, int32_t pid, int32_t policy,
                                     UserIn<abi::SchedParam> param) {
  if (policy < 0 || param.null() || pid < 0) return abi::Errno::kEINVAL;
  abi::SchedParam p = TRY(param.Fetch(task.mm()));
  base::Ref<Task> t = TRY(Find(task, pid));
  bool reset = (policy & abi::kSCHED_RESET_ON_FORK) != 0;
  return Apply(
      task, *t,
      {policy & ~abi::kSCHED_RESET_ON_FORK, static_cast<uint32_t>(p.priority), 0, false, reset});
}

SyscallResult sys_sched_setparam(Task& task, int32_t pid, UserIn<abi::SchedParam> param) {
  if (param.null() || pid < 0) return abi::Errno::kEINVAL;
  abi::SchedParam p = TRY(param.Fetch(task.mm()));
  base::Ref<Task> t = TRY(Find(task, pid));
  return Apply(task, *t,
               {t->sched_policy.load(), static_cast<uint32_t>(p.priority), 0, false,
                t->sched_reset_on_fork.load()});
}

SyscallResult sys_sched_getscheduler(Task& task, int32_t pid) {
  base::Ref<Task> t = TRY(Find(task, pid));
  return t->sched_policy.load() | (t->sched_reset_on_fork.load() ? abi::kSCHED_RESET_ON_FORK : 0);
}

SyscallResult sys_sched_getparam(Task& task, int32_t pid, UserOut<abi::SchedParam> param) {
  if (param.null() || pid < 0) return abi::Errno::kEINVAL;
  base::Ref<Task> t = TRY(Find(task, pid));
  abi::SchedParam p{RealTime(t->sched_policy.load()) ? t->sched_priority.load() : 0};
  TRY(param.Store(task.mm(), p));
  return 0;
}

SyscallResult sys_sched_setattr(Task& task, int32_t pid, UserAddr attr, uint32_t flags) {
  if (attr.null() || pid < 0 || flags != 0) return abi::Errno::kEINVAL;
  // sched_copy_attr().
  uint32_t size = TRY(UserIn<uint32_t>{attr}.Fetch(task.mm()));
  if (size == 0) size = abi::kSCHED_ATTR_SIZE_VER0;
  auto too_big = [&]() -> base::Error {
    uint32_t known = sizeof(abi::SchedAttr);
    (void)task.mm().CopyOut(attr, &known, sizeof known);
    return abi::Errno::kE2BIG;
  };
  if (size < static_cast<uint32_t>(abi::kSCHED_ATTR_SIZE_VER0) || size > sentry::kPageSize) {
    return too_big();
  }
  std::vector<uint8_t> raw(size);
  TRY(task.mm().CopyIn(raw.data(), attr, size));
  for (uint32_t i = sizeof(abi::SchedAttr); i < size; i++) {
    if (raw[i] != 0) return too_big();
  }
  abi::SchedAttr a{};
  memcpy(&a, raw.data(), std::min<size_t>(size, sizeof a));
  if (static_cast<int32_t>(a.policy) < 0) return abi::Errno::kEINVAL;
  if ((a.flags & ~static_cast<uint64_t>(abi::kSCHED_FLAG_ALL)) != 0) return abi::Errno::kEINVAL;
  base::Ref<Task> t = TRY(Find(task, pid));
  Wanted w{static_cast<int32_t>(a.policy), a.priority,
           std::clamp(a.nice, abi::kMIN_NICE, abi::kMAX_NICE), true,
           (a.flags & abi::kSCHED_FLAG_RESET_ON_FORK) != 0};
  if ((a.flags & abi::kSCHED_FLAG_KEEP_POLICY) != 0) w.policy = t->sched_policy.load();
  if ((a.flags & abi::kSCHED_FLAG_KEEP_PARAMS) != 0) {
    w.priority = static_cast<uint32_t>(t->sched_priority.load());
    w.set_nice = false;
  }
  return Apply(task, *t, w);
}

SyscallResult sys_sched_getattr(Task& task, int32_t pid, UserAddr attr, uint32_t size,
                                uint32_t flags) {
  if (attr.null() || pid < 0 || size > sentry::kPageSize ||
      size < static_cast<uint32_t>(abi::kSCHED_ATTR_SIZE_VER0) || flags != 0) {
    return abi::Errno::kEINVAL;
  }
  base::Ref<Task> t = TRY(Find(task, pid));
  abi::SchedAttr a{};
  a.policy = static_cast<uint32_t>(t->sched_policy.load());
  if (t->sched_reset_on_fork.load()) a.flags |= abi::kSCHED_FLAG_RESET_ON_FORK;
  if (RealTime(t->sched_policy.load())) {
    a.priority = static_cast<uint32_t>(t->sched_priority.load());
  } else {
    a.nice = t->nice.load();
  }
  a.util_max = 1024;
  a.size = std::min<uint32_t>(size, sizeof a);
  TRY(task.mm().CopyOut(attr, &a, a.size));
  return 0;
}

SyscallResult sys_sched_get_priority_max(Task& task, int32_t policy) {
  if (!KnownPolicy(policy)) return abi::Errno::kEINVAL;
  return RealTime(policy) ? 99 : 0;
}

SyscallResult sys_sched_get_priority_min(Task& task, int32_t policy) {
  if (!KnownPolicy(policy)) return abi::Errno::kEINVAL;
  return RealTime(policy) ? 1 : 0;
}

SyscallResult sys_sched_rr_get_interval(Task& task, int32_t pid, UserOut<abi::Timespec> interval) {
  base::Ref<Task> t = TRY(Find(task, pid));
  int32_t policy = t->sched_policy.load();
  // RR_TIMESLICE; a fair task's slice; none for FIFO.
  int64_t ns = policy == abi::kSCHED_RR ? 100000000 : policy == abi::kSCHED_FIFO ? 0 : 4000000;
  TRY(interval.Store(task.mm(), abi::Timespec{0, ns}));
  return 0;
}

SyscallResult sys_sched_setaffinity(Task& task, int32_t pid, uint32_t len, UserAddr mask) {
  uint64_t m = 0;
  TRY(task.mm().CopyIn(&m, mask, std::min<size_t>(len, sizeof m)));
  base::Ref<Task> t = TRY(Find(task, pid));
  if (!SameOwner(task, *t) && !MayNice(task, *t)) return abi::Errno::kEPERM;
  const int n = task.group().container().cpu_count.load(std::memory_order_relaxed);
  uint64_t possible = n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  m &= possible;
  if (m == 0) return abi::Errno::kEINVAL;
  t->set_affinity(m);
  return 0;
}

SyscallResult sys_sched_getaffinity(Task& task, int32_t pid, uint32_t len, UserAddr mask) {
  if (static_cast<uint64_t>(len) * 8 <
          static_cast<uint64_t>(
              task.group().container().cpu_count.load(std::memory_order_relaxed)) ||
      len % 8 != 0) {
    return abi::Errno::kEINVAL;
  }
  // Unlike the calls about policies, a negative id is only one that nobody has.
  if (pid < 0) return abi::Errno::kESRCH;
  base::Ref<Task> t = TRY(Find(task, pid));
  uint64_t m = t->affinity();
  TRY(task.mm().CopyOut(mask, &m, sizeof m));
  return 8;
}

SyscallResult sys_getcpu(Task& task, UserOut<uint32_t> cpu, UserOut<uint32_t> node,
                         UserAddr unused) {
  // Any processor of the mask is a right answer that may be stale at once.
  uint64_t m = task.affinity();
  uint32_t which = m == 0 ? 0 : static_cast<uint32_t>(__builtin_ctzll(m));
  if (!cpu.null()) TRY(cpu.Store(task.mm(), which));
  if (!node.null()) TRY(node.Store(task.mm(), 0));
  return 0;
}

// --- Nice and I/O priority, of a process, a group or a user ---

namespace {

// Calls f for every task that which and who name; under the tree lock. False: none.
template <typename F>
base::Result<void> ForEach(Task& task, int32_t which, int32_t who, F&& f) {
  Kernel& k = task.kernel();
  base::MutexLock l(k.tree_mu);
  const sentry::PidNamespace& ns = *task.pid_ns();
  bool any = false;
  auto visit = [&](Task& t) {
    any = true;
    f(t);
  };
  switch (which) {
    case abi::kPRIO_PROCESS: {
      Task* t = who == 0 ? &task : ns.FindTask(who);
      if (t != nullptr) visit(*t);
      break;
    }
    case abi::kPRIO_PGRP: {
      sentry::ProcessGroup* p = who == 0 ? task.group().pgrp.get() : ns.FindPgrp(who);
      if (p == nullptr) break;
      for (sentry::ThreadGroup* g : p->members) {
        for (Task* t : g->tasks) visit(*t);
      }
      break;
    }
    default: {
      uint32_t uid = who == 0 ? task.creds().uid
                              : task.creds().user_ns->UidToGlobal(static_cast<uint32_t>(who));
      for (Task* t : ns.Tasks()) {
        if (t->creds_ref()->uid == uid) visit(*t);
      }
    }
  }
  if (!any) return abi::Errno::kESRCH;
  return {};
}

}  // namespace

SyscallResult sys_getpriority(Task& task, int32_t which, int32_t who) {
  if (which < abi::kPRIO_PROCESS || which > abi::kPRIO_USER) return abi::Errno::kEINVAL;
  int32_t best = 0;
  TRY(ForEach(task, which, who, [&](Task& t) { best = std::max(best, 20 - t.nice.load()); }));
  return best;
}

SyscallResult sys_setpriority(Task& task, int32_t which, int32_t who, int32_t niceval) {
  if (which < abi::kPRIO_PROCESS || which > abi::kPRIO_USER) return abi::Errno::kEINVAL;
  int32_t nice = std::clamp(niceval, abi::kMIN_NICE, abi::kMAX_NICE);
  base::Result<void> r;
  TRY(ForEach(task, which, who, [&](Task& t) {
    // set_one_prio().
    base::Ref<const sentry::Creds> c = t.creds_ref();
    if (c->uid != task.creds().euid && c->euid != task.creds().euid && !MayNice(task, t)) {
      r = abi::Errno::kEPERM;
    } else if (nice < t.nice.load() && !NiceAllowed(task, t, nice)) {
      r = abi::Errno::kEACCES;
    } else {
      t.nice.store(nice);
    }
  }));
  return r;
}

SyscallResult sys_ioprio_set(Task& task, int32_t which, int32_t who, int32_t ioprio) {
  int32_t cls = ioprio >> abi::kIOPRIO_CLASS_SHIFT & 7;
  int32_t level = ioprio & 7;
  switch (cls) {
    case abi::kIOPRIO_CLASS_RT:
      if (!task.creds().Has(abi::kCAP_SYS_ADMIN) && !task.creds().Has(abi::kCAP_SYS_NICE)) {
        return abi::Errno::kEPERM;
      }
      break;
    case abi::kIOPRIO_CLASS_BE:
    case abi::kIOPRIO_CLASS_IDLE:
      break;
    case abi::kIOPRIO_CLASS_NONE:
      if (level != 0) return abi::Errno::kEINVAL;
      break;
    default:
      return abi::Errno::kEINVAL;
  }
  if (which < abi::kIOPRIO_WHO_PROCESS || which > abi::kIOPRIO_WHO_USER) {
    return abi::Errno::kEINVAL;
  }
  base::Result<void> r;
  TRY(ForEach(task, which - abi::kIOPRIO_WHO_PROCESS, who, [&](Task& t) {
    base::Ref<const sentry::Creds> c = t.creds_ref();
    if (c->uid != task.creds().euid && c->uid != task.creds().uid && !MayNice(task, t)) {
      r = abi::Errno::kEPERM;
    } else {
      t.ioprio.store(ioprio);
    }
  }));
  return r;
}

SyscallResult sys_ioprio_get(Task& task, int32_t which, int32_t who) {
  if (which < abi::kIOPRIO_WHO_PROCESS || which > abi::kIOPRIO_WHO_USER) {
    return abi::Errno::kEINVAL;
  }
  bool first = true;
  int32_t best = 0;
  TRY(ForEach(task, which - abi::kIOPRIO_WHO_PROCESS, who, [&](Task& t) {
    int32_t p = t.ioprio.load();
    if (p == 0 && which != abi::kIOPRIO_WHO_PROCESS) {
      p = abi::kIOPRIO_CLASS_BE << abi::kIOPRIO_CLASS_SHIFT | 4;
    }
    best = first ? p : std::min(best, p);
    first = false;
  }));
  return best;
}

}  // namespace syscalls
