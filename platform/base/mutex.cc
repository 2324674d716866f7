#include "platform/base/mutex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "platform/base/log.h"

namespace base {
namespace internal {

void LockSlow(std::atomic<uint32_t>* word) {
  // A holder usually leaves within a few hundred cycles; a sleep and a wake-up cost two orders
  // more.
  for (int i = 0; i < 100; i++) {
    uint32_t expected = 0;
    if (word->compare_exchange_weak(expected, 1, std::memory_order_acquire)) return;
    __builtin_ia32_pause();
  }
  while (word->exchange(2, std::memory_order_acquire) != 0) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 2, nullptr, nullptr, 0);
  }
}

void UnlockWake(std::atomic<uint32_t>* word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

constexpr int kClasses = static_cast<int>(LockClass::kCount);

struct Order {
  std::array<uint64_t, kClasses> after{};  // bit b of after[a]: b may be taken while a is held
  bool cyclic = false;
};

constexpr Order MakeOrder() {
  Order o;
#define BEFORE(a, b) \
  o.after[static_cast<int>(LockClass::a)] |= uint64_t{1} << static_cast<int>(LockClass::b);
#include "platform/base/lock_order.def"
  for (int k = 0; k < kClasses; k++) {
    for (int i = 0; i < kClasses; i++) {
      if (o.after[i] >> k & 1) o.after[i] |= o.after[k];
    }
  }
  for (int i = 0; i < kClasses; i++) {
    if (o.after[i] >> i & 1) o.cyclic = true;
    o.after[i] |= uint64_t{1} << static_cast<int>(LockClass::kLeaf);
  }
  return o;
}
constexpr Order kOrder = MakeOrder();
static_assert(!kOrder.cyclic, "lock_order.def has a cycle");

#ifdef MOAT_DEBUG
static const char* const kNames[] = {
#define LOCK(name) #name,
#include "platform/base/lock_order.def"
};
static thread_local uint64_t held;

void LockOrderAcquire(LockClass c, bool nested) {
  int i = static_cast<int>(c);
  for (int h = 0; h < kClasses; h++) {
    if (!(held >> h & 1)) continue;
    if (h == i ? nested : (kOrder.after[h] >> i & 1) != 0) continue;
    LOG_FATAL("lock order: %s taken while %s is held", kNames[i], kNames[h]);
  }
  held |= uint64_t{1} << i;
}

void LockOrderRelease(LockClass c, bool nested) {
  if (!nested) held &= ~(uint64_t{1} << static_cast<int>(c));
}
#endif

}  // namespace internal
}  // namespace base
