// Shared anonymous memory: what mmap(MAP_SHARED | MAP_ANONYMOUS) maps, kept shared across fork.
#pragma once

#include "sentry/memory/memory_file.h"
#include "sentry/mm/mappable.h"

namespace sentry {

class SharedAnon : public Mappable {
 public:
  // len: page multiple. ENOMEM.
  static base::Result<base::Ref<SharedAnon>> Create(uint64_t len);
  base::Result<Extent> Translate(uint64_t offset, uint64_t len, bool write) override;
  uint64_t size() override { return len_; }
  base::Result<void> Punch(uint64_t offset, uint64_t len) override;

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  SharedAnon(base::Ref<MemoryFile> file, uint64_t len) : file_(std::move(file)), len_(len) {}
  const base::Ref<MemoryFile> file_;
  const uint64_t len_;
};

}  // namespace sentry
