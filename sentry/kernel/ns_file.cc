#include "sentry/kernel/ns_file.h"

#include "sentry/vfs/fd_table.h"
#include "syscalls/abi/sched.h"

namespace sentry {
namespace {

class NsSuperblock : public Superblock {
 public:
  NsSuperblock() : Superblock("nsfs") {}
  base::Result<FsStat> Statfs() override {
    FsStat s;
    s.type = 0x6e736673;  // NSFS_MAGIC
    return s;
  }
  static const base::Ref<Superblock>& Get() {
    static auto* sb = new base::Ref<Superblock>(base::MakeRef<NsSuperblock>());
    return *sb;
  }
};

class NsInode : public Inode {
 public:
  explicit NsInode(uint32_t number) : Inode(NsSuperblock::Get(), abi::kS_IFREG, number) {}
  Perm perm() override { return {abi::kS_IFREG | 0444, 0, 0}; }
  base::Result<Kstat> Getattr() override {
    Kstat k;
    k.dev = sb().dev();
    k.ino = ino();
    k.mode = abi::kS_IFREG | 0444;
    k.atime = k.mtime = k.ctime = Now();
    return k;
  }
};

}  // namespace

std::span<const NamespaceFile::Kind> NamespaceFile::Kinds() {
  static constexpr Kind kKinds[] = {
      {"cgroup", abi::kCLONE_NEWCGROUP}, {"ipc", abi::kCLONE_NEWIPC}, {"mnt", abi::kCLONE_NEWNS},
      {"net", abi::kCLONE_NEWNET},       {"pid", abi::kCLONE_NEWPID}, {"time", abi::kCLONE_NEWTIME},
      {"user", abi::kCLONE_NEWUSER},     {"uts", abi::kCLONE_NEWUTS},
  };
  return kKinds;
}

uint32_t NamespaceFile::Ns::number() const {
  // The look of Linux's numbers, from the object's address.
  return 4026531840U +
         static_cast<uint32_t>(reinterpret_cast<uintptr_t>(object.get()) >> 4) % 100000;
}

std::string NamespaceFile::Ns::text() const {
  return std::string(kind.name) + ":[" + std::to_string(number()) + "]";
}

NamespaceFile::Ns NamespaceFile::Of(Task& t, const Kind& kind) {
  auto with = [&](const auto& object, const base::Ref<UserNamespace>& owner) {
    return Ns{kind, base::Ref<base::RefCounted>(object.get()), owner};
  };
  switch (kind.type) {
    case abi::kCLONE_NEWIPC:
      if (auto n = t.ipc_ns()) return with(n, n->owner());
      break;
    case abi::kCLONE_NEWNS:
      if (auto n = t.mounts_ref()) return with(n, n->owner());
      break;
    case abi::kCLONE_NEWNET:
      if (auto n = t.net_ns()) return with(n, n->owner());
      break;
    case abi::kCLONE_NEWPID:
      return with(t.pid_ns(), t.pid_ns()->owner());
    case abi::kCLONE_NEWUSER: {
      base::Ref<UserNamespace> n = t.creds_ref()->user_ns;
      return with(n, n->parent() ? n->parent() : n);
    }
    case abi::kCLONE_NEWUTS:
      if (auto n = t.uts_ns()) return with(n, n->owner);
      break;
    default:
      return with(t.kernel().root_user_ns(), t.kernel().root_user_ns());
  }
  return Ns{kind, nullptr, nullptr};
}

base::Ref<Inode> NamespaceFile::NewInode(const Ns& ns) {
  return base::MakeRef<NsInode>(ns.number());
}

base::Ref<NamespaceFile> NamespaceFile::Make(const Ns& ns, uint32_t flags) {
  return base::MakeRef<NamespaceFile>(NewInode(ns), ns, flags);
}

base::Result<base::Ref<File>> NamespaceFile::Reopen(const OpenFlags& how) {
  if (how.writable()) return abi::Errno::kEPERM;
  return base::Ref<File>(Make(ns_, how.flags));
}

// ns_ioctl().
base::Result<uint64_t> NamespaceFile::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  auto kind_of = [](uint64_t type) {
    for (const Kind& k : Kinds()) {
      if (k.type == type) return k;
    }
    return Kinds()[0];
  };
  auto open_user = [&](const base::Ref<UserNamespace>& n) -> base::Result<uint64_t> {
    // Only what is the caller's own or below it (ns_get_owner()).
    const UserNamespace* up = n.get();
    while (up != nullptr && up != task.creds().user_ns.get()) up = up->parent().get();
    if (up == nullptr) return abi::Errno::kEPERM;
    Ns user{kind_of(abi::kCLONE_NEWUSER), n, n->parent() ? n->parent() : n};
    return static_cast<uint64_t>(
        TRY(task.fds().Install(Make(user, abi::kO_RDONLY), true, task.FileLimit())));
  };
  switch (cmd) {
    case abi::kNS_GET_USERNS:
      return open_user(ns_.owner);
    case abi::kNS_GET_PARENT:
      if (ns_.kind.type == abi::kCLONE_NEWUSER) {
        const auto& parent = static_cast<UserNamespace&>(*ns_.object).parent();
        if (!parent) return abi::Errno::kEPERM;
        return open_user(parent);
      }
      if (ns_.kind.type == abi::kCLONE_NEWPID) {
        const auto& parent = static_cast<PidNamespace&>(*ns_.object).parent();
        if (!parent || !parent->IsWithin(*task.pid_ns())) return abi::Errno::kEPERM;
        Ns pid{ns_.kind, parent, parent->owner()};
        return static_cast<uint64_t>(
            TRY(task.fds().Install(Make(pid, abi::kO_RDONLY), true, task.FileLimit())));
      }
      return abi::Errno::kEINVAL;
    case abi::kNS_GET_NSTYPE:
      return ns_.kind.type;
    case abi::kNS_GET_OWNER_UID: {
      if (ns_.kind.type != abi::kCLONE_NEWUSER) return abi::Errno::kEINVAL;
      const auto& n = static_cast<UserNamespace&>(*ns_.object);
      const uint32_t uid = task.creds().user_ns->UidFromGlobal(n.owner_uid());
      TRY(UserOut<uint32_t>{arg}.Store(task.mm(), uid == UINT32_MAX ? kOverflowId : uid));
      return uint64_t{0};
    }
    default:
      return abi::Errno::kENOTTY;
  }
}

}  // namespace sentry
