// The reference engine: the sentry traces guest threads (ptrace(2)), each by the host thread that
// drives it. Slow, and simple.
#pragma once

#include <memory>

#include "platform/api/platform.h"
#include "platform/base/status.h"

namespace platform::ptrace {

// As systrap::Create(). The sentry's filter needs host::kPtrace.
base::StatusOr<std::unique_ptr<Platform>> Create(const Options& options);

}  // namespace platform::ptrace
