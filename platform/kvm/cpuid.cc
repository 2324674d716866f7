#include "platform/kvm/cpuid.h"

#include <algorithm>

namespace platform::kvm {
namespace {

constexpr uint32_t kBasic = 1, kStructured = 7, kExtendedState = 0xd, kTile = 0x1d, kTmul = 0x1e,
                   kHypervisor = 0x40000000, kExtended = 0x80000000, kAddresses = 0x80000008;
// Leaf 1: ecx.
constexpr uint32_t kXsave = 1 << 26;
// Leaf 7, 0: ebx; ecx; edx.
constexpr uint32_t kFsgsbase = 1 << 0, kSmep = 1 << 7, kSmap = 1 << 20;
constexpr uint32_t kPku = 1 << 3, kOspke = 1 << 4;
constexpr uint32_t kAmx = 1 << 22 | 1 << 24 | 1 << 25;  // BF16, TILE, INT8
// Components: x87 and SSE, which are always there, AVX, AVX-512's three. Not protection keys, which
// are a part of the address space, too, nor AMX's tiles, which a process has to be granted.
constexpr uint64_t kLegacy = 3, kKept = kLegacy | 1 << 2 | 7 << 5;
constexpr uint32_t kFirstComponent = 2;
// The legacy area and the header.
constexpr uint32_t kSmallest = 576, kLegacySize = 512;

bool HasComponent(uint64_t xcr0, uint32_t index) { return index < 64 && (xcr0 >> index & 1) != 0; }

bool Hidden(const kvm_cpuid_entry2& e, uint64_t xcr0) {
  switch (e.function) {
    case kTile:
    case kTmul:
      return true;
    case kExtendedState:
      return e.index >= kFirstComponent && !HasComponent(xcr0, e.index);
    default:
      return e.function >= kHypervisor && e.function < kExtended;
  }
}

}  // namespace

Processor Restrict(std::vector<kvm_cpuid_entry2>& entries, uint64_t features) {
  Processor p;
  bool xsave = false;
  for (kvm_cpuid_entry2& e : entries) {
    if (e.function == kBasic) xsave = (e.ecx & kXsave) != 0;
    if (e.function == kStructured && e.index == 0) {
      p.fsgsbase = (e.ebx & kFsgsbase) != 0;
      p.smep = (e.ebx & kSmep) != 0;
      p.smap = (e.ebx & kSmap) != 0;
      e.ecx &= ~(kPku | kOspke);
      e.edx &= ~kAmx;
    }
    if (e.function == kExtendedState && e.index == 0)
      p.xcr0 = e.eax | static_cast<uint64_t>(e.edx) << 32;
    if (e.function == kAddresses) p.physical_bits = e.eax & 0xff;
  }
  p.xcr0 = xsave ? (p.xcr0 & features & kKept) | kLegacy : 0;
  std::erase_if(entries, [&](const kvm_cpuid_entry2& e) { return Hidden(e, p.xcr0); });
  p.xsave_size = xsave ? kSmallest : kLegacySize;
  for (const kvm_cpuid_entry2& e : entries) {
    if (e.function == kExtendedState && e.index >= kFirstComponent)
      p.xsave_size = std::max(p.xsave_size, e.ebx + e.eax);
  }
  for (kvm_cpuid_entry2& e : entries) {
    if (e.function != kExtendedState) continue;
    if (e.index == 0) {
      e.eax = static_cast<uint32_t>(p.xcr0);
      e.ecx = p.xsave_size;
      e.edx = static_cast<uint32_t>(p.xcr0 >> 32);
    } else if (e.index == 1) {
      e.ecx = e.edx = 0;  // components that only a kernel saves
    }
  }
  return p;
}

}  // namespace platform::kvm
