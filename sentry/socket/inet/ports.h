// The ports of one protocol in a network namespace: who is bound where, who receives what
// (net/ipv4/inet_hashtables.c, inet_connection_sock.c, udp.c).
#pragma once

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "platform/base/result.h"
#include "sentry/socket/filter.h"
#include "sentry/socket/inet/address.h"

namespace sentry {

// Where a socket is bound and what it shares the place with.
struct PortClaim {
  Endpoint local;           // port 0: any free one
  bool dual = false;        // bound to :: without IPV6_V6ONLY: takes IPv4 too
  bool reuse_addr = false;  // SO_REUSEADDR, SO_REUSEPORT
  bool reuse_port = false;
  uint32_t uid = 0;
  int32_t device = 0;  // SO_BINDTODEVICE: an interface's index
  // SO_ATTACH_REUSEPORT_CBPF before it had a place to share: it joins nobody who shares his.
  bool own_group = false;
  base::Ref<SocketFilter> filter;
  // The same place, shared with the same others.
  bool operator==(const PortClaim& o) const {
    return local == o.local && dual == o.dual && reuse_addr == o.reuse_addr &&
           reuse_port == o.reuse_port && uid == o.uid && device == o.device;
  }
};

class PortTable {
 public:
  // stream: TCP's rules, else UDP's.
  explicit PortTable(bool stream) : stream_(stream) {}
  // The range that free ports are taken from.
  void SetRange(uint16_t low, uint16_t high);
  std::pair<uint16_t, uint16_t> range();

  // Binds owner, which calls Release before it dies. *claim gets the port. EADDRINUSE.
  base::Result<void> Bind(base::RefCounted* owner, PortClaim* claim);
  // Binds owner, a stream socket that connects to remote, to a port that makes the pair of
  // addresses unique. EADDRNOTAVAIL.
  base::Result<void> BindForConnect(base::RefCounted* owner, PortClaim* claim,
                                    const Endpoint& remote);
  // A bound stream socket connects. EADDRNOTAVAIL: that pair of addresses is in use.
  base::Result<void> Connect(base::RefCounted* owner, const PortClaim& claim,
                             const Endpoint& remote);
  // The end of that; claim: as it was bound.
  void Disconnect(base::RefCounted* owner, const PortClaim& claim, const Endpoint& remote);
  // A bound owner starts or stops to listen. EADDRINUSE: another listener there.
  base::Result<void> SetListening(base::RefCounted* owner, const PortClaim& claim, bool on);
  // The owner's claim or its peer (datagrams: only remote sends to it) changes.
  void Rebind(base::RefCounted* owner, const PortClaim& claim, const Endpoint* remote);
  void Release(base::RefCounted* owner, uint16_t port, const Endpoint* remote);

  // Connections that were accepted at a place keep it claimed.
  void AddShared(const PortClaim& claim);
  // until: a TIME_WAIT that ends then (CLOCK_MONOTONIC, ns) remains; 0: none.
  void ReleaseShared(const PortClaim& claim, int64_t until);

  // SO_ATTACH_REUSEPORT_CBPF of all that share the owner's place (null: SO_DETACH_REUSEPORT_BPF).
  // EINVAL: it shares none. ENOENT: null, and they have no filter.
  base::Result<void> SetGroupFilter(base::RefCounted* owner, uint16_t port,
                                    base::Ref<SocketFilter> filter);

  // Whose number in a group a filter says; by default of what has no data, as segments that begin a
  // connection.
  using Choose = absl::FunctionRef<uint32_t(const SocketFilter&)>;
  static uint32_t ChooseByNothing(const SocketFilter& filter) { return filter.Result({}); }
  // compute_score(): who receives at to what from sends; streams: listeners only. Among
  // SO_REUSEPORT's, who their filter chooses, else hash. Null: nobody.
  base::Ref<base::RefCounted> Find(const Endpoint& to, const Endpoint& from, int32_t device,
                                   uint32_t hash, Choose choose = ChooseByNothing);
  // All that a multicast or broadcast to a port reaches; the receiver looks at its memberships.
  std::vector<base::Ref<base::RefCounted>> FindAll(const Endpoint& to, const Endpoint& from);

 private:
  struct Record {
    PortClaim claim;
    base::RefCounted* owner = nullptr;  // null: accepted connections and TIME_WAIT
    bool listening = false;
    bool for_connect = false;  // by BindForConnect
    bool connected = false;    // datagrams
    Endpoint remote;
    uint32_t shared = 0;  // accepted connections
    int64_t until = 0;    // TIME_WAIT
  };
  using Bucket = absl::InlinedVector<Record, 1>;
  using Pair = std::pair<Endpoint, Endpoint>;
  struct PairHash {
    size_t operator()(const Pair& p) const {
      return absl::HashOf(p.first.addr, p.first.port, p.second.addr, p.second.port);
    }
  };

  // explicit_port: SO_REUSEADDR shares with sockets that don't listen.
  bool Conflicts(const Bucket& b, const base::RefCounted* self, const PortClaim& c,
                 bool explicit_port, bool listens) const;
  // Shares its place with others, if there are any: a group, which is in order of joining.
  bool InGroup(const Record& r) const {
    return r.owner != nullptr && r.claim.reuse_port && (!stream_ || r.listening);
  }
  // The bucket's last one joins its group, whose filter is its own from now on.
  void Join(Bucket& b) const;
  // Where it is after it left its group.
  Record* Leave(Bucket& b, Record* r) const;
  Record* FindRecord(uint16_t port, const base::RefCounted* owner) REQUIRES_LOCK(mu_);
  Record& SharedRecord(const PortClaim& claim) REQUIRES_LOCK(mu_);
  void Expire(uint16_t port, int64_t now) REQUIRES_LOCK(mu_);
  // Calls f(port) for all of the range in Linux's order until it returns true.
  template <typename F>
  bool EachPort(bool connecting, F&& f) REQUIRES_LOCK(mu_);
  static int Score(const Record& r, const Endpoint& to, const Endpoint& from, int32_t device);

  const bool stream_;
  base::Mutex<base::LockClass::kSocketTable> mu_;
  uint16_t low_ GUARDED_BY(mu_) = 32768, high_ GUARDED_BY(mu_) = 60999;
  absl::flat_hash_map<uint16_t, Bucket> buckets_ GUARDED_BY(mu_);
  absl::flat_hash_set<Pair, PairHash> pairs_ GUARDED_BY(mu_);  // local and remote of connections
};

}  // namespace sentry
