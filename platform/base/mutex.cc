#include "platform/base/mutex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "platform/base/before_sleep.h"
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
  WakeLate();
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

// The report ends with return addresses, relative to the program's start for addr2line. Found by
// frame pointers, which only the tree's own code has: the walk ends where one looks wrong.
[[noreturn]] static void OutOfOrder(int taken, int holding) {
  extern const char image[] asm("__executable_start");
  char text[512] = "";
  int n = 0;
  auto* frame = static_cast<const uintptr_t*>(__builtin_frame_address(0));
  for (int i = 0; i < 24; i++) {
    n +=
        snprintf(text + n, sizeof text - n, " %#lx", frame[1] - reinterpret_cast<uintptr_t>(image));
    uintptr_t here = reinterpret_cast<uintptr_t>(frame), next = frame[0];
    if (next <= here || next - here > 65536 || next % 16 != 0) break;
    frame = reinterpret_cast<const uintptr_t*>(next);
  }
  LOG_FATAL("lock order: %s taken while %s is held, at%s", kNames[taken], kNames[holding], text);
}

void LockOrderAcquire(LockClass c, bool nested) {
  int i = static_cast<int>(c);
  for (int h = 0; h < kClasses; h++) {
    if (!(held >> h & 1)) continue;
    if (h == i ? nested : (kOrder.after[h] >> i & 1) != 0) continue;
    OutOfOrder(i, h);
  }
  held |= uint64_t{1} << i;
}

void LockOrderRelease(LockClass c, bool nested) {
  if (!nested) held &= ~(uint64_t{1} << static_cast<int>(c));
}
#endif

}  // namespace internal
}  // namespace base
