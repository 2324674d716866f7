// What of the processor is a guest thread's: registers beyond the general ones, and what it is told
// of them.
#include <signal.h>

#include <vector>

#include "platform/kvm/testing.h"
#include "platform/ptrace/ptrace.h"
#include "platform/systrap/engine_fixture.h"
#include "platform/systrap/systrap.h"

SNIPPET(snippet_fp, R"(
  mov $0x1122334455667788, %rax
  movq %rax, %xmm7
  mov $39, %eax
  syscall
  movq %xmm7, %rdi
  mov $60, %eax
  syscall
)");
SNIPPET(snippet_fsbase, R"(
  mov %fs:0, %rdi
  mov %gs:8, %rsi
  mov $39, %eax
  syscall
  mov $0x500010, %eax
  wrfsbase %rax
  mov %fs:0, %rdi
  mov $39, %eax
  syscall
)");
// Loads registers from 0x500000, calls, and stores them at 0x500080.
SNIPPET(snippet_avx, R"(
  vmovups 0x500000, %ymm8
  mov $39, %eax
  syscall
  vmovups %ymm8, 0x500080
  mov $39, %eax
  syscall
)");
SNIPPET(snippet_avx512, R"(
  vmovups 0x500000, %zmm31
  kmovw 0x500000, %k1
  mov $39, %eax
  syscall
  vmovups %zmm31, 0x500080
  kmovw %k1, 0x5000c0
  mov $39, %eax
  syscall
)");
// What CPUID says to eax and ecx, in rdi, rsi, rdx and r8, and XCR0, in r9.
SNIPPET(snippet_cpuid, R"(
  cpuid
  mov %eax, %edi
  mov %ebx, %esi
  mov %ecx, %r8d
  mov %edx, %r10d
  xor %ecx, %ecx
  xgetbv
  mov %eax, %r9d
  mov %r10d, %edx
  mov $39, %eax
  syscall
)");
// Ring 0's code segment is where it would go on.
SNIPPET(snippet_far_return, R"(
  push $0x10
  lea 1f(%rip), %rax
  push %rax
  lretq
1:
  ud2
)");

namespace platform {
namespace {

class ProcessorTest : public EngineTest {
 protected:
  // The code keeps what it has loaded, whatever another thread loads meanwhile.
  void ExpectKept(const uint8_t* begin, const uint8_t* end, size_t size) {
    auto as = NewSpace(begin, end);
    auto first = NewThread(*as), second = NewThread(*as, first.get());
    std::vector<uint8_t> pattern(size);
    for (size_t i = 0; i < size; i++) pattern[i] = static_cast<uint8_t>(i + 1);
    memcpy(data_, pattern.data(), size);
    ASSERT_EQ(first->Run().kind, Stop::Kind::kSyscall);
    memset(data_, 0xee, size);
    ASSERT_EQ(second->Run().kind, Stop::Kind::kSyscall);
    // Taken and given back, as for a signal's handler.
    const FpState kept = first->GetFp();
    ASSERT_TRUE(first->SetFp({}).ok());
    ASSERT_TRUE(first->SetFp(kept).ok());
    ASSERT_EQ(first->Run().kind, Stop::Kind::kSyscall);
    EXPECT_EQ(memcmp(data_ + kStored, pattern.data(), size), 0);
    ASSERT_EQ(second->Run().kind, Stop::Kind::kSyscall);
    memset(pattern.data(), 0xee, size);
    EXPECT_EQ(memcmp(data_ + kStored, pattern.data(), size), 0);
  }

  struct Cpuid {
    uint32_t a, b, c, d;
    uint32_t xcr0;
  };
  Cpuid Ask(uint32_t leaf, uint32_t index) {
    auto as = SPACE(snippet_cpuid);
    Regs r{};
    r.rax = leaf;
    r.rcx = index;
    auto t = NewThread(*as, nullptr, r);
    EXPECT_EQ(t->Run().kind, Stop::Kind::kSyscall);
    const SyscallRegs& s = t->syscall();
    auto arg = [&](int i) { return static_cast<uint32_t>(s.arg[i]); };
    return {arg(0), arg(1), arg(4), arg(2), arg(5)};
  }

  static constexpr size_t kStored = 0x80;
};

TEST_P(ProcessorTest, FloatingPointState) {
  auto as = SPACE(snippet_fp);
  auto t = NewThread(*as);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  FpState fp = t->GetFp();
  ASSERT_EQ(fp.size(), platform_->fp_size());
  uint64_t v;
  memcpy(&v, &fp[160 + 7 * 16], 8);
  EXPECT_EQ(v, 0x1122334455667788u);
  t->SetReturn(0);
  volatile double noise = 1.5;
  for (int i = 0; i < 100; i++) noise = noise * 1.1;
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], 0x1122334455667788u);
  // Another value, set from outside, in a new address space's thread too.
  v = 42;
  memcpy(&fp[160 + 7 * 16], &v, 8);
  Regs r = t->regs();
  r.rip = kCode + 15;  // behind movq
  r.rax = 39;
  ASSERT_TRUE(t->SetFp(fp).ok());
  t->SetRegs(r);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], 42u);
  auto as2 = SPACE(snippet_fp);
  auto t2 = NewThread(*as2, nullptr, r, fp);
  ASSERT_EQ(t2->Run().kind, Stop::Kind::kSyscall);
  ASSERT_EQ(t2->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t2->syscall().arg[0], 42u);
  // The initial state, and what the host would refuse.
  ASSERT_TRUE(t2->SetFp({}).ok());
  FpState initial = t2->GetFp();
  EXPECT_EQ(initial[0], 0x7f);
  EXPECT_EQ(initial[1], 0x03);
  memset(&fp[24], 0xff, 4);  // reserved MXCSR bits
  EXPECT_TRUE(t2->SetFp(fp).is(uapi::Errno::kEINVAL));
  fp = initial;
  memset(&fp[520], 0xff, 8);  // a compacted format
  EXPECT_TRUE(t2->SetFp(fp).is(uapi::Errno::kEINVAL));
  EXPECT_TRUE(t2->SetFp(std::span<const uint8_t>(fp).first(100)).is(uapi::Errno::kEINVAL));
  EXPECT_TRUE(t2->SetFp(std::span<const uint8_t>(initial).first(512)).ok());
}

// A host thread that is used again shows nothing of the guest thread before.
TEST_P(ProcessorTest, ANewThreadIsNew) {
  auto as = SPACE(snippet_fp);
  auto first = NewThread(*as);
  ASSERT_EQ(first->Run().kind, Stop::Kind::kSyscall);
  for (int i = 0; i < 20; i++) {
    Regs regs{};
    regs.rbx = regs.rbp = regs.r12 = 0x1111;
    regs.fs_base = regs.gs_base = kData;
    auto old = NewThread(*as, first.get(), regs);
    ASSERT_EQ(old->Run().kind, Stop::Kind::kSyscall);
    if (i % 2 == 0) {
      old->Interrupt();
    }
    old.reset();
    regs = {};
    regs.rip = kCode + 15;  // behind movq
    auto t = NewThread(*as, first.get(), regs);
    Stop s = t->Run();
    // An interrupt for the one before may still come through.
    if (s.kind == Stop::Kind::kInterrupted) s = t->Run();
    ASSERT_EQ(s.kind, Stop::Kind::kSyscall);
    Regs got = t->regs();
    EXPECT_EQ(got.rbx | got.rbp | got.r12 | got.fs_base | got.gs_base, 0u);
    EXPECT_EQ(got.rsp, kData + 2 * kPage);
    t->SetReturn(0);
    ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
    EXPECT_EQ(t->syscall().arg[0], 0u);  // xmm7
  }
}

TEST_P(ProcessorTest, SegmentBases) {
  auto as = SPACE(snippet_fsbase);
  uint64_t values[3] = {11, 22, 33};
  memcpy(data_, values, sizeof values);
  Regs r{};
  r.fs_base = kData;
  r.gs_base = kData;
  auto t = NewThread(*as, nullptr, r);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], 11u);
  EXPECT_EQ(t->syscall().arg[1], 22u);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], 33u);
  EXPECT_EQ(t->regs().fs_base, kData + 16);
  EXPECT_EQ(t->regs().gs_base, kData);
  r = t->regs();
  r.rip = kCode;
  r.fs_base = kData + 8;
  t->SetRegs(r);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], 22u);
}

TEST_P(ProcessorTest, Avx) {
  if (!__builtin_cpu_supports("avx")) GTEST_SKIP() << "this processor has no AVX";
  ExpectKept(snippet_avx_begin, snippet_avx_end, 32);
}

TEST_P(ProcessorTest, Avx512) {
  if (!__builtin_cpu_supports("avx512f")) GTEST_SKIP() << "this processor has no AVX-512";
  ExpectKept(snippet_avx512_begin, snippet_avx512_end, 64);
  uint16_t mask;
  memcpy(&mask, data_ + kStored + 64, sizeof mask);
  EXPECT_EQ(mask, 0xeeee);
}

// A guest is offered what of the extended state is kept for it.
TEST_P(ProcessorTest, ExtendedState) {
  constexpr uint32_t kXsave = 1 << 26, kOspke = 1 << 4;
  constexpr uint64_t kProtectionKeys = 1 << 9;
  constexpr size_t kComponents = 472, kLegacySize = 512;
  if (platform_->fp_size() == kLegacySize) GTEST_SKIP() << "guests get no XSAVE here";
  ASSERT_NE(Ask(1, 0).c & kXsave, 0u);
  uint64_t kept;
  memcpy(&kept, platform_->initial_fp().data() + kComponents, sizeof kept);
  const Cpuid state = Ask(0xd, 0);
  EXPECT_EQ(kept & ~uint64_t{state.xcr0}, 0u);
  EXPECT_EQ((Ask(7, 0).c & kOspke) != 0, (state.xcr0 & kProtectionKeys) != 0);
  if (std::string(platform_->name()) != "kvm") return;
  // The host's kernel has no say there.
  EXPECT_EQ(state.xcr0, kept);
  EXPECT_EQ(state.a, kept);
  EXPECT_EQ(state.b + 4, platform_->fp_size());
  EXPECT_EQ(state.c, state.b);
  EXPECT_EQ(kept & kProtectionKeys, 0u);
}

TEST_P(ProcessorTest, AFarReturnToRing0IsAProtectionFault) {
  auto as = SPACE(snippet_far_return);
  auto t = NewThread(*as);
  const Stop s = t->Run();
  ASSERT_EQ(s.kind, Stop::Kind::kFault);
  EXPECT_EQ(s.signo, SIGSEGV);
  EXPECT_EQ(s.code, SI_KERNEL);
  EXPECT_EQ(s.trapno, 13u);
}

FOR_ALL_ENGINES(ProcessorTest);

}  // namespace
}  // namespace platform
