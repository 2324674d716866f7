// A thread group's timers: the three interval timers (setitimer(2)) and POSIX timers
// (timer_create(2)), and its CPU clocks.
#pragma once

#include <memory>
#include <vector>

#include "platform/base/mutex.h"
#include "sentry/kernel/process.h"
#include "sentry/time/timer.h"

namespace sentry {

// CPU time used by a task or a group, in nanoseconds, as far as the kernel accounts it.
struct CpuTimes {
  int64_t user = 0, system = 0;
};
CpuTimes TaskCpuTimes(const Task& t);
CpuTimes GroupCpuTimes(ThreadGroup& g);  // takes the tree lock

// An interval timer's setting; value 0: off. Relative, nanoseconds.
struct TimerSpec {
  int64_t value = 0, interval = 0;
};

// What a timer counts.
enum class TimerClock : uint8_t { kMonotonic, kRealtime, kGroupUser, kGroupCpu, kTaskCpu };

class PosixTimers {
 public:
  explicit PosixTimers(ThreadGroup& group);
  // Stops all; no callback runs afterwards. The caller holds no lock.
  ~PosixTimers();

  // The group's timers, made at the first call.
  static PosixTimers& Of(ThreadGroup& group);

  // which: ITIMER_*, checked by the caller.
  TimerSpec GetItimer(int which);
  TimerSpec SetItimer(int which, TimerSpec spec);

  struct Event {
    int notify = 0;  // SIGEV_*
    int signo = 0;
    uint64_t value = 0;
    int32_t tid = 0;  // SIGEV_THREAD_ID: in the group's pid namespace
  };
  // EAGAIN: RLIMIT_SIGPENDING many already.
  base::Result<int32_t> Create(TimerClock clock, const Event& e);
  // value: absolute on the timer's clock if absolute. EINVAL: no such timer.
  base::Result<TimerSpec> Set(int32_t id, bool absolute, TimerSpec spec);
  base::Result<TimerSpec> Get(int32_t id);
  base::Result<int32_t> Overrun(int32_t id);
  base::Result<void> Delete(int32_t id);
  // exec(2) deletes POSIX timers, interval timers stay.
  void DeleteAll();
  // The kernel dequeued a signal of code SI_TIMER: fills in its overrun count.
  void OnDequeue(abi::SigInfo* info);

 private:
  class OneTimer;
  OneTimer* Find(int32_t id) REQUIRES_LOCK(mu_);
  base::Result<int64_t> NowOf(int32_t id);

  ThreadGroup& group_;
  base::Mutex<base::LockClass::kTimer> mu_;
  std::unique_ptr<OneTimer> itimers_[3];
  std::vector<std::unique_ptr<OneTimer>> timers_ GUARDED_BY(mu_);  // by id; null: free
};

}  // namespace sentry
