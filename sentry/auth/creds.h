// Credentials: immutable once shared; a task that changes them installs a changed copy (the
// kernel's struct cred).
#pragma once

#include <cstdint>
#include <vector>

#include "platform/base/ref.h"

namespace sentry {

using CapSet = uint64_t;
constexpr CapSet CapBit(int cap) { return CapSet{1} << cap; }

// A user namespace. The root one maps every id to itself. Children exist for guests that unshare
// (CLONE_NEWUSER).
class UserNamespace : public base::RefCounted {
 public:
  struct Extent {
    uint32_t first, lower_first, count;
  };
  UserNamespace() {}
  UserNamespace(base::Ref<UserNamespace> parent, uint32_t owner_uid)
      : parent_(std::move(parent)), owner_uid_(owner_uid), level_(parent_->level_ + 1) {}
  const base::Ref<UserNamespace>& parent() const { return parent_; }
  uint32_t owner_uid() const { return owner_uid_; }  // sandbox-global uid
  uint32_t level() const { return level_; }

  // Written once through /proc/[pid]/{uid,gid}_map, under the kernel's task tree lock.
  std::vector<Extent> uid_map, gid_map;
  bool setgroups_allowed = true;

  // Ids inside this namespace to and from sandbox-global ones; -1 where unmapped.
  uint32_t UidToGlobal(uint32_t uid) const { return ToGlobal(uid_map, uid); }
  uint32_t GidToGlobal(uint32_t gid) const { return ToGlobal(gid_map, gid); }
  uint32_t UidFromGlobal(uint32_t uid) const { return FromGlobal(uid_map, uid); }
  uint32_t GidFromGlobal(uint32_t gid) const { return FromGlobal(gid_map, gid); }

 private:
  uint32_t ToGlobal(const std::vector<Extent>& m, uint32_t id) const {
    if (!parent_) return id;
    for (const Extent& e : m) {
      if (id - e.first < e.count) return e.lower_first + (id - e.first);
    }
    return UINT32_MAX;
  }
  uint32_t FromGlobal(const std::vector<Extent>& m, uint32_t id) const {
    if (!parent_) return id;
    for (const Extent& e : m) {
      if (id - e.lower_first < e.count) return e.first + (id - e.lower_first);
    }
    return UINT32_MAX;
  }
  base::Ref<UserNamespace> parent_;
  const uint32_t owner_uid_ = 0;
  const uint32_t level_ = 0;
};

// What a file shows for an id that the namespace does not map (/proc/sys/kernel/overflowuid).
constexpr uint32_t kOverflowId = 65534;

struct Creds : public base::RefCounted {
  Creds() = default;
  Creds(const Creds& o)
      : base::RefCounted(),
        uid(o.uid),
        gid(o.gid),
        euid(o.euid),
        egid(o.egid),
        suid(o.suid),
        sgid(o.sgid),
        fsuid(o.fsuid),
        fsgid(o.fsgid),
        groups(o.groups),
        inheritable(o.inheritable),
        permitted(o.permitted),
        effective(o.effective),
        bounding(o.bounding),
        ambient(o.ambient),
        securebits(o.securebits),
        user_ns(o.user_ns) {}

  // Sandbox-global ids.
  uint32_t uid = 0, gid = 0, euid = 0, egid = 0, suid = 0, sgid = 0, fsuid = 0, fsgid = 0;
  std::vector<uint32_t> groups;
  CapSet inheritable = 0, permitted = 0, effective = 0, bounding = 0, ambient = 0;
  uint32_t securebits = 0;
  base::Ref<UserNamespace> user_ns;

  bool InGroup(uint32_t g) const {
    if (g == fsgid) return true;
    for (uint32_t x : groups) {
      if (x == g) return true;
    }
    return false;
  }
  // capable(): the capability in the task's own user namespace.
  bool Has(int cap) const { return (effective & CapBit(cap)) != 0; }
  // ns_capable(): the capability towards an object owned by ns (cap_capable in
  // security/commoncap.c).
  bool HasIn(const UserNamespace& ns, int cap) const {
    for (const UserNamespace* n = &ns;; n = n->parent().get()) {
      if (n == user_ns.get()) return Has(cap);
      if (n->level() <= user_ns->level()) return false;
      if (n->parent().get() == user_ns.get() && n->owner_uid() == euid) return true;
    }
  }
};

}  // namespace sentry
