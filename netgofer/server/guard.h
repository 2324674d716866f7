// Decides for the net gofer what may leave: the policy, the names that it has seen resolved, the
// limits, and the log of decisions. Without a policy everything may.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "netgofer/policy/dns.h"
#include "netgofer/policy/pins.h"
#include "netgofer/policy/policy.h"
#include "platform/base/fd.h"

namespace netgofer {

class Guard {
 public:
  // Nanoseconds of a clock that never goes back, and never starts at 0.
  using Clock = int64_t (*)();
  // resolvers: the sandbox's own, for policies that name none. log: where decisions go, one JSON
  // object a line; may be invalid. clock: null for CLOCK_MONOTONIC.
  Guard(std::optional<Policy> policy, std::vector<Address> resolvers, base::UniqueFd log,
        Clock clock = nullptr);

  bool enforced() const { return policy_.has_value(); }
  const Limits& limits() const { return limits_; }
  void SetPolicy(Policy policy);

  // A new connection or a first datagram to an address, while `open` are open. *names: those by
  // which it is allowed, for StillMay.
  bool MayConnect(uint8_t protocol, const Endpoint& remote, size_t open,
                  std::vector<std::string>* names);
  // Of what exists, under a new policy.
  bool StillMay(uint8_t protocol, const Endpoint& remote, const std::vector<std::string>& names);
  bool MaySendDatagram();
  // A datagram of a socket that sends anywhere.
  bool MaySendTo(uint8_t protocol, const Endpoint& remote);

  // Whether this is a resolver's address and port, and the policy wants to see what is asked there.
  bool Resolves(uint8_t protocol, const Endpoint& remote) const;
  bool MayLookUp(uint8_t protocol, const Endpoint& resolver, const dns::Query& query);
  // Pins the addresses. False: the answer must not reach the sandbox.
  bool Believe(const dns::Query& query, const dns::Answer& answer);

 private:
  // A budget per second, with one second's worth in store.
  struct Bucket {
    double left = 0;
    int64_t at = 0;
    bool Take(uint32_t rate, int64_t now);
  };
  struct Event {
    uint8_t protocol = 0;
    const Endpoint* remote = nullptr;
    std::string_view name;
  };
  bool Log(const Decision& d, const Event& e);
  int64_t Now() const { return clock_(); }

  const Clock clock_;
  std::optional<Policy> policy_;
  Limits limits_;
  const std::vector<Address> resolvers_;
  Pins pins_;
  Bucket connections_, datagrams_;
  const base::UniqueFd log_;
};

}  // namespace netgofer
