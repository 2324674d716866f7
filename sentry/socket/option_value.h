// How the values of socket options go in and out (setsockopt(2), getsockopt(2)).
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "platform/base/result.h"

namespace sentry {

// EINVAL: it is shorter than a T.
template <typename T>
base::Result<T> ReadOption(std::span<const uint8_t> value) {
  T v;
  if (value.size() < sizeof v) return abi::Errno::kEINVAL;
  memcpy(&v, value.data(), sizeof v);
  return v;
}

// As much of it as there is room for; how much that is.
inline uint32_t GiveOption(std::span<uint8_t> out, const void* p, size_t n) {
  n = std::min(n, out.size());
  if (n != 0) memcpy(out.data(), p, n);
  return static_cast<uint32_t>(n);
}
template <typename T>
uint32_t GiveOption(std::span<uint8_t> out, const T& v) {
  return GiveOption(out, &v, sizeof v);
}

}  // namespace sentry
