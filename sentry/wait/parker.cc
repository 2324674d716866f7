#include "sentry/wait/parker.h"

#include "platform/api/platform.h"
#include "platform/base/before_sleep.h"
#include "platform/host/host.h"

namespace sentry {

namespace {

constexpr uint32_t kMostLate = 8, kMostCalls = 64;

// Of this thread.
struct Late {
  // The sleepers' words. They may be gone: no more than an address is used, which is what a futex
  // is waked by.
  const void* words[kMostLate];
  uint32_t count;
  uint32_t calls;  // since the first of them
  bool allowed;
};
constinit thread_local Late late{};

void WakeLate() {
  for (uint32_t i = 0; i < late.count; i++) host::FutexWake(late.words[i], 1);
  late.count = late.calls = 0;
}

}  // namespace

LateWakes::LateWakes() { late.allowed = true; }
LateWakes::~LateWakes() {
  late.allowed = false;
  base::BeforeSleep();
}
void LateWakes::Tick() {
  if (late.count != 0 && ++late.calls > kMostCalls) [[unlikely]]
    base::WakeLate();
}

bool Parker::Park(int64_t deadline_ns) {
  bool slept = false;
  uint32_t s = state_.load(std::memory_order_acquire);
  for (;;) {
    if (s == 1) {
      if (!state_.compare_exchange_weak(s, 0, std::memory_order_acquire)) continue;
      if (slept) platform::active.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    if (s == 0) {
      if (!state_.compare_exchange_weak(s, 2, std::memory_order_acq_rel)) continue;
      platform::active.fetch_sub(1, std::memory_order_relaxed);
      slept = true;
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
      platform::active.fetch_add(1, std::memory_order_relaxed);
      // A token that came together with the deadline counts as a token.
      return state_.exchange(0, std::memory_order_acquire) == 1;
    }
  }
}

void Parker::Unpark() {
  if (state_.exchange(1, std::memory_order_acq_rel) != 2) return;
  if (!late.allowed || late.count == kMostLate || !platform::Crowded(1)) {
    host::FutexWake(&state_, 1);
    return;
  }
  late.words[late.count++] = &state_;
  base::put_off.wakes = WakeLate;
}

}  // namespace sentry
