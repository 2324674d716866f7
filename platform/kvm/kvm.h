// The engine of hosts with hardware virtualisation: guests run in a virtual machine.
#pragma once

#include <memory>
#include <string>

#include "platform/api/platform.h"
#include "platform/base/fd.h"
#include "platform/base/status.h"

namespace platform::kvm {

// /dev/kvm, if an ordinary guest can run on this host; else a sentence that says why not, and what
// would change it. Takes milliseconds. In the command: the jail has no /dev.
base::StatusOr<base::UniqueFd> OpenDevice();

// device: from OpenDevice(). Before the filter, in the process that runs the guests: it needs
// host::kKvm. Main thread only.
base::StatusOr<std::unique_ptr<Platform>> Create(const Options& options, base::UniqueFd device);

// What the engine's guests cost: a line of JSON. engine: made by Create().
std::string Stats(Platform& engine);

}  // namespace platform::kvm
