// The subcommands. Each gets the words behind its name and returns the command's exit status.
#pragma once

#include <string>
#include <vector>

#include "runsc-cli/oci/spec.h"

namespace runsc {

using Words = std::vector<std::string>;

int CmdDo(const Settings& settings, const Words& words);
int CmdRun(const Settings& settings, const Words& words);
int CmdDebug(const Settings& settings, const Words& words);

}  // namespace runsc
