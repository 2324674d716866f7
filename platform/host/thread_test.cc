#include "platform/host/thread.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <atomic>

#include "platform/host/host.h"

namespace host {
namespace {

std::atomic<uint32_t> done{0};
std::atomic<int> tids[64];

void Work(void*) {
  tids[done.load()] = Gettid();
  done.fetch_add(1);
  FutexWake(&done, 1);
}

void WaitFor(uint32_t n) {
  for (uint32_t v; (v = done.load()) < n;) FutexWait(&done, v);
}

TEST(ThreadTest, PooledThreadsAreUsedAgain) {
  for (uint32_t i = 0; i < 64; i++) {
    ASSERT_EQ(Thread::StartPooled(&Work, nullptr), 0);
    WaitFor(i + 1);
  }
  int different = 0;
  for (int i = 0; i < 64; i++) {
    bool seen = false;
    for (int j = 0; j < i; j++) seen |= tids[i] == tids[j];
    different += !seen;
  }
  EXPECT_LT(different, 64);
}

std::atomic<uint32_t> gate{0}, through{0};

void Pass(void*) {
  while (gate.load() == 0) FutexWait(&gate, 0);
  through.fetch_add(1);
  FutexWake(&through, 1);
}

TEST(ThreadTest, PooledThreadsHaveALimit) {
  constexpr uint32_t kMost = 8;
  Thread::LimitPooled(kMost);
  uint32_t started = 0;
  long r;
  while ((r = Thread::StartPooled(&Pass, nullptr)) == 0 && started <= kMost) started++;
  EXPECT_EQ(r, -EAGAIN);
  EXPECT_GE(started, 1u);
  EXPECT_LE(started, kMost);
  Thread::LimitPooled(UINT64_MAX);
  ASSERT_EQ(Thread::StartPooled(&Pass, nullptr), 0);
  gate = 1;
  FutexWake(&gate, 1 << 30);
  for (uint32_t v; (v = through.load()) < started + 1;) FutexWait(&through, v);
}

}  // namespace
}  // namespace host
