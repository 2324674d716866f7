// Processes: fork, exit and wait; bytes handed through pipes; futex wake-ups between threads. Each
// figure is one round.
#include <benchmark/benchmark.h>

#include "tests/bench/guest.h"

namespace bench {
namespace {

GUEST_CODE(fork_loop, R"(
1:
  mov $57, %eax   # fork
  syscall
  test %eax, %eax
  jz 2f
  mov $-1, %rdi
  xor %esi, %esi
  xor %edx, %edx
  xor %r10d, %r10d
  mov $61, %eax   # wait4
  syscall
  dec %rbx
  jnz 1b
2:
  xor %edi, %edi
  mov $231, %eax  # exit_group
  syscall
)");

void ForkExitWait(benchmark::State& state) {
  while (state.KeepRunningBatch(500)) RunGuest(fork_loop, 500);
}
BENCHMARK(ForkExitWait)->UseRealTime();

// Descriptors 0 and 1 lead to the child, 2 and 3 back.
GUEST_CODE(pipe_loop, R"(
  mov $0x10000000, %edi
  mov $22, %eax   # pipe
  syscall
  mov $0x10000008, %edi
  mov $22, %eax
  syscall
  mov $57, %eax   # fork
  syscall
  mov $0x10000010, %esi
  mov $1, %edx
  test %eax, %eax
  jz 2f
1:
  mov $1, %edi
  mov $1, %eax    # write
  syscall
  mov $2, %edi
  xor %eax, %eax  # read
  syscall
  dec %rbx
  jnz 1b
  jmp 3f
2:
  xor %edi, %edi
  xor %eax, %eax
  syscall
  mov $3, %edi
  mov $1, %eax
  syscall
  dec %rbx
  jnz 2b
3:
  xor %edi, %edi
  mov $231, %eax  # exit_group
  syscall
)");

void PipeThereAndBack(benchmark::State& state) {
  while (state.KeepRunningBatch(5000)) RunGuest(pipe_loop, 5000);
}
BENCHMARK(PipeThereAndBack)->UseRealTime();

// Whose number (r12) stands in the word may go on, and writes the other's (r13).
GUEST_CODE(futex_loop, R"(
  xor %r12d, %r12d
  mov $1, %r13d
  mov $0x50f00, %edi     # CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM
  mov $0x10080000, %esi
  xor %edx, %edx
  xor %r10d, %r10d
  xor %r8d, %r8d
  mov $56, %eax          # clone
  syscall
  test %eax, %eax
  jnz 1f
  xchg %r12d, %r13d
1:
  mov 0x10000000, %eax
  cmp %r12d, %eax
  je 2f
  mov $0x10000000, %edi
  mov $128, %esi         # FUTEX_WAIT_PRIVATE
  mov %r13d, %edx
  xor %r10d, %r10d
  mov $202, %eax         # futex
  syscall
  jmp 1b
2:
  mov %r13d, 0x10000000
  mov $0x10000000, %edi
  mov $129, %esi         # FUTEX_WAKE_PRIVATE
  mov $1, %edx
  mov $202, %eax
  syscall
  dec %rbx
  jnz 1b
  xor %edi, %edi
  mov $60, %eax          # exit
  syscall
)");

void FutexThereAndBack(benchmark::State& state) {
  while (state.KeepRunningBatch(5000)) RunGuest(futex_loop, 5000);
}
BENCHMARK(FutexThereAndBack)->UseRealTime();

}  // namespace
}  // namespace bench
