// The engines' round trip: a guest thread that makes a null call, and a caller that answers it.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cstring>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/ptrace/ptrace.h"
#include "platform/systrap/systrap.h"
#include "tests/bench/guest.h"

namespace bench {
namespace {

constexpr uint64_t kCode = 0x400000, kPage = 4096;

GUEST_CODE(null_call, R"(
1:
  mov $39, %eax
  syscall
  jmp 1b
)");

void RoundTrip(
    benchmark::State& state,
    base::StatusOr<std::unique_ptr<platform::Platform>> (*create)(const platform::Options&),
    bool patch) {
  auto platform = create({.patch = patch});
  CHECK(platform.ok());
  {
    base::UniqueFd fd(static_cast<int>(host::CreateMemoryFile()));
    CHECK(host::Ftruncate(fd.get(), kPage) == 0);
    CHECK(host::Pwrite(fd.get(), null_call.data(), null_call.size(), 0) ==
          static_cast<long>(null_call.size()));
    auto file = base::MakeRef<platform::MapFile>(std::move(fd), true);
    auto space = platform.value()->NewAddressSpace();
    CHECK(space.ok());
    (*space)->Map(kCode, kPage, file, 0, platform::kProtRead | platform::kProtExec);
    platform::Regs regs{};
    regs.rip = kCode;
    auto thread = (*space)->NewThread(nullptr, regs, {});
    CHECK(thread.ok());
    for (auto _ : state) {
      CHECK((*thread)->Run().kind == platform::Stop::Kind::kSyscall);
      (*thread)->SetReturn(0);
    }
  }
  platform.value()->Shutdown();
}

BENCHMARK_CAPTURE(RoundTrip, systrap, platform::systrap::Create, true)->UseRealTime();
BENCHMARK_CAPTURE(RoundTrip, systrap_no_patch, platform::systrap::Create, false)->UseRealTime();
BENCHMARK_CAPTURE(RoundTrip, ptrace, platform::ptrace::Create, false)->UseRealTime();

}  // namespace
}  // namespace bench
