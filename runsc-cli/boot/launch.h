// The command's side of a sandbox.
#pragma once

#include "runsc-cli/oci/spec.h"

namespace runsc {

// Runs the sandbox in the foreground until its first process ends; returns the exit status for the
// command. own_failure: the status when Moat itself fails (the message went to standard error).
int RunSandbox(const Spec& spec, const Settings& settings, int own_failure);

}  // namespace runsc
