// Network interfaces in sysfs.
#pragma once

#include "sentry/fs/synth/synth.h"
#include "sentry/kernel/kernel.h"

namespace sentry {

// class/net and devices/virtual/net, of the network namespace that a mounted sysfs belongs to: its
// mounter's, the kernel's first at boot.
void AddNetDevices(Kernel& kernel, SynthStaticDir& cls, SynthStaticDir& devices);

}  // namespace sentry
