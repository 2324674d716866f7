// moat exec: another process in a container. On the host a process stands for it, this command or
// one that it leaves behind: signals to that one are the guest's, its end is the guest process's,
// and its exit status too.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "runsc-cli/boot/lifecycle.h"
#include "runsc-cli/boot/proxy.h"
#include "runsc-cli/boot/relay.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/oci/config.h"
#include "runsc-cli/oci/passwd.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

constexpr int kExecFailure = 255;  // runc's

struct ExecFlags {
  std::string process, cwd, user, pid_file, console_socket, preserve = "0";
  std::vector<std::string> env, gids, caps;
  bool tty = false, detach = false, no_new_privs = false, ignore_paused = false;
};

// Numbers are taken as they are, as runc does; names are looked up in the container's root.
Status SetUser(const std::string& text, const Record& record, ProcessSpec* process) {
  if (text.find_first_not_of("0123456789:") == std::string::npos) {
    const size_t colon = text.find(':');
    process->uid = static_cast<uint32_t>(strtoul(text.c_str(), nullptr, 10));
    if (colon != std::string::npos)
      process->gid = static_cast<uint32_t>(strtoul(text.c_str() + colon + 1, nullptr, 10));
    return {};
  }
  std::string home;
  return ResolveUser(record.rootfs, text, process, &home);
}

// Takes the container's process where the command line says nothing else, as runc does.
Status MakeProcess(const ExecFlags& f, const Record& record, const Words& command,
                   ProcessSpec* process) {
  std::vector<std::string> warnings;
  if (!f.process.empty()) {
    Status st = ReadProcessFile(f.process, process, &warnings);
    for (const std::string& w : warnings) Warn(w);
    if (f.tty) process->terminal = true;
    return st;
  }
  if (command.empty()) return Status::Error("no command given: moat exec ID CMD [ARG...]");
  Spec spec;
  RETURN_IF_ERROR(record.LoadConfig(&spec));
  *process = spec.process;
  process->args = command;
  process->terminal = f.tty;
  process->env.insert(process->env.end(), f.env.begin(), f.env.end());
  if (!f.cwd.empty()) process->cwd = f.cwd;
  if (f.no_new_privs) process->no_new_privs = true;
  if (!f.user.empty()) RETURN_IF_ERROR(SetUser(f.user, record, process));
  for (const std::string& g : f.gids)
    process->groups.push_back(static_cast<uint32_t>(strtoul(g.c_str(), nullptr, 10)));
  for (const std::string& name : f.caps) {
    const int cap = CapByName(name);
    if (cap < 0) return Status::Error("unknown capability \"" + name + "\"");
    for (uint64_t* set :
         {&process->caps_bounding, &process->caps_effective, &process->caps_permitted}) {
      *set |= uint64_t{1} << cap;
    }
  }
  return {};
}

Status CheckRunning(const Record& record, bool ignore_paused) {
  switch (StatusOf(record)) {
    case ContainerStatus::kStopped:
      return Status::Error("cannot exec in a stopped container");
    case ContainerStatus::kPaused:
      if (ignore_paused) return {};
      return Status::Error("cannot exec in a paused container (use --ignore-paused to override)");
    default:
      return {};
  }
}

Status Ask(int connection, const ProcessSpec& process, const Streams& streams) {
  std::vector<int> fds;
  const std::string body = EncodeExec(process, streams, &fds);
  if (body.size() > kMaxControlBody) return Status::Error("the arguments are too long");
  if (!SendControl(connection, Control::kExec, getpid(), body, fds))
    return Status::Error("container not running");
  return {};
}

Status Detach(UniqueFd connection, const ExecFlags& f, const ProcessSpec& process, Streams streams,
              UniqueFd master) {
  ProxyRequest request{.kind = Control::kExec, .terminal = streams.console_in.get()};
  request.body = EncodeExec(process, streams, &request.fds);
  Proxy proxy;
  RETURN_IF_ERROR(proxy.Start(connection.get(), std::move(request)));
  RETURN_IF_ERROR(proxy.Ask());
  if (!f.console_socket.empty()) RETURN_IF_ERROR(SendConsole(f.console_socket, std::move(master)));
  return WritePidFile(f.pid_file, proxy.pid());
}

Status Exec(const ExecFlags& f, const Record& record, const Words& command, int* status) {
  ProcessSpec process;
  RETURN_IF_ERROR(MakeProcess(f, record, command, &process));
  RETURN_IF_ERROR(CheckRunning(record, f.ignore_paused));
  UniqueFd connection, master;
  RETURN_IF_ERROR(Connect(record, &connection));
  Relay relay;
  const bool foreground_terminal = process.terminal && f.console_socket.empty();
  if (foreground_terminal && f.detach)
    return Status::Error("cannot allocate tty if runc will detach without setting console socket");
  Streams streams = relay.CallerStreams(foreground_terminal);
  for (int i = 0; i < atoi(f.preserve.c_str()); i++) {
    UniqueFd fd = DupHigh(3 + i);
    if (!fd) return Status::Error("--preserve-fds: no descriptor " + std::to_string(3 + i));
    streams.extra.push_back(std::move(fd));
  }
  if (!f.console_socket.empty())
    RETURN_IF_ERROR(OpenConsole(f.console_socket, process, &master, &streams));
  if (f.detach || !f.console_socket.empty()) {
    *status = 0;
    return Detach(std::move(connection), f, process, std::move(streams), std::move(master));
  }
  RETURN_IF_ERROR(relay.HoldSignals());
  RETURN_IF_ERROR(Ask(connection.get(), process, streams));
  RETURN_IF_ERROR(relay.AwaitStart(connection.get(), status));
  if (relay.ended()) return {};
  RETURN_IF_ERROR(WritePidFile(f.pid_file, getpid()));
  *status = 128 + 9;
  relay.Run(connection.get(), status);
  return {};
}

}  // namespace

int CmdExec(const Settings& settings, const Words& words) {
  ExecFlags f;
  FlagSet flags;
  flags.String("process", &f.process, "FILE", "the process as config.json describes one");
  flags.Alias("p", "process");
  flags.String("cwd", &f.cwd, "DIR", "working directory");
  flags.List("env", &f.env, "NAME=VALUE", "set a variable; may be repeated");
  flags.Alias("e", "env");
  flags.String("user", &f.user, "USER[:GROUP]", "run as that user");
  flags.Alias("u", "user");
  flags.List("additional-gids", &f.gids, "GID", "another group; may be repeated");
  flags.Alias("g", "additional-gids");
  flags.List("cap", &f.caps, "CAP_NAME", "another capability; may be repeated");
  flags.Alias("c", "cap");
  flags.Bool("tty", &f.tty, "on a terminal");
  flags.Alias("t", "tty");
  flags.Bool("detach", &f.detach, "come back as soon as the process runs");
  flags.Alias("d", "detach");
  flags.String("pid-file", &f.pid_file, "FILE", "where the id of the process goes");
  flags.String("console-socket", &f.console_socket, "SOCKET",
               "whom the master of the process's terminal is sent to");
  flags.String("preserve-fds", &f.preserve, "N", "also give it descriptors 3, 4... (N)");
  flags.Bool("no-new-privs", &f.no_new_privs, "it can't gain privileges");
  flags.Bool("ignore-paused", &f.ignore_paused, "also if the container is paused");
  for (const char* name : {"process-label", "apparmor", "cgroup"}) flags.Ignored(name, true);
  std::string id;
  Words command;
  int status = 0;
  if (!ParseContainerCommand(flags, "exec [FLAGS] ID CMD [ARG...]", words, &id, &command, &status))
    return status;
  if (!command.empty() && command[0] == "--") command.erase(command.begin());
  Record record;
  Status st = Record::Load(settings, id, false, &record);
  if (st.ok()) st = Exec(f, record, command, &status);
  return st.ok() ? status : Fail("exec failed: " + st.text(), kExecFailure);
}

}  // namespace runsc
