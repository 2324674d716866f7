// Host threads with small stacks.
#pragma once

#include <pthread.h>

#include <cstddef>

namespace host {

// Enough for a system call handler; deep recursion and large buffers don't belong on sentry stacks.
constexpr size_t kThreadStack = 64 * 1024;

class Thread {
 public:
  Thread() = default;
  Thread(Thread&& o) noexcept : id_(o.id_), joinable_(o.joinable_) { o.joinable_ = false; }
  Thread& operator=(Thread&&) = delete;
  // A joinable thread must be joined before.
  ~Thread();
  // 0 or -errno.
  static long StartDetached(void (*run)(void*), void* arg, size_t stack = kThreadStack);
  long Start(void (*run)(void*), void* arg, size_t stack = kThreadStack);
  void Join();

 private:
  pthread_t id_{};
  bool joinable_ = false;
};

}  // namespace host
