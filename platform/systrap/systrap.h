// The default engine: guest threads run natively in host processes; their system calls and faults
// are signals, which the stub turns into stops.
#pragma once

#include <memory>

#include "platform/api/platform.h"
#include "platform/base/status.h"

namespace platform::systrap {

// In the sentry process, on its main thread, before other threads and before the filter is
// installed.
base::StatusOr<std::unique_ptr<platform::Platform>> Create(const platform::Options& options);

}  // namespace platform::systrap
