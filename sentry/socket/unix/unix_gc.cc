#include "sentry/socket/unix/unix_gc.h"

#include "absl/container/flat_hash_map.h"
#include "sentry/socket/unix/unix_socket.h"

namespace sentry {
namespace {

struct InFlight {
  base::Mutex<base::LockClass::kLeaf> mu;
  absl::flat_hash_map<UnixSocket*, uint64_t> sockets GUARDED_BY(mu);
  static InFlight& Get() {
    static auto* i = new InFlight;
    return *i;
  }
};

UnixSocket* AsUnix(File* f) {
  Socket* s = FileCast<Socket>(f);
  return s != nullptr && s->family() == abi::kAF_UNIX ? static_cast<UnixSocket*>(s) : nullptr;
}

std::atomic<bool> collecting{false};

}  // namespace

void UnixGc::Sent(const Ancillary& a) {
  files_.fetch_add(a.files.size(), std::memory_order_relaxed);
  for (const base::Ref<File>& f : a.files) {
    UnixSocket* s = AsUnix(f.get());
    if (s == nullptr) continue;
    InFlight& i = InFlight::Get();
    base::MutexLock l(i.mu);
    i.sockets[s]++;
    sockets_.fetch_add(1, std::memory_order_relaxed);
  }
}

void UnixGc::Landed(const Ancillary& a) {
  files_.fetch_sub(a.files.size(), std::memory_order_relaxed);
  for (const base::Ref<File>& f : a.files) {
    UnixSocket* s = AsUnix(f.get());
    if (s == nullptr) continue;
    InFlight& i = InFlight::Get();
    base::MutexLock l(i.mu);
    landings_.fetch_add(1, std::memory_order_seq_cst);
    auto it = i.sockets.find(s);
    if (--it->second == 0) i.sockets.erase(it);
    sockets_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void UnixGc::Collect() {
  if (sockets_.load(std::memory_order_relaxed) == 0) return;
  if (collecting.exchange(true)) return;
  struct Candidate {
    base::Ref<File> file;
    uint64_t outside;  // references that come from no other candidate
    bool live = false;
    std::vector<UnixSocket*> holds;
  };
  const uint64_t before = landings_.load(std::memory_order_seq_cst);
  absl::flat_hash_map<UnixSocket*, Candidate> all;
  {
    // A socket all of whose references are in flight: nobody can receive from it. The count in
    // flight is read first, so that a reference which is added meanwhile makes it no candidate.
    InFlight& i = InFlight::Get();
    base::MutexLock l(i.mu);
    for (const auto& [s, n] : i.sockets) {
      if (s->RefCount() == n) all.emplace(s, Candidate{base::Ref<File>(s), n, false, {}});
    }
  }
  for (auto& entry : all) {
    entry.first->end().ListFiles([&](File* f) {
      UnixSocket* held = AsUnix(f);
      auto it = held != nullptr ? all.find(held) : all.end();
      if (it == all.end()) return;
      it->second.outside--;
      entry.second.holds.push_back(held);
    });
  }
  std::vector<UnixSocket*> reached;
  for (auto& [s, c] : all) {
    if (c.outside != 0) reached.push_back(s);
  }
  while (!reached.empty()) {
    Candidate& c = all.find(reached.back())->second;
    reached.pop_back();
    if (std::exchange(c.live, true)) continue;
    reached.insert(reached.end(), c.holds.begin(), c.holds.end());
  }
  std::vector<Ancillary> garbage;
  if (landings_.load(std::memory_order_seq_cst) == before) {
    for (auto& [s, c] : all) {
      if (!c.live) s->end().TakeFiles(&garbage);
    }
  }
  collecting.store(false);
  // Here the sockets die, and what they hold with them.
}

}  // namespace sentry
