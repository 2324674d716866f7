#include "sentry/time/timer.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace sentry {
namespace {

class Recorder : public Timer {
 public:
  Recorder(int id, std::vector<int>* out, std::atomic<int>* count)
      : Timer(TheTimerQueue()), id_(id), out_(out), count_(count) {}
  ~Recorder() override { Cancel(); }
  void OnTimer() override {
    out_->push_back(id_);
    count_->fetch_add(1);
  }

 private:
  int id_;
  std::vector<int>* out_;
  std::atomic<int>* count_;
};

TEST(TimerQueue, FiresInOrderOfDeadline) {
  std::vector<int> order;
  std::atomic<int> count{0};
  std::vector<std::unique_ptr<Recorder>> timers;
  int64_t now = HostClock().Monotonic();
  const int delays[] = {30, 10, 50, 20, 40};
  for (int d : delays) {
    timers.push_back(std::make_unique<Recorder>(d, &order, &count));
    timers.back()->Arm(now + d * 1000000);
  }
  while (count < 5) std::this_thread::yield();
  EXPECT_EQ(order, (std::vector<int>{10, 20, 30, 40, 50}));
}

TEST(TimerQueue, CancelledTimerDoesNotFire) {
  std::vector<int> order;
  std::atomic<int> count{0};
  Recorder a(1, &order, &count), b(2, &order, &count), c(3, &order, &count);
  int64_t now = HostClock().Monotonic();
  a.Arm(now + 20000000);
  b.Arm(now + 10000000);
  c.Arm(now + 5000000);
  a.Cancel();
  c.Arm(now + 15000000);  // re-armed: once, later
  while (count < 2) std::this_thread::yield();
  EXPECT_EQ(order, (std::vector<int>{2, 3}));
}

class Periodic : public Timer {
 public:
  Periodic() : Timer(TheTimerQueue()) {}
  ~Periodic() override { Cancel(); }
  void OnTimer() override {
    n.fetch_add(1);
    Arm(HostClock().Monotonic() + 100000);
  }
  std::atomic<int> n{0};
};

TEST(TimerQueue, RearmsFromCallbackAndCancelStopsIt) {
  Periodic p;
  p.Arm(0);
  while (p.n < 5) std::this_thread::yield();
  // A cancel between two callbacks can race with one re-arm from a running callback, which it waits
  // for.
  p.Cancel();
  p.Cancel();
  int n = p.n;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(p.n, n);
}

}  // namespace
}  // namespace sentry
