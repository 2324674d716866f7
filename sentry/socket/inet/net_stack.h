// NetStack: what a network namespace consists of: interfaces and routes, the ports of its
// protocols, its settings (net.ipv4.*), its counters.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sentry/kernel/process.h"
#include "sentry/socket/inet/local_packet.h"
#include "sentry/socket/inet/outside.h"
#include "sentry/socket/inet/own_links.h"
#include "sentry/socket/inet/ports.h"
#include "syscalls/abi/socket.h"

namespace sentry {

class InetSocket;

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
  void AddLoopback(uint64_t packets, uint64_t bytes) {
    lo_packets.fetch_add(packets, std::memory_order_relaxed);
    lo_bytes.fetch_add(bytes, std::memory_order_relaxed);
  }
};

class NetStack : public base::RefCounted {
 public:
  // A socket that sees packets, whoever they are for. Called without locks.
  class Observer {
   public:
    virtual void Observe(const LocalPacket& p) = 0;
    // What the outside gave has ended.
    virtual void OutsideGone() {}
    // Its line of /proc/net/packet; empty: it has none.
    virtual std::string Line() { return {}; }

   protected:
    ~Observer() = default;
  };
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
  // What privileged guests may change; the others are the outside's.
  OwnLinks& links() { return links_; }
  bool loopback_up() const { return links_.loopback_up(); }

  enum class Place {
    kNowhere,  // no route
    kHere,     // an address of this namespace
    kOutside,
    kDiscard,  // behind a link with nobody on it
  };
  Place Locate(const IpAddress& to);
  // An address that sockets may bind to (beside wildcard, multicast and broadcast).
  bool IsOwn(const IpAddress& a);
  // Where a connection to a place in here comes from (fib_prefsrc).
  IpAddress SourceFor(const IpAddress& to) const;

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

  // self: what the observer is part of; both stay until RemoveObserver().
  void AddObserver(base::RefCounted* self, Observer* o);
  void RemoveObserver(Observer* o);
  // Whether Show() has anybody to show a packet to.
  bool observed() const { return observed_.load(std::memory_order_relaxed); }
  void Show(const LocalPacket& p);
  std::string ObserverLines();

  // Settings.
  std::atomic<uint32_t> somaxconn{4096}, unprivileged_port_start{1024};
  std::atomic<uint32_t> ping_group_low{1}, ping_group_high{0};
  NetCounters counters;

 private:
  template <typename F>
  void EachObserver(F&& f);

  const base::Ref<UserNamespace> owner_;
  OwnLinks links_;
  base::Mutex<base::LockClass::kLeaf> mu_;
  base::Ref<NetOutside> outside_ GUARDED_BY(mu_);
  base::Mutex<base::LockClass::kSocketTable> sockets_mu_;
  absl::flat_hash_set<InetSocket*> sockets_ GUARDED_BY(sockets_mu_);
  std::atomic<bool> observed_{false};
  std::vector<std::pair<base::RefCounted*, Observer*>> observers_ GUARDED_BY(sockets_mu_);
};

}  // namespace sentry
