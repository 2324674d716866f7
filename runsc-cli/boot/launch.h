// The command's side of a sandbox's start.
#pragma once

#include <sys/types.h>

#include <functional>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/boot/streams.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

struct LaunchOptions {
  Streams streams;
  // streams.console_in is nobody's terminal yet: the sentry becomes its owner, and hears of its new
  // sizes itself.
  bool take_terminal = false;
  base::UniqueFd listen;    // where other commands will come in
  base::UniqueFd policies;  // where new egress policies come in; may be invalid
  base::UniqueFd log;       // of the sandbox; invalid: standard error or --debug-log
  // Of the control groups that all of the sandbox's processes enter (Cgroup::OpenDoors()).
  std::vector<base::UniqueFd> doors;
  bool start_at_once = true;  // else kReady comes, and kStart is waited for
  bool outlive = false;       // the sandbox lives on when the command ends after kDetach
  // Called when the sandbox's namespaces exist, and before anything looks at the root.
  std::function<base::Status(pid_t sentry)> made;
};

// A sandbox that was made by this command.
struct Sandbox {
  pid_t sentry = 0, gofer = 0, network = 0;
  base::UniqueFd control;  // its owner: see control.h
  base::UniqueFd error;    // what a process that died early had to say
  int failure = 0;         // the exit status that went with a failure of its program
  // Kills what is left of it, unless it was released.
  ~Sandbox();
  void Release() { sentry = gofer = network = 0; }
  // Why it ended without a message. Waits for its end.
  std::string LastWords();
};

base::Status Launch(const Spec& spec, const Settings& settings, LaunchOptions options,
                    Sandbox* sandbox);

// Descriptors of new processes stay clear of 0, 1 and 2, where a stray message could reach the
// guest's output.
base::UniqueFd DupHigh(int fd);
// What a sandbox says is shown, but can't drive the terminal.
std::string Printable(std::string text);
// Closes all descriptors but those (and those of them that are -1).
void CloseOthers(std::vector<int> keep);

}  // namespace runsc
