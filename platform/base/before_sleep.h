// What a thread has put off, or holds, until it must wait for something. Whatever makes a thread
// wait for longer than a lock is held, or end, calls BeforeSleep() first.
#pragma once

#include <utility>

namespace base {

using LateWork = void (*)();
struct PutOff {
  LateWork wakes = nullptr;  // wake-ups (sentry/wait/parker.h); takes no locks
  LateWork turn = nullptr;   // the end of its turn (platform/stub/turn.h); takes kTurn
};
constinit inline thread_local PutOff put_off;

inline void Do(LateWork& work) {
  if (work != nullptr) [[unlikely]]
    std::exchange(work, nullptr)();
}
// Others need not wait for the wake-ups any longer.
inline void WakeLate() { Do(put_off.wakes); }
inline void BeforeSleep() {
  WakeLate();
  Do(put_off.turn);
}

}  // namespace base
