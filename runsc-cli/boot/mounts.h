// The container's mounts, made from a Spec: root, volumes, kernel file systems.
#pragma once

#include "gofer/client/client.h"
#include "platform/base/status.h"
#include "runsc-cli/boot/sentry_main.h"
#include "sentry/kernel/kernel.h"

namespace runsc {

// Installs the file system types and the openers of special files. Once.
void InstallFileSystems();

// The mount namespace of a container, with the paths that its configuration masks, protects, makes
// and writes. Missing mount points are created. warnings: lines about what can't be had.
base::StatusOr<base::Ref<sentry::MountNamespace>> MakeMounts(sentry::Kernel& kernel,
                                                             const SentryArgs& args,
                                                             const base::Ref<gofer::Client>& client,
                                                             std::string* warnings);

}  // namespace runsc
