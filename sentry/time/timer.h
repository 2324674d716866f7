// Timers that call back: itimers, POSIX timers, timerfd. One queue, one sentry thread that sleeps
// until the next deadline and is started with the first timer, so that a sandbox without timers has
// neither.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "platform/base/mutex.h"
#include "sentry/time/clock.h"

namespace sentry {

class TimerQueue;

class Timer {
 public:
  explicit Timer(TimerQueue& q) : queue_(q) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  // A derived class calls Cancel() in its own destructor: OnTimer() must not run on a
  // half-destroyed object.
  virtual ~Timer() = default;
  // Calls OnTimer() once when CLOCK_MONOTONIC reaches deadline_ns; replaces an earlier deadline.
  void Arm(int64_t deadline_ns);
  // No OnTimer() runs during or after, unless called from OnTimer itself. The caller holds no lock
  // that OnTimer() takes.
  void Cancel();
  // As Cancel, but a running OnTimer() is not waited for.
  void Disarm();

 protected:
  // On the timer thread, no lock held. May re-arm.
  virtual void OnTimer() = 0;

 private:
  friend class TimerQueue;
  static constexpr size_t kNotQueued = ~size_t{0};
  TimerQueue& queue_;
  int64_t deadline_ = 0;            // guarded by the queue's lock
  size_t heap_index_ = kNotQueued;  // likewise
};

class TimerQueue {
 public:
  constexpr TimerQueue() = default;

 private:
  friend class Timer;
  void Arm(Timer* t, int64_t deadline_ns);
  void Cancel(Timer* t, bool wait);
  void Run();
  static void ThreadMain(void* self);
  void Place(size_t i, Timer* t) REQUIRES_LOCK(mu_);
  void SiftUp(size_t i) REQUIRES_LOCK(mu_);
  void SiftDown(size_t i) REQUIRES_LOCK(mu_);
  void RemoveAt(size_t i) REQUIRES_LOCK(mu_);
  void Wake();

  base::Mutex<base::LockClass::kTimerQueue> mu_;
  std::vector<Timer*> heap_ GUARDED_BY(mu_);
  Timer* running_ GUARDED_BY(mu_) = nullptr;
  int running_tid_ GUARDED_BY(mu_) = 0;
  bool started_ GUARDED_BY(mu_) = false;
  std::atomic<uint32_t> generation_{0};  // changes when the thread must look again
  std::atomic<uint32_t> run_count_{0};   // changes when an OnTimer() ended: Cancel waits on it
};

// The sandbox's queue. Never destroyed: its thread ends with the process.
TimerQueue& TheTimerQueue();

}  // namespace sentry
