#include "platform/host/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <ucontext.h>

#include <bitset>
#include <cstdio>
#include <cstdlib>

#include "platform/base/log.h"
#include "platform/host/filter_rows.h"
#include "platform/host/host.h"

namespace host {
namespace {

// Written by gen/filter_gen.cc at build time: struct Program {roles, report, length, code}
// kPrograms[].
#include "host_filters.inc"

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
  for (const Program& p : kPrograms) {
    if (p.roles != roles || p.report != (violation == Violation::kReport)) continue;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
      return base::Status::Errno("no_new_privs", errno);
    struct {
      unsigned short len;
      const void* filter;
    } prog{p.length, p.code};
    // Every thread; no speculation penalty (the process keeps no secrets from itself).
    long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                     SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog);
    if (r == 0) return {};
    return base::Status::Errno("installing the seccomp filter", r > 0 ? EBUSY : errno);
  }
  return base::Status::Error("there is no seccomp filter for these roles");
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
  } kinds[] = {{"sentry", kSentry},
               {"gofer", kGofer},
               {"net gofer", kNetGofer},
               {"added by raw sockets", kNetRaw},
               {"added by the ptrace engine", kPtrace},
               {"added by the kvm engine", kKvm}};
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
