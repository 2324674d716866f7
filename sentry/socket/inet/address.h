// Addresses of the inet families in one form: IPv4 as v4-mapped IPv6, ports in host order.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "syscalls/abi/socket.h"

namespace sentry {

struct IpAddress {
  std::array<uint8_t, 16> b{};

  // addr in host order.
  static constexpr IpAddress V4(uint32_t addr) {
    IpAddress a;
    a.b[10] = a.b[11] = 0xff;
    for (int i = 0; i < 4; i++) a.b[12 + i] = static_cast<uint8_t>(addr >> (24 - 8 * i));
    return a;
  }
  static constexpr IpAddress V6(const abi::In6Addr& in) {
    IpAddress a;
    for (int i = 0; i < 16; i++) a.b[i] = in.b[i];
    return a;
  }
  constexpr bool is_v4() const {
    for (int i = 0; i < 10; i++) {
      if (b[i] != 0) return false;
    }
    return b[10] == 0xff && b[11] == 0xff;
  }
  // Of an is_v4() address, host order.
  constexpr uint32_t v4() const {
    return uint32_t{b[12]} << 24 | uint32_t{b[13]} << 16 | uint32_t{b[14]} << 8 | b[15];
  }
  constexpr abi::In6Addr v6() const {
    abi::In6Addr a{};
    for (int i = 0; i < 16; i++) a.b[i] = b[i];
    return a;
  }
  // 0.0.0.0 or ::.
  constexpr bool is_any() const {
    if (is_v4()) return v4() == 0;
    for (uint8_t c : b) {
      if (c != 0) return false;
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
  constexpr bool is_multicast() const { return is_v4() ? (b[12] & 0xf0) == 0xe0 : b[0] == 0xff; }
  constexpr bool is_broadcast() const { return is_v4() && v4() == 0xffffffff; }
  constexpr bool is_link_local() const { return !is_v4() && b[0] == 0xfe && (b[1] & 0xc0) == 0x80; }
  // Whether the first prefix bits are those of net; of IPv4 addresses, prefix counts from b[12].
  bool InPrefix(const IpAddress& net, uint8_t prefix) const;
  // inet_ntop(3)'s text, of v4-mapped addresses the IPv4 one.
  std::string Text() const;

  bool operator==(const IpAddress&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const IpAddress& a) {
    return H::combine(std::move(h), a.b);
  }
};

struct Endpoint {
  IpAddress addr;
  uint16_t port = 0;      // host order
  uint32_t scope_id = 0;  // of link-local IPv6 addresses
  bool operator==(const Endpoint&) const = default;
};

}  // namespace sentry
