#include "sentry/ipc/ids.h"

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/capability.h"

namespace sentry {

base::Result<void> IpcPerms::Check(const Creds& c, const UserNamespace& owner,
                                   uint32_t mask) const {
  uint32_t wanted = ((mask >> 6) | (mask >> 3) | mask) & 7;
  uint32_t granted = mode;
  if (c.euid == cuid || c.euid == uid) {
    granted >>= 6;
  } else if (c.InGroup(cgid) || c.InGroup(gid)) {
    granted >>= 3;
  }
  if ((wanted & ~granted) == 0 || c.HasIn(owner, abi::kCAP_IPC_OWNER)) return {};
  return abi::Errno::kEACCES;
}

base::Result<void> IpcPerms::CheckOwner(const Creds& c, const UserNamespace& owner) const {
  if (c.euid == cuid || c.euid == uid || c.HasIn(owner, abi::kCAP_SYS_ADMIN)) return {};
  return abi::Errno::kEPERM;
}

base::Result<void> IpcPerms::Update(const Creds& c, const abi::IpcPerm& in) {
  uint32_t u = c.user_ns->UidToGlobal(in.uid), g = c.user_ns->GidToGlobal(in.gid);
  if (u == UINT32_MAX || g == UINT32_MAX) return abi::Errno::kEINVAL;
  uid = u;
  gid = g;
  mode = in.mode & 0777;
  return {};
}

abi::IpcPerm IpcPerms::Show(const Creds& c) const {
  auto user = [&](uint32_t id) {
    uint32_t v = c.user_ns->UidFromGlobal(id);
    return v == UINT32_MAX ? kOverflowId : v;
  };
  auto group = [&](uint32_t id) {
    uint32_t v = c.user_ns->GidFromGlobal(id);
    return v == UINT32_MAX ? kOverflowId : v;
  };
  abi::IpcPerm p{};
  p.key = key;
  p.uid = user(uid);
  p.gid = group(gid);
  p.cuid = user(cuid);
  p.cgid = group(cgid);
  p.mode = mode;
  p.seq = seq;
  return p;
}

int32_t ShowPid(const Task& reader, int32_t root_tgid) {
  if (root_tgid == 0 || reader.pid_ns()->level() == 0) return root_tgid;
  Kernel& k = reader.kernel();
  base::MutexLock l(k.tree_mu);
  ThreadGroup* g = k.root_pid_ns()->FindGroup(root_tgid);
  return g == nullptr ? 0 : reader.pid_ns()->IdOf(*g);
}

int64_t IpcNow() { return HostClock().Realtime() / 1000000000; }

}  // namespace sentry
