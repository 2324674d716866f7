// The subcommands. Each gets the words behind its name and returns the command's exit status.
#pragma once

#include <string>
#include <vector>

#include "runsc-cli/cmd/flags.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

using Words = std::vector<std::string>;

int CmdCreate(const Settings& settings, const Words& words);
int CmdDebug(const Settings& settings, const Words& words);
int CmdDelete(const Settings& settings, const Words& words);
int CmdDo(const Settings& settings, const Words& words);
int CmdEvents(const Settings& settings, const Words& words);
int CmdExec(const Settings& settings, const Words& words);
int CmdFeatures(const Settings& settings, const Words& words);
int CmdInstall(const Settings& settings, const Words& words);
int CmdKill(const Settings& settings, const Words& words);
int CmdList(const Settings& settings, const Words& words);
int CmdNetwork(const Settings& settings, const Words& words);
int CmdPause(const Settings& settings, const Words& words);
int CmdPs(const Settings& settings, const Words& words);
int CmdResume(const Settings& settings, const Words& words);
int CmdRun(const Settings& settings, const Words& words);
int CmdSpec(const Settings& settings, const Words& words);
int CmdStart(const Settings& settings, const Words& words);
int CmdState(const Settings& settings, const Words& words);
int CmdUninstall(const Settings& settings, const Words& words);
int CmdUpdate(const Settings& settings, const Words& words);
int CmdWait(const Settings& settings, const Words& words);

// The commands about a container: flags, its id, and more words if more is true. True: go on;
// false: return *status.
bool ParseContainerCommand(const FlagSet& flags, const char* usage, const Words& words,
                           std::string* id, Words* more, int* status);
// --network and --egress*, of `moat` itself and of `moat do`.
void AddNetworkFlags(FlagSet* flags, NetworkSettings* s);
// runc's status of a command that failed.
constexpr int kExitOciFailure = 1;

}  // namespace runsc
