// clone(2), clone3(2), fork(2), vfork(2), set_tid_address(2), unshare(2), setns(2): kernel/fork.c,
// kernel/nsproxy.c.
#include "absl/container/inlined_vector.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns_file.h"
#include "sentry/kernel/pidfd.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::CloneArgs;
using sentry::Kernel;
using sentry::NamespaceFile;
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

namespace {

// What setns(2) enters; null: not asked for.
struct NsSet {
  base::Ref<sentry::UserNamespace> user;
  base::Ref<sentry::MountNamespace> mounts;
  base::Ref<sentry::UtsNamespace> uts;
  base::Ref<sentry::IpcNamespace> ipc;
  base::Ref<sentry::NetNamespace> net;
  base::Ref<sentry::PidNamespace> pids;

  void Add(const NamespaceFile::Ns& ns) {
    switch (ns.kind.type) {
      case abi::kCLONE_NEWUSER:
        user = base::StaticRefCast<sentry::UserNamespace>(ns.object);
        break;
      case abi::kCLONE_NEWNS:
        mounts = base::StaticRefCast<sentry::MountNamespace>(ns.object);
        break;
      case abi::kCLONE_NEWUTS:
        uts = base::StaticRefCast<sentry::UtsNamespace>(ns.object);
        break;
      case abi::kCLONE_NEWIPC:
        ipc = base::StaticRefCast<sentry::IpcNamespace>(ns.object);
        break;
      case abi::kCLONE_NEWNET:
        net = base::StaticRefCast<sentry::NetNamespace>(ns.object);
        break;
      case abi::kCLONE_NEWPID:
        pids = base::StaticRefCast<sentry::PidNamespace>(ns.object);
        break;
      default:
        break;  // of the others there is one only
    }
  }
};

// validate_nsset() and commit_nsset().
SyscallResult EnterNamespaces(Task& task, const NsSet& set,
                              std::span<const base::Ref<sentry::UserNamespace>> owners) {
  base::Ref<const sentry::Creds> creds(&task.creds());
  if (set.user) {
    // userns_install().
    if (set.user == creds->user_ns) return abi::Errno::kEINVAL;
    {
      base::MutexLock l(task.group().signal_mu);
      if (task.group().tasks.size() > 1) return abi::Errno::kEINVAL;
    }
    if (task.fs_ref()->RefCount() > 2) return abi::Errno::kEINVAL;
    if (!creds->HasIn(*set.user, abi::kCAP_SYS_ADMIN)) return abi::Errno::kEPERM;
    auto n = base::MakeRef<sentry::Creds>(*creds);
    n->user_ns = set.user;
    n->permitted = n->effective = n->bounding = abi::kCapFullSet;
    n->inheritable = n->ambient = 0;
    n->securebits = 0;
    creds = std::move(n);
  }
  for (const base::Ref<sentry::UserNamespace>& owner : owners) {
    if (!creds->Has(abi::kCAP_SYS_ADMIN) || !creds->HasIn(*owner, abi::kCAP_SYS_ADMIN))
      return abi::Errno::kEPERM;
  }
  if (set.mounts && !creds->Has(abi::kCAP_SYS_CHROOT)) return abi::Errno::kEPERM;
  if (set.mounts && task.fs_ref()->RefCount() > 2) return abi::Errno::kEINVAL;
  if (set.pids && !set.pids->IsWithin(*task.pid_ns())) return abi::Errno::kEINVAL;
  if (set.mounts) {
    const sentry::Path root = set.mounts->root();
    task.set_mounts(set.mounts);
    task.fs().set_root(root);
    task.fs().set_cwd(root);
  }
  if (set.uts) task.set_uts_ns(set.uts);
  if (set.ipc) task.set_ipc_ns(set.ipc);
  if (set.net) task.set_net_ns(set.net);
  if (set.pids) task.child_pid_ns = set.pids;
  if (set.user) task.set_creds(creds);
  return 0;
}

}  // namespace

SyscallResult sys_setns(Task& task, int32_t fd, int32_t nstype) {
  base::Ref<sentry::File> file = TRY(task.fds().Get(fd));
  const uint64_t flags = static_cast<uint32_t>(nstype);
  NsSet set;
  absl::InlinedVector<base::Ref<sentry::UserNamespace>, 8> owners;
  auto add = [&](const NamespaceFile::Ns& ns) {
    set.Add(ns);
    if (ns.kind.type != abi::kCLONE_NEWUSER) owners.push_back(ns.owner);
  };
  if (auto* ns = sentry::FileCast<NamespaceFile>(file.get())) {
    if (flags != 0 && flags != ns->ns().kind.type) return abi::Errno::kEINVAL;
    add(ns->ns());
    return EnterNamespaces(task, set, owners);
  }
  PidFd* pidfd = sentry::FileCast<PidFd>(file.get());
  if (pidfd == nullptr) return abi::Errno::kEINVAL;
  uint64_t all = 0;
  for (const NamespaceFile::Kind& k : NamespaceFile::Kinds()) all |= k.type;
  if (flags == 0 || (flags & ~all) != 0) return abi::Errno::kEINVAL;
  Kernel& k = task.kernel();
  base::Ref<Task> target;
  {
    base::MutexLock l(k.tree_mu);
    sentry::ThreadGroup& g = pidfd->group();
    if (g.zombie || g.leader == nullptr) return abi::Errno::kESRCH;
    target = base::Ref<Task>(g.leader);
  }
  for (const NamespaceFile::Kind& kind : NamespaceFile::Kinds()) {
    if ((flags & kind.type) == 0) continue;
    const NamespaceFile::Ns ns = NamespaceFile::Of(*target, kind);
    if (!ns.object) return abi::Errno::kESRCH;
    add(ns);
  }
  return EnterNamespaces(task, set, owners);
}

}  // namespace syscalls
