#include "sentry/vfs/file_locks.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sentry {
namespace {

using Type = FileLocks::Type;
const int kA = 0, kB = 0, kC = 0;
const void* const a = &kA;
const void* const b = &kB;
const void* const c = &kC;

std::string Show(FileLocks& l, const void* owner) {
  std::vector<FileLocks::Record> all = l.List();
  std::sort(all.begin(), all.end(),
            [](const auto& x, const auto& y) { return x.range.start < y.range.start; });
  std::string out;
  for (const auto& r : all) {
    if (r.owner != owner) continue;
    out += r.type == Type::kWrite ? "w" : "r";
    out += std::to_string(r.range.start) + "-" +
           (r.range.end == UINT64_MAX ? "" : std::to_string(r.range.end)) + " ";
  }
  return out;
}

TEST(FileLocks, SplitAndMerge) {
  FileLocks l;
  EXPECT_TRUE(l.SetPosix(a, 1, Type::kWrite, {0, 99}));
  EXPECT_TRUE(l.SetPosix(a, 1, Type::kRead, {40, 59}));
  EXPECT_EQ(Show(l, a), "w0-39 r40-59 w60-99 ");
  EXPECT_TRUE(l.SetPosix(a, 1, Type::kUnlock, {50, 69}));
  EXPECT_EQ(Show(l, a), "w0-39 r40-49 w70-99 ");
  EXPECT_TRUE(l.SetPosix(a, 1, Type::kWrite, {40, 69}));
  EXPECT_EQ(Show(l, a), "w0-99 ");
  EXPECT_TRUE(l.SetPosix(a, 1, Type::kWrite, {100, UINT64_MAX}));
  EXPECT_EQ(Show(l, a), "w0- ");
  EXPECT_TRUE(l.SetPosix(a, 1, Type::kUnlock, {0, UINT64_MAX}));
  EXPECT_EQ(Show(l, a), "");
}

TEST(FileLocks, Conflicts) {
  FileLocks l;
  EXPECT_TRUE(l.SetPosix(a, 1, Type::kRead, {0, 9}));
  EXPECT_TRUE(l.SetPosix(b, 2, Type::kRead, {5, 14}));
  EXPECT_FALSE(l.SetPosix(b, 2, Type::kWrite, {5, 14}));
  EXPECT_TRUE(l.SetPosix(b, 2, Type::kWrite, {10, 14}));
  FileLocks::Record r;
  EXPECT_TRUE(l.TestPosix(a, Type::kRead, {0, UINT64_MAX}, &r));
  EXPECT_EQ(r.pid, 2);
  EXPECT_EQ(r.range.start, 10u);
  EXPECT_FALSE(l.TestPosix(a, Type::kRead, {0, 9}, &r));
  l.ReleasePosix(b);
  EXPECT_TRUE(l.SetPosix(a, 1, Type::kWrite, {0, UINT64_MAX}));
}

TEST(FileLocks, Deadlock) {
  FileLocks x, y, z;
  EXPECT_TRUE(x.SetPosix(a, 1, Type::kWrite, {}));
  EXPECT_TRUE(y.SetPosix(b, 2, Type::kWrite, {}));
  EXPECT_TRUE(z.SetPosix(c, 3, Type::kWrite, {}));
  EXPECT_TRUE(y.BeginWait(a, Type::kWrite, {}));
  EXPECT_TRUE(z.BeginWait(b, Type::kWrite, {}));
  EXPECT_FALSE(x.BeginWait(c, Type::kWrite, {}));
  FileLocks::EndWait(a);
  EXPECT_TRUE(x.BeginWait(c, Type::kWrite, {}));
  FileLocks::EndWait(b);
  FileLocks::EndWait(c);
}

TEST(FileLocks, Flock) {
  FileLocks l;
  EXPECT_TRUE(l.SetFlock(a, 1, Type::kRead));
  EXPECT_TRUE(l.SetFlock(b, 2, Type::kRead));
  EXPECT_FALSE(l.SetFlock(a, 1, Type::kWrite));
  // The conversion gave the old lock up.
  EXPECT_TRUE(l.SetFlock(b, 2, Type::kWrite));
  l.ReleaseFlock(b);
  EXPECT_TRUE(l.SetFlock(a, 1, Type::kWrite));
  EXPECT_FALSE(l.SetFlock(b, 2, Type::kRead));
}

}  // namespace
}  // namespace sentry
