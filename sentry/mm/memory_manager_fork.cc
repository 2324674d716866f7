// fork(2): both sides keep the memory files, read-only, and write into new ones.

#include <algorithm>

#include "sentry/mm/memory_manager.h"

namespace sentry {

// Of copies ahead, which know the page: less than around a fault.
constexpr uint64_t kAheadChunk = 16 << 10;

void MemoryManager::ForkHabit::Note(uint64_t addr) {
  base::MutexLock lock(mu_);
  if (pages_.size() < pages_.capacity()) pages_.push_back(PageDown(addr));
}

MemoryManager::ForkHabit::Pages MemoryManager::ForkHabit::Next() {
  // What is copied ahead can't show any more whether it is written.
  constexpr uint32_t kRelearn = 32;
  base::MutexLock lock(mu_);
  if (++forks_ % kRelearn == 0) pages_.clear();
  return pages_;
}

void MemoryManager::CopyAhead(const ForkHabit::Pages& pages, Garbage* g) {
  for (uint64_t addr : pages) {
    auto v = FindVma(addr);
    auto p = FindPma(addr);
    if (v == vmas_.end() || v->first > addr || !(v->second.prot & platform::kProtWrite)) continue;
    if (p == pmas_.end() || p->first > addr || p->second.kind != Kind::kFrozen) continue;
    uint64_t start, end;
    (void)CopyChunk(v->second, addr, kAheadChunk, &start, &end, g);
  }
}

std::vector<std::pair<uint64_t, uint64_t>> MemoryManager::Freeze(Garbage* g) {
  std::vector<std::pair<uint64_t, uint64_t>> frozen;
  for (auto it = pmas_.begin(); it != pmas_.end();) {
    Pma& p = it->second;
    uint64_t start = it->first;
    ++it;
    if (p.kind != Kind::kOwned) continue;
    if (p.pristine) {
      // Never touched, so nothing to share: whoever wants it gets it in a file of its own.
      RemovePmas(start, p.end, g);
      continue;
    }
    p.kind = Kind::kFrozen;
    if (!frozen.empty() && frozen.back().second == start) {
      frozen.back().second = p.end;
    } else {
      frozen.push_back({start, p.end});
    }
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
      Unuse(none, 0, g);
    }
    g->refs.push_back(std::move(old));
  }
  return frozen;
}

base::Result<base::Ref<MemoryManager>> MemoryManager::Fork(platform::GuestThread& current) {
  auto as = TRY(platform_.NewAddressSpace());
  auto child = base::MakeRef<MemoryManager>(platform_, std::move(as));
  MemoryManager& c = *child;
  Garbage garbage;
  base::MutexLock2 lock(mu_, c.mu_);
  std::vector<std::pair<uint64_t, uint64_t>> frozen = Freeze(&garbage);
  // The guest sides' writable descriptors go, once nothing is mapped through them.
  std::vector<base::Ref<platform::MapFile>> writable;
  for (auto& [key, use] : uses_) {
    if (use.memory) writable.push_back(key->map_file());
  }
  auto protect = [&]() REQUIRES_LOCK(mu_) {
    for (auto& [start, end] : frozen) MapEngine(start, end);
    for (auto& file : writable) as_->Forget(*file);
  };
  // Other guest threads may be writing. A single one is stopped, and its mappings change before it
  // runs on.
  bool alone = users.load() == 1;
  if (!alone) {
    protect();
    if (!current.Commit()) return abi::Errno::kENOMEM;
  }

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
  if (!own_habit_) own_habit_ = base::MakeRef<ForkHabit>();
  if (!children_habit_) children_habit_ = base::MakeRef<ForkHabit>();
  habit_ = own_habit_;
  c.habit_ = children_habit_;
  c.CopyAhead(children_habit_->Next(), &garbage);
  c.MapEngine(0, range_.max);
  if (alone) {
    CopyAhead(own_habit_->Next(), &garbage);
    protect();
  }
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
