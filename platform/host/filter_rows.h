// The rows of host_calls.def as data: for the generator of the filters and for `moat debug
// --host-calls`.
#pragma once

#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>

#include <cstdint>
#include <initializer_list>

#include "platform/host/filter.h"
#include "platform/host/host.h"

namespace host {

struct Condition {
  unsigned arg;
  uint64_t mask, value;
};
constexpr Condition EQ(unsigned arg, uint64_t value) { return {arg, ~uint64_t{0}, value}; }
constexpr Condition MASK(unsigned arg, uint64_t mask, uint64_t value) { return {arg, mask, value}; }

constexpr int kMaxConditions = 3;
struct Row {
  int nr;
  const char* name;
  uint32_t roles;
  const char* reason;
  int refuse = 0;  // errno instead of death
  int n_conditions = 0;
  Condition conditions[kMaxConditions] = {};
};

constexpr Row Make(int nr, const char* name, uint32_t roles, const char* reason, int refuse,
                   std::initializer_list<Condition> conditions) {
  Row r{nr, name, roles, reason, refuse};
  for (const Condition& c : conditions) r.conditions[r.n_conditions++] = c;
  return r;
}

constexpr Row kRows[] = {
#define HOST_CALL(name, roles, reason) Make(SYS_##name, #name, roles, reason, 0, {}),
#define HOST_CALL_IF(name, roles, reason, ...) \
  Make(SYS_##name, #name, roles, reason, 0, {__VA_ARGS__}),
#define HOST_REFUSE(name, roles, reason, error) Make(SYS_##name, #name, roles, reason, error, {}),
#include "platform/host/host_calls.def"
};

// The role sets that processes have: one filter each.
constexpr uint32_t kRoleSets[] = {kSentry, kSentry | kPtrace, kGofer, kNetGofer};

}  // namespace host
