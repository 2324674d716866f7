#include "sentry/time/clock.h"

#include "platform/host/host.h"

namespace sentry {
namespace {

class HostClockImpl final : public Clock {
 public:
  int64_t Monotonic() const override { return host::ClockNow(CLOCK_MONOTONIC); }
  int64_t Realtime() const override { return host::ClockNow(CLOCK_REALTIME); }
  int64_t BootTime() const override { return host::ClockNow(CLOCK_BOOTTIME); }
  int64_t RealtimeCoarse() const override { return host::ClockNow(CLOCK_REALTIME_COARSE); }
  int64_t MonotonicCoarse() const override { return host::ClockNow(CLOCK_MONOTONIC_COARSE); }
  int64_t MonotonicRaw() const override { return host::ClockNow(CLOCK_MONOTONIC_RAW); }
};

}  // namespace

Clock& HostClock() {
  static HostClockImpl clock;
  return clock;
}

}  // namespace sentry
