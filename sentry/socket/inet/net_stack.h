// NetStack: what a network namespace consists of: interfaces and routes, the ports of its
// protocols, its settings (net.ipv4.*), its counters.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sentry/kernel/process.h"
#include "sentry/socket/inet/outside.h"
#include "sentry/socket/inet/ports.h"
#include "syscalls/abi/socket.h"

namespace sentry {

class InetSocket;

constexpr int32_t kLoopbackIndex = 1;
constexpr uint32_t kLoopbackMtu = 65536;

// A name as programs hand it over: up to the first zero byte, if there is one.
inline std::string_view NameIn(std::span<const uint8_t> bytes) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return all.substr(0, all.find('\0'));
}

// What /proc/net/snmp and the like count.
struct NetCounters {
  std::atomic<uint64_t> tcp_active{0}, tcp_passive{0}, tcp_failed{0}, tcp_reset{0};
  std::atomic<uint64_t> udp_in{0}, udp_out{0}, udp_no_port{0}, udp_overflow{0};
  // Of TCP connections that are closed, and of datagrams.
  std::atomic<uint64_t> lo_bytes{0}, lo_packets{0};
};

class NetStack : public base::RefCounted {
 public:
  // Of a namespace, made at first use.
  static base::Ref<NetStack> Of(NetNamespace& ns);
  static base::Ref<NetStack> Of(const Task& task);
  explicit NetStack(base::Ref<UserNamespace> owner)
      : tcp(true), udp(false), udplite(false), ping(false), owner_(std::move(owner)) {}
  const base::Ref<UserNamespace>& owner() const { return owner_; }

  // Interfaces (lo first) and the routes of the main table. Up only, if lo is.
  std::vector<NetInterface> Interfaces();
  std::vector<NetRoute> Routes();
  // 0: no such interface.
  int32_t InterfaceIndex(std::string_view name);
  bool loopback_up() const { return loopback_up_.load(std::memory_order_relaxed); }
  // What privileged guests change of lo, which is this kernel's own.
  void set_loopback_up(bool up);
  void set_loopback_mtu(uint32_t mtu);
  void set_loopback_txqlen(uint32_t n);
  base::Result<void> AddLoopbackAddress(const NetInterface::Address& a, bool replace);  // EEXIST
  base::Result<void> RemoveLoopbackAddress(const NetInterface::Address& a);  // EADDRNOTAVAIL

  enum class Place {
    kNowhere,  // no route
    kHere,     // an address of this namespace
    kOutside,
  };
  Place Locate(const IpAddress& to);
  // An address that sockets may bind to (beside wildcard, multicast and broadcast).
  bool IsOwn(const IpAddress& a);
  // Where a connection to a place in here comes from (fib_prefsrc).
  static IpAddress SourceFor(const IpAddress& to);

  void SetOutside(base::Ref<NetOutside> outside);
  base::Ref<NetOutside> outside();
  // What of this stack's sockets lay outside has ended. again: there is an outside once more, of
  // which listeners and bound sockets get what they had.
  void OutsideLost(bool again);
  // As outside(), if it takes what nobody inside listens for at to.
  base::Ref<NetOutside> OutsideFor(const Endpoint& to);
  // As outside(), if sockets that are bound to local may be reached from there.
  base::Ref<NetOutside> OutsideTowards(const Endpoint& local);

  PortTable tcp, udp, udplite, ping;
  PortTable& ports(int32_t protocol) {
    switch (protocol) {
      case abi::kIPPROTO_TCP:
        return tcp;
      case abi::kIPPROTO_UDP:
        return udp;
      case abi::kIPPROTO_UDPLITE:
        return udplite;
      default:
        return ping;
    }
  }

  // All inet sockets, for /proc/net and sock_diag(7).
  void Add(InetSocket* s);
  void Remove(InetSocket* s);
  std::vector<base::Ref<InetSocket>> Sockets();

  // Settings.
  std::atomic<uint32_t> somaxconn{4096}, unprivileged_port_start{1024};
  std::atomic<uint32_t> ping_group_low{1}, ping_group_high{0};
  NetCounters counters;

 private:
  NetInterface Loopback();
  // An address of lo's beside those that every lo has.
  bool IsAdded(const IpAddress& a);

  const base::Ref<UserNamespace> owner_;
  std::atomic<bool> loopback_up_{false};
  std::atomic<bool> has_added_{false};  // IsAdded() of some
  base::Mutex<base::LockClass::kLeaf> loopback_mu_;
  uint32_t loopback_mtu_ GUARDED_BY(loopback_mu_) = kLoopbackMtu;
  uint32_t loopback_txqlen_ GUARDED_BY(loopback_mu_) = 1000;
  std::vector<NetInterface::Address> loopback_addresses_ GUARDED_BY(loopback_mu_);
  base::Mutex<base::LockClass::kLeaf> mu_;
  base::Ref<NetOutside> outside_ GUARDED_BY(mu_);
  base::Mutex<base::LockClass::kSocketTable> sockets_mu_;
  absl::flat_hash_set<InetSocket*> sockets_ GUARDED_BY(sockets_mu_);
};

}  // namespace sentry
