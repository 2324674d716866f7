// Which addresses belong to names, by the answers that the net gofer has seen: the memory behind
// rules with domains. Bounded; times are nanoseconds of one clock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "netgofer/wire/endpoint.h"

namespace netgofer {

class Pins {
 public:
  static constexpr size_t kMaxAddresses = 1 << 14;
  static constexpr size_t kMaxNames = 16;  // of one address

  // Until `until`, or longer if it is pinned longer already.
  void Add(const Address& a, const std::string& name, int64_t now, int64_t until);
  std::vector<std::string> NamesOf(const Address& a, int64_t now) const;
  size_t size() const { return map_.size(); }

 private:
  struct Pin {
    std::string name;
    int64_t until;
  };
  void DropExpired(int64_t now);
  int64_t first_expiry_ = INT64_MAX;  // no pin expires before that
  absl::flat_hash_map<Address, std::vector<Pin>> map_;
};

}  // namespace netgofer
