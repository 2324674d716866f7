// A guest's memory: mappings, faults, copies. The engine is a fake one that does nothing, so only
// the sentry's own work counts.
#include <benchmark/benchmark.h>

#include <vector>

#include "platform/base/log.h"
#include "sentry/mm/memory_manager.h"
#include "tests/bench/guest.h"

namespace bench {
namespace {

using sentry::kPageSize;
using sentry::MemoryManager;
using sentry::MmapArgs;
using sentry::UserAddr;

constexpr uint8_t kRw = platform::kProtRead | platform::kProtWrite;

class NoAddressSpace : public platform::AddressSpace {
 public:
  void Map(uint64_t, uint64_t, const base::Ref<platform::MapFile>&, uint64_t, uint8_t) override {}
  void Unmap(uint64_t, uint64_t) override {}
  void Protect(uint64_t, uint64_t, uint8_t) override {}
  void Forget(const platform::MapFile&) override {}
  base::Result<std::unique_ptr<platform::GuestThread>> NewThread(
      platform::GuestThread*, const platform::Regs&, const platform::FpState&) override {
    return uapi::Errno::kENOSYS;
  }
  void Kill() override {}
};

class NoPlatform : public platform::Platform {
 public:
  const char* name() const override { return "none"; }
  platform::UserRange user_range() const override { return {0x10000, 0x7ffffffff000}; }
  base::Result<base::Ref<platform::AddressSpace>> NewAddressSpace() override {
    return base::Ref<platform::AddressSpace>(base::MakeRef<NoAddressSpace>());
  }
  std::span<const uint8_t> initial_fp() const override { return {}; }
  void Shutdown() override {}
};

uint64_t Map(MemoryManager& mm, uint64_t len, uint8_t prot = kRw) {
  MmapArgs a;
  a.len = len;
  a.prot = prot;
  base::Result<uint64_t> r = mm.Mmap(a);
  CHECK(r.ok());
  return *r;
}

// An address space with n mappings that can't merge.
base::Ref<MemoryManager> Crowded(NoPlatform& platform, int64_t n) {
  auto mm = MemoryManager::Create(platform);
  CHECK(mm.ok());
  for (int64_t i = 0; i < n; i++) {
    Map(**mm, kPageSize, i % 2 != 0 ? kRw : uint8_t{platform::kProtRead});
  }
  return *mm;
}

void MmapMunmap(benchmark::State& state) {
  NoPlatform platform;
  auto mm = Crowded(platform, state.range(0));
  for (auto _ : state) CHECK(mm->Munmap(Map(*mm, 16 * kPageSize), 16 * kPageSize).ok());
}
BENCHMARK(MmapMunmap)->Arg(10)->Arg(1000);

// Splits a mapping in three and lets it grow together again.
void SplitAndMerge(benchmark::State& state) {
  NoPlatform platform;
  auto mm = Crowded(platform, state.range(0));
  const uint64_t at = Map(*mm, 16 * kPageSize);
  for (auto _ : state) {
    CHECK(mm->Mprotect(at + 4 * kPageSize, kPageSize, platform::kProtRead).ok());
    CHECK(mm->Mprotect(at + 4 * kPageSize, kPageSize, kRw).ok());
  }
}
BENCHMARK(SplitAndMerge)->Arg(10)->Arg(1000);

void Fault(benchmark::State& state) {
  NoPlatform platform;
  auto mm = Crowded(platform, 100);
  const uint64_t at = Map(*mm, kPageSize);
  MemoryManager::FaultError error;
  for (auto _ : state) CHECK(mm->HandleFault(at, platform::kProtWrite, &error));
}
BENCHMARK(Fault);

void CopyIn(benchmark::State& state) {
  NoPlatform platform;
  auto mm = Crowded(platform, 100);
  std::vector<char> buffer(static_cast<size_t>(state.range(0)));
  const UserAddr at{Map(*mm, buffer.size())};
  CHECK(mm->CopyOut(at, buffer.data(), buffer.size()).ok());
  for (auto _ : state) CHECK(mm->CopyIn(buffer.data(), at, buffer.size()).ok());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(CopyIn)->Arg(8)->Arg(128)->Arg(4096)->Arg(1 << 20);

void CopyOut(benchmark::State& state) {
  NoPlatform platform;
  auto mm = Crowded(platform, 100);
  std::vector<char> buffer(static_cast<size_t>(state.range(0)));
  const UserAddr at{Map(*mm, buffer.size())};
  for (auto _ : state) CHECK(mm->CopyOut(at, buffer.data(), buffer.size()).ok());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(CopyOut)->Arg(8)->Arg(128)->Arg(4096)->Arg(1 << 20);

// The first touch of a page of a fresh mapping, from the guest: the host's business alone.
GUEST_CODE(touch_loop, R"(
1:
  mov $9, %eax           # mmap
  xor %edi, %edi
  mov $0x100000, %esi
  mov $3, %edx
  mov $0x22, %r10d
  mov $-1, %r8
  xor %r9d, %r9d
  syscall
  mov %rax, %rdi
  mov $256, %ecx
2:
  movb $1, (%rax)
  add $4096, %rax
  dec %ecx
  jnz 2b
  mov $0x100000, %esi
  mov $11, %eax          # munmap
  syscall
  dec %rbx
  jnz 1b
  xor %edi, %edi
  mov $231, %eax         # exit_group
  syscall
)");

void GuestMapTouchUnmap256(benchmark::State& state) {
  while (state.KeepRunningBatch(200)) RunGuest(touch_loop, 200);
}
BENCHMARK(GuestMapTouchUnmap256)->UseRealTime();

}  // namespace
}  // namespace bench
