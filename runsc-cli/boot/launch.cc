// The command's side of a sandbox: makes the gofer and the sentry, relays signals and the
// terminal's size, waits, reports.
#include "runsc-cli/boot/launch.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <poll.h>
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
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "gofer/server/server.h"
#include "platform/base/log.h"
#include "platform/host/filter.h"
#include "platform/host/jail.h"
#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/sentry_main.h"
#include "syscalls/abi/mount.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

// Puts the terminal into raw mode and back: the guest's own terminal does the line editing.
class RawTerminal {
 public:
  bool Enter(int fd) {
    if (tcgetattr(fd, &saved_) != 0) return false;
    termios raw = saved_;
    cfmakeraw(&raw);
    if (tcsetattr(fd, TCSADRAIN, &raw) != 0) return false;
    fd_ = fd;
    return true;
  }
  ~RawTerminal() {
    if (fd_ >= 0) tcsetattr(fd_, TCSADRAIN, &saved_);
  }

 private:
  int fd_ = -1;
  termios saved_;
};

// Descriptors of the new process stay clear of 0, 1 and 2, where a stray message could reach the
// guest's output.
UniqueFd DupHigh(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

constexpr int kNamespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;

// A child never returns into the command's code, nor runs its destructors.
template <typename F>
[[noreturn]] void ChildMain(F&& main) {
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

// All but those. What the C library says when it aborts goes to the log, not to whatever gets the
// number of standard error.
void CloseOthers(std::vector<int> keep, int log) {
  keep.push_back(log);
  std::sort(keep.begin(), keep.end());
  unsigned from = 0;
  for (int fd : keep) {
    if (fd < 0) continue;
    if (static_cast<unsigned>(fd) > from) syscall(SYS_close_range, from, fd - 1, 0);
    from = fd + 1;
  }
  syscall(SYS_close_range, from, ~0U, 0);
  dup2(log, 2);
}

bool SendControl(int fd, ControlMessage::Kind kind, int32_t value) {
  ControlMessage m;
  m.kind = kind;
  m.value = value;
  return send(fd, &m, kControlHeader, MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(kControlHeader);
}

// What the sentry says is shown, but can't drive the terminal.
std::string Printable(const char* text, size_t n) {
  std::string out(text, n);
  for (char& c : out) {
    if ((static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t') || c == 127) c = '?';
  }
  return out;
}

class Launcher {
 public:
  Launcher(const Spec& spec, const Settings& settings, int own_failure)
      : spec_(spec), settings_(settings), own_failure_(own_failure) {}
  ~Launcher() { Reap(); }

  int Run() {
    Status s = Start();
    if (!s.ok()) return Fail(s.text(), own_failure_);
    return Wait();
  }

 private:
  Status Start();
  // A host directory, or the one file in it, that the gofer serves.
  struct Served {
    std::string path, file_name;
    bool read_only;
  };
  Status StartGofer(int socket);
  int GoferMain(int socket, std::vector<Served> served);
  // For a child that can't go on: the text reaches the command.
  int ChildFailed(const Status& s) {
    if (write(error_.get(), s.text().data(), s.text().size()) < 0) return kExitFailure + 1;
    return kExitFailure;
  }
  Status StartSentry(UniqueFd control, UniqueFd gofer);
  int Wait();
  bool HandleControl(int* status);
  void SendWindowSize();
  std::string ErrorText();
  void Reap() {
    for (pid_t* p : {&sentry_, &gofer_}) {
      if (*p <= 0) continue;
      kill(*p, SIGKILL);
      while (waitpid(*p, nullptr, 0) < 0 && errno == EINTR) {
      }
      *p = 0;
    }
  }

  const Spec& spec_;
  const Settings& settings_;
  const int own_failure_;
  UniqueFd control_, error_, signals_, log_;
  std::vector<GoferMountSpec> gofer_mounts_;
  pid_t gofer_ = 0, sentry_ = 0;
  int tty_ = -1;
};

Status Launcher::StartGofer(int socket) {
  std::vector<Served> served;
  auto add = [&](const std::string& source, const std::string& destination,
                 uint32_t flags) -> Status {
    struct stat st;
    if (stat(source.c_str(), &st) != 0) return Status::Errno("mount source " + source, errno);
    const bool is_file = !S_ISDIR(st.st_mode);
    const size_t slash = source.rfind('/');
    const std::string dir = !is_file ? source : slash == 0 ? "/" : source.substr(0, slash);
    served.push_back(
        {dir, is_file ? source.substr(slash + 1) : "", (flags & abi::kMS_RDONLY) != 0});
    gofer_mounts_.push_back({destination, flags, is_file});
    return {};
  };
  // Below a memory overlay the image is never written, and the kernel enforces it.
  const bool read_only = spec_.root_readonly || settings_.overlay == "memory";
  RETURN_IF_ERROR(add(spec_.root_path, "/", read_only ? abi::kMS_RDONLY : 0));
  for (const MountSpec& m : spec_.mounts) {
    if (m.type == "bind") RETURN_IF_ERROR(add(m.source, m.destination, m.flags));
  }
  auto r = host::ForkIntoNamespaces({kNamespaces, host::Ids::kCaller});
  if (!r.ok()) return r.status();
  gofer_ = *r;
  if (gofer_ == 0) ChildMain([&] { return GoferMain(socket, std::move(served)); });
  return {};
}

// In the gofer's process.
int Launcher::GoferMain(int socket, std::vector<Served> served) {
  gofer::ServerOptions o;
  o.socket.reset(socket);
  std::vector<int> keep = {socket, error_.get()};
  for (size_t i = 0; i < served.size(); i++) {
    gofer::ServedMount m;
    m.id = static_cast<uint32_t>(i);
    Status s = OpenTree(served[i].path, served[i].read_only, &m.root);
    if (!s.ok()) return ChildFailed(s);
    m.file_name = served[i].file_name;
    m.read_only = served[i].read_only;
    // Volumes are the outside's too; the root is ours alone.
    m.shared = i != 0;
    keep.push_back(m.root.get());
    o.mounts.push_back(std::move(m));
  }
  auto root = host::MakeEmptyRoot(4096);
  if (!root.ok()) return ChildFailed(root.status());
  root->dir.reset();
  CloseOthers(std::move(keep), log_.get());
  host::RightsOptions rights;
  rights.ids = host::Ids::kCaller;
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

Status Launcher::StartSentry(UniqueFd control, UniqueFd gofer) {
  SentryArgs a;
  a.spec = &spec_;
  a.settings = &settings_;
  a.control = std::move(control);
  a.gofer = std::move(gofer);
  std::vector<int> keep = {a.control.get(), a.gofer.get(), error_.get()};
  a.log = DupHigh(log_.get());
  for (int i = 0; i < 3; i++) {
    a.stdio[i] = DupHigh(i);
    a.tty[i] = a.stdio[i].valid() && isatty(i);
    if (a.stdio[i].valid()) keep.push_back(a.stdio[i].get());
  }
  if (tty_ >= 0) {
    a.console_in = a.tty[0] || !a.stdio[0].valid() ? tty_ : 0;
    a.console_out = a.tty[1] ? 1 : tty_;
    winsize ws;
    if (ioctl(tty_, TIOCGWINSZ, &ws) == 0) {
      a.rows = ws.ws_row;
      a.columns = ws.ws_col;
    }
  }
  a.gofer_mounts = gofer_mounts_;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) a.cpu_count = CPU_COUNT(&cpus);
  struct sysinfo si;
  if (sysinfo(&si) == 0) a.memory_bytes = static_cast<uint64_t>(si.totalram) * si.mem_unit;
  a.host_threads = host::ThreadsForSandbox();
  auto r = host::ForkIntoNamespaces({kNamespaces, host::Ids::kNobody});
  if (!r.ok()) return r.status();
  sentry_ = *r;
  if (sentry_ == 0) {
    ChildMain([&] {
      CloseOthers(std::move(keep), a.log.get());
      Status s = SentryMain(std::move(a));
      return s.ok() ? 0 : ChildFailed(s);
    });
  }
  return {};
}

Status Launcher::Start() {
  // Everything that a signal could do to us happens through the descriptor.
  sigset_t mask;
  sigfillset(&mask);
  for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP}) sigdelset(&mask, s);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  signals_.reset(signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return Status::Errno("signalfd", errno);

  int error[2], control[2], gofer[2];
  if (pipe2(error, O_CLOEXEC | O_NONBLOCK) != 0 ||
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0 ||
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gofer) != 0) {
    return Status::Errno("descriptors for the sandbox", errno);
  }
  UniqueFd error_read(error[0]), control_far(control[1]), gofer_near(gofer[0]), gofer_far(gofer[1]);
  error_.reset(error[1]);
  control_.reset(control[0]);
  if (!settings_.debug_log.empty()) {
    log_.reset(open(settings_.debug_log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log_) return Status::Errno("--debug-log " + settings_.debug_log, errno);
  } else {
    log_ = DupHigh(2);
    if (!log_) log_.reset(open("/dev/null", O_WRONLY | O_CLOEXEC));
  }
  // The sandbox's own descriptors are the guest's files: as many as the host lets us have.
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  if (spec_.terminal) {
    for (int i = 2; i >= 0; i--) {
      if (isatty(i)) tty_ = i;
    }
  }
  RETURN_IF_ERROR(StartGofer(gofer_far.get()));
  gofer_far.reset();
  RETURN_IF_ERROR(StartSentry(std::move(control_far), std::move(gofer_near)));
  // From here on only the reading end matters: what a child could not say otherwise.
  error_ = std::move(error_read);
  return {};
}

std::string Launcher::ErrorText() {
  char buf[2048];
  ssize_t n = read(error_.get(), buf, sizeof buf);
  return n > 0 ? Printable(buf, n) : "";
}

void Launcher::SendWindowSize() {
  winsize ws;
  if (tty_ >= 0 && ioctl(tty_, TIOCGWINSZ, &ws) == 0) {
    SendControl(control_.get(), ControlMessage::kWindowSize,
                static_cast<int32_t>(ws.ws_row) << 16 | ws.ws_col);
  }
}

// False: the connection is over.
bool Launcher::HandleControl(int* status) {
  ControlMessage m;
  ssize_t n = recv(control_.get(), &m, sizeof m, MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n < static_cast<ssize_t>(kControlHeader)) return false;
  const size_t text = std::min<size_t>(m.text_len, static_cast<size_t>(n) - kControlHeader);
  switch (m.kind) {
    case ControlMessage::kExit:
      *status = (m.value & 0x7f) != 0 ? 128 + (m.value & 0x7f) : (m.value >> 8) & 0xff;
      break;
    case ControlMessage::kFailed:
      *status = Fail(Printable(m.text, text), m.value & 0xff);
      break;
    case ControlMessage::kReport:
      fprintf(stderr, "%s", Printable(m.text, text).c_str());
      break;
  }
  return true;
}

int Launcher::Wait() {
  RawTerminal raw;
  if (tty_ >= 0) raw.Enter(tty_);
  int status = -1;
  bool open = true;
  pollfd fds[2] = {{control_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
  while (open) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    if (fds[0].revents != 0) open = HandleControl(&status);
    signalfd_siginfo si;
    while (fds[1].revents != 0 && read(signals_.get(), &si, sizeof si) == sizeof si) {
      switch (si.ssi_signo) {
        case SIGCHLD:
          // A child that died before its end of the socket closed tells by the socket; a gofer that
          // died is seen by the sentry.
          break;
        case SIGWINCH:
          SendWindowSize();
          break;
        case SIGTSTP:
        case SIGTTIN:
        case SIGTTOU:
          break;
        default:
          SendControl(control_.get(), ControlMessage::kSignal, static_cast<int32_t>(si.ssi_signo));
      }
    }
  }
  // The sentry is gone or about to go; its death ends every process of the sandbox before waitpid
  // returns.
  int host_status = 0;
  while (waitpid(sentry_, &host_status, 0) < 0 && errno == EINTR) {
  }
  sentry_ = 0;
  if (status >= 0) return status;
  std::string text = ErrorText();
  if (text.empty()) {
    text = "the sandbox's kernel ended unexpectedly";
    if (WIFSIGNALED(host_status))
      text += std::string(" (") + strsignal(WTERMSIG(host_status)) + ")";
    text += "; run again with --debug --debug-log FILE for its report";
  }
  return Fail(text, own_failure_);
}

}  // namespace

int RunSandbox(const Spec& spec, const Settings& settings, int own_failure) {
  return Launcher(spec, settings, own_failure).Run();
}

}  // namespace runsc
