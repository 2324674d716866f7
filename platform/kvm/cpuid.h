// What guests learn of the processor.
#pragma once

#include <cstdint>
#include <vector>

#include "platform/host/kvm_abi.h"

namespace platform::kvm {

// What the engine itself has to know of it.
struct Processor {
  bool fsgsbase = false, smep = false, smap = false;
  uint64_t xcr0 = 0;        // components of the extended state that guests get; 0: no XSAVE
  uint32_t xsave_size = 0;  // bytes of their state in XSAVE's standard format
  uint32_t physical_bits = 36;
};

// entries: CPUID as the host's kvm can show it to guests. Takes from them what the engine can't
// keep for a guest thread: protection keys, AMX, and whatever else of the extended state isn't
// known here or isn't in `features` (XCR0's bits); and what hypervisors offer to kernels.
Processor Restrict(std::vector<kvm_cpuid_entry2>& entries, uint64_t features);

}  // namespace platform::kvm
