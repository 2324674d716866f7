#include "sentry/vfs/fd_table.h"

#include <gtest/gtest.h>

#include "sentry/vfs/vfs.h"

namespace sentry {
namespace {

using abi::Errno;

base::Ref<File> NewFile(uint32_t flags = abi::kO_RDWR) {
  return base::MakeRef<File>(Path{}, Vfs::NewAnonInode(0600), flags);
}

TEST(FdTable, LowestFree) {
  FdTable* raw = new FdTable;
  base::Ref<FdTable> t = base::Ref<FdTable>::Adopt(raw);
  for (int32_t i = 0; i < 5; i++) EXPECT_EQ(*t->Install(NewFile(), false, 1024), i);
  EXPECT_TRUE(t->Remove(1).ok());
  EXPECT_TRUE(t->Remove(3).ok());
  EXPECT_TRUE(t->Remove(3).is(Errno::kEBADF));
  EXPECT_EQ(*t->Install(NewFile(), false, 1024), 1);
  EXPECT_EQ(*t->Install(NewFile(), false, 1024), 3);
  EXPECT_EQ(*t->Install(NewFile(), false, 1024), 5);
  EXPECT_EQ(*t->Install(NewFile(), false, 1024, 100), 100);
  EXPECT_EQ(*t->Install(NewFile(), false, 1024), 6);
  EXPECT_TRUE(t->Install(NewFile(), false, 7).is(Errno::kEMFILE));
  EXPECT_TRUE(t->Install(NewFile(), false, 7, 8).is(Errno::kEINVAL));
  EXPECT_TRUE(t->Get(-1).is(Errno::kEBADF));
  EXPECT_TRUE(t->Get(99).is(Errno::kEBADF));
}

TEST(FdTable, PairsAllOrNone) {
  base::Ref<FdTable> t = base::MakeRef<FdTable>();
  int32_t fds[2];
  EXPECT_TRUE(t->InstallTwo(NewFile(), NewFile(), true, 1, fds).is(Errno::kEMFILE));
  EXPECT_TRUE(t->List().empty());
  EXPECT_TRUE(t->InstallTwo(NewFile(), NewFile(), true, 2, fds).ok());
  EXPECT_EQ(fds[1], 1);
  EXPECT_TRUE(*t->cloexec(0));
}

TEST(FdTable, CloexecCloneAndPath) {
  base::Ref<FdTable> t = base::MakeRef<FdTable>();
  ASSERT_TRUE(t->Install(NewFile(), false, 10).ok());
  ASSERT_TRUE(t->Install(NewFile(), true, 10).ok());
  ASSERT_TRUE(t->Install(NewFile(abi::kO_PATH), false, 10).ok());
  EXPECT_TRUE(t->Get(2).is(Errno::kEBADF));
  EXPECT_TRUE(t->GetAny(2).ok());
  base::Ref<FdTable> copy = t->Clone();
  EXPECT_EQ(t->RemoveCloexec().size(), 1u);
  EXPECT_EQ(t->List(), (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(copy->List(), (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(copy->Clone(1)->List(), (std::vector<int32_t>{0}));
  base::Result<base::Ref<File>> old = copy->InstallAt(2, NewFile(), false, 10);
  ASSERT_TRUE(old.ok());
  EXPECT_TRUE(static_cast<bool>(*old));
  EXPECT_TRUE(copy->InstallAt(10, NewFile(), false, 10).is(Errno::kEBADF));
  EXPECT_EQ(copy->RemoveRange(1, UINT32_MAX).size(), 2u);
}

}  // namespace
}  // namespace sentry
