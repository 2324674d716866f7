#include "runsc-cli/boot/launch.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gofer/server/server.h"
#include "platform/base/log.h"
#include "platform/host/filter.h"
#include "platform/host/jail.h"
#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/net_launch.h"
#include "runsc-cli/boot/sentry_main.h"
#include "syscalls/abi/mount.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

constexpr int kNamespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;

// A child never returns into the command's code, nor runs its destructors.
template <typename F>
[[noreturn]] void ChildMain(F&& main) {
  // What could be done to it by signals happens through descriptors.
  sigset_t mask;
  sigfillset(&mask);
  for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP}) sigdelset(&mask, s);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  setsid();
  umask(0);
  _exit(main());
}

// A detached copy of the mounts from path on, private: the descriptor is its root, and there is
// nothing above it.
Status OpenTree(const std::string& path, bool read_only, UniqueFd* out) {
  out->reset(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, path.c_str(),
                                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)));
  if (!*out) return Status::Errno("no access to " + path + " for the gofer", errno);
  mount_attr attr = {};
  attr.propagation = MS_PRIVATE;
  // The gofer opens no devices, and with its rights over owners it could open any: read-only is no
  // wall to those.
  attr.attr_set = MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0);
  if (syscall(SYS_mount_setattr, out->get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
              sizeof attr) != 0) {
    return Status::Errno("mounting " + path + (read_only ? " read-only" : ""), errno);
  }
  return {};
}

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
  // A host directory, or the one file in it, that the gofer serves.
  struct Served {
    std::string path, file_name;
    bool read_only;
  };
  Status OpenSandboxLog();
  Status PlanMounts();
  Status StartGofer(int socket);
  int GoferMain(int socket);
  Status StartSentry(UniqueFd control, UniqueFd gofer, UniqueFd network);
  Status StartNetwork(NetworkPlan plan, UniqueFd socket);
  // For a child that can't go on: the text reaches the command.
  int ChildFailed(const Status& s) {
    if (write(error_.get(), s.text().data(), s.text().size()) < 0) return kExitFailure + 1;
    return kExitFailure;
  }
  // What the C library says when it aborts goes to the log, not to whatever gets the number of
  // standard error.
  void KeepOnly(std::vector<int> keep) {
    keep.push_back(log_.get());
    CloseOthers(std::move(keep));
    dup2(log_.get(), 2);
  }

  const Spec& spec_;
  const Settings& settings_;
  LaunchOptions o_;
  Sandbox& out_;
  UniqueFd error_, log_;
  std::vector<Served> served_;
  std::vector<GoferMountSpec> gofer_mounts_;
};

Status Launcher::PlanMounts() {
  auto add = [&](const std::string& source, const std::string& destination,
                 uint32_t flags) -> Status {
    struct stat st;
    if (stat(source.c_str(), &st) != 0) return Status::Errno("mount source " + source, errno);
    const bool is_file = !S_ISDIR(st.st_mode);
    const size_t slash = source.rfind('/');
    const std::string dir = !is_file ? source : slash == 0 ? "/" : source.substr(0, slash);
    served_.push_back(
        {dir, is_file ? source.substr(slash + 1) : "", (flags & abi::kMS_RDONLY) != 0});
    gofer_mounts_.push_back({destination, flags, is_file});
    return {};
  };
  // Below a memory overlay the image is never written, and the kernel enforces it.
  const bool read_only = spec_.root_readonly || settings_.overlay != "none";
  RETURN_IF_ERROR(add(spec_.root_path, "/", read_only ? abi::kMS_RDONLY : 0));
  for (const MountSpec& m : spec_.mounts) {
    if (m.type == "bind") RETURN_IF_ERROR(add(m.source, m.destination, m.flags));
  }
  return {};
}

Status Launcher::StartGofer(int socket) {
  auto r = host::ForkIntoNamespaces({kNamespaces, host::Ids::kCaller, o_.outlive});
  if (!r.ok()) return r.status();
  out_.gofer = *r;
  if (out_.gofer == 0) ChildMain([&] { return GoferMain(socket); });
  return {};
}

// In the gofer's process.
int Launcher::GoferMain(int socket) {
  gofer::ServerOptions o;
  o.socket.reset(socket);
  std::vector<int> keep = {socket, error_.get()};
  for (size_t i = 0; i < served_.size(); i++) {
    gofer::ServedMount m;
    m.id = static_cast<uint32_t>(i);
    Status s = OpenTree(served_[i].path, served_[i].read_only, &m.root);
    if (!s.ok()) return ChildFailed(s);
    m.file_name = served_[i].file_name;
    m.read_only = served_[i].read_only;
    // Volumes are the outside's too; the root is ours alone.
    m.shared = i != 0;
    keep.push_back(m.root.get());
    o.mounts.push_back(std::move(m));
  }
  auto root = host::MakeEmptyRoot(4096);
  if (!root.ok()) return ChildFailed(root.status());
  root->dir.reset();
  KeepOnly(std::move(keep));
  host::RightsOptions rights;
  rights.ids = host::Ids::kCaller;
  rights.outlive = o_.outlive;
  if (geteuid() == 0) {
    for (int c : {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_CHOWN, CAP_FSETID}) {
      rights.capabilities |= uint64_t{1} << c;
    }
  }
  if (Status s = host::DropRights(rights); !s.ok()) return ChildFailed(s);
  base::SetLog(log_.get(), settings_.debug ? base::LogLevel::kDebug : base::LogLevel::kWarning);
  o.lock_down = [this] {
    host::ForgetCode();
    Status s = host::InstallFilter(
        host::kGofer, settings_.debug ? host::Violation::kReport : host::Violation::kKill);
    if (!s.ok()) ChildFailed(s);
    return s.ok();
  };
  return gofer::ServerMain(std::move(o));
}

// What of a machine the container may use, as its programs shall see it.
void ShowLimits(const Resources& r, SentryArgs* a) {
  if (r.memory_limit && *r.memory_limit > 0)
    a->memory_bytes = std::min(a->memory_bytes, static_cast<uint64_t>(*r.memory_limit));
  const int64_t period = static_cast<int64_t>(r.cpu_period.value_or(0));
  if (r.cpu_quota.value_or(0) > 0) {
    const int64_t per = period > 0 ? period : 100000;
    a->cpu_count =
        static_cast<int>(std::clamp<int64_t>((*r.cpu_quota + per - 1) / per, 1, a->cpu_count));
  }
}

Status Launcher::StartNetwork(NetworkPlan plan, UniqueFd socket) {
  plan.gofer.control = std::move(o_.policies);
  auto pid = StartNetGofer({.plan = std::move(plan),
                            .socket = std::move(socket),
                            .sentry = out_.sentry,
                            .log = log_.get(),
                            .debug = settings_.debug});
  if (!pid.ok()) return pid.status();
  out_.network = *pid;
  return {};
}

Status Launcher::StartSentry(UniqueFd control, UniqueFd gofer, UniqueFd network) {
  SentryArgs a;
  a.spec = &spec_;
  a.settings = &settings_;
  a.control = std::move(control);
  a.listen = std::move(o_.listen);
  a.gofer = std::move(gofer);
  a.network = std::move(network);
  a.streams = std::move(o_.streams);
  a.start_at_once = o_.start_at_once;
  a.outlive = o_.outlive;
  a.log = DupHigh(log_.get());
  a.gofer_mounts = gofer_mounts_;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) a.cpu_count = CPU_COUNT(&cpus);
  struct sysinfo si;
  if (sysinfo(&si) == 0) a.memory_bytes = static_cast<uint64_t>(si.totalram) * si.mem_unit;
  ShowLimits(spec_.resources, &a);
  a.host_threads = host::ThreadsForSandbox();
  auto r = host::ForkIntoNamespaces({kNamespaces, host::Ids::kNobody, o_.outlive});
  if (!r.ok()) return r.status();
  out_.sentry = *r;
  if (out_.sentry != 0) return {};
  ChildMain([&] {
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
                             a.network.get()};
    for (const UniqueFd& fd : a.streams.stdio) keep.push_back(fd.get());
    for (const UniqueFd& fd : a.streams.extra) keep.push_back(fd.get());
    KeepOnly(std::move(keep));
    int exit_status = 0;
    Status s = SentryMain(std::move(a), &exit_status);
    return s.ok() ? exit_status : ChildFailed(s);
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
  RETURN_IF_ERROR(PlanMounts());
  NetworkPlan plan;
  RETURN_IF_ERROR(PlanNetwork(spec_, settings_.network, &plan));
  UniqueFd network_near, network_far;
  if (plan.outside) RETURN_IF_ERROR(SocketPair(&network_near, &network_far));
  RETURN_IF_ERROR(
      StartSentry(std::move(control_far), std::move(gofer_near), std::move(network_near)));
  if (plan.outside) RETURN_IF_ERROR(StartNetwork(std::move(plan), std::move(network_far)));
  if (o_.made) RETURN_IF_ERROR(o_.made(out_.sentry));
  return StartGofer(gofer_far.get());
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
  while (waitpid(sentry, &status, 0) < 0 && errno == EINTR) {
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
