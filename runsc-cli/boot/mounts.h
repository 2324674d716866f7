// The container's mounts, made from a Spec: root, volumes, kernel file systems.
#pragma once

#include <string>
#include <vector>

#include "gofer/client/client.h"
#include "platform/base/status.h"
#include "runsc-cli/boot/gofer_launch.h"
#include "runsc-cli/boot/place.h"

namespace runsc {

// Installs the file system types and the openers of special files. Once.
void InstallFileSystems(sentry::Kernel& kernel);

struct MountRequest {
  bool overlay = false;  // writes to the root stay in memory
  const std::vector<GoferMountSpec>& gofer_mounts;
  const base::Ref<gofer::Client>& client;
};

// Makes the mount namespace of a container (place->mounts, place->devpts; the rest is set), with
// the paths that its configuration masks, protects, makes and writes. Missing mount points are
// created. warnings: lines about what can't be had.
base::Status MakeMounts(const MountRequest& request, Place* place, std::string* warnings);

}  // namespace runsc
