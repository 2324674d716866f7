// sysfs: what common programs read of it: processors, block and character device directories,
// network class, kernel facts.
#pragma once

#include "sentry/fs/synth/synth.h"
#include "sentry/kernel/kernel.h"

namespace sentry {

// The root inode of a new instance, which shows the processors that the container has. add_net, if
// any: fills class/net, and devices/virtual/net with what it links to.
using AddNetDirectories = void (*)(Kernel& kernel, SynthStaticDir& cls, SynthStaticDir& devices);
base::Ref<Inode> NewSysFs(Kernel& kernel, const Container& container,
                          AddNetDirectories add_net = nullptr);

}  // namespace sentry
