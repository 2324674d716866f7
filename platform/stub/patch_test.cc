#include "platform/stub/patch.h"

#include <gtest/gtest.h>

namespace platform::stub {
namespace {

using Bytes = std::vector<uint8_t>;

// A page of one-byte instructions (nop) with a piece at an offset.
Bytes Page(size_t at, std::initializer_list<Bytes> pieces) {
  Bytes page(4096, 0x90);
  for (const Bytes& p : pieces) {
    std::copy(p.begin(), p.end(), page.begin() + static_cast<ptrdiff_t>(at));
    at += p.size();
  }
  return page;
}

const Bytes kCall = {0x0f, 0x05};
const Bytes kMov = {0xb8, 0x27, 0, 0, 0};
const Bytes kCheck = {0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff};

TEST(FindSites, MovBeforeTheCall) {
  auto sites = FindSites(Page(100, {kMov, kCall, kCheck}), {});
  ASSERT_EQ(sites.size(), 1u);
  EXPECT_EQ(sites[0].start, 100u);
  EXPECT_EQ(sites[0].jump, 100u);
  EXPECT_EQ(sites[0].call, 105u);
  EXPECT_EQ(sites[0].copied, 5);
  EXPECT_EQ(sites[0].boundaries, 1 << 5);
}

TEST(FindSites, NeedsEvidence) {
  Bytes page = Page(100, {kMov, kCall});
  EXPECT_TRUE(FindSites(page, {}).empty());
  const uint32_t seen[] = {105};
  EXPECT_EQ(FindSites(page, seen).size(), 1u);
}

TEST(FindSites, InstructionsBetween) {
  // mov $202, %eax; xor $0x81, %sil; syscall
  auto sites =
      FindSites(Page(100, {{0xb8, 0xca, 0, 0, 0}, {0x40, 0x80, 0xf6, 0x81}, kCall, kCheck}), {});
  ASSERT_EQ(sites.size(), 1u);
  EXPECT_EQ(sites[0].copied, 9);
  // What depends on its place stays where it is: lea 0(%rip), %rdi.
  EXPECT_TRUE(
      FindSites(Page(100, {kMov, {0x48, 0x8d, 0x3d, 0, 0, 0, 0}, kCall, kCheck}), {}).empty());
  // A jump over it too.
  EXPECT_TRUE(FindSites(Page(100, {kMov, {0xeb, 0x00}, kCall, kCheck}), {}).empty());
}

TEST(FindSites, OtherInstructionsThatEndAlike) {
  const uint32_t seen[] = {108};
  for (const Bytes& before :
       {Bytes{0x90, 0x90, 0x41} /* mov $39, %r8d */,
        Bytes{0x90, 0x48, 0x8d} /* lea 39(%rax), %rdi */,
        Bytes{0x90, 0xc7, 0x45} /* movl $39, -72(%rbp) */,
        Bytes{0xc7, 0x44, 0x24} /* movl $39, -72(%rsp) */, Bytes{0x90, 0x90, 0x66}}) {
    EXPECT_TRUE(FindSites(Page(100, {before, kMov, kCall, kCheck}), seen).empty());
  }
}

TEST(FindSites, PagesAreNotCrossed) {
  Bytes two(8192, 0x90);
  for (size_t at = 4096 - 7; at < 4100; at++) {
    Bytes code = two;
    std::copy(kMov.begin(), kMov.end(), code.begin() + static_cast<ptrdiff_t>(at));
    std::copy(kCall.begin(), kCall.end(), code.begin() + static_cast<ptrdiff_t>(at + 5));
    std::copy(kCheck.begin(), kCheck.end(), code.begin() + static_cast<ptrdiff_t>(at + 7));
    EXPECT_EQ(FindSites(code, {}).size(), at == 4096 - 7 || at >= 4096 ? 1u : 0u) << at;
  }
}

TEST(FindSites, ShortJumpToPadding) {
  // glibc's read: xor %eax, %eax; syscall; cmp; ja; ret; a nop of ten bytes up to a multiple of 16.
  Bytes page = Page(105, {{0x31, 0xc0},
                          kCall,
                          kCheck,
                          {0x77, 0x5b},
                          {0xc3},
                          {0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}});
  // 105 + 13 = 118: the nop ends at 128.
  auto sites = FindSites(page, {});
  ASSERT_EQ(sites.size(), 1u);
  EXPECT_TRUE(sites[0].is_short);
  EXPECT_EQ(sites[0].start, 105u);
  EXPECT_EQ(sites[0].jump, 118u);
  EXPECT_EQ(sites[0].copied, 2);
  EXPECT_EQ(sites[0].boundaries, 0);
  // Without padding there is no room.
  page[118] = 0x89;
  EXPECT_TRUE(FindSites(page, {}).empty());
}

TEST(FindSites, AllBytesOfTheThreadedRead) {
  auto sites = FindSites(Page(100, {{0x8b, 0x7c, 0x24, 0x08}, {0x31, 0xc0}, kCall, kCheck}), {});
  ASSERT_EQ(sites.size(), 1u);
  EXPECT_TRUE(sites[0].low_entry);
  EXPECT_EQ(sites[0].start, 100u);
  EXPECT_EQ(sites[0].jump, 101u);
  EXPECT_EQ(sites[0].boundaries, 1 << 4 | 1 << 6);
}

TEST(FindSites, AnyBytes) {
  // Never outside the span, whatever it holds.
  uint64_t x = 88172645463325252u;
  for (int round = 0; round < 300; round++) {
    Bytes code(64 + round);
    for (uint8_t& b : code) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      const uint8_t common[] = {0x0f, 0x05, 0xb8, 0x00, 0x31, 0xc0, 0x48, 0x3d, 0xf0, 0xff, 0xc3};
      b = (x & 3) != 0 ? common[(x >> 8) % sizeof common] : static_cast<uint8_t>(x >> 16);
    }
    std::vector<uint32_t> seen;
    for (uint32_t i = 0; i + 1 < code.size(); i++) seen.push_back(i);
    for (const Site& s : FindSites(code, seen)) {
      EXPECT_LE(s.call + 2, code.size());
      EXPECT_LE(s.jump + 7, code.size());
      EXPECT_EQ(code[s.call], 0x0f);
    }
  }
}

}  // namespace
}  // namespace platform::stub
