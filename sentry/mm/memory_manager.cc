#include "sentry/mm/memory_manager.h"

#include <algorithm>

#include "platform/host/host.h"
#include "sentry/mm/shared_anon.h"

namespace sentry {

// stack_guard_gap.
constexpr uint64_t kStackGap = 256 * kPageSize;
// How far a stack grows beyond the faulting page, to spare faults.
constexpr uint64_t kStackStep = 64 << 10;

base::Result<base::Ref<MemoryManager>> MemoryManager::Create(platform::Platform& platform) {
  auto as = TRY(platform.NewAddressSpace());
  return base::MakeRef<MemoryManager>(platform, std::move(as));
}

MemoryManager::MemoryManager(platform::Platform& platform, base::Ref<platform::AddressSpace> as)
    : platform_(platform),
      as_(std::move(as)),
      range_{std::max(platform.user_range().min, kPageSize), platform.user_range().max} {
  base::MutexLock lock(mu_);
  mmap_top_ = search_from_ = PageDown(range_.max - (uint64_t{64} << 20));
}

MemoryManager::~MemoryManager() {
  as_->Kill();
  DropFiles();
  base::MutexLock lock(mu_);
  for (auto& [key, use] : uses_) {
    if (use.memory) static_cast<MemoryFile*>(key)->spaces.fetch_sub(1);
  }
}

void MemoryManager::DropFiles() {
  Garbage garbage;
  {
    base::MutexLock lock(aio_mu);
    if (aio) garbage.refs.push_back(std::move(aio));
  }
  base::MutexLock lock(mu_);
  for (auto& [start, v] : vmas_) {
    if (v.mappable)
      v.mappable->OnUnmap(v.end - v.start, v.shared && (v.max_prot & platform::kProtWrite));
    garbage.Take(v);
  }
  vmas_.clear();
  if (exe_) garbage.refs.push_back(std::move(exe_));
}

// --- VMAs ---

MemoryManager::VmaMap::iterator MemoryManager::FindVma(uint64_t addr) {
  auto it = vmas_.upper_bound(addr);
  if (it != vmas_.begin()) {
    auto prev = std::prev(it);
    if (prev->second.end > addr) return prev;
  }
  return it;
}

bool MemoryManager::Covered(uint64_t start, uint64_t end) {
  auto it = FindVma(start);
  while (start < end) {
    if (it == vmas_.end() || it->first > start) return false;
    start = it->second.end;
    ++it;
  }
  return true;
}

void MemoryManager::SplitVma(uint64_t at) {
  auto it = FindVma(at);
  if (it == vmas_.end() || it->first >= at) return;
  Vma high = it->second;
  high.start = at;
  if (high.mappable) high.offset += at - it->first;
  it->second.end = at;
  vmas_.emplace_hint(std::next(it), at, std::move(high));
}

// Whether cutting a range out keeps the number of mappings below the limit.
bool MemoryManager::SplitsOk(uint64_t start, uint64_t end) {
  size_t extra = 0;
  auto it = FindVma(start);
  if (it != vmas_.end() && it->first < start) extra++;
  it = FindVma(end);
  if (it != vmas_.end() && it->first < end) extra++;
  return vmas_.size() + extra <= kMaxMapCount;
}

void MemoryManager::Account(const Vma& v, uint64_t bytes, bool add) {
  auto apply = [&](uint64_t& n) { n = add ? n + bytes : n - bytes; };
  apply(total_);
  if (v.locked) apply(locked_);
  bool write = (v.prot & platform::kProtWrite) != 0;
  if (v.grows_down) {
    apply(stack_);
  } else if (write && !v.shared) {
    apply(data_);
  } else if ((v.prot & platform::kProtExec) && !write) {
    apply(text_);
  }
  peak_ = std::max(peak_, total_);
}

// may_expand_vm(), and the heuristic of __vm_enough_memory().
bool MemoryManager::MayExpand(const Vma& v, uint64_t grow) {
  if (total_ + grow > limits.as.load(std::memory_order_relaxed)) return false;
  bool data = (v.prot & platform::kProtWrite) && !v.shared;
  if (data && !v.grows_down && data_ + grow > limits.data.load(std::memory_order_relaxed)) {
    return false;
  }
  return !data || v.noreserve || grow <= memory_bytes.load(std::memory_order_relaxed);
}

MemoryManager::VmaMap::iterator MemoryManager::InsertVma(Vma v) {
  uint64_t len = v.end - v.start;
  Account(v, len, true);
  if (v.mappable) v.mappable->OnMap(len, v.shared && (v.max_prot & platform::kProtWrite));
  uint64_t start = v.start;
  return vmas_.emplace(start, std::move(v)).first;
}

static bool Mergeable(const Vma& a, const Vma& b) {
  return a.end == b.start && a.prot == b.prot && a.max_prot == b.max_prot && a.shared == b.shared &&
         a.grows_down == b.grows_down && a.locked == b.locked && a.dont_fork == b.dont_fork &&
         a.wipe_on_fork == b.wipe_on_fork && a.dont_dump == b.dont_dump &&
         a.noreserve == b.noreserve && a.mappable == b.mappable &&
         (!a.mappable || a.offset + (a.end - a.start) == b.offset) && a.file == b.file &&
         a.special_name == b.special_name && a.anon_name == b.anon_name;
}

void MemoryManager::MergeVmas(uint64_t start, uint64_t end, Garbage* g) {
  auto it = FindVma(start == 0 ? 0 : start - 1);
  while (it != vmas_.end() && it->first <= end) {
    auto next = std::next(it);
    if (next == vmas_.end()) break;
    if (Mergeable(it->second, next->second)) {
      it->second.end = next->second.end;
      g->Take(next->second);
      vmas_.erase(next);
    } else {
      it = next;
    }
  }
}

// vm_start_gap(): where the area that a mapping claims begins.
uint64_t MemoryManager::StartGap(const Vma& v) const {
  if (!v.grows_down) return v.start;
  return v.start > kStackGap ? v.start - kStackGap : 0;
}

// The highest gap of len bytes in [low, high), as vm_unmapped_area() with TOPDOWN; 0: none.
uint64_t MemoryManager::HighestGap(uint64_t len, uint64_t low, uint64_t high) {
  bool cached = high == mmap_top_;
  uint64_t top = high;
  if (cached && len > search_skipped_) {
    top = std::min(top, search_from_);
  } else if (cached) {
    search_skipped_ = 0;
  }
  uint64_t skipped = cached ? search_skipped_ : 0;
  auto it = vmas_.lower_bound(top);
  if (it != vmas_.end()) top = std::min(top, StartGap(it->second));
  while (true) {
    uint64_t bottom = low;
    if (it != vmas_.begin()) bottom = std::max(low, std::prev(it)->second.end);
    if (top > bottom && top - bottom >= len) {
      if (cached) {
        search_from_ = top;
        search_skipped_ = skipped;
      }
      return top - len;
    }
    if (top > bottom) skipped = std::max(skipped, top - bottom);
    if (it == vmas_.begin() || bottom == low) return 0;
    --it;
    top = std::min(top, StartGap(it->second));
    if (top <= low) return 0;
  }
}

base::Result<void> MemoryManager::FixedOk(uint64_t addr, uint64_t len) const {
  if (len > range_.max || addr > range_.max - len) return abi::Errno::kENOMEM;
  if (addr % kPageSize != 0) return abi::Errno::kEINVAL;
  // security_mmap_addr(): vm.mmap_min_addr.
  if (addr < range_.min) return abi::Errno::kEPERM;
  return {};
}

base::Result<uint64_t> MemoryManager::FindArea(uint64_t hint, uint64_t len, bool below_4g,
                                               bool grows_down) {
  if (len > range_.max - range_.min) return abi::Errno::kENOMEM;
  if (hint != 0 && !below_4g) {
    hint = std::max(PageDown(hint), range_.min);
    if (hint <= range_.max - len) {
      auto it = FindVma(hint);
      if (it == vmas_.end() || hint + len <= StartGap(it->second)) return hint;
    }
  }
  uint64_t gap = 0;
  if (below_4g) {
    // MAP_32BIT: find_start_end() in arch/x86/kernel/sys_x86_64.c.
    gap = HighestGap(len, 0x40000000, 0x80000000);
  } else {
    gap = HighestGap(len, range_.min, mmap_top_);
    if (gap == 0 && mmap_top_ < range_.max) gap = HighestGap(len, mmap_top_, range_.max);
  }
  if (gap == 0) return abi::Errno::kENOMEM;
  return gap;
}

void MemoryManager::RemoveRange(uint64_t start, uint64_t end, bool engine, Garbage* g) {
  SplitVma(start);
  SplitVma(end);
  bool mapped = false;
  auto it = vmas_.lower_bound(start);
  if (it == vmas_.end() || it->first >= end) return;
  while (it != vmas_.end() && it->first < end) {
    Vma& v = it->second;
    uint64_t len = v.end - v.start;
    mapped |= v.prot != 0;
    Account(v, len, false);
    if (v.mappable) {
      v.mappable->OnUnmap(len, v.shared && (v.max_prot & platform::kProtWrite));
    }
    g->Take(v);
    it = vmas_.erase(it);
  }
  if (mapped && engine) as_->Unmap(start, end - start);
  RemovePmas(start, end, g);
  if (end > search_from_) {
    search_from_ = mmap_top_;
    search_skipped_ = 0;
  }
  Changed();
}

// --- mmap, munmap ---

base::Result<uint64_t> MemoryManager::Mmap(const MmapArgs& a) {
  Garbage garbage;
  if (a.shared && !a.mappable) {
    // Shared anonymous memory is an object of its own, as long as the mapping.
    uint64_t len = PageUp(a.len);
    if (a.len == 0) return abi::Errno::kEINVAL;
    if (len == 0 || len > range_.max) return abi::Errno::kENOMEM;
    MmapArgs with = a;
    with.mappable = TRY(SharedAnon::Create(len));
    with.offset = 0;
    base::MutexLock lock(mu_);
    return MmapLocked(with, &garbage);
  }
  base::MutexLock lock(mu_);
  return MmapLocked(a, &garbage);
}

base::Result<uint64_t> MemoryManager::MmapLocked(const MmapArgs& a, Garbage* g) {
  if (a.len == 0) return abi::Errno::kEINVAL;
  uint64_t len = PageUp(a.len);
  if (len == 0) return abi::Errno::kENOMEM;
  if (a.mappable && a.offset + len < a.offset) return abi::Errno::kEOVERFLOW;
  if (vmas_.size() > kMaxMapCount) return abi::Errno::kENOMEM;
  uint64_t start = a.addr;
  if (a.fixed || a.fixed_noreplace) {
    TRY(FixedOk(start, len));
  } else {
    start = TRY(FindArea(a.addr, len, a.below_4g, a.grows_down));
  }
  uint64_t end = start + len;
  auto next = FindVma(start);
  bool overlap = next != vmas_.end() && next->first < end;
  if (a.fixed_noreplace && overlap) return abi::Errno::kEEXIST;

  Vma v;
  v.start = start;
  v.end = end;
  v.prot = a.prot;
  v.max_prot = a.max_prot;
  v.shared = a.shared;
  v.grows_down = a.grows_down;
  v.locked = a.locked || lock_future_;
  v.noreserve = a.noreserve;
  v.mappable = a.mappable;
  v.offset = a.mappable ? a.offset : 0;
  v.file = a.file;
  v.special_name = a.special_name;
  if (v.locked && !a.ipc_lock && locked_ + len > limits.memlock.load(std::memory_order_relaxed)) {
    return abi::Errno::kEAGAIN;
  }
  uint64_t replaced = 0;
  if (overlap) {
    for (auto it = next; it != vmas_.end() && it->first < end; ++it) {
      replaced += std::min(end, it->second.end) - std::max(start, it->first);
    }
    if (!SplitsOk(start, end)) return abi::Errno::kENOMEM;
  }
  if (!MayExpand(v, len - replaced)) return abi::Errno::kENOMEM;

  bool anon = !v.mappable;
  if (anon && !EnsureCurrent(len)) return abi::Errno::kENOMEM;
  // A reservation that is committed piece by piece (garbage collectors do that) keeps its place in
  // the file, so that the pieces stay one host mapping.
  Pma reused;
  if (overlap && anon) {
    auto p = FindPma(start);
    if (p != pmas_.end() && p->first <= start && p->second.end >= end &&
        p->second.kind == Kind::kOwned) {
      reused = p->second;
      reused.offset += start - p->first;
      reused.end = end;
      if (!reused.pristine) FreePma(reused, len);
      reused.pristine = true;
      SplitPma(start);
      SplitPma(end);
      pmas_.erase(start);
    }
  }
  if (overlap) RemoveRange(start, end, !anon || v.prot == 0, g);
  if (reused.file) {
    // Its use count has not changed.
    reused.pristine = v.prot == 0;
    pmas_.emplace(start, std::move(reused));
  } else if (anon) {
    if (!AddAnon(v, start, end, WantsHuge(a, len))) return abi::Errno::kENOMEM;
  }
  InsertVma(v);
  if (!anon) {
    if (!CopyEagerly(v, start, end, g)) {
      // An object that can't be translated now faults later.
      (void)FillFile(v, start, end, g);
    }
  }
  MapEngine(start, end);
  if (a.populate || v.locked) PopulateRange(start, end, (v.prot & platform::kProtWrite) != 0, g);
  MergeVmas(start, end, g);
  g->Take(v);
  Changed();
  return start;
}

base::Result<void> MemoryManager::Munmap(uint64_t addr, uint64_t len) {
  if (addr % kPageSize != 0 || len > range_.max || addr > range_.max - len) {
    return abi::Errno::kEINVAL;
  }
  len = PageUp(len);
  if (len == 0) return abi::Errno::kEINVAL;
  Garbage garbage;
  base::MutexLock lock(mu_);
  if (!SplitsOk(addr, addr + len)) return abi::Errno::kENOMEM;
  LearnDensity(addr, addr + len);
  RemoveRange(addr, addr + len, true, &garbage);
  return {};
}

// --- stacks and the heap ---

// expand_downwards().
bool MemoryManager::GrowStack(VmaMap::iterator it, uint64_t addr) {
  Vma& v = it->second;
  auto fits = [&](uint64_t start) REQUIRES_LOCK(mu_) {
    if (start < range_.min) return false;
    if (v.end - start > limits.stack.load(std::memory_order_relaxed)) return false;
    if (it != vmas_.begin()) {
      const Vma& below = std::prev(it)->second;
      uint64_t gap = below.prot != 0 && !below.grows_down ? kStackGap : 0;
      if (start < below.end || start - below.end < gap) return false;
    }
    if (v.locked && locked_ + (v.start - start) > limits.memlock.load(std::memory_order_relaxed)) {
      return false;
    }
    return MayExpand(v, v.start - start);
  };
  uint64_t old = v.start, start = PageDown(addr);
  uint64_t step = old > kStackStep ? std::min(start, old - kStackStep) : start;
  if (step != start && fits(step)) {
    start = step;
  } else if (!fits(start)) {
    return false;
  }
  auto node = vmas_.extract(it);
  node.key() = start;
  node.mapped().start = start;
  if (node.mapped().mappable) node.mapped().offset -= old - start;
  Vma& grown = vmas_.insert(std::move(node)).position->second;
  Account(grown, old - start, true);
  if (!grown.mappable && AddAnon(grown, start, old)) MapEngine(start, old);
  Changed();
  return true;
}

Vma* MemoryManager::VmaAt(uint64_t addr) {
  auto it = FindVma(addr);
  if (it == vmas_.end()) return nullptr;
  if (it->first <= addr) return &it->second;
  if (!it->second.grows_down || !GrowStack(it, addr)) return nullptr;
  it = FindVma(addr);
  return &it->second;
}

void MemoryManager::SetMmapBase(uint64_t top) {
  base::MutexLock lock(mu_);
  mmap_top_ = search_from_ = PageDown(std::min(top, range_.max));
  search_skipped_ = 0;
}

void MemoryManager::InitBrk(uint64_t start) {
  base::MutexLock lock(mu_);
  brk_start_ = brk_ = start;
}

uint64_t MemoryManager::Brk(uint64_t addr) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  if (brk_start_ == 0 || addr < brk_start_ || addr > range_.max) return brk_;
  uint64_t old_end = PageUp(brk_), new_end = PageUp(addr);
  uint64_t data_limit = limits.data.load(std::memory_order_relaxed);
  uint64_t image = layout_.end_data - layout_.start_data;
  if (data_limit != UINT64_MAX && addr - brk_start_ + image > data_limit) return brk_;
  if (new_end < old_end) {
    RemoveRange(new_end, old_end, true, &garbage);
  } else if (new_end > old_end) {
    uint64_t len = new_end - old_end;
    auto next = FindVma(old_end);
    if (next != vmas_.end() && new_end + kPageSize > StartGap(next->second)) return brk_;
    if (new_end > range_.max || vmas_.size() > kMaxMapCount) return brk_;
    Vma v;
    v.start = old_end;
    v.end = new_end;
    v.prot = platform::kProtRead | platform::kProtWrite;
    v.special_name = "[heap]";
    v.locked = lock_future_;
    if (v.locked && locked_ + len > limits.memlock.load(std::memory_order_relaxed)) return brk_;
    if (!MayExpand(v, len)) return brk_;
    // Room for a gigabyte of heap that stays one host mapping.
    uint64_t offset = AllocateIn(old_end, len, old_end, old_end + std::max(len, uint64_t{1} << 30));
    if (offset == MemoryFile::kNoSpace) return brk_;
    Pma p;
    p.end = new_end;
    p.file = current_;
    p.offset = offset;
    AddPma(old_end, std::move(p));
    InsertVma(std::move(v));
    MapEngine(old_end, new_end);
    MergeVmas(old_end, new_end, &garbage);
    Changed();
  }
  brk_ = addr;
  return brk_;
}

// --- facts for /proc ---

std::vector<Vma> MemoryManager::Vmas() {
  std::vector<Vma> out;
  base::MutexLock lock(mu_);
  out.reserve(vmas_.size());
  for (auto& [start, v] : vmas_) out.push_back(v);
  return out;
}

MemoryManager::Usage MemoryManager::usage() {
  base::MutexLock lock(mu_);
  Usage u;
  u.total = total_;
  u.text = text_;
  u.data = data_;
  u.stack = stack_;
  u.locked = locked_;
  u.peak_total = peak_;
  for (auto& [start, p] : pmas_) {
    uint64_t present = Resident(start, p);
    u.resident += present;
    if (!p.memory()) u.shared += present;
  }
  return u;
}

uint64_t MemoryManager::ResidentAtEnd() {
  base::MutexLock lock(mu_);
  uint64_t sum = 0;
  for (const auto& [file, u] : uses_) {
    struct stat st;
    if (!u.memory) {
      sum += u.bytes;
    } else if (host::Fstat(u.file->fd(), &st) == 0) {
      sum += std::min(u.bytes, static_cast<uint64_t>(st.st_blocks) * 512);
    }
  }
  return std::min(sum, total_);
}

MemoryManager::Layout MemoryManager::layout() {
  base::MutexLock lock(mu_);
  return layout_;
}

void MemoryManager::set_layout(Layout l) {
  base::MutexLock lock(mu_);
  layout_ = std::move(l);
}

base::Ref<base::RefCounted> MemoryManager::exe() {
  base::MutexLock lock(mu_);
  return exe_;
}

void MemoryManager::set_exe(base::Ref<base::RefCounted> file) {
  // The old one dies with the argument, after the lock.
  base::MutexLock lock(mu_);
  std::swap(exe_, file);
}

}  // namespace sentry
