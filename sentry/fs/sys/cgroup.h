// The control group that a container finds itself in: version 2, read-only, with the limits that it
// was given and what it uses. Whatever version the host has, the host's groups are no guest's.
#pragma once

#include <cstdint>
#include <string>

#include "platform/base/mutex.h"
#include "sentry/fs/synth/synth.h"
#include "sentry/kernel/kernel.h"

namespace sentry {

// What the files say; 0: no limit.
struct CgroupLimits {
  uint64_t memory_max = 0, memory_low = 0, swap_max = 0;  // bytes
  bool swap_limited = false;                              // swap_max counts, 0 too
  uint64_t cpu_quota = 0, cpu_period = 100000;            // microseconds
  uint64_t cpu_weight = 100;
  uint64_t pids_max = 0;
  std::string cpus, mems;  // lists; empty: all
};

class CgroupView : public base::RefCounted {
 public:
  CgroupView(Kernel& kernel, base::Ref<Container> container, base::Ref<PidNamespace> pids)
      : kernel_(kernel), container_(std::move(container)), pids_(std::move(pids)) {}
  CgroupLimits limits() const;
  // What is shown from now on.
  void Set(const CgroupLimits& limits);
  Kernel& kernel() const { return kernel_; }
  Container& container() const { return *container_; }
  std::string Processes() const;

 private:
  Kernel& kernel_;
  const base::Ref<Container> container_;
  const base::Ref<PidNamespace> pids_;
  mutable base::Mutex<base::LockClass::kLeaf> mu_;
  CgroupLimits limits_ GUARDED_BY(mu_);
};

// The root inode of a new instance.
base::Ref<Inode> NewCgroupFs(base::Ref<CgroupView> view);

}  // namespace sentry
