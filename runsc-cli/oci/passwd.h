// User and group names, looked up in a container's own /etc/passwd and /etc/group, as container
// tools do.
#pragma once

#include <string>

#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// text: USER or USER:GROUP, each a name or a number. Fills uid, gid, groups of the process, and the
// user's home ("/" if unknown).
base::Status ResolveUser(const std::string& root, const std::string& text, ProcessSpec* process,
                         std::string* home);

}  // namespace runsc
