// MemoryFile: anonymous guest memory of one address space at a time (design: a layer). Sparse;
// ranges are handed out by offset and punched out when freed, so that stale mappings see zeros.
// After fork it is frozen: both sides map it through a read-only descriptor and write into files of
// their own.
#pragma once

#include "sentry/memory/backing_file.h"

namespace sentry {

class MemoryFile : public BackingFile {
 public:
  // A new empty file on the sandbox's private tmpfs (platform/host: host::CreateMemoryFile).
  // ENOMEM.
  static base::Result<base::Ref<MemoryFile>> Create();
  ~MemoryFile() override;

  // A zero-filled range of len bytes (page multiple); never reuses an offset that may still be
  // mapped.
  uint64_t Allocate(uint64_t len);
  void Free(uint64_t offset, uint64_t len);
  // A read-only descriptor of the same file, opened at the first call; nullptr when the host
  // refuses.
  base::Ref<platform::MapFile> read_only();
  uint64_t allocated() const;

 private:
  MemoryFile(base::UniqueFd fd, uint64_t name);
  const uint64_t name_;
  mutable base::Mutex<base::LockClass::kMemoryFile> alloc_mu_;
  uint64_t next_ GUARDED_BY(alloc_mu_) = 0;
  uint64_t freed_ GUARDED_BY(alloc_mu_) = 0;
  base::Ref<platform::MapFile> read_only_ GUARDED_BY(alloc_mu_);
};

}  // namespace sentry
