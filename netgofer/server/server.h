// The net gofer: makes all host sockets of one sandbox, as its policy allows, and believes nothing
// of what the sentry sends.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "netgofer/policy/policy.h"
#include "netgofer/server/flow.h"
#include "netgofer/server/guard.h"
#include "netgofer/server/loop.h"
#include "netgofer/wire/messages.h"
#include "platform/base/fd.h"

namespace netgofer {

// What of the namespace's own loopback the sandbox reaches, where nobody inside listens.
enum class Loopback : uint8_t { kNone, kResolvers, kAll };

// A port of the host that leads to one of the sandbox.
struct Published {
  uint8_t protocol = 0;  // kTcp or kUdp
  Address host_address;  // unspecified: all
  uint16_t host_port = 0, guest_port = 0;
};

struct ServerOptions {
  base::UniqueFd socket;   // SOCK_SEQPACKET, connected to the sentry
  base::UniqueFd control;  // SOCK_SEQPACKET, listening, non-blocking; or invalid
  base::UniqueFd log;      // of decisions; or invalid
  // Ports are the namespace's own: what the sandbox binds is bound. If not, the sandbox is a client
  // of the namespace, of which only `published` is bound.
  bool own_ports = true;
  Loopback loopback = Loopback::kAll;
  std::vector<Published> published;
  std::vector<Address> resolvers;  // that the sandbox uses
  bool raw_sockets = false;        // --net-raw
  std::optional<Policy> policy;
  // Told of every policy that a command sets, before it is in force.
  std::function<void(const Policy&)> keep_policy;
  // Called once, after set-up and before the first message: boot installs the system call filter
  // here. False ends the server.
  std::function<bool()> lock_down;
};

// Serves until the sentry closes its end; 0 then, 1 after a failed set-up or a message that no
// client of ours sends.
int ServerMain(ServerOptions options);

class Server;

// A connection of the command's: one question, one answer.
class Control final : public Loop::Source {
 public:
  Control(Server& server, base::UniqueFd fd) : server_(server), fd_(std::move(fd)) {}
  int Start(Loop& loop) { return watch_.Start(loop, fd_.get(), EPOLLIN, this); }
  void OnReady(int fd, uint32_t events) override;

 private:
  Server& server_;
  const base::UniqueFd fd_;
  Watch watch_;
};

// What ServerMain runs. One thread.
class Server : private Loop::Source {
 public:
  explicit Server(ServerOptions options);
  int Open();  // 0 or -errno
  // Waits for something to do, and does it. 0 or -errno.
  int RunOnce();
  // Until the sentry is gone (0) or nonsense came (1).
  int Run();
  // One message of the sentry's. False: malformed, the connection must be closed.
  bool Handle(std::span<const uint8_t> message);
  // One message of a control connection, and its answer.
  std::vector<uint8_t> HandleControl(std::span<const uint8_t> message);
  void EndControl(int fd);
  size_t flows() const { return flows_.size(); }

 private:
  struct Option {
    wire::OptionHead head;
    std::span<const uint8_t> value;
  };
  struct Request {
    wire::SocketRequest body;
    std::vector<Option> options;
    uint8_t protocol;  // Protocols
  };

  void OnReady(int fd, uint32_t events) override;
  bool ReadRequest(wire::Reader& in, Request* r);
  bool ReadOption(wire::Reader& in, Option* o);

  void Connect(uint64_t id, const Request& r);
  void Listen(uint64_t id, const Request& r);
  void Bind(uint64_t id, const Request& r);
  void Raw(uint64_t id, const Request& r);
  void SetOption(uint64_t id, const Option& o);
  void Describe(uint64_t id);
  void AcceptControl();

  bool LoopbackRefused(const Endpoint& remote) const;
  // The port outside of a port inside; none: it is not published.
  const Published* FindPublished(uint8_t protocol, uint16_t guest_port) const;
  // A socket with the options set and, if local is one, bound. 0 or -errno.
  int MakeBound(const Request& r, int family, const Endpoint& local, bool bind,
                base::UniqueFd* out);
  int MakeListener(const Request& r, const Endpoint& local, base::UniqueFd* out);
  // Where a datagram socket of the sandbox's is bound outside.
  Endpoint LocalOutside(const Request& r) const;

  // Takes the flow in and lets `start` begin; it goes again if it comes to nothing.
  template <typename F>
  void Begin(uint64_t id, std::unique_ptr<F> flow, const std::function<void(F&, Flow::Done)>& start,
             const Endpoint* shown_local = nullptr);
  void Drop(uint64_t id);
  void Reply(uint64_t id, const Flow::Made& made);
  void Send(std::span<const uint8_t> message, int fd);
  uint32_t SetPolicy(Policy policy, bool cut);

  ServerOptions options_;
  Loop loop_;
  Guard guard_;
  Watch socket_watch_, control_watch_;
  bool ended_ = false;
  int status_ = 0;
  size_t outbound_ = 0;  // flows with a target
  absl::flat_hash_map<uint64_t, std::unique_ptr<Flow>> flows_;
  // Of a client of the namespace: which flow is bound for a UDP port inside.
  absl::flat_hash_map<uint16_t, uint64_t> bound_;
  absl::flat_hash_map<int, std::unique_ptr<Control>> controls_;
  // Gone, but perhaps with a function still running; destroyed between rounds.
  std::vector<std::unique_ptr<Flow>> dead_;
  std::vector<std::unique_ptr<Control>> dead_controls_;
  std::vector<uint8_t> in_;
};

// The interfaces, addresses and routes of this process's network namespace, but lo, as the body of
// a Describe reply. 0 or -errno.
int DescribeNetwork(wire::Writer& out, Loopback loopback);

}  // namespace netgofer
