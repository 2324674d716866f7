// Credentials: kernel/sys.c, kernel/groups.c, kernel/capability.c, security/commoncap.c.
#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::CapSet;
using sentry::Creds;

constexpr uint32_t kKeep = UINT32_MAX;  // -1: leave it
constexpr int32_t kMaxGroups = 65536;   // NGROUPS_MAX
constexpr CapSet kFsCaps = abi::CapBit(abi::kCAP_CHOWN) | abi::CapBit(abi::kCAP_MKNOD) |
                           abi::CapBit(abi::kCAP_DAC_OVERRIDE) |
                           abi::CapBit(abi::kCAP_DAC_READ_SEARCH) | abi::CapBit(abi::kCAP_FOWNER) |
                           abi::CapBit(abi::kCAP_FSETID) | abi::CapBit(abi::kCAP_LINUX_IMMUTABLE) |
                           abi::CapBit(abi::kCAP_MAC_OVERRIDE);

uint32_t ShowUid(const Task& t, uint32_t uid) {
  uint32_t id = t.creds().user_ns->UidFromGlobal(uid);
  return id == UINT32_MAX ? sentry::kOverflowId : id;
}
uint32_t ShowGid(const Task& t, uint32_t gid) {
  uint32_t id = t.creds().user_ns->GidFromGlobal(gid);
  return id == UINT32_MAX ? sentry::kOverflowId : id;
}

// cap_emulate_setxuid(), and the fsuid half of cap_task_fix_setuid().
void FixCaps(const Creds& old, Creds* c) {
  uint32_t root = old.user_ns->UidToGlobal(0);
  uint32_t bits = old.securebits;
  if ((bits & abi::kSECBIT_NO_SETUID_FIXUP) != 0) return;
  bool was = old.uid == root || old.euid == root || old.suid == root;
  if (was && c->uid != root && c->euid != root && c->suid != root) {
    if ((bits & abi::kSECBIT_KEEP_CAPS) == 0) {
      c->permitted = 0;
      c->effective = 0;
    }
    c->ambient = 0;
  }
  if (old.euid == root && c->euid != root) c->effective = 0;
  if (old.euid != root && c->euid == root) c->effective = c->permitted;
}

// commit_creds(): a change of ids makes the process undumpable and forgets the death signal.
SyscallResult Commit(Task& task, base::Ref<Creds> c) {
  const Creds& o = task.creds();
  if (o.euid != c->euid || o.egid != c->egid || o.fsuid != c->fsuid || o.fsgid != c->fsgid ||
      (c->permitted & ~o.permitted) != 0) {
    task.mm().dumpable.store(false);
    task.pdeath_signal.store(0);
  }
  task.set_creds(std::move(c));
  return 0;
}

}  // namespace

SyscallResult sys_getuid(Task& task) { return ShowUid(task, task.creds().uid); }
SyscallResult sys_geteuid(Task& task) { return ShowUid(task, task.creds().euid); }
SyscallResult sys_getgid(Task& task) { return ShowGid(task, task.creds().gid); }
SyscallResult sys_getegid(Task& task) { return ShowGid(task, task.creds().egid); }

SyscallResult sys_getresuid(Task& task, UserOut<uint32_t> ruid, UserOut<uint32_t> euid,
                            UserOut<uint32_t> suid) {
  const Creds& c = task.creds();
  TRY(ruid.Store(task.mm(), ShowUid(task, c.uid)));
  TRY(euid.Store(task.mm(), ShowUid(task, c.euid)));
  TRY(suid.Store(task.mm(), ShowUid(task, c.suid)));
  return 0;
}

SyscallResult sys_getresgid(Task& task, UserOut<uint32_t> rgid, UserOut<uint32_t> egid,
                            UserOut<uint32_t> sgid) {
  const Creds& c = task.creds();
  TRY(rgid.Store(task.mm(), ShowGid(task, c.gid)));
  TRY(egid.Store(task.mm(), ShowGid(task, c.egid)));
  TRY(sgid.Store(task.mm(), ShowGid(task, c.sgid)));
  return 0;
}

SyscallResult sys_setuid(Task& task, uint32_t uid) {
  const Creds& o = task.creds();
  uint32_t id = uid == kKeep ? UINT32_MAX : o.user_ns->UidToGlobal(uid);
  if (id == UINT32_MAX) return abi::Errno::kEINVAL;
  auto c = base::MakeRef<Creds>(o);
  if (o.Has(abi::kCAP_SETUID)) {
    c->uid = c->suid = id;
  } else if (id != o.uid && id != o.suid) {
    return abi::Errno::kEPERM;
  }
  c->euid = c->fsuid = id;
  FixCaps(o, c.get());
  return Commit(task, std::move(c));
}

SyscallResult sys_setgid(Task& task, uint32_t gid) {
  const Creds& o = task.creds();
  uint32_t id = gid == kKeep ? UINT32_MAX : o.user_ns->GidToGlobal(gid);
  if (id == UINT32_MAX) return abi::Errno::kEINVAL;
  auto c = base::MakeRef<Creds>(o);
  if (o.Has(abi::kCAP_SETGID)) {
    c->gid = c->egid = c->sgid = c->fsgid = id;
  } else if (id == o.gid || id == o.sgid) {
    c->egid = c->fsgid = id;
  } else {
    return abi::Errno::kEPERM;
  }
  return Commit(task, std::move(c));
}

SyscallResult sys_setreuid(Task& task, uint32_t ruid, uint32_t euid) {
  const Creds& o = task.creds();
  uint32_t r = ruid == kKeep ? kKeep : o.user_ns->UidToGlobal(ruid);
  uint32_t e = euid == kKeep ? kKeep : o.user_ns->UidToGlobal(euid);
  if ((ruid != kKeep && r == UINT32_MAX) || (euid != kKeep && e == UINT32_MAX)) {
    return abi::Errno::kEINVAL;
  }
  bool cap = o.Has(abi::kCAP_SETUID);
  auto c = base::MakeRef<Creds>(o);
  if (ruid != kKeep) {
    c->uid = r;
    if (o.uid != r && o.euid != r && !cap) return abi::Errno::kEPERM;
  }
  if (euid != kKeep) {
    c->euid = e;
    if (o.uid != e && o.euid != e && o.suid != e && !cap) return abi::Errno::kEPERM;
  }
  if (ruid != kKeep || (euid != kKeep && e != o.uid)) c->suid = c->euid;
  c->fsuid = c->euid;
  FixCaps(o, c.get());
  return Commit(task, std::move(c));
}

SyscallResult sys_setregid(Task& task, uint32_t rgid, uint32_t egid) {
  const Creds& o = task.creds();
  uint32_t r = rgid == kKeep ? kKeep : o.user_ns->GidToGlobal(rgid);
  uint32_t e = egid == kKeep ? kKeep : o.user_ns->GidToGlobal(egid);
  if ((rgid != kKeep && r == UINT32_MAX) || (egid != kKeep && e == UINT32_MAX)) {
    return abi::Errno::kEINVAL;
  }
  bool cap = o.Has(abi::kCAP_SETGID);
  auto c = base::MakeRef<Creds>(o);
  if (rgid != kKeep) {
    if (o.gid != r && o.egid != r && !cap) return abi::Errno::kEPERM;
    c->gid = r;
  }
  if (egid != kKeep) {
    if (o.gid != e && o.egid != e && o.sgid != e && !cap) return abi::Errno::kEPERM;
    c->egid = e;
  }
  if (rgid != kKeep || (egid != kKeep && e != o.gid)) c->sgid = c->egid;
  c->fsgid = c->egid;
  return Commit(task, std::move(c));
}

SyscallResult sys_setresuid(Task& task, uint32_t ruid, uint32_t euid, uint32_t suid) {
  const Creds& o = task.creds();
  uint32_t asked[3] = {ruid, euid, suid}, id[3];
  for (int i = 0; i < 3; i++) {
    id[i] = asked[i] == kKeep ? kKeep : o.user_ns->UidToGlobal(asked[i]);
    if (asked[i] != kKeep && id[i] == UINT32_MAX) return abi::Errno::kEINVAL;
  }
  if (!o.Has(abi::kCAP_SETUID)) {
    for (int i = 0; i < 3; i++) {
      if (asked[i] != kKeep && id[i] != o.uid && id[i] != o.euid && id[i] != o.suid) {
        return abi::Errno::kEPERM;
      }
    }
  }
  auto c = base::MakeRef<Creds>(o);
  if (ruid != kKeep) c->uid = id[0];
  if (euid != kKeep) c->euid = id[1];
  if (suid != kKeep) c->suid = id[2];
  c->fsuid = c->euid;
  FixCaps(o, c.get());
  return Commit(task, std::move(c));
}

SyscallResult sys_setresgid(Task& task, uint32_t rgid, uint32_t egid, uint32_t sgid) {
  const Creds& o = task.creds();
  uint32_t asked[3] = {rgid, egid, sgid}, id[3];
  for (int i = 0; i < 3; i++) {
    id[i] = asked[i] == kKeep ? kKeep : o.user_ns->GidToGlobal(asked[i]);
    if (asked[i] != kKeep && id[i] == UINT32_MAX) return abi::Errno::kEINVAL;
  }
  if (!o.Has(abi::kCAP_SETGID)) {
    for (int i = 0; i < 3; i++) {
      if (asked[i] != kKeep && id[i] != o.gid && id[i] != o.egid && id[i] != o.sgid) {
        return abi::Errno::kEPERM;
      }
    }
  }
  auto c = base::MakeRef<Creds>(o);
  if (rgid != kKeep) c->gid = id[0];
  if (egid != kKeep) c->egid = id[1];
  if (sgid != kKeep) c->sgid = id[2];
  c->fsgid = c->egid;
  return Commit(task, std::move(c));
}

SyscallResult sys_setfsuid(Task& task, uint32_t uid) {
  const Creds& o = task.creds();
  uint32_t old = ShowUid(task, o.fsuid);
  uint32_t id = uid == kKeep ? UINT32_MAX : o.user_ns->UidToGlobal(uid);
  if (id == UINT32_MAX || id == o.fsuid) return old;
  if (id != o.uid && id != o.euid && id != o.suid && !o.Has(abi::kCAP_SETUID)) return old;
  auto c = base::MakeRef<Creds>(o);
  c->fsuid = id;
  uint32_t root = o.user_ns->UidToGlobal(0);
  if ((o.securebits & abi::kSECBIT_NO_SETUID_FIXUP) == 0) {
    if (o.fsuid == root && id != root) c->effective &= ~kFsCaps;
    if (o.fsuid != root && id == root) c->effective |= c->permitted & kFsCaps;
  }
  (void)Commit(task, std::move(c));
  return old;
}

SyscallResult sys_setfsgid(Task& task, uint32_t gid) {
  const Creds& o = task.creds();
  uint32_t old = ShowGid(task, o.fsgid);
  uint32_t id = gid == kKeep ? UINT32_MAX : o.user_ns->GidToGlobal(gid);
  if (id == UINT32_MAX || id == o.fsgid) return old;
  if (id != o.gid && id != o.egid && id != o.sgid && !o.Has(abi::kCAP_SETGID)) return old;
  auto c = base::MakeRef<Creds>(o);
  c->fsgid = id;
  (void)Commit(task, std::move(c));
  return old;
}

SyscallResult sys_getgroups(Task& task, int32_t size, UserAddr list) {
  if (size < 0) return abi::Errno::kEINVAL;
  const Creds& c = task.creds();
  int32_t n = static_cast<int32_t>(c.groups.size());
  if (size == 0) return n;
  if (n > size) return abi::Errno::kEINVAL;
  std::vector<uint32_t> shown;
  for (uint32_t g : c.groups) shown.push_back(ShowGid(task, g));
  TRY(task.mm().CopyOut(list, shown.data(), shown.size() * sizeof shown[0]));
  return n;
}

SyscallResult sys_setgroups(Task& task, int32_t size, UserAddr list) {
  const Creds& o = task.creds();
  if (!o.Has(abi::kCAP_SETGID)) return abi::Errno::kEPERM;
  if (o.user_ns->parent() && (o.user_ns->gid_map.empty() || !o.user_ns->setgroups_allowed)) {
    return abi::Errno::kEPERM;
  }
  if (static_cast<uint32_t>(size) > static_cast<uint32_t>(kMaxGroups)) return abi::Errno::kEINVAL;
  std::vector<uint32_t> groups(static_cast<size_t>(size));
  TRY(task.mm().CopyIn(groups.data(), list, groups.size() * sizeof groups[0]));
  for (uint32_t& g : groups) {
    g = g == kKeep ? UINT32_MAX : o.user_ns->GidToGlobal(g);
    if (g == UINT32_MAX) return abi::Errno::kEINVAL;
  }
  std::sort(groups.begin(), groups.end());
  auto c = base::MakeRef<Creds>(o);
  c->groups = std::move(groups);
  task.set_creds(std::move(c));
  return 0;
}

namespace {

// cap_validate_magic(): how many 32-bit halves the version has. An unknown version is answered with
// the newest one.
base::Result<int> Halves(Task& task, UserInOut<abi::CapUserHeader> hdr, abi::CapUserHeader* h) {
  *h = TRY(hdr.Fetch(task.mm()));
  switch (h->version) {
    case static_cast<uint32_t>(abi::k_LINUX_CAPABILITY_VERSION_1):
      return 1;
    case static_cast<uint32_t>(abi::k_LINUX_CAPABILITY_VERSION_2):
    case static_cast<uint32_t>(abi::k_LINUX_CAPABILITY_VERSION_3):
      return 2;
    default: {
      uint32_t v = static_cast<uint32_t>(abi::k_LINUX_CAPABILITY_VERSION_3);
      TRY(task.mm().CopyOut(hdr.addr, &v, sizeof v));
      return abi::Errno::kEINVAL;
    }
  }
}

}  // namespace

SyscallResult sys_capget(Task& task, UserInOut<abi::CapUserHeader> hdr, UserAddr data) {
  abi::CapUserHeader h;
  base::Result<int> halves = Halves(task, hdr, &h);
  // A probe for the version: no data wanted.
  if (halves.is(abi::Errno::kEINVAL) && data.null()) return 0;
  if (!halves.ok()) return halves.error();
  if (data.null()) return 0;
  if (h.pid < 0) return abi::Errno::kEINVAL;
  base::Ref<const Creds> c;
  if (h.pid == 0 || h.pid == task.tid()) {
    c = task.creds_ref();
  } else {
    base::Ref<Task> t = task.kernel().FindTask(*task.pid_ns(), h.pid);
    if (!t) return abi::Errno::kESRCH;
    c = t->creds_ref();
  }
  abi::CapUserData out[2];
  for (int i = 0; i < 2; i++) {
    out[i].effective = static_cast<uint32_t>(c->effective >> (32 * i));
    out[i].permitted = static_cast<uint32_t>(c->permitted >> (32 * i));
    out[i].inheritable = static_cast<uint32_t>(c->inheritable >> (32 * i));
  }
  TRY(task.mm().CopyOut(data, out, sizeof out[0] * static_cast<size_t>(*halves)));
  return 0;
}

SyscallResult sys_capset(Task& task, UserInOut<abi::CapUserHeader> hdr, UserAddr data) {
  abi::CapUserHeader h;
  int halves = TRY(Halves(task, hdr, &h));
  if (h.pid != 0 && h.pid != task.tid()) return abi::Errno::kEPERM;
  abi::CapUserData in[2] = {};
  TRY(task.mm().CopyIn(in, data, sizeof in[0] * static_cast<size_t>(halves)));
  CapSet effective = in[0].effective | CapSet{in[1].effective} << 32;
  CapSet permitted = in[0].permitted | CapSet{in[1].permitted} << 32;
  CapSet inheritable = in[0].inheritable | CapSet{in[1].inheritable} << 32;
  effective &= abi::kCapFullSet;
  permitted &= abi::kCapFullSet;
  inheritable &= abi::kCapFullSet;
  // cap_capset().
  const Creds& o = task.creds();
  if (!o.Has(abi::kCAP_SETPCAP) && (inheritable & ~(o.inheritable | o.permitted)) != 0) {
    return abi::Errno::kEPERM;
  }
  if ((inheritable & ~(o.inheritable | o.bounding)) != 0) return abi::Errno::kEPERM;
  if ((permitted & ~o.permitted) != 0) return abi::Errno::kEPERM;
  if ((effective & ~permitted) != 0) return abi::Errno::kEPERM;
  auto c = base::MakeRef<Creds>(o);
  c->effective = effective;
  c->permitted = permitted;
  c->inheritable = inheritable;
  c->ambient &= permitted & inheritable;
  task.set_creds(std::move(c));
  return 0;
}

}  // namespace syscalls
