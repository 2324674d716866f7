// What backs a mapping: memory files, copies before writes, faults.

#include <algorithm>

#include "platform/host/host.h"
#include "sentry/mm/memory_manager.h"

namespace sentry {

using platform::kProtRead;
using platform::kProtWrite;

// A copy before a write takes the pages around the faulting one along: a fault costs as much as
// copying this much.
constexpr uint64_t kCopyChunk = 64 << 10;
// Private file mappings up to this size that are writable are copied when they are made: a
// library's data segment is relocated at once.
constexpr uint64_t kEagerCopy = 128 << 10;
// A reservation is offsets only, but radix trees of the host grow with them.
constexpr uint64_t kMaxReservation = uint64_t{64} << 30;
// The host limits mappings per process as vm.max_map_count does.
constexpr size_t kManyPmas = 16384;
// Less than this may be too little for a copy before a write, or for a huge page.
constexpr uint64_t kScarce = 4 << 20;

// --- the map of PMAs ---

MemoryManager::PmaMap::iterator MemoryManager::FindPma(uint64_t addr) {
  auto it = pmas_.upper_bound(addr);
  if (it != pmas_.begin()) {
    auto prev = std::prev(it);
    if (prev->second.end > addr) return prev;
  }
  return it;
}

void MemoryManager::SplitPma(uint64_t at) {
  auto it = FindPma(at);
  if (it == pmas_.end() || it->first >= at) return;
  Pma high = it->second;
  high.offset += at - it->first;
  it->second.end = at;
  pmas_.emplace_hint(std::next(it), at, std::move(high));
}

void MemoryManager::Use(const Pma& p, uint64_t bytes) {
  auto [it, fresh] = uses_.try_emplace(p.file.get());
  if (fresh) {
    it->second.file = p.file;
    it->second.memory = p.memory();
    if (p.memory()) static_cast<MemoryFile*>(p.file.get())->spaces.fetch_add(1);
  }
  it->second.bytes += bytes;
}

void MemoryManager::Unuse(const Pma& p, uint64_t bytes, Garbage* g) {
  auto it = uses_.find(p.file.get());
  it->second.bytes -= bytes;
  if (it->second.bytes != 0 || it->first == current_.get()) return;
  // The guest side's descriptors go with the last mapping.
  BackingFile* f = it->first;
  as_->Forget(*f->map_file());
  if (base::Ref<platform::MapFile> ro = f->read_only()) as_->Forget(*ro);
  if (it->second.memory) static_cast<MemoryFile*>(f)->spaces.fetch_sub(1);
  g->refs.push_back(std::move(it->second.file));
  uses_.erase(it);
}

void MemoryManager::AddPma(uint64_t start, Pma p) {
  Use(p, p.end - start);
  PlacePma(start, std::move(p));
}

void MemoryManager::PlacePma(uint64_t start, Pma p) {
  Changed();
  auto continues = [](const Pma& a, uint64_t a_start, const Pma& b) {
    return a.file == b.file && a.offset + (a.end - a_start) == b.offset && a.kind == b.kind &&
           a.pristine == b.pristine && a.huge == b.huge;
  };
  auto next = pmas_.lower_bound(start);
  if (next != pmas_.end() && next->first == p.end && continues(p, start, next->second)) {
    p.end = next->second.end;
    next = pmas_.erase(next);
  }
  if (next != pmas_.begin()) {
    auto prev = std::prev(next);
    if (prev->second.end == start && continues(prev->second, prev->first, p)) {
      prev->second.end = p.end;
      return;
    }
  }
  pmas_.emplace_hint(next, start, std::move(p));
}

void MemoryManager::FreePma(const Pma& p, uint64_t len) {
  if (p.pristine || !p.memory()) return;
  auto* f = static_cast<MemoryFile*>(p.file.get());
  // A frozen file that others left is this address space's own.
  if (p.kind == Kind::kFrozen && f->spaces.load() != 1) return;
  f->Free(p.offset, len);
}

void MemoryManager::RemovePmas(uint64_t start, uint64_t end, Garbage* g) {
  Changed();
  SplitPma(start);
  SplitPma(end);
  for (auto it = pmas_.lower_bound(start); it != pmas_.end() && it->first < end;) {
    uint64_t len = it->second.end - it->first;
    FreePma(it->second, len);
    Unuse(it->second, len, g);
    it = pmas_.erase(it);
  }
}

// --- allocation ---

bool MemoryManager::EnsureCurrent(uint64_t len) {
  if (current_) return true;
  auto f = MemoryFile::Create(std::max(MemoryFile::kDefaultCapacity, len));
  if (!f.ok()) return false;
  current_ = std::move(*f);
  reservations_.clear();
  return true;
}

uint64_t MemoryManager::AllocateFor(uint64_t addr, uint64_t len) {
  if (!EnsureCurrent(len)) return MemoryFile::kNoSpace;
  uint64_t offset = current_->Allocate(len, addr);
  if (offset != MemoryFile::kNoSpace) return offset;
  // Its offsets are used up; what lies in it stays.
  base::Ref<MemoryFile> old = std::move(current_);
  current_.reset();
  if (!EnsureCurrent(len)) {
    current_ = std::move(old);
    return MemoryFile::kNoSpace;
  }
  return current_->Allocate(len, addr);
}

uint64_t MemoryManager::AllocateIn(uint64_t addr, uint64_t len, uint64_t region_start,
                                   uint64_t region_end) {
  if (!EnsureCurrent(len)) return MemoryFile::kNoSpace;
  auto next = reservations_.upper_bound(addr);
  if (next != reservations_.begin()) {
    auto prev = std::prev(next);
    if (prev->second.end >= addr + len) return prev->second.offset + (addr - prev->first);
    region_start = std::max(region_start, prev->second.end);
  }
  if (next != reservations_.end()) region_end = std::min(region_end, next->first);
  if (region_start > addr || region_end < addr + len || region_end - region_start == len ||
      region_end - region_start > kMaxReservation) {
    return AllocateFor(addr, len);
  }
  uint64_t offset = AllocateFor(region_start, region_end - region_start);
  if (offset == MemoryFile::kNoSpace) return offset;
  reservations_[region_start] = {region_end, offset};
  return offset + (addr - region_start);
}

void MemoryManager::DropReservations(uint64_t start, uint64_t end) {
  auto it = reservations_.upper_bound(start);
  if (it != reservations_.begin()) --it;
  while (it != reservations_.end() && it->first < end) {
    it = it->second.end > start ? reservations_.erase(it) : std::next(it);
  }
}

bool MemoryManager::AddAnon(const Vma& v, uint64_t start, uint64_t end, bool huge) {
  // A stack will grow: leave room for it below.
  uint64_t room = v.grows_down ? limits.stack.load(std::memory_order_relaxed) : 0;
  uint64_t low = room <= (uint64_t{1} << 30) && room < end && end - room < start
                     ? std::max(PageDown(end - room), range_.min)
                     : start;
  uint64_t offset = AllocateIn(start, end - start, low, end);
  if (offset == MemoryFile::kNoSpace) return false;
  Pma p;
  p.end = end;
  p.file = current_;
  p.offset = offset;
  p.pristine = v.prot == 0;
  p.huge = huge;
  AddPma(start, std::move(p));
  return true;
}

// A huge page costs as much as a few small ones, but two megabytes of memory. So only who has
// filled a mapping of this size gets them for the next ones; one of several shows whether that is
// still so.
constexpr uint64_t kLargeMapping = 4 << 20;
constexpr uint64_t kDensityLook = 16 << 20;
constexpr uint32_t kLookEvery = 16;

bool MemoryManager::WantsHuge(const MmapArgs& a, uint64_t len) {
  if (len < kLargeMapping || a.prot != (kProtRead | kProtWrite) || a.noreserve || a.grows_down)
    return false;
  return ++large_maps_ % kLookEvery != 0 && dense_;
}

void MemoryManager::LearnDensity(uint64_t start, uint64_t end) {
  if (end - start < kLargeMapping) return;
  auto it = FindPma(start);
  if (it == pmas_.end() || it->first > start || it->second.end < end) return;
  const Pma& p = it->second;
  if (p.kind != Kind::kOwned || p.huge || p.pristine) return;
  uint64_t at = p.offset + (start - it->first), until = at + std::min(end - start, kDensityLook);
  dense_ = static_cast<MemoryFile*>(p.file.get())->NextHole(at, until) == until;
}

void MemoryManager::SetHuge(uint64_t start, uint64_t end, bool huge) {
  for (uint64_t at = start; at < end;) {
    auto p = FindPma(at);
    if (p == pmas_.end()) break;
    at = std::max(at, p->first);
    if (at >= end) break;
    uint64_t stop = std::min(end, p->second.end);
    if (p->second.kind == Kind::kOwned && p->second.huge != huge) {
      SplitPma(at);
      SplitPma(stop);
      FindPma(at)->second.huge = huge;
      MapEngine(at, stop);
    }
    at = stop;
  }
}

bool MemoryManager::FillAnon(const Vma& v, uint64_t start, uint64_t end) {
  for (uint64_t at = start; at < end;) {
    auto p = FindPma(at);
    uint64_t stop = p == pmas_.end() ? end : std::min(end, p->first);
    if (at < stop && !AddAnon(v, at, stop)) return false;
    p = FindPma(stop);
    at = stop < end && p != pmas_.end() ? p->second.end : stop;
  }
  return true;
}

// --- files ---

base::Result<void> MemoryManager::FillFile(const Vma& v, uint64_t start, uint64_t end, Garbage* g) {
  uint64_t size = v.mappable->size();
  size = size > UINT64_MAX - kPageSize ? PageDown(size) : PageUp(size);
  bool write = v.shared && (v.prot & kProtWrite);
  for (uint64_t at = start; at < end;) {
    auto p = FindPma(at);
    if (p != pmas_.end() && p->first <= at) {
      at = p->second.end;
      continue;
    }
    uint64_t stop = p == pmas_.end() ? end : std::min(end, p->first);
    uint64_t offset = v.offset + (at - v.start);
    if (offset >= size) return {};
    stop = std::min(stop, at + (size - offset));
    Mappable::Extent x = TRY(v.mappable->Translate(offset, stop - at, write));
    uint64_t len = std::min(PageUp(x.len), stop - at);
    if (len == 0 || x.offset % kPageSize != 0) return abi::Errno::kEIO;
    Pma add;
    add.end = at + len;
    add.file = std::move(x.file);
    add.offset = x.offset;
    add.kind = v.shared ? Kind::kShared : Kind::kFileCow;
    AddPma(at, std::move(add));
    at += len;
  }
  return {};
}

// Reads bytes of a file into a fresh range of a memory file. Bytes behind the source's end stay
// zero.
static bool CopyInto(MemoryFile& to, uint64_t to_offset, BackingFile& from, uint64_t from_offset,
                     uint64_t len) {
  uint64_t done = 0;
  while (done < len) {
    uint64_t part = len - done;
    uint8_t* p = from.Window(from_offset + done, &part);
    if (!p) return false;
    // The host allocates the target's pages in the write itself, without a fault for each.
    long r = host::Pwrite(to.fd(), p, part, static_cast<int64_t>(to_offset + done));
    if (r < 0 && host::HostToGuest(r) == abi::Errno::kEFAULT) break;
    if (r <= 0) return false;
    done += static_cast<uint64_t>(r);
  }
  return true;
}

bool MemoryManager::CopyEagerly(const Vma& v, uint64_t start, uint64_t end, Garbage* g) {
  if (v.shared || !(v.prot & kProtWrite) || end - start > kEagerCopy) return false;
  uint64_t size = v.mappable->size();
  uint64_t len = end - start;
  if (size <= v.offset || PageUp(size - v.offset) < len) return false;
  auto x = v.mappable->Translate(v.offset, len, false);
  if (!x.ok() || PageUp(x->len) < len) return false;
  uint64_t offset = AllocateFor(start, len);
  if (offset == MemoryFile::kNoSpace) return false;
  long r = 0;
  uint64_t room = len;
  uint8_t* to = current_->Window(offset, &room);
  // One call straight into the new memory, if the file can be read so; a window border is rare.
  if (to != nullptr && room == len)
    r = host::Pread(x->file->fd(), to, len, static_cast<int64_t>(x->offset));
  if (r <= 0 && !CopyInto(*current_, offset, *x->file, x->offset, len)) return false;
  Pma p;
  p.end = end;
  p.file = current_;
  p.offset = offset;
  AddPma(start, std::move(p));
  g->refs.push_back(std::move(x->file));
  return true;
}

// --- copy before write ---

void MemoryManager::Thaw(MemoryFile* f, Garbage* g) {
  std::vector<std::pair<uint64_t, uint64_t>> kept;  // offset, end
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (auto& [start, p] : pmas_) {
    if (p.file.get() != f) continue;
    p.kind = Kind::kOwned;
    kept.push_back({p.offset, p.offset + (p.end - start)});
    ranges.push_back({start, p.end});
  }
  // What only the others used, and what this side replaced by copies.
  std::sort(kept.begin(), kept.end());
  uint64_t at = 0;
  for (auto& [offset, end] : kept) {
    if (offset > at) f->Free(at, offset - at);
    at = end;
  }
  if (at < f->capacity()) f->Free(at, f->capacity() - at);
  for (auto& [start, end] : ranges) MapEngine(start, end);
  as_->Forget(*f->read_only());
  // New memory goes where most of the memory is: files that held a few copies empty out.
  auto cur = current_ ? uses_.find(current_.get()) : uses_.end();
  uint64_t bytes = uses_.find(f)->second.bytes;
  if (cur == uses_.end() || cur->second.bytes < bytes) {
    base::Ref<MemoryFile> old = std::move(current_);
    current_ = base::Ref<MemoryFile>(f);
    reservations_.clear();
    if (cur != uses_.end() && cur->second.bytes == 0) {
      Pma none;
      none.file = old;
      Unuse(none, 0, g);
    }
    if (old) g->refs.push_back(std::move(old));
  }
  Changed();
}

bool MemoryManager::BreakCow(const Vma& v, uint64_t addr, Garbage* g) {
  auto it = FindPma(addr);
  if (it->second.kind == Kind::kFrozen) {
    auto* f = static_cast<MemoryFile*>(it->second.file.get());
    const bool alone = f->spaces.load() == 1;
    // One fault gets the parent all of the file back once its child is gone: nothing to learn.
    if (habit_ && !(alone && habit_ == own_habit_)) habit_->Note(addr);
    if (alone) {
      Thaw(f, g);
      return true;
    }
  }
  uint64_t chunk = kCopyChunk, start, end;
  for (size_t n = pmas_.size(); n > kManyPmas; n /= 2) chunk *= 2;
  if (!CopyChunk(v, addr, chunk, &start, &end, g)) return false;
  MapEngine(start, end);
  return true;
}

bool MemoryManager::CopyChunk(const Vma& v, uint64_t addr, uint64_t chunk, uint64_t* start,
                              uint64_t* end, Garbage* g) {
  auto it = FindPma(addr);
  uint64_t low = std::max(it->first, v.start), high = std::min(it->second.end, v.end);
  *start = std::max(low, addr - addr % chunk);
  *end = std::min(high, addr - addr % chunk + chunk);
  if (it->second.kind == Kind::kFileCow) {
    uint64_t size = v.mappable->size(), offset = v.offset + (*start - v.start);
    if (size <= offset) return false;
    *end = std::min(*end, *start + PageUp(size - offset));
    if (*end <= addr) return false;
  }
  uint64_t len = *end - *start;
  uint64_t offset = AllocateIn(*start, len, low, high);
  if (offset == MemoryFile::kNoSpace) return false;
  base::Ref<BackingFile> from = it->second.file;
  uint64_t from_offset = it->second.offset + (*start - it->first);
  bool hole = it->second.kind == Kind::kFrozen &&
              static_cast<MemoryFile*>(from.get())->NextData(from_offset, from_offset + len) ==
                  from_offset + len;
  if (!hole && !CopyInto(*current_, offset, *from, from_offset, len)) return false;
  RemovePmas(*start, *end, g);
  Pma p;
  p.end = *end;
  p.file = current_;
  p.offset = offset;
  AddPma(*start, std::move(p));
  g->refs.push_back(std::move(from));
  Changed();
  return true;
}

// --- faults ---

bool MemoryManager::Populate(Vma& v, uint64_t addr, bool write, FaultError* err, Garbage* g) {
  auto it = FindPma(addr);
  if (it == pmas_.end() || it->first > addr) {
    // Nothing there: the whole hole at once.
    uint64_t high = it == pmas_.end() ? v.end : std::min(v.end, it->first);
    uint64_t low = v.start;
    if (it != pmas_.begin()) low = std::max(low, std::prev(it)->second.end);
    Changed();
    *err = {7, 2};  // SIGBUS, BUS_ADRERR
    if (!v.mappable) {
      if (!AddAnon(v, low, high)) return false;
      MapEngine(low, high);
      return true;
    }
    (void)FillFile(v, low, high, g);
    it = FindPma(addr);
    if (it == pmas_.end() || it->first > addr) return false;
    MapEngine(low, high);
  }
  if (!write) return true;
  *err = {7, 2};
  if (it->second.cow()) return BreakCow(v, addr, g);
  if (it->second.kind == Kind::kShared && !it->second.file->writable()) {
    // Mapped for reading only so far.
    uint64_t low = std::max(it->first, v.start), high = std::min(it->second.end, v.end);
    RemovePmas(low, high, g);
    Changed();
    (void)FillFile(v, low, high, g);
    it = FindPma(addr);
    if (it == pmas_.end() || it->first > addr || !it->second.file->writable()) return false;
    MapEngine(low, high);
  }
  return true;
}

bool MemoryManager::HandleFault(uint64_t addr, uint8_t access, FaultError* err, bool bus) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  Vma* v = VmaAt(addr);
  *err = {11, 1};  // SIGSEGV, SEGV_MAPERR
  if (!v) return false;
  *err = {11, 2};  // SEGV_ACCERR
  // access_error() in arch/x86/mm/fault.c.
  if (access & kProtWrite) {
    if (!(v->prot & kProtWrite)) return false;
  } else if (access & platform::kProtExec) {
    if (!(v->prot & platform::kProtExec)) return false;
  } else if (v->prot == 0) {
    return false;
  }
  if (bus) {
    *err = {7, 2, host::MemoryExhausted(kScarce)};  // SIGBUS, BUS_ADRERR
    if (err->no_memory) return false;
    uint64_t offset = v->offset + (PageDown(addr) - v->start);
    auto it = FindPma(addr);
    bool copied = it != pmas_.end() && it->first <= addr && it->second.memory();
    // There was none at that moment, and now there is.
    if (!v->mappable || copied) return true;
    if (offset >= v->mappable->size()) return false;
    // The object moved to another file or grew back: take what it has now.
    if (it != pmas_.end() && it->first <= addr) {
      base::Ref<BackingFile> old = it->second.file;
      uint64_t low = std::max(it->first, v->start), high = std::min(it->second.end, v->end);
      RemovePmas(low, high, &garbage);
      (void)FillFile(*v, low, high, &garbage);
      MapEngine(low, high);
      Changed();
      garbage.refs.push_back(std::move(old));
    }
  }
  if (Populate(*v, PageDown(addr), (access & kProtWrite) != 0, err, &garbage)) return true;
  err->no_memory = host::MemoryExhausted(kScarce);
  return false;
}

// --- the engine's view ---

uint8_t MemoryManager::EngineProt(const Vma& v, const Pma& p) const {
  bool hold = p.cow() || (p.kind == Kind::kShared && !p.file->writable());
  if (hold && (v.prot & kProtWrite)) return (v.prot & ~kProtWrite) | kProtRead;
  return v.prot;
}

base::Ref<platform::MapFile> MemoryManager::EngineFile(const Vma& v, const Pma& p) const {
  bool may_write = p.kind == Kind::kOwned || (p.kind == Kind::kShared && (v.max_prot & kProtWrite));
  if (!may_write) {
    if (base::Ref<platform::MapFile> ro = p.file->read_only()) return ro;
  }
  return p.file->map_file();
}

void MemoryManager::MapEngine(uint64_t start, uint64_t end) {
  struct {
    uint64_t addr = 0, len = 0, offset = 0;
    base::Ref<platform::MapFile> file;
    uint8_t prot = 0;
  } run;
  auto flush = [&] {
    if (run.len != 0) as_->Map(run.addr, run.len, run.file, run.offset, run.prot);
    run.len = 0;
  };
  for (auto v = FindVma(start); v != vmas_.end() && v->first < end; ++v) {
    if (v->second.prot == 0) continue;
    uint64_t low = std::max(start, v->first), high = std::min(end, v->second.end);
    for (auto p = FindPma(low); p != pmas_.end() && p->first < high; ++p) {
      uint64_t a = std::max(low, p->first), b = std::min(high, p->second.end);
      uint64_t offset = p->second.offset + (a - p->first);
      uint8_t prot = EngineProt(v->second, p->second);
      if (p->second.huge && p->second.kind == Kind::kOwned) prot |= platform::kMapHuge;
      base::Ref<platform::MapFile> file = EngineFile(v->second, p->second);
      if (run.len != 0 && run.addr + run.len == a && run.file == file &&
          run.offset + run.len == offset && run.prot == prot) {
        run.len += b - a;
        continue;
      }
      flush();
      run = {a, b - a, offset, std::move(file), prot};
    }
  }
  flush();
}

uint64_t MemoryManager::Resident(uint64_t start, const Pma& p) {
  uint64_t len = p.end - start;
  if (p.pristine) return 0;
  if (!p.memory()) return len;
  auto* f = static_cast<MemoryFile*>(p.file.get());
  uint64_t present = 0, end = p.offset + len;
  // Each step is a host call; very scattered memory is estimated.
  int steps = 0;
  for (uint64_t at = p.offset; at < end;) {
    uint64_t data = f->NextData(at, end);
    if (data >= end) break;
    uint64_t hole = f->NextHole(data, end);
    present += hole - data;
    at = hole;
    if (++steps == 256) return present + (end - at) / 2;
  }
  return present;
}

}  // namespace sentry
