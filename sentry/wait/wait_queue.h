// Readiness: who wants to know when an object's poll(2) mask changes. Entries are called back with
// the queue's lock held, so a callback does next to nothing (unpark a thread, mark an epoll item
// ready) and takes only locks after kWaitQueue.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/base/mutex.h"

namespace sentry {

class WaitQueue;

// One listener on one queue. Derive or use Parker::Entry. Removed before it dies.
class WaitEntry {
 public:
  WaitEntry() = default;
  WaitEntry(const WaitEntry&) = delete;
  WaitEntry& operator=(const WaitEntry&) = delete;
  // ready: the events (EPOLL* bits) that may have become true. Returns true if it consumed an
  // exclusive wake-up.
  virtual bool OnReady(uint32_t ready) = 0;

 protected:
  virtual ~WaitEntry() = default;

 private:
  friend class WaitQueue;
  WaitEntry* prev_ = nullptr;
  WaitEntry* next_ = nullptr;
  WaitQueue* queue_ = nullptr;
  uint32_t mask_ = 0;
  bool exclusive_ = false;
};

class WaitQueue {
 public:
  WaitQueue() = default;
  ~WaitQueue();
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  // Listens for the events in mask (EPOLLERR and EPOLLHUP always). Exclusive entries stand behind
  // the others; a wake-up ends at the first exclusive entry that consumes it.
  void Add(WaitEntry* e, uint32_t mask, bool exclusive = false);
  // No callback runs during or after. No-op if it is on no queue.
  void Remove(WaitEntry* e);
  // After the object's state changed. Cheap when nobody listens (one atomic load).
  void Wake(uint32_t ready);
  // As Wake, from within a callback of another queue (an epoll instance inside another one). The
  // queues form no cycle: epoll_ctl refuses those.
  void WakeNested(uint32_t ready) NO_THREAD_SAFETY_ANALYSIS;
  // All shared listeners, and at most n exclusive ones in order of arrival; returns how many of
  // those consumed it.
  int WakeN(uint32_t ready, int n);
  bool empty() const { return count_.load(std::memory_order_acquire) == 0; }

 private:
  int WakeLocked(uint32_t ready, int n) REQUIRES_LOCK(mu_);

  base::Mutex<base::LockClass::kWaitQueue> mu_;
  std::atomic<uint32_t> count_{0};
  WaitEntry* head_ GUARDED_BY(mu_) = nullptr;
  WaitEntry* tail_ GUARDED_BY(mu_) = nullptr;
};

}  // namespace sentry
