// Host threads with small stacks.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>

namespace host {

// Enough for a system call handler; deep recursion and large buffers don't belong on sentry stacks.
constexpr size_t kThreadStack = 64 * 1024;
// Of StartPooled(): virtual, a page or two are touched.
constexpr size_t kPooledStack = 256 * 1024;

class Thread {
 public:
  Thread() = default;
  Thread(Thread&& o) noexcept : id_(o.id_), joinable_(o.joinable_) { o.joinable_ = false; }
  Thread& operator=(Thread&&) = delete;
  // A joinable thread must be joined before.
  ~Thread();
  // 0 or -errno.
  static long StartDetached(void (*run)(void*), void* arg, size_t stack = kThreadStack);
  // For threads that come and go: one that has returned from its function waits for the next call,
  // as far as a few are enough. What is per thread (the CPU clock, thread_local) is not made anew.
  static long StartPooled(void (*run)(void*), void* arg);
  // How many of those there may be at a time, idle ones counted; beyond it StartPooled() says
  // -EAGAIN. At first there is no limit.
  static void LimitPooled(uint64_t most);
  long Start(void (*run)(void*), void* arg, size_t stack = kThreadStack);
  void Join();

 private:
  pthread_t id_{};
  bool joinable_ = false;
};

}  // namespace host
