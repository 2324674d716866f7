#include "sentry/kernel/posix_timers.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/time.h"

namespace sentry {

CpuTimes TaskCpuTimes(const Task& t) {
  Task::CpuTime c = t.cpu_time();
  return {c.user, c.sys};
}

CpuTimes GroupCpuTimes(ThreadGroup& g) {
  base::MutexLock lock(g.kernel().tree_mu);
  auto ns = [](const abi::Timeval& v) { return v.sec * abi::kNsPerSec + v.usec * 1000; };
  CpuTimes sum{ns(g.dead_usage.utime), ns(g.dead_usage.stime)};
  for (const Task* t : g.tasks) {
    if (t->state.load(std::memory_order_relaxed) == 'Z') continue;  // in dead_usage
    CpuTimes c = TaskCpuTimes(*t);
    sum.user += c.user;
    sum.system += c.system;
  }
  return sum;
}

// One timer. Its fields are guarded by the owner's mu_; the Timer base by its queue.
class PosixTimers::OneTimer final : public Timer {
 public:
  OneTimer(PosixTimers& owner, TimerClock clock, Event event, int32_t id)
      : Timer(TheTimerQueue()), owner_(owner), clock_(clock), event_(event), id_(id) {}
  ~OneTimer() override { Cancel(); }

  int64_t Now() const { return NowOn(clock_, owner_.group_); }
  TimerClock clock() const { return clock_; }
  // Takes the tree lock for CPU clocks.
  static int64_t NowOn(TimerClock clock, ThreadGroup& group) {
    switch (clock) {
      case TimerClock::kMonotonic:
        return HostClock().Monotonic();
      case TimerClock::kRealtime:
        return HostClock().Realtime();
      case TimerClock::kGroupUser:
        return GroupCpuTimes(group).user;
      case TimerClock::kGroupCpu:
      case TimerClock::kTaskCpu: {
        CpuTimes c = GroupCpuTimes(group);
        return c.user + c.system;
      }
    }
    return 0;
  }
  // With owner_.mu_ held; now: Now(), read before the lock was taken.
  TimerSpec Remaining(int64_t now) const {
    if (expiry_ == 0) return {0, interval_};
    int64_t left = expiry_ - now;
    if (left <= 0 && interval_ > 0) left = interval_ - (-left) % interval_;
    return {std::max<int64_t>(left, 1), interval_};
  }
  void Start(int64_t now, int64_t expiry, int64_t interval) {
    expiry_ = expiry;
    interval_ = interval;
    overrun_ = 0;
    if (expiry == 0) {
      Disarm();
    } else {
      ArmFor(now);
    }
  }

  const Event& event() const { return event_; }
  int64_t overrun_last() const { return overrun_last_; }
  void Dequeued(abi::SigInfo* info) {
    signal_queued_ = false;
    overrun_last_ = std::min<int64_t>(overrun_, INT32_MAX);
    overrun_ = 0;
    info->f.timer.overrun = static_cast<int32_t>(overrun_last_);
  }

 private:
  // A CPU clock can't run faster than all processors together; it is looked at again when it could
  // have expired at the earliest.
  void ArmFor(int64_t now) {
    int64_t left = std::max<int64_t>(expiry_ - now, 0);
    if (clock_ != TimerClock::kMonotonic && clock_ != TimerClock::kRealtime) {
      left = std::max<int64_t>(left / owner_.group_.kernel().cpu_count(), 1000000);
    }
    int64_t base = HostClock().Monotonic();
    Arm(left > INT64_MAX - base ? INT64_MAX - 1 : base + left);
  }

  void OnTimer() override {
    const int64_t now = Now();
    abi::SigInfo info{};
    {
      base::MutexLock lock(owner_.mu_);
      if (expiry_ == 0) return;
      if (now < expiry_) return ArmFor(now);
      if (interval_ > 0) {
        int64_t periods = (now - expiry_) / interval_ + 1;
        overrun_ += periods - 1;
        expiry_ += periods * interval_;
        ArmFor(now);
      } else {
        expiry_ = 0;
      }
      if (event_.notify == abi::kSIGEV_NONE) return;
      if (id_ >= 0) {
        // At most one signal of a timer is queued; further expirations count as overruns
        // (timer_getoverrun(2)).
        if (signal_queued_) {
          overrun_++;
          return;
        }
        signal_queued_ = true;
      }
      info.signo = event_.signo;
      info.code = id_ >= 0 ? abi::kSI_TIMER : abi::kSI_KERNEL;
      if (id_ >= 0) {
        info.f.timer.tid = id_;
        info.f.timer.value = event_.value;
      }
    }
    ThreadGroup& group = owner_.group_;
    if (event_.notify == abi::kSIGEV_THREAD_ID) {
      base::Ref<Task> target;
      {
        base::MutexLock lock(group.kernel().tree_mu);
        for (Task* t : group.tasks) {
          if (t->tid() == event_.tid && t->TryIncRef()) target = base::Ref<Task>::Adopt(t);
        }
      }
      if (target) (void)target->SendSignal(info);
    } else {
      (void)group.kernel().SendToGroup(group, info);
    }
  }

  PosixTimers& owner_;
  const TimerClock clock_;
  const Event event_;
  const int32_t id_;    // -1: an interval timer of setitimer
  int64_t expiry_ = 0;  // on the timer's clock; 0: off
  int64_t interval_ = 0;
  int64_t overrun_ = 0, overrun_last_ = 0;
  bool signal_queued_ = false;
};

PosixTimers::PosixTimers(ThreadGroup& group) : group_(group) {
  static constexpr struct {
    TimerClock clock;
    int signo;
  } kItimers[3] = {{TimerClock::kMonotonic, abi::kSIGALRM},
                   {TimerClock::kGroupUser, abi::kSIGVTALRM},
                   {TimerClock::kGroupCpu, abi::kSIGPROF}};
  for (int i = 0; i < 3; i++) {
    Event e;
    e.notify = abi::kSIGEV_SIGNAL;
    e.signo = kItimers[i].signo;
    itimers_[i] = std::make_unique<OneTimer>(*this, kItimers[i].clock, e, -1);
  }
}

PosixTimers::~PosixTimers() = default;

PosixTimers& PosixTimers::Of(ThreadGroup& group) {
  static base::Mutex<base::LockClass::kLeaf> mu;
  base::MutexLock lock(mu);
  if (!group.timers) group.timers = std::make_unique<PosixTimers>(group);
  return *group.timers;
}

TimerSpec PosixTimers::GetItimer(int which) {
  const int64_t now = itimers_[which]->Now();
  base::MutexLock lock(mu_);
  return itimers_[which]->Remaining(now);
}

TimerSpec PosixTimers::SetItimer(int which, TimerSpec spec) {
  const int64_t now = itimers_[which]->Now();
  base::MutexLock lock(mu_);
  TimerSpec old = itimers_[which]->Remaining(now);
  int64_t expiry = spec.value == 0                ? 0
                   : spec.value > INT64_MAX - now ? INT64_MAX
                                                  : now + spec.value;
  itimers_[which]->Start(now, expiry, spec.interval);
  return old;
}

PosixTimers::OneTimer* PosixTimers::Find(int32_t id) {
  if (id < 0 || static_cast<size_t>(id) >= timers_.size()) return nullptr;
  return timers_[id].get();
}

// Reading a CPU clock takes the tree lock, which comes before mu_.
base::Result<int64_t> PosixTimers::NowOf(int32_t id) {
  TimerClock clock;
  {
    base::MutexLock lock(mu_);
    OneTimer* t = Find(id);
    if (t == nullptr) return abi::Errno::kEINVAL;
    clock = t->clock();
  }
  return OneTimer::NowOn(clock, group_);
}

base::Result<int32_t> PosixTimers::Create(TimerClock clock, const Event& e) {
  const uint64_t limit =
      std::min<uint64_t>(group_.limits.Get(abi::kRLIMIT_SIGPENDING).cur, 1 << 16);
  base::MutexLock lock(mu_);
  size_t id = 0, used = 0;
  while (id < timers_.size() && timers_[id]) id++;
  for (const auto& t : timers_) used += t != nullptr;
  if (used >= limit) return abi::Errno::kEAGAIN;
  if (id == timers_.size()) timers_.emplace_back();
  Event event = e;
  // Without a sigevent the value is the timer's id (timer_create(2)).
  if (event.notify < 0) {
    event.notify = abi::kSIGEV_SIGNAL;
    event.signo = abi::kSIGALRM;
    event.value = id;
  }
  timers_[id] = std::make_unique<OneTimer>(*this, clock, event, static_cast<int32_t>(id));
  return static_cast<int32_t>(id);
}

base::Result<TimerSpec> PosixTimers::Set(int32_t id, bool absolute, TimerSpec spec) {
  const int64_t now = TRY(NowOf(id));
  base::MutexLock lock(mu_);
  OneTimer* t = Find(id);
  if (t == nullptr) return abi::Errno::kEINVAL;
  TimerSpec old = t->Remaining(now);
  int64_t expiry = spec.value == 0                ? 0
                   : absolute                     ? spec.value
                   : spec.value > INT64_MAX - now ? INT64_MAX
                                                  : now + spec.value;
  t->Start(now, expiry, spec.interval);
  return old;
}

base::Result<TimerSpec> PosixTimers::Get(int32_t id) {
  const int64_t now = TRY(NowOf(id));
  base::MutexLock lock(mu_);
  OneTimer* t = Find(id);
  if (t == nullptr) return abi::Errno::kEINVAL;
  return t->Remaining(now);
}

base::Result<int32_t> PosixTimers::Overrun(int32_t id) {
  base::MutexLock lock(mu_);
  OneTimer* t = Find(id);
  if (t == nullptr) return abi::Errno::kEINVAL;
  return static_cast<int32_t>(t->overrun_last());
}

base::Result<void> PosixTimers::Delete(int32_t id) {
  std::unique_ptr<OneTimer> gone;
  {
    base::MutexLock lock(mu_);
    if (Find(id) == nullptr) return abi::Errno::kEINVAL;
    gone = std::move(timers_[id]);
  }
  return {};
}

void PosixTimers::DeleteAll() {
  // The destructors wait for running callbacks, which take mu_: not under it.
  std::vector<std::unique_ptr<OneTimer>> gone;
  {
    base::MutexLock lock(mu_);
    gone.swap(timers_);
  }
}

void PosixTimers::OnDequeue(abi::SigInfo* info) {
  base::MutexLock lock(mu_);
  if (OneTimer* t = Find(info->f.timer.tid)) t->Dequeued(info);
}

}  // namespace sentry
