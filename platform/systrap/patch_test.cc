// Patched call sites as a guest sees them: it must not see them, but for speed. Each piece of code
// loops often enough to be patched on the way.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>
#include <tuple>

#include "platform/host/host.h"
#include "platform/kvm/testing.h"
#include "platform/stub/zygote.h"
#include "platform/systrap/snippet.h"
#include "platform/systrap/systrap.h"

// Every register has a value that the call must leave, but rax, rcx and r11; the flags too. At
// +0x200: a counter of differences.
SNIPPET(patch_registers, R"(
  mov $200, %r12d
1:
  mov $1, %edi
  mov $2, %esi
  mov $3, %edx
  mov $4, %r10d
  mov $5, %r8d
  mov $6, %r9d
  mov $7, %ebp
  mov $8, %r13d
  mov $9, %r14d
  mov $10, %r15d
  movq %r12, %xmm5
  movq $0x1234, -8(%rsp)
  movq $0x5678, -128(%rsp)
  # OF and CF in turns.
  mov %r12d, %eax
  and $1, %eax
  add $0x7fffffff, %eax
  pushfq
  pop %rbx
  push %rbx
  popfq
  movq $0x1234, -8(%rsp)
  mov $39, %eax
  syscall
  pushfq
  xor %rbx, (%rsp)
  testl $0x8d5, (%rsp)
  lea 8(%rsp), %rsp
  jnz 9f
  # pushfq used the red zone's first word; the call must not touch the last.
  cmpq $0x5678, -128(%rsp)
  jne 9f
  cmp %r12, %rax
  jne 9f
  movq %xmm5, %rax
  cmp %r12, %rax
  jne 9f
  cmp $1, %edi
  jne 9f
  cmp $2, %esi
  jne 9f
  cmp $3, %edx
  jne 9f
  cmp $4, %r10d
  jne 9f
  cmp $5, %r8d
  jne 9f
  cmp $6, %r9d
  jne 9f
  cmp $7, %ebp
  jne 9f
  cmp $8, %r13d
  jne 9f
  cmp $9, %r14d
  jne 9f
  cmp $10, %r15d
  jne 9f
  dec %r12d
  jnz 1b
  xor %edi, %edi
  jmp 8f
9:
  mov $1, %edi
8:
  mov $60, %eax
  syscall
  ud2
)");
// The call alone, and jumps to the system call instruction behind the mov, with another number.
SNIPPET(patch_middle, R"(
  mov $200, %r12d
1:
  xor %edi, %edi
  mov $39, %eax
2:
  syscall
  test %edi, %edi
  jnz 3f
  inc %edi
  mov $110, %eax
  jmp 2b
3:
  dec %r12d
  jnz 1b
  mov $60, %eax
  syscall
)");
SNIPPET(patch_gs, R"(
  mov $100, %r12d
1:
  mov $39, %eax
  syscall
  dec %r12d
  jnz 1b
  mov $0x500000, %eax
  wrgsbase %rax
  mov $100, %r12d
2:
  mov %r12, %rdi
  mov $39, %eax
  syscall
  cmp $0x77, %rax
  jne 3f
  dec %r12d
  jnz 2b
3:
  rdgsbase %rsi
  mov %r12, %rdi
  mov $60, %eax
  syscall
)");
SNIPPET(patch_endless, R"(
1:
  incq 0x500000
  mov $39, %eax
  syscall
  cmp $0x77, %rax
  je 1b
  ud2
)");
// A string instruction goes backwards over the call.
SNIPPET(patch_direction, R"(
  mov $100, %r12d
  std
1:
  mov $39, %eax
  syscall
  dec %r12d
  jnz 1b
  pushfq
  pop %rdi
  mov $60, %eax
  syscall
)");
// Steps through a loop.
SNIPPET(patch_step, R"(
1:
  mov $39, %eax
  syscall
  inc %r12
  jmp 1b
)");

namespace platform {
namespace {

constexpr uint64_t kCode = 0x400000;
constexpr uint64_t kData = 0x500000;
constexpr uint64_t kPage = 4096;

class PatchTest : public testing::TestWithParam<std::tuple<NamedFactory, bool>> {
 protected:
  void SetUp() override {
    if (!stub::HostFsgsbase()) GTEST_SKIP() << "the host keeps the bases to itself";
    const auto& [engine, patch] = GetParam();
    auto p = engine.second({.patch = patch});
    ASSERT_TRUE(p.ok()) << p.status().text();
    platform_ = std::move(p.value());
    data_ = NewFile(&view_, false);
  }
  void TearDown() override {
    if (platform_) platform_->Shutdown();
  }
  static base::Ref<MapFile> NewFile(uint8_t** view, bool stable) {
    base::UniqueFd fd(static_cast<int>(host::CreateMemoryFile()));
    host::Ftruncate(fd.get(), 16 * kPage);
    *view = static_cast<uint8_t*>(
        mmap(nullptr, 16 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    return base::MakeRef<MapFile>(std::move(fd), stable);
  }
  void Load(const uint8_t* begin, const uint8_t* end) {
    auto as = platform_->NewAddressSpace();
    ASSERT_TRUE(as.ok());
    space_ = *as;
    uint8_t* view;
    code_ = NewFile(&view, true);
    memcpy(view, begin, static_cast<size_t>(end - begin));
    munmap(view, 16 * kPage);
    space_->Map(kCode, kPage, code_, 0, kProtRead | kProtExec);
    space_->Map(kData, 4 * kPage, data_, 0, kProtRead | kProtWrite);
    size_ = static_cast<uint64_t>(end - begin);
  }
  std::unique_ptr<GuestThread> NewThread(GuestThread* creator = nullptr, Regs regs = {}) {
    if (regs.rip == 0) regs.rip = kCode;
    regs.rsp = kData + 2 * kPage;
    auto t = space_->NewThread(creator, regs, {});
    EXPECT_TRUE(t.ok());
    return t.ok() ? std::move(t.value()) : nullptr;
  }
  bool InSnippet(uint64_t rip) const { return rip >= kCode && rip <= kCode + size_; }

  std::unique_ptr<Platform> platform_;
  base::Ref<AddressSpace> space_;
  base::Ref<MapFile> code_, data_;
  uint8_t* view_ = nullptr;
  uint64_t size_ = 0;
};

#define LOAD(snippet) Load(snippet##_begin, snippet##_end)

TEST_P(PatchTest, RegistersFlagsAndRedZone) {
  LOAD(patch_registers);
  auto t = NewThread();
  for (uint64_t i = 200; i > 0; i--) {
    Stop s = t->Run();
    ASSERT_EQ(s.kind, Stop::Kind::kSyscall) << i;
    ASSERT_EQ(t->syscall().nr, 39u) << i << " " << t->syscall().arg[0];
    for (uint64_t k = 0; k < 6; k++) ASSERT_EQ(t->syscall().arg[k], k + 1);
    if (i % 3 == 0) {
      const Regs& r = t->regs();
      EXPECT_EQ(r.r12, i);
      EXPECT_EQ(r.rbp, 7u);
      EXPECT_EQ(r.rsp, kData + 2 * kPage);
      EXPECT_EQ(r.orig_rax, 39u);
      EXPECT_TRUE(InSnippet(r.rip));
      EXPECT_EQ((r.rbx ^ r.eflags) & 0x8d5, 0u);
    }
    if (i % 5 == 0) {  // registers and extended state written back
      Regs r = t->regs();
      FpState fp = t->GetFp();
      uint64_t xmm5;
      memcpy(&xmm5, fp.data() + 160 + 5 * 16, 8);
      EXPECT_EQ(xmm5, i);
      r.rax = i;
      t->SetRegs(r);
      EXPECT_TRUE(t->SetFp(fp).ok());
    } else {
      t->SetReturn(i);
    }
  }
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().nr, 60u);
  EXPECT_EQ(t->syscall().arg[0], 0u);
}

TEST_P(PatchTest, JumpsToTheCall) {
  LOAD(patch_middle);
  auto t = NewThread();
  for (int i = 0; i < 200; i++) {
    for (uint64_t nr : {39, 110}) {
      ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
      ASSERT_EQ(t->syscall().nr, nr) << i;
    }
  }
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().nr, 60u);
}

TEST_P(PatchTest, GuestsOwnGsBase) {
  LOAD(patch_gs);
  auto t = NewThread();
  for (int i = 0; i < 200; i++) {
    ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
    ASSERT_EQ(t->syscall().nr, 39u);
    EXPECT_EQ(t->regs().gs_base, i < 100 ? 0 : 0x500000u);
    EXPECT_TRUE(InSnippet(t->regs().rip));
    t->SetReturn(0x77);
  }
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().nr, 60u);
  EXPECT_EQ(t->syscall().arg[0], 0u);
  EXPECT_EQ(t->syscall().arg[1], 0x500000u);
}

TEST_P(PatchTest, DirectionFlag) {
  LOAD(patch_direction);
  auto t = NewThread();
  for (int i = 0; i < 100; i++) {
    ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
    ASSERT_EQ(t->syscall().nr, 39u);
  }
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().nr, 60u);
  EXPECT_NE(t->syscall().arg[0] & 0x400, 0u);
}

TEST_P(PatchTest, InterruptsAnywhere) {
  LOAD(patch_endless);
  auto t = NewThread();
  std::atomic<bool> end{false};
  std::thread other([&] {
    while (!end.load()) {
      t->Interrupt();
      for (int i = 0; i < 500; i++) __builtin_ia32_pause();
    }
  });
  auto* counter = reinterpret_cast<std::atomic<uint64_t>*>(view_);
  uint64_t calls = 0;
  int interrupts = 0;
  // On one processor each takes a time slice.
  const int enough = host::UsableCpus() > 1 ? 5000 : 500;
  while (interrupts < enough) {
    Stop s = t->Run();
    if (s.kind == Stop::Kind::kSyscall) {
      ASSERT_EQ(t->syscall().nr, 39u);
      calls++;
      ASSERT_EQ(counter->load(), calls);
      t->SetReturn(0x77);
    } else {
      ASSERT_EQ(s.kind, Stop::Kind::kInterrupted) << s.signo << " at " << std::hex << t->regs().rip;
      interrupts++;
      Regs r = t->regs();
      ASSERT_TRUE(InSnippet(r.rip)) << std::hex << r.rip;
      // A handler that runs and returns leaves all as it was.
      if (interrupts % 4 == 0) t->SetRegs(r);
    }
  }
  end = true;
  other.join();
  EXPECT_GT(calls, 0u);
}

TEST_P(PatchTest, RestartedCalls) {
  LOAD(patch_middle);
  auto t = NewThread();
  for (int i = 0; i < 200; i++) {
    for (uint64_t nr : {39, 110}) {
      ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
      ASSERT_EQ(t->syscall().nr, nr);
      // As the kernel does: back to the instruction.
      Regs r = t->regs();
      r.rip -= 2;
      r.rax = r.orig_rax;
      t->SetRegs(r);
      ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
      ASSERT_EQ(t->syscall().nr, nr);
    }
  }
}

TEST_P(PatchTest, Steps) {
  LOAD(patch_step);
  auto t = NewThread();
  for (int i = 0; i < 40; i++) {
    ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  }
  Regs r = t->regs();
  r.eflags |= 0x100;
  t->SetRegs(r);
  uint64_t last = r.r12;
  for (int i = 0; i < 100; i++) {
    Stop s = t->Run();
    if (s.kind == Stop::Kind::kSyscall) continue;
    ASSERT_EQ(s.kind, Stop::Kind::kFault);
    ASSERT_EQ(s.signo, SIGTRAP);
    ASSERT_TRUE(InSnippet(t->regs().rip)) << std::hex << t->regs().rip;
    last = t->regs().r12;
  }
  EXPECT_GT(last, r.r12);
}

TEST_P(PatchTest, ThreadsInTheSameCode) {
  LOAD(patch_middle);
  auto first = NewThread();
  std::vector<std::unique_ptr<GuestThread>> threads;
  for (int i = 0; i < 3; i++) threads.push_back(NewThread(first.get()));
  threads.push_back(std::move(first));
  std::vector<std::thread> drivers;
  std::atomic<int> good{0};
  for (auto& t : threads) {
    drivers.emplace_back([&, guest = t.get()] {
      for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 200; i++) {
          for (uint64_t nr : {39, 110}) {
            if (guest->Run().kind != Stop::Kind::kSyscall || guest->syscall().nr != nr) return;
          }
        }
        if (guest->Run().kind != Stop::Kind::kSyscall || guest->syscall().nr != 60) return;
        Regs r = guest->regs();
        r.rip = kCode;
        guest->SetRegs(r);
      }
      good++;
    });
  }
  for (auto& d : drivers) d.join();
  EXPECT_EQ(good.load(), 4);
}

TEST_P(PatchTest, TheSameFileElsewhere) {
  LOAD(patch_middle);
  auto t = NewThread();
  auto loop = [&](GuestThread& g) {
    for (int i = 0; i < 200; i++) {
      for (uint64_t nr : {39, 110}) {
        ASSERT_EQ(g.Run().kind, Stop::Kind::kSyscall);
        ASSERT_EQ(g.syscall().nr, nr);
      }
    }
    ASSERT_EQ(g.Run().kind, Stop::Kind::kSyscall);
  };
  loop(*t);
  // Twice in one address space.
  space_->Map(0x7000000, kPage, code_, 0, kProtRead | kProtExec);
  Regs r = t->regs();
  r.rip = 0x7000000;
  t->SetRegs(r);
  loop(*t);
  EXPECT_GT(t->regs().rip, 0x7000000u);
  EXPECT_LE(t->regs().rip, 0x7000000u + size_);
  // In another one, at another place.
  auto as = platform_->NewAddressSpace();
  ASSERT_TRUE(as.ok());
  space_ = *as;
  space_->Map(0x9000000, kPage, code_, 0, kProtRead | kProtExec);
  auto other = NewThread(nullptr, r);
  r.rip = 0x9000000;
  other->SetRegs(r);
  loop(*other);
  EXPECT_GT(other->regs().rip, 0x9000000u);
  EXPECT_LE(other->regs().rip, 0x9000000u + size_);
}

TEST_P(PatchTest, OnlyWhereAskedFor) {
  LOAD(patch_middle);
  auto t = NewThread();
  for (int i = 0; i < 100; i++) ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  // The guest's own view of its code: the first instruction of the loop's site. No test of speed;
  // but a patch that never happens would make all the other tests idle.
  Regs r = t->regs();
  uint8_t* view;
  base::Ref<MapFile> reader = NewFile(&view, false);
  const uint8_t code[] = {0x48, 0x8b, 0x3f,                  // mov (%rdi), %rdi
                          0xb8, 0x27, 0,    0, 0, 0x0f, 5};  // mov $39, %eax; syscall
  memcpy(view, code, sizeof code);
  space_->Map(0x6000000, kPage, reader, 0, kProtRead | kProtExec);
  const uint8_t mov[] = {0xb8, 39, 0, 0, 0};
  auto* site = std::search(patch_middle_begin, patch_middle_end, mov, mov + 5);
  r.rip = 0x6000000;
  r.rdi = kCode + static_cast<uint64_t>(site - patch_middle_begin);
  t->SetRegs(r);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0] & 0xff, std::get<1>(GetParam()) ? 0xffu : 0xb8u);
}

INSTANTIATE_TEST_SUITE_P(
    Patching, PatchTest,
    testing::Combine(testing::ValuesIn(kvm::AndKvm({{"systrap", &systrap::Create}})),
                     testing::Bool()),
    [](const auto& i) {
      return std::string(std::get<0>(i.param).first) + (std::get<1>(i.param) ? "On" : "Off");
    });

}  // namespace
}  // namespace platform
