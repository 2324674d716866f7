#include "runsc-cli/boot/share.h"

#include <sched.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <string>

#include "runsc-cli/oci/cgroup.h"

namespace runsc {
namespace {

// How many processors a list like "0-2,5" names.
int CountCpus(const std::string& list) {
  int count = 0;
  std::istringstream ranges(list);
  for (std::string range; std::getline(ranges, range, ',');) {
    int first = 0, last = 0;
    const int n = sscanf(range.c_str(), "%d-%d", &first, &last);
    if (n < 1 || first < 0) continue;
    if (n == 1) last = first;
    if (last >= first) count += std::min(last, CPU_SETSIZE) - first + 1;
  }
  return count;
}

uint64_t Positive(const std::optional<int64_t>& n) {
  return n.value_or(0) > 0 ? static_cast<uint64_t>(*n) : 0;
}

uint64_t PeriodOf(const Resources& r) {
  constexpr uint64_t kDefaultPeriod = 100000;
  return r.cpu_period.value_or(0) > 0 ? *r.cpu_period : kDefaultPeriod;
}

}  // namespace

Share MachineShare() {
  Share share;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) share.cpus = CPU_COUNT(&cpus);
  struct sysinfo si;
  if (sysinfo(&si) == 0) share.memory_bytes = static_cast<uint64_t>(si.totalram) * si.mem_unit;
  return share;
}

Share ShareOf(const Resources& r, const Share& machine) {
  Share share = machine;
  // A list that names none is the control group's to refuse.
  if (const int named = CountCpus(r.cpus); named > 0) share.cpus = std::min(share.cpus, named);
  if (const uint64_t quota = Positive(r.cpu_quota); quota > 0) {
    const uint64_t whole = (quota + PeriodOf(r) - 1) / PeriodOf(r);
    share.cpus = static_cast<int>(std::min<uint64_t>(whole, static_cast<uint64_t>(share.cpus)));
  }
  if (const uint64_t limit = Positive(r.memory_limit); limit > 0)
    share.memory_bytes = std::min(share.memory_bytes, limit);
  share.tasks = static_cast<uint32_t>(std::min<uint64_t>(Positive(r.pids_limit), UINT32_MAX));
  return share;
}

uint64_t GuestMemory(const Resources& r, const Share& machine) {
  const uint64_t limit = Positive(r.memory_limit);
  if (limit == 0 || limit >= machine.memory_bytes) return machine.memory_bytes;
  // Measured: 0.3 MiB idle, 2 MiB with a busy shell. Page tables and windows grow with the guest's.
  constexpr uint64_t kOwn = 4 << 20;
  return limit - std::min(kOwn + limit / 64, limit / 4);
}

sentry::CgroupLimits LimitsOf(const Resources& r) {
  sentry::CgroupLimits l;
  l.memory_max = Positive(r.memory_limit);
  l.memory_low = Positive(r.memory_reservation);
  // config.json counts memory and swap together.
  l.swap_limited = Positive(r.memory_swap) >= l.memory_max && Positive(r.memory_swap) > 0;
  if (l.swap_limited) l.swap_max = Positive(r.memory_swap) - l.memory_max;
  l.cpu_quota = Positive(r.cpu_quota);
  l.cpu_period = PeriodOf(r);
  if (r.cpu_shares.value_or(0) > 0) l.cpu_weight = CpuWeight(*r.cpu_shares);
  l.pids_max = Positive(r.pids_limit);
  l.cpus = r.cpus;
  l.mems = r.mems;
  return l;
}

}  // namespace runsc
