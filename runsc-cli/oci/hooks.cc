#include "runsc-cli/oci/hooks.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "platform/base/fd.h"
#include "runsc-cli/oci/files.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

constexpr size_t kMaxSaid = 4096;

[[noreturn]] void HookMain(const HookSpec& hook, int in, int out, pid_t join) {
  for (const char* ns : {"net", "ipc", "uts"}) {
    if (join == 0) break;
    const std::string path = "/proc/" + std::to_string(join) + "/ns/" + ns;
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, 0) != 0) {
      dprintf(out, "%s: %s", path.c_str(), strerror(errno));
      _exit(127);
    }
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> args, env;
  for (const std::string& a : hook.args) args.push_back(const_cast<char*>(a.c_str()));
  if (args.empty()) args.push_back(const_cast<char*>(hook.path.c_str()));
  for (const std::string& e : hook.env) env.push_back(const_cast<char*>(e.c_str()));
  args.push_back(nullptr);
  env.push_back(nullptr);
  dup2(in, 0);
  dup2(out, 1);
  dup2(out, 2);
  syscall(SYS_close_range, 3u, ~0u, 0);
  execve(hook.path.c_str(), args.data(), env.data());
  dprintf(2, "%s", strerror(errno));
  _exit(127);
}

int64_t NowMs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1000000;
}

Status RunHook(const HookSpec& hook, const std::string& state, pid_t join) {
  // A file, so that a hook that doesn't read can't block anybody.
  UniqueFd in;
  RETURN_IF_ERROR(TextFile(state, &in));
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) return Status::Errno("pipe", errno);
  UniqueFd said_read(pipe_fds[0]), said_write(pipe_fds[1]);
  const pid_t pid = fork();
  if (pid < 0) return Status::Errno("fork", errno);
  if (pid == 0) HookMain(hook, in.get(), said_write.get(), join);
  said_write.reset();
  UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const int64_t end = NowMs() + int64_t{hook.timeout_s} * 1000;
  std::string said;
  bool timed_out = false;
  auto read_all = [&] {
    char buf[1024];
    ssize_t n;
    while ((n = read(said_read.get(), buf, sizeof buf)) > 0) {
      said.append(buf, std::min(static_cast<size_t>(n), kMaxSaid - said.size()));
    }
    return n == 0;
  };
  pollfd fds[2] = {{process.get(), POLLIN, 0}, {said_read.get(), POLLIN, 0}};
  while ((fds[0].revents & POLLIN) == 0 && !timed_out) {
    int64_t left = hook.timeout_s == 0 ? -1 : std::max<int64_t>(end - NowMs(), 0);
    int n = poll(fds, 2, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    timed_out = n == 0;
    if (n > 0 && fds[1].revents != 0 && read_all()) fds[1].fd = -1;
  }
  if (timed_out) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  read_all();
  while (!said.empty() && said.back() == '\n') said.pop_back();
  if (timed_out) {
    return Status::Error(hook.path + " did not end within " + std::to_string(hook.timeout_s) +
                         " seconds");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Status::Error(hook.path + " failed (" +
                       (WIFSIGNALED(status)
                            ? std::string("signal ") + strsignal(WTERMSIG(status))
                            : "exit status " + std::to_string(WEXITSTATUS(status))) +
                       (said.empty() ? ")" : "): " + said));
}

}  // namespace

Status RunHooks(const char* kind, const std::vector<HookSpec>& hooks, const std::string& state,
                pid_t join) {
  for (size_t i = 0; i < hooks.size(); i++) {
    Status s = RunHook(hooks[i], state, join);
    if (!s.ok())
      return std::move(s).With("error running hook #" + std::to_string(i) + " of " + kind);
  }
  return {};
}

}  // namespace runsc
