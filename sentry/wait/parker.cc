#include "sentry/wait/parker.h"

#include "platform/api/platform.h"
#include "platform/host/host.h"

namespace sentry {

bool Parker::Park(int64_t deadline_ns) {
  uint32_t s = state_.load(std::memory_order_acquire);
  for (;;) {
    if (s == 1) {
      if (state_.compare_exchange_weak(s, 0, std::memory_order_acquire)) return true;
      continue;
    }
    if (s == 0) {
      if (!state_.compare_exchange_weak(s, 2, std::memory_order_acq_rel)) continue;
      platform::active.fetch_sub(1, std::memory_order_relaxed);
    }
    long r;
    if (deadline_ns == kNoDeadline) {
      r = host::FutexWait(&state_, 2);
    } else {
      timespec ts = host::ToTimespec(deadline_ns < 0 ? 0 : deadline_ns);
      r = host::FutexWait(&state_, 2, &ts);
    }
    s = state_.load(std::memory_order_acquire);
    if (r == -ETIMEDOUT) {
      // A token that came together with the deadline counts as a token.
      if (state_.exchange(0, std::memory_order_acquire) == 1) return true;
      platform::active.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
  }
}

void Parker::Unpark() {
  if (state_.exchange(1, std::memory_order_acq_rel) != 2) return;
  platform::active.fetch_add(1, std::memory_order_relaxed);
  host::FutexWake(&state_, 1);
}

}  // namespace sentry
