// The stub's binary.
#pragma once

#include <cstdint>
#include <span>

#include "platform/stub/layout.h"

namespace platform::stub {
std::span<const uint8_t> Blob();
inline const Places& StubPlaces() {
  return *reinterpret_cast<const Places*>(Blob().data() + kPlacesOffset);
}
}  // namespace platform::stub
