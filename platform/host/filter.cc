#include "platform/host/filter.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <ucontext.h>

#include <bitset>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <vector>

#include "platform/base/log.h"
#include "platform/host/host.h"

namespace host {
namespace {

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

void OnViolation(int, siginfo_t* info, void* context) {
  auto* uc = static_cast<ucontext_t*>(context);
  const greg_t* r = uc->uc_mcontext.gregs;
  const char* name = "?";
  for (const Row& row : kRows) {
    if (row.nr == info->si_syscall) name = row.name;
  }
  base::LogReport(
      "host call %d (%s) with %llx %llx %llx %llx is not in host_calls.def for this process",
      info->si_syscall, name, static_cast<unsigned long long>(r[REG_RDI]),
      static_cast<unsigned long long>(r[REG_RSI]), static_cast<unsigned long long>(r[REG_RDX]),
      static_cast<unsigned long long>(r[REG_R10]));
  abort();
}

}  // namespace

base::Status InstallFilter(uint32_t roles, Violation violation) {
  if (violation == Violation::kReport) {
    struct sigaction sa {};
    sa.sa_sigaction = OnViolation;
    sa.sa_flags = SA_SIGINFO | SA_NODEFER;
    Sigaction(SIGSYS, &sa, nullptr);
  }
  scmp_filter_ctx ctx =
      seccomp_init(violation == Violation::kReport ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);
  if (!ctx) return base::Status::Error("libseccomp has no memory");
  // Every thread; no speculation penalty (the process keeps no secrets from itself); a balanced
  // tree instead of a list.
  seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
  seccomp_attr_set(ctx, SCMP_FLTATR_CTL_SSB, 1);
  seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  int err = 0;
  for (const Row& row : kRows) {
    if ((row.roles & roles) == 0 || err != 0) continue;
    scmp_arg_cmp cmp[kMaxConditions];
    for (int i = 0; i < row.n_conditions; i++) {
      const Condition& c = row.conditions[i];
      cmp[i] = SCMP_CMP64(c.arg, SCMP_CMP_MASKED_EQ, c.mask, c.value);
    }
    err = seccomp_rule_add_array(ctx, row.refuse ? SCMP_ACT_ERRNO(row.refuse) : SCMP_ACT_ALLOW,
                                 row.nr, static_cast<unsigned>(row.n_conditions), cmp);
  }
  if (err == 0) err = seccomp_load(ctx);
  seccomp_release(ctx);
  if (err != 0) return base::Status::Errno("installing the seccomp filter", -err);
  return {};
}

int AllowedCalls(uint32_t roles) {
  std::bitset<1024> seen;
  for (const Row& row : kRows) {
    if ((row.roles & roles) != 0 && row.refuse == 0) seen.set(static_cast<size_t>(row.nr));
  }
  return static_cast<int>(seen.count());
}

std::string DescribeHostCalls() {
  std::string out;
  char line[512];
  struct {
    const char* name;
    uint32_t roles;
  } kinds[] = {{"sentry", kSentry}, {"gofer", kGofer}, {"added by the ptrace engine", kPtrace}};
  for (auto& k : kinds) {
    snprintf(line, sizeof line, "%s: %d host calls\n", k.name, AllowedCalls(k.roles));
    out += line;
    for (const Row& row : kRows) {
      if ((row.roles & k.roles) == 0) continue;
      std::string limits = row.refuse ? " refused with errno " + std::to_string(row.refuse) : "";
      for (int i = 0; i < row.n_conditions; i++) {
        const Condition& c = row.conditions[i];
        char cond[96];
        if (c.mask == ~uint64_t{0}) {
          snprintf(cond, sizeof cond, " arg%u=0x%llx", c.arg,
                   static_cast<unsigned long long>(c.value));
        } else {
          snprintf(cond, sizeof cond, " arg%u&0x%llx=0x%llx", c.arg,
                   static_cast<unsigned long long>(c.mask),
                   static_cast<unsigned long long>(c.value));
        }
        limits += cond;
      }
      snprintf(line, sizeof line, "  %-20s%s  (%s)\n", row.name, limits.c_str(), row.reason);
      out += line;
    }
  }
  return out;
}

}  // namespace host
