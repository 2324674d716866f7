// What a sandbox may reach outside: rules, the first match decides. Pure: no host calls, no clock.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "netgofer/wire/endpoint.h"

namespace netgofer {

enum Protocols : uint8_t { kTcp = 1, kUdp = 2, kIcmp = 4, kAnyProtocol = 7 };

struct PortRange {
  uint16_t first = 0, last = 0;
};

struct Rule {
  bool allow = false;
  uint8_t protocols = kAnyProtocol;
  std::vector<PortRange> ports;  // none: all. ICMP has no ports: only a rule without them matches.
  // At most one of the two; neither: every address.
  std::vector<Prefix> prefixes;
  std::vector<std::string> domains;  // as NormalPattern() gives them
};

enum class LogDecisions : uint8_t { kNone, kDenied, kAll };

// 0: no limit.
struct Limits {
  uint32_t connections = 0;              // open at once, of all protocols
  uint32_t connections_per_second = 0;   // new ones, with bursts of one second's worth
  uint32_t datagrams_per_second = 0;     // sent, by all sockets together
  uint32_t upload_bytes_per_second = 0;  // of each TCP connection
};

struct Policy {
  bool allow_by_default = false;
  LogDecisions log = LogDecisions::kDenied;
  Limits limits;
  // What an answer's time to live is raised or lowered to, in seconds, for the pin of its
  // addresses.
  uint32_t min_ttl = 60, max_ttl = 86400;
  // Whose answers count for rules with domains; none: the sandbox's own (ServerOptions).
  std::vector<Address> resolvers;
  std::vector<Rule> rules;
};

inline constexpr size_t kMaxRules = 4096;
inline constexpr size_t kMaxPerRule = 64;  // ports, prefixes, domains
inline constexpr size_t kMaxResolvers = 16;
inline constexpr size_t kMaxDomain = 253;
// Of an encoded policy: what one message holds without more buffer than the host's default.
inline constexpr size_t kMaxEncoded = 128 << 10;

struct Decision {
  bool allowed = false;
  // Which rule, from 0; negative: none did, `reason` tells.
  int rule = -1;
  const char* reason = "default";
};

// Whether a sandbox may exchange bytes with an address. names: those that the address is pinned to.
Decision Judge(const Policy& policy, uint8_t protocol, const Endpoint& remote,
               std::span<const std::string> names);

// Whether the name may be looked up. Without a rule for it, rule is -1 and allowed is false: then
// the resolver is judged like any other address.
Decision JudgeName(const Policy& policy, std::string_view name);

// Whether an answer may give a name this address: refused for the ranges that are not the
// internet's, unless a rule with a prefix allows the address.
bool MayResolveTo(const Policy& policy, const Address& address);

// The address that the host will really talk to: the IPv4 one of a mapped or translated (NAT64)
// IPv6 address, loopback for the unspecified one.
Address Canonical(const Address& a);

// "example.com", "*.example.com" (every name below it), "*"; lower case, without the last dot. None
// if the text is no such pattern.
std::optional<std::string> NormalPattern(std::string_view text);
bool MatchesPattern(std::string_view pattern, std::string_view name);

// The compact form in which the command gives a policy to a running net gofer. Empty: too large.
std::vector<uint8_t> Encode(const Policy& policy);
// False: not what Encode makes.
bool Decode(std::span<const uint8_t> data, Policy* policy);

}  // namespace netgofer
