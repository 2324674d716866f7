// Guests for benchmarks: a few machine instructions that run as process 1 of a sandbox of their
// own, on systrap, with the real kernel and table of system calls; only the jail is missing.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "sentry/kernel/task.h"

// Position-independent code, up to a page, as the span `name`.
#define GUEST_CODE(name, code)                                                               \
  extern "C" const uint8_t bench_##name##_begin[], bench_##name##_end[];                     \
  __asm__(".pushsection .rodata\n.balign 16\nbench_" #name "_begin:\n" code "\nbench_" #name \
          "_end:\n.popsection");                                                             \
  static const std::span<const uint8_t> name(bench_##name##_begin, bench_##name##_end)

namespace bench {

// A megabyte of zeroes; the stack grows down from its end.
constexpr uint64_t kData = 0x10000000;

// Runs the code with rbx == count until it exits; a status other than 0 ends the benchmark program.
void RunGuest(std::span<const uint8_t> code, uint64_t count);

// Calls f as the handler of a system call, on the guest's thread, with the memory of kData.
void RunInTask(const std::function<void(sentry::Task&)>& f);

}  // namespace bench
