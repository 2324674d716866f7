// mprotect(2), madvise(2), msync(2), mincore(2), mlock(2).

#include <algorithm>

#include "platform/host/host.h"
#include "sentry/mm/memory_manager.h"
#include "syscalls/abi/mman.h"

namespace sentry {

using platform::kProtRead;
using platform::kProtWrite;

void MemoryManager::ClearPristine(uint64_t start, uint64_t end) {
  SplitPma(start);
  SplitPma(end);
  for (auto it = pmas_.lower_bound(start); it != pmas_.end() && it->first < end;) {
    uint64_t at = it->first;
    if (!it->second.pristine) {
      ++it;
      continue;
    }
    Pma p = std::move(it->second);
    pmas_.erase(it);
    p.pristine = false;
    uint64_t next = p.end;
    PlacePma(at, std::move(p));
    it = pmas_.lower_bound(next);
  }
}

// One VMA's part of mprotect; the caller has split it off.
base::Result<void> MemoryManager::ProtectVma(VmaMap::iterator it, uint64_t start, uint64_t end,
                                             uint8_t prot, Garbage* g) {
  if (prot & ~it->second.max_prot) return abi::Errno::kEACCES;
  uint8_t old = it->second.prot;
  if (old == prot) return {};
  if (!it->second.shared && (prot & kProtWrite) && !(old & kProtWrite)) {
    // mprotect_fixup(): newly writable private memory counts as data.
    if (!it->second.grows_down &&
        data_ + (end - start) > limits.data.load(std::memory_order_relaxed)) {
      return abi::Errno::kENOMEM;
    }
  }
  if (!SplitsOk(start, end)) return abi::Errno::kENOMEM;
  SplitVma(start);
  SplitVma(end);
  it = FindVma(start);
  Vma& v = it->second;
  Account(v, end - start, false);
  v.prot = prot;
  Account(v, end - start, true);
  Changed();
  if (prot == 0) {
    as_->Unmap(start, end - start);
    return {};
  }
  if (old == 0) {
    ClearPristine(start, end);
    if (v.mappable) {
      (void)FillFile(v, start, end, g);
    } else if (!FillAnon(v, start, end)) {
      return abi::Errno::kENOMEM;
    }
    MapEngine(start, end);
    return {};
  }
  uint64_t run_start = 0, run_end = 0;
  uint8_t run_prot = 0;
  for (auto p = FindPma(start); p != pmas_.end() && p->first < end; ++p) {
    uint64_t a = std::max(start, p->first), b = std::min(end, p->second.end);
    uint8_t now = EngineProt(v, p->second);
    if (run_end == a && run_prot == now && run_end != 0) {
      run_end = b;
      continue;
    }
    if (run_end != run_start) as_->Protect(run_start, run_end - run_start, run_prot);
    run_start = a;
    run_end = b;
    run_prot = now;
  }
  if (run_end != run_start) as_->Protect(run_start, run_end - run_start, run_prot);
  return {};
}

base::Result<void> MemoryManager::Mprotect(uint64_t addr, uint64_t len, uint8_t prot,
                                           bool grows_down) {
  if (addr % kPageSize != 0) return abi::Errno::kEINVAL;
  if (len == 0) return {};
  len = PageUp(len);
  uint64_t end = addr + len;
  if (len == 0 || end <= addr) return abi::Errno::kENOMEM;
  Garbage garbage;
  base::MutexLock lock(mu_);
  auto it = FindVma(addr);
  if (it == vmas_.end()) return abi::Errno::kENOMEM;
  uint64_t start = addr;
  if (grows_down) {
    if (it->first >= end) return abi::Errno::kENOMEM;
    if (!it->second.grows_down) return abi::Errno::kEINVAL;
    start = it->first;
  } else if (it->first > start) {
    return abi::Errno::kENOMEM;
  }
  base::Result<void> result;
  uint64_t at = start;
  while (at < end) {
    it = FindVma(at);
    if (it == vmas_.end() || it->first > at) {
      result = abi::Errno::kENOMEM;
      break;
    }
    uint64_t stop = std::min(end, it->second.end);
    result = ProtectVma(it, at, stop, prot, &garbage);
    if (!result.ok()) break;
    at = stop;
  }
  MergeVmas(start, end, &garbage);
  return result;
}

// --- madvise ---

void MemoryManager::DontNeed(const Vma& v, uint64_t start, uint64_t end, Garbage* g) {
  if (v.shared) return;
  std::vector<std::pair<uint64_t, uint64_t>> renew;
  for (auto it = FindPma(start); it != pmas_.end() && it->first < end; ++it) {
    uint64_t a = std::max(start, it->first), b = std::min(end, it->second.end);
    Pma part = it->second;
    part.offset += a - it->first;
    if (part.kind == Kind::kOwned && !v.mappable) {
      FreePma(part, b - a);
    } else if (part.memory()) {
      renew.push_back({a, b});
    }
  }
  for (auto [a, b] : renew) {
    RemovePmas(a, b, g);
    if (v.mappable) {
      (void)FillFile(v, a, b, g);
    } else {
      (void)FillAnon(v, a, b);
    }
    // What has no backing now must not stay visible.
    as_->Unmap(a, b - a);
    MapEngine(a, b);
  }
}

void MemoryManager::PopulateRange(uint64_t start, uint64_t end, bool write, Garbage* g) {
  // Memory is present once the host has allocated it; files are present as far as the host cares.
  for (auto it = FindPma(start); it != pmas_.end() && it->first < end; ++it) {
    if (it->second.kind != Kind::kOwned) continue;
    uint64_t a = std::max(start, it->first), b = std::min(end, it->second.end);
    host::Fallocate(it->second.file->fd(), FALLOC_FL_KEEP_SIZE,
                    static_cast<int64_t>(it->second.offset + (a - it->first)),
                    static_cast<int64_t>(b - a));
  }
}

static bool KnownAdvice(int32_t advice) {
  switch (advice) {
    case abi::kMADV_NORMAL:
    case abi::kMADV_RANDOM:
    case abi::kMADV_SEQUENTIAL:
    case abi::kMADV_WILLNEED:
    case abi::kMADV_DONTNEED:
    case abi::kMADV_FREE:
    case abi::kMADV_REMOVE:
    case abi::kMADV_DONTFORK:
    case abi::kMADV_DOFORK:
    case abi::kMADV_MERGEABLE:
    case abi::kMADV_UNMERGEABLE:
    case abi::kMADV_HUGEPAGE:
    case abi::kMADV_NOHUGEPAGE:
    case abi::kMADV_DONTDUMP:
    case abi::kMADV_DODUMP:
    case abi::kMADV_WIPEONFORK:
    case abi::kMADV_KEEPONFORK:
    case abi::kMADV_COLD:
    case abi::kMADV_PAGEOUT:
    case abi::kMADV_POPULATE_READ:
    case abi::kMADV_POPULATE_WRITE:
    case abi::kMADV_DONTNEED_LOCKED:
    case abi::kMADV_COLLAPSE:
      return true;
    default:
      return false;
  }
}

base::Result<void> MemoryManager::Madvise(uint64_t addr, uint64_t len, int32_t advice) {
  if (!KnownAdvice(advice)) return abi::Errno::kEINVAL;
  if (addr % kPageSize != 0) return abi::Errno::kEINVAL;
  uint64_t size = PageUp(len), end = addr + size;
  if ((len != 0 && size == 0) || end < addr) return abi::Errno::kEINVAL;
  if (size == 0) return {};
  bool populate = advice == abi::kMADV_POPULATE_READ || advice == abi::kMADV_POPULATE_WRITE;
  Garbage garbage;
  base::MutexLock lock(mu_);
  base::Result<void> result;
  uint64_t at = addr;
  while (at < end) {
    auto it = FindVma(at);
    if (it == vmas_.end() || it->first > at) {
      // Holes are reported at the end (madvise_walk_vmas()).
      result = abi::Errno::kENOMEM;
      if (it == vmas_.end() || it->first >= end || populate) break;
      at = it->first;
    }
    Vma& v = it->second;
    uint64_t stop = std::min(end, v.end);
    auto flag = [&](bool Vma::*member, bool value) REQUIRES_LOCK(mu_) -> base::Result<void> {
      if (it->second.*member == value) return {};
      if (!SplitsOk(at, stop)) return abi::Errno::kENOMEM;
      SplitVma(at);
      SplitVma(stop);
      FindVma(at)->second.*member = value;
      return {};
    };
    switch (advice) {
      case abi::kMADV_DONTNEED:
        if (v.locked) return abi::Errno::kEINVAL;
        [[fallthrough]];
      case abi::kMADV_DONTNEED_LOCKED:
        DontNeed(v, at, stop, &garbage);
        break;
      case abi::kMADV_FREE:
        if (v.mappable) return abi::Errno::kEINVAL;
        DontNeed(v, at, stop, &garbage);
        break;
      case abi::kMADV_REMOVE:
        if (v.locked || !v.mappable) return abi::Errno::kEINVAL;
        if (!v.shared || !(v.max_prot & kProtWrite)) return abi::Errno::kEACCES;
        TRY(v.mappable->Punch(v.offset + (at - v.start), stop - at));
        break;
      case abi::kMADV_COLD:
      case abi::kMADV_PAGEOUT:
        if (v.locked) return abi::Errno::kEINVAL;
        break;
      case abi::kMADV_DONTFORK:
        TRY(flag(&Vma::dont_fork, true));
        break;
      case abi::kMADV_DOFORK:
        TRY(flag(&Vma::dont_fork, false));
        break;
      case abi::kMADV_WIPEONFORK:
        if (v.mappable || v.shared) return abi::Errno::kEINVAL;
        TRY(flag(&Vma::wipe_on_fork, true));
        break;
      case abi::kMADV_KEEPONFORK:
        TRY(flag(&Vma::wipe_on_fork, false));
        break;
      case abi::kMADV_DONTDUMP:
        TRY(flag(&Vma::dont_dump, true));
        break;
      case abi::kMADV_DODUMP:
        TRY(flag(&Vma::dont_dump, false));
        break;
      case abi::kMADV_POPULATE_READ:
      case abi::kMADV_POPULATE_WRITE: {
        bool write = advice == abi::kMADV_POPULATE_WRITE;
        // faultin_page_range(): permissions are EINVAL, a page that can't be had EFAULT.
        if (write ? !(v.prot & kProtWrite) : v.prot == 0) return abi::Errno::kEINVAL;
        for (uint64_t a = at; a < stop;) {
          FaultError err;
          if (!Populate(v, a, write, &err, &garbage)) return abi::Errno::kEFAULT;
          a = FindPma(a)->second.end;
        }
        PopulateRange(at, stop, write, &garbage);
        break;
      }
      case abi::kMADV_HUGEPAGE:
      case abi::kMADV_NOHUGEPAGE:
        SetHuge(at, stop, advice == abi::kMADV_HUGEPAGE);
        break;
      default:
        // Hints about paging and merging: the host decides.
        break;
    }
    at = stop;
  }
  MergeVmas(addr, end, &garbage);
  return result;
}

base::Result<void> MemoryManager::SetAnonName(uint64_t addr, uint64_t len, std::string name) {
  if (addr % kPageSize != 0) return abi::Errno::kEINVAL;
  uint64_t size = PageUp(len), end = addr + size;
  if ((len != 0 && size == 0) || end < addr) return abi::Errno::kEINVAL;
  Garbage garbage;
  base::MutexLock lock(mu_);
  base::Result<void> result;
  for (uint64_t at = addr; at < end;) {
    auto it = FindVma(at);
    if (it == vmas_.end() || it->first > at) {
      result = abi::Errno::kENOMEM;
      if (it == vmas_.end() || it->first >= end) break;
      at = it->first;
    }
    uint64_t stop = std::min(end, it->second.end);
    if (it->second.file) return abi::Errno::kEBADF;
    if (!SplitsOk(at, stop)) return abi::Errno::kENOMEM;
    SplitVma(at);
    SplitVma(stop);
    FindVma(at)->second.anon_name = name;
    at = stop;
  }
  MergeVmas(addr, end, &garbage);
  return result;
}

// --- msync, mincore, mlock ---

base::Result<void> MemoryManager::Msync(uint64_t addr, uint64_t len, uint32_t flags) {
  constexpr uint32_t kKnown = abi::kMS_ASYNC | abi::kMS_INVALIDATE | abi::kMS_SYNC;
  if (flags & ~kKnown) return abi::Errno::kEINVAL;
  if (addr % kPageSize != 0) return abi::Errno::kEINVAL;
  if ((flags & abi::kMS_ASYNC) && (flags & abi::kMS_SYNC)) return abi::Errno::kEINVAL;
  uint64_t size = PageUp(len), end = addr + size;
  if ((len != 0 && size == 0) || end < addr) return abi::Errno::kENOMEM;
  if (end == addr) return {};
  struct Part {
    base::Ref<Mappable> object;
    uint64_t offset, len;
  };
  std::vector<Part> parts;
  base::Result<void> result;
  {
    base::MutexLock lock(mu_);
    for (uint64_t at = addr; at < end;) {
      auto it = FindVma(at);
      if (it == vmas_.end() || it->first > at) {
        result = abi::Errno::kENOMEM;
        if (it == vmas_.end() || it->first >= end) break;
        at = it->first;
      }
      const Vma& v = it->second;
      uint64_t stop = std::min(end, v.end);
      if ((flags & abi::kMS_INVALIDATE) && v.locked) return abi::Errno::kEBUSY;
      if ((flags & abi::kMS_SYNC) && v.shared) {
        parts.push_back({v.mappable, v.offset + (at - v.start), stop - at});
      }
      at = stop;
    }
  }
  for (Part& p : parts) TRY(p.object->Sync(p.offset, p.len));
  return result;
}

base::Result<void> MemoryManager::Mincore(uint64_t addr, uint64_t len, std::vector<uint8_t>* out) {
  uint64_t end = addr + len;
  out->assign(len / kPageSize, 0);
  base::MutexLock lock(mu_);
  if (!Covered(addr, end)) return abi::Errno::kENOMEM;
  for (auto it = FindPma(addr); it != pmas_.end() && it->first < end; ++it) {
    uint64_t a = std::max(addr, it->first), b = std::min(end, it->second.end);
    const Pma& p = it->second;
    auto mark = [&](uint64_t from, uint64_t to) {
      for (uint64_t x = from; x < to; x += kPageSize) (*out)[(x - addr) / kPageSize] = 1;
    };
    if (p.pristine) continue;
    if (p.kind == Kind::kFileCow) {
      mark(a, b);
      continue;
    }
    uint64_t base = p.offset - it->first;  // address to offset, modulo 2^64
    for (uint64_t x = a; x < b;) {
      long data = host::Lseek(p.file->fd(), static_cast<int64_t>(x + base), SEEK_DATA);
      if (data < 0 || data - base >= b) break;
      long hole = host::Lseek(p.file->fd(), data, SEEK_HOLE);
      uint64_t stop = hole < 0 ? b : std::min<uint64_t>(b, hole - base);
      mark(PageDown(data - base), stop);
      x = PageUp(stop);
    }
  }
  return {};
}

base::Result<void> MemoryManager::Mlock(uint64_t addr, uint64_t len, bool lock_it, bool on_fault,
                                        bool privileged) {
  uint64_t start = PageDown(addr), size = PageUp(len + (addr - start)), end = start + size;
  uint64_t limit = privileged ? UINT64_MAX : limits.memlock.load(std::memory_order_relaxed);
  if (lock_it && limit == 0) return abi::Errno::kEPERM;
  if (end < start || len + (addr - start) < len) return abi::Errno::kEINVAL;
  if (end == start) return {};
  Garbage garbage;
  base::MutexLock lock(mu_);
  if (lock_it) {
    uint64_t already = 0;
    for (auto it = FindVma(start); it != vmas_.end() && it->first < end; ++it) {
      if (it->second.locked) {
        already += std::min(end, it->second.end) - std::max(start, it->first);
      }
    }
    if (limit != UINT64_MAX && locked_ + size - already > limit) return abi::Errno::kENOMEM;
  }
  base::Result<void> result;
  for (uint64_t at = start; at < end;) {
    auto it = FindVma(at);
    if (it == vmas_.end() || it->first > at) {
      result = abi::Errno::kENOMEM;
      break;
    }
    uint64_t stop = std::min(end, it->second.end);
    if (it->second.locked != lock_it) {
      if (!SplitsOk(at, stop)) return abi::Errno::kENOMEM;
      SplitVma(at);
      SplitVma(stop);
      FindVma(at)->second.locked = lock_it;
      locked_ = lock_it ? locked_ + (stop - at) : locked_ - (stop - at);
    }
    if (lock_it && !on_fault) PopulateRange(at, stop, true, &garbage);
    at = stop;
  }
  MergeVmas(start, end, &garbage);
  return result;
}

base::Result<void> MemoryManager::MlockAll(uint32_t flags, bool privileged) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  uint64_t limit = privileged ? UINT64_MAX : limits.memlock.load(std::memory_order_relaxed);
  if (flags != 0 && limit == 0) return abi::Errno::kEPERM;
  if ((flags & abi::kMCL_CURRENT) && total_ > limit) return abi::Errno::kENOMEM;
  lock_future_ = (flags & abi::kMCL_FUTURE) != 0;
  if (flags != 0 && !(flags & abi::kMCL_CURRENT)) return {};
  bool lock_it = flags != 0;
  for (auto& [start, v] : vmas_) {
    if (v.locked != lock_it) {
      locked_ = lock_it ? locked_ + (v.end - start) : locked_ - (v.end - start);
    }
    v.locked = lock_it;
    if (lock_it && !(flags & abi::kMCL_ONFAULT)) PopulateRange(start, v.end, true, &garbage);
  }
  MergeVmas(0, range_.max, &garbage);
  return {};
}

}  // namespace sentry
