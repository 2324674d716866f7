#include "gofer/client/entries.h"

#include <gtest/gtest.h>

namespace gofer {
namespace {

TEST(DirectoryEntries, NamesTypesAndAttributes) {
  DirectoryEntries e;
  e.Add("file", 8, 10);
  e.Add("unknown", 0, 11);
  EXPECT_EQ(e.attr(0), nullptr);
  e.SetAttr(1, {.ino = 11, .mode = 0040755});
  EXPECT_EQ(e.name(0), "file");
  EXPECT_EQ(e.type(1), 4);  // DT_DIR
  EXPECT_EQ(e.attr(1)->ino, 11u);
  e.SetAttr(1, {.ino = 12, .mode = 0100644});
  EXPECT_EQ(e.attr(1)->ino, 12u);
  e.ForgetAttr(1);
  EXPECT_EQ(e.attr(1), nullptr);
  DirectoryEntries more;
  more.Add("third", 8, 13);
  more.SetAttr(0, {.ino = 13, .mode = 0100644});
  e.Append(std::move(more));
  ASSERT_EQ(e.size(), 3u);
  EXPECT_EQ(e.name(2), "third");
  EXPECT_EQ(e.attr(2)->ino, 13u);
}

TEST(DirectoryEntries, RemovalsKeepTheRest) {
  DirectoryEntries e;
  for (int i = 0; i < 1000; i++) e.Add("name" + std::to_string(i), 8, static_cast<uint64_t>(i));
  while (e.size() > 1) {
    const size_t last = e.size() - 1;
    const std::string moved(e.name(last));
    e.Remove(last / 2);
    ASSERT_EQ(e.name(last / 2), moved);
  }
  EXPECT_EQ(e.name(0), "name" + std::to_string(e.ino(0)));
}

}  // namespace
}  // namespace gofer
