// timerfd_create(2).
#pragma once

#include "platform/base/mutex.h"
#include "sentry/time/timer.h"
#include "sentry/vfs/file.h"
#include "syscalls/abi/time.h"

namespace sentry {

class TimerFd : public File {
 public:
  static constexpr char kKind = 0;
  TimerFd(int32_t clock, uint32_t flags);
  ~TimerFd() override;

  // flags: TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET. The times are valid (nsec < 1e9). Returns
  // the setting before.
  abi::Itimerspec Set(int32_t flags, const abi::Itimerspec& value);
  abi::Itimerspec Get();

  bool seekable() const override { return false; }
  // noop_llseek().
  base::Result<uint64_t> Seek(int64_t offset, int whence) override { return uint64_t{0}; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  std::string Fdinfo() override;
  std::string description() override { return "anon_inode:[timerfd]"; }
  const void* kind() const override { return &kKind; }

 private:
  class Alarm : public Timer {
   public:
    explicit Alarm(TimerFd& t) : Timer(TheTimerQueue()), owner_(t) {}
    void OnTimer() override { owner_.Expired(); }

   private:
    TimerFd& owner_;
  };
  void Expired();
  int64_t Now() const;
  // Counts the periods that passed since the expiry and arms for the next one.
  void ForwardLocked() REQUIRES_LOCK(mu_);
  abi::Itimerspec GetLocked() REQUIRES_LOCK(mu_);

  const int32_t clock_;
  base::Mutex<base::LockClass::kTimer> mu_;
  // CLOCK_MONOTONIC ns of the coming expiry, or of the last one if expired_.
  int64_t deadline_ GUARDED_BY(mu_) = 0;
  int64_t interval_ GUARDED_BY(mu_) = 0;
  bool armed_ GUARDED_BY(mu_) = false, expired_ GUARDED_BY(mu_) = false;
  uint64_t ticks_ GUARDED_BY(mu_) = 0;
  int32_t set_flags_ GUARDED_BY(mu_) = 0;
  WaitQueue queue_;
  Alarm alarm_{*this};
};

}  // namespace sentry
