#include "sentry/memory/memory_file.h"

#include "platform/host/host.h"

namespace sentry {

constexpr uint64_t kHugePage = 2 << 20;

base::Result<base::Ref<MemoryFile>> MemoryFile::Create(uint64_t capacity, bool layered) {
  base::UniqueFd read_only;
  long fd = host::CreateMemoryFile(layered ? &read_only : nullptr);
  if (fd < 0) return abi::Errno::kENOMEM;
  base::UniqueFd owned(static_cast<int>(fd));
  if (host::Ftruncate(owned.get(), static_cast<int64_t>(capacity)) < 0) return abi::Errno::kENOMEM;
  return base::MakeRef<MemoryFile>(std::move(owned), std::move(read_only), capacity);
}

MemoryFile::MemoryFile(base::UniqueFd fd, base::UniqueFd read_only, uint64_t capacity)
    : BackingFile(std::move(fd), true),
      capacity_(capacity),
      read_only_(read_only ? base::MakeRef<platform::MapFile>(std::move(read_only))
                           : base::Ref<platform::MapFile>()),
      next_(capacity) {}

uint64_t MemoryFile::Allocate(uint64_t len, uint64_t addr) {
  base::MutexLock lock(alloc_mu_);
  if (len == 0 || len > next_) return kNoSpace;
  uint64_t offset = next_ - len;
  if (len >= kHugePage) {
    // A huge page needs address and offset to agree.
    uint64_t excess = (offset - addr) % kHugePage;
    if (excess <= offset) offset -= excess;
  }
  next_ = offset;
  return offset;
}

void MemoryFile::Free(uint64_t offset, uint64_t len) {
  host::PunchHole(fd(), static_cast<int64_t>(offset), static_cast<int64_t>(len));
}

uint64_t MemoryFile::NextData(uint64_t offset, uint64_t end) const {
  long r = host::Lseek(fd(), static_cast<int64_t>(offset), SEEK_DATA);
  return r < 0 || static_cast<uint64_t>(r) > end ? end : static_cast<uint64_t>(r);
}

uint64_t MemoryFile::NextHole(uint64_t offset, uint64_t end) const {
  long r = host::Lseek(fd(), static_cast<int64_t>(offset), SEEK_HOLE);
  return r < 0 || static_cast<uint64_t>(r) > end ? end : static_cast<uint64_t>(r);
}

}  // namespace sentry
