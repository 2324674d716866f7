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
#include "platform/host/kvm_abi.h"

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
#define HOST_CALL_IF(name, roles, reason, ...) \
  Make(SYS_##name, #name, roles, reason, 0, {__VA_ARGS__}),
#include "platform/host/host_calls_raw.def"
#undef HOST_CALL_IF
#ifdef MOAT_SANITIZE
    // What the sanitizers' run time asks for (tests/README.md).
    Make(SYS_open, "open", kSentry | kGofer | kNetGofer, "rare: a report reads /proc/self/maps",
         ENOENT, {}),
    Make(SYS_sigaltstack, "sigaltstack", kSentry | kGofer | kNetGofer,
         "rare: a stack's bounds, before a call that doesn't return", 0, {}),
    Make(SYS_gettimeofday, "gettimeofday", kSentry | kGofer | kNetGofer, "rare: tsan's own thread",
         0, {}),
    Make(SYS_nanosleep, "nanosleep", kSentry | kGofer | kNetGofer, "rare: tsan's own thread", 0,
         {}),
    Make(SYS_rseq, "rseq", kGofer | kNetGofer, "rare: the start of tsan's own thread", 0, {}),
    Make(SYS_set_robust_list, "set_robust_list", kGofer | kNetGofer,
         "rare: the start of tsan's own thread", 0, {}),
    Make(SYS_madvise, "madvise", kNetGofer, "rare: allocation", 0, {}),
    Make(SYS_mprotect, "mprotect", kGofer | kNetGofer, "rare: allocation", 0,
         {MASK(2, PROT_EXEC, 0)}),
    Make(SYS_futex, "futex", kGofer | kNetGofer, "rare: locks of the allocator", 0, {}),
    Make(SYS_sched_yield, "sched_yield", kGofer | kNetGofer, "rare: locks of the allocator", 0, {}),
#endif
};

// The role sets that processes have: one filter each.
constexpr uint32_t kRoleSets[] = {kSentry, kSentry | kPtrace, kSentry | kKvm,
                                  kGofer,  kNetGofer,         kNetGofer | kNetRaw};

}  // namespace host
