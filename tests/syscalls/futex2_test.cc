// The calls that replace futex(2)'s multiplexer: futex_wait, futex_wake, futex_requeue,
// futex_waitv.
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "test_util.h"

namespace {

constexpr long kWaitv = 449, kWake = 454, kWait = 455, kRequeue = 456;
constexpr unsigned kU32 = 2, kPrivate = 128;
constexpr unsigned long kAll = 0xffffffff;

struct Waiter {
  uint64_t val, addr;
  uint32_t flags, reserved;
};

Waiter On(std::atomic<uint32_t>& word, uint32_t val) {
  return {val, reinterpret_cast<uint64_t>(&word), kU32 | kPrivate, 0};
}

timespec In(long ms) {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_nsec += ms * 1000000;
  t.tv_sec += t.tv_nsec / 1000000000;
  t.tv_nsec %= 1000000000;
  return t;
}

// Linux has all of them since 6.7.
class Futex2 : public testing::Test {
 protected:
  void SetUp() override {
    std::atomic<uint32_t> word{0};
    if (syscall(kWake, &word, kAll, 1, kU32 | kPrivate) == -1 && errno == ENOSYS)
      GTEST_SKIP() << "this kernel doesn't have these calls";
  }
};

TEST_F(Futex2, WaitChecksTheValueAndTheTime) {
  COVERS("futex_wait", "futex_wake");
  std::atomic<uint32_t> word{5};
  EXPECT_ERR(syscall(kWait, &word, 4ul, kAll, kU32 | kPrivate, nullptr, CLOCK_MONOTONIC), EAGAIN);
  timespec t = In(20);
  EXPECT_ERR(syscall(kWait, &word, 5ul, kAll, kU32 | kPrivate, &t, CLOCK_MONOTONIC), ETIMEDOUT);
  EXPECT_ERR(syscall(kWait, &word, 5ul, 0ul, kU32 | kPrivate, nullptr, CLOCK_MONOTONIC), EINVAL);
  EXPECT_EQ(syscall(kWake, &word, kAll, 1, kU32 | kPrivate), 0);
}

TEST_F(Futex2, WakeReachesTheWaiter) {
  COVERS("futex_wait", "futex_wake");
  std::atomic<uint32_t> word{0};
  std::thread waiter([&] {
    while (word.load() == 0)
      syscall(kWait, &word, 0ul, kAll, kU32 | kPrivate, nullptr, CLOCK_MONOTONIC);
  });
  while (syscall(kWake, &word, kAll, 1, kU32 | kPrivate) == 0) std::this_thread::yield();
  word = 1;
  syscall(kWake, &word, kAll, 1, kU32 | kPrivate);
  waiter.join();
}

TEST_F(Futex2, RequeueMovesTheWaiter) {
  COVERS("futex_requeue", "futex_wait", "futex_wake");
  std::atomic<uint32_t> from{0}, to{0};
  Waiter pair[2] = {On(from, 1), On(to, 0)};
  EXPECT_ERR(syscall(kRequeue, pair, 0, 0, 1), EAGAIN);
  pair[0].val = 0;
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    syscall(kWait, &from, 0ul, kAll, kU32 | kPrivate, nullptr, CLOCK_MONOTONIC);
    done = true;
  });
  while (syscall(kRequeue, pair, 0, 0, 1) == 0) std::this_thread::yield();
  EXPECT_FALSE(done);
  EXPECT_EQ(syscall(kWake, &to, kAll, 1, kU32 | kPrivate), 1);
  waiter.join();
}

TEST_F(Futex2, WaitvTellsWhichOneWasWoken) {
  COVERS("futex_waitv");
  std::atomic<uint32_t> a{0}, b{0};
  Waiter list[2] = {On(a, 0), On(b, 7)};
  EXPECT_ERR(syscall(kWaitv, list, 2, 0, nullptr, CLOCK_MONOTONIC), EAGAIN);
  list[1].val = 0;
  timespec t = In(20);
  EXPECT_ERR(syscall(kWaitv, list, 2, 0, &t, CLOCK_MONOTONIC), ETIMEDOUT);
  EXPECT_ERR(syscall(kWaitv, list, 0, 0, nullptr, CLOCK_MONOTONIC), EINVAL);
  std::atomic<long> which{-1};
  std::thread waiter([&] { which = syscall(kWaitv, list, 2, 0, nullptr, CLOCK_MONOTONIC); });
  while (syscall(kWake, &b, kAll, 1, kU32 | kPrivate) == 0) std::this_thread::yield();
  waiter.join();
  EXPECT_EQ(which, 1);
}

}  // namespace
