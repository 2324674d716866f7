#include "platform/kvm/cpuid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace platform::kvm {
namespace {

using Entries = std::vector<kvm_cpuid_entry2>;

constexpr uint64_t kAll = ~uint64_t{0};
constexpr uint64_t kAvx512Host = 0xe7;
// x87, SSE, AVX, AVX-512, protection keys, AMX.
constexpr uint64_t kEverything = 0xe7 | 1 << 9 | 3 << 17;

kvm_cpuid_entry2 Entry(uint32_t function, uint32_t index, uint32_t a, uint32_t b, uint32_t c,
                       uint32_t d) {
  kvm_cpuid_entry2 e{};
  e.function = function;
  e.index = index;
  e.eax = a, e.ebx = b, e.ecx = c, e.edx = d;
  return e;
}

// A processor with everything, under kvm.
Entries Large() {
  return {Entry(0, 0, 0x1f, 0, 0, 0),
          Entry(1, 0, 0, 0, 1 << 26 | 1 << 28, 0),
          Entry(7, 0, 1, 1 << 0 | 1 << 7 | 1 << 16 | 1 << 20, 1 << 1 | 1 << 3 | 1 << 4,
                1 << 2 | 1 << 22 | 1 << 24 | 1 << 25),
          Entry(0xd, 0, kEverything, 11008, 11008, 0),
          Entry(0xd, 1, 0xf, 0, 1 << 11, 0),
          Entry(0xd, 2, 256, 576, 0, 0),
          Entry(0xd, 5, 64, 1088, 0, 0),
          Entry(0xd, 6, 512, 1152, 0, 0),
          Entry(0xd, 7, 1024, 1664, 0, 0),
          Entry(0xd, 9, 8, 2688, 0, 0),
          Entry(0xd, 11, 16, 0, 1, 0),
          Entry(0xd, 17, 64, 2752, 2, 0),
          Entry(0xd, 18, 8192, 2816, 6, 0),
          Entry(0x1d, 0, 1, 0, 0, 0),
          Entry(0x1e, 0, 0, 0x4010, 0, 0),
          Entry(0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
          Entry(0x40000001, 0, 0x1007efb, 0, 0, 0),
          Entry(0x80000008, 0, 0x302e, 0, 0, 0)};
}

const kvm_cpuid_entry2* Find(const Entries& entries, uint32_t function, uint32_t index) {
  for (const kvm_cpuid_entry2& e : entries) {
    if (e.function == function && e.index == index) return &e;
  }
  return nullptr;
}

TEST(Cpuid, SaysWhatTheProcessorHas) {
  Entries e = Large();
  const Processor p = Restrict(e, kAll);
  EXPECT_TRUE(p.fsgsbase);
  EXPECT_TRUE(p.smep);
  EXPECT_TRUE(p.smap);
  EXPECT_EQ(p.xcr0, kAvx512Host);
  EXPECT_EQ(p.xsave_size, 2688u);
  EXPECT_EQ(p.physical_bits, 46u);
}

TEST(Cpuid, ProtectionKeysAndTilesAreNotOffered) {
  Entries e = Large();
  Restrict(e, kAll);
  EXPECT_EQ(Find(e, 7, 0)->ecx, 1u << 1);
  EXPECT_EQ(Find(e, 7, 0)->edx, 1u << 2);
  EXPECT_EQ(Find(e, 7, 0)->ebx, Find(Large(), 7, 0)->ebx);
  const kvm_cpuid_entry2* state = Find(e, 0xd, 0);
  EXPECT_EQ(state->eax, kAvx512Host);
  EXPECT_EQ(state->edx, 0u);
  EXPECT_EQ(state->ecx, 2688u);
  EXPECT_EQ(Find(e, 0xd, 1)->ecx, 0u);
  for (uint32_t kept : {2, 5, 6, 7}) EXPECT_NE(Find(e, 0xd, kept), nullptr) << kept;
  for (uint32_t gone : {9, 11, 17, 18}) EXPECT_EQ(Find(e, 0xd, gone), nullptr) << gone;
  EXPECT_EQ(Find(e, 0x1d, 0), nullptr);
  EXPECT_EQ(Find(e, 0x1e, 0), nullptr);
}

// Some kernels' kvm shows one of AMX's components without the other, which no processor takes.
TEST(Cpuid, HalfOfAmx) {
  Entries e = Large();
  for (kvm_cpuid_entry2& x : e) {
    if (x.function == 0xd && x.index == 0) x.eax &= ~(1u << 18);
  }
  EXPECT_EQ(Restrict(e, kAll).xcr0, kAvx512Host);
}

TEST(Cpuid, WhatTheHostsKernelDoesNotKeepIsNotOffered) {
  Entries e = Large();
  const Processor p = Restrict(e, 7);
  EXPECT_EQ(p.xcr0, 7u);
  EXPECT_EQ(p.xsave_size, 832u);
  EXPECT_EQ(Find(e, 0xd, 0)->eax, 7u);
  EXPECT_EQ(Find(e, 0xd, 5), nullptr);
}

TEST(Cpuid, HypervisorsOffersAreForKernels) {
  Entries e = Large();
  Restrict(e, kAll);
  EXPECT_EQ(Find(e, 0x40000000, 0), nullptr);
  EXPECT_EQ(Find(e, 0x40000001, 0), nullptr);
  EXPECT_NE(Find(e, 0x80000008, 0), nullptr);
}

TEST(Cpuid, WithoutXsave) {
  Entries e = {Entry(1, 0, 0, 0, 0, 0), Entry(7, 0, 0, 1, 0, 0)};
  const Processor p = Restrict(e, kAll);
  EXPECT_TRUE(p.fsgsbase);
  EXPECT_FALSE(p.smap);
  EXPECT_EQ(p.xcr0, 0u);
  EXPECT_EQ(p.xsave_size, 512u);
  EXPECT_EQ(p.physical_bits, 36u);
}

}  // namespace
}  // namespace platform::kvm
