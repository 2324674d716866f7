// The net gofer's processes. One is a fork of the command that waits and reads nothing of
// anybody's. When the sandbox uses its network for the first time, it makes a child that locks
// itself up and serves. If the child is killed, it ends the child's sockets, so that the sentry
// keeps nothing that a policy doesn't know of, and makes the next when there is something to serve,
// under the policy that was set last.
#pragma once

#include <sys/types.h>

#include <span>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/network/plan.h"

namespace runsc {

struct NetLaunch {
  NetworkPlan plan;
  base::UniqueFd socket;  // the net gofer's end of its connection to the sentry
  pid_t sentry = 0;
  int log = -1;  // debug log
  bool debug = false;
  std::span<const base::UniqueFd> doors = {};  // LaunchOptions::doors
};

// The pid of the waiting process, which ends with the sentry's end of the connection.
base::StatusOr<pid_t> StartNetGofer(NetLaunch launch);

}  // namespace runsc
