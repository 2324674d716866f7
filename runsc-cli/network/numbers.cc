#include "runsc-cli/network/numbers.h"

namespace runsc {
namespace {

bool ParsePort(std::string_view text, uint16_t* port) {
  uint32_t n = 0;
  if (text.empty() || text.size() > 5) return false;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    n = n * 10 + static_cast<uint32_t>(c - '0');
  }
  *port = static_cast<uint16_t>(n);
  return n != 0 && n <= 65535;
}

}  // namespace

bool ParsePorts(std::string_view text, uint16_t* first, uint16_t* last) {
  const size_t dash = text.find('-');
  if (!ParsePort(text.substr(0, dash), first)) return false;
  *last = *first;
  return dash == text.npos || (ParsePort(text.substr(dash + 1), last) && *first <= *last);
}

}  // namespace runsc
