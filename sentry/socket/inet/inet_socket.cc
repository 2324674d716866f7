#include "sentry/socket/inet/inet_socket.h"

#include "platform/base/byte_order.h"
#include "sentry/kernel/task.h"
#include "syscalls/abi/capability.h"

namespace sentry {

namespace {

// struct sockaddr_in of at least its length, whatever its family.
Endpoint FromSockaddr4(const SockAddr& a, abi::SockaddrIn* in) {
  memcpy(in, a.bytes.data(), sizeof *in);
  Endpoint e;
  e.addr = IpAddress::V4(ntohl(in->addr));
  e.port = ntohs(in->port);
  return e;
}

constexpr uint32_t kSin6LenRfc2133 = 24;

base::Result<Endpoint> FromSockaddr6(const SockAddr& a) {
  if (a.len < kSin6LenRfc2133) return abi::Errno::kEINVAL;
  if (a.family() != abi::kAF_INET6) return abi::Errno::kEAFNOSUPPORT;
  abi::SockaddrIn6 in{};
  memcpy(&in, a.bytes.data(), std::min<size_t>(a.len, sizeof in));
  Endpoint e;
  e.addr = IpAddress::V6(in.addr);
  e.port = ntohs(in.port);
  if (e.addr.is_link_local()) e.scope_id = in.scope_id;
  return e;
}

}  // namespace

InetSocket::InetSocket(base::Ref<NetStack> stack, int32_t family, int32_t type, int32_t protocol,
                       uint32_t flags)
    : Socket(family, type, protocol, flags),
      stack_(std::move(stack)),
      uid_(Task::Current() != nullptr ? Task::Current()->creds().euid : 0) {
  stack_->Add(this);
}

InetSocket::~InetSocket() { stack_->Remove(this); }

bool InetSocket::NeedsScope(const Endpoint& e) const {
  return ipv6() && e.addr.is_link_local() && e.scope_id == 0 && device() == 0;
}

base::Result<Endpoint> InetSocket::ParseRemote(const SockAddr& a) const {
  Endpoint e;
  // tcp_v6_connect() looks at the length before the family.
  if (ipv6() && type() == abi::kSOCK_STREAM && a.len < kSin6LenRfc2133) {
    return abi::Errno::kEINVAL;
  }
  if (!ipv6() || a.family() == abi::kAF_INET) {
    // An IPv6 datagram socket sends to IPv4 addresses, too; connections don't.
    if (a.len < sizeof(abi::SockaddrIn)) return abi::Errno::kEINVAL;
    if (a.family() != abi::kAF_INET || (ipv6() && type() == abi::kSOCK_STREAM)) {
      return abi::Errno::kEAFNOSUPPORT;
    }
    abi::SockaddrIn in;
    e = FromSockaddr4(a, &in);
  } else {
    e = TRY(FromSockaddr6(a));
  }
  if (ipv6() && e.addr.is_v4() && Option(abi::kSOL_IPV6, abi::kIPV6_V6ONLY) != 0) {
    return abi::Errno::kENETUNREACH;
  }
  if (NeedsScope(e)) return abi::Errno::kEINVAL;
  if (e.addr.is_any()) {
    if (e.addr.is_v4()) {
      e.addr = IpAddress::V4(abi::kINADDR_LOOPBACK);
    } else {
      e.addr.b[15] = 1;
    }
  }
  return e;
}

base::Result<Endpoint> InetSocket::ParseLocal(Task& task, const SockAddr& a) {
  Endpoint e;
  if (!ipv6()) {
    if (a.len < sizeof(abi::SockaddrIn)) return abi::Errno::kEINVAL;
    abi::SockaddrIn in;
    e = FromSockaddr4(a, &in);
    if (in.family != abi::kAF_INET && (in.family != abi::kAF_UNSPEC || in.addr != 0)) {
      return abi::Errno::kEAFNOSUPPORT;
    }
  } else {
    e = TRY(FromSockaddr6(a));
    if (e.addr.is_multicast() && type() == abi::kSOCK_STREAM) return abi::Errno::kEINVAL;
  }
  const bool mapped = ipv6() && e.addr.is_v4();
  if (mapped && Option(abi::kSOL_IPV6, abi::kIPV6_V6ONLY) != 0) return abi::Errno::kEINVAL;
  const bool anywhere = e.addr.is_any() || e.addr.is_multicast() || e.addr.is_broadcast() ||
                        Option(abi::kSOL_IP, abi::kIP_FREEBIND) != 0 ||
                        Option(abi::kSOL_IP, abi::kIP_TRANSPARENT) != 0;
  // 127.0.0.0/8 is this host's as a whole.
  const bool own = anywhere || stack_->IsOwn(e.addr);
  if (!own && !ipv6()) return abi::Errno::kEADDRNOTAVAIL;
  if (e.port != 0 && e.port < stack_->unprivileged_port_start.load(std::memory_order_relaxed) &&
      !task.creds().HasIn(*stack_->owner(), abi::kCAP_NET_BIND_SERVICE)) {
    return abi::Errno::kEACCES;
  }
  if (bound() || NeedsScope(e)) return abi::Errno::kEINVAL;
  if (!own) return abi::Errno::kEADDRNOTAVAIL;
  return e;
}

SockAddr InetSocket::Name(const Endpoint& e) const {
  SockAddr a;
  if (!ipv6()) {
    abi::SockaddrIn in{abi::kAF_INET, htons(e.port), htonl(e.addr.v4()), {}};
    memcpy(a.bytes.data(), &in, sizeof in);
    a.len = sizeof in;
  } else {
    abi::SockaddrIn6 in{abi::kAF_INET6, htons(e.port), 0, e.addr.v6(), e.scope_id};
    memcpy(a.bytes.data(), &in, sizeof in);
    a.len = sizeof in;
  }
  return a;
}

Endpoint InetSocket::Unbound() const {
  return Endpoint{ipv6() ? IpAddress{} : IpAddress::V4(0), 0, 0};
}

PortClaim InetSocket::Claim(const Endpoint& local) const {
  PortClaim c;
  c.local = local;
  c.dual = ipv6() && local.addr == IpAddress{} && Option(abi::kSOL_IPV6, abi::kIPV6_V6ONLY) == 0;
  c.reuse_addr = flag(abi::kSO_REUSEADDR);
  c.reuse_port = flag(abi::kSO_REUSEPORT);
  c.uid = uid_;
  c.device = device();
  base::MutexLock lock(options_mu_);
  c.own_group = own_group_;
  c.filter = own_filter_;
  return c;
}

// sk_reuseport_attach_filter(), reuseport_detach_prog().
base::Result<void> InetSocket::SetPortFilter(Task& task, PortTable& ports, base::RefCounted* owner,
                                             int32_t name, std::span<const uint8_t> value) {
  base::Ref<SocketFilter> filter;
  if (name == abi::kSO_ATTACH_REUSEPORT_CBPF) filter = TRY(ReadFilter(task, value));
  base::Result<void> set = ports.SetGroupFilter(owner, Show().local.port, filter);
  if (!set.is(abi::Errno::kEINVAL)) return set;
  const bool shares = flag(abi::kSO_REUSEPORT);
  // sk_unhashed(): a stream socket that is bound is nowhere to be found yet.
  const bool found = type() == abi::kSOCK_STREAM ? listening() || connected() : bound();
  base::MutexLock lock(options_mu_);
  if (!filter && !own_filter_) return shares ? abi::Errno::kENOENT : abi::Errno::kEINVAL;
  if (filter && (found || !shares)) return abi::Errno::kEINVAL;
  own_group_ = true;
  own_filter_ = std::move(filter);
  return {};
}

base::Result<uint64_t> InetSocket::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  const bool in = cmd == static_cast<uint32_t>(abi::kSIOCINQ);
  if (!in && cmd != static_cast<uint32_t>(abi::kSIOCOUTQ)) return Socket::Ioctl(task, cmd, arg);
  const uint32_t n = TRY(QueuedBytes(in));
  TRY(UserOut<int32_t>{arg}.Store(task.mm(), static_cast<int32_t>(n)));
  return uint64_t{0};
}

void InetSocket::OnSet(int32_t level, int32_t name, std::span<const uint8_t> value) {
  NetOutside::Option o{level, name, {value.begin(), value.end()}};
  SetOutside(o);
  base::MutexLock lock(options_mu_);
  for (NetOutside::Option& old : host_options_) {
    if (old.level != level || old.name != name) continue;
    old = std::move(o);
    return;
  }
  host_options_.push_back(std::move(o));
}

NetOutside::Request InetSocket::OutsideRequest(const Endpoint& local, const Endpoint& remote) {
  NetOutside::Request r;
  r.protocol = static_cast<uint8_t>(protocol());
  r.ipv6 = ipv6();
  r.v6only = ipv6() && Option(abi::kSOL_IPV6, abi::kIPV6_V6ONLY) != 0;
  r.local = local;
  r.remote = remote;
  base::MutexLock lock(options_mu_);
  r.options = host_options_;
  return r;
}

bool InetSocket::IsMember(const IpAddress& group) const {
  base::MutexLock lock(options_mu_);
  for (const auto& g : groups_) {
    if (g.first == group) return true;
  }
  return false;
}

}  // namespace sentry
