// What a thread has put off until it must wait for something. Whatever makes a thread wait for
// longer than a lock is held calls BeforeSleep() first.
#pragma once

#include <utility>

namespace base {

using LateWork = void (*)();                                    // takes no locks
constinit inline thread_local LateWork before_sleep = nullptr;  // nullptr: nothing was put off

inline void BeforeSleep() {
  if (before_sleep != nullptr) [[unlikely]]
    std::exchange(before_sleep, nullptr)();
}

}  // namespace base
