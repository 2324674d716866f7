#include "netgofer/server/guard.h"

#include <algorithm>
#include <cstdio>

#include "platform/host/host.h"

namespace netgofer {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

int64_t MonotonicNow() { return host::ClockNow(CLOCK_MONOTONIC); }

const char* ProtocolName(uint8_t protocol) {
  return protocol == kTcp ? "tcp" : protocol == kUdp ? "udp" : "icmp";
}

}  // namespace

bool Guard::Bucket::Take(uint32_t rate, int64_t now) {
  if (rate == 0) return true;
  const double most = rate;
  left = at == 0 ? most
                 : std::min(most, left + most * static_cast<double>(now - at) /
                                             static_cast<double>(kSecond));
  at = now;
  if (left < 1) return false;
  left -= 1;
  return true;
}

Guard::Guard(std::optional<Policy> policy, std::vector<Address> resolvers, base::UniqueFd log,
             Clock clock)
    : clock_(clock != nullptr ? clock : &MonotonicNow),
      resolvers_(std::move(resolvers)),
      log_(std::move(log)) {
  if (policy) SetPolicy(*std::move(policy));
}

void Guard::SetPolicy(Policy policy) {
  limits_ = policy.limits;
  policy_ = std::move(policy);
  if (policy_->resolvers.empty()) policy_->resolvers = resolvers_;
}

bool Guard::MayConnect(uint8_t protocol, const Endpoint& remote, size_t open,
                       std::vector<std::string>* names) {
  if (!policy_) return true;
  *names = pins_.NamesOf(Canonical(remote.address), Now());
  Decision d = Judge(*policy_, protocol, remote, *names);
  if (d.allowed && limits_.connections != 0 && open >= limits_.connections) {
    d = {false, -1, "connection limit"};
  }
  if (d.allowed && !connections_.Take(limits_.connections_per_second, Now())) {
    d = {false, -1, "connection rate"};
  }
  return Log(d, {protocol, &remote, names->empty() ? std::string_view() : names->front()});
}

bool Guard::StillMay(uint8_t protocol, const Endpoint& remote,
                     const std::vector<std::string>& names) {
  if (!policy_) return true;
  const Decision d = Judge(*policy_, protocol, remote, names);
  if (d.allowed) return true;
  return Log({false, d.rule, "cut by a new policy"},
             {protocol, &remote, names.empty() ? std::string_view() : names.front()});
}

bool Guard::MaySendDatagram() {
  return !policy_ || datagrams_.Take(limits_.datagrams_per_second, Now());
}

bool Guard::MaySendTo(uint8_t protocol, const Endpoint& remote) {
  if (!policy_) return true;
  const std::vector<std::string> names = pins_.NamesOf(Canonical(remote.address), Now());
  Decision d = Judge(*policy_, protocol, remote, names);
  if (d.allowed && !MaySendDatagram()) d = {false, -1, "datagram rate"};
  return Log(d, {protocol, &remote, names.empty() ? std::string_view() : names.front()});
}

bool Guard::Resolves(uint8_t protocol, const Endpoint& remote) const {
  if (!policy_ || remote.port != dns::kPort || (protocol & (kTcp | kUdp)) == 0) return false;
  const Address a = Canonical(remote.address);
  return std::any_of(policy_->resolvers.begin(), policy_->resolvers.end(),
                     [&](const Address& r) { return Canonical(r) == a; });
}

bool Guard::MayLookUp(uint8_t protocol, const Endpoint& resolver, const dns::Query& query) {
  Decision d = JudgeName(*policy_, query.name);
  if (!d.allowed && d.rule < 0) {
    const Decision plain = Judge(*policy_, protocol, resolver, {});
    if (plain.allowed) d = plain;
  }
  if (d.allowed && !MaySendDatagram()) d = {false, -1, "datagram rate"};
  return Log(d, {protocol, &resolver, query.name});
}

bool Guard::Believe(const dns::Query& query, const dns::Answer& answer) {
  const Decision named = JudgeName(*policy_, query.name);
  for (const dns::AddressRecord& r : answer.addresses) {
    if (MayResolveTo(*policy_, r.address)) continue;
    const Endpoint e{.address = r.address};
    return Log({false, named.rule, "name resolves to an address that is not the internet's"},
               {kUdp, &e, query.name});
  }
  // Names that pass only since the resolver is allowed make no address reachable.
  if (!named.allowed) return true;
  const int64_t now = Now();
  for (const dns::AddressRecord& r : answer.addresses) {
    const uint32_t ttl = std::clamp(r.ttl, policy_->min_ttl, policy_->max_ttl);
    pins_.Add(Canonical(r.address), query.name, now, now + ttl * kSecond);
  }
  return true;
}

bool Guard::Log(const Decision& d, const Event& e) {
  if (!log_ || policy_->log == LogDecisions::kNone ||
      (d.allowed && policy_->log != LogDecisions::kAll)) {
    return d.allowed;
  }
  const int64_t now = host::ClockNow(CLOCK_REALTIME);
  // Names hold letters, digits, dots, - and _ only (dns.cc), so nothing needs an escape.
  char line[768], rule[24] = "null";
  if (d.rule >= 0) snprintf(rule, sizeof rule, "%d", d.rule);
  const std::string address = ToText(e.remote->address);
  const int n = snprintf(
      line, sizeof line,
      "{\"time\":%lld.%03lld,\"decision\":\"%s\",\"protocol\":\"%s\",\"address\":\"%s\",\"port\":%"
      "u,"
      "\"name\":\"%.*s\",\"rule\":%s,\"reason\":\"%s\"}\n",
      static_cast<long long>(now / kSecond), static_cast<long long>(now % kSecond / 1'000'000),
      d.allowed ? "allow" : "deny", ProtocolName(e.protocol), address.c_str(), e.remote->port,
      static_cast<int>(e.name.size()), e.name.data(), rule, d.reason);
  if (n > 0) host::Write(log_.get(), line, std::min(static_cast<size_t>(n), sizeof line - 1));
  return d.allowed;
}

}  // namespace netgofer
