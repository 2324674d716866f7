// The second wall's first half: processes in namespaces of their own with an empty root and no
// privileges. (The other half is the system call filter.) Used by the command's set-up code, before
// any filter: the calls here are not rows of host_calls.def.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"

namespace host {

enum class JailKind {
  // Nobody on the host: a user namespace that maps one unprivileged id (for root callers: 65534),
  // pid namespace with itself as
  // pid 1, mount, net, ipc and uts namespaces, a private tmpfs as root, no capabilities.
  kSentry,
  // The caller's identity, since it acts on the caller's files. Root callers keep CAP_DAC_OVERRIDE,
  // DAC_READ_SEARCH, FOWNER, CHOWN
  // and FSETID; others get a user namespace that maps only themselves, to be allowed the other
  // namespaces. Empty root.
  kGofer,
};

// A directory or file that a jailed process shall still reach: by descriptor only, with nothing
// above it.
struct JailTree {
  std::string path;
  bool read_only = false;
  base::UniqueFd fd;  // filled in: the root of a detached copy of the mounts from path on
};

// Forks a process (not a thread: the caller must be single-threaded). The child gets `trees`
// opened, enters its jail, and calls main, whose result is its exit code. A failure in the child
// before main is written as text to error_fd, and it exits with 125. The child dies with the
// caller. keep: descriptors that stay open in the child besides error_fd; all others are closed.
base::StatusOr<pid_t> ForkJailed(JailKind kind, std::vector<JailTree> trees, int error_fd,
                                 std::vector<int> keep,
                                 const std::function<int(std::vector<JailTree>& trees)>& main);

}  // namespace host
