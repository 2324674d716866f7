// Turns: who may wait busily. A sentry thread and its guest thread that wait for each other busily
// occupy two processors, and save four host calls and two switches with each of the guest's calls.
// When more pairs than the processors hold have calls to make, all of them sleeping and waking at
// each call costs thirty times as much as a few at a time that wait busily: so the others wait for
// their turn, before the guest goes on. A turn ends when its holder sleeps (it waits for
// something, or its guest computes), or after a third of a millisecond, about, when others wait.
//
// Everything is about the calling thread, which drives a guest thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace platform::stub {

class Turn {
 public:
  // How many processors it has: two to wait busily, one if it doesn't want to, or one only is free;
  // 0: it must wait for its turn. Ends a turn that is over.
  static int Keep(bool busily);
  // After Keep() said 0: waits for as many. 0: with one processor there are no turns. Who slept
  // since its last turn comes before those whose turn was over: a guest that computes and calls now
  // and then isn't held up by those that do nothing but call. When turns aren't passed on any more,
  // by holders in long host calls, all that were given are void.
  static int Wait(bool busily);
  static void Leave();
  // How many wait for one.
  static int waiting() { return waiting_.load(std::memory_order_relaxed); }
  static bool wanted() { return waiting() != 0; }
  // How long the first in the queue waits before turns are made void.
  static inline int64_t patience_ns = 2'000'000;

 private:
  static void GiveBack(int processors);
  static inline std::atomic<int> waiting_{0};
};

}  // namespace platform::stub
