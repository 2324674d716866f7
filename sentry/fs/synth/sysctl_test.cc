#include "sentry/fs/synth/sysctl.h"

#include <gtest/gtest.h>

#include <array>

namespace sentry {
namespace {

using Two = std::array<uint32_t, 2>;

// What becomes of 7 and 8; {0, 0}: EINVAL.
Two Written(std::string_view text, uint32_t max = UINT32_MAX) {
  Two v = {7, 8};
  if (ReadSysctl(text, max, v).ok()) return v;
  EXPECT_EQ(v, (Two{7, 8}));
  return {0, 0};
}

TEST(Sysctl, NumbersTakeTheirPlaces) {
  EXPECT_EQ(Written("1 2\n"), (Two{1, 2}));
  EXPECT_EQ(Written("\n 1\t\t2"), (Two{1, 2}));
  EXPECT_EQ(Written("1"), (Two{1, 8}));
  EXPECT_EQ(Written("1 2 no number"), (Two{1, 2}));
  EXPECT_EQ(Written("0x10 020"), (Two{16, 16}));
  EXPECT_EQ(Written("0 4294967295"), (Two{0, UINT32_MAX}));
}

TEST(Sysctl, Errors) {
  for (std::string_view text : {"", "\n", "x", "1x", "1 x", "1,2", "-1", "1 -2", "+1", "08", "0x",
                                "0xg", "4294967296", "99999999999999999999999"}) {
    EXPECT_EQ(Written(text), (Two{0, 0})) << text;
  }
  EXPECT_EQ(Written(std::string_view("1\0", 2)), (Two{0, 0}));
  EXPECT_EQ(Written("5 6", 5), (Two{0, 0}));
  EXPECT_EQ(Written("5 5", 5), (Two{5, 5}));
}

}  // namespace
}  // namespace sentry
