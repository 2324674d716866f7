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

// How many turns were given, and, in the upper half, how often all were made void.
std::atomic<uint64_t> given{0};
std::atomic<uint32_t> passed{0};  // turns, from one to the next
constexpr uint64_t kEpoch = uint64_t{1} << 32;
uint32_t EpochOf(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

struct Waiter {
  std::atomic<uint32_t> granted{0};
  const bool urgent;
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

// Takes one if one is free; *epoch: of that turn.
bool TakeFree(uint32_t* epoch) {
  uint64_t v = given.load(std::memory_order_relaxed);
  while (static_cast<int>(static_cast<uint32_t>(v)) < busy_processors / 2) {
    if (!given.compare_exchange_weak(v, v + 1)) continue;
    *epoch = EpochOf(v);
    return true;
  }
  return false;
}

void GiveBack(uint32_t epoch) {
  uint64_t v = given.load(std::memory_order_relaxed);
  while (EpochOf(v) == epoch && !given.compare_exchange_weak(v, v - 1)) {
  }
}

// A thread's turn ends with it, if not before.
struct Last {
  ~Last() { Turn::Leave(); }
};
thread_local Last of_thread;

void Begin(uint32_t epoch) {
  (void)&of_thread;
  mine = {.held = true, .slept = false, .epoch = epoch, .since = __builtin_ia32_rdtsc()};
  base::put_off.turn = Turn::Leave;
}

}  // namespace

bool Turn::Keep() {
  if (mine.held && EpochOf(given.load(std::memory_order_relaxed)) != mine.epoch) Leave();
  if (mine.held) {
    if (!wanted()) [[likely]]
      return true;
    if (urgent.load(std::memory_order_relaxed) == 0 &&
        __builtin_ia32_rdtsc() - mine.since < kMostTicks)
      return true;
    Leave();
    mine.slept = false;
    return false;
  }
  uint32_t epoch;
  if (wanted() || !TakeFree(&epoch)) return false;
  Begin(epoch);
  return true;
}

bool Turn::Wait() {
  if (busy_processors < 2) return false;
  Waiter w{.urgent = mine.slept};
  uint32_t epoch;
  int64_t patience;
  {
    base::MutexLock lock(mu);
    // Leave() looks for waiters after it has given its turn back; this one looks for turns after it
    // has said that it waits.
    const int before = waiting_.fetch_add(1);
    if (TakeFree(&epoch)) {
      waiting_.fetch_sub(1);
      Begin(epoch);
      return true;
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
    while (!given.compare_exchange_weak(v, (v & ~(kEpoch - 1)) + kEpoch + 1)) {
    }
    passed.fetch_add(1, std::memory_order_relaxed);
    Remove(&w);
    waiting_.fetch_sub(1);
    w.epoch = EpochOf(v) + 1;
    break;
  }
  Begin(w.epoch);
  return true;
}

void Turn::Leave() {
  if (!mine.held) return;
  mine.held = false;
  mine.slept = true;
  base::put_off.turn = nullptr;
  GiveBack(mine.epoch);
  if (waiting_.load() == 0) return;
  const std::atomic<uint32_t>* woken = nullptr;
  {
    base::MutexLock lock(mu);
    uint32_t epoch;
    if (first != nullptr && TakeFree(&epoch)) {
      Waiter* w = first;
      Remove(w);
      waiting_.fetch_sub(1);
      passed.fetch_add(1, std::memory_order_relaxed);
      w->epoch = epoch;
      woken = &w->granted;
      // From here on it may be gone: a futex is waked by its address alone.
      w->granted.store(1, std::memory_order_release);
    }
  }
  if (woken != nullptr) host::FutexWake(woken, 1);
}

}  // namespace platform::stub
