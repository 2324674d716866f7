#include "platform/stub/blob.h"

__asm__(
    ".pushsection .rodata\n"
    ".balign 64\n"
    ".hidden moat_stub_begin\n"
    ".hidden moat_stub_end\n"
    "moat_stub_begin: .incbin \"" MOAT_STUB_BIN
    "\"\n"
    "moat_stub_end:\n"
    ".popsection\n");

extern "C" {
extern const uint8_t moat_stub_begin[] __attribute__((visibility("hidden")));
extern const uint8_t moat_stub_end[] __attribute__((visibility("hidden")));
}

namespace platform::stub {
std::span<const uint8_t> Blob() { return {moat_stub_begin, moat_stub_end}; }
}  // namespace platform::stub
