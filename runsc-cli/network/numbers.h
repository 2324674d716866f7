// Ports as people write them.
#pragma once

#include <cstdint>
#include <string_view>

namespace runsc {

// "80" (both the same) or "8000-8080". False: no such thing, 0 included.
bool ParsePorts(std::string_view text, uint16_t* first, uint16_t* last);

}  // namespace runsc
