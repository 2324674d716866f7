// Building and reading netlink messages (netlink(7)): headers and attributes, aligned to 4 bytes.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "syscalls/abi/netlink.h"

namespace sentry {

class NetlinkMessage {
 public:
  NetlinkMessage(uint16_t type, uint16_t flags, uint32_t seq, uint32_t pid) {
    Append(abi::Nlmsghdr{0, type, flags, seq, pid});
  }
  // The family's fixed header.
  template <typename T>
  NetlinkMessage& Append(const T& v) {
    const size_t at = bytes_.size();
    bytes_.resize(at + abi::NlAlign(sizeof v));
    memcpy(&bytes_[at], &v, sizeof v);
    return *this;
  }
  NetlinkMessage& Attribute(int32_t type, const void* data, size_t n) {
    const auto len = static_cast<uint16_t>(sizeof(abi::Nlattr) + n);
    Append(abi::Nlattr{len, static_cast<uint16_t>(type)});
    const size_t at = bytes_.size();
    bytes_.resize(at + abi::NlAlign(static_cast<uint32_t>(n)));
    if (n > 0) memcpy(&bytes_[at], data, n);
    return *this;
  }
  template <typename T>
  NetlinkMessage& Value(int32_t type, const T& v) {
    return Attribute(type, &v, sizeof v);
  }
  // An attribute that holds those that fill() puts into this message.
  template <typename F>
  NetlinkMessage& Nest(int32_t type, F&& fill) {
    const size_t at = bytes_.size();
    Append(abi::Nlattr{0, static_cast<uint16_t>(type)});
    fill();
    const auto len = static_cast<uint16_t>(bytes_.size() - at);
    memcpy(&bytes_[at], &len, sizeof len);
    return *this;
  }
  // With its NUL.
  NetlinkMessage& Text(int32_t type, const std::string& s) {
    return Attribute(type, s.c_str(), s.size() + 1);
  }
  // The finished message.
  std::vector<uint8_t> Take() {
    const auto len = static_cast<uint32_t>(bytes_.size());
    memcpy(bytes_.data(), &len, sizeof len);
    return std::move(bytes_);
  }

 private:
  std::vector<uint8_t> bytes_;
};

// A request as a guest sent it: the header, and what follows.
struct NetlinkRequest {
  abi::Nlmsghdr header{};
  std::span<const uint8_t> payload;
  bool dump() const { return (header.flags & abi::kNLM_F_DUMP) == abi::kNLM_F_DUMP; }
  // The fixed header; zeros where the payload is shorter (as old programs send it).
  template <typename T>
  T Head() const {
    T v{};
    memcpy(&v, payload.data(), std::min(payload.size(), sizeof v));
    return v;
  }
  // The attribute's bytes behind a fixed header of that size; data() is null if there is none.
  std::span<const uint8_t> Find(size_t head, uint16_t type) const {
    return FindIn(payload, head, type);
  }
  // The same in an attribute that holds others (head 0).
  static std::span<const uint8_t> FindIn(std::span<const uint8_t> payload, size_t head,
                                         uint16_t type) {
    for (size_t at = abi::NlAlign(static_cast<uint32_t>(head));
         at + sizeof(abi::Nlattr) <= payload.size();) {
      abi::Nlattr a;
      memcpy(&a, &payload[at], sizeof a);
      if (a.len < sizeof a || a.len > payload.size() - at) break;
      if ((a.type & 0x3fff) == type) return payload.subspan(at + sizeof a, a.len - sizeof a);
      at += abi::NlAlign(a.len);
    }
    return {};
  }
};

}  // namespace sentry
