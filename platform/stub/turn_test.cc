#include "platform/stub/turn.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "platform/api/platform.h"
#include "platform/base/before_sleep.h"

namespace platform::stub {
namespace {

class TurnTest : public testing::Test {
 protected:
  TurnTest() {
    busy_processors = 2;
    Turn::patience_ns = int64_t{600'000'000'000};
  }
  ~TurnTest() override {
    Turn::Leave();
    Turn::patience_ns = patience_;
    busy_processors = 0;
  }
  // In a thread of its own, with which its turn ends.
  static std::thread Run(std::function<void()> f) { return std::thread(std::move(f)); }
  const int64_t patience_ = Turn::patience_ns;
  static void AwaitWaiters() {
    while (!Turn::wanted()) std::this_thread::yield();
  }
};

TEST_F(TurnTest, AsManyAsPairsOfProcessors) {
  busy_processors = 5;
  EXPECT_EQ(Turn::Keep(true), 2);
  Run([] {
    EXPECT_EQ(Turn::Keep(true), 2);
    Run([] { EXPECT_EQ(Turn::Keep(true), 0); }).join();
  }).join();
  // Those that are left are free.
  Run([] { EXPECT_EQ(Turn::Keep(true), 2); }).join();
}

TEST_F(TurnTest, OneProcessorForThoseThatDoNotWaitBusily) {
  EXPECT_EQ(Turn::Keep(false), 1);
  Run([] {
    EXPECT_EQ(Turn::Keep(true), 0);
    EXPECT_EQ(Turn::Keep(false), 1);
    // The other one isn't free.
    EXPECT_EQ(Turn::Keep(true), 1);
  }).join();
  EXPECT_EQ(Turn::Keep(true), 2);
  EXPECT_EQ(Turn::Keep(false), 1);
  Run([] { EXPECT_EQ(Turn::Keep(false), 1); }).join();
}

TEST_F(TurnTest, KeptWhileNobodyWaits) {
  EXPECT_EQ(Turn::Keep(true), 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(Turn::Keep(true), 2);
}

TEST_F(TurnTest, PassedOnBySleep) {
  ASSERT_EQ(Turn::Keep(true), 2);
  std::thread other = Run([] {
    EXPECT_EQ(Turn::Keep(true), 0);
    EXPECT_EQ(Turn::Wait(true), 2);
    EXPECT_EQ(Turn::Keep(true), 2);
  });
  AwaitWaiters();
  base::BeforeSleep();
  other.join();
  EXPECT_FALSE(Turn::wanted());
  EXPECT_EQ(Turn::Keep(true), 2);
}

TEST_F(TurnTest, OverWhenOthersWait) {
  ASSERT_EQ(Turn::Keep(true), 2);
  std::atomic<bool> got{false};
  std::thread other = Run([&] {
    EXPECT_EQ(Turn::Wait(true), 2);
    got = true;
  });
  AwaitWaiters();
  while (Turn::Keep(true) != 0) std::this_thread::yield();
  other.join();
  EXPECT_TRUE(got);
}

TEST_F(TurnTest, VoidWhenItIsNotPassedOn) {
  Turn::patience_ns = 1'000'000;
  ASSERT_EQ(Turn::Keep(true), 2);
  Run([] {
    EXPECT_EQ(Turn::Wait(true), 2);
    // The holder comes back: its turn is gone, and there are no more of them than before.
    Run([] { EXPECT_EQ(Turn::Keep(true), 0); }).join();
  }).join();
  Turn::Leave();
  EXPECT_EQ(Turn::Keep(true), 2);
  Run([] { EXPECT_EQ(Turn::Keep(true), 0); }).join();
}

TEST_F(TurnTest, WhoSleptComesFirst) {
  ASSERT_EQ(Turn::Keep(true), 2);
  std::vector<int> order;  // by the turn, which one thread has
  std::atomic<bool> slept{false};
  std::thread sleeper = Run([&] {
    EXPECT_EQ(Turn::Wait(true), 2);
    base::BeforeSleep();
    slept = true;
    while (Turn::waiting() != 1) std::this_thread::yield();
    EXPECT_EQ(Turn::Wait(true), 2);
    order.push_back(2);
  });
  AwaitWaiters();
  base::BeforeSleep();
  while (!slept) std::this_thread::yield();
  ASSERT_EQ(Turn::Keep(true), 2);
  std::thread newcomer = Run([&] {
    EXPECT_EQ(Turn::Wait(true), 2);
    order.push_back(1);
  });
  while (Turn::waiting() != 2) std::this_thread::yield();
  // A turn that has hardly begun ends, too.
  EXPECT_EQ(Turn::Keep(true), 0);
  sleeper.join();
  newcomer.join();
  EXPECT_EQ(order, (std::vector<int>{2, 1}));
}

TEST_F(TurnTest, NoneOnOneProcessor) {
  busy_processors = 1;
  EXPECT_EQ(Turn::Keep(true), 0);
  EXPECT_EQ(Turn::Wait(true), 0);
  EXPECT_FALSE(Turn::wanted());
}

}  // namespace
}  // namespace platform::stub
