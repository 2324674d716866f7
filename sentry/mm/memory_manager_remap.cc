// mremap(2).

#include <algorithm>

#include "sentry/mm/memory_manager.h"
#include "syscalls/abi/mman.h"

namespace sentry {

base::Result<uint64_t> MemoryManager::Mremap(uint64_t old_addr, uint64_t old_len, uint64_t new_len,
                                             uint32_t flags, uint64_t new_addr) {
  constexpr uint32_t kMayMove = abi::kMREMAP_MAYMOVE, kFixed = abi::kMREMAP_FIXED,
                     kKeep = abi::kMREMAP_DONTUNMAP;
  if (flags & ~(kMayMove | kFixed | kKeep)) return abi::Errno::kEINVAL;
  if ((flags & kFixed) && !(flags & kMayMove)) return abi::Errno::kEINVAL;
  if ((flags & kKeep) && (!(flags & kMayMove) || old_len != new_len)) return abi::Errno::kEINVAL;
  if (old_addr % kPageSize != 0) return abi::Errno::kEINVAL;
  old_len = PageUp(old_len);
  new_len = PageUp(new_len);
  if (new_len == 0) return abi::Errno::kEINVAL;
  Garbage garbage;
  base::MutexLock lock(mu_);
  return MremapLocked(old_addr, old_len, new_len, flags, new_addr, &garbage);
}

// The checks and their order are those of mremap() in mm/mremap.c.
base::Result<uint64_t> MemoryManager::MremapLocked(uint64_t old_addr, uint64_t old_len,
                                                   uint64_t new_len, uint32_t flags,
                                                   uint64_t new_addr, Garbage* g) {
  auto it = FindVma(old_addr);
  if (it == vmas_.end() || it->first > old_addr) return abi::Errno::kEFAULT;
  bool fixed = (flags & abi::kMREMAP_FIXED) != 0, keep = (flags & abi::kMREMAP_DONTUNMAP) != 0;

  // vma_to_resize().
  auto resizable = [&](uint64_t len) REQUIRES_LOCK(mu_) -> base::Result<void> {
    it = FindVma(old_addr);
    if (it == vmas_.end() || it->first > old_addr) return abi::Errno::kEFAULT;
    const Vma& v = it->second;
    if (len == 0 && !v.shared) return abi::Errno::kEINVAL;
    if (len > v.end - old_addr) return abi::Errno::kEFAULT;
    if (new_len == len) return {};
    if (v.mappable) {
      uint64_t offset = v.offset + (old_addr - v.start);
      if (offset + new_len < offset) return abi::Errno::kEINVAL;
    }
    uint64_t grow = new_len > len ? new_len - len : 0;
    if (v.locked && locked_ + grow > limits.memlock.load(std::memory_order_relaxed)) {
      return abi::Errno::kEAGAIN;
    }
    if (!MayExpand(v, grow)) return abi::Errno::kENOMEM;
    return {};
  };

  if (fixed || keep) {
    if (new_addr % kPageSize != 0) return abi::Errno::kEINVAL;
    if (new_len > range_.max || new_addr > range_.max - new_len) return abi::Errno::kEINVAL;
    if (fixed && old_addr + old_len > new_addr && new_addr + new_len > old_addr) {
      return abi::Errno::kEINVAL;
    }
    if (vmas_.size() + 5 >= kMaxMapCount) return abi::Errno::kENOMEM;
    if (fixed) {
      if (new_addr < range_.min) return abi::Errno::kEPERM;
      RemoveRange(new_addr, new_addr + new_len, true, g);
    }
    if (old_len > new_len) {
      RemoveRange(old_addr + new_len, old_addr + old_len, true, g);
      old_len = new_len;
    }
    TRY(resizable(old_len));
    if (keep && !MayExpand(it->second, old_len)) return abi::Errno::kENOMEM;
    uint64_t to = fixed ? new_addr : TRY(FindArea(new_addr, new_len, false, false));
    return MoveVma(old_addr, old_len, new_len, to, keep, g);
  }

  if (old_len >= new_len) {
    if (old_len > new_len) {
      if (old_addr + old_len < old_addr || old_addr + old_len > range_.max) {
        return abi::Errno::kEINVAL;
      }
      if (!SplitsOk(old_addr + new_len, old_addr + old_len)) return abi::Errno::kENOMEM;
      RemoveRange(old_addr + new_len, old_addr + old_len, true, g);
    }
    return old_addr;
  }

  TRY(resizable(old_len));
  if (old_len != 0 && old_len == it->second.end - old_addr) {
    // vma_expandable().
    uint64_t end = it->second.end, grow = new_len - old_len;
    auto next = std::next(it);
    if (grow <= range_.max - end && (next == vmas_.end() || end + grow <= StartGap(next->second))) {
      Vma& v = it->second;
      v.end = end + grow;
      Account(v, grow, true);
      if (v.mappable) {
        v.mappable->OnMap(grow, v.shared && (v.max_prot & platform::kProtWrite));
        (void)FillFile(v, end, end + grow, g);
      } else {
        // Who grows once grows again: leave room for it in the file.
        uint64_t offset = AllocateIn(end, grow, end, std::min(range_.max, end + 4 * new_len));
        if (offset != MemoryFile::kNoSpace) {
          Pma p;
          p.end = end + grow;
          p.file = current_;
          p.offset = offset;
          p.pristine = v.prot == 0;
          AddPma(end, std::move(p));
        }
      }
      MapEngine(end, end + grow);
      if (v.locked) PopulateRange(end, end + grow, true, g);
      MergeVmas(old_addr, end + grow, g);
      Changed();
      return old_addr;
    }
  }
  if (!(flags & abi::kMREMAP_MAYMOVE)) return abi::Errno::kENOMEM;
  uint64_t to = TRY(FindArea(0, new_len, false, false));
  return MoveVma(old_addr, old_len, new_len, to, false, g);
}

base::Result<void> MemoryManager::RemapFilePages(uint64_t addr, uint64_t len, uint64_t offset) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  auto it = FindVma(addr);
  if (it == vmas_.end() || it->first > addr || !it->second.shared) return abi::Errno::kEINVAL;
  const Vma& v = it->second;
  // It may be in pieces, but must be one mapping.
  for (auto next = it; addr + len > next->second.end;) {
    const Vma& last = next->second;
    if (++next == vmas_.end() || next->first != last.end || !next->second.shared ||
        next->second.mappable != v.mappable || next->second.prot != v.prot) {
      return abi::Errno::kEINVAL;
    }
  }
  MmapArgs a;
  a.addr = addr;
  a.len = len;
  a.prot = v.prot;
  a.max_prot = v.max_prot;
  a.fixed = a.shared = a.populate = true;
  a.locked = a.ipc_lock = v.locked;
  a.noreserve = v.noreserve;
  a.mappable = v.mappable;
  a.offset = offset;
  a.file = v.file;
  a.special_name = v.special_name;
  TRY(MmapLocked(a, &garbage));
  return {};
}

base::Result<uint64_t> MemoryManager::MoveVma(uint64_t old_addr, uint64_t old_len, uint64_t new_len,
                                              uint64_t to, bool keep, Garbage* g) {
  if (vmas_.size() + 3 >= kMaxMapCount) return abi::Errno::kENOMEM;
  uint64_t old_end = old_addr + old_len;
  Vma v = FindVma(old_addr)->second;
  if (v.mappable) v.offset += old_addr - v.start;
  v.start = to;
  v.end = to + new_len;
  // The pages move as they are.
  std::vector<std::pair<uint64_t, Pma>> moved;
  SplitPma(old_addr);
  SplitPma(old_end);
  for (auto it = pmas_.lower_bound(old_addr); it != pmas_.end() && it->first < old_end;) {
    moved.push_back({it->first, std::move(it->second)});
    it = pmas_.erase(it);
  }
  DropReservations(old_addr, old_end);
  DropReservations(to, to + new_len);
  if (keep) {
    as_->Unmap(old_addr, old_len);
    if (v.mappable) {
      const Vma& old = FindVma(old_addr)->second;
      (void)FillFile(old, old_addr, old_end, g);
      MapEngine(old_addr, old_end);
    }
    // Locked memory stays locked only at its new place.
    if (v.locked) {
      SplitVma(old_addr);
      SplitVma(old_end);
      FindVma(old_addr)->second.locked = false;
      locked_ -= old_len;
    }
  } else if (old_len != 0) {
    RemoveRange(old_addr, old_end, true, g);
  }
  for (auto& [start, p] : moved) {
    uint64_t at = to + (start - old_addr);
    p.end = at + (p.end - start);
    PlacePma(at, std::move(p));
  }
  InsertVma(v);
  if (new_len > old_len) {
    if (v.mappable) {
      (void)FillFile(v, to + old_len, v.end, g);
    } else {
      (void)FillAnon(v, to + old_len, v.end);
    }
  }
  MapEngine(to, v.end);
  if (v.locked) PopulateRange(to + old_len, v.end, true, g);
  MergeVmas(to, to + new_len, g);
  g->Take(v);
  Changed();
  return to;
}

}  // namespace sentry
