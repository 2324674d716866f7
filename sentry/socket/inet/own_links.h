// The links that a network namespace has by itself, which its administrator may change: lo, and
// dummies (drivers/net/dummy.c), behind which there is nobody. Their addresses, and the routes
// through them.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/mutex.h"
#include "platform/base/result.h"
#include "sentry/socket/inet/outside.h"

namespace sentry {

constexpr int32_t kLoopbackIndex = 1;
constexpr uint32_t kLoopbackMtu = 65536;

class OwnLinks {
 public:
  OwnLinks();
  // What shall become of a link; what is not there stays.
  struct Change {
    std::optional<bool> up;
    std::optional<uint32_t> mtu, txqlen;
    std::optional<std::string> name;
    std::optional<std::array<uint8_t, 6>> hwaddr;
  };
  // lo first.
  std::vector<NetInterface> List() const;
  bool Has(int32_t index) const;
  // Those of the addresses of links that are up, and those that were added.
  std::vector<NetRoute> Routes() const;

  // A dummy of that name, down. The caller has seen that name and index are free. ENOBUFS.
  base::Result<void> MakeDummy(std::string name, int32_t index, const Change& c);
  base::Result<void> Remove(int32_t index);                  // ENODEV; EOPNOTSUPP: lo
  base::Result<void> Apply(int32_t index, const Change& c);  // ENODEV
  base::Result<void> AddAddress(int32_t index, const NetInterface::Address& a,
                                bool replace);  // ENODEV, EEXIST, ENOBUFS
  base::Result<void> RemoveAddress(int32_t index,
                                   const NetInterface::Address& a);  // EADDRNOTAVAIL
  // inet_rtm_newroute(). flags: NLM_F_*. r.interface 0: where the gateway is. EEXIST, ENOENT,
  // ENODEV, ENETDOWN, ENETUNREACH, ENOBUFS.
  base::Result<void> AddRoute(NetRoute r, uint32_t flags);
  // Of those that were added: what r says, where it says it. ESRCH.
  base::Result<void> RemoveRoute(const NetRoute& r);

  bool loopback_up() const { return loopback_up_.load(std::memory_order_relaxed); }
  // More than what every namespace has: whether the next two have anything to tell.
  bool changed() const { return changed_.load(std::memory_order_relaxed); }
  // An address of a link's, beside 127.0.0.0/8 and ::1.
  bool Owns(const IpAddress& a) const;
  // The best route to a place that is not an address of this namespace.
  std::optional<NetRoute> RouteTo(const IpAddress& to) const;

 private:
  static constexpr size_t kMostLinks = 256, kMostAddresses = 1024, kMostRoutes = 1024;
  NetInterface* Find(int32_t index) REQUIRES_LOCK(mu_);
  void SetUp(NetInterface* i, bool up) REQUIRES_LOCK(mu_);
  std::vector<NetRoute> RoutesLocked() const REQUIRES_LOCK(mu_);

  std::atomic<bool> loopback_up_{false}, changed_{false};
  mutable base::Mutex<base::LockClass::kLeaf> mu_;
  std::vector<NetInterface> links_ GUARDED_BY(mu_);
  std::vector<NetRoute> routes_ GUARDED_BY(mu_);  // that were added
};

}  // namespace sentry
