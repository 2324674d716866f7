#include "sentry/wait/parker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "platform/api/platform.h"
#include "platform/base/before_sleep.h"
#include "platform/host/host.h"

namespace sentry {
namespace {

// Whether a thread of this process sleeps.
bool Sleeps(long tid) {
  std::ifstream f("/proc/self/task/" + std::to_string(tid) + "/stat");
  std::string line;
  std::getline(f, line);
  const size_t end = line.rfind(')');
  return end != std::string::npos && end + 2 < line.size() && line[end + 2] == 'S';
}

// A thread that parks once, and is asleep when the constructor is through.
struct Sleeper {
  Parker parker;
  std::atomic<bool> awake{false};
  std::atomic<long> tid{0};
  int before = platform::active.load();
  std::thread thread{[this] {
    tid = host::Gettid();
    EXPECT_TRUE(parker.Park());
    awake = true;
  }};
  Sleeper() {
    while (platform::active.load() == before || !Sleeps(tid)) std::this_thread::yield();
  }
  ~Sleeper() { thread.join(); }
  // A thread that was not woken has no way to show it but time.
  bool StaysAsleep() {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return !awake;
  }
  void AwaitWake() {
    while (!awake) std::this_thread::yield();
  }
};

class LateWakesTest : public testing::Test {
 protected:
  void SetUp() override {
    platform::busy_processors = 2;
    platform::active = 2;
  }
  void TearDown() override {
    platform::busy_processors = 0;
    platform::active = 0;
  }
};

TEST_F(LateWakesTest, AtTheEnd) {
  Sleeper s;
  {
    LateWakes late;
    s.parker.Unpark();
    EXPECT_TRUE(s.StaysAsleep());
  }
  s.AwaitWake();
}

TEST_F(LateWakesTest, BeforeTheWakerSleeps) {
  Sleeper s;
  LateWakes late;
  s.parker.Unpark();
  EXPECT_TRUE(s.StaysAsleep());
  Parker own;
  EXPECT_FALSE(own.Park(host::ClockNow(CLOCK_MONOTONIC)));
  s.AwaitWake();
}

TEST_F(LateWakesTest, AfterSomeCalls) {
  Sleeper s;
  LateWakes late;
  s.parker.Unpark();
  for (int i = 0; i < 1000; i++) LateWakes::Tick();
  s.AwaitWake();
}

TEST_F(LateWakesTest, NoMoreThanSome) {
  std::vector<std::unique_ptr<Sleeper>> sleepers;
  for (int i = 0; i < 20; i++) sleepers.push_back(std::make_unique<Sleeper>());
  platform::active = 2;
  LateWakes late;
  for (auto& s : sleepers) s->parker.Unpark();
  sleepers.back()->AwaitWake();
  EXPECT_TRUE(sleepers.front()->StaysAsleep());
  base::BeforeSleep();
  for (auto& s : sleepers) s->AwaitWake();
}

TEST_F(LateWakesTest, AtOnceWithProcessorsEnough) {
  platform::busy_processors = 8;
  Sleeper s;
  LateWakes late;
  s.parker.Unpark();
  s.AwaitWake();
}

TEST_F(LateWakesTest, OnlyWhereItIsAllowed) {
  Sleeper s;
  s.parker.Unpark();
  s.AwaitWake();
}

TEST_F(LateWakesTest, SleepersThatAreGone) {
  LateWakes late;
  {
    Sleeper s;
    s.parker.Unpark();
    EXPECT_TRUE(s.StaysAsleep());
    host::FutexWake(&s.parker, 1);  // it wakes by itself
    s.AwaitWake();
  }
  base::BeforeSleep();
}

}  // namespace
}  // namespace sentry
