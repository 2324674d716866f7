#include "sentry/wait/wait_queue.h"

#include <gtest/gtest.h>

#include <thread>

#include "sentry/wait/parker.h"
#include "syscalls/abi/epoll.h"

namespace sentry {
namespace {

struct Counter : WaitEntry {
  bool OnReady(uint32_t ready) override {
    n++;
    last = ready;
    return true;
  }
  int n = 0;
  uint32_t last = 0;
};

TEST(WaitQueue, WakesOnlyListenersOfTheEvent) {
  WaitQueue q;
  Counter in, out;
  q.Add(&in, uapi::kEPOLLIN);
  q.Add(&out, uapi::kEPOLLOUT);
  q.Wake(uapi::kEPOLLIN);
  EXPECT_EQ(in.n, 1);
  EXPECT_EQ(out.n, 0);
  q.Wake(uapi::kEPOLLHUP);
  EXPECT_EQ(in.n, 2);
  EXPECT_EQ(out.n, 1);
  q.Remove(&in);
  q.Remove(&in);
  q.Wake(uapi::kEPOLLIN);
  EXPECT_EQ(in.n, 2);
  q.Remove(&out);
}

TEST(WaitQueue, ExclusiveListenersAreWokenOneAtATimeInOrder) {
  WaitQueue q;
  Counter shared, first, second;
  q.Add(&first, uapi::kEPOLLIN, true);
  q.Add(&second, uapi::kEPOLLIN, true);
  q.Add(&shared, uapi::kEPOLLIN);
  q.Wake(uapi::kEPOLLIN);
  EXPECT_EQ(shared.n, 1);
  EXPECT_EQ(first.n, 1);
  EXPECT_EQ(second.n, 0);
  EXPECT_EQ(q.WakeN(uapi::kEPOLLIN, 5), 2);
  EXPECT_EQ(second.n, 1);
  for (Counter* c : {&shared, &first, &second}) q.Remove(c);
}

TEST(Parker, TokenBeforeParkIsKept) {
  Parker p;
  p.Unpark();
  EXPECT_TRUE(p.Park(0));
  EXPECT_FALSE(p.Park(1));
}

TEST(Parker, HandsOverBetweenThreads) {
  Parker a, b;
  std::thread t([&] {
    for (int i = 0; i < 2000; i++) {
      ASSERT_TRUE(b.Park());
      a.Unpark();
    }
  });
  for (int i = 0; i < 2000; i++) {
    b.Unpark();
    ASSERT_TRUE(a.Park());
  }
  t.join();
}

}  // namespace
}  // namespace sentry
