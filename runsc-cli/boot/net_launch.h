// The net gofer's process. Until the sandbox uses its network for the first time, it is a fork of
// the command that waits, and has read nothing of anybody's; then it makes a child that locks
// itself up and serves, and waits for its end.
#pragma once

#include <sys/types.h>

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
};

// The pid of the waiting process, which ends with the sentry's end of the connection.
base::StatusOr<pid_t> StartNetGofer(NetLaunch launch);

}  // namespace runsc
