// clone(2), clone3(2), fork(2), vfork(2), set_tid_address(2), unshare(2), setns(2): kernel/fork.c,
// kernel/nsproxy.c.
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::CloneArgs;
using sentry::Kernel;
using sentry::PidFd;

SyscallResult Clone(Task& task, const CloneArgs& a) {
  // kernel_clone(): the two would be written to one place.
  if ((a.flags & abi::kCLONE_PIDFD) != 0 && (a.flags & abi::kCLONE_PARENT_SETTID) != 0 &&
      a.pidfd == a.parent_tid) {
    return abi::Errno::kEINVAL;
  }
  return task.kernel().Clone(task, a);
}

}  // namespace

SyscallResult sys_fork(Task& task) {
  CloneArgs a;
  a.exit_signal = abi::kSIGCHLD;
  return Clone(task, a);
}

SyscallResult sys_vfork(Task& task) {
  CloneArgs a;
  a.flags = abi::kCLONE_VFORK | abi::kCLONE_VM;
  a.exit_signal = abi::kSIGCHLD;
  return Clone(task, a);
}

SyscallResult sys_clone(Task& task, uint64_t flags, UserAddr stack, UserInOut<int32_t> parent_tid,
                        UserInOut<int32_t> child_tid, uint64_t tls) {
  CloneArgs a;
  a.flags = flags & 0xffffffff & ~abi::kCSIGNAL;
  a.exit_signal = static_cast<int>(flags & abi::kCSIGNAL);
  a.stack = stack.value;
  a.tls = tls;
  a.parent_tid = a.pidfd = parent_tid.addr.value;
  a.child_tid = child_tid.addr.value;
  return Clone(task, a);
}

SyscallResult sys_clone3(Task& task, UserAddr addr, uint64_t size) {
  // copy_clone_args_from_user() and clone3_args_valid().
  abi::CloneArgs u{};
  if (size > sentry::kPageSize) return abi::Errno::kE2BIG;
  if (size < static_cast<uint64_t>(abi::kCLONE_ARGS_SIZE_VER0)) return abi::Errno::kEINVAL;
  uint8_t raw[sentry::kPageSize];
  TRY(task.mm().CopyIn(raw, addr, size));
  for (uint64_t i = sizeof u; i < size; i++) {
    if (raw[i] != 0) return abi::Errno::kE2BIG;
  }
  __builtin_memcpy(&u, raw, size < sizeof u ? size : sizeof u);
  if (u.set_tid_size > abi::kMAX_PID_NS_LEVEL) return abi::Errno::kEINVAL;
  if ((u.set_tid == 0) != (u.set_tid_size == 0)) return abi::Errno::kEINVAL;
  if ((u.exit_signal & ~abi::kCSIGNAL) != 0 || !sentry::ValidSignal(u.exit_signal)) {
    return abi::Errno::kEINVAL;
  }
  if ((u.flags & abi::kCLONE_INTO_CGROUP) != 0 &&
      (u.cgroup > INT32_MAX || size < static_cast<uint64_t>(abi::kCLONE_ARGS_SIZE_VER2))) {
    return abi::Errno::kEINVAL;
  }
  CloneArgs a;
  for (uint64_t i = 0; i < u.set_tid_size; i++) {
    a.set_tid.push_back(TRY(UserIn<int32_t>{UserAddr{u.set_tid + i * 4}}.Fetch(task.mm())));
  }
  constexpr uint64_t kKnown = 0xffffffff | abi::kCLONE_CLEAR_SIGHAND | abi::kCLONE_INTO_CGROUP;
  if ((u.flags & ~kKnown) != 0) return abi::Errno::kEINVAL;
  // CSIGNAL's bits are free here but for CLONE_NEWTIME.
  if ((u.flags & (abi::kCLONE_DETACHED | (abi::kCSIGNAL & ~abi::kCLONE_NEWTIME))) != 0) {
    return abi::Errno::kEINVAL;
  }
  constexpr uint64_t kBoth = abi::kCLONE_SIGHAND | abi::kCLONE_CLEAR_SIGHAND;
  if ((u.flags & kBoth) == kBoth) return abi::Errno::kEINVAL;
  if ((u.flags & (abi::kCLONE_THREAD | abi::kCLONE_PARENT)) != 0 && u.exit_signal != 0) {
    return abi::Errno::kEINVAL;
  }
  if (u.stack == 0) {
    if (u.stack_size != 0) return abi::Errno::kEINVAL;
  } else if (u.stack_size == 0 || u.stack + u.stack_size < u.stack ||
             u.stack + u.stack_size > 0x7ffffffff000) {
    return abi::Errno::kEINVAL;
  }
  // No cgroup file system, so no descriptor of one.
  if ((u.flags & abi::kCLONE_INTO_CGROUP) != 0) return abi::Errno::kEBADF;
  a.flags = u.flags;
  a.exit_signal = static_cast<int>(u.exit_signal);
  a.stack = u.stack == 0 ? 0 : u.stack + u.stack_size;
  a.tls = u.tls;
  a.parent_tid = u.parent_tid;
  a.child_tid = u.child_tid;
  a.pidfd = u.pidfd;
  return Clone(task, a);
}

SyscallResult sys_set_tid_address(Task& task, UserAddr tidptr) {
  task.clear_child_tid.store(tidptr.value, std::memory_order_relaxed);
  return task.tid();
}

SyscallResult sys_unshare(Task& task, uint64_t flags) { return task.kernel().Unshare(task, flags); }

SyscallResult sys_setns(Task& task, int32_t fd, int32_t nstype) {
  base::Ref<sentry::File> file = TRY(task.fds().Get(fd));
  PidFd* pidfd = sentry::FileCast<PidFd>(file.get());
  if (pidfd == nullptr) return abi::Errno::kEINVAL;
  constexpr uint64_t kAll = abi::kCLONE_NEWNS | abi::kCLONE_NEWUTS | abi::kCLONE_NEWIPC |
                            abi::kCLONE_NEWPID | abi::kCLONE_NEWNET | abi::kCLONE_NEWCGROUP |
                            abi::kCLONE_NEWUSER;
  uint64_t flags = static_cast<uint32_t>(nstype);
  if (flags == 0 || (flags & ~kAll) != 0) return abi::Errno::kEINVAL;
  Kernel& k = task.kernel();
  base::Ref<Task> target;
  base::Ref<sentry::PidNamespace> pids;
  {
    base::MutexLock l(k.tree_mu);
    sentry::ThreadGroup& g = pidfd->group();
    if (g.zombie || g.leader == nullptr) return abi::Errno::kESRCH;
    target = base::Ref<Task>(g.leader);
    pids = target->pid_ns();
  }
  const sentry::Creds& c = task.creds();
  base::Ref<const sentry::Creds> tc = target->creds_ref();
  if ((flags & abi::kCLONE_NEWUSER) != 0) {
    // userns_install().
    if (tc->user_ns == c.user_ns) return abi::Errno::kEINVAL;
    {
      base::MutexLock l(task.group().signal_mu);
      if (task.group().tasks.size() > 1) return abi::Errno::kEINVAL;
    }
    if (!c.HasIn(*tc->user_ns, abi::kCAP_SYS_ADMIN)) return abi::Errno::kEPERM;
  } else if (!c.Has(abi::kCAP_SYS_ADMIN) || !c.HasIn(*tc->user_ns, abi::kCAP_SYS_ADMIN)) {
    return abi::Errno::kEPERM;
  }
  if ((flags & abi::kCLONE_NEWPID) != 0 && !pids->IsWithin(*task.pid_ns())) {
    return abi::Errno::kEINVAL;
  }
  base::Ref<sentry::MountNamespace> mounts = target->mounts_ref();
  auto uts = target->uts_ns();
  auto ipc = target->ipc_ns();
  auto net = target->net_ns();
  if (!mounts) return abi::Errno::kESRCH;
  if ((flags & abi::kCLONE_NEWUSER) != 0) {
    auto n = base::MakeRef<sentry::Creds>(c);
    n->user_ns = tc->user_ns;
    n->permitted = n->effective = n->bounding = abi::kCapFullSet;
    n->inheritable = n->ambient = 0;
    n->securebits = 0;
    task.set_creds(n);
  }
  if ((flags & abi::kCLONE_NEWNS) != 0) {
    if (task.fs_ref()->RefCount() > 2) return abi::Errno::kEINVAL;
    sentry::Path root = mounts->root();
    task.set_mounts(mounts);
    task.fs().set_root(root);
    task.fs().set_cwd(root);
  }
  if ((flags & abi::kCLONE_NEWUTS) != 0) task.set_uts_ns(uts);
  if ((flags & abi::kCLONE_NEWIPC) != 0) task.set_ipc_ns(ipc);
  if ((flags & abi::kCLONE_NEWNET) != 0) task.set_net_ns(net);
  if ((flags & abi::kCLONE_NEWPID) != 0) task.child_pid_ns = pids;
  return 0;
}

}  // namespace syscalls
