// vfork(2): the parent sleeps until the child has left its memory.
#pragma once

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

struct VforkDone : public base::RefCounted {
  std::atomic<bool> done{false};
  WaitQueue queue;
  void Complete() {
    done.store(true, std::memory_order_release);
    queue.Wake(abi::kEPOLLIN);
  }
};

}  // namespace sentry
