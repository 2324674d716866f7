// Extended processor state in the signal frame's layout, as this host's kernel writes it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace platform::stub {

// What the host's kernel uses; learnt once per process from a signal frame.
struct FpLayout {
  uint32_t size;         // FpState bytes, FP_XSTATE_MAGIC2 included
  uint32_t xstate_size;  // without it
  uint64_t features;     // XSAVE components that a guest may have
  uint32_t mxcsr_mask;
  std::vector<uint8_t> initial;  // the initial state
};
// Raises a signal in the calling thread at the first call: before other threads run.
const FpLayout& GetFpLayout();

// The layout of a processor that has only these components (XCR0's bits; 0: no XSAVE), which take
// xstate_size bytes.
FpLayout Restrict(const FpLayout& layout, uint64_t features, uint32_t xstate_size);

// Writes fp (empty: the initial state; a bare FXSAVE area: with the rest initial) to out, which has
// layout.size bytes. False if the rt_sigreturn of a kernel that has the layout would refuse it.
bool NormaliseFp(const FpLayout& layout, std::span<const uint8_t> fp, uint8_t* out);

}  // namespace platform::stub
