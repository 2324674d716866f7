#include "runsc-cli/boot/net_launch.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "netgofer/server/sockets.h"
#include "netgofer/wire/messages.h"
#include "platform/base/log.h"
#include "platform/host/filter.h"
#include "platform/host/host.h"
#include "platform/host/jail.h"
#include "runsc-cli/boot/launch.h"
#include "runsc-cli/oci/cgroup.h"

namespace runsc {
namespace {

using base::Status;

constexpr int64_t kLeastLife = 1'000'000'000;  // ns
constexpr int kPause = 1000;                   // ms

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

Status LockUp(bool raw_sockets) {
  auto root = host::MakeEmptyRoot(4096);
  if (!root.ok()) return root.status();
  host::RightsOptions rights;
  // Counts in the namespace's owner only for root, who has the right anyway.
  if (geteuid() == 0) {
    rights.capabilities = uint64_t{1} << CAP_NET_BIND_SERVICE;
    if (raw_sockets) rights.capabilities |= uint64_t{1} << CAP_NET_RAW;
  }
  return host::DropRights(rights);
}

// The policy that was set last while the sandbox ran, in memory that outlives who was told: the
// waiting process never looks at it, the next that serves does.
class KeptPolicy {
 public:
  bool Open() {
    void* p =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    shared_ = static_cast<Shared*>(p);
    return true;
  }
  void Set(const netgofer::Policy& policy) {
    const std::vector<uint8_t> encoded = netgofer::Encode(policy);
    if (encoded.size() > netgofer::kMaxEncoded) return;
    const uint32_t next = shared_->current.load() % kSlots + 1;
    Slot& slot = shared_->slots[next - 1];
    memcpy(slot.bytes, encoded.data(), encoded.size());
    slot.size = static_cast<uint32_t>(encoded.size());
    shared_->current.store(next);
  }
  // Leaves *policy as it is if none was set. False: what was set is no policy.
  bool Get(std::optional<netgofer::Policy>* policy) const {
    const uint32_t current = shared_->current.load();
    if (current == 0) return true;
    if (current > kSlots) return false;
    const Slot& slot = shared_->slots[current - 1];
    return slot.size <= sizeof slot.bytes &&
           netgofer::Decode({slot.bytes, slot.size}, &policy->emplace());
  }

 private:
  static constexpr uint32_t kSlots = 2;  // a death while one is written leaves the other
  struct Slot {
    uint32_t size;
    uint8_t bytes[netgofer::kMaxEncoded];
  };
  struct Shared {
    std::atomic<uint32_t> current;  // counted from 1; 0: none
    Slot slots[kSlots];
  };
  Shared* shared_ = nullptr;
};

int Serve(NetLaunch& launch, KeptPolicy& policy) {
  base::SetLog(launch.log, launch.debug ? base::LogLevel::kDebug : base::LogLevel::kWarning);
  const bool raw_sockets = launch.plan.gofer.raw_sockets;
  Status s = LockUp(raw_sockets);
  if (!s.ok()) {
    base::LogReport("net gofer: %s", s.text().c_str());
    return 1;
  }
  // What it is, for whoever looks at the host.
  prctl(PR_SET_NAME, "moat-network");
  netgofer::ServerOptions o = std::move(launch.plan.gofer);
  o.socket = std::move(launch.socket);
  if (!policy.Get(&o.policy)) {
    base::LogReport("net gofer: the policy was lost");
    return 1;
  }
  o.keep_policy = [&policy](const netgofer::Policy& p) { policy.Set(p); };
  o.lock_down = [debug = launch.debug, raw_sockets] {
    Status f = host::InstallFilter(host::kNetGofer | (raw_sockets ? host::kNetRaw : 0),
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

// Ends what a dead net gofer left in the table that it shared with this process. The sentry has
// copies of those sockets, which a new policy must not find open and can't cut.
bool EndSockets(const std::vector<int>& ours) {
  DIR* d = opendir("/proc/self/fd");
  if (d == nullptr) return false;
  std::vector<int> left;
  while (const dirent* e = readdir(d)) {
    const int fd = atoi(e->d_name);  // "." and "..": 0, which is ours
    if (fd != dirfd(d) && std::find(ours.begin(), ours.end(), fd) == ours.end()) left.push_back(fd);
  }
  closedir(d);
  for (int fd : left) {
    int family = AF_UNSPEC;
    socklen_t size = sizeof family;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
    if (family == AF_INET || family == AF_INET6) {
      netgofer::Disconnect(fd);
      netgofer::StopSending(fd);
    }
    close(fd);
  }
  return true;
}

// Gives the sentry a new connection in place of the one whose net gofer died.
bool Succeed(NetLaunch& launch) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return false;
  base::UniqueFd sentrys(fds[0]), ours(fds[1]);
  const netgofer::wire::ReplyHeader word{.id = netgofer::wire::kSuccessorId, .error = 0, .fds = 1};
  const int given = sentrys.get();
  if (host::SendWithFds(launch.socket.get(), &word, sizeof word, {&given, 1}, 0) < 0) return false;
  launch.socket = std::move(ours);
  return true;
}

int Wait(NetLaunch launch) {
  if (launch.plan.name_space && setns(launch.plan.name_space.get(), CLONE_NEWNET) != 0) {
    base::LogReport("net gofer: entering the network namespace: %s", strerror(errno));
    return 1;
  }
  launch.plan.name_space.reset();
  if (launch.plan.join_sandbox) RaiseLoopback();
  KeptPolicy policy;
  if (!policy.Open()) return 1;
  host::ForgetCode();
  host::ForkOptions fork;
  fork.namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  fork.keep_user_namespace = true;
  fork.share_files = true;
  while (WaitForUse(launch)) {
    const int64_t start = host::ClockNow(CLOCK_MONOTONIC);
    auto child = host::ForkIntoNamespaces(fork);
    if (!child.ok()) {
      base::LogReport("net gofer: %s", child.status().text().c_str());
      return 1;
    }
    if (*child == 0) _exit(Serve(launch, policy));
    int status;
    while (waitpid(*child, &status, 0) < 0) {
      if (errno != EINTR) return 1;
    }
    // One that ended by itself has no sentry any more, or one that talks nonsense: nobody serves it
    // again, and the connection ends with this process.
    const bool killed = WIFSIGNALED(status);
    if (!EndSockets({0, 1, 2, launch.socket.get(), launch.plan.gofer.control.get(),
                     launch.plan.gofer.log.get(), launch.log}) ||
        !killed || !Succeed(launch)) {
      return 0;
    }
    // Whoever finds a way to kill it can't have it start over and over, each time with new limits.
    if (host::ClockNow(CLOCK_MONOTONIC) - start < kLeastLife) {
      pollfd gone{launch.socket.get(), 0, 0};
      poll(&gone, 1, kPause);
    }
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
  // If it fails, the sandbox has ended already, and its groups are gone.
  if (!EnterCgroups(launch.doors).ok()) _exit(1);
  CloseOthers({launch.socket.get(), launch.plan.name_space.get(), launch.plan.gofer.control.get(),
               launch.plan.gofer.log.get(), launch.log});
  // None of the three becomes a socket's.
  for (int fd = 0; fd < 3; fd++) dup2(launch.log, fd);
  base::SetLog(launch.log, base::LogLevel::kWarning);
  _exit(Wait(std::move(launch)));
}

}  // namespace runsc
