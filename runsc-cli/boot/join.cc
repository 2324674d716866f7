#include "runsc-cli/boot/join.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/gofer_launch.h"
#include "runsc-cli/boot/lifecycle.h"
#include "runsc-cli/boot/proxy.h"
#include "runsc-cli/boot/relay.h"
#include "runsc-cli/oci/config.h"
#include "runsc-cli/oci/pod.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

// The container that the process of a path like /proc/PID/ns/ipc stands for.
bool ContainerOfPath(const Settings& settings, const std::string& path, Record* out) {
  int pid = 0, length = 0;
  if (sscanf(path.c_str(), "/proc/%d/ns/%n", &pid, &length) != 1 || length == 0) return false;
  for (const std::string& id : Record::List(settings)) {
    if (Record::Load(settings, id, false, out).ok() && out->init.pid == pid && out->alive())
      return true;
  }
  return false;
}

}  // namespace

Status FindSandbox(const Settings& settings, const Spec& spec, JoinTarget* target) {
  const Pod pod = PodOf(spec);
  if (pod.type == "container") target->sandbox = pod.sandbox;
  for (const NamespaceSpec& n : spec.namespaces) {
    std::string* shared = n.type == "pid"    ? &target->pid_of
                          : n.type == "ipc"  ? &target->ipc_of
                          : n.type == "uts"  ? &target->uts_of
                          : n.type == "user" ? &target->user_of
                                             : nullptr;
    if (n.path.empty() || (shared == nullptr && n.type != "network")) continue;
    Record other;
    if (ContainerOfPath(settings, n.path, &other)) {
      const std::string& sandbox = other.sandbox.empty() ? other.id : other.sandbox;
      if (!target->sandbox.empty() && target->sandbox != sandbox) {
        return Status::Error("config.json: linux.namespaces: " + n.path + " is of the sandbox " +
                             sandbox + ", not of " + target->sandbox);
      }
      target->sandbox = sandbox;
      if (shared != nullptr) *shared = other.id;
    } else if (pod.type == "container" && shared != nullptr) {
      // Kept by whoever manages the pod for all of its containers.
      *shared = pod.sandbox;
    } else if (n.type == "user" && !spec.ids.empty()) {
      // One with the same ids does as well.
    } else if (pod.type.empty() && shared != nullptr) {
      return Status::Error("config.json: linux.namespaces: the " + n.type + " namespace " + n.path +
                           " is of no container below " + settings.root +
                           ", and a sandbox can't join the host's");
    }
  }
  return {};
}

Status Join(const Spec& spec, const Settings& settings, const JoinTarget& target, LaunchOptions o,
            Sandbox* out) {
  Record sandbox;
  Status found = Record::Load(settings, target.sandbox, false, &sandbox);
  if (!found.ok() || !sandbox.alive())
    return Status::Error("the sandbox " + target.sandbox + " of this container does not run");
  RETURN_IF_ERROR(Connect(sandbox, &out->control));

  GoferLaunch gofer;
  RETURN_IF_ERROR(gofer.Plan(spec, settings));
  int sockets[2], error[2];
  if (pipe2(error, O_CLOEXEC | O_NONBLOCK) != 0 ||
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
    return Status::Errno("descriptors for the container", errno);
  }
  out->error.reset(error[0]);
  UniqueFd error_write(error[1]), gofer_end(sockets[1]);
  JoinRequest request{.id = spec.id,
                      .bundle = spec.bundle,
                      .config = WithoutSeccomp(spec.config),
                      .seccomp = spec.seccomp,
                      .hostname = spec.hostname,
                      .overlay = settings.overlay != "none",
                      .pid_of = target.pid_of,
                      .ipc_of = target.ipc_of,
                      .uts_of = target.uts_of,
                      .user_of = target.user_of,
                      .machine = MachineShare(),
                      .mounts = gofer.mounts(),
                      .listen = std::move(o.listen),
                      .gofer = UniqueFd(sockets[0]),
                      .streams = std::move(o.streams)};
  ProxyRequest ask{.kind = Control::kJoin,
                   .terminal = o.take_terminal ? request.streams.console_in.get() : -1,
                   .namespaces_of = sandbox.init.pid};
  ask.body = EncodeJoin(request, &ask.fds);

  Proxy proxy;
  pid_t stands_for_it = getpid();
  if (o.outlive) {
    RETURN_IF_ERROR(proxy.Start(out->control.get(), ask));
    out->sentry = stands_for_it = proxy.pid();
  }
  if (o.made) RETURN_IF_ERROR(o.made(stands_for_it));
  auto pid = gofer.Start({.socket = gofer_end.get(),
                          .log = o.log.valid() ? o.log.get() : STDERR_FILENO,
                          .error = error_write.get(),
                          .outlive = o.outlive,
                          .debug = settings.debug});
  if (!pid.ok()) return pid.status();
  out->gofer = *pid;
  gofer_end.reset();
  std::string warnings;
  if (o.outlive) {
    // What ends with the proxy must not be kept open here.
    request = {};
    out->control.reset();
    RETURN_IF_ERROR(proxy.Ask(&warnings));
  } else {
    if (!SendControl(out->control.get(), ask.kind, stands_for_it, ask.body, ask.fds))
      return Status::Error("container not running");
    int ignored = 0;
    RETURN_IF_ERROR(Relay().AwaitStart(out->control.get(), &ignored, &warnings));
  }
  if (!warnings.empty()) Warn(warnings);
  return {};
}

}  // namespace runsc
