// The steps of a container's life, as the subcommands ask for them. Errors have runc's words where
// callers compare them.
#pragma once

#include <string>
#include <vector>

#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/launch.h"
#include "runsc-cli/oci/cgroup.h"
#include "runsc-cli/oci/record.h"

namespace runsc {

struct CreateOptions {
  std::string pid_file, console_socket;
  int preserve_fds = 0;
  bool detach = true;  // the sandbox outlives the command
  Streams streams;     // of the first process; with a console socket a new terminal replaces them
};
// Claims the id, makes the sandbox and waits until it is ready to start. What was made is taken
// back if something fails. With detach the sandbox is on its own then, else it is the caller's.
base::Status CreateContainer(const Settings& settings, const Spec& spec, CreateOptions options,
                             Record* record, Sandbox* sandbox);
// With the hooks that belong to it. owner: the connection to ask through; -1: a new one.
base::Status StartContainer(Record& record, int owner = -1);

ContainerStatus StatusOf(const Record& record);
// A new connection to a sandbox: "container not running".
base::Status Connect(const Record& record, base::UniqueFd* out);
// Sends a request and waits for kDone or kReply.
base::Status Request(int connection, Control kind, int32_t value, ControlMessage* reply,
                     std::span<const int> fds = {});

base::Status KillContainer(const Record& record, int signal, bool all);
base::Status PauseContainer(Record& record);
base::Status ResumeContainer(const Record& record);
base::Status UpdateContainer(Record& record, const Resources& resources);
// Groups that count what the container uses; one that had none is counted from now on.
base::Status StatsCgroup(Record& record, Cgroup* cgroup);
// The processes of the host that stand for the container's, the first one first.
base::Status ContainerPids(const Record& record, std::vector<pid_t>* pids);
// Removes a stopped container, a created one after its end; force: any, and what a crash left.
base::Status DeleteContainer(const Settings& settings, const std::string& id, bool force);

// A number and nothing else, as callers read it; replaced in one step.
base::Status WritePidFile(const std::string& path, pid_t pid);
// A terminal of the host: its master goes to the console socket, its slave, in raw mode, is for
// the sandbox.
base::Status OpenConsole(const std::string& socket, const ProcessSpec& process,
                         base::UniqueFd* master, Streams* streams);
base::Status SendConsole(const std::string& socket, base::UniqueFd master);

}  // namespace runsc
