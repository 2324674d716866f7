#include "platform/stub/turn.h"

#include <errno.h>

#include "platform/api/platform.h"
#include "platform/base/before_sleep.h"
#include "platform/base/mutex.h"
#include "platform/host/host.h"

namespace platform::stub {

namespace {

// How long a turn lasts when others wait, by the processor's clock: some ten times what it costs to
// pass it on.
constexpr uint64_t kMostTicks = 1'000'000;
// What is added to a waiter's patience for each that is before it.
constexpr int64_t kTurnNs = 1'000'000;

// How many processors were given, and, in the upper half, how often all turns were made void.
std::atomic<uint64_t> given{0};
std::atomic<uint32_t> passed{0};  // turns, from one to the next
constexpr uint64_t kEpoch = uint64_t{1} << 32;
uint32_t EpochOf(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

struct Waiter {
  std::atomic<uint32_t> granted{0};
  const bool urgent;
  const int processors;
  uint32_t epoch = 0;  // of the turn
  Waiter* next = nullptr;
};

constinit base::Mutex<base::LockClass::kTurn> mu;
Waiter* first GUARDED_BY(mu) = nullptr;
Waiter* last GUARDED_BY(mu) = nullptr;
std::atomic<int> urgent{0};  // waiters

struct Mine {
  bool held;
  bool slept;  // since it had one
  int processors;
  uint32_t epoch;
  uint64_t since;
};
constinit thread_local Mine mine{};

void Push(Waiter* w) REQUIRES_LOCK(mu) {
  if (w->urgent) {
    urgent.fetch_add(1, std::memory_order_relaxed);
    w->next = first;
    first = w;
    if (last == nullptr) last = w;
  } else {
    (first == nullptr ? first : last->next) = w;
    last = w;
  }
}

void Remove(Waiter* w) REQUIRES_LOCK(mu) {
  if (w->urgent) urgent.fetch_sub(1, std::memory_order_relaxed);
  Waiter* before = nullptr;
  for (Waiter* i = first; i != w; i = i->next) before = i;
  (before == nullptr ? first : before->next) = w->next;
  if (last == w) last = before;
}

// If so many are free; *epoch: of that turn.
bool Take(int processors, uint32_t* epoch) {
  uint64_t v = given.load(std::memory_order_relaxed);
  while (static_cast<int>(static_cast<uint32_t>(v)) + processors <= busy_processors) {
    if (!given.compare_exchange_weak(v, v + static_cast<uint64_t>(processors))) continue;
    *epoch = EpochOf(v);
    return true;
  }
  return false;
}

// A thread's turn ends with it, if not before.
struct Last {
  ~Last() { Turn::Leave(); }
};
thread_local Last of_thread;

void Begin(int processors, uint32_t epoch) {
  (void)&of_thread;
  mine = {.held = true,
          .slept = false,
          .processors = processors,
          .epoch = epoch,
          .since = __builtin_ia32_rdtsc()};
  base::put_off.turn = Turn::Leave;
}

}  // namespace

void Turn::GiveBack(int processors) {
  uint64_t v = given.load(std::memory_order_relaxed);
  while (EpochOf(v) == mine.epoch &&
         !given.compare_exchange_weak(v, v - static_cast<uint64_t>(processors))) {
  }
  while (waiting_.load() != 0) {
    const std::atomic<uint32_t>* woken;
    {
      base::MutexLock lock(mu);
      Waiter* w = first;
      uint32_t epoch;
      if (w == nullptr || !Take(w->processors, &epoch)) return;
      Remove(w);
      waiting_.fetch_sub(1);
      passed.fetch_add(1, std::memory_order_relaxed);
      w->epoch = epoch;
      woken = &w->granted;
      // From here on it may be gone: a futex is waked by its address alone.
      w->granted.store(1, std::memory_order_release);
    }
    host::FutexWake(woken, 1);
  }
}

int Turn::Keep(bool busily) {
  const int processors = busily ? 2 : 1;
  uint32_t epoch;
  if (mine.held && EpochOf(given.load(std::memory_order_relaxed)) != mine.epoch) Leave();
  if (mine.held) {
    if (wanted() && (urgent.load(std::memory_order_relaxed) != 0 ||
                     __builtin_ia32_rdtsc() - mine.since > kMostTicks)) [[unlikely]] {
      Leave();
      mine.slept = false;
      return 0;
    }
    if (mine.processors > processors) {
      mine.processors = processors;
      GiveBack(1);
    } else if (mine.processors < processors && !wanted() && Take(1, &epoch)) {
      mine.processors = processors;
    }
    return mine.processors;
  }
  if (busy_processors < 2 || wanted() || !Take(processors, &epoch)) return 0;
  Begin(processors, epoch);
  return processors;
}

int Turn::Wait(bool busily) {
  if (busy_processors < 2) return 0;
  const int processors = busily ? 2 : 1;
  Waiter w{.urgent = mine.slept, .processors = processors};
  uint32_t epoch;
  int64_t patience;
  {
    base::MutexLock lock(mu);
    // GiveBack() looks for waiters after it has given back; this one looks for processors after it
    // has said that it waits.
    const int before = waiting_.fetch_add(1);
    if (Take(processors, &epoch)) {
      waiting_.fetch_sub(1);
      Begin(processors, epoch);
      return processors;
    }
    Push(&w);
    patience = patience_ns + before * kTurnNs;
  }
  for (;;) {
    const uint32_t seen = passed.load(std::memory_order_relaxed);
    const timespec deadline = host::ToTimespec(host::ClockNow(CLOCK_MONOTONIC) + patience);
    long r = 0;
    while (w.granted.load(std::memory_order_acquire) == 0 && r != -ETIMEDOUT)
      r = host::FutexWait(&w.granted, 0, &deadline);
    base::MutexLock lock(mu);
    if (w.granted.load(std::memory_order_relaxed) != 0) break;
    if (passed.load(std::memory_order_relaxed) != seen) continue;
    uint64_t v = given.load(std::memory_order_relaxed);
    uint64_t next;
    do {
      next = (v & ~(kEpoch - 1)) + kEpoch + static_cast<uint64_t>(processors);
    } while (!given.compare_exchange_weak(v, next));
    passed.fetch_add(1, std::memory_order_relaxed);
    Remove(&w);
    waiting_.fetch_sub(1);
    w.epoch = EpochOf(next);
    break;
  }
  Begin(processors, w.epoch);
  return processors;
}

void Turn::Leave() {
  if (!mine.held) return;
  mine.held = false;
  mine.slept = true;
  base::put_off.turn = nullptr;
  GiveBack(mine.processors);
}

}  // namespace platform::stub
