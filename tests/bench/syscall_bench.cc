// System calls: the table and its thunks alone, and the whole way of a call from the guest and
// back.
#include <benchmark/benchmark.h>

#include "syscalls/linux/dispatch.h"
#include "tests/bench/guest.h"

namespace bench {
namespace {

void DispatchGetpid(benchmark::State& state) {
  RunInTask([&](sentry::Task& task) {
    const sentry::SyscallTable& table = syscalls::LinuxTable();
    sentry::SyscallArgs args{39, {}};
    for (auto _ : state) {
      benchmark::DoNotOptimize(args);
      benchmark::DoNotOptimize(table.fn[args.nr](task, args));
    }
  });
}
BENCHMARK(DispatchGetpid);

void DispatchClockGettime(benchmark::State& state) {
  RunInTask([&](sentry::Task& task) {
    const sentry::SyscallTable& table = syscalls::LinuxTable();
    sentry::SyscallArgs args{228, {1, kData}};
    for (auto _ : state) benchmark::DoNotOptimize(table.fn[args.nr](task, args));
  });
}
BENCHMARK(DispatchClockGettime);

GUEST_CODE(getpid_loop, R"(
1:
  mov $39, %eax
  syscall
  dec %rbx
  jnz 1b
  xor %edi, %edi
  mov $231, %eax  # exit_group
  syscall
)");

void GuestGetpid(benchmark::State& state) {
  while (state.KeepRunningBatch(20000)) RunGuest(getpid_loop, 20000);
}
BENCHMARK(GuestGetpid)->UseRealTime();

}  // namespace
}  // namespace bench
