#include "runsc-cli/boot/relay.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/launch.h"
#include "runsc-cli/oci/report.h"

namespace runsc {

using base::Status;
using base::UniqueFd;

Relay::~Relay() {
  if (raw_) tcsetattr(tty_, TCSADRAIN, &saved_);
}

Status Relay::HoldSignals() {
  sigset_t mask;
  sigfillset(&mask);
  for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP}) sigdelset(&mask, s);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  signals_.reset(signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return Status::Errno("signalfd", errno);
  return {};
}

Streams Relay::CallerStreams(bool terminal) {
  Streams s;
  int tty = -1;
  for (int i = 2; i >= 0; i--) {
    s.stdio[i] = DupHigh(i);
    s.terminal[i] = terminal && s.stdio[i].valid() && isatty(i);
    if (s.terminal[i]) tty = i;
  }
  if (tty < 0) return s;
  s.console_in = DupHigh(s.terminal[0] || !s.stdio[0].valid() ? tty : 0);
  s.console_out = DupHigh(s.terminal[1] ? 1 : tty);
  winsize ws;
  if (ioctl(tty, TIOCGWINSZ, &ws) == 0) {
    s.rows = ws.ws_row;
    s.columns = ws.ws_col;
  }
  FollowTerminal(tty, true);
  return s;
}

void Relay::FollowTerminal(int tty, bool raw) {
  tty_ = tty;
  raw_wanted_ = raw;
}

void Relay::SendWindowSize(int connection) {
  winsize ws;
  if (tty_ >= 0 && ioctl(tty_, TIOCGWINSZ, &ws) == 0) {
    SendControl(connection, Control::kWindowSize,
                static_cast<int32_t>(ws.ws_row) << 16 | ws.ws_col);
  }
}

Status Relay::AwaitStart(int connection, int* status, std::string* text) {
  ControlMessage m;
  if (!ReceiveControl(connection, &m)) return Status::Error("container not running");
  switch (m.kind) {
    case Control::kDone:
      if (text != nullptr) *text = Printable(std::move(m.body));
      return {};
    case Control::kExit:
      *status = ExitCode(m.value);
      ended_ = true;
      return {};
    default:
      return Status::Error(Printable(m.body));
  }
}

bool Relay::Handle(int connection, int* status) {
  ControlMessage m;
  if (!ReceiveControl(connection, &m)) return false;
  switch (m.kind) {
    case Control::kExit:
      *status = ExitCode(m.value);
      return false;
    case Control::kFailed:
      *status = Fail(Printable(m.body), m.value & 0xff);
      return false;
    case Control::kReport:
      fprintf(stderr, "%s", Printable(m.body).c_str());
      return true;
    default:
      return true;
  }
}

void Relay::Run(int connection, int* status) {
  if (raw_wanted_ && tty_ >= 0 && tcgetattr(tty_, &saved_) == 0) {
    termios raw = saved_;
    cfmakeraw(&raw);
    raw_ = tcsetattr(tty_, TCSADRAIN, &raw) == 0;
  }
  pollfd fds[2] = {{connection, POLLIN, 0}, {signals_.get(), POLLIN, 0}};
  for (bool open = true; open;) {
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (fds[0].revents != 0) open = Handle(connection, status);
    signalfd_siginfo si;
    while (fds[1].revents != 0 && read(signals_.get(), &si, sizeof si) == sizeof si) {
      switch (si.ssi_signo) {
        case SIGWINCH:
          SendWindowSize(connection);
          break;
        case SIGCHLD:
        case SIGTSTP:
        case SIGTTIN:
        case SIGTTOU:
          break;
        default:
          SendControl(connection, Control::kSignal, static_cast<int32_t>(si.ssi_signo));
      }
    }
  }
}

}  // namespace runsc
