#include "runsc-cli/boot/net_launch.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "platform/base/log.h"
#include "platform/host/filter.h"
#include "platform/host/jail.h"
#include "runsc-cli/boot/launch.h"

namespace runsc {
namespace {

using base::Status;

// runc does this for a namespace that it makes.
void RaiseLoopback() {
  base::UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq r{};
  r.ifr_name[0] = 'l';
  r.ifr_name[1] = 'o';
  if (ioctl(fd.get(), SIOCGIFFLAGS, &r) != 0) return;
  r.ifr_flags |= IFF_UP;
  ioctl(fd.get(), SIOCSIFFLAGS, &r);
}

Status LockUp() {
  auto root = host::MakeEmptyRoot(4096);
  if (!root.ok()) return root.status();
  host::RightsOptions rights;
  // Counts in the namespace's owner only for root, who has the right anyway.
  if (geteuid() == 0) rights.capabilities = uint64_t{1} << CAP_NET_BIND_SERVICE;
  return host::DropRights(rights);
}

int Serve(NetLaunch& launch) {
  base::SetLog(launch.log, launch.debug ? base::LogLevel::kDebug : base::LogLevel::kWarning);
  Status s = LockUp();
  if (!s.ok()) {
    base::LogReport("net gofer: %s", s.text().c_str());
    return 1;
  }
  // What it is, for whoever looks at the host.
  prctl(PR_SET_NAME, "moat-network");
  netgofer::ServerOptions o = std::move(launch.plan.gofer);
  o.socket = std::move(launch.socket);
  o.lock_down = [debug = launch.debug] {
    Status f = host::InstallFilter(host::kNetGofer,
                                   debug ? host::Violation::kReport : host::Violation::kKill);
    if (!f.ok()) base::LogReport("net gofer: %s", f.text().c_str());
    return f.ok();
  };
  return netgofer::ServerMain(std::move(o));
}

// True when there is something to serve; false when the sentry is gone.
bool WaitForUse(const NetLaunch& launch) {
  for (;;) {
    // A descriptor of -1 is nothing to wait for.
    pollfd fds[2] = {{launch.socket.get(), POLLIN, 0},
                     {launch.plan.gofer.control.get(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return false;
    if (((fds[0].revents | fds[1].revents) & POLLIN) != 0) {
      char byte;
      return recv(launch.socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
    }
    if (fds[0].revents != 0) return false;
  }
}

int Wait(NetLaunch launch) {
  if (launch.plan.name_space && setns(launch.plan.name_space.get(), CLONE_NEWNET) != 0) {
    base::LogReport("net gofer: entering the network namespace: %s", strerror(errno));
    return 1;
  }
  launch.plan.name_space.reset();
  if (launch.plan.join_sandbox) RaiseLoopback();
  host::ForgetCode();
  if (!WaitForUse(launch)) return 0;
  host::ForkOptions fork;
  fork.namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  fork.keep_user_namespace = true;
  auto child = host::ForkIntoNamespaces(fork);
  if (!child.ok()) {
    base::LogReport("net gofer: %s", child.status().text().c_str());
    return 1;
  }
  if (*child == 0) _exit(Serve(launch));
  // The connection must end with the child.
  launch = NetLaunch{};
  while (waitpid(*child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return 0;
}

}  // namespace

base::StatusOr<pid_t> StartNetGofer(NetLaunch launch) {
  if (launch.plan.join_sandbox) {
    const std::string path = "/proc/" + std::to_string(launch.sentry) + "/ns/net";
    launch.plan.name_space.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!launch.plan.name_space) return Status::Errno(path, errno);
  }
  const pid_t pid = fork();
  if (pid < 0) return Status::Errno("making the net gofer", errno);
  if (pid != 0) return pid;
  setsid();
  CloseOthers({launch.socket.get(), launch.plan.name_space.get(), launch.plan.gofer.control.get(),
               launch.plan.gofer.log.get(), launch.log});
  dup2(launch.log, 2);
  base::SetLog(launch.log, base::LogLevel::kWarning);
  _exit(Wait(std::move(launch)));
}

}  // namespace runsc
