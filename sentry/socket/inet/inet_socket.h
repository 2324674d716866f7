// What sockets of AF_INET and AF_INET6 share: addresses, binding, the options of the IP levels
// (ip(7), ipv6(7); net/ipv4/af_inet.c, ip_sockglue.c, net/ipv6/af_inet6.c, ipv6_sockglue.c).
#pragma once

#include <utility>

#include "absl/container/inlined_vector.h"
#include "sentry/socket/inet/host_end.h"
#include "sentry/socket/inet/net_stack.h"
#include "sentry/socket/socket.h"

namespace sentry {

// TCP's states as /proc/net/tcp and TCP_INFO number them; the other protocols use two of them.
enum class TcpState : uint8_t {
  kEstablished = 1,
  kSynSent = 2,
  kFinWait2 = 5,
  kClose = 7,
  kCloseWait = 8,
  kListen = 10,
};

// An option that holds a number (table in inet_options.cc).
struct IntOption;

class InetSocket : public Socket {
 public:
  InetSocket(base::Ref<NetStack> stack, int32_t family, int32_t type, int32_t protocol,
             uint32_t flags);
  ~InetSocket() override;
  bool signals_io() const override { return true; }

  NetStack& stack() const { return *stack_; }
  uint32_t uid() const { return uid_; }

  // What /proc/net and sock_diag(7) show.
  struct Row {
    Endpoint local, remote;
    TcpState state = TcpState::kClose;
    uint32_t receive_queue = 0, send_queue = 0;
  };
  virtual Row Show() = 0;

  // HostEnds of before are lost. What listens or is bound asks next, if there is one, for another.
  virtual void OutsideLost(const base::Ref<NetOutside>& next) = 0;

  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;

 protected:
  bool ipv6() const { return family() == abi::kAF_INET6; }
  // The address of connect(2) and sendto(2). EINVAL, EAFNOSUPPORT, ENETUNREACH (an IPv4 address
  // and IPV6_V6ONLY). A wildcard means this host.
  base::Result<Endpoint> ParseRemote(const SockAddr& a) const;
  // inet_bind(), inet6_bind(): checks the address and the caller's right to the port.
  base::Result<Endpoint> ParseLocal(Task& task, const SockAddr& a);
  // A link-local address means nothing without an interface.
  bool NeedsScope(const Endpoint& e) const;
  SockAddr Name(const Endpoint& e) const;
  // A place that is not bound: the family's wildcard.
  Endpoint Unbound() const;
  PortClaim Claim(const Endpoint& local) const;
  // Bytes that SIOCINQ and SIOCOUTQ tell; EINVAL on a listener.
  virtual base::Result<uint32_t> QueuedBytes(bool receive) = 0;
  virtual bool bound() = 0;
  // Of a connection, for IP_MTU.
  virtual bool connected() = 0;

  // An option's present value.
  int32_t Option(int32_t level, int32_t name) const;
  void InheritFrom(const InetSocket& listener);

  base::Result<void> SetFamilyOption(Task& task, int32_t level, int32_t name,
                                     std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetFamilyOption(Task& task, int32_t level, int32_t name,
                                         std::span<uint8_t> out) override;
  // Options of the protocol's own that are no plain numbers. ENOPROTOOPT.
  virtual base::Result<void> SetProtocolOption(Task& task, int32_t level, int32_t name,
                                               std::span<const uint8_t> value) {
    return abi::Errno::kENOPROTOOPT;
  }
  virtual base::Result<uint32_t> GetProtocolOption(Task& task, int32_t level, int32_t name,
                                                   std::span<uint8_t> out) {
    return abi::Errno::kENOPROTOOPT;
  }
  // SO_ATTACH_REUSEPORT_CBPF and SO_DETACH_REUSEPORT_BPF of owner, which is what holds this
  // socket's port.
  base::Result<void> SetPortFilter(Task& task, PortTable& ports, base::RefCounted* owner,
                                   int32_t name, std::span<const uint8_t> value);
  // A number was stored.
  virtual void OnOption(int32_t level, int32_t name, int32_t value) {}

  void OnSet(int32_t level, int32_t name, std::span<const uint8_t> value) override;
  // The host socket that an option is handed on to; null: none yet.
  virtual base::Ref<HostEnd> host_end() { return nullptr; }
  // Sets it on what the outside gave; later requests have it anyway.
  virtual void SetOutside(const NetOutside::Option& o) {
    if (base::Ref<HostEnd> host = host_end()) host->SetOption(o);
  }
  // What the outside is asked with: this socket's kind and the options that were set.
  NetOutside::Request OutsideRequest(const Endpoint& local, const Endpoint& remote);

  // What a datagram is sent with.
  struct Sending {
    uint8_t tos = 0, ttl = 64;
    bool has_source = false;
    IpAddress source;  // that a control message chose
  };
  // tos and ttl as the options have them.
  void MarkAsSet(const IpAddress& to, Sending* s) const;
  // A control message that is sent with it; those of other levels are skipped. EINVAL.
  base::Result<void> ReadIpControl(const ControlMessage& m, Sending* s) const;
  struct Arrival {
    Endpoint from, to;
    uint8_t tos, ttl;
    int32_t interface;
  };
  // What the options want beside a datagram that came.
  void AddIpControls(const Arrival& p, std::vector<ControlMessage>* out) const;

  // Multicast groups joined, by interface (0: any).
  bool IsMember(const IpAddress& group) const;
  // IP_MULTICAST_IF and IPV6_MULTICAST_IF: an interface's index, 0: by the routes.
  int32_t multicast_interface() const {
    const int32_t v4 = multicast_if_.load(std::memory_order_relaxed);
    return v4 != 0 || !ipv6() ? v4 : Option(abi::kSOL_IPV6, abi::kIPV6_MULTICAST_IF);
  }
  int32_t device() const { return device_.load(std::memory_order_relaxed); }

  const base::Ref<NetStack> stack_;

 private:
  base::Result<void> SetIntOption(Task& task, const IntOption& o, std::span<const uint8_t> value);
  base::Result<void> SetIp(Task& task, int32_t name, std::span<const uint8_t> value);
  base::Result<void> SetIpv6(Task& task, int32_t name, std::span<const uint8_t> value);
  base::Result<void> SetSocketLevel(Task& task, int32_t name, std::span<const uint8_t> value);
  base::Result<void> ChangeGroup(const IpAddress& group, int32_t index, bool join);

  const uint32_t uid_;
  std::atomic<int32_t> device_{0}, multicast_if_{0};
  mutable base::Mutex<base::LockClass::kLeaf> options_mu_;
  // Those that were ever set.
  absl::InlinedVector<std::pair<const IntOption*, int32_t>, 4> values_ GUARDED_BY(options_mu_);
  std::vector<std::pair<IpAddress, int32_t>> groups_ GUARDED_BY(options_mu_);
  std::vector<NetOutside::Option> host_options_ GUARDED_BY(options_mu_);
  // PortClaim's, before there is a claim.
  bool own_group_ GUARDED_BY(options_mu_) = false;
  base::Ref<SocketFilter> own_filter_ GUARDED_BY(options_mu_);
};

}  // namespace sentry
