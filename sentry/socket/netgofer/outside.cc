#include "sentry/socket/netgofer/outside.h"

#include <cstddef>
#include <utility>

#include "platform/host/host.h"
#include "sentry/socket/inet/inet_socket.h"

namespace sentry {
namespace {

namespace wire = netgofer::wire;

static_assert(sizeof(NetOutside::RelayHead) == sizeof(wire::RelayHead) &&
              offsetof(NetOutside::RelayHead, marks) == offsetof(wire::RelayHead, marks) &&
              offsetof(NetOutside::RelayHead, tos) == offsetof(wire::RelayHead, tos) &&
              NetOutside::RelayHead::kTos == wire::kTos &&
              NetOutside::RelayHead::kTtl == wire::kTtl);

static_assert(sizeof(NetOutside::RawHead) == sizeof(wire::RawHead) &&
              offsetof(NetOutside::RawHead, interface) == offsetof(wire::RawHead, interface) &&
              offsetof(NetOutside::RawHead, packet_type) == offsetof(wire::RawHead, packet_type) &&
              offsetof(NetOutside::RawHead, link_address) ==
                  offsetof(wire::RawHead, link_address) &&
              offsetof(NetOutside::RawHead, relay) == offsetof(wire::RawHead, relay));
static_assert(static_cast<int>(NetOutside::RawKind::kIp) == static_cast<int>(wire::RawKind::kIp) &&
              static_cast<int>(NetOutside::RawKind::kFrames) ==
                  static_cast<int>(wire::RawKind::kFrames) &&
              static_cast<int>(NetOutside::RawKind::kPayloads) ==
                  static_cast<int>(wire::RawKind::kPayloads));

constexpr int64_t kConfigLife = 1'000'000'000;

IpAddress FromWire(const netgofer::Address& a) {
  IpAddress out;
  out.b = a.b;
  return out;
}

Endpoint FromWire(const netgofer::Endpoint& e) {
  return {.addr = FromWire(e.address), .port = e.port, .scope_id = e.scope};
}

netgofer::Endpoint ToWire(const Endpoint& e) {
  return {.address = {e.addr.b}, .scope = e.scope_id, .port = e.port, .reserved = 0};
}

NetInterface FromWire(const netgofer::Interface& i) {
  NetInterface out;
  out.index = i.head.index;
  out.name = i.name;
  out.flags = i.head.flags;
  out.type = i.head.type;
  out.mtu = i.head.mtu;
  out.txqlen = i.head.txqlen;
  for (size_t k = 0; k < out.hwaddr.size(); k++) out.hwaddr[k] = i.head.hwaddr[k];
  for (const wire::InterfaceAddress& a : i.addresses) {
    out.addresses.push_back(
        {FromWire(a.address), static_cast<uint8_t>(a.prefix), FromWire(a.broadcast)});
  }
  return out;
}

NetRoute FromWire(const wire::Route& r) {
  return {.dst = FromWire(r.destination),
          .prefix = r.prefix,
          .gateway = FromWire(r.gateway),
          .source = FromWire(r.source),
          .interface = r.interface,
          .metric = r.metric,
          .protocol = r.protocol,
          .scope = r.scope};
}

}  // namespace

void NetGoferOutside::Attach(Kernel& kernel, base::UniqueFd socket) {
  const base::Ref<NetStack> stack = NetStack::Of(*kernel.root_net_ns());
  auto outside = base::Ref<NetGoferOutside>::Adopt(new NetGoferOutside(stack.get()));
  outside->Start(std::move(socket), 1);
  stack->SetOutside(std::move(outside));
}

void NetGoferOutside::Start(base::UniqueFd socket, uint64_t first_id) {
  // The kernel's first network namespace, and what it has, stay as long as the process does.
  auto next = base::MakeRef<netgofer::Client>(
      std::move(socket), [this](base::UniqueFd successor) { Lost(std::move(successor)); },
      first_id);
  base::MutexLock lock(mu_);
  std::swap(client_, next);
  config_time_ = 0;
}

void NetGoferOutside::Lost(base::UniqueFd successor) {
  const bool again = successor.valid();
  // Ids go on, so that a late Closed of a socket that is gone names none of the successor's.
  if (again) Start(std::move(successor), client()->next_id());
  // Marked first: what is on its way to a socket, and comes after the second step, shows the mark.
  HostEnd::LoseAll();
  stack_->OutsideLost(again);
}

base::Ref<netgofer::Client> NetGoferOutside::client() {
  base::MutexLock lock(mu_);
  return client_;
}

void NetGoferOutside::Ask(wire::Op op, const Request& r, Done done) {
  const wire::SocketRequest body{.local = ToWire(r.local),
                                 .remote = ToWire(r.remote),
                                 .backlog = r.backlog,
                                 .interface = r.interface,
                                 .ethertype = r.ethertype,
                                 .raw = static_cast<uint8_t>(r.raw),
                                 .reserved = 0,
                                 .protocol = r.protocol,
                                 .v6only = r.v6only,
                                 .ipv6 = r.ipv6,
                                 .options = 0};
  std::vector<netgofer::SocketOption> options;
  for (const Option& o : r.options) options.push_back({o.level, o.name, o.value});
  client()->Ask(op, body, options, [done = std::move(done)](base::Result<netgofer::Socket> s) {
    if (!s.ok()) return done(s.error());
    HostSocket out;
    out.fd = std::move(s->fd);
    out.id = s->id;
    out.local = FromWire(s->body.local);
    out.remote = FromWire(s->body.remote);
    out.sends_anywhere = (s->body.flags & wire::kSendsAnywhere) != 0;
    out.relayed = (s->body.flags & wire::kRelayed) != 0;
    done(std::move(out));
  });
}

void NetGoferOutside::Connect(Request r, Done done) { Ask(wire::Op::kConnect, r, std::move(done)); }

void NetGoferOutside::Listen(Request r, Done done) { Ask(wire::Op::kListen, r, std::move(done)); }

void NetGoferOutside::Bind(Request r, Done done) { Ask(wire::Op::kBind, r, std::move(done)); }

void NetGoferOutside::Raw(Request r, Done done) { Ask(wire::Op::kRaw, r, std::move(done)); }

void NetGoferOutside::SetOption(uint64_t id, Option o) {
  client()->SetOption(id, {o.level, o.name, o.value});
}

void NetGoferOutside::Closed(uint64_t id) { client()->Close(id); }

base::Ref<NetConfig> NetGoferOutside::Config() {
  const int64_t now = host::ClockNow(CLOCK_MONOTONIC);
  {
    base::MutexLock lock(mu_);
    if (config_time_ != 0 && now - config_time_ < kConfigLife) return config_;
  }
  base::Result<netgofer::Description> d = client()->Describe();
  base::Ref<NetConfig> fresh;
  if (d.ok()) {
    fresh = base::MakeRef<NetConfig>();
    fresh->loopback = d->loopback;
    fresh->loopback_dns = d->loopback_dns;
    for (const netgofer::Interface& i : d->interfaces) fresh->interfaces.push_back(FromWire(i));
    for (const wire::Route& r : d->routes) fresh->routes.push_back(FromWire(r));
  }
  base::MutexLock lock(mu_);
  config_time_ = now;
  if (fresh) std::swap(config_, fresh);
  return config_;
}

}  // namespace sentry
