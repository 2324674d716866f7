#include "platform/host/thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include <atomic>

#include "platform/base/log.h"
#include "platform/base/mutex.h"
#include "platform/host/host.h"

namespace host {
namespace {

struct Entry {
  void (*run)(void*);
  void* arg;
};

Entry TakeEntry(void* p) {
  Entry e = *static_cast<Entry*>(p);
  delete static_cast<Entry*>(p);
  return e;
}

void* Main(void* p) {
  Entry e = TakeEntry(p);
  e.run(e.arg);
  return nullptr;
}

// A thread of StartPooled() that has nothing to do; on its own stack.
struct Idle {
  Idle* next;
  Entry entry;
  std::atomic<uint32_t> started{0};
};
// Their stacks keep a few pages each.
constexpr int kMaxIdle = 4;
base::Mutex<base::LockClass::kLeaf> idle_mu;
Idle* idle GUARDED_BY(idle_mu) = nullptr;
int idle_count GUARDED_BY(idle_mu) = 0;
uint64_t pooled GUARDED_BY(idle_mu) = 0, most_pooled GUARDED_BY(idle_mu) = UINT64_MAX;

void* PooledMain(void* p) {
  Entry e = TakeEntry(p);
  for (;;) {
    e.run(e.arg);
    Idle self{};
    {
      base::MutexLock lock(idle_mu);
      if (idle_count == kMaxIdle) {
        pooled--;
        return nullptr;
      }
      idle_count++;
      self.next = idle;
      idle = &self;
    }
    while (self.started.load(std::memory_order_acquire) == 0) FutexWait(&self.started, 0);
    e = self.entry;
  }
}

// Frames are larger without optimisation.
#ifdef MOAT_DEBUG
constexpr size_t kStackFactor = 16;
#else
constexpr size_t kStackFactor = 1;
#endif

long Create(pthread_t* id, void* (*main)(void*), Entry entry, size_t stack, bool detached) {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  if (stack < static_cast<size_t>(PTHREAD_STACK_MIN)) stack = PTHREAD_STACK_MIN;
  pthread_attr_setstacksize(&attr, stack * kStackFactor);
  pthread_attr_setguardsize(&attr, 4096);
  if (detached) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  auto* e = new Entry(entry);
  int r = pthread_create(id, &attr, main, e);
  pthread_attr_destroy(&attr);
  if (r != 0) delete e;
  return -r;
}

}  // namespace

Thread::~Thread() { CHECK(!joinable_); }

long Thread::StartDetached(void (*run)(void*), void* arg, size_t stack) {
  pthread_t id;
  return Create(&id, Main, {run, arg}, stack, true);
}

long Thread::StartPooled(void (*run)(void*), void* arg) {
  Idle* ready = nullptr;
  {
    base::MutexLock lock(idle_mu);
    if (idle) {
      ready = idle;
      idle = ready->next;
      idle_count--;
    } else if (pooled >= most_pooled) {
      return -EAGAIN;
    } else {
      pooled++;
    }
  }
  if (!ready) {
    pthread_t id;
    const long r = Create(&id, PooledMain, {run, arg}, kPooledStack, true);
    if (r == 0) return 0;
    base::MutexLock lock(idle_mu);
    pooled--;
    return r;
  }
  ready->entry = {run, arg};
  ready->started.store(1, std::memory_order_release);
  // It may have seen that already, and its stack be another's: only the address counts.
  FutexWake(&ready->started, 1);
  return 0;
}

void Thread::LimitPooled(uint64_t most) {
  base::MutexLock lock(idle_mu);
  most_pooled = most;
}

long Thread::Start(void (*run)(void*), void* arg, size_t stack) {
  CHECK(!joinable_);
  long r = Create(&id_, Main, {run, arg}, stack, false);
  joinable_ = r == 0;
  return r;
}

void Thread::Join() {
  CHECK(joinable_);
  pthread_join(id_, nullptr);
  joinable_ = false;
}

}  // namespace host
