// The seccomp filters made from host_calls.def.
#pragma once

#include <cstdint>
#include <string>

#include "platform/base/status.h"

namespace host {

// Bits: a process's filter allows the rows of its roles.
enum Role : uint32_t {
  kSentry = 1,
  kGofer = 2,
  kPtrace = 4,  // with kSentry: what the ptrace engine needs
  kSetup = 8,   // in no filter
  kNetGofer = 16,
  kKvm = 32,     // with kSentry: what the kvm engine needs
  kNetRaw = 64,  // with kNetGofer: raw sockets
};

enum class Violation {
  kKill,    // the process dies of SIGSYS
  kReport,  // SIGSYS with a handler that names the call, then abort: for tests and for --debug-log
};

// Confines all threads of this process to the rows of roles, for ever; sets no_new_privs.
base::Status InstallFilter(uint32_t roles, Violation violation);

// The number of different host calls that a filter of these roles allows.
int AllowedCalls(uint32_t roles);
// A line per row, by role, with counts: `moat debug --host-calls`.
std::string DescribeHostCalls();

}  // namespace host
