// Hooks: programs of the host that a container's config.json names for the steps of its life.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// Runs them one after the other, each with state (JSON) on its standard input. An error names the
// first that failed, with what it said. join: a process whose network, IPC and UTS namespaces they
// run in, 0: the caller's.
base::Status RunHooks(const char* kind, const std::vector<HookSpec>& hooks,
                      const std::string& state, pid_t join = 0);

}  // namespace runsc
