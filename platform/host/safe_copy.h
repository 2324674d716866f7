// Access to memory that may fault at any time: guest memory mapped into the sentry, files that
// somebody truncates. A fault inside these functions is an outcome; a fault anywhere else is a
// broken invariant: a report on the log, then the default action.
#pragma once

#include <cstddef>
#include <cstdint>

namespace host {

// Installs the SIGSEGV and SIGBUS handlers. Once per process, before the first use of anything
// below.
void InstallFaultHandler();

// Copies forward; the number of bytes copied before a fault (n if none). Aligned accesses of 8
// bytes or less are single moves.
size_t SafeCopy(void* dst, const void* src, size_t n);
// Zeroes; the number of bytes before a fault.
size_t SafeZero(void* dst, size_t n);

// Atomics on a naturally aligned word; false: fault (nothing else changed).
bool SafeLoad32(const void* addr, uint32_t* value);
bool SafeStore32(void* addr, uint32_t value);
bool SafeSwap32(void* addr, uint32_t value, uint32_t* old);
// *old receives what was there; the exchange took place if *old == expected.
bool SafeCas32(void* addr, uint32_t expected, uint32_t desired, uint32_t* old);

}  // namespace host
