#include "platform/stub/code_map.h"

#include <gtest/gtest.h>

#include "platform/host/host.h"

namespace platform::stub {
namespace {

constexpr uint64_t kAt = 0x400000, kLength = 2 * Patcher::kChunk;
constexpr uint8_t kReadExec = kProtRead | kProtExec;

// A stable file with a call in each of its two chunks, at offset 100: getpid(2), and lseek(2).
class CodeMapTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(patcher_.Init(GetParam()).ok());
    base::UniqueFd fd(static_cast<int>(host::CreateMemoryFile()));
    ASSERT_EQ(host::Ftruncate(fd.get(), kLength), 0);
    for (uint8_t nr : {39, 8}) {
      const uint8_t call[] = {0xb8, nr, 0, 0, 0, 0x0f, 0x05};
      ASSERT_EQ(host::Pwrite(fd.get(), call, sizeof call, (nr == 39 ? 0 : Patcher::kChunk) + 100),
                static_cast<long>(sizeof call));
    }
    file_ = base::MakeRef<MapFile>(std::move(fd), true);
  }
  std::vector<CodeMap::Part> Map(uint64_t addr, uint64_t len, uint64_t offset,
                                 uint8_t prot = kReadExec) {
    return map_.Map(patcher_, page_, addr, len, file_, offset, prot);
  }
  // Traps at the call until a copy is to be mapped, or often.
  std::vector<CodeMap::Part> Trap(uint64_t rip) {
    std::vector<CodeMap::Part> parts;
    for (int i = 0; i < 50 && parts.empty(); i++) parts = map_.Trapped(patcher_, page_, rip);
    return parts;
  }
  Patcher patcher_;
  ProcessPage page_{};
  CodeMap map_;
  base::Ref<MapFile> file_;
};

TEST_P(CodeMapTest, WhatTrapsOftenIsMappedAnewOnce) {
  EXPECT_TRUE(Map(kAt, kLength, 0).empty());
  auto parts = Trap(kAt + 107);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].addr, kAt);
  EXPECT_EQ(parts[0].len, Patcher::kChunk);
  EXPECT_EQ(page_.base[0], kAt);
  EXPECT_TRUE(map_.Trapped(patcher_, page_, kAt + 107).empty());
  // What maps the file later gets the copy at once, as far as it maps it.
  EXPECT_TRUE(Map(kAt, kLength, 0, kProtRead).empty());
  const auto again = Map(kAt, 4096, 0);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].len, 4096u);
  EXPECT_EQ(again[0].offset, parts[0].offset);
}

TEST_P(CodeMapTest, OneThatOnlyServesLocalCallsLeavesTheOthers) {
  Map(kAt, kLength, 0);
  EXPECT_EQ(Trap(kAt + Patcher::kChunk + 107).empty(), GetParam());
}

TEST_P(CodeMapTest, AFileIsPatchedAtOnePlaceOfAProcess) {
  Map(kAt, kLength, 0);
  ASSERT_EQ(Trap(kAt + 107).size(), 1u);
  EXPECT_TRUE(Map(2 * kAt, kLength, 0).empty());
  EXPECT_TRUE(Trap(2 * kAt + 107).empty());
  map_.Cut(kAt, kLength);
  EXPECT_EQ(Trap(2 * kAt + 107).size(), 1u);
  EXPECT_EQ(page_.base[0], 2 * kAt);
}

TEST_P(CodeMapTest, WhatIsCutDoesNotTrap) {
  Map(kAt, kLength, 0);
  map_.Cut(kAt, 4096);
  EXPECT_TRUE(Trap(kAt + 107).empty());
  EXPECT_TRUE(Trap(kAt - 4096).empty());
  EXPECT_TRUE(Trap(kAt + kLength + 2).empty());
}

INSTANTIATE_TEST_SUITE_P(Calls, CodeMapTest, testing::Bool(),
                         [](const auto& i) { return i.param ? "Local" : "All"; });

}  // namespace
}  // namespace platform::stub
