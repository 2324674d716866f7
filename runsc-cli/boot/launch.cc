#include "runsc-cli/boot/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "platform/base/log.h"
#include "platform/host/filter.h"
#include "platform/host/jail.h"
#include "runsc-cli/boot/child.h"
#include "runsc-cli/boot/gofer_launch.h"
#include "runsc-cli/boot/net_launch.h"
#include "runsc-cli/boot/sentry_main.h"
#include "runsc-cli/oci/cgroup.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

Status SocketPair(UniqueFd* near, UniqueFd* far) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return Status::Errno("descriptors for the sandbox", errno);
  }
  near->reset(fds[0]);
  far->reset(fds[1]);
  return {};
}

class Launcher {
 public:
  Launcher(const Spec& spec, const Settings& settings, LaunchOptions options, Sandbox* sandbox)
      : spec_(spec), settings_(settings), o_(std::move(options)), out_(*sandbox) {}
  Status Run();

 private:
  Status OpenSandboxLog();
  Status StartSentry(Engine engine, UniqueFd control, UniqueFd gofer, UniqueFd network);
  Status StartNetwork(NetworkPlan plan, UniqueFd socket);

  const Spec& spec_;
  const Settings& settings_;
  LaunchOptions o_;
  Sandbox& out_;
  UniqueFd error_, log_;
  GoferLaunch gofer_;
};

Status Launcher::StartNetwork(NetworkPlan plan, UniqueFd socket) {
  plan.gofer.control = std::move(o_.policies);
  auto pid = StartNetGofer({.plan = std::move(plan),
                            .socket = std::move(socket),
                            .sentry = out_.sentry,
                            .log = log_.get(),
                            .debug = settings_.debug,
                            .doors = o_.doors});
  if (!pid.ok()) return pid.status();
  out_.network = *pid;
  return {};
}

Status Launcher::StartSentry(Engine engine, UniqueFd control, UniqueFd gofer, UniqueFd network) {
  SentryArgs a;
  a.spec = &spec_;
  a.settings = &settings_;
  a.engine = std::move(engine);
  a.control = std::move(control);
  a.listen = std::move(o_.listen);
  a.gofer = std::move(gofer);
  a.network = std::move(network);
  a.streams = std::move(o_.streams);
  a.start_at_once = o_.start_at_once;
  a.outlive = o_.outlive;
  a.log = DupHigh(log_.get());
  a.gofer_mounts = gofer_.mounts();
  a.machine = MachineShare();
  a.host_threads = host::ThreadsForSandbox();
  auto r = host::ForkIntoNamespaces({kSandboxNamespaces, host::Ids::kNobody, o_.outlive});
  if (!r.ok()) return r.status();
  out_.sentry = *r;
  if (out_.sentry != 0) return {};
  ChildMain([&] {
    if (Status s = EnterCgroups(o_.doors); !s.ok()) return ChildFailed(error_.get(), s);
    if (o_.take_terminal && ioctl(a.streams.console_in.get(), TIOCSCTTY, 0) == 0) {
      sigset_t resized;
      sigemptyset(&resized);
      sigaddset(&resized, SIGWINCH);
      a.resized.reset(signalfd(-1, &resized, SFD_CLOEXEC | SFD_NONBLOCK));
    }
    std::vector<int> keep = {a.control.get(), a.listen.get(),
                             a.gofer.get(),   error_.get(),
                             a.resized.get(), a.streams.console_in.get(),
                             a.log.get(),     a.streams.console_out.get(),
                             a.network.get(), a.engine.device.get()};
    for (const UniqueFd& fd : a.streams.stdio) keep.push_back(fd.get());
    for (const UniqueFd& fd : a.streams.extra) keep.push_back(fd.get());
    KeepOnly(std::move(keep), log_.get());
    int exit_status = 0;
    Status s = SentryMain(std::move(a), &exit_status);
    return s.ok() ? exit_status : ChildFailed(error_.get(), s);
  });
}

Status Launcher::OpenSandboxLog() {
  if (!settings_.debug_log.empty()) {
    log_.reset(open(settings_.debug_log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log_) return Status::Errno("--debug-log " + settings_.debug_log, errno);
    return {};
  }
  log_ = o_.log.valid() ? std::move(o_.log) : DupHigh(2);
  if (!log_) log_.reset(open("/dev/null", O_WRONLY | O_CLOEXEC));
  return {};
}

Status Launcher::Run() {
  int error[2], control[2], gofer[2];
  if (pipe2(error, O_CLOEXEC | O_NONBLOCK) != 0 ||
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0 ||
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gofer) != 0) {
    return Status::Errno("descriptors for the sandbox", errno);
  }
  UniqueFd control_far(control[1]), gofer_near(gofer[0]), gofer_far(gofer[1]);
  error_.reset(error[1]);
  out_.error.reset(error[0]);
  out_.control.reset(control[0]);
  RETURN_IF_ERROR(OpenSandboxLog());
  // The sandbox's own descriptors are the guest's files: as many as the host lets us have.
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  auto engine = ChooseEngine(settings_.platform);
  if (!engine.ok()) return engine.status();
  RETURN_IF_ERROR(gofer_.Plan(spec_, settings_));
  NetworkPlan plan;
  RETURN_IF_ERROR(PlanNetwork(spec_, settings_.network, &plan));
  UniqueFd network_near, network_far;
  if (plan.outside) RETURN_IF_ERROR(SocketPair(&network_near, &network_far));
  RETURN_IF_ERROR(StartSentry(std::move(engine).value(), std::move(control_far),
                              std::move(gofer_near), std::move(network_near)));
  if (plan.outside) RETURN_IF_ERROR(StartNetwork(std::move(plan), std::move(network_far)));
  if (o_.made) RETURN_IF_ERROR(o_.made(out_.sentry));
  auto pid = gofer_.Start({.socket = gofer_far.get(),
                           .log = log_.get(),
                           .error = error_.get(),
                           .outlive = o_.outlive,
                           .debug = settings_.debug,
                           .doors = o_.doors});
  if (!pid.ok()) return pid.status();
  out_.gofer = *pid;
  return {};
}

}  // namespace

Sandbox::~Sandbox() {
  for (pid_t p : {sentry, gofer, network}) {
    if (p <= 0) continue;
    kill(p, SIGKILL);
    while (waitpid(p, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

std::string Sandbox::LastWords() {
  int status = 0;
  // Zero would be any child.
  while (sentry > 0 && waitpid(sentry, &status, 0) < 0 && errno == EINTR) {
  }
  sentry = 0;
  char buf[2048];
  const ssize_t n = read(error.get(), buf, sizeof buf);
  if (n > 0) return Printable(std::string(buf, static_cast<size_t>(n)));
  std::string text = "the sandbox's kernel ended unexpectedly";
  if (WIFSIGNALED(status)) text += std::string(" (") + strsignal(WTERMSIG(status)) + ")";
  return text + "; run again with --debug --debug-log FILE for its report";
}

UniqueFd DupHigh(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

std::string Printable(std::string text) {
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t') || c == 127) c = '?';
  }
  return text;
}

void CloseOthers(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned from = 0;
  for (int fd : keep) {
    if (fd < 0) continue;
    if (static_cast<unsigned>(fd) > from) syscall(SYS_close_range, from, fd - 1, 0);
    from = fd + 1;
  }
  syscall(SYS_close_range, from, ~0U, 0);
}

Status Launch(const Spec& spec, const Settings& settings, LaunchOptions options, Sandbox* sandbox) {
  return Launcher(spec, settings, std::move(options), sandbox).Run();
}

}  // namespace runsc
