#include "platform/host/thread.h"

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

}  // namespace
}  // namespace host
