// For tests: engines by name.
#pragma once

#include <memory>
#include <utility>

#include "platform/api/platform.h"
#include "platform/base/status.h"

namespace platform {

using NamedFactory =
    std::pair<const char*, base::StatusOr<std::unique_ptr<Platform>> (*)(const Options&)>;

}  // namespace platform
