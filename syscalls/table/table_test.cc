#include "syscalls/table/table.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <set>
#include <string>

namespace syscalls {
namespace {

std::string Flags(FlagSet set, uint64_t value) {
  std::string s;
  AppendFlags(&s, set, value);
  return s;
}

TEST(Table, HasEveryNumberOfTheSystemHeaders) {
  FILE* f = fopen("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "r");
  if (f == nullptr) GTEST_SKIP() << "no kernel headers";
  char line[256], name[64];
  unsigned nr;
  int seen = 0;
  while (fgets(line, sizeof line, f) != nullptr) {
    if (sscanf(line, "#define __NR_%63s %u", name, &nr) != 2) continue;
    ++seen;
    const Row* row = FindRow(nr);
    ASSERT_NE(row, nullptr) << nr;
    EXPECT_STREQ(row->name, name);
  }
  fclose(f);
  EXPECT_GT(seen, 350);
}

TEST(Table, HasNoHolesButLinuxs) {
  for (uint64_t nr = 0; nr <= 469; ++nr) {
    EXPECT_EQ(FindRow(nr) != nullptr, nr <= 336 || nr >= 424) << nr;
  }
  EXPECT_EQ(FindRow(470), nullptr);
  EXPECT_EQ(FindRow(~uint64_t{0}), nullptr);
  EXPECT_EQ(kMaxNr, 469u);
}

TEST(Table, NamesAreUniqueAndFound) {
  std::set<std::string> names;
  for (const Row& r : kRows) {
    EXPECT_TRUE(names.insert(r.name).second) << r.name;
    EXPECT_EQ(FindRow(r.name), &r);
    EXPECT_EQ(r.level == Level::kRefused, r.refusal != abi::Errno::kOk) << r.name;
  }
  EXPECT_EQ(FindRow("openat")->nr, static_cast<uint16_t>(Sys::openat));
  EXPECT_EQ(FindRow("nonsense"), nullptr);
}

TEST(Features, LookupAndMask) {
  EXPECT_EQ(Lookup(FlagSet::madvise_advice, 4), Support::kFull);
  EXPECT_EQ(Lookup(FlagSet::madvise_advice, 14), Support::kIgnored);
  EXPECT_EQ(Lookup(FlagSet::madvise_advice, 999), Support::kRefused);
  // O_RDONLY, O_WRONLY and O_RDWR are no flag bits.
  EXPECT_EQ(AcceptMask(FlagSet::open_flags) & 3, 0u);
  EXPECT_NE(AcceptMask(FlagSet::open_flags) & 02000000, 0u);
  EXPECT_EQ(AcceptMask(FlagSet::clone_flags) & 0x40000000, 0u);
}

TEST(Features, EveryUseNamesARow) {
  size_t n;
  const Use* u = Uses(&n);
  for (size_t i = 0; i < n; ++i) {
    EXPECT_LT(u[i].arg, 6);
    EXPECT_NE(FindRow(static_cast<uint64_t>(u[i].call)), nullptr);
  }
  EXPECT_EQ(SetOf(Sys::openat, 2), FlagSet::open_flags);
  EXPECT_EQ(SetOf(Sys::openat, 0), FlagSet::kCount);
}

TEST(Features, Names) {
  EXPECT_EQ(Flags(FlagSet::open_flags, 0), "O_RDONLY");
  EXPECT_EQ(Flags(FlagSet::open_flags, 02000001), "O_WRONLY|O_CLOEXEC");
  EXPECT_EQ(Flags(FlagSet::open_flags, 020200002), "O_RDWR|O_TMPFILE");
  EXPECT_EQ(Flags(FlagSet::prot, 0), "PROT_NONE");
  EXPECT_EQ(Flags(FlagSet::prot, 5), "PROT_READ|PROT_EXEC");
  EXPECT_EQ(Flags(FlagSet::mmap_flags, 0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
  EXPECT_EQ(Flags(FlagSet::fcntl_cmd, 1030), "F_DUPFD_CLOEXEC");
  EXPECT_EQ(Flags(FlagSet::fcntl_cmd, 77), "0x4d");
  EXPECT_EQ(Flags(FlagSet::futex_op, 0x80), "FUTEX_WAIT|FUTEX_PRIVATE_FLAG");
  EXPECT_EQ(Flags(FlagSet::pipe_flags, 0), "0");
  EXPECT_EQ(Flags(FlagSet::pipe_flags, 1), "0x1");
  EXPECT_EQ(Flags(FlagSet::clone_flags, 0x01200011),
            "SIGCHLD|CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID");
}

}  // namespace
}  // namespace syscalls
