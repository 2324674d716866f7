// What the processes of one container share beside their namespaces: how much of the machine they
// see and may use. A sandbox has one; that of a pod has one for each of its containers.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/base/ref.h"

namespace sentry {

struct Container : public base::RefCounted {
  Container(int cpus, uint64_t memory, uint32_t tasks)
      : cpu_count(cpus), memory_bytes(memory), max_tasks(tasks) {}
  // Changed by `update`, read without a lock.
  std::atomic<int> cpu_count;           // at least 1
  std::atomic<uint64_t> memory_bytes;   // MemTotal
  std::atomic<uint32_t> max_tasks;      // as a pids control group limits; 0: no limit
  std::atomic<uint32_t> live_tasks{0};  // threads of all its processes
  std::atomic<uint32_t> oom_kills{0};   // processes killed for want of memory
  std::atomic<bool> frozen{false};      // Kernel::SetFrozen()
};

}  // namespace sentry
