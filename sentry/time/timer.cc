#include "sentry/time/timer.h"

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/host/thread.h"

namespace sentry {

void Timer::Arm(int64_t deadline_ns) { queue_.Arm(this, deadline_ns); }
void Timer::Cancel() { queue_.Cancel(this, true); }
void Timer::Disarm() { queue_.Cancel(this, false); }

TimerQueue& TheTimerQueue() {
  static TimerQueue* queue = new TimerQueue();
  return *queue;
}

void TimerQueue::Place(size_t i, Timer* t) {
  heap_[i] = t;
  t->heap_index_ = i;
}

void TimerQueue::SiftUp(size_t i) {
  Timer* t = heap_[i];
  while (i > 0 && heap_[(i - 1) / 2]->deadline_ > t->deadline_) {
    Place(i, heap_[(i - 1) / 2]);
    i = (i - 1) / 2;
  }
  Place(i, t);
}

void TimerQueue::SiftDown(size_t i) {
  Timer* t = heap_[i];
  for (size_t c; (c = 2 * i + 1) < heap_.size(); i = c) {
    if (c + 1 < heap_.size() && heap_[c + 1]->deadline_ < heap_[c]->deadline_) c++;
    if (heap_[c]->deadline_ >= t->deadline_) break;
    Place(i, heap_[c]);
  }
  Place(i, t);
}

void TimerQueue::RemoveAt(size_t i) {
  heap_[i]->heap_index_ = Timer::kNotQueued;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (i == heap_.size()) return;
  Place(i, last);
  SiftUp(i);
  SiftDown(last->heap_index_);
}

void TimerQueue::Wake() {
  generation_.fetch_add(1, std::memory_order_release);
  host::FutexWake(&generation_, 1);
}

void TimerQueue::Arm(Timer* t, int64_t deadline_ns) {
  bool wake = false, start = false;
  {
    base::MutexLock lock(mu_);
    if (t->heap_index_ == Timer::kNotQueued) {
      t->deadline_ = deadline_ns;
      heap_.push_back(t);
      SiftUp(heap_.size() - 1);
    } else {
      t->deadline_ = deadline_ns;
      SiftUp(t->heap_index_);
      SiftDown(t->heap_index_);
    }
    wake = heap_[0] == t;
    if (!started_) start = started_ = true;
  }
  if (start) {
    long r = host::Thread::StartDetached(&ThreadMain, this);
    CHECK(r == 0);
  } else if (wake) {
    Wake();
  }
}

void TimerQueue::Cancel(Timer* t, bool wait) {
  for (;;) {
    uint32_t seen = run_count_.load(std::memory_order_acquire);
    {
      base::MutexLock lock(mu_);
      if (t->heap_index_ != Timer::kNotQueued) RemoveAt(t->heap_index_);
      if (!wait || running_ != t || running_tid_ == static_cast<int>(host::Gettid())) return;
    }
    host::FutexWait(&run_count_, seen);
  }
}

void TimerQueue::ThreadMain(void* self) { static_cast<TimerQueue*>(self)->Run(); }

void TimerQueue::Run() {
  const int tid = static_cast<int>(host::Gettid());
  for (;;) {
    uint32_t generation = generation_.load(std::memory_order_acquire);
    Timer* due = nullptr;
    int64_t next = INT64_MAX;
    {
      base::MutexLock lock(mu_);
      if (!heap_.empty()) {
        if (heap_[0]->deadline_ <= HostClock().Monotonic()) {
          due = heap_[0];
          RemoveAt(0);
          running_ = due;
          running_tid_ = tid;
        } else {
          next = heap_[0]->deadline_;
        }
      }
    }
    if (due != nullptr) {
      due->OnTimer();
      {
        base::MutexLock lock(mu_);
        running_ = nullptr;
      }
      run_count_.fetch_add(1, std::memory_order_release);
      host::FutexWake(&run_count_, INT32_MAX);
      continue;
    }
    if (next == INT64_MAX) {
      host::FutexWait(&generation_, generation);
    } else {
      timespec ts = host::ToTimespec(next);
      host::FutexWait(&generation_, generation, &ts);
    }
  }
}

}  // namespace sentry
