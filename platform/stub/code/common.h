// What the stub's files share. Freestanding: no host headers, no writable data.
#pragma once

#include "platform/stub/layout.h"

namespace platform::stub {

// Linux x86-64 (asm/unistd_64.h and friends): this code can't include host headers that need a
// libc.
// Also futex(2)'s operations.
constexpr uint32_t kFutexWait = 0, kFutexWake = 1, kFutexRequeue = 3, kFutexWaitBitset = 9,
                   kFutexPrivate = 128, kFutexClockRealtime = 256;
enum : long {
  kSysClose = 3,
  kSysMmap = 9,
  kSysMprotect = 10,
  kSysMunmap = 11,
  kSysRtSigaction = 13,
  kSysRtSigprocmask = 14,
  kSysRtSigreturn = 15,
  kSysSchedYield = 24,
  kSysMremap = 25,
  kSysMadvise = 28,
  kSysSendto = 44,
  kSysRecvmsg = 47,
  kSysClone = 56,
  kSysExit = 60,
  kSysSigaltstack = 131,
  kSysPrctl = 157,
  kSysArchPrctl = 158,
  kSysFutex = 202,
  kSysExitGroup = 231,
  kSysSeccomp = 317,
};

inline long Call(long nr, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0,
                 uint64_t e = 0, uint64_t f = 0) {
  long ret;
  register uint64_t r10 __asm__("r10") = d;
  register uint64_t r8 __asm__("r8") = e;
  register uint64_t r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(ret)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return ret;
}
inline uint64_t U(const volatile void* p) { return reinterpret_cast<uint64_t>(p); }
[[noreturn]] inline void Die() {
  for (;;) Call(kSysExitGroup, 127);
}

inline Channel* SlotOf(const void* p) {
  return reinterpret_cast<Channel*>(U(p) & ~(kSlotSize - 1));
}
inline Channel* SlotAt(uint64_t index) {
  return reinterpret_cast<Channel*>(kSlots + index * kSlotSize);
}
inline ProcessPage* Process() { return reinterpret_cast<ProcessPage*>(kSlots); }

inline const StubData* Data() { return reinterpret_cast<const StubData*>(kData); }

inline void* P(uint64_t addr) { return reinterpret_cast<void*>(addr); }

// Leaf functions that touch memory which may not be there, or hold what the processor refuses:
// false then.
#pragma GCC visibility push(hidden)
extern "C" {
bool StubCopy(void* to, const void* from, uint64_t len);
// XSAVE and XRSTOR of the components.
bool StubSaveFp(uint64_t at, uint64_t components);
bool StubRestoreFp(uint64_t at, uint64_t components);
void StubInitFp(uint64_t components);
}
#pragma GCC visibility pop

inline uint64_t ReadFs() {
  uint64_t v;
  __asm__ volatile("rdfsbase %0" : "=r"(v));
  return v;
}
inline uint64_t ReadGs() {
  uint64_t v;
  __asm__ volatile("rdgsbase %0" : "=r"(v));
  return v;
}

constexpr uint64_t kUnblockable = 1 << 8 | 1 << 18;  // SIGKILL, SIGSTOP
// Changes the signal mask; false if a signal is pending.
inline bool SetMask(LocalThread* l, uint64_t mask) {
  const uint64_t old = l->blocked;
  if (mask == old) return true;
  __atomic_store_n(&l->blocked, mask, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&l->pending, __ATOMIC_SEQ_CST) == 0) return true;
  l->blocked = old;
  return false;
}

// Hands the thread to the sentry and comes back with the command by which the guest goes on. uc:
// the guest's registers. publish: the state is to be made `stopped` first.
uint32_t Stop(Channel* c, UContext* uc, uint32_t stopped, bool publish);

}  // namespace platform::stub
