// What a guest thread that is at a patched site, in a thunk or in the stub is to the guest. For the
// stub's signal handler, and for the sentry where guests have none. Freestanding.
//
// Read: bool(uint64_t from, void* to, uint64_t n), of the guest's memory at patched code, table and
// thunks. False: there is none.
#pragma once

#include "platform/stub/layout.h"

namespace platform::stub {

constexpr uint64_t kArithmeticFlags = 0x8d5;  // OF SF ZF AF PF CF

constexpr bool InThunks(uint64_t rip) {
  return rip >= kThunks && rip < kThunks + kMaxThunks * kThunkSize;
}
// What is done here is a part of one instruction to the guest.
constexpr bool InStub(uint64_t rip) {
  return InThunks(rip) || (rip >= kText && rip < kText + kTextSize);
}

// eflags with the arithmetic flags as SETO and LAHF gave them (LightFrame::flags).
constexpr uint64_t WithArithmetic(uint64_t eflags, uint64_t flags) {
  return (eflags & ~kArithmeticFlags) | (flags >> 8 & 0xd5) | (flags & 1) << 11;
}

// The entry could not go on (Places::slow): the registers become what it found, behind the call.
template <typename Registers>
void AsAtSite(Registers* r) {
  r->eflags = WithArithmetic(r->eflags, r->r11 >> 32);
  r->rax = static_cast<uint32_t>(r->r11);
  r->rip = r->rcx;
  r->r11 = r->eflags;
}

// Where a guest goes on for which the instruction at rip is illegal, if that is inside the jump at
// a patched site: somebody jumped to, or returned from an interruption at, an instruction that the
// jump replaced. It goes on with that instruction's copy. 0: it is the guest's.
template <typename Read>
uint64_t CopyOf(uint64_t rip, Read read) {
  const uint64_t page = rip & ~uint64_t{4095};
  for (uint64_t at = rip - 1; at + 6 >= rip && at >= page && at != 0; at--) {
    uint8_t b[7];
    // jmp *0x6xxxx; sites don't cross pages.
    if (at + sizeof b > page + 4096) continue;
    if (!read(at, b, sizeof b)) return 0;
    if (b[0] != 0xff || b[1] != 0x24 || b[2] != 0x25 || b[5] != 0x06 || b[6] != 0) continue;
    const uint64_t entry = kTable + (b[3] | uint64_t{b[4]} << 8);
    uint64_t thunk;
    ThunkInfo info;
    if (entry > kTable + kTableSize - sizeof thunk || !read(entry, &thunk, sizeof thunk) ||
        !InThunks(thunk) || thunk % kThunkSize != 0 ||
        !read(thunk + kThunkInfo, &info, sizeof info))
      continue;
    const uint64_t n = rip - (at - info.jump);
    if (n < 16 && (info.boundaries >> n & 1)) return thunk + n;
  }
  return 0;
}

// The instruction at the site that rip in a thunk is a copy of; what isn't in a thunk is itself.
template <typename Read>
uint64_t SiteOf(uint64_t rip, const ProcessPage& process, Read read) {
  const uint64_t n = rip % kThunkSize;
  ThunkInfo info;
  if (!InThunks(rip) || n >= kThunkInfo || !read(rip - n + kThunkInfo, &info, sizeof info))
    return rip;
  return __atomic_load_n(&process.base[info.image % kMaxImages], __ATOMIC_RELAXED) + info.site + n;
}

}  // namespace platform::stub
