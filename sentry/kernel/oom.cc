// Out of memory: the process that goes for the others (mm/oom_kill.c).
#include <algorithm>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/signal_ops.h"

namespace sentry {
namespace {

constexpr int32_t kNeverAdj = -1000;  // OOM_SCORE_ADJ_MIN
constexpr int64_t kPauseNs = 1000000;
// What the dead had comes back a little later than they go.
constexpr int kPauses = 50;
constexpr uint64_t kEnough = 4 << 20;

struct Candidate {
  base::Ref<ThreadGroup> group;
  base::Ref<MemoryManager> mm;
};

base::Ref<MemoryManager> MemoryOf(const ThreadGroup& g) {
  for (Task* t : g.tasks) {
    if (base::Ref<MemoryManager> mm = t->mm_ref()) return mm;
  }
  return {};
}

void Pause() {
  timespec until = host::ToTimespec(HostClock().Monotonic() + kPauseNs);
  base::BeforeSleep();
  host::SleepUntil(CLOCK_MONOTONIC, &until);
}

}  // namespace

bool Kernel::OutOfMemory(Task& t) {
  for (int i = 0; i < kPauses && !t.killed(); i++) {
    if (!host::MemoryExhausted(kEnough)) return true;
    Pause();
  }
  std::vector<Candidate> candidates;
  // Whether somebody dies already (tsk_is_oom_victim()): what it has comes back soon.
  auto dying = [&]() REQUIRES_LOCK(tree_mu) {
    for (ThreadGroup* g : root_pid_ns_->Groups()) {
      if (g->oom_victim && g->live != 0) return true;
    }
    return false;
  };
  {
    base::MutexLock l(tree_mu);
    if (!dying()) {
      for (ThreadGroup* g : root_pid_ns_->Groups()) {
        if (g->live == 0 || g->oom_score_adj.load() == kNeverAdj) continue;
        if (base::Ref<MemoryManager> mm = MemoryOf(*g))
          candidates.push_back({base::Ref<ThreadGroup>(g), std::move(mm)});
      }
      if (candidates.empty()) return false;
    }
  }
  if (candidates.empty()) return true;
  // oom_badness(), in bytes. Without the tree lock: it walks page by page.
  const Candidate* chosen = nullptr;
  int64_t most = 0;
  for (const Candidate& c : candidates) {
    const auto total = static_cast<int64_t>(c.group->container().memory_bytes.load());
    const int64_t points = static_cast<int64_t>(c.mm->usage().resident) +
                           c.group->oom_score_adj.load() * (total / 1000);
    if (chosen != nullptr && points <= most) continue;
    chosen = &c;
    most = points;
  }
  std::vector<base::Ref<ThreadGroup>> victims;
  {
    base::MutexLock l(tree_mu);
    if (dying()) return true;
    // __oom_kill_process(): whoever shares the memory keeps it alive.
    for (const Candidate& c : candidates) {
      if (c.mm != chosen->mm) continue;
      c.group->oom_victim = true;
      victims.push_back(c.group);
    }
  }
  LOG_WARNING("out of memory: a process with score %lld KiB is killed",
              static_cast<long long>(most >> 10));
  for (const base::Ref<ThreadGroup>& g : victims) {
    (void)SendToGroup(*g, KernelSigInfo(abi::kSIGKILL), true);
  }
  chosen->group->container().oom_kills.fetch_add(1);
  return true;
}

}  // namespace sentry
