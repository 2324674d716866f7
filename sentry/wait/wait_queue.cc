#include "sentry/wait/wait_queue.h"

#include "platform/base/log.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

WaitQueue::~WaitQueue() { CHECK(count_.load(std::memory_order_relaxed) == 0); }

void WaitQueue::Add(WaitEntry* e, uint32_t mask, bool exclusive) {
  base::MutexLock lock(mu_);
  CHECK(e->queue_ == nullptr);
  e->queue_ = this;
  e->mask_ = mask | abi::kEPOLLERR | abi::kEPOLLHUP;
  e->exclusive_ = exclusive;
  // Exclusive entries go to the tail, the others to the head, so that a wake-up reaches all of the
  // latter first.
  if (exclusive) {
    e->prev_ = tail_;
    e->next_ = nullptr;
    (tail_ != nullptr ? tail_->next_ : head_) = e;
    tail_ = e;
  } else {
    // Behind the other shared entries would need a scan; among themselves their order does not
    // matter but for WakeN, whose callers add exclusive entries.
    e->prev_ = nullptr;
    e->next_ = head_;
    (head_ != nullptr ? head_->prev_ : tail_) = e;
    head_ = e;
  }
  count_.fetch_add(1, std::memory_order_seq_cst);
}

void WaitQueue::Remove(WaitEntry* e) {
  base::MutexLock lock(mu_);
  if (e->queue_ != this) return;
  (e->prev_ != nullptr ? e->prev_->next_ : head_) = e->next_;
  (e->next_ != nullptr ? e->next_->prev_ : tail_) = e->prev_;
  e->prev_ = e->next_ = nullptr;
  e->queue_ = nullptr;
  count_.fetch_sub(1, std::memory_order_relaxed);
}

void WaitQueue::Wake(uint32_t ready) { WakeN(ready, 1); }

int WaitQueue::WakeN(uint32_t ready, int n) {
  // Pairs with the increment in Add: either the listener sees the state that the caller changed
  // before, or we see the listener.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (count_.load(std::memory_order_relaxed) == 0) return 0;
  base::MutexLock lock(mu_);
  return WakeLocked(ready, n);
}

void WaitQueue::WakeNested(uint32_t ready) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (count_.load(std::memory_order_relaxed) == 0) return;
  mu_.Lock(true);
  WakeLocked(ready, 1);
  mu_.Unlock(true);
}

int WaitQueue::WakeLocked(uint32_t ready, int n) {
  int woken = 0;
  for (WaitEntry* e = head_; e != nullptr;) {
    WaitEntry* next = e->next_;
    if ((e->mask_ & ready) != 0 && e->OnReady(ready) && e->exclusive_ && ++woken == n) break;
    e = next;
  }
  return woken;
}

}  // namespace sentry
