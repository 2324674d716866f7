#include "netgofer/policy/pins.h"

#include <algorithm>

namespace netgofer {

void Pins::DropExpired(int64_t now) {
  if (now < first_expiry_) return;
  first_expiry_ = INT64_MAX;
  for (auto it = map_.begin(); it != map_.end();) {
    std::erase_if(it->second, [&](const Pin& p) { return p.until <= now; });
    for (const Pin& p : it->second) first_expiry_ = std::min(first_expiry_, p.until);
    if (it->second.empty()) {
      map_.erase(it++);
    } else {
      ++it;
    }
  }
}

void Pins::Add(const Address& a, const std::string& name, int64_t now, int64_t until) {
  if (map_.size() >= kMaxAddresses && !map_.contains(a)) {
    DropExpired(now);
    // Full of what is still good: the new address stays unreachable until something expires.
    if (map_.size() >= kMaxAddresses) return;
  }
  first_expiry_ = std::min(first_expiry_, until);
  std::vector<Pin>& pins = map_[a];
  auto pin = std::find_if(pins.begin(), pins.end(), [&](const Pin& p) { return p.name == name; });
  if (pin != pins.end()) {
    pin->until = std::max(pin->until, until);
    return;
  }
  if (pins.size() >= kMaxNames) {
    // The one that would go first makes room.
    pin = std::min_element(pins.begin(), pins.end(),
                           [](const Pin& x, const Pin& y) { return x.until < y.until; });
    *pin = {name, until};
    return;
  }
  pins.push_back({name, until});
}

std::vector<std::string> Pins::NamesOf(const Address& a, int64_t now) const {
  std::vector<std::string> names;
  auto it = map_.find(a);
  if (it == map_.end()) return names;
  for (const Pin& p : it->second) {
    if (p.until > now) names.push_back(p.name);
  }
  return names;
}

}  // namespace netgofer
