#include "netgofer/policy/policy.h"

#include <algorithm>

#include "gofer/wire/codec.h"

namespace netgofer {
namespace {

constexpr Prefix V4(uint32_t addr, uint8_t bits) {
  return {Address::V4(addr), static_cast<uint8_t>(96 + bits)};
}
constexpr Prefix V6(std::initializer_list<uint16_t> groups, uint8_t bits) {
  Prefix p{{}, bits};
  size_t i = 0;
  for (uint16_t g : groups) {
    p.address.b[i++] = static_cast<uint8_t>(g >> 8);
    p.address.b[i++] = static_cast<uint8_t>(g);
  }
  return p;
}

// Neighbours on the link, and where clouds give a machine's credentials to whoever asks from it.
constexpr Prefix kProtected[] = {
    V4(0xa9fe0000, 16),                              // 169.254.0.0/16
    V4(0xa83f8110, 32),                              // 168.63.129.16, Azure
    V4(0x646464c8, 32),                              // 100.100.100.200, Alibaba
    V6({0xfe80}, 10),                                // link-local
    V6({0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254}, 128),  // EC2
    V6({0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254}, 128),   // Google
};

// What a name of the internet has no business to resolve to (RFC 6890); all of the above is in it.
constexpr Prefix kNotInternet[] = {
    V4(0x00000000, 8),  V4(0x0a000000, 8),  V4(0x64400000, 10),        V4(0x7f000000, 8),
    V4(0xa9fe0000, 16), V4(0xa83f8110, 32), V4(0xac100000, 12),        V4(0xc0000000, 24),
    V4(0xc0a80000, 16), V4(0xc6120000, 15), V4(0xe0000000, 4),         V4(0xf0000000, 4),
    V6({}, 127),        V6({0xfc00}, 7),    V6({0xfe80}, 10),          V6({0xfec0}, 10),
    V6({0xff00}, 8),    V6({0x2002}, 16),   V6({0x64, 0xff9b, 1}, 48),
};

constexpr Prefix kNat64 = V6({0x64, 0xff9b}, 96);

const Prefix* Find(std::span<const Prefix> list, const Address& a) {
  auto p = std::find_if(list.begin(), list.end(), [&](const Prefix& q) { return q.Contains(a); });
  return p == list.end() ? nullptr : &*p;
}

bool PortMatches(const Rule& rule, uint8_t protocol, uint16_t port) {
  if (rule.ports.empty()) return true;
  if (protocol == kIcmp) return false;
  return std::any_of(rule.ports.begin(), rule.ports.end(),
                     [&](const PortRange& r) { return port >= r.first && port <= r.last; });
}

// An address is exempt from protection only by a rule that means just such addresses: "everything"
// doesn't.
bool PrefixMatches(const Rule& rule, const Address& a, const Prefix* guard) {
  return std::any_of(rule.prefixes.begin(), rule.prefixes.end(), [&](const Prefix& p) {
    return p.Contains(a) && (guard == nullptr || !rule.allow || guard->Contains(p));
  });
}

bool NameMatches(const Rule& rule, std::string_view name) {
  return std::any_of(rule.domains.begin(), rule.domains.end(),
                     [&](const std::string& d) { return MatchesPattern(d, name); });
}

bool TargetMatches(const Rule& rule, const Address& a, const Prefix* guard,
                   std::span<const std::string> names) {
  if (!rule.prefixes.empty()) return PrefixMatches(rule, a, guard);
  if (guard != nullptr && rule.allow) return false;
  if (rule.domains.empty()) return true;
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& n) { return NameMatches(rule, n); });
}

}  // namespace

Decision Judge(const Policy& policy, uint8_t protocol, const Endpoint& remote,
               std::span<const std::string> names) {
  const Address a = Canonical(remote.address);
  const Prefix* guard = Find(kProtected, a);
  for (size_t i = 0; i < policy.rules.size(); i++) {
    const Rule& r = policy.rules[i];
    if ((r.protocols & protocol) == 0 || !PortMatches(r, protocol, remote.port)) continue;
    if (TargetMatches(r, a, guard, names)) return {r.allow, static_cast<int>(i), "rule"};
  }
  if (guard != nullptr) return {false, -1, "link-local or metadata address"};
  return {policy.allow_by_default, -1, "default"};
}

Decision JudgeName(const Policy& policy, std::string_view name) {
  for (size_t i = 0; i < policy.rules.size(); i++) {
    if (NameMatches(policy.rules[i], name)) {
      return {policy.rules[i].allow, static_cast<int>(i), "rule"};
    }
  }
  return {false, -1, "no rule for this name"};
}

bool MayResolveTo(const Policy& policy, const Address& address) {
  const Address a = Canonical(address);
  if (Find(kNotInternet, a) == nullptr) return true;
  for (const Rule& r : policy.rules) {
    if (!r.prefixes.empty() && PrefixMatches(r, a, nullptr)) return r.allow;
  }
  return false;
}

Address Canonical(const Address& a) {
  Address out = a;
  if (kNat64.Contains(a)) {
    out = Address{};
    out.b[10] = out.b[11] = 0xff;
    std::copy(a.b.begin() + 12, a.b.end(), out.b.begin() + 12);
  }
  if (!out.is_any()) return out;
  if (out.is_v4()) return Address::V4(0x7f000001);
  out.b[15] = 1;
  return out;
}

std::optional<std::string> NormalPattern(std::string_view text) {
  if (text == "*") return "*";
  if (!text.empty() && text.back() == '.') text.remove_suffix(1);
  std::string out(text);
  size_t label = 0;
  for (size_t i = text.substr(0, 2) == "*." ? 2 : 0; i <= out.size(); i++) {
    if (i == out.size() || out[i] == '.') {
      if (label == 0 || label > 63) return {};
      label = 0;
      continue;
    }
    char& c = out[i];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_') return {};
    label++;
  }
  if (out.size() > kMaxDomain) return {};
  return out;
}

bool MatchesPattern(std::string_view pattern, std::string_view name) {
  if (pattern == "*") return true;
  if (pattern.substr(0, 2) != "*.") return pattern == name;
  pattern.remove_prefix(1);
  return name.size() > pattern.size() && name.substr(name.size() - pattern.size()) == pattern;
}

namespace {

constexpr uint32_t kFormat = 0x50474e01;  // changes with the layout

struct Head {
  uint32_t format;
  uint8_t allow_by_default, log;
  uint16_t resolvers;
  Limits limits;
  uint32_t min_ttl, max_ttl;
  uint32_t rules;
};
struct RuleHead {
  uint8_t allow, protocols;
  uint16_t ports, prefixes, domains;
};

}  // namespace

std::vector<uint8_t> Encode(const Policy& policy) {
  std::vector<uint8_t> out(kMaxEncoded);
  gofer::wire::Writer w(out);
  w.Put(Head{kFormat, policy.allow_by_default, static_cast<uint8_t>(policy.log),
             static_cast<uint16_t>(policy.resolvers.size()), policy.limits, policy.min_ttl,
             policy.max_ttl, static_cast<uint32_t>(policy.rules.size())});
  for (const Address& a : policy.resolvers) w.Put(a);
  for (const Rule& r : policy.rules) {
    w.Put(RuleHead{r.allow, r.protocols, static_cast<uint16_t>(r.ports.size()),
                   static_cast<uint16_t>(r.prefixes.size()),
                   static_cast<uint16_t>(r.domains.size())});
    for (const PortRange& p : r.ports) w.Put(p);
    for (const Prefix& p : r.prefixes) w.Put(p);
    for (const std::string& d : r.domains) w.String(d);
  }
  out.resize(w.ok() ? w.size() : 0);
  return out;
}

bool Decode(std::span<const uint8_t> data, Policy* policy) {
  gofer::wire::Reader in(data);
  const auto head = in.Get<Head>();
  if (!in.ok() || head.format != kFormat || head.allow_by_default > 1 ||
      head.log > static_cast<uint8_t>(LogDecisions::kAll) || head.resolvers > kMaxResolvers ||
      head.rules > kMaxRules || head.min_ttl > head.max_ttl) {
    return false;
  }
  *policy = {.allow_by_default = head.allow_by_default != 0,
             .log = static_cast<LogDecisions>(head.log),
             .limits = head.limits,
             .min_ttl = head.min_ttl,
             .max_ttl = head.max_ttl};
  for (uint16_t i = 0; i < head.resolvers; i++) policy->resolvers.push_back(in.Get<Address>());
  for (uint32_t i = 0; i < head.rules && in.ok(); i++) {
    const auto h = in.Get<RuleHead>();
    if (h.allow > 1 || h.protocols == 0 || h.protocols > kAnyProtocol || h.ports > kMaxPerRule ||
        h.prefixes > kMaxPerRule || h.domains > kMaxPerRule ||
        (h.prefixes != 0 && h.domains != 0)) {
      return false;
    }
    Rule& r = policy->rules.emplace_back();
    r.allow = h.allow != 0;
    r.protocols = h.protocols;
    for (uint16_t k = 0; k < h.ports; k++) {
      r.ports.push_back(in.Get<PortRange>());
      if (r.ports.back().first > r.ports.back().last) return false;
    }
    for (uint16_t k = 0; k < h.prefixes; k++) {
      r.prefixes.push_back(in.Get<Prefix>());
      if (r.prefixes.back().bits > 128) return false;
    }
    for (uint16_t k = 0; k < h.domains; k++) {
      const std::string_view d = in.String(kMaxDomain);
      if (NormalPattern(d) != d) return false;
      r.domains.emplace_back(d);
    }
  }
  return in.Done();
}

}  // namespace netgofer
