#include "sentry/socket/inet/ports.h"

#include <algorithm>

#include "platform/host/host.h"
#include "sentry/time/clock.h"

namespace sentry {

namespace {
// inet_rcv_saddr_equal() with wildcards.
bool Overlap(const PortClaim& a, const PortClaim& b) {
  if (a.dual || b.dual) return true;
  if (a.local.addr.is_v4() != b.local.addr.is_v4()) return false;
  return a.local.addr.is_any() || b.local.addr.is_any() || a.local.addr == b.local.addr;
}

uint32_t Random32() {
  static thread_local uint64_t state = 0;
  if (state == 0) host::Random(&state, sizeof state);
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(state >> 33);
}
}  // namespace

void PortTable::SetRange(uint16_t low, uint16_t high) {
  base::MutexLock lock(mu_);
  low_ = low;
  high_ = high;
}

std::pair<uint16_t, uint16_t> PortTable::range() {
  base::MutexLock lock(mu_);
  return {low_, high_};
}

// inet_bind_conflict() with its callers; udp_lib_lport_inuse().
bool PortTable::Conflicts(const Bucket& b, const base::RefCounted* self, const PortClaim& c,
                          bool explicit_port, bool listens) const {
  for (const Record& r : b) {
    if (r.owner != nullptr && r.owner == self) continue;
    if (c.device != 0 && r.claim.device != 0 && c.device != r.claim.device) continue;
    if (!Overlap(c, r.claim)) continue;
    const bool both_reuse = c.reuse_addr && r.claim.reuse_addr;
    const bool time_wait = r.owner == nullptr && r.shared == 0;
    const bool both_ports =
        c.reuse_port && !c.own_group && r.claim.reuse_port && (c.uid == r.claim.uid || time_wait);
    if (!stream_) {
      if (explicit_port ? !both_reuse && !both_ports : true) return true;
      continue;
    }
    if (both_reuse && !r.listening) {
      // A socket that listens already keeps others from listening, not from being bound.
      if (!explicit_port && !listens) return true;
    } else if (!explicit_port || !both_ports) {
      return true;
    }
  }
  return false;
}

PortTable::Record* PortTable::FindRecord(uint16_t port, const base::RefCounted* owner) {
  auto it = buckets_.find(port);
  if (it == buckets_.end()) return nullptr;
  for (Record& r : it->second) {
    if (r.owner == owner) return &r;
  }
  return nullptr;
}

// __reuseport_add_sock().
void PortTable::Join(Bucket& b) const {
  Record& joined = b.back();
  for (const Record& r : b) {
    if (&r == &joined || !InGroup(r) || r.claim != joined.claim) continue;
    joined.claim.filter = r.claim.filter;
    return;
  }
}

// __reuseport_detach_sock(): the last one takes the place of the one that leaves.
PortTable::Record* PortTable::Leave(Bucket& b, Record* r) const {
  if (!InGroup(*r)) return r;
  for (Record* last = &b.back(); last != r; last--) {
    if (!InGroup(*last) || last->claim != r->claim) continue;
    std::swap(*last, *r);
    return last;
  }
  return r;
}

PortTable::Record& PortTable::SharedRecord(const PortClaim& claim) {
  Bucket& b = buckets_[claim.local.port];
  for (Record& r : b) {
    if (r.owner == nullptr && r.claim == claim) return r;
  }
  Record& r = b.emplace_back();
  r.claim = claim;
  r.claim.filter = nullptr;
  return r;
}

void PortTable::Expire(uint16_t port, int64_t now) {
  auto it = buckets_.find(port);
  if (it == buckets_.end()) return;
  Bucket& b = it->second;
  b.erase(std::remove_if(b.begin(), b.end(),
                         [&](const Record& r) {
                           return r.owner == nullptr && r.shared == 0 && r.until <= now;
                         }),
          b.end());
  if (b.empty()) buckets_.erase(it);
}

// inet_csk_find_open_port() and __inet_hash_connect(): bind(2) prefers odd ports, connect(2) even
// ones, if the range starts even.
template <typename F>
bool PortTable::EachPort(bool connecting, F&& f) {
  const uint32_t n = uint32_t{high_} - low_ + 1;
  const uint32_t start = Random32() % n;
  for (uint32_t parity : {connecting ? 0u : 1u, connecting ? 1u : 0u}) {
    for (uint32_t i = parity; i < n; i += 2) {
      const uint32_t at = ((start & ~1u) + i) % n;
      if (f(static_cast<uint16_t>(low_ + at))) return true;
    }
  }
  return false;
}

base::Result<void> PortTable::Bind(base::RefCounted* owner, PortClaim* claim) {
  const int64_t now = HostClock().Monotonic();
  base::MutexLock lock(mu_);
  auto take = [&](uint16_t port) NO_THREAD_SAFETY_ANALYSIS {
    claim->local.port = port;
    Bucket& b = buckets_[port];
    Record& r = b.emplace_back();
    r.claim = *claim;
    r.owner = owner;
    if (InGroup(r)) Join(b);
  };
  if (const uint16_t port = claim->local.port; port != 0) {
    Expire(port, now);
    auto it = buckets_.find(port);
    if (it != buckets_.end() && Conflicts(it->second, owner, *claim, true, false)) {
      return abi::Errno::kEADDRINUSE;
    }
    take(port);
    return {};
  }
  const bool found = EachPort(false, [&](uint16_t port) NO_THREAD_SAFETY_ANALYSIS {
    auto it = buckets_.find(port);
    if (it != buckets_.end() && Conflicts(it->second, owner, *claim, false, false)) {
      Expire(port, now);
      return false;
    }
    take(port);
    return true;
  });
  if (!found) return abi::Errno::kEADDRINUSE;
  return {};
}

base::Result<void> PortTable::BindForConnect(base::RefCounted* owner, PortClaim* claim,
                                             const Endpoint& remote) {
  base::MutexLock lock(mu_);
  const bool found = EachPort(true, [&](uint16_t port) NO_THREAD_SAFETY_ANALYSIS {
    auto it = buckets_.find(port);
    // Ports that somebody bound himself are left alone, as are those that tests for.
    if (it != buckets_.end()) {
      for (const Record& r : it->second) {
        if (!r.for_connect) return false;
      }
    }
    Endpoint local = claim->local;
    local.port = port;
    if (!pairs_.insert({local, remote}).second) return false;
    claim->local.port = port;
    Record& r = buckets_[port].emplace_back();
    r.claim = *claim;
    r.owner = owner;
    r.for_connect = true;
    return true;
  });
  if (!found) return abi::Errno::kEADDRNOTAVAIL;
  return {};
}

base::Result<void> PortTable::Connect(base::RefCounted* owner, const PortClaim& claim,
                                      const Endpoint& remote) {
  base::MutexLock lock(mu_);
  if (!pairs_.insert({claim.local, remote}).second) return abi::Errno::kEADDRNOTAVAIL;
  if (Record* r = FindRecord(claim.local.port, owner)) r->claim = claim;
  return {};
}

void PortTable::Disconnect(base::RefCounted* owner, const PortClaim& claim,
                           const Endpoint& remote) {
  base::MutexLock lock(mu_);
  Record* r = FindRecord(claim.local.port, owner);
  if (r == nullptr) return;
  pairs_.erase({r->claim.local, remote});
  r->claim = claim;
}

base::Result<void> PortTable::SetListening(base::RefCounted* owner, const PortClaim& claim,
                                           bool on) {
  base::MutexLock lock(mu_);
  Record* r = FindRecord(claim.local.port, owner);
  if (r == nullptr) return abi::Errno::kEADDRINUSE;
  Bucket& b = buckets_[claim.local.port];
  // inet_csk_listen_start() asks for the port again.
  if (on && Conflicts(b, owner, claim, true, true)) return abi::Errno::kEADDRINUSE;
  r = Leave(b, r);
  r->claim = claim;
  r->listening = on;
  if (!InGroup(*r)) return {};
  std::rotate(r, r + 1, b.end());
  Join(b);
  return {};
}

void PortTable::Rebind(base::RefCounted* owner, const PortClaim& claim, const Endpoint* remote) {
  base::MutexLock lock(mu_);
  Record* r = FindRecord(claim.local.port, owner);
  if (r == nullptr) return;
  // udp_lib_rehash(): elsewhere it is in no group.
  base::Ref<SocketFilter> filter = r->claim == claim ? r->claim.filter : nullptr;
  r->claim = claim;
  r->claim.filter = std::move(filter);
  r->connected = remote != nullptr;
  if (remote != nullptr) r->remote = *remote;
}

void PortTable::Release(base::RefCounted* owner, uint16_t port, const Endpoint* remote) {
  base::MutexLock lock(mu_);
  auto it = buckets_.find(port);
  if (it == buckets_.end()) return;
  Bucket& b = it->second;
  for (auto r = b.begin(); r != b.end(); ++r) {
    if (r->owner != owner) continue;
    if (remote != nullptr) pairs_.erase({r->claim.local, *remote});
    b.erase(Leave(b, r));
    break;
  }
  if (b.empty()) buckets_.erase(it);
}

void PortTable::AddShared(const PortClaim& claim) {
  base::MutexLock lock(mu_);
  SharedRecord(claim).shared++;
}

void PortTable::ReleaseShared(const PortClaim& claim, int64_t until) {
  base::MutexLock lock(mu_);
  Record& r = SharedRecord(claim);
  r.until = std::max(r.until, until);
  if (r.shared > 0) r.shared--;
  if (r.shared == 0 && r.until == 0) Expire(claim.local.port, HostClock().Monotonic());
}

int PortTable::Score(const Record& r, const Endpoint& to, const Endpoint& from, int32_t device) {
  if (r.claim.device != 0 && r.claim.device != device) return -1;
  int score = 0;
  if (r.claim.dual) {
    if (!to.addr.is_v4()) score++;
  } else {
    if (r.claim.local.addr.is_v4() != to.addr.is_v4()) return -1;
    score++;
    if (!r.claim.local.addr.is_any()) {
      if (r.claim.local.addr != to.addr) return -1;
      score += 4;
    }
  }
  if (r.connected) {
    if (r.remote.port != from.port || r.remote.addr != from.addr) return -1;
    score += 8;
  }
  if (r.claim.device != 0) score += 4;
  return score;
}

// reuseport_attach_prog(), reuseport_detach_prog().
base::Result<void> PortTable::SetGroupFilter(base::RefCounted* owner, uint16_t port,
                                             base::Ref<SocketFilter> filter) {
  base::MutexLock lock(mu_);
  const Record* own = FindRecord(port, owner);
  if (own == nullptr || !InGroup(*own)) return abi::Errno::kEINVAL;
  if (!filter && !own->claim.filter) return abi::Errno::kENOENT;
  for (Record& r : buckets_[port]) {
    if (InGroup(r) && r.claim == own->claim) r.claim.filter = filter;
  }
  return {};
}

base::Ref<base::RefCounted> PortTable::Find(const Endpoint& to, const Endpoint& from,
                                            int32_t device, uint32_t hash, Choose choose) {
  base::MutexLock lock(mu_);
  auto it = buckets_.find(to.port);
  if (it == buckets_.end()) return nullptr;
  int best = -1;
  absl::InlinedVector<base::RefCounted*, 4> group;  // of the best, that share by SO_REUSEPORT
  const SocketFilter* filter = nullptr;             // the group's
  for (const Record& r : it->second) {
    if (r.owner == nullptr || (stream_ && !r.listening)) continue;
    const int score = Score(r, to, from, device);
    if (score < 0 || score < best) continue;
    const bool shares = r.claim.reuse_port && !r.connected;
    if (score > best || !shares) group.clear();
    filter = shares ? r.claim.filter.get() : nullptr;
    best = score;
    group.push_back(r.owner);
  }
  if (group.empty()) return nullptr;
  // run_bpf_filter(): a number that is nobody's is none.
  size_t chosen = filter != nullptr ? choose(*filter) : group.size();
  if (chosen >= group.size()) chosen = hash % group.size();
  base::RefCounted* found = group[chosen];
  if (!found->TryIncRef()) return nullptr;
  return base::Ref<base::RefCounted>::Adopt(found);
}

std::vector<base::Ref<base::RefCounted>> PortTable::FindAll(const Endpoint& to,
                                                            const Endpoint& from) {
  std::vector<base::Ref<base::RefCounted>> out;
  base::MutexLock lock(mu_);
  auto it = buckets_.find(to.port);
  if (it == buckets_.end()) return out;
  for (const Record& r : it->second) {
    if (r.owner == nullptr || Score(r, to, from, r.claim.device) < 0) continue;
    if (r.owner->TryIncRef()) out.push_back(base::Ref<base::RefCounted>::Adopt(r.owner));
  }
  return out;
}

}  // namespace sentry
