#include "runsc-cli/oci/dbus.h"

#include <gtest/gtest.h>

namespace runsc {
namespace {

TEST(DBusWriter, AlignsAsTheSpecificationHasIt) {
  DBusWriter w;
  w.Byte(1);
  w.Uint32(2);
  w.String("abc");
  w.Signature("s");
  w.Uint64(3);
  const std::string want(
      "\x01\0\0\0"
      "\x02\0\0\0"
      "\x03\0\0\0"
      "abc\0"
      "\x01s\0\0\0\0\0\0"
      "\x03\0\0\0\0\0\0",
      32);
  EXPECT_EQ(w.bytes(), want);
}

TEST(DBusWriter, AnArraysLengthIsWithoutThePaddingBeforeItsFirstElement) {
  DBusWriter w;
  w.Array(8, [&] {
    for (uint64_t i : {1, 2}) w.Uint64(i);
  });
  DBusReader r(w.bytes());
  EXPECT_EQ(r.Uint32(), 16u);
  EXPECT_EQ(w.bytes().size(), 24u);
  DBusWriter empty;
  empty.Array(8, [] {});
  EXPECT_EQ(empty.bytes(), std::string(8, '\0'));
}

TEST(DBusReader, ReadsWhatWasWrittenAndNothingBehindIt) {
  DBusWriter w;
  w.Signature("ao");
  w.Uint32(7);
  w.String("/a");
  DBusReader r(w.bytes());
  EXPECT_EQ(r.Signature(), "ao");
  EXPECT_EQ(r.Uint32(), 7u);
  EXPECT_EQ(r.String(), "/a");
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.Uint32(), 0u);
  EXPECT_FALSE(r.ok());
  DBusReader lies(std::string_view("\xff\xff\xff\xff", 4));
  EXPECT_EQ(lies.String(), "");
  EXPECT_FALSE(lies.ok());
}

}  // namespace
}  // namespace runsc
