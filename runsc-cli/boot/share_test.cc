#include "runsc-cli/boot/share.h"

#include <gtest/gtest.h>

namespace runsc {
namespace {

constexpr Share kMachine{.cpus = 8, .memory_bytes = 1000};

TEST(Share, WithoutLimits) {
  const Share s = ShareOf({}, kMachine);
  EXPECT_EQ(s.cpus, 8);
  EXPECT_EQ(s.memory_bytes, 1000u);
  EXPECT_EQ(s.tasks, 0u);
}

TEST(Share, TheSmallestLimitCounts) {
  Resources r;
  r.cpus = "0-2,5";
  EXPECT_EQ(ShareOf(r, kMachine).cpus, 4);
  r.cpu_quota = 150000;
  EXPECT_EQ(ShareOf(r, kMachine).cpus, 2);
  r.cpu_period = 50000;
  EXPECT_EQ(ShareOf(r, kMachine).cpus, 3);
  r.cpu_quota = 1;
  EXPECT_EQ(ShareOf(r, kMachine).cpus, 1);
  r.memory_limit = 2000;
  EXPECT_EQ(ShareOf(r, kMachine).memory_bytes, 1000u);
  r.memory_limit = 500;
  EXPECT_EQ(ShareOf(r, kMachine).memory_bytes, 500u);
  r.pids_limit = -1;
  EXPECT_EQ(ShareOf(r, kMachine).tasks, 0u);
}

TEST(Share, TheSandboxHasRoomBesideTheGuestsMemory) {
  constexpr Share kLarge{.cpus = 8, .memory_bytes = 8ull << 30};
  EXPECT_EQ(GuestMemory({}, kLarge), kLarge.memory_bytes);
  Resources r;
  r.memory_limit = 64 << 20;
  EXPECT_EQ(GuestMemory(r, kLarge), 59ull << 20);
  r.memory_limit = 8 << 20;
  EXPECT_EQ(GuestMemory(r, kLarge), 6ull << 20);
  r.memory_limit = -1;
  EXPECT_EQ(GuestMemory(r, kLarge), kLarge.memory_bytes);
}

TEST(Share, ControlGroup) {
  Resources r;
  r.memory_limit = 100;
  r.memory_swap = 100;
  r.cpu_shares = 1024;
  const sentry::CgroupLimits l = LimitsOf(r);
  EXPECT_EQ(l.memory_max, 100u);
  EXPECT_TRUE(l.swap_limited);
  EXPECT_EQ(l.swap_max, 0u);
  EXPECT_EQ(l.cpu_weight, 39u);
  EXPECT_EQ(l.cpu_period, 100000u);
  EXPECT_FALSE(LimitsOf({}).swap_limited);
}

}  // namespace
}  // namespace runsc
