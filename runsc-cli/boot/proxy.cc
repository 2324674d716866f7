#include "runsc-cli/boot/proxy.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "runsc-cli/boot/launch.h"
#include "runsc-cli/boot/relay.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

// What the answer begins with.
constexpr char kRuns = '+', kFailed = '-';
constexpr int kProxyFailure = 255;

// The process that stays: it keeps nothing but the connection.
[[noreturn]] void Stay(Relay& relay, int connection, int tty) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i < 3; i++) dup2(null, i);
  CloseOthers({0, 1, 2, connection, tty, relay.signals()});
  // SIGKILL's: the sandbox ended without a word.
  int status = 128 + 9;
  relay.Run(connection, &status);
  _exit(status);
}

// For whoever looks at the process that stands for a container: a user without rights can't.
void EnterNamespaces(pid_t of) {
  for (const auto& [name, kind] : {std::pair{"net", CLONE_NEWNET}, std::pair{"ipc", CLONE_NEWIPC},
                                   std::pair{"uts", CLONE_NEWUTS}}) {
    const std::string path = "/proc/" + std::to_string(of) + "/ns/" + name;
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd && setns(fd.get(), kind) != 0) return;
  }
}

// Passes the answer on to the command and stays until the process ends.
[[noreturn]] void Main(int connection, const ProxyRequest& request, UniqueFd go, UniqueFd answer) {
  setsid();
  Relay relay;
  UniqueFd tty;
  if (request.terminal >= 0 && ioctl(request.terminal, TIOCSCTTY, 0) == 0) {
    tty = DupHigh(request.terminal);
    relay.FollowTerminal(tty.get(), false);
  }
  if (request.namespaces_of > 0) EnterNamespaces(request.namespaces_of);
  Status st = relay.HoldSignals();
  char byte;
  if (read(go.get(), &byte, 1) != 1) _exit(kProxyFailure);
  if (st.ok() && !SendControl(connection, request.kind, getpid(), request.body, request.fds))
    st = Status::Error("container not running");
  int status = kProxyFailure;
  std::string text;
  if (st.ok()) st = relay.AwaitStart(connection, &status, &text);
  text = st.ok() ? kRuns + text : kFailed + st.text();
  const ssize_t told = write(answer.get(), text.data(), text.size());
  answer.reset();
  if (told < 0 || !st.ok()) _exit(kProxyFailure);
  if (relay.ended()) _exit(status);
  Stay(relay, connection, tty.get());
}

}  // namespace

Status Proxy::Start(int connection, ProxyRequest request) {
  if (request.body.size() > kMaxControlBody) return Status::Error("the arguments are too long");
  int answer[2], go[2];
  if (pipe2(answer, O_CLOEXEC) != 0) return Status::Errno("pipe", errno);
  answer_.reset(answer[0]);
  UniqueFd answer_write(answer[1]);
  if (pipe2(go, O_CLOEXEC) != 0) return Status::Errno("pipe", errno);
  go_.reset(go[1]);
  UniqueFd go_read(go[0]);
  pid_ = fork();
  if (pid_ < 0) return Status::Errno("fork", errno);
  if (pid_ != 0) return {};
  go_.reset();
  answer_.reset();
  Main(connection, request, std::move(go_read), std::move(answer_write));
}

Status Proxy::Ask(std::string* warnings) {
  const char byte = 0;
  std::string text;
  char buffer[512];
  if (write(go_.get(), &byte, 1) == 1) {
    for (ssize_t n; (n = read(answer_.get(), buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<size_t>(n));
  }
  if (text.empty()) return Status::Error("container not running");
  if (text[0] == kFailed) return Status::Error(text.substr(1));
  if (warnings != nullptr) *warnings = text.substr(1);
  return {};
}

}  // namespace runsc
