// The stub's binary.
#pragma once

#include <cstdint>
#include <span>

namespace stub {
std::span<const uint8_t> Blob();
}  // namespace stub
