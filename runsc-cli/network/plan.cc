#include "runsc-cli/network/plan.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "netgofer/wire/messages.h"
#include "runsc-cli/network/numbers.h"
#include "runsc-cli/network/policy_file.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

// resolv.conf(5): three at most, this machine if there is none.
constexpr size_t kMaxNameservers = 3;

// A file of the container's, whatever links are on the way.
std::string ReadInRoot(const std::string& root, const char* path) {
  UniqueFd dir(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(static_cast<int>(syscall(SYS_openat2, dir.get(), path, &how, sizeof how)));
  struct stat st;
  char buffer[4096];
  if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return "";
  const ssize_t n = read(fd.get(), buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : "";
}

std::vector<netgofer::Address> ResolversOf(const Spec& spec) {
  std::string text;
  for (const MountSpec& m : spec.mounts) {
    if (m.type == "bind" && m.destination == "/etc/resolv.conf")
      text = ReadInRoot("/", m.source.c_str());
  }
  if (text.empty()) text = ReadInRoot(spec.root_path, "/etc/resolv.conf");
  std::vector<netgofer::Address> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line) && found.size() < kMaxNameservers;) {
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    if (key != "nameserver") continue;
    if (auto a = netgofer::ParseAddress(value.substr(0, value.find('%')))) found.push_back(*a);
  }
  if (found.empty()) found = {*netgofer::ParseAddress("127.0.0.1"), *netgofer::ParseAddress("::1")};
  return found;
}

Status ParsePublished(const std::string& text, netgofer::Published* p) {
  std::string rest = text;
  p->protocol = netgofer::kTcp;
  if (const size_t slash = rest.rfind('/'); slash != std::string::npos) {
    const std::string protocol = rest.substr(slash + 1);
    if (protocol == "udp") {
      p->protocol = netgofer::kUdp;
    } else if (protocol != "tcp") {
      return Status::Error("--publish " + text + ": the protocol is tcp or udp, not \"" + protocol +
                           "\"");
    }
    rest.resize(slash);
  }
  auto fail = [&] {
    return Status::Error("--publish is [ADDRESS:]HOST:GUEST[/udp], not \"" + text + "\"");
  };
  const size_t guest = rest.rfind(':');
  if (guest == std::string::npos) return fail();
  const size_t host = guest == 0 ? std::string::npos : rest.rfind(':', guest - 1);
  uint16_t last = 0;
  const std::string host_port = rest.substr(host == std::string::npos ? 0 : host + 1,
                                            guest - (host == std::string::npos ? 0 : host + 1));
  if (!ParsePorts(rest.substr(guest + 1), &p->guest_port, &last) || last != p->guest_port ||
      !ParsePorts(host_port, &p->host_port, &last) || last != p->host_port) {
    return fail();
  }
  if (host == std::string::npos) return {};
  std::string address = rest.substr(0, host);
  if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
  }
  const auto parsed = netgofer::ParseAddress(address);
  if (!parsed) return fail();
  p->host_address = *parsed;
  return {};
}

Status PlanPublished(const NetworkSettings& settings, netgofer::ServerOptions* o) {
  for (const std::string& text : settings.publish) {
    netgofer::Published p;
    RETURN_IF_ERROR(ParsePublished(text, &p));
    for (const netgofer::Published& q : o->published) {
      if (q.protocol == p.protocol && q.guest_port == p.guest_port) {
        return Status::Error("--publish " + text + ": port " + std::to_string(p.guest_port) +
                             " of the sandbox is published already");
      }
    }
    o->published.push_back(p);
  }
  return {};
}

Status PlanPolicy(const NetworkSettings& settings, netgofer::ServerOptions* o) {
  if (!settings.egress.empty() && settings.egress != "allow" && settings.egress != "deny") {
    return Status::Error("--egress is allow or deny, not \"" + settings.egress + "\"");
  }
  if (!settings.egress.empty() || !settings.egress_policy.empty()) {
    netgofer::Policy policy;
    if (!settings.egress_policy.empty()) {
      RETURN_IF_ERROR(ReadPolicy(settings.egress_policy, &policy));
    }
    if (!settings.egress.empty()) policy.allow_by_default = settings.egress == "allow";
    o->policy = std::move(policy);
  }
  if (settings.egress_log.empty()) return {};
  o->log.reset(open(settings.egress_log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!o->log) return Status::Errno("--egress-log " + settings.egress_log, errno);
  return {};
}

Status PlanNamespace(const Spec& spec, NetworkPlan* plan) {
  const auto n = std::find_if(spec.namespaces.begin(), spec.namespaces.end(),
                              [](const NamespaceSpec& s) { return s.type == "network"; });
  if (n == spec.namespaces.end()) return {};
  if (n->path.empty()) {
    // Hooks and callers may put interfaces into it; whoever can't enter it has loopback only.
    plan->join_sandbox = true;
    plan->outside = geteuid() == 0;
    return {};
  }
  plan->name_space.reset(open(n->path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!plan->name_space) return Status::Errno("the network namespace " + n->path, errno);
  if (geteuid() != 0) {
    return Status::Error("joining the network namespace " + n->path +
                         " needs root; --network=none does without it");
  }
  return {};
}

constexpr char kPolicySocket[] = "network.sock";

// The address of the socket in a directory, whatever the length of its path. *dir must stay open
// while it is used.
Status SocketAddressIn(const std::string& directory, UniqueFd* dir, sockaddr_un* a) {
  dir->reset(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!*dir) return Status::Errno(directory, errno);
  *a = {};
  a->sun_family = AF_UNIX;
  snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/%s", dir->get(), kPolicySocket);
  return {};
}

Status NotRunning() { return Status::Error("the container doesn't run, or has no network"); }

}  // namespace

Status PlanNetwork(const Spec& spec, const NetworkSettings& settings, NetworkPlan* plan) {
  netgofer::ServerOptions& o = plan->gofer;
  if (settings.mode != "none" && settings.mode != "sandbox" && settings.mode != "host") {
    return Status::Error("--network is none, sandbox or host, not \"" + settings.mode + "\"");
  }
  const bool client = spec.network_client && settings.mode == "sandbox";
  if (!settings.publish.empty() && !client) {
    return Status::Error("--publish is for `moat do` with --network=sandbox");
  }
  plan->outside = settings.mode != "none";
  RETURN_IF_ERROR(PlanPolicy(settings, &o));
  RETURN_IF_ERROR(PlanPublished(settings, &o));
  if (!plan->outside) return {};
  o.resolvers = ResolversOf(spec);
  o.own_ports = !client;
  o.raw_sockets = settings.raw;
  // Of the host's own services, a sandbox that is its guest needs the resolver only.
  o.loopback = client ? netgofer::Loopback::kResolvers : netgofer::Loopback::kAll;
  if (settings.mode == "sandbox" && !client) return PlanNamespace(spec, plan);
  return {};
}

Status ListenForPolicies(const std::string& directory, UniqueFd* out) {
  sockaddr_un a;
  UniqueFd dir;
  RETURN_IF_ERROR(SocketAddressIn(directory, &dir, &a));
  out->reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The directory is its owner's alone, and so is the socket.
  if (!*out || fchmod(out->get(), 0600) != 0 ||
      bind(out->get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 ||
      listen(out->get(), SOMAXCONN) != 0) {
    return Status::Errno("the socket for egress policies", errno);
  }
  return {};
}

Status PolicySocket::Listen(const std::string& directory, UniqueFd* out) {
  RETURN_IF_ERROR(ListenForPolicies(directory, out));
  path_ = directory + "/" + kPolicySocket;
  return {};
}

PolicySocket::~PolicySocket() {
  if (!path_.empty()) unlink(path_.c_str());
}

Status SendPolicy(const std::string& directory, const netgofer::Policy& policy, bool cut_existing,
                  uint32_t* cut) {
  sockaddr_un a;
  UniqueFd dir, fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  RETURN_IF_ERROR(SocketAddressIn(directory, &dir, &a));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return NotRunning();
    return Status::Errno("the socket for egress policies", errno);
  }
  const uint32_t head[2] = {static_cast<uint32_t>(netgofer::wire::ControlOp::kSetPolicy),
                            cut_existing};
  std::vector<uint8_t> message(sizeof head);
  memcpy(message.data(), head, sizeof head);
  const std::vector<uint8_t> encoded = netgofer::Encode(policy);
  message.insert(message.end(), encoded.begin(), encoded.end());
  netgofer::wire::ControlReply reply{};
  const timeval patience{10, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const ssize_t sent = send(fd.get(), message.data(), message.size(), MSG_NOSIGNAL);
  const ssize_t n = sent < 0 ? sent : recv(fd.get(), &reply, sizeof reply, 0);
  // It accepted, and ended.
  if (n == 0 || (n < 0 && (errno == EPIPE || errno == ECONNRESET))) return NotRunning();
  if (n != static_cast<ssize_t>(sizeof reply)) {
    return Status::Error("the sandbox's network process doesn't answer");
  }
  if (reply.error != 0) return Status::Errno("the sandbox refuses the policy", reply.error);
  *cut = reply.cut;
  return {};
}

}  // namespace runsc
