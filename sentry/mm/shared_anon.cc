#include "sentry/mm/shared_anon.h"

#include <algorithm>

namespace sentry {

base::Result<base::Ref<SharedAnon>> SharedAnon::Create(uint64_t len) {
  auto file = TRY(MemoryFile::Create(len, false));
  return base::MakeRef<SharedAnon>(std::move(file), len);
}

base::Result<Mappable::Extent> SharedAnon::Translate(uint64_t offset, uint64_t len, bool write) {
  if (offset >= len_) return abi::Errno::kEINVAL;
  return Extent{file_, offset, std::min(len, len_ - offset)};
}

base::Result<void> SharedAnon::Punch(uint64_t offset, uint64_t len) {
  if (offset >= len_) return {};
  file_->Free(offset, std::min(len, len_ - offset));
  return {};
}

}  // namespace sentry
