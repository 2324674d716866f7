// The sentry process, from jail to the last exit.
#pragma once

#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/boot/engines.h"
#include "runsc-cli/boot/gofer_launch.h"
#include "runsc-cli/boot/share.h"
#include "runsc-cli/boot/streams.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

struct SentryArgs {
  const Spec* spec;
  const Settings* settings;
  Engine engine;
  base::UniqueFd control;  // to the command that made the sandbox
  base::UniqueFd listen;   // where other commands come in; may be invalid
  base::UniqueFd gofer;
  base::UniqueFd network;  // to the net gofer; invalid: there is no outside
  base::UniqueFd log;      // debug log and fatal reports
  base::UniqueFd resized;  // a signalfd of SIGWINCH for the terminal; may be invalid
  Streams streams;
  bool start_at_once = true;  // else when the control connection says so
  bool outlive = false;       // the command's death is not the sandbox's
  std::vector<GoferMountSpec> gofer_mounts;
  Share machine;
  uint64_t host_threads = 0;  // how many it may have, with those of its guests
};

// Returns when the first process has ended, or says why the sandbox could not be made.
// *exit_status: what the sentry's own process shall exit with; what failed in the guest's program
// went to the control connection.
base::Status SentryMain(SentryArgs args, int* exit_status);

}  // namespace runsc
