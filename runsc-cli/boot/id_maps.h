// The ids of the host that a user without rights has for containers.
#pragma once

#include <sys/types.h>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// Whether the caller must ask newuidmap(1) and newgidmap(1) for them: not for root, who has all,
// nor for his own.
bool NeedsIdHelper(const IdMaps& maps);
// Lets them (and the caller's own) be known in the user namespace of pid, as what they are outside.
base::Status ShowIds(pid_t pid, const IdMaps& maps);

// A user namespace with these maps, for mount_setattr(2): of its own, without a process.
base::StatusOr<base::UniqueFd> NamespaceOfIds(const IdMaps& maps);

}  // namespace runsc
