// sysfs: what common programs read of it: processors, block and character device directories,
// network class, kernel facts.
#pragma once

#include "sentry/fs/synth/synth.h"
#include "sentry/kernel/kernel.h"

namespace sentry {

// The root inode of a new instance, which shows the processors that the container has.
base::Ref<Inode> NewSysFs(const Container& container);

}  // namespace sentry
