#include "sentry/fs/anon/timerfd.h"

#include <algorithm>
#include <cstdio>

#include "sentry/fs/anon/anon_inode.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {

int64_t ToNs(const abi::Timespec& ts) {
  if (ts.sec >= INT64_MAX / abi::kNsPerSec) return INT64_MAX;
  return ts.sec * abi::kNsPerSec + ts.nsec;
}
abi::Timespec ToTimespec(int64_t ns) { return {ns / abi::kNsPerSec, ns % abi::kNsPerSec}; }
int64_t AddSaturating(int64_t a, int64_t b) { return b > INT64_MAX - a ? INT64_MAX : a + b; }

}  // namespace

TimerFd::TimerFd(int32_t clock, uint32_t flags)
    : File(Path{}, AnonInode(), abi::kO_RDWR | (flags & abi::kO_NONBLOCK)), clock_(clock) {}

TimerFd::~TimerFd() { alarm_.Cancel(); }

int64_t TimerFd::Now() const {
  switch (clock_) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_REALTIME_ALARM:
      return HostClock().Realtime();
    case abi::kCLOCK_BOOTTIME:
    case abi::kCLOCK_BOOTTIME_ALARM:
      return HostClock().BootTime();
    default:
      return HostClock().Monotonic();
  }
}

void TimerFd::Expired() {
  base::MutexLock lock(mu_);
  // A Set() meanwhile may have moved the deadline.
  if (!armed_ || HostClock().Monotonic() < deadline_) return;
  armed_ = false;
  expired_ = true;
  ticks_++;
  queue_.Wake(abi::kEPOLLIN);
}

void TimerFd::ForwardLocked() {
  if (!expired_ || interval_ == 0) {
    expired_ = false;
    return;
  }
  expired_ = false;
  int64_t now = HostClock().Monotonic();
  // hrtimer_forward_now(): the expiry that OnTimer counted is one of these.
  int64_t n = now < deadline_ ? 0 : (now - deadline_) / interval_ + 1;
  if (n > 0) ticks_ += static_cast<uint64_t>(n) - 1;
  deadline_ = AddSaturating(deadline_, n * interval_);
  armed_ = true;
  alarm_.Arm(deadline_);
}

abi::Itimerspec TimerFd::GetLocked() {
  if (interval_ != 0) ForwardLocked();
  int64_t left = armed_ ? std::max<int64_t>(deadline_ - HostClock().Monotonic(), 1) : 0;
  return {ToTimespec(interval_), ToTimespec(left)};
}

abi::Itimerspec TimerFd::Get() {
  base::MutexLock lock(mu_);
  return GetLocked();
}

abi::Itimerspec TimerFd::Set(int32_t flags, const abi::Itimerspec& value) {
  base::MutexLock lock(mu_);
  abi::Itimerspec old = GetLocked();
  alarm_.Disarm();
  armed_ = expired_ = false;
  ticks_ = 0;
  set_flags_ = flags;
  interval_ = ToNs(value.interval);
  int64_t v = ToNs(value.value);
  if (v != 0) {
    int64_t mono = HostClock().Monotonic();
    if (flags & abi::kTFD_TIMER_ABSTIME) {
      int64_t in = v - Now();
      deadline_ = in < -mono ? 0 : AddSaturating(mono, in);
    } else {
      deadline_ = AddSaturating(mono, v);
    }
    armed_ = true;
    alarm_.Arm(deadline_);
  }
  return old;
}

base::Result<uint64_t> TimerFd::Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
  if (dst.remaining() < sizeof(uint64_t)) return abi::Errno::kEINVAL;
  uint64_t ticks;
  {
    base::MutexLock lock(mu_);
    if (ticks_ == 0) return abi::Errno::kEAGAIN;
    ForwardLocked();
    ticks = ticks_;
    ticks_ = 0;
  }
  if (dst.CopyTo(&ticks, sizeof ticks) != sizeof ticks) return abi::Errno::kEFAULT;
  return sizeof ticks;
}

uint32_t TimerFd::Poll() {
  base::MutexLock lock(mu_);
  return ticks_ > 0 ? abi::kEPOLLIN : 0;
}

std::string TimerFd::Fdinfo() {
  base::MutexLock lock(mu_);
  abi::Itimerspec s = GetLocked();
  char text[256];
  int n = snprintf(text, sizeof text,
                   "clockid: %d\nticks: %llu\nsettime flags: 0%o\nit_value: (%lld, %lld)\n"
                   "it_interval: (%lld, %lld)\n",
                   clock_, static_cast<unsigned long long>(ticks_), set_flags_,
                   static_cast<long long>(s.value.sec), static_cast<long long>(s.value.nsec),
                   static_cast<long long>(s.interval.sec), static_cast<long long>(s.interval.nsec));
  return std::string(text, n);
}

}  // namespace sentry
