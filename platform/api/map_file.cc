#include <atomic>

#include "platform/api/platform.h"

namespace platform {

uint64_t MapFile::NextId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace platform
