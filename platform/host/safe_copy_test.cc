#include "platform/host/safe_copy.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <vector>

namespace host {
namespace {

class SafeCopyTest : public testing::Test {
 protected:
  static constexpr size_t kPage = 4096;
  void SetUp() override {
    InstallFaultHandler();
    // Two pages, then a hole.
    p_ = static_cast<char*>(
        mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(p_ + 2 * kPage, kPage, PROT_NONE);
    for (size_t i = 0; i < 2 * kPage; i++) p_[i] = static_cast<char>(i * 7 + 1);
  }
  void TearDown() override { munmap(p_, 3 * kPage); }
  char* p_;
};

TEST_F(SafeCopyTest, CopiesEverySize) {
  std::vector<char> out(5000);
  for (size_t n = 0; n <= 4500; n = n < 200 ? n + 1 : n + 37) {
    std::fill(out.begin(), out.end(), 0x55);
    ASSERT_EQ(SafeCopy(out.data(), p_ + 3, n), n);
    ASSERT_EQ(memcmp(out.data(), p_ + 3, n), 0);
    ASSERT_EQ(out[n], 0x55);
  }
}

TEST_F(SafeCopyTest, StopsExactlyAtTheFault) {
  std::vector<char> out(8192);
  for (size_t left = 0; left <= 5000; left = left < 150 ? left + 1 : left + 97) {
    char* src = p_ + 2 * kPage - left;
    for (size_t n : {left, left + 1, left + 9, left + 70, left + 3000}) {
      ASSERT_EQ(SafeCopy(out.data(), src, n), n < left ? n : left) << left << " " << n;
      ASSERT_EQ(memcmp(out.data(), src, left), 0);
      ASSERT_EQ(SafeCopy(src, out.data(), n), left);
    }
    ASSERT_EQ(SafeZero(src, left + 10), left);
  }
}

TEST_F(SafeCopyTest, Atomics) {
  uint32_t v = 0, old = 0;
  EXPECT_TRUE(SafeStore32(p_, 5));
  EXPECT_TRUE(SafeLoad32(p_, &v));
  EXPECT_EQ(v, 5u);
  EXPECT_TRUE(SafeCas32(p_, 5, 6, &old));
  EXPECT_EQ(old, 5u);
  EXPECT_TRUE(SafeCas32(p_, 5, 7, &old));
  EXPECT_EQ(old, 6u);
  EXPECT_TRUE(SafeSwap32(p_, 9, &old));
  EXPECT_EQ(old, 6u);
  char* hole = p_ + 2 * kPage;
  EXPECT_FALSE(SafeLoad32(hole, &v));
  EXPECT_FALSE(SafeStore32(hole, 1));
  EXPECT_FALSE(SafeSwap32(hole, 1, &old));
  EXPECT_FALSE(SafeCas32(hole, 1, 2, &old));
}

TEST_F(SafeCopyTest, OtherFaultsKill) {
  EXPECT_DEATH(*static_cast<volatile char*>(p_ + 2 * kPage) = 1, "signal 11");
}

#ifdef MOAT_SANITIZE_ADDRESS
TEST_F(SafeCopyTest, SanitizerSeesOverruns) {
  std::vector<char> small(8);
  EXPECT_DEATH(SafeCopy(small.data(), p_, 9), "heap-buffer-overflow");
  EXPECT_DEATH(SafeCopy(p_, small.data(), 9), "heap-buffer-overflow");
  EXPECT_DEATH(SafeZero(small.data(), 9), "heap-buffer-overflow");
}
#endif

}  // namespace
}  // namespace host
