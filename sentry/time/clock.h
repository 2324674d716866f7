// Time comes from one object, so that tests and a later deterministic mode can replace it. All
// values are nanoseconds.
#pragma once

#include <cstdint>

#include "platform/base/result.h"

namespace sentry {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t Monotonic()
      const = 0;  // since the sandbox's boot offset; CLOCK_MONOTONIC of the host plus a constant 0
  virtual int64_t Realtime() const = 0;  // since 1970
  virtual int64_t BootTime() const = 0;
  virtual int64_t MonotonicRaw() const = 0;
  // As of the last tick: what the vDSO answers for CLOCK_*_COARSE, never ahead of it.
  virtual int64_t RealtimeCoarse() const = 0;
  virtual int64_t MonotonicCoarse() const = 0;
};

// The host's clocks through its vDSO: no system call.
Clock& HostClock();

}  // namespace sentry
