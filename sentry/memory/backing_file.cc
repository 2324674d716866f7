#include "sentry/memory/backing_file.h"

#include "platform/host/host.h"

namespace sentry {

// Address space is plentiful, host mappings are not: windows are large, and untouched parts of them
// cost nothing.
constexpr uint64_t kWindow = 64 << 20;

BackingFile::BackingFile(base::UniqueFd fd, bool writable, bool stable)
    : map_file_(base::MakeRef<platform::MapFile>(std::move(fd), stable)), writable_(writable) {}

BackingFile::~BackingFile() {
  base::MutexLock lock(mu_);
  for (auto& [index, p] : windows_) host::Munmap(p, kWindow);
}

uint8_t* BackingFile::Window(uint64_t offset, uint64_t* len) {
  uint64_t index = offset / kWindow;
  uint64_t at = offset % kWindow;
  if (*len > kWindow - at) *len = kWindow - at;
  base::MutexLock lock(mu_);
  auto it = windows_.find(index);
  if (it == windows_.end()) {
    long p = host::Mmap(nullptr, kWindow, PROT_READ | (writable_ ? PROT_WRITE : 0), MAP_SHARED,
                        map_file_->fd(), static_cast<int64_t>(index * kWindow));
    if (host::IsError(p)) return nullptr;
    it = windows_.emplace(index, reinterpret_cast<uint8_t*>(p)).first;
  }
  return it->second + at;
}

}  // namespace sentry
