#include "sentry/fs/sys/cgroup.h"

#include <algorithm>

namespace sentry {
namespace {

constexpr uint64_t kCgroup2Magic = 0x63677270;

std::string Limit(uint64_t n) { return n == 0 ? "max" : std::to_string(n); }

std::string AllCpus(int cpus) { return cpus == 1 ? "0" : "0-" + std::to_string(cpus - 1); }

// cpu.stat: how long the group's tasks ran.
std::string CpuStat(const CgroupView& v) {
  int64_t user = 0, system = 0;
  {
    Kernel& k = v.kernel();
    base::MutexLock l(k.tree_mu);
    for (ThreadGroup* g : k.root_pid_ns()->Groups()) {
      if (&g->container() != &v.container()) continue;
      const abi::Rusage usage = g->Usage();
      user += usage.utime.sec * 1000000 + usage.utime.usec;
      system += usage.stime.sec * 1000000 + usage.stime.usec;
    }
  }
  return "usage_usec " + std::to_string(user + system) + "\nuser_usec " + std::to_string(user) +
         "\nsystem_usec " + std::to_string(system) +
         "\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0";
}

struct Row {
  const char* name;
  std::string (*text)(const CgroupView&);
};
// cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
constexpr Row kRows[] = {
    {"cgroup.controllers", [](const CgroupView&) { return std::string("cpuset cpu memory pids"); }},
    {"cgroup.events", [](const CgroupView&) { return std::string("populated 1\nfrozen 0"); }},
    {"cgroup.freeze", [](const CgroupView&) { return std::string("0"); }},
    {"cgroup.procs", [](const CgroupView& v) { return v.Processes(); }},
    {"cgroup.subtree_control", [](const CgroupView&) { return std::string(); }},
    {"cgroup.type", [](const CgroupView&) { return std::string("domain"); }},
    {"cpu.max",
     [](const CgroupView& v) {
       const CgroupLimits l = v.limits();
       return Limit(l.cpu_quota) + " " + std::to_string(l.cpu_period);
     }},
    {"cpu.stat", CpuStat},
    {"cpu.weight", [](const CgroupView& v) { return std::to_string(v.limits().cpu_weight); }},
    {"cpuset.cpus", [](const CgroupView& v) { return v.limits().cpus; }},
    {"cpuset.cpus.effective",
     [](const CgroupView& v) { return AllCpus(v.container().cpu_count.load()); }},
    {"cpuset.mems", [](const CgroupView& v) { return v.limits().mems; }},
    {"cpuset.mems.effective", [](const CgroupView&) { return std::string("0"); }},
    {"memory.current",
     [](const CgroupView& v) { return std::to_string(v.kernel().MemoryInUse(v.container())); }},
    {"memory.events",
     [](const CgroupView& v) {
       const std::string kills = std::to_string(v.container().oom_kills.load());
       return "low 0\nhigh 0\nmax 0\noom " + kills + "\noom_kill " + kills + "\noom_group_kill 0";
     }},
    {"memory.high", [](const CgroupView&) { return std::string("max"); }},
    {"memory.low", [](const CgroupView& v) { return std::to_string(v.limits().memory_low); }},
    {"memory.max", [](const CgroupView& v) { return Limit(v.limits().memory_max); }},
    {"memory.min", [](const CgroupView&) { return std::string("0"); }},
    {"memory.oom.group", [](const CgroupView&) { return std::string("0"); }},
    {"memory.stat",
     [](const CgroupView& v) {
       return "anon " + std::to_string(v.kernel().MemoryInUse(v.container())) +
              "\nfile 0\nshmem 0\ninactive_file 0\nactive_file 0";
     }},
    {"memory.swap.current", [](const CgroupView&) { return std::string("0"); }},
    {"memory.swap.max",
     [](const CgroupView& v) {
       const CgroupLimits l = v.limits();
       return l.swap_limited ? std::to_string(l.swap_max) : "max";
     }},
    {"pids.current",
     [](const CgroupView& v) { return std::to_string(v.container().live_tasks.load()); }},
    {"pids.max", [](const CgroupView& v) { return Limit(v.limits().pids_max); }},
};

}  // namespace

CgroupLimits CgroupView::limits() const {
  base::MutexLock l(mu_);
  return limits_;
}

void CgroupView::Set(const CgroupLimits& limits) {
  base::MutexLock l(mu_);
  limits_ = limits;
}

std::string CgroupView::Processes() const {
  std::string out;
  base::MutexLock l(kernel_.tree_mu);
  for (const ThreadGroup* g : pids_->Groups()) {
    if (&g->container() != container_.get() || g->zombie) continue;
    out += (out.empty() ? "" : "\n") + std::to_string(pids_->IdOf(*g));
  }
  return out;
}

base::Ref<Inode> NewCgroupFs(base::Ref<CgroupView> view) {
  auto sb = base::MakeRef<SynthSuperblock>("cgroup2", kCgroup2Magic, true);
  auto root = base::MakeRef<SynthStaticDir>(sb, 0755, 1);
  for (const Row& row : kRows) {
    root->AddFile(row.name, 0444, [view, text = row.text]() -> base::Result<std::string> {
      return text(*view) + "\n";
    });
  }
  return root;
}

}  // namespace sentry
