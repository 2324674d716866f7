// The code that runs inside guests in place of the most frequent system calls (vdso(7)). It is
// freestanding and trusts nobody: it works with the guest's own rights.

#include "sentry/loader/vdso/data.h"

namespace {

struct Timespec {
  int64_t sec, nsec;
};
struct Timeval {
  int64_t sec, usec;
};
struct Timezone {
  int32_t minuteswest, dsttime;
};

inline const VdsoData& Data() {
  const VdsoData* data;
  __asm__(".hidden __ehdr_start\n\tlea __ehdr_start-4096(%%rip), %0" : "=r"(data));
  return *data;
}

inline long Syscall(long nr, long a, long b, long c = 0) {
  long ret;
  __asm__ volatile("syscall"
                   : "=a"(ret)
                   : "a"(nr), "D"(a), "S"(b), "d"(c)
                   : "rcx", "r11", "memory");
  return ret;
}

constexpr long kGettimeofday = 96, kTime = 201, kClockGettime = 228, kClockGetres = 229,
               kGetcpu = 309;
constexpr int kRealtime = 0;
// The clocks that all processes share: REALTIME, MONOTONIC, MONOTONIC_RAW, both COARSE, BOOTTIME,
// TAI.
constexpr uint32_t kHostClocks = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 11;

inline bool HostClock(int clock) {
  return static_cast<unsigned>(clock) < 32 && (kHostClocks >> clock & 1) != 0;
}

inline long Now(int clock, Timespec* ts) {
  using Fn = int (*)(int, Timespec*);
  auto fn = reinterpret_cast<Fn>(Data().clock_gettime);
  if (fn != nullptr && HostClock(clock)) return fn(clock, ts);
  return Syscall(kClockGettime, clock, reinterpret_cast<long>(ts));
}

}  // namespace

extern "C" {

#define EXPORT(name) __attribute__((visibility("default"))) name
#define ALIAS(name, target) \
  __attribute__((visibility("default"), weak, alias(#target))) decltype(target) name

int EXPORT(__vdso_clock_gettime)(int clock, Timespec* ts) {
  return static_cast<int>(Now(clock, ts));
}

int EXPORT(__vdso_gettimeofday)(Timeval* tv, Timezone* tz) {
  // The time zone is the sentry's to know.
  if (tz != nullptr) {
    return static_cast<int>(
        Syscall(kGettimeofday, reinterpret_cast<long>(tv), reinterpret_cast<long>(tz)));
  }
  if (tv == nullptr) return 0;
  Timespec ts;
  long r = Now(kRealtime, &ts);
  if (r != 0) return static_cast<int>(r);
  tv->sec = ts.sec;
  tv->usec = ts.nsec / 1000;
  return 0;
}

int64_t EXPORT(__vdso_time)(int64_t* t) {
  Timespec ts;
  if (Now(kRealtime, &ts) != 0) return Syscall(kTime, reinterpret_cast<long>(t), 0);
  if (t != nullptr) *t = ts.sec;
  return ts.sec;
}

int EXPORT(__vdso_getcpu)(uint32_t* cpu, uint32_t* node, void*) {
  // The limit of segment 0x7b holds the host's processor number (__CPUNODE_SEG).
  uint32_t limit = 0;
  uint8_t ok;
  __asm__ volatile("lsl %2, %0; setz %1" : "+r"(limit), "=q"(ok) : "r"(0x7bu) : "cc");
  if (!ok || Data().cpu_count == 0) {
    return static_cast<int>(
        Syscall(kGetcpu, reinterpret_cast<long>(cpu), reinterpret_cast<long>(node)));
  }
  if (cpu != nullptr) *cpu = (limit & 0xfff) % Data().cpu_count;
  if (node != nullptr) *node = 0;
  return 0;
}

int EXPORT(__vdso_clock_getres)(int clock, Timespec* ts) {
  return static_cast<int>(Syscall(kClockGetres, clock, reinterpret_cast<long>(ts)));
}

ALIAS(clock_gettime, __vdso_clock_gettime);
ALIAS(gettimeofday, __vdso_gettimeofday);
ALIAS(time, __vdso_time);
ALIAS(getcpu, __vdso_getcpu);
ALIAS(clock_getres, __vdso_clock_getres);

}  // extern "C"
