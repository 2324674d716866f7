#include "netgofer/wire/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace netgofer {

bool Prefix::Contains(const Address& a) const {
  if (a.is_v4() != address.is_v4()) return false;
  const size_t whole = bits / 8;
  if (!std::equal(a.b.begin(), a.b.begin() + static_cast<long>(whole), address.b.begin())) {
    return false;
  }
  const unsigned rest = bits % 8;
  return rest == 0 || (a.b[whole] ^ address.b[whole]) >> (8 - rest) == 0;
}

std::optional<Address> ParseAddress(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof buffer || text.find('\0') != text.npos) return {};
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = 0;
  in_addr v4;
  if (inet_pton(AF_INET, buffer, &v4) == 1) return Address::V4(ntohl(v4.s_addr));
  Address a;
  if (inet_pton(AF_INET6, buffer, a.b.data()) == 1) return a;
  return {};
}

std::optional<Prefix> ParsePrefix(std::string_view text) {
  const size_t slash = text.find('/');
  const std::optional<Address> address = ParseAddress(text.substr(0, slash));
  if (!address) return {};
  Prefix p{*address, 128};
  if (slash != text.npos) {
    const std::string_view digits = text.substr(slash + 1);
    const unsigned first = address->is_v4() && text.find(':') == text.npos ? 96 : 0;
    unsigned n = 0;
    if (digits.empty() || digits.size() > 3) return {};
    for (char c : digits) {
      if (c < '0' || c > '9') return {};
      n = n * 10 + static_cast<unsigned>(c - '0');
    }
    if (n > 128 - first) return {};
    p.bits = static_cast<uint8_t>(first + n);
  }
  for (unsigned i = p.bits; i < 128; i++) {
    if ((p.address.b[i / 8] >> (7 - i % 8) & 1) != 0) return {};
  }
  return p;
}

std::string ToText(const Address& a) {
  char buffer[INET6_ADDRSTRLEN];
  const bool v4 = a.is_v4();
  inet_ntop(v4 ? AF_INET : AF_INET6, a.b.data() + (v4 ? 12 : 0), buffer, sizeof buffer);
  return buffer;
}

}  // namespace netgofer
