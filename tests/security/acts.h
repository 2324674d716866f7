// The forbidden acts: what a compromised sentry, a compromised gofer or a hostile guest tries
// against the host. Raw system calls only, so that the same act runs natively, behind the second
// wall, and in a guest that jumps into its stub.
#pragma once

#include <span>

namespace security {

// nr, six arguments; the kernel's return value.
using Syscall = long (*)(long, long, long, long, long, long, long);

// What the acts aim at: things of the host, made for the test. From $MOAT_TARGET.
struct Target {
  int victim = 0;            // a process
  int port = 0;              // where it listens on 127.0.0.1
  const char* name = "";     // of its abstract socket
  const char* secret = "";   // a file beside, not in, the folder that is served
  const char* program = "";  // an executable file there; with "escaped" it exits with kEscaped
  int root = -1;             // a descriptor of the folder that is served
};
constexpr int kEscaped = 86;
Target ParseTarget(const char* text);

enum Flags : unsigned {
  kRootOnly = 1,     // natively only root gets it
  kMaybe = 2,        // natively the host's settings may refuse it to anybody
  kHostObject = 4,   // aims at the host's own things: refused in a guest too, by Moat's kernel
  kRightsStop = 8,   // namespaces and missing rights refuse it, also without the filter
  kServedRoot = 16,  // through the served folder's descriptor: for the gofer
};

struct Act {
  const char* name;
  unsigned flags;
  // The errno (negative) that says that nothing but the arguments is wrong; 0: only success does.
  int reached;
  long (*run)(const Target&, Syscall);
};
std::span<const Act> Acts();
const Act* FindAct(const char* name);

}  // namespace security
