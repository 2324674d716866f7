#include "runsc-cli/boot/share.h"

#include <sched.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <string>

namespace runsc {
namespace {

// How many of the processors in allowed a list like "0-2,5" names.
int CountCpus(const std::string& list, const cpu_set_t& allowed) {
  int count = 0;
  std::istringstream ranges(list);
  for (std::string range; std::getline(ranges, range, ',');) {
    int first = 0, last = 0;
    const int n = sscanf(range.c_str(), "%d-%d", &first, &last);
    if (n < 1 || first < 0) continue;
    if (n == 1) last = first;
    for (int cpu = first; cpu <= std::min(last, CPU_SETSIZE - 1); cpu++)
      count += CPU_ISSET(static_cast<size_t>(cpu), &allowed);
  }
  return count;
}

}  // namespace

Share ShareOf(const Resources& r) {
  Share share;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) {
    share.cpus = CPU_COUNT(&cpus);
    // A list that names none of them is the control group's to refuse.
    if (const int named = CountCpus(r.cpus, cpus); named > 0) share.cpus = named;
  }
  if (r.cpu_quota.value_or(0) > 0) {
    const auto period = static_cast<int64_t>(r.cpu_period.value_or(0));
    const int64_t per = period > 0 ? period : 100000;
    share.cpus =
        static_cast<int>(std::clamp<int64_t>((*r.cpu_quota + per - 1) / per, 1, share.cpus));
  }
  struct sysinfo si;
  if (sysinfo(&si) == 0) share.memory_bytes = static_cast<uint64_t>(si.totalram) * si.mem_unit;
  if (r.memory_limit && *r.memory_limit > 0)
    share.memory_bytes = std::min(share.memory_bytes, static_cast<uint64_t>(*r.memory_limit));
  if (r.pids_limit.value_or(0) > 0) share.tasks = static_cast<uint32_t>(*r.pids_limit);
  return share;
}

}  // namespace runsc
