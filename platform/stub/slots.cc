#include "platform/stub/slots.h"

#include <errno.h>

#include <utility>

#include "platform/host/host.h"
#include "platform/stub/fp_state.h"

namespace platform::stub {

uint64_t InitialFp() { return (kSlotSize - GetFpLayout().size) & ~uint64_t{63}; }

uint64_t InitialFrame() {
  // get_sigframe() and align_sigframe() in arch/x86/kernel/signal.c: the return address lies 8
  // bytes before the ucontext.
  return ((InitialFp() - 8 - sizeof(UContext) - kSiginfoSize) & ~uint64_t{15}) - 8 + 8;
}

Slots& Slots::operator=(Slots&& o) noexcept {
  std::swap(base_, o.base_);
  std::swap(file_, o.file_);
  return *this;
}

Slots::~Slots() {
  if (base_ != nullptr) host::Munmap(base_, kSlotsRange);
}

long Slots::Make() {
  long r = host::CreateMemoryFile();
  if (r < 0) return r;
  file_ = base::MakeRef<MapFile>(base::UniqueFd(static_cast<int>(r)));
  r = host::Mmap(nullptr, kSlotsRange, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                 file_->fd(), 0);
  if (host::IsError(r)) return r;
  base_ = reinterpret_cast<uint8_t*>(r);
  if (host::Fallocate(file_->fd(), 0, 0, sizeof(ProcessPage)) != 0 || !Add(kFirstSlot))
    return -ENOMEM;
  return 0;
}

bool Slots::Add(uint32_t slot) {
  // What the sentry writes must have memory behind it: a full tmpfs is an error here, not a fault
  // later.
  int64_t at = slot * static_cast<int64_t>(kSlotSize);
  int64_t frame = static_cast<int64_t>(InitialFrame() & ~uint64_t{4095});
  if (host::Fallocate(file_->fd(), 0, at, 4096) != 0 ||
      host::Fallocate(file_->fd(), 0, at + frame, static_cast<int64_t>(kSlotSize) - frame) != 0)
    return false;
  uint64_t guest = kSlots + slot * kSlotSize;
  Channel* c = channel(slot);
  // Below what the kernel's signal frame would cover, which kFull uses.
  c->stack = (guest + InitialFrame() - 1024) & ~uint64_t{15};
  c->own_fp = guest + InitialFp();
  c->fp_mask = GetFpLayout().features;
  c->fp_size = GetFpLayout().size;
  c->xsave_size = GetFpLayout().xstate_size;
  return true;
}

}  // namespace platform::stub
