#include "platform/stub/inside.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

namespace platform::stub {
namespace {

constexpr uint64_t kSite = 0x401234, kThunk = kThunks + 5 * kThunkSize;

// A guest with one patched site: mov, and the call behind it.
class InsideTest : public testing::Test {
 protected:
  void SetUp() override {
    Put(kSite, {0xff, 0x24, 0x25, 0x10, 0x02, 0x06, 0x00});
    PutValue(kTable + 0x210, kThunk);
    PutValue(kThunk + kThunkInfo, ThunkInfo{3, 0x234, 1 << 5, 5, 0});
    page_.base[3] = 0x401000;
  }
  void Put(uint64_t at, const std::vector<uint8_t>& bytes) {
    for (uint8_t b : bytes) memory_[at++] = b;
  }
  template <typename T>
  void PutValue(uint64_t at, T value) {
    std::vector<uint8_t> bytes(sizeof value);
    memcpy(bytes.data(), &value, sizeof value);
    Put(at, bytes);
  }
  auto Read() {
    return [this](uint64_t from, void* to, uint64_t n) {
      for (uint64_t i = 0; i < n; i++) static_cast<uint8_t*>(to)[i] = memory_[from + i];
      return true;
    };
  }
  std::map<uint64_t, uint8_t> memory_;
  ProcessPage page_{};
};

TEST_F(InsideTest, OnlyInstructionsThatWereReplacedHaveACopy) {
  EXPECT_EQ(CopyOf(kSite + 5, Read()), kThunk + 5);
  for (uint64_t n : {1, 2, 3, 4, 6}) EXPECT_EQ(CopyOf(kSite + n, Read()), 0u) << n;
  EXPECT_EQ(CopyOf(kSite, Read()), 0u);
  EXPECT_EQ(CopyOf(kSite + 100, Read()), 0u);
}

TEST_F(InsideTest, WhatATableHoldsIsChecked) {
  for (uint64_t thunk : {kThunk + 1, kThunks - kThunkSize, kThunks + kMaxThunks * kThunkSize}) {
    PutValue(kTable + 0x210, thunk);
    EXPECT_EQ(CopyOf(kSite + 5, Read()), 0u) << thunk;
  }
  EXPECT_EQ(CopyOf(kSite + 5, [](uint64_t, void*, uint64_t) { return false; }), 0u);
}

TEST_F(InsideTest, AThunkIsItsSite) {
  EXPECT_EQ(SiteOf(kThunk, page_, Read()), kSite);
  EXPECT_EQ(SiteOf(kThunk + 5, page_, Read()), kSite + 5);
  EXPECT_EQ(SiteOf(kSite, page_, Read()), kSite);
  EXPECT_EQ(SiteOf(kText, page_, Read()), kText);
}

TEST(AsAtSite, GivesBackWhatTheEntryTook) {
  struct {
    uint64_t rip, rax, rcx, r11, eflags;
  } r{kText, 0xff, kSite + 7, uint64_t{0x8501} << 32 | 39, 0x246};
  AsAtSite(&r);
  EXPECT_EQ(r.rip, kSite + 7);
  EXPECT_EQ(r.rax, 39u);
  // SF, PF... as LAHF gave them, and OF; IF as it was.
  EXPECT_EQ(r.eflags, 0x200u | 0x2 | 0x85 | 0x800);
  EXPECT_EQ(r.r11, r.eflags);
}

}  // namespace
}  // namespace platform::stub
