#include "runsc-cli/boot/lifecycle.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "platform/host/host.h"
#include "runsc-cli/boot/join.h"
#include "runsc-cli/boot/share.h"
#include "runsc-cli/network/plan.h"
#include "runsc-cli/oci/config.h"
#include "runsc-cli/oci/files.h"
#include "runsc-cli/oci/hooks.h"
#include "runsc-cli/oci/report.h"
#include "runsc-cli/oci/systemd.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

constexpr char kSocketName[] = "control";
constexpr int kAnswerSeconds = 5;
constexpr int kEndTries = 1000, kEndPauseMs = 10;  // as long as runc waits for a killed container

// The address of the socket in a record's directory, whatever the length of its path. *directory
// must stay open while it is used.
Status SocketAddress(const Record& record, UniqueFd* directory, sockaddr_un* address) {
  directory->reset(open(record.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!*directory) return Status::Errno(record.directory, errno);
  address->sun_family = AF_UNIX;
  snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", directory->get(),
           kSocketName);
  return {};
}

Status Listen(const Record& record, UniqueFd* out) {
  UniqueFd directory;
  sockaddr_un address{};
  RETURN_IF_ERROR(SocketAddress(record, &directory, &address));
  out->reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!*out || bind(out->get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(out->get(), SOMAXCONN) != 0) {
    return Status::Errno("the sandbox's control socket", errno);
  }
  return {};
}

// The processes below pid, it included.
void AddDescendants(pid_t pid, std::vector<pid_t>* out) {
  if (std::find(out->begin(), out->end(), pid) != out->end()) return;
  out->push_back(pid);
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  for (const std::string& task : ListDirectory(tasks)) {
    const std::string children = ReadLine(tasks + task + "/children");
    for (size_t at = 0; at < children.size(); at = children.find(' ', at)) {
      while (at < children.size() && children[at] == ' ') at++;
      if (at < children.size()) AddDescendants(atoi(children.c_str() + at), out);
    }
  }
}

// proc(5): of the processes of a sandbox, the host shall kill a guest's first when it runs out of
// memory, and of the machine's this sandbox as it was asked to. Without the right to ask for less
// than what the caller has, that stays.
void PreferGuests(const Record& record, std::optional<int32_t> adj) {
  constexpr int32_t kGuestsFirst = 200, kMost = 1000;
  auto file = [](pid_t pid) { return "/proc/" + std::to_string(pid) + "/oom_score_adj"; };
  if (adj) {
    for (pid_t pid : {record.init.pid, record.gofer.pid})
      (void)WriteText(file(pid), std::to_string(*adj));
  }
  const int32_t own = adj ? *adj : atoi(ReadLine(file(record.init.pid)).c_str());
  std::vector<pid_t> all;
  AddDescendants(record.init.pid, &all);
  for (pid_t pid : all) {
    if (pid != record.init.pid)
      (void)WriteText(file(pid), std::to_string(std::min(own + kGuestsFirst, kMost)));
  }
}

// The sentry's private tmpfs, which bounds what its guests have.
Status ResizeMemory(const Record& record, uint64_t bytes) {
  const std::string path = "/proc/" + std::to_string(record.init.pid) + "/ns/mnt";
  const UniqueFd ns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!ns) return Status::Errno(path, errno);
  const std::string size = "size=" + std::to_string(bytes);
  const pid_t child = fork();
  if (child < 0) return Status::Errno("resizing the sandbox's memory", errno);
  if (child == 0) {
    if (setns(ns.get(), CLONE_NEWNS) != 0) _exit(errno);
    // What is in use stays: then the control group alone limits the rest.
    const int r = mount(nullptr, "/", nullptr, MS_REMOUNT | MS_NOSUID | MS_NODEV, size.c_str());
    _exit(r != 0 && errno != EINVAL ? errno : 0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0 ? Status()
                     : Status::Errno("resizing the sandbox's memory", WEXITSTATUS(status));
}

// All that the sandbox consists of, but for what was moved before, and what it forks meanwhile.
Status AddSandbox(const Cgroup& cgroup, const Record& record, std::vector<pid_t> moved) {
  for (;;) {
    std::vector<pid_t> now;
    AddDescendants(record.init.pid, &now);
    if (record.gofer.alive()) now.push_back(record.gofer.pid);
    std::erase_if(
        now, [&](pid_t pid) { return std::find(moved.begin(), moved.end(), pid) != moved.end(); });
    if (now.empty()) return {};
    RETURN_IF_ERROR(cgroup.Add(now));
    moved.insert(moved.end(), now.begin(), now.end());
  }
}

// Groups of these controllers for a container that has none yet: most sandboxes never need one.
Status EnsureCgroups(Record& record, const std::vector<std::string>& controllers, Cgroup* all) {
  *all = Cgroup(record.cgroups);
  std::vector<std::string> missing;
  for (const std::string& c : controllers) {
    if (all->Directory(c).empty()) missing.push_back(c);
  }
  if (missing.empty()) return {};
  auto planned = Cgroup::Plan("", record.id, missing);
  if (!planned.ok()) return planned.status();
  if (planned->empty()) return Status::Error("the host has no control groups for this");
  all->Merge(*planned);
  record.cgroups = all->directories();
  RETURN_IF_ERROR(record.Save());
  RETURN_IF_ERROR(planned->Create());
  return AddSandbox(*planned, record, {});
}

// What a container that is being made has to be taken back, unless it is kept.
class Claim {
 public:
  Claim(const Record& record, const Cgroup& cgroup) : record_(record), cgroup_(cgroup) {}
  ~Claim() {
    if (kept_) return;
    if (!record_.unit.empty()) (void)StopUnit(record_.unit);
    (void)cgroup_.Remove();
    (void)record_.Remove();
  }
  void Keep() { kept_ = true; }

 private:
  const Record& record_;
  const Cgroup& cgroup_;
  bool kept_ = false;
};

Status PlanCgroups(const Settings& settings, const Spec& spec, Cgroup* out,
                   std::optional<SystemdUnit>* unit) {
  if (settings.ignore_cgroups) return {};
  std::vector<std::string> only = ControllersOf(spec.resources);
  if (spec.cgroups_path.empty() && only.empty() && spec.resources.unified.empty()) return {};
  std::string path = spec.cgroups_path;
  if (settings.systemd_cgroup) {
    auto named = SystemdUnit::Of(path.empty() ? "::" : path, spec.id);
    if (!named.ok()) return named.status();
    if (!SystemdRuns())
      return Status::Error("systemd not running on this host, cannot use systemd cgroups manager");
    path = named->Path();
    *unit = std::move(*named);
  }
  // A path is named so that others find everything there.
  if (!path.empty()) only.clear();
  auto planned = Cgroup::Plan(path, spec.id, only);
  if (!planned.ok()) return planned.status();
  *out = std::move(*planned);
  return {};
}

// The sandbox's processes take their place, which systemd makes if it is to be a unit's.
Status MoveToCgroups(const Cgroup& cgroup, const std::optional<SystemdUnit>& unit, const Spec& spec,
                     const std::vector<pid_t>& pids) {
  if (unit) {
    RETURN_IF_ERROR(
        StartUnit(*unit, "moat container " + spec.id, pids, spec.resources, cgroup.unified()));
    RETURN_IF_ERROR(cgroup.Create());
    RETURN_IF_ERROR(cgroup.Set(spec.resources));
  }
  return cgroup.Add(pids);
}

// Waits until the sandbox is ready; or says what it said.
Status AwaitReady(Sandbox& sandbox) {
  for (;;) {
    ControlMessage m;
    if (!ReceiveControl(sandbox.control.get(), &m)) return Status::Error(sandbox.LastWords());
    if (m.kind == Control::kReady) return {};
    if (m.kind == Control::kReport) Warn(Printable(m.body));
    if (m.kind == Control::kFailed) {
      sandbox.failure = m.value & 0xff;
      return Status::Error(Printable(m.body));
    }
  }
}

// A sandbox stands still with its control group. Further containers are a part of that, which its
// kernel stops alone.
Status Freeze(const Record& record, bool frozen) {
  if (record.sandbox.empty()) return Cgroup(record.cgroups).Freeze(frozen);
  UniqueFd connection;
  ControlMessage reply;
  // What ended needs no thaw.
  if (Status s = Connect(record, &connection); !s.ok()) return frozen ? s : Status();
  Status s = Request(connection.get(), Control::kFreeze, frozen ? 1 : 0, &reply);
  return frozen ? s : Status();
}

Status AwaitEnd(const Record& record) {
  for (int i = 0; record.alive(); i++) {
    if (i == kEndTries) return Status::Error("container init still running");
    poll(nullptr, 0, i < 20 ? 1 : kEndPauseMs);
  }
  return {};
}

Status RunCreationHooks(const Record& record, const Spec& spec) {
  const HooksSpec& h = spec.hooks;
  if (h.prestart.empty() && h.create_runtime.empty() && h.create_container.empty()) return {};
  const std::string state = record.StateJson(ContainerStatus::kCreating);
  RETURN_IF_ERROR(RunHooks("prestart", h.prestart, state));
  RETURN_IF_ERROR(RunHooks("createRuntime", h.create_runtime, state));
  return RunHooks("createContainer", h.create_container, state, record.init.pid);
}

}  // namespace

Status WritePidFile(const std::string& path, pid_t pid) {
  if (path.empty()) return {};
  return WriteAtomically(path, std::to_string(pid), 0666).With("--pid-file");
}

Status OpenConsole(const std::string& socket, const ProcessSpec& process, UniqueFd* master,
                   Streams* streams) {
  master->reset(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  int locked = 0;
  if (!*master || ioctl(master->get(), TIOCSPTLCK, &locked) != 0)
    return Status::Errno("a terminal of the host", errno);
  // By the master, not by name: /dev/pts may be another one's.
  UniqueFd slave(ioctl(master->get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios raw;
  if (!slave || tcgetattr(slave.get(), &raw) != 0)
    return Status::Errno("a terminal of the host", errno);
  cfmakeraw(&raw);
  tcsetattr(slave.get(), TCSANOW, &raw);
  if (process.rows != 0 || process.columns != 0) {
    winsize size = {process.rows, process.columns, 0, 0};
    ioctl(master->get(), TIOCSWINSZ, &size);
    streams->rows = process.rows;
    streams->columns = process.columns;
  }
  for (int i = 0; i < 3; i++) {
    streams->stdio[i].reset();
    streams->terminal[i] = true;
  }
  streams->console_out = DupHigh(slave.get());
  streams->console_in = std::move(slave);
  return {};
}

Status SendConsole(const std::string& path, UniqueFd master) {
  UniqueFd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Status::Error("--console-socket " + path + ": the name is too long");
  memcpy(address.sun_path, path.data(), path.size());
  if (!s || connect(s.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return Status::Errno("--console-socket " + path, errno);
  constexpr std::string_view kName = "/dev/ptmx";
  const int fd = master.get();
  const long sent = host::SendWithFds(s.get(), kName.data(), kName.size(), {&fd, 1}, 0);
  if (sent < 0) return Status::Errno("--console-socket " + path, static_cast<int>(-sent));
  return {};
}

Status CreateContainer(const Settings& settings, const Spec& spec, CreateOptions options,
                       Record* record, Sandbox* sandbox) {
  Cgroup cgroup;
  JoinTarget target;
  RETURN_IF_ERROR(FindSandbox(settings, spec, &target));
  std::optional<SystemdUnit> unit;
  RETURN_IF_ERROR(PlanCgroups(settings, spec, &cgroup, &unit));
  RETURN_IF_ERROR(Record::Create(settings, spec.id, record));
  Claim claim(*record, cgroup);
  record->bundle = spec.bundle;
  record->rootfs = spec.root_path;
  record->oci_version = spec.oci_version;
  record->annotations = spec.annotations;
  record->sandbox = target.sandbox;
  record->cgroups = cgroup.directories();
  if (unit) record->unit = unit->name;
  record->hooks = !spec.hooks.start_container.empty() || !spec.hooks.poststart.empty() ||
                  !spec.hooks.poststop.empty();
  RETURN_IF_ERROR(record->SaveConfig(spec.config));
  // Before they exist: `delete --force` must find what a crash leaves.
  if (!cgroup.empty()) RETURN_IF_ERROR(record->Save());
  if (!unit) {
    RETURN_IF_ERROR(cgroup.Create());
    RETURN_IF_ERROR(cgroup.Set(spec.resources));
  }

  LaunchOptions launch;
  launch.streams = std::move(options.streams);
  launch.start_at_once = false;
  launch.outlive = options.detach;
  RETURN_IF_ERROR(Listen(*record, &launch.listen));
  UniqueFd master;
  if (!options.console_socket.empty()) {
    RETURN_IF_ERROR(OpenConsole(options.console_socket, spec.process, &master, &launch.streams));
    launch.take_terminal = true;
  }
  for (int i = 0; i < options.preserve_fds; i++) {
    UniqueFd fd(fcntl(3 + i, F_DUPFD_CLOEXEC, 3 + options.preserve_fds));
    if (!fd) return Status::Errno("--preserve-fds: descriptor " + std::to_string(3 + i), errno);
    launch.streams.extra.push_back(std::move(fd));
  }
  // Standard error may be the container's own.
  if (options.detach) {
    const std::string log = record->directory + "/log";
    launch.log.reset(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  }
  const bool joins = !target.sandbox.empty();
  if (settings.network.mode != "none" && !joins)
    RETURN_IF_ERROR(ListenForPolicies(record->directory, &launch.policies));
  launch.made = [&](pid_t pid) {
    record->init = ProcessId::Of(pid);
    return RunCreationHooks(*record, spec);
  };
  // They enter themselves where that is possible.
  const bool move = !cgroup.empty() && (joins || unit || cgroup.unified());
  if (!cgroup.empty() && !move) RETURN_IF_ERROR(cgroup.OpenDoors(&launch.doors));
  RETURN_IF_ERROR(joins ? Join(spec, settings, target, std::move(launch), sandbox)
                        : Launch(spec, settings, std::move(launch), sandbox));
  record->gofer = ProcessId::Of(sandbox->gofer);
  std::vector<pid_t> moved = {record->init.pid, sandbox->gofer};
  if (sandbox->network != 0) moved.push_back(sandbox->network);
  // While the sandbox prepares itself: a first move waits for all processors of the host. What it
  // forks before it is moved is moved when it is ready.
  if (move) RETURN_IF_ERROR(MoveToCgroups(cgroup, unit, spec, moved));
  if (!joins) RETURN_IF_ERROR(AwaitReady(*sandbox));
  if (!joins) PreferGuests(*record, spec.process.oom_score_adj);
  if (move) RETURN_IF_ERROR(AddSandbox(cgroup, *record, std::move(moved)));
  if (!options.console_socket.empty())
    RETURN_IF_ERROR(SendConsole(options.console_socket, std::move(master)));
  RETURN_IF_ERROR(record->Save());
  RETURN_IF_ERROR(WritePidFile(options.pid_file, record->init.pid));
  if (options.detach) {
    ControlMessage reply;
    if (!joins) RETURN_IF_ERROR(Request(sandbox->control.get(), Control::kDetach, 0, &reply));
    sandbox->Release();
  }
  claim.Keep();
  record->Unlock();
  return {};
}

Status Connect(const Record& record, UniqueFd* out) {
  UniqueFd directory;
  sockaddr_un address{};
  RETURN_IF_ERROR(SocketAddress(record, &directory, &address));
  out->reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!*out || connect(out->get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return Status::Error("container not running");
  return {};
}

Status Request(int connection, Control kind, int32_t value, ControlMessage* reply,
               std::span<const int> fds) {
  if (!SendControl(connection, kind, value, {}, fds)) return Status::Error("container not running");
  for (;;) {
    if (!ReceiveControl(connection, reply))
      return Status::Error("container not running: the sandbox ended");
    if (reply->kind == Control::kFailed) return Status::Error(Printable(reply->body));
    if (reply->kind == Control::kDone || reply->kind == Control::kReply) return {};
  }
}

ContainerStatus StatusOf(const Record& record) {
  if (!record.alive()) return ContainerStatus::kStopped;
  if (Cgroup(record.cgroups).frozen()) return ContainerStatus::kPaused;
  UniqueFd connection;
  ControlMessage reply;
  if (!Connect(record, &connection).ok()) return ContainerStatus::kStopped;
  // One that somebody stopped with a signal doesn't answer.
  const timeval limit = {kAnswerSeconds, 0};
  setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (!Request(connection.get(), Control::kIsStarted, 0, &reply).ok())
    return record.alive() ? ContainerStatus::kRunning : ContainerStatus::kStopped;
  return reply.value == 2   ? ContainerStatus::kPaused
         : reply.value == 1 ? ContainerStatus::kRunning
                            : ContainerStatus::kCreated;
}

Status StartContainer(Record& record, int owner) {
  switch (StatusOf(record)) {
    case ContainerStatus::kCreated:
      break;
    case ContainerStatus::kStopped:
      return Status::Error("cannot start a container that has stopped");
    case ContainerStatus::kRunning:
      return Status::Error("cannot start an already running container");
    default:
      return Status::Error("cannot start a container in the paused state");
  }
  UniqueFd connection;
  if (owner < 0) {
    RETURN_IF_ERROR(Connect(record, &connection));
    owner = connection.get();
  }
  Spec spec;
  if (record.hooks) RETURN_IF_ERROR(record.LoadConfig(&spec));
  UniqueFd state;
  if (!spec.hooks.start_container.empty())
    RETURN_IF_ERROR(TextFile(record.StateJson(ContainerStatus::kCreated), &state));
  const int fd = state.get();
  ControlMessage reply;
  RETURN_IF_ERROR(Request(owner, Control::kStart, 0, &reply,
                          state.valid() ? std::span<const int>(&fd, 1) : std::span<const int>()));
  Status s =
      RunHooks("poststart", spec.hooks.poststart, record.StateJson(ContainerStatus::kRunning));
  if (!s.ok()) (void)KillContainer(record, SIGKILL, true);
  return s;
}

Status KillContainer(const Record& record, int signal, bool all) {
  const ContainerStatus status = StatusOf(record);
  if (status == ContainerStatus::kStopped) {
    return all ? Status() : Status::Error("container not running");
  }
  UniqueFd connection;
  if (status == ContainerStatus::kPaused) {
    if (signal == SIGKILL) {
      // As runc: it shall be gone, not wait for a resume.
      kill(record.init.pid, SIGKILL);
      return Freeze(record, false);
    }
    // Heard when it runs again.
    RETURN_IF_ERROR(Connect(record, &connection));
    SendControl(connection.get(), all ? Control::kKillAll : Control::kKill, signal);
    return {};
  }
  RETURN_IF_ERROR(Connect(record, &connection));
  if (!SendControl(connection.get(), all ? Control::kKillAll : Control::kKill, signal))
    return Status::Error("container not running");
  // No answer: the sandbox ended before it could give one, of this signal in all likelihood.
  ControlMessage reply;
  if (ReceiveControl(connection.get(), &reply) && reply.kind == Control::kFailed)
    return Status::Error(Printable(reply.body));
  return {};
}

Status ContainerPids(const Record& record, std::vector<pid_t>* pids) {
  UniqueFd connection;
  ControlMessage reply;
  RETURN_IF_ERROR(Connect(record, &connection));
  RETURN_IF_ERROR(Request(connection.get(), Control::kProcesses, 0, &reply));
  pids->push_back(record.init.pid);
  std::stringstream lines(reply.body);
  for (std::string line; std::getline(lines, line);) {
    if (const int pid = atoi(line.c_str()); pid > 0) pids->push_back(pid);
  }
  return {};
}

Status PauseContainer(Record& record) {
  const ContainerStatus status = StatusOf(record);
  if (status != ContainerStatus::kRunning && status != ContainerStatus::kCreated)
    return Status::Error("container not running");
  Cgroup cgroup;
  if (record.sandbox.empty()) RETURN_IF_ERROR(EnsureCgroups(record, {"freezer"}, &cgroup));
  return Freeze(record, true);
}

Status ResumeContainer(const Record& record) {
  if (StatusOf(record) != ContainerStatus::kPaused) return Status::Error("container not paused");
  return Freeze(record, false);
}

Status UpdateContainer(Record& record, const Resources& resources) {
  if (StatusOf(record) == ContainerStatus::kStopped) return Status::Error("container not running");
  Cgroup cgroup;
  RETURN_IF_ERROR(EnsureCgroups(record, ControllersOf(resources), &cgroup));
  if (!record.unit.empty())
    RETURN_IF_ERROR(SetUnitLimits(record.unit, resources, cgroup.unified()));
  RETURN_IF_ERROR(cgroup.Set(resources));
  if (resources.memory_limit && record.sandbox.empty())
    RETURN_IF_ERROR(ResizeMemory(record, GuestMemory(resources, MachineShare())));
  // A paused one hears of it when it runs again.
  UniqueFd connection;
  RETURN_IF_ERROR(Connect(record, &connection));
  SendControl(connection.get(), Control::kUpdate, 0, EncodeResources(resources));
  return {};
}

Status StatsCgroup(Record& record, Cgroup* cgroup) {
  return EnsureCgroups(record, {"cpu", "cpuacct", "memory", "pids"}, cgroup);
}

Status DeleteContainer(const Settings& settings, const std::string& id, bool force) {
  Record record;
  Status s = Record::Load(settings, id, true, &record);
  if (!s.ok()) {
    // What is left of a creation that was killed before it wrote anything.
    if (force && CheckId(id).ok()) return record.Remove();
    return force ? Status() : s;
  }
  const ContainerStatus status = StatusOf(record);
  if (status != ContainerStatus::kStopped) {
    if (!force && status != ContainerStatus::kCreated) {
      return Status::Error("cannot delete container " + id +
                           " that is not stopped: " + StatusName(status));
    }
    // By the host: the sandbox need not agree.
    kill(record.init.pid, SIGKILL);
    if (status == ContainerStatus::kPaused) RETURN_IF_ERROR(Freeze(record, false));
    RETURN_IF_ERROR(AwaitEnd(record));
  }
  if (record.gofer.pid > 0 && record.gofer.alive()) kill(record.gofer.pid, SIGKILL);
  if (!record.unit.empty()) RETURN_IF_ERROR(StopUnit(record.unit));
  RETURN_IF_ERROR(Cgroup(record.cgroups).Remove());
  Spec spec;
  if (record.hooks && record.LoadConfig(&spec).ok()) {
    for (const HookSpec& hook : spec.hooks.poststop) {
      Status ran = RunHooks("poststop", {hook}, record.StateJson(ContainerStatus::kStopped));
      if (!ran.ok()) Warn(ran.text());
    }
  }
  return record.Remove();
}

}  // namespace runsc
