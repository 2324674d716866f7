// The slots of an address space (layout.h): a file that the sentry and the guest map.
#pragma once

#include <cstdint>

#include "platform/api/platform.h"
#include "platform/stub/layout.h"

namespace platform::stub {

class Slots {
 public:
  Slots() = default;
  Slots(Slots&& o) noexcept { *this = std::move(o); }
  Slots& operator=(Slots&& o) noexcept;
  ~Slots();
  // Makes the file, with the process page and the first slot. 0 or -errno.
  long Make();
  // Memory for a slot, and what never changes in it. False: there is none.
  bool Add(uint32_t slot);

  bool made() const { return base_ != nullptr; }
  const base::Ref<MapFile>& file() const { return file_; }
  ProcessPage& process_page() const { return *reinterpret_cast<ProcessPage*>(base_); }
  Channel* channel(uint32_t slot) const {
    return reinterpret_cast<Channel*>(base_ + slot * kSlotSize);
  }

 private:
  uint8_t* base_ = nullptr;
  base::Ref<MapFile> file_;
};

// Where a slot has the first signal frame, as the host's kernel would put it, and its extended
// state: offsets.
uint64_t InitialFrame();
uint64_t InitialFp();

}  // namespace platform::stub
