// What a holder of the tree lock puts off until the lock is gone: dropped references (whose
// destructors take other locks) and callbacks. Declare it before the guard.
#pragma once

#include "sentry/kernel/kernel.h"

namespace sentry {

struct Kernel::Released {
  absl::InlinedVector<base::Ref<base::RefCounted>, 4> refs;
  std::function<void(int32_t)> on_exit;
  int32_t status = 0;
  // A task's own reference, held by the tree.
  void DropTask(Task* t) { refs.push_back(base::Ref<base::RefCounted>::Adopt(t)); }
  ~Released() {
    if (on_exit) on_exit(status);
  }
};

}  // namespace sentry
