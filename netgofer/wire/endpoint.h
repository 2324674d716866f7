// Addresses as they travel between sentry and net gofer and as policies judge them: one form for
// both families.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace netgofer {

// IPv4 as v4-mapped IPv6.
struct Address {
  std::array<uint8_t, 16> b{};

  // addr in host order.
  static constexpr Address V4(uint32_t addr) {
    Address a;
    a.b[10] = a.b[11] = 0xff;
    for (int i = 0; i < 4; i++) a.b[12 + i] = static_cast<uint8_t>(addr >> (24 - 8 * i));
    return a;
  }
  constexpr bool is_v4() const {
    for (int i = 0; i < 10; i++) {
      if (b[i] != 0) return false;
    }
    return b[10] == 0xff && b[11] == 0xff;
  }
  // 0.0.0.0 or ::.
  constexpr bool is_any() const {
    for (int i = is_v4() ? 12 : 0; i < 16; i++) {
      if (b[i] != 0) return false;
    }
    return true;
  }
  constexpr bool is_loopback() const {
    if (is_v4()) return b[12] == 127;
    for (int i = 0; i < 15; i++) {
      if (b[i] != 0) return false;
    }
    return b[15] == 1;
  }
  bool operator==(const Address&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const Address& a) {
    return H::combine(std::move(h), a.b);
  }
};

struct Endpoint {
  Address address;
  uint32_t scope = 0;  // interface of a link-local address
  uint16_t port = 0;   // host order
  uint16_t reserved = 0;
  bool operator==(const Endpoint&) const = default;
};

// The addresses whose first `bits` (of 128) are those of `address`. IPv6 prefixes hold no v4-mapped
// addresses, however short they are.
struct Prefix {
  Address address;
  uint8_t bits = 128;

  bool Contains(const Address& a) const;
  // Whether all of p lies in this one.
  bool Contains(const Prefix& p) const { return p.bits >= bits && Contains(p.address); }
  bool operator==(const Prefix&) const = default;
};

// Numeric addresses only: no names, no octal or short forms of IPv4.
std::optional<Address> ParseAddress(std::string_view text);
// "10.0.0.0/8", "2001:db8::/32", or a single address. Bits beyond the prefix must be zero.
std::optional<Prefix> ParsePrefix(std::string_view text);
std::string ToText(const Address& a);

}  // namespace netgofer
