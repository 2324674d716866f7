#include "sentry/memory/memory_file.h"

#include <gtest/gtest.h>

#include <cstring>

#include "platform/host/host.h"
#include "platform/host/safe_copy.h"

namespace sentry {
namespace {

TEST(MemoryFileTest, AllocatesDownwardsAndOnce) {
  auto f = std::move(MemoryFile::Create()).value();
  uint64_t a = f->Allocate(8192), b = f->Allocate(4096);
  EXPECT_EQ(a + 8192, f->capacity());
  EXPECT_EQ(b + 4096, a);
  f->Free(b, 4096);
  EXPECT_EQ(f->Allocate(4096) + 4096, b);
}

TEST(MemoryFileTest, HugeRangesAgreeWithTheirAddress) {
  auto f = std::move(MemoryFile::Create()).value();
  uint64_t addr = 0x7f1234567000;
  uint64_t off = f->Allocate(8 << 20, addr);
  EXPECT_EQ(off % (2 << 20), addr % (2 << 20));
  // The neighbour below stays contiguous.
  uint64_t below = f->Allocate(4 << 20, addr - (4 << 20));
  EXPECT_EQ(below + (4 << 20), off);
}

TEST(MemoryFileTest, Exhaustion) {
  auto f = std::move(MemoryFile::Create(1 << 20)).value();
  EXPECT_EQ(f->Allocate(2 << 20), MemoryFile::kNoSpace);
  EXPECT_NE(f->Allocate(1 << 20), MemoryFile::kNoSpace);
  EXPECT_EQ(f->Allocate(4096), MemoryFile::kNoSpace);
}

TEST(MemoryFileTest, WindowsAndHoles) {
  host::InstallFaultHandler();
  auto f = std::move(MemoryFile::Create()).value();
  uint64_t off = f->Allocate(16384);
  uint64_t len = 16384;
  uint8_t* p = f->Window(off, &len);
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(len, 16384u);
  EXPECT_EQ(f->NextData(off, off + 16384), off + 16384);
  EXPECT_EQ(host::SafeCopy(p + 4096, "hello", 5), 5u);
  EXPECT_EQ(f->NextData(off, off + 16384), off + 4096);
  EXPECT_EQ(f->NextHole(off + 4096, off + 16384), off + 8192);
  char buf[5];
  ASSERT_EQ(host::Pread(f->read_only()->fd(), buf, 5, off + 4096), 5);
  EXPECT_EQ(memcmp(buf, "hello", 5), 0);
  EXPECT_LT(host::Pwrite(f->read_only()->fd(), buf, 5, off), 0);
  f->Free(off, 16384);
  EXPECT_EQ(p[4096], 0);
  // Windows end at their own border.
  len = uint64_t{1} << 30;
  ASSERT_NE(f->Window(off, &len), nullptr);
  EXPECT_LE(len, uint64_t{64} << 20);
}

}  // namespace
}  // namespace sentry
