// File capabilities (the security.capability attribute).
#pragma once

#include <atomic>
#include <string_view>

namespace sentry {

constexpr std::string_view kFileCaps = "security.capability";

// Some file of the sandbox has capabilities, or had: until then no write looks for any to remove.
inline std::atomic<bool> any_file_caps{false};

}  // namespace sentry
