// How execve changes credentials (capabilities(7)); for sentry/kernel only.
#pragma once

#include "sentry/kernel/kernel.h"

namespace sentry {

base::Ref<const Creds> CredsAfterExec(const base::Ref<const Creds>& old,
                                      const Kernel::LoadedImage& image, bool no_new_privs);

}  // namespace sentry
