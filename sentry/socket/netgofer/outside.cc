#include "sentry/socket/netgofer/outside.h"

#include <utility>

#include "platform/host/host.h"
#include "sentry/socket/inet/inet_socket.h"

namespace sentry {
namespace {

namespace wire = netgofer::wire;

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

NetGoferOutside::NetGoferOutside(base::UniqueFd socket, std::function<void()> on_lost)
    : client_(base::MakeRef<netgofer::Client>(std::move(socket), std::move(on_lost))) {}

void NetGoferOutside::Attach(Kernel& kernel, base::UniqueFd socket) {
  const base::Ref<NetStack> stack = NetStack::Of(*kernel.root_net_ns());
  stack->SetOutside(base::Ref<NetGoferOutside>::Adopt(
      new NetGoferOutside(std::move(socket), [] { HostEnd::ResetAll(); })));
}

void NetGoferOutside::Ask(wire::Op op, const Request& r, Done done) {
  const wire::SocketRequest body{.local = ToWire(r.local),
                                 .remote = ToWire(r.remote),
                                 .backlog = r.backlog,
                                 .protocol = r.protocol,
                                 .v6only = r.v6only,
                                 .ipv6 = r.ipv6,
                                 .options = 0};
  std::vector<netgofer::SocketOption> options;
  for (const Option& o : r.options) options.push_back({o.level, o.name, o.value});
  client_->Ask(op, body, options, [done = std::move(done)](base::Result<netgofer::Socket> s) {
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

void NetGoferOutside::SetOption(uint64_t id, Option o) {
  client_->SetOption(id, {o.level, o.name, o.value});
}

void NetGoferOutside::Closed(uint64_t id) { client_->Close(id); }

base::Ref<NetConfig> NetGoferOutside::Config() {
  const int64_t now = host::ClockNow(CLOCK_MONOTONIC);
  {
    base::MutexLock lock(mu_);
    if (config_time_ != 0 && now - config_time_ < kConfigLife) return config_;
  }
  base::Result<netgofer::Description> d = client_->Describe();
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
