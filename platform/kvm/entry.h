// Ring 0 of the virtual machine.
#pragma once

#include <cstdint>
#include <span>

namespace platform::kvm {

// The text page's contents: position-independent, with the vCPU's area two pages behind its start.
std::span<const uint8_t> EntryCode();

}  // namespace platform::kvm
