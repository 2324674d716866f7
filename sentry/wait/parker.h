// Parker: how one sentry thread sleeps. A token: Unpark() before Park() makes Park() return at
// once, so wake-ups are never lost.
#pragma once

#include <atomic>
#include <cstdint>

#include "sentry/wait/wait_queue.h"

namespace sentry {

constexpr int64_t kNoDeadline = INT64_MAX;

class Parker {
 public:
  // Sleeps until a token comes (consumed; true) or the host's CLOCK_MONOTONIC reaches deadline_ns
  // (false).
  bool Park(int64_t deadline_ns = kNoDeadline);
  // From any thread; one host call only if the thread sleeps.
  void Unpark();
  // Drops a token left over from an earlier wait.
  void Reset() { state_.store(0, std::memory_order_relaxed); }

  // A listener that unparks.
  class Entry : public WaitEntry {
   public:
    explicit Entry(Parker& p) : parker_(p) {}
    bool OnReady(uint32_t ready) override {
      fired_.store(true, std::memory_order_release);
      parker_.Unpark();
      return true;
    }
    bool fired() const { return fired_.load(std::memory_order_acquire); }

   private:
    Parker& parker_;
    std::atomic<bool> fired_{false};
  };

 private:
  std::atomic<uint32_t> state_{0};  // 0 empty, 1 token, 2 sleeping
};

// While it exists, Unpark() by this thread may put wake-ups off. A task that is woken while
// processors are short (platform::Crowded) makes both itself and its waker sleep and wake at each
// of their calls; it does better to begin a little later, when the waker waits, computes, or has
// made some more calls.
class LateWakes {
 public:
  LateWakes();
  ~LateWakes();
  // The thread makes a call.
  static void Tick();
};

}  // namespace sentry
