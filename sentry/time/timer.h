// Timers that call back: itimers, POSIX timers, timerfd. One queue, one sentry thread that sleeps
// until the next deadline and is started with the first timer.
#pragma once

#include <cstdint>

#include "platform/base/mutex.h"
#include "sentry/time/clock.h"

namespace sentry {

class TimerQueue;

class Timer {
 public:
  explicit Timer(TimerQueue& q) : queue_(q) {}
  virtual ~Timer();  // a derived class calls Cancel() in its own destructor
  // Calls OnTimer() once when CLOCK_MONOTONIC reaches deadline_ns; replaces an earlier deadline.
  void Arm(int64_t deadline_ns);
  // No OnTimer() runs during or after, unless called from OnTimer itself.
  void Cancel();

 protected:
  // On the timer thread, no lock held. May re-arm.
  virtual void OnTimer() = 0;

 private:
  friend class TimerQueue;
  TimerQueue& queue_;
  int64_t deadline_ = 0;
  uint64_t heap_index_ = ~uint64_t{0};
};

TimerQueue& TheTimerQueue();

}  // namespace sentry
