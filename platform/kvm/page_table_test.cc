#include "platform/kvm/page_table.h"

#include <gtest/gtest.h>

namespace platform::kvm {
namespace {

class PageTableTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(memory_.Init(4096 * kPage), 0);
    ASSERT_TRUE(table_.Init());
  }
  // As the processor walks.
  uint64_t Walk(uint64_t va) const {
    uint64_t table = table_.root();
    for (int shift = 39; shift > 12; shift -= 9) {
      uint64_t entry = memory_.At(table)[va >> shift & 511];
      if ((entry & kPtePresent) == 0) return 0;
      if ((entry & kPteLarge) != 0) return entry + (va & (kLargePage - kPage));
      table = entry & kPteAddress;
    }
    return memory_.At(table)[va >> 12 & 511];
  }
  KernelMemory memory_;
  PageTable table_{memory_};
};

TEST_F(PageTableTest, WhatIsSetIsWalked) {
  for (uint64_t va : {uint64_t{0x400000}, uint64_t{0x7ffffffff000} - kPage, uint64_t{0x10000}}) {
    ASSERT_TRUE(table_.Set(va, 0x123456000, kPteUser | kPteNoExec));
    EXPECT_EQ(Walk(va), 0x123456000 | kPteUser | kPteNoExec | kPtePresent);
    EXPECT_EQ(table_.Get(va), Walk(va));
  }
  EXPECT_EQ(table_.Get(0x500000), 0u);
}

TEST_F(PageTableTest, ClearAndProtectChangeWhatIsThereOnly) {
  ASSERT_TRUE(table_.Set(0x400000, 0x1000, kPteUser | kPteWrite));
  ASSERT_TRUE(table_.Set(0x40000000, 0x2000, kPteUser | kPteWrite));
  EXPECT_FALSE(table_.Clear(0x401000, 0x40000000));
  EXPECT_TRUE(table_.Protect(0, 0x40000000, kPteUser));
  EXPECT_FALSE(table_.Protect(0, 0x40000000, kPteUser));
  EXPECT_EQ(Walk(0x400000) & kPteWrite, 0u);
  EXPECT_NE(Walk(0x40000000) & kPteWrite, 0u);
  EXPECT_EQ(Walk(0x401000), 0u);
  EXPECT_TRUE(table_.Clear(0, 0x7ffffffff000));
  EXPECT_EQ(Walk(0x400000), 0u);
  EXPECT_EQ(Walk(0x40000000), 0u);
}

TEST_F(PageTableTest, ALargePageGoesAsAWhole) {
  const uint64_t at = 0x40000000, gpa = uint64_t{7} << 30;
  ASSERT_TRUE(table_.SetLarge(at, gpa, kPteUser | kPteWrite));
  EXPECT_FALSE(table_.SetLarge(at, gpa, kPteUser));
  EXPECT_EQ(Walk(at + 5 * kPage) & kPteAddress, gpa + 5 * kPage);
  EXPECT_NE(table_.Get(at + kLargePage - kPage) & kPtePresent, 0u);
  EXPECT_EQ(table_.Get(at + kLargePage), 0u);
  // With all of it, it gets other bits.
  EXPECT_TRUE(table_.Protect(at - kPage, at + kLargePage, kPteUser));
  EXPECT_EQ(Walk(at) & (kPteLarge | kPteWrite), kPteLarge);
  EXPECT_TRUE(table_.Protect(at + kPage, at + 2 * kPage, kPteUser | kPteWrite));
  EXPECT_EQ(Walk(at), 0u);
  ASSERT_TRUE(table_.SetLarge(at, gpa, kPteUser));
  EXPECT_TRUE(table_.Clear(at + kLargePage - kPage, at + kLargePage + kPage));
  EXPECT_EQ(Walk(at), 0u);
  // Where there is a table, small pages stay.
  ASSERT_TRUE(table_.Set(at, 0x1000, kPteUser));
  EXPECT_FALSE(table_.SetLarge(at, gpa, kPteUser));
  ASSERT_TRUE(table_.SetLarge(at + kLargePage, gpa, kPteUser));
  table_.FreeLowerHalf();
  EXPECT_EQ(Walk(at), 0u);
}

TEST_F(PageTableTest, ASupervisorsPageIsNoUsers) {
  ASSERT_TRUE(table_.Set(kVcpuBase, 0, 0));
  EXPECT_EQ(Walk(kVcpuBase), kPtePresent);
  PageTable other(memory_);
  ASSERT_TRUE(other.Init());
  other.ShareUpperHalf(table_);
  EXPECT_EQ(other.Get(kVcpuBase), kPtePresent);
  other.FreeLowerHalf();
  EXPECT_EQ(other.Get(kVcpuBase), kPtePresent);
}

TEST_F(PageTableTest, TablesComeBack) {
  // More than there is room for, unless the lower half is given back.
  for (int round = 0; round < 20; round++) {
    for (uint64_t i = 0; i < 512; i++)
      ASSERT_TRUE(table_.Set(i << 30, 0x1000, kPteUser)) << round << " " << i;
    table_.FreeLowerHalf();
    EXPECT_EQ(Walk(uint64_t{5} << 30), 0u);
  }
}

TEST_F(PageTableTest, NoMemoryIsSaid) {
  uint64_t i = 0;
  while (i < (uint64_t{1} << 17) && table_.Set(i << 30, 0x1000, kPteUser)) i++;
  EXPECT_LT(i, uint64_t{4096});
}

}  // namespace
}  // namespace platform::kvm
