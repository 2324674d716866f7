// Who the processes of a container are: its ids are those of its user namespace, the sentry's (and
// the gofer's) are the host's.
#pragma once

#include "platform/base/result.h"
#include "runsc-cli/boot/place.h"
#include "sentry/auth/creds.h"

namespace runsc {

// The user namespace that config.json describes, or root if it describes none.
base::Ref<sentry::UserNamespace> MakeUserNamespace(const base::Ref<sentry::UserNamespace>& root,
                                                   const Spec& spec);

// Who sets a container up: with all rights, the machine's included, and the container's root as the
// owner of what is made.
sentry::Creds SetUpCreds(const Place& place);

// Those of a process. EINVAL: an id that the user namespace doesn't have.
base::Result<base::Ref<const sentry::Creds>> CredsOf(const Place& place, const ProcessSpec& p);

// -1 ids are nobody's.
struct Owner {
  uint32_t uid, gid;
};
Owner OwnerOf(const Place& place, uint32_t uid, uint32_t gid);

}  // namespace runsc
