// Mutex<LockClass>: a futex mutex of 4 bytes. The class is mandatory; the order is lock_order.def,
// checked at run time in debug builds and against held locks only, so independent locks need no
// invented order.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/base/thread_annotations.h"

namespace base {

enum class LockClass : uint8_t {
#define LOCK(name) name,
#include "platform/base/lock_order.def"
  kCount,
};
static_assert(static_cast<int>(LockClass::kCount) <= 64);

namespace internal {
void LockSlow(std::atomic<uint32_t>* word);
void UnlockWake(std::atomic<uint32_t>* word);
#ifdef MOAT_DEBUG
void LockOrderAcquire(LockClass c, bool nested);
void LockOrderRelease(LockClass c, bool nested);
#else
inline void LockOrderAcquire(LockClass, bool) {}
inline void LockOrderRelease(LockClass, bool) {}
#endif
}  // namespace internal

template <LockClass kClass>
class CAPABILITY("mutex") Mutex {
 public:
  constexpr Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void Lock(bool nested = false) ACQUIRE_LOCK() {
    internal::LockOrderAcquire(kClass, nested);
    uint32_t expected = 0;
    if (!word_.compare_exchange_strong(expected, 1, std::memory_order_acquire)) [[unlikely]]
      internal::LockSlow(&word_);
  }
  bool TryLock() TRY_ACQUIRE_LOCK(true) {
    uint32_t expected = 0;
    if (!word_.compare_exchange_strong(expected, 1, std::memory_order_acquire)) return false;
    internal::LockOrderAcquire(kClass, true);
    return true;
  }
  void Unlock(bool nested = false) RELEASE_LOCK() {
    internal::LockOrderRelease(kClass, nested);
    if (word_.exchange(0, std::memory_order_release) == 2) [[unlikely]]
      internal::UnlockWake(&word_);
  }

 private:
  std::atomic<uint32_t> word_{0};  // 0 free, 1 held, 2 held with waiters
};

template <LockClass kClass>
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex<kClass>& mu) ACQUIRE_LOCK(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() RELEASE_LOCK() { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex<kClass>& mu_;
};
template <LockClass kClass>
MutexLock(Mutex<kClass>&) -> MutexLock<kClass>;

// Two locks of one class, in address order; a and b may be the same lock.
template <LockClass kClass>
class SCOPED_CAPABILITY MutexLock2 {
 public:
  MutexLock2(Mutex<kClass>& a, Mutex<kClass>& b) ACQUIRE_LOCK(a, b) NO_THREAD_SAFETY_ANALYSIS
      : first_(&a < &b ? a : b),
        second_(&a < &b ? b : a) {
    first_.Lock();
    if (&first_ != &second_) second_.Lock(true);
  }
  ~MutexLock2() RELEASE_LOCK() NO_THREAD_SAFETY_ANALYSIS {
    if (&first_ != &second_) second_.Unlock(true);
    first_.Unlock();
  }

 private:
  Mutex<kClass>& first_;
  Mutex<kClass>& second_;
};

}  // namespace base
