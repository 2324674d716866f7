// MemoryFile: anonymous guest memory of one address space at a time (design: a layer). Sparse;
// ranges are handed out by offset and punched out when freed, so that stale mappings see zeros.
// After fork it is frozen: both sides map it through a read-only descriptor and write into files of
// their own.
#pragma once

#include <atomic>

#include "sentry/memory/backing_file.h"

namespace sentry {

class MemoryFile : public BackingFile {
 public:
  static constexpr uint64_t kDefaultCapacity = uint64_t{1} << 40;
  static constexpr uint64_t kNoSpace = UINT64_MAX;

  // A new empty file on the sandbox's private tmpfs (platform/host: host::CreateMemoryFile).
  // capacity: bytes of offsets (not of memory), a page multiple. layered: read_only() will be
  // asked for. ENOMEM.
  static base::Result<base::Ref<MemoryFile>> Create(uint64_t capacity = kDefaultCapacity,
                                                    bool layered = true);

  // A zero-filled range of len bytes (page multiple), below all earlier ones, and right below the
  // latest one unless huge pages ask for a gap: Linux places mappings downwards too, so that
  // neighbours in the address space are neighbours here and the host merges them. addr: where it
  // will be mapped. kNoSpace when the offsets are used up. An offset is never handed out twice.
  uint64_t Allocate(uint64_t len, uint64_t addr = 0);
  // Gives the host its memory back; the range reads as zeros from now on, in every mapping.
  void Free(uint64_t offset, uint64_t len);
  // A read-only descriptor of the same file; null unless it was created layered.
  base::Ref<platform::MapFile> read_only() const override { return read_only_; }
  uint64_t capacity() const { return capacity_; }

  // The first present byte (SEEK_DATA) in [offset, end), or end; and the first hole.
  uint64_t NextData(uint64_t offset, uint64_t end) const;
  uint64_t NextHole(uint64_t offset, uint64_t end) const;

  // How many address spaces map parts of it: a frozen file with one is that one's own again.
  std::atomic<uint32_t> spaces{0};

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  MemoryFile(base::UniqueFd fd, base::UniqueFd read_only, uint64_t capacity);
  const uint64_t capacity_;
  const base::Ref<platform::MapFile> read_only_;
  base::Mutex<base::LockClass::kMemoryFile> alloc_mu_;
  uint64_t next_ GUARDED_BY(alloc_mu_);
};

}  // namespace sentry
