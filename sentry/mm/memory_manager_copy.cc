// Copies between the sentry and guest memory.

#include <algorithm>

#include "platform/host/host.h"
#include "platform/host/safe_copy.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/mm/scarcity.h"

namespace sentry {

using platform::kProtWrite;

// Copies of more than this do not hold the lock while the bytes move.
constexpr uint64_t kLockedCopy = 16 << 10;

uint8_t* MemoryManager::Translate(uint64_t addr, uint64_t* len, bool write, bool force,
                                  BackingFile** file, Garbage* g) {
  Window& w = windows_[(addr >> 14) % windows_.size()];
  if (w.generation == generation_ && addr >= w.start && addr < w.end && (write ? w.write : w.read))
      [[likely]] {
    *len = std::min(*len, w.end - addr);
    *file = w.file;
    return w.p + (addr - w.start);
  }
  if (addr < range_.min || addr >= range_.max) return nullptr;
  Vma* v = VmaAt(addr);
  if (!v) return nullptr;
  bool allowed = write ? (v->prot & kProtWrite) != 0 : v->prot != 0;
  if (!allowed) {
    // FOLL_FORCE: a private mapping may be written through a copy (check_vma_flags() in mm/gup.c).
    if (!force) return nullptr;
    if (write && v->shared) return nullptr;
    if (write && !(v->max_prot & kProtWrite)) return nullptr;
    if (!write && !(v->max_prot & platform::kProtRead)) return nullptr;
  }
  FaultError err;
  if (!Populate(*v, PageDown(addr), write, &err, g)) return nullptr;
  auto it = FindPma(addr);
  if (it == pmas_.end() || it->first > addr) return nullptr;
  if (it->second.pristine) {
    SplitPma(v->start);
    SplitPma(v->end);
    it = FindPma(addr);
    if (write) it->second.pristine = false;
  }
  uint64_t low = std::max(it->first, v->start), high = std::min(it->second.end, v->end);
  // The whole window around the address, for the next copies.
  uint64_t offset = it->second.offset + (addr - it->first);
  uint64_t room = high - addr;
  uint8_t* p = it->second.file->Window(offset, &room);
  if (!p) return nullptr;
  constexpr uint64_t kBorder = 64 << 20;
  uint64_t before = std::min(addr - low, offset % kBorder);
  w.start = addr - before;
  w.end = addr + room;
  w.p = p - before;
  w.file = it->second.file.get();
  w.generation = generation_;
  w.read = v->prot != 0;
  w.write = (v->prot & kProtWrite) && !it->second.cow() && it->second.file->writable();
  *len = std::min(*len, room);
  *file = w.file;
  return p;
}

// The host delivers SIGBUS for a page that it has no memory for.
static void NoteScarcity() {
  constexpr uint64_t kPage = 4096;
  if (host::MemoryExhausted(kPage)) copy_lacked_memory = true;
}

// f(pointer, bytes, position): how many moved.
template <typename F>
size_t MemoryManager::Each(uint64_t addr, size_t n, bool write, bool force, F&& f) {
  Garbage garbage;
  size_t done = 0;
  while (done < n) {
    base::Ref<BackingFile> pin;
    uint8_t* p;
    uint64_t len = n - done;
    {
      base::MutexLock lock(mu_);
      BackingFile* file = nullptr;
      p = Translate(addr + done, &len, write, force, &file, &garbage);
      if (!p) return done;
      if (len <= kLockedCopy) {
        size_t moved = f(p, len, done);
        done += moved;
        if (moved == len) continue;
        NoteScarcity();
        return done;
      }
      pin = base::Ref<BackingFile>(file);
    }
    size_t moved = f(p, len, done);
    done += moved;
    if (moved == len) continue;
    NoteScarcity();
    return done;
  }
  return done;
}

size_t MemoryManager::CopyInPartial(void* dst, UserAddr src, size_t n) {
  return Each(src.value, n, false, false, [&](uint8_t* p, size_t len, size_t done) {
    return host::SafeCopy(static_cast<uint8_t*>(dst) + done, p, len);
  });
}

size_t MemoryManager::CopyOutPartial(UserAddr dst, const void* src, size_t n) {
  return Each(dst.value, n, true, false, [&](uint8_t* p, size_t len, size_t done) {
    return host::SafeCopy(p, static_cast<const uint8_t*>(src) + done, len);
  });
}

size_t MemoryManager::ZeroPartial(UserAddr dst, size_t n) {
  return Each(dst.value, n, true, false,
              [&](uint8_t* p, size_t len, size_t) { return host::SafeZero(p, len); });
}

size_t MemoryManager::CopyForced(UserAddr addr, void* buf, size_t n, bool write) {
  return Each(addr.value, n, write, true, [&](uint8_t* p, size_t len, size_t done) {
    uint8_t* mine = static_cast<uint8_t*>(buf) + done;
    return write ? host::SafeCopy(p, mine, len) : host::SafeCopy(mine, p, len);
  });
}

size_t MemoryManager::Blocks(UserAddr addr, size_t n, bool write, HostIov* out, size_t max,
                             std::vector<base::Ref<base::RefCounted>>* pins) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  size_t done = 0, count = 0;
  while (done < n && count < max) {
    uint64_t len = n - done;
    BackingFile* file = nullptr;
    uint8_t* p = Translate(addr.value + done, &len, write, false, &file, &garbage);
    if (!p) break;
    if (count != 0 && static_cast<uint8_t*>(out[count - 1].base) + out[count - 1].len == p) {
      out[count - 1].len += len;
    } else {
      out[count++] = {p, len};
    }
    if (pins->empty() || pins->back().get() != file) {
      pins->push_back(base::Ref<base::RefCounted>(file));
    }
    done += len;
  }
  return count;
}

base::Result<uint32_t> MemoryManager::Load32(UserAddr addr) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  uint64_t len = 4;
  BackingFile* file;
  uint8_t* p = Translate(addr.value, &len, false, false, &file, &garbage);
  uint32_t value;
  if (!p || addr.value % 4 != 0 || !host::SafeLoad32(p, &value)) return abi::Errno::kEFAULT;
  return value;
}

base::Result<void> MemoryManager::Store32(UserAddr addr, uint32_t value) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  uint64_t len = 4;
  BackingFile* file;
  uint8_t* p = Translate(addr.value, &len, true, false, &file, &garbage);
  if (!p || addr.value % 4 != 0 || !host::SafeStore32(p, value)) return abi::Errno::kEFAULT;
  return {};
}

base::Result<uint32_t> MemoryManager::CompareExchange32(UserAddr addr, uint32_t expected,
                                                        uint32_t desired) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  uint64_t len = 4;
  BackingFile* file;
  uint8_t* p = Translate(addr.value, &len, true, false, &file, &garbage);
  uint32_t old;
  if (!p || addr.value % 4 != 0 || !host::SafeCas32(p, expected, desired, &old)) {
    return abi::Errno::kEFAULT;
  }
  return old;
}

base::Result<MemoryManager::FutexKey> MemoryManager::SharedFutexKey(UserAddr addr) {
  Garbage garbage;
  base::MutexLock lock(mu_);
  Vma* v = VmaAt(addr.value);
  if (!v || v->prot == 0) return abi::Errno::kEFAULT;
  FutexKey key;
  if (v->shared) {
    key.object = base::Ref<base::RefCounted>(v->mappable.get());
    key.offset = v->offset + (addr.value - v->start);
  } else {
    key.object = base::Ref<base::RefCounted>(this);
    key.offset = addr.value;
  }
  return key;
}

}  // namespace sentry
