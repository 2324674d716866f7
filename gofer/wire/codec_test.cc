#include "gofer/wire/codec.h"

#include <gtest/gtest.h>

#include <vector>

#include "gofer/wire/messages.h"

namespace gofer::wire {
namespace {

TEST(Codec, RoundTrip) {
  std::vector<uint8_t> buffer(256);
  Writer w(buffer);
  w.Put(uint32_t{7});
  w.String("name");
  w.Blob(std::vector<uint8_t>{1, 2, 3});
  w.Put(OwnerMode{.mode = 0644, .uid = 1, .gid = 2});
  w.Patch(0, uint32_t{8});
  ASSERT_TRUE(w.ok());
  Reader r({buffer.data(), w.size()});
  EXPECT_EQ(r.Get<uint32_t>(), 8u);
  EXPECT_EQ(r.String(255), "name");
  EXPECT_EQ(r.Blob(10).size(), 3u);
  EXPECT_FALSE(r.Done());
  EXPECT_EQ(r.Get<OwnerMode>().mode, 0644u);
  EXPECT_TRUE(r.Done());
}

TEST(Codec, OverrunsStick) {
  std::vector<uint8_t> buffer(6);
  Writer w(buffer);
  w.Put(uint32_t{1});
  w.Put(uint32_t{2});
  EXPECT_FALSE(w.ok());
  EXPECT_EQ(w.size(), 4u);
  w.Put(uint8_t{1});
  EXPECT_FALSE(w.ok());
  w.Rewind(4);
  EXPECT_TRUE(w.ok());

  Reader r(buffer);
  r.Get<uint64_t>();
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.Get<uint8_t>(), 0);
  EXPECT_FALSE(r.Done());
}

TEST(Codec, LengthsAreBounded) {
  std::vector<uint8_t> buffer(32);
  Writer w(buffer);
  w.String("0123456789");
  Reader too_long(buffer);
  too_long.String(9);
  EXPECT_FALSE(too_long.ok());
  // A length that points behind the end.
  Reader cut({buffer.data(), 6});
  EXPECT_EQ(cut.String(255), "");
  EXPECT_FALSE(cut.ok());
}

}  // namespace
}  // namespace gofer::wire
