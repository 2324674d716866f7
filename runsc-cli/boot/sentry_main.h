// The sentry process, from jail to the last exit.
#pragma once

#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// One mount that the gofer serves, in the order of its ids: 0 is the root.
struct GoferMountSpec {
  std::string destination;
  uint32_t flags;
  bool is_file;
};

struct SentryArgs {
  const Spec* spec;
  const Settings* settings;
  base::UniqueFd control, gofer;
  base::UniqueFd log;       // debug log and fatal reports
  base::UniqueFd stdio[3];  // may be invalid (the caller had it closed)
  bool tty[3] = {false, false, false};
  int console_in = -1,
      console_out = -1;  // which of stdio the terminal is relayed through, -1: no terminal
  uint16_t rows = 24, columns = 80;
  std::vector<GoferMountSpec> gofer_mounts;
  int cpu_count = 1;
  uint64_t memory_bytes = 0;
  uint64_t host_threads = 0;  // how many it may have, with those of its guests
};

// Returns when the first process has ended (its status went to the command), or says why the
// sandbox could not be made.
base::Status SentryMain(SentryArgs args);

}  // namespace runsc
