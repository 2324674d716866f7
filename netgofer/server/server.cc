#include "netgofer/server/server.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "netgofer/server/relay.h"
#include "netgofer/server/sockets.h"
#include "platform/base/log.h"
#include "platform/host/net_calls.h"

namespace netgofer {
namespace {

uint8_t ProtocolBit(uint8_t ip_protocol) {
  switch (ip_protocol) {
    case IPPROTO_TCP:
      return kTcp;
    case IPPROTO_UDP:
      return kUdp;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      return kIcmp;
  }
  return 0;
}

int FamilyOf(const Address& a) { return a.is_v4() ? AF_INET : AF_INET6; }

int TypeOf(uint8_t protocol) { return protocol == kTcp ? SOCK_STREAM : SOCK_DGRAM; }

}  // namespace

Server::Server(ServerOptions options)
    : options_(std::move(options)),
      guard_(std::move(options_.policy), options_.resolvers, std::move(options_.log)),
      in_(wire::kMaxMessage) {}

int Server::Open() {
  int r = loop_.Open();
  if (r == 0) r = socket_watch_.Start(loop_, options_.socket.get(), EPOLLIN, this);
  if (r == 0 && options_.control) {
    r = control_watch_.Start(loop_, options_.control.get(), EPOLLIN, this);
  }
  return r;
}

int Server::RunOnce() {
  const int r = loop_.RunOnce();
  dead_.clear();
  dead_controls_.clear();
  return r;
}

int Server::Run() {
  while (!ended_) {
    if (RunOnce() < 0) return 1;
  }
  return status_;
}

bool Server::ReadOption(wire::Reader& in, Option* o) {
  o->head = in.Get<wire::OptionHead>();
  if (!in.ok() || o->head.size > wire::kMaxOptionValue) return false;
  o->value = in.Bytes(o->head.size);
  return in.ok();
}

bool Server::ReadRequest(wire::Reader& in, Request* r) {
  r->body = in.Get<wire::SocketRequest>();
  r->protocol = ProtocolBit(r->body.protocol);
  if (!in.ok() || r->body.options > wire::kMaxOptions) return false;
  if (r->protocol == 0 && r->body.raw == 0) return false;
  if (r->body.raw > static_cast<uint8_t>(wire::RawKind::kPayloads)) return false;
  r->options.resize(r->body.options);
  return std::all_of(r->options.begin(), r->options.end(),
                     [&](Option& o) { return ReadOption(in, &o); }) &&
         in.Done();
}

bool Server::Handle(std::span<const uint8_t> message) {
  wire::Reader in(message);
  const auto header = in.Get<wire::RequestHeader>();
  if (!in.ok()) return false;
  const auto op = static_cast<wire::Op>(header.op);
  switch (op) {
    case wire::Op::kConnect:
    case wire::Op::kListen:
    case wire::Op::kBind:
    case wire::Op::kRaw: {
      Request r;
      if (!ReadRequest(in, &r) || flows_.contains(header.id)) return false;
      if ((op == wire::Op::kRaw) != (r.body.raw != 0)) return false;
      if (op == wire::Op::kListen && r.protocol != kTcp) return false;
      if (op == wire::Op::kBind && r.protocol == kTcp) return false;
      op == wire::Op::kConnect  ? Connect(header.id, r)
      : op == wire::Op::kListen ? Listen(header.id, r)
      : op == wire::Op::kBind   ? Bind(header.id, r)
                                : Raw(header.id, r);
      return true;
    }
    case wire::Op::kSetOption: {
      Option o;
      if (!ReadOption(in, &o) || !in.Done()) return false;
      SetOption(header.id, o);
      return true;
    }
    case wire::Op::kClose:
      if (!in.Done()) return false;
      Drop(header.id);
      return true;
    case wire::Op::kDescribe:
      if (!in.Done()) return false;
      Describe(header.id);
      return true;
  }
  return false;
}

bool Server::LoopbackRefused(const Endpoint& remote) const {
  const Address a = Canonical(remote.address);
  if (!a.is_loopback() || options_.loopback == Loopback::kAll) return false;
  return options_.loopback == Loopback::kNone || remote.port != dns::kPort ||
         std::find(options_.resolvers.begin(), options_.resolvers.end(), a) ==
             options_.resolvers.end();
}

const Published* Server::FindPublished(uint8_t protocol, uint16_t guest_port) const {
  for (const Published& p : options_.published) {
    if (p.protocol == protocol && p.guest_port == guest_port) return &p;
  }
  return nullptr;
}

int Server::MakeBound(const Request& r, int family, const Endpoint& local, bool bind,
                      base::UniqueFd* out) {
  int protocol = 0;
  if (r.protocol == kIcmp) protocol = family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  if (const int e = MakeSocket(family, TypeOf(r.protocol), protocol, out); e < 0) return e;
  if (family == AF_INET6) SetInt(out->get(), IPPROTO_IPV6, IPV6_V6ONLY, r.body.v6only);
  for (const Option& o : r.options) SetGuestOption(out->get(), o.head.level, o.head.name, o.value);
  // A datagram socket of the sandbox's may be several here, on the same port: one for each peer.
  if (r.protocol == kUdp) SetInt(out->get(), SOL_SOCKET, SO_REUSEADDR, 1);
  return bind ? BindTo(out->get(), local, family) : 0;
}

Endpoint Server::LocalOutside(const Request& r) const {
  Endpoint local = r.body.local;
  if (options_.own_ports) return local;
  auto bound = r.protocol == kUdp ? bound_.find(local.port) : bound_.end();
  local.port = 0;
  if (bound == bound_.end()) return local;
  auto flow = flows_.find(bound->second);
  if (flow != flows_.end()) local.port = LocalOf(flow->second->option_fd()).port;
  return local;
}

void Server::Connect(uint64_t id, const Request& r) {
  Flow::Target target{.protocol = r.protocol, .remote = r.body.remote, .names = {}};
  const int family = FamilyOf(target.remote.address);
  const Endpoint local = LocalOutside(r);
  const bool resolver = guard_.Resolves(r.protocol, target.remote);
  if (LoopbackRefused(target.remote)) return Reply(id, {.error = -ECONNREFUSED});
  // What a resolver is asked is judged query by query.
  if (!resolver && !guard_.MayConnect(r.protocol, target.remote, outbound_, &target.names)) {
    return Reply(id, {.error = -EPERM});
  }
  base::UniqueFd fd;
  const bool bind = !local.address.is_any() || local.port != 0;
  int e = MakeBound(r, family, local, bind, &fd);
  if (e < 0) return Reply(id, {.error = e});
  if (r.protocol == kTcp) {
    if (const uint32_t rate = guard_.limits().upload_bytes_per_second; rate != 0) {
      SetInt(fd.get(), SOL_SOCKET, SO_MAX_PACING_RATE, static_cast<int>(std::min(rate, 1u << 30)));
    }
    if (!resolver) {
      return Begin<SocketFlow>(
          id, std::make_unique<SocketFlow>(target, std::move(fd), false),
          [&](SocketFlow& f, Flow::Done done) { f.StartConnect(loop_, family, std::move(done)); });
    }
  }
  e = ConnectTo(fd.get(), target.remote, family);
  if (e < 0) return Reply(id, {.error = e});
  std::unique_ptr<Relay> relay;
  if (resolver && r.protocol == kTcp) {
    relay = std::make_unique<DnsStreamRelay>(target, guard_, loop_);
  } else if (resolver) {
    relay = std::make_unique<DnsRelay>(target, guard_, loop_);
  } else if (guard_.enforced()) {
    relay = std::make_unique<DatagramRelay>(target, guard_, loop_);
  } else {
    return Begin<SocketFlow>(
        id, std::make_unique<SocketFlow>(target, std::move(fd), true),
        [&](SocketFlow& f, auto done) {
          done({.fd = f.option_fd(), .local = LocalOf(f.option_fd()), .remote = target.remote});
        });
  }
  Begin<Relay>(id, std::move(relay),
               [&](Relay& f, Flow::Done done) { f.Start(std::move(fd), std::move(done)); });
}

int Server::MakeListener(const Request& r, const Endpoint& local, base::UniqueFd* out) {
  const bool dual = r.body.ipv6 != 0 && r.body.v6only == 0 && local.address.is_any();
  const int family = dual || !local.address.is_v4() ? AF_INET6 : AF_INET;
  int e = MakeBound(r, family, local, true, out);
  // A host without IPv6.
  if (e == -EAFNOSUPPORT && dual) e = MakeBound(r, AF_INET, local, true, out);
  return e;
}

void Server::Listen(uint64_t id, const Request& r) {
  Endpoint local = r.body.local;
  if (!options_.own_ports) {
    const Published* p = FindPublished(kTcp, local.port);
    if (p == nullptr || local.address.is_loopback()) {
      return Reply(id, {.local = local});
    }
    local.port = p->host_port;
    local.address = p->host_address.is_any() ? local.address : p->host_address;
  }
  base::UniqueFd fd;
  int e = MakeListener(r, local, &fd);
  if (e == 0) e = host::Listen(fd.get(), static_cast<int>(std::min(r.body.backlog, 65535u)));
  if (e < 0) return Reply(id, {.error = e});
  Begin<SocketFlow>(
      id, std::make_unique<SocketFlow>(Flow::Target{}, std::move(fd), false),
      [](SocketFlow& f, const Flow::Done& done) {
        done({.fd = f.option_fd(), .local = LocalOf(f.option_fd())});
      },
      options_.own_ports ? nullptr : &r.body.local);
}

void Server::Bind(uint64_t id, const Request& r) {
  Endpoint local = r.body.local;
  if (!options_.own_ports) {
    const Published* p = FindPublished(r.protocol, local.port);
    local.port = p != nullptr ? p->host_port : uint16_t{0};
    if (p != nullptr && !p->host_address.is_any()) local.address = p->host_address;
  }
  base::UniqueFd fd;
  const int e = MakeListener(r, local, &fd);
  if (e < 0) return Reply(id, {.error = e});
  uint32_t flags = wire::kSendsAnywhere;
  if (guard_.enforced()) {
    StopSending(fd.get());
    flags = 0;
  }
  Endpoint shown = r.body.local;
  if (shown.port == 0) shown.port = LocalOf(fd.get()).port;
  if (!options_.own_ports && r.protocol == kUdp) bound_[shown.port] = id;
  Begin<SocketFlow>(
      id, std::make_unique<SocketFlow>(Flow::Target{}, std::move(fd), true),
      [flags](SocketFlow& f, const Flow::Done& done) {
        done({.fd = f.option_fd(), .local = LocalOf(f.option_fd()), .flags = flags});
      },
      options_.own_ports ? nullptr : &shown);
}

void Server::Raw(uint64_t id, const Request& r) {
  const auto kind = static_cast<wire::RawKind>(r.body.raw);
  const bool ip = kind == wire::RawKind::kIp, icmp = ip && r.protocol == kIcmp;
  // Policies and the rules for a namespace that is somebody else's are about connections and
  // echoes; what else is in a packet nobody could judge.
  const bool refused =
      !options_.raw_sockets || ((guard_.enforced() || !options_.own_ports) && !icmp);
  if (refused) return Reply(id, {.error = -EPERM});
  const int family = !ip ? AF_PACKET : r.body.ipv6 != 0 ? AF_INET6 : AF_INET;
  const int type = kind == wire::RawKind::kPayloads ? SOCK_DGRAM : SOCK_RAW;
  base::UniqueFd fd;
  int e = MakeSocket(family, type, ip ? r.body.protocol : 0, &fd);
  if (e == 0 && !ip) e = BindToLink(fd.get(), r.body.ethertype, r.body.interface);
  if (e == 0 && ip && !r.body.local.address.is_any()) e = BindTo(fd.get(), r.body.local, family);
  if (e < 0) return Reply(id, {.error = e});
  for (const Option& o : r.options) SetGuestOption(fd.get(), o.head.level, o.head.name, o.value);
  Begin<RawRelay>(id,
                  std::make_unique<RawRelay>(
                      guard_, loop_, family, icmp,
                      [this](const Address& a) { return !LoopbackRefused({.address = a}); }),
                  [&](RawRelay& f, Flow::Done done) { f.Start(std::move(fd), std::move(done)); });
}

void Server::SetOption(uint64_t id, const Option& o) {
  auto it = flows_.find(id);
  if (it == flows_.end() || it->second->option_fd() < 0) return;
  SetGuestOption(it->second->option_fd(), o.head.level, o.head.name, o.value);
}

void Server::Describe(uint64_t id) {
  std::vector<uint8_t> message(wire::kMaxMessage);
  wire::Writer out(message);
  out.Put(wire::ReplyHeader{.id = id, .error = 0, .fds = 0});
  const int r = DescribeNetwork(out, options_.loopback);
  if (r < 0 || !out.ok()) {
    out.Rewind(0);
    out.Put(wire::ReplyHeader{.id = id, .error = r < 0 ? -r : EMSGSIZE, .fds = 0});
  }
  Send({message.data(), out.size()}, -1);
}

template <typename F>
void Server::Begin(uint64_t id, std::unique_ptr<F> flow,
                   const std::function<void(F&, Flow::Done)>& start, const Endpoint* shown_local) {
  F& f = *flow;
  outbound_ += f.target().protocol != 0;
  flows_[id] = std::move(flow);
  std::optional<Endpoint> shown;
  if (shown_local != nullptr) shown = *shown_local;
  start(f, [this, id, shown](const Flow::Made& made) {
    Flow::Made m = made;
    if (shown) m.local = *shown;
    Reply(id, m);
    if (m.error < 0) Drop(id);
  });
}

void Server::Drop(uint64_t id) {
  auto it = flows_.find(id);
  if (it == flows_.end()) return;
  outbound_ -= it->second->target().protocol != 0;
  it->second->Stop();
  dead_.push_back(std::move(it->second));
  flows_.erase(it);
}

void Server::Reply(uint64_t id, const Flow::Made& made) {
  uint8_t message[sizeof(wire::ReplyHeader) + sizeof(wire::SocketReply)];
  wire::Writer out(message);
  const bool donate = made.error == 0 && made.fd >= 0;
  out.Put(wire::ReplyHeader{.id = id, .error = -made.error, .fds = donate});
  if (made.error == 0) {
    out.Put(wire::SocketReply{.local = made.local, .remote = made.remote, .flags = made.flags});
  }
  Send({message, out.size()}, donate ? made.fd : -1);
}

void Server::Send(std::span<const uint8_t> message, int fd) {
  long r;
  do {
    r = host::SendWithFds(options_.socket.get(), message.data(), message.size(),
                          std::span<const int>(&fd, fd >= 0 ? 1 : 0), 0);
  } while (r == -EINTR);
  if (r < 0) ended_ = true;
}

void Server::OnReady(int fd, uint32_t) {
  if (fd == options_.control.get()) return AcceptControl();
  const long n = host::RecvWithFds(fd, in_.data(), wire::kMaxMessage, {}, nullptr, MSG_DONTWAIT);
  if (n == -EINTR || n == -EAGAIN) return;
  if (n > 0 && Handle({in_.data(), static_cast<size_t>(n)})) return;
  ended_ = true;
  if (n == 0 || n == -ECONNRESET) return;
  LOG_WARNING("net gofer: a malformed message (%ld); giving up", n);
  status_ = 1;
}

int ServerMain(ServerOptions options) {
  const std::function<bool()> lock_down = std::move(options.lock_down);
  Server server(std::move(options));
  if (server.Open() < 0) return 1;
  if (lock_down && !lock_down()) return 1;
  return server.Run();
}

}  // namespace netgofer
