// What config.json wants done to paths of the guest once everything is mounted: devices, sysctl,
// masked and read-only paths.
#pragma once

#include <string>

#include "platform/base/status.h"
#include "runsc-cli/boot/place.h"
#include "sentry/vfs/vfs.h"

namespace runsc {

// creds: privileged. warnings: lines about what has no counterpart in Moat.
base::Status PreparePaths(const Place& place, const sentry::Creds& creds,
                          sentry::MountNamespace& mounts, std::string* warnings);

}  // namespace runsc
