// sysfs: what common programs read of it: processors, block and character device directories,
// network class, kernel facts.
#pragma once

#include "sentry/fs/synth/synth.h"
#include "sentry/kernel/kernel.h"

namespace sentry {

// The root inode of a new instance.
base::Ref<Inode> NewSysFs(Kernel& kernel);

}  // namespace sentry
