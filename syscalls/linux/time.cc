// Clocks, sleeping, interval and POSIX timers (kernel/time/{time,posix-timers,itimer,hrtimer}.c).
#include "syscalls/abi/time.h"

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/posix_timers.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/capability.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using abi::Errno;
using abi::kNsPerSec;
using base::Result;
using sentry::HostClock;
using sentry::PosixTimers;
using sentry::TimerClock;
using sentry::TimerSpec;

abi::Timespec ToTimespec(int64_t ns) { return {ns / kNsPerSec, ns % kNsPerSec}; }
abi::Timeval ToTimeval(int64_t ns) { return {ns / kNsPerSec, ns % kNsPerSec / 1000}; }

// timespec64_valid() and timespec64_to_ktime(), which saturates.
Result<int64_t> FromTimespec(const abi::Timespec& t) {
  if (t.sec < 0 || t.nsec < 0 || t.nsec >= kNsPerSec) return Errno::kEINVAL;
  if (t.sec >= INT64_MAX / kNsPerSec) return INT64_MAX;
  return t.sec * kNsPerSec + t.nsec;
}
Result<int64_t> FromTimeval(const abi::Timeval& t) {
  if (t.sec < 0 || t.usec < 0 || t.usec >= 1000000) return Errno::kEINVAL;
  return FromTimespec({t.sec, t.usec * 1000});
}

// CPU clocks of other tasks: the pid is in the upper bits (clock_getcpuclockid(3), CPUCLOCK_* in
// posix-timers_types.h).
struct CpuClock {
  int32_t pid;
  bool thread;
  int which;  // 0 PROF, 1 VIRT, 2 SCHED
};
CpuClock ParseCpuClock(int32_t id) { return {~(id >> 3), (id & 4) != 0, id & 3}; }

Result<int64_t> CpuClockNow(Task& task, int32_t id) {
  if (id == abi::kCLOCK_PROCESS_CPUTIME_ID) {
    sentry::CpuTimes c = GroupCpuTimes(task.group());
    return c.user + c.system;
  }
  if (id == abi::kCLOCK_THREAD_CPUTIME_ID) {
    sentry::CpuTimes c = TaskCpuTimes(task);
    return c.user + c.system;
  }
  CpuClock k = ParseCpuClock(id);
  if (k.which == 3) return Errno::kEINVAL;
  base::Ref<sentry::ThreadGroup> group;
  sentry::CpuTimes c;
  {
    base::MutexLock lock(task.kernel().tree_mu);
    sentry::PidNamespace& ns = *task.pid_ns();
    Task* t = k.pid == 0 ? &task : ns.FindTask(k.pid);
    if (t == nullptr) return Errno::kEINVAL;
    if (k.thread) {
      if (&t->group() != &task.group()) return Errno::kEINVAL;
      c = TaskCpuTimes(*t);
    } else {
      if (k.pid != 0 && ns.FindGroup(k.pid) == nullptr) return Errno::kEINVAL;
      group = t->group_ref();
    }
  }
  if (group) c = GroupCpuTimes(*group);
  return k.which == 1 ? c.user : c.user + c.system;
}

Result<int64_t> ClockNow(Task& task, int32_t id) {
  if (id < 0) return CpuClockNow(task, id);
  switch (id) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_REALTIME_ALARM:
    case abi::kCLOCK_TAI:
      return HostClock().Realtime();
    case abi::kCLOCK_MONOTONIC:
      return HostClock().Monotonic();
    case abi::kCLOCK_REALTIME_COARSE:
      return HostClock().RealtimeCoarse();
    case abi::kCLOCK_MONOTONIC_COARSE:
      return HostClock().MonotonicCoarse();
    case abi::kCLOCK_MONOTONIC_RAW:
      return HostClock().MonotonicRaw();
    case abi::kCLOCK_BOOTTIME:
    case abi::kCLOCK_BOOTTIME_ALARM:
      return HostClock().BootTime();
    case abi::kCLOCK_PROCESS_CPUTIME_ID:
    case abi::kCLOCK_THREAD_CPUTIME_ID:
      return CpuClockNow(task, id);
  }
  return Errno::kEINVAL;
}

// Sleeps until `until` (CLOCK_MONOTONIC) or a signal.
Result<void> SleepUntil(Task& task, int64_t until) {
  task.parker().Reset();
  for (;;) {
    if (HostClock().Monotonic() >= until) return {};
    Result<void> r = task.Block(until);
    if (r.is(Errno::kETIMEDOUT)) return {};
    if (!r.ok()) return r;
  }
}

// A relative sleep that a signal interrupted goes on, if no handler runs, until the same end
// (hrtimer_nanosleep_restart).
SyscallResult RelativeSleep(Task& task, int64_t until, UserOut<abi::Timespec> rem) {
  Result<void> r = SleepUntil(task, until);
  if (r.ok()) return 0;
  if (!rem.null()) {
    TRY(rem.Store(task.mm(), ToTimespec(std::max<int64_t>(until - HostClock().Monotonic(), 0))));
  }
  task.restart_block = [until, rem](Task& t) { return RelativeSleep(t, until, rem); };
  return base::Restart::kRestartBlock;
}

int64_t Deadline(int64_t relative) {
  int64_t now = HostClock().Monotonic();
  return relative > INT64_MAX - 1 - now ? sentry::kNoDeadline - 1 : now + relative;
}

Result<TimerSpec> FromItimerspec(const abi::Itimerspec& s) {
  TimerSpec t;
  t.value = TRY(FromTimespec(s.value));
  t.interval = TRY(FromTimespec(s.interval));
  return t;
}
abi::Itimerspec ToItimerspec(const TimerSpec& t) {
  return {ToTimespec(t.interval), ToTimespec(t.value)};
}
abi::Itimerval ToItimerval(const TimerSpec& t) {
  return {ToTimeval(t.interval), ToTimeval(t.value)};
}

}  // namespace

SyscallResult sys_clock_gettime(Task& task, int32_t clockid, UserOut<abi::Timespec> tp) {
  int64_t now = TRY(ClockNow(task, clockid));
  return tp.Store(task.mm(), ToTimespec(now));
}

SyscallResult sys_gettimeofday(Task& task, UserOut<abi::Timeval> tv, UserOut<abi::Timezone> tz) {
  if (!tv.null()) TRY(tv.Store(task.mm(), ToTimeval(HostClock().Realtime())));
  if (!tz.null()) TRY(tz.Store(task.mm(), {0, 0}));
  return 0;
}

SyscallResult sys_time(Task& task, UserOut<int64_t> tloc) {
  int64_t now = HostClock().Realtime() / kNsPerSec;
  if (!tloc.null()) TRY(tloc.Store(task.mm(), now));
  return now;
}

SyscallResult sys_clock_getres(Task& task, int32_t clockid, UserOut<abi::Timespec> res) {
  TRY(ClockNow(task, clockid));
  int64_t ns = 1;
  if (clockid == abi::kCLOCK_REALTIME_COARSE || clockid == abi::kCLOCK_MONOTONIC_COARSE)
    ns = 4000000;
  if (!res.null()) TRY(res.Store(task.mm(), {0, ns}));
  return 0;
}

// The host's clocks are not the guest's to set: as Linux answers a caller without CAP_SYS_TIME.
SyscallResult sys_clock_settime(Task& task, int32_t clockid, UserIn<abi::Timespec> tp) {
  if (clockid != abi::kCLOCK_REALTIME) {
    TRY(ClockNow(task, clockid));
    return Errno::kEINVAL;
  }
  TRY(FromTimespec(TRY(tp.Fetch(task.mm()))));
  return Errno::kEPERM;
}

SyscallResult sys_settimeofday(Task& task, UserIn<abi::Timeval> tv, UserIn<abi::Timezone> tz) {
  if (!tv.null()) TRY(FromTimeval(TRY(tv.Fetch(task.mm()))));
  if (!tz.null()) TRY(tz.Fetch(task.mm()));
  return Errno::kEPERM;
}

SyscallResult sys_adjtimex(Task& task, UserInOut<abi::Timex> buf) {
  return sys_clock_adjtime(task, abi::kCLOCK_REALTIME, buf);
}

SyscallResult sys_clock_adjtime(Task& task, int32_t clockid, UserInOut<abi::Timex> buf) {
  if (clockid != abi::kCLOCK_REALTIME) {
    TRY(ClockNow(task, clockid));
    return Errno::kEOPNOTSUPP;
  }
  abi::Timex t = TRY(buf.Fetch(task.mm()));
  if (t.modes != 0 && t.modes != static_cast<uint32_t>(abi::kADJ_OFFSET_SS_READ))
    return Errno::kEPERM;
  t = {};
  t.status = abi::kSTA_UNSYNC;
  t.maxerror = t.esterror = 16000000;
  t.precision = 1;
  t.tolerance = 32768000;
  t.tick = 10000;
  t.constant = 2;
  t.time = ToTimeval(HostClock().Realtime());
  TRY(buf.Store(task.mm(), t));
  return abi::kTIME_ERROR;
}

SyscallResult sys_nanosleep(Task& task, UserIn<abi::Timespec> req, UserOut<abi::Timespec> rem) {
  int64_t ns = TRY(FromTimespec(TRY(req.Fetch(task.mm()))));
  return RelativeSleep(task, Deadline(ns), rem);
}

SyscallResult sys_clock_nanosleep(Task& task, int32_t clockid, int32_t flags,
                                  UserIn<abi::Timespec> req, UserOut<abi::Timespec> rem) {
  if (clockid == abi::kCLOCK_THREAD_CPUTIME_ID) return Errno::kEINVAL;
  if (clockid >= 0 && clockid != abi::kCLOCK_REALTIME && clockid != abi::kCLOCK_MONOTONIC &&
      clockid != abi::kCLOCK_BOOTTIME && clockid != abi::kCLOCK_TAI &&
      clockid != abi::kCLOCK_PROCESS_CPUTIME_ID) {
    TRY(ClockNow(task, clockid));
    return Errno::kEOPNOTSUPP;
  }
  const int64_t now = TRY(ClockNow(task, clockid));
  int64_t ns = TRY(FromTimespec(TRY(req.Fetch(task.mm()))));
  if (clockid < 0 || clockid == abi::kCLOCK_PROCESS_CPUTIME_ID) {
    // A clock that stands still while we sleep: looked at again whenever it could have come there.
    const int64_t target = (flags & abi::kTIMER_ABSTIME) != 0 ? ns
                           : ns > INT64_MAX - now             ? INT64_MAX
                                                              : now + ns;
    for (;;) {
      int64_t left = target - TRY(ClockNow(task, clockid));
      if (left <= 0) return 0;
      TRY(SleepUntil(task, Deadline(std::max<int64_t>(left / task.kernel().cpu_count(), 1000000))));
    }
  }
  if ((flags & abi::kTIMER_ABSTIME) == 0) return RelativeSleep(task, Deadline(ns), rem);
  for (;;) {
    int64_t left = ns - TRY(ClockNow(task, clockid));
    if (left <= 0) return 0;
    Result<void> r = SleepUntil(task, Deadline(left));
    if (!r.ok()) return base::Restart::kNoHand;
  }
}

SyscallResult sys_getitimer(Task& task, int32_t which, UserOut<abi::Itimerval> value) {
  if (which < 0 || which > abi::kITIMER_PROF) return Errno::kEINVAL;
  return value.Store(task.mm(), ToItimerval(PosixTimers::Of(task.group()).GetItimer(which)));
}

SyscallResult sys_setitimer(Task& task, int32_t which, UserIn<abi::Itimerval> value,
                            UserOut<abi::Itimerval> ovalue) {
  TimerSpec spec;
  if (!value.null()) {
    abi::Itimerval v = TRY(value.Fetch(task.mm()));
    spec.value = TRY(FromTimeval(v.value));
    spec.interval = TRY(FromTimeval(v.interval));
  }
  if (which < 0 || which > abi::kITIMER_PROF) return Errno::kEINVAL;
  TimerSpec old = PosixTimers::Of(task.group()).SetItimer(which, spec);
  if (!ovalue.null()) TRY(ovalue.Store(task.mm(), ToItimerval(old)));
  return 0;
}

SyscallResult sys_alarm(Task& task, uint32_t seconds) {
  TimerSpec old =
      PosixTimers::Of(task.group()).SetItimer(abi::kITIMER_REAL, {seconds * kNsPerSec, 0});
  // Rounded as alarm_setitimer() does: never 0 for a pending alarm.
  int64_t left = old.value / kNsPerSec;
  if ((left == 0 && old.value > 0) || old.value % kNsPerSec >= kNsPerSec / 2) left++;
  return left;
}

SyscallResult sys_timer_create(Task& task, int32_t clockid, UserIn<abi::SigEvent> sevp,
                               UserOut<int32_t> timerid) {
  TimerClock clock;
  switch (clockid) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_TAI:
      clock = TimerClock::kRealtime;
      break;
    case abi::kCLOCK_MONOTONIC:
    case abi::kCLOCK_BOOTTIME:
      clock = TimerClock::kMonotonic;
      break;
    case abi::kCLOCK_PROCESS_CPUTIME_ID:
      clock = TimerClock::kGroupCpu;
      break;
    case abi::kCLOCK_THREAD_CPUTIME_ID:
      clock = TimerClock::kTaskCpu;
      break;
    default:
      TRY(ClockNow(task, clockid));
      if (clockid >= 0) return Errno::kEOPNOTSUPP;
      clock = TimerClock::kGroupCpu;
  }
  PosixTimers::Event e;
  e.notify = -1;
  if (!sevp.null()) {
    abi::SigEvent s = TRY(sevp.Fetch(task.mm()));
    e.notify = s.notify;
    e.signo = s.signo;
    e.value = s.value;
    e.tid = s.tid;
    // good_sigevent()
    if (s.notify != abi::kSIGEV_NONE && s.notify != abi::kSIGEV_SIGNAL &&
        s.notify != abi::kSIGEV_THREAD && s.notify != abi::kSIGEV_THREAD_ID) {
      return Errno::kEINVAL;
    }
    if (s.notify != abi::kSIGEV_NONE && (s.signo < 1 || s.signo > 64)) return Errno::kEINVAL;
    if (s.notify == abi::kSIGEV_THREAD) e.notify = abi::kSIGEV_SIGNAL;
    if (s.notify == abi::kSIGEV_THREAD_ID) {
      base::MutexLock lock(task.kernel().tree_mu);
      Task* t = task.pid_ns()->FindTask(s.tid);
      if (t == nullptr || &t->group() != &task.group()) return Errno::kEINVAL;
    }
  }
  PosixTimers& timers = PosixTimers::Of(task.group());
  int32_t id = TRY(timers.Create(clock, e));
  Result<void> r = timerid.Store(task.mm(), id);
  if (!r.ok()) {
    (void)timers.Delete(id);
    return r;
  }
  return 0;
}

SyscallResult sys_timer_settime(Task& task, int32_t timerid, int32_t flags,
                                UserIn<abi::Itimerspec> value, UserOut<abi::Itimerspec> ovalue) {
  if (value.null()) return Errno::kEINVAL;
  TimerSpec spec = TRY(FromItimerspec(TRY(value.Fetch(task.mm()))));
  TimerSpec old =
      TRY(PosixTimers::Of(task.group()).Set(timerid, (flags & abi::kTIMER_ABSTIME) != 0, spec));
  if (!ovalue.null()) TRY(ovalue.Store(task.mm(), ToItimerspec(old)));
  return 0;
}

SyscallResult sys_timer_gettime(Task& task, int32_t timerid, UserOut<abi::Itimerspec> value) {
  TimerSpec now = TRY(PosixTimers::Of(task.group()).Get(timerid));
  return value.Store(task.mm(), ToItimerspec(now));
}

SyscallResult sys_timer_getoverrun(Task& task, int32_t timerid) {
  return PosixTimers::Of(task.group()).Overrun(timerid);
}

SyscallResult sys_timer_delete(Task& task, int32_t timerid) {
  return PosixTimers::Of(task.group()).Delete(timerid);
}

}  // namespace syscalls
