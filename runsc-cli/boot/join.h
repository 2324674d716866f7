// Containers that become part of another one's sandbox: those of a pod, and those whose
// configuration names namespaces of a container.
#pragma once

#include <string>

#include "platform/base/status.h"
#include "runsc-cli/boot/launch.h"
#include "runsc-cli/oci/record.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// The sandbox that a container belongs to, and the containers there whose namespaces it shares
// (empty: it has its own).
struct JoinTarget {
  std::string sandbox;  // the id of its first container; empty: one of its own
  std::string pid_of, ipc_of, uts_of, user_of;
};
// By the annotations that CRI implementations give, and the namespaces' paths. An error names the
// path that is of no container here.
base::Status FindSandbox(const Settings& settings, const Spec& spec, JoinTarget* target);

// As Launch() for a sandbox of its own. Returns when the container is ready to start. With
// options.outlive a process of its own stands for it (sandbox->sentry), else this process, by
// sandbox->control.
base::Status Join(const Spec& spec, const Settings& settings, const JoinTarget& target,
                  LaunchOptions options, Sandbox* sandbox);

}  // namespace runsc
