#include "sentry/fs/synth/sysctl.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace sentry {

namespace {
constexpr std::string_view kSpace = " \t\n\v\f\r";  // isspace()
constexpr std::string_view kEnd = " \t\n";          // proc_wspace_sep
}  // namespace

base::Result<void> ReadSysctl(std::string_view text, uint32_t max, std::span<uint32_t> values) {
  std::vector<uint32_t> read;
  while (read.size() < values.size()) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    if (text.empty()) break;
    // simple_strtoul() with base 0.
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
      base = 16;
      text.remove_prefix(2);
    } else if (text[0] == '0') {
      base = 8;
    }
    uint32_t v = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v, base);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (error != std::errc() || v > max) return abi::Errno::kEINVAL;
    if (!text.empty() && kEnd.find(text[0]) == std::string_view::npos) return abi::Errno::kEINVAL;
    read.push_back(v);
  }
  if (read.empty()) return abi::Errno::kEINVAL;
  std::copy(read.begin(), read.end(), values.begin());
  return {};
}

}  // namespace sentry
