#include "sentry/kernel/process.h"

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/posix_timers.h"

namespace sentry {

Limits::Limits() {
  // include/asm-generic/resource.h, with the values that container engines give.
  for (abi::Rlimit& l : limits_) l = {abi::kRLIM_INFINITY, abi::kRLIM_INFINITY};
  limits_[abi::kRLIMIT_STACK].cur = 8 << 20;
  limits_[abi::kRLIMIT_CORE] = {0, abi::kRLIM_INFINITY};
  limits_[abi::kRLIMIT_NOFILE] = {1024, 1048576};
  limits_[abi::kRLIMIT_MEMLOCK] = {8 << 20, 8 << 20};
  limits_[abi::kRLIMIT_SIGPENDING] = {31000, 31000};
  limits_[abi::kRLIMIT_MSGQUEUE] = {819200, 819200};
  limits_[abi::kRLIMIT_NICE] = {0, 0};
  limits_[abi::kRLIMIT_RTPRIO] = {0, 0};
}

Limits::Limits(const Limits& o) {
  base::MutexLock l(o.mu_);
  limits_ = o.limits_;
}

Limits& Limits::operator=(const Limits& o) {
  if (this == &o) return *this;
  std::array<abi::Rlimit, 16> copy;
  {
    base::MutexLock l(o.mu_);
    copy = o.limits_;
  }
  base::MutexLock l(mu_);
  limits_ = copy;
  return *this;
}

abi::Rlimit Limits::Get(int resource) const {
  base::MutexLock l(mu_);
  return limits_[resource];
}

void Limits::Set(int resource, const abi::Rlimit& limit) {
  base::MutexLock l(mu_);
  limits_[resource] = limit;
}

ThreadGroup::ThreadGroup(Kernel& kernel, base::Ref<Container> container)
    : kernel_(kernel), container_(std::move(container)) {}
ThreadGroup::~ThreadGroup() = default;

namespace {

abi::Timeval ToTimeval(int64_t ns) { return {ns / abi::kNsPerSec, ns % abi::kNsPerSec / 1000}; }

void AddTime(abi::Timeval* a, const abi::Timeval& b) {
  a->sec += b.sec;
  a->usec += b.usec;
  if (a->usec >= 1000000) {
    a->usec -= 1000000;
    a->sec++;
  }
}

}  // namespace

void AddUsage(abi::Rusage* a, const abi::Rusage& b) {
  AddTime(&a->utime, b.utime);
  AddTime(&a->stime, b.stime);
  if (b.maxrss > a->maxrss) a->maxrss = b.maxrss;
  a->minflt += b.minflt;
  a->majflt += b.majflt;
  a->inblock += b.inblock;
  a->oublock += b.oublock;
  a->nvcsw += b.nvcsw;
  a->nivcsw += b.nivcsw;
}

abi::Rusage Task::Usage() const {
  abi::Rusage u{};
  CpuTime c = cpu_time();
  u.utime = ToTimeval(c.user);
  u.stime = ToTimeval(c.sys);
  u.minflt = static_cast<int64_t>(min_flt.load(std::memory_order_relaxed));
  u.majflt = static_cast<int64_t>(maj_flt.load(std::memory_order_relaxed));
  u.nvcsw = static_cast<int64_t>(VoluntarySwitches());
  u.nivcsw = static_cast<int64_t>(nivcsw.load(std::memory_order_relaxed));
  return u;
}

abi::Rusage ThreadGroup::Usage() const {
  abi::Rusage u = dead_usage;
  u.maxrss = max_rss;
  for (const Task* t : tasks) {
    if (t->state.load(std::memory_order_relaxed) != 'Z') AddUsage(&u, t->Usage());
  }
  return u;
}

}  // namespace sentry
