#include "sentry/socket/inet/address.h"

#include "platform/base/byte_order.h"

namespace sentry {

bool IpAddress::InPrefix(const IpAddress& net, uint8_t prefix) const {
  if (is_v4() != net.is_v4()) return false;
  const size_t first = is_v4() ? 12 : 0;
  for (size_t i = 0; i < prefix; i++) {
    const size_t at = first + i / 8;
    const auto bit = static_cast<uint8_t>(0x80 >> (i % 8));
    if (at >= b.size()) return true;
    if ((b[at] & bit) != (net.b[at] & bit)) return false;
  }
  return true;
}

std::string IpAddress::Text() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_v4()) {
    inet_ntop(AF_INET, &b[12], text, sizeof text);
  } else {
    inet_ntop(AF_INET6, b.data(), text, sizeof text);
  }
  return text;
}

}  // namespace sentry
