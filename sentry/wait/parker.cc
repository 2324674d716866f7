#include "sentry/wait/parker.h"

#include "platform/host/host.h"

namespace sentry {

bool Parker::Park(int64_t deadline_ns) {
  uint32_t s = state_.load(std::memory_order_acquire);
  for (;;) {
    if (s == 1) {
      if (state_.compare_exchange_weak(s, 0, std::memory_order_acquire)) return true;
      continue;
    }
    if (s == 0 && !state_.compare_exchange_weak(s, 2, std::memory_order_acq_rel)) continue;
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
      uint32_t old = state_.exchange(0, std::memory_order_acquire);
      return old == 1;
    }
  }
}

void Parker::Unpark() {
  if (state_.exchange(1, std::memory_order_acq_rel) == 2) host::FutexWake(&state_, 1);
}

}  // namespace sentry
