// The stub's binary.
#pragma once

#include <cstdint>
#include <span>

namespace platform::stub {
std::span<const uint8_t> Blob();
}  // namespace platform::stub
