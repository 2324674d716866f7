// fork(2): both sides keep the memory files, read-only, and write into new ones.

#include <algorithm>

#include "sentry/mm/memory_manager.h"

namespace sentry {

base::Result<base::Ref<MemoryManager>> MemoryManager::Fork(platform::GuestThread& current) {
  auto as = TRY(platform_.NewAddressSpace());
  auto child = base::MakeRef<MemoryManager>(platform_, std::move(as));
  MemoryManager& c = *child;
  Garbage garbage;
  base::MutexLock2 lock(mu_, c.mu_);
  // This side first: what was writable in place is read-only before anybody shares it.
  std::vector<std::pair<uint64_t, uint64_t>> frozen;
  for (auto it = pmas_.begin(); it != pmas_.end();) {
    Pma& p = it->second;
    uint64_t start = it->first;
    ++it;
    if (p.kind != Kind::kOwned) continue;
    if (p.pristine) {
      // Never touched, so nothing to share: whoever wants it gets it in a file of its own.
      RemovePmas(start, p.end, &garbage);
      continue;
    }
    p.kind = Kind::kFrozen;
    if (!frozen.empty() && frozen.back().second == start) {
      frozen.back().second = p.end;
    } else {
      frozen.push_back({start, p.end});
    }
  }
  for (auto& [start, end] : frozen) MapEngine(start, end);
  for (auto& [key, use] : uses_) {
    if (use.memory) as_->Forget(*key->map_file());
  }
  base::Ref<MemoryFile> old = std::move(current_);
  current_.reset();
  reservations_.clear();
  Changed();
  if (old) {
    auto use = uses_.find(old.get());
    if (use != uses_.end() && use->second.bytes == 0) {
      Pma none;
      none.file = old;
      Unuse(none, 0, &garbage);
    }
    garbage.refs.push_back(std::move(old));
  }
  if (!current.Commit()) return abi::Errno::kENOMEM;

  for (auto& [start, v] : vmas_) {
    if (v.dont_fork) continue;
    Vma copy = v;
    copy.locked = false;  // memory locks are not inherited (fork(2))
    c.InsertVma(std::move(copy));
    if (v.wipe_on_fork) continue;
    for (auto p = FindPma(start); p != pmas_.end() && p->first < v.end; ++p) {
      uint64_t low = std::max(p->first, start), high = std::min(p->second.end, v.end);
      Pma part = p->second;
      part.offset += low - p->first;
      part.end = high;
      c.AddPma(low, std::move(part));
    }
  }
  c.MapEngine(0, range_.max);
  c.brk_start_ = brk_start_;
  c.brk_ = brk_;
  c.mmap_top_ = mmap_top_;
  c.search_from_ = c.mmap_top_;
  c.layout_ = layout_;
  c.exe_ = exe_;
  c.dumpable = dumpable.load();
  c.membarrier = membarrier.load();
  c.limits.as = limits.as.load();
  c.limits.data = limits.data.load();
  c.limits.stack = limits.stack.load();
  c.limits.memlock = limits.memlock.load();
  return child;
}

}  // namespace sentry
