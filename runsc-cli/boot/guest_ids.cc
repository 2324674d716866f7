#include "runsc-cli/boot/guest_ids.h"

namespace runsc {

using base::Ref;
using sentry::Creds;
using sentry::UserNamespace;

Ref<UserNamespace> MakeUserNamespace(const Ref<UserNamespace>& root, const Spec& spec) {
  if (spec.ids.empty()) return root;
  // Its owner is the root of the host, or the user who is that to the sandbox.
  auto ns = base::MakeRef<UserNamespace>(root, 0u);
  for (const IdRange& r : spec.ids.uids) ns->uid_map.push_back({r.container, r.host, r.count});
  for (const IdRange& r : spec.ids.gids) ns->gid_map.push_back({r.container, r.host, r.count});
  ns->setgroups_allowed = spec.setgroups;
  return ns;
}

Owner OwnerOf(const Place& place, uint32_t uid, uint32_t gid) {
  return {place.user_ns->UidToGlobal(uid), place.user_ns->GidToGlobal(gid)};
}

Creds SetUpCreds(const Place& place) {
  const Owner root = OwnerOf(place, 0, 0);
  Creds c;
  c.bounding = c.permitted = c.effective = kAllCaps;
  c.fsuid = root.uid;
  c.fsgid = root.gid;
  c.user_ns = place.kernel->root_user_ns();
  return c;
}

base::Result<Ref<const Creds>> CredsOf(const Place& place, const ProcessSpec& p) {
  const Owner own = OwnerOf(place, p.uid, p.gid);
  bool known = own.uid != UINT32_MAX && own.gid != UINT32_MAX;
  auto creds = base::MakeRef<Creds>();
  creds->uid = creds->euid = creds->suid = creds->fsuid = own.uid;
  creds->gid = creds->egid = creds->sgid = creds->fsgid = own.gid;
  for (uint32_t group : p.groups) {
    creds->groups.push_back(place.user_ns->GidToGlobal(group));
    known = known && creds->groups.back() != UINT32_MAX;
  }
  if (!known) return abi::Errno::kEINVAL;
  creds->bounding = p.caps_bounding;
  creds->permitted = p.caps_permitted;
  creds->effective = p.caps_effective;
  creds->inheritable = p.caps_inheritable;
  creds->ambient = p.caps_ambient;
  creds->user_ns = place.user_ns;
  return Ref<const Creds>(std::move(creds));
}

}  // namespace runsc
