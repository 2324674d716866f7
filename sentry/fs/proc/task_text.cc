// /proc/[pid]/stat, status and the other texts about a task (fs/proc/array.c, fs/proc/base.c).
#include <algorithm>
#include <cstdlib>

#include "sentry/fs/proc/task_dir.h"
#include "sentry/kernel/posix_timers.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/resource.h"

namespace sentry {
namespace proc {

static TerminalFacts (*terminal_facts)(Session&) = nullptr;
void SetTerminalFacts(TerminalFacts (*get)(Session&)) { terminal_facts = get; }

namespace {

constexpr int64_t kNsPerTick = 10000000;  // USER_HZ 100

// Ids in the instance's namespace, and the counts, taken together under the tree lock.
struct TreeFacts {
  int32_t pid = 0, tgid = 0, ppid = 0, pgrp = 0, session = 0, tty = 0, tpgid = -1;
  int threads = 0;
  bool group_stopped = false;
};

// Process groups and sessions have root namespace ids. Under the tree lock; 0: not visible.
int32_t LocalId(const PidNamespace& ns, int32_t root_id) {
  if (ns.level() == 0) return root_id;
  for (Task* t : ns.Tasks()) {
    if (t->root_tid() == root_id) return ns.IdOf(*t);
  }
  return 0;
}

TreeFacts Facts(Instance& i, Task& t) {
  TreeFacts f;
  base::MutexLock lock(i.kernel.tree_mu);
  ThreadGroup& g = t.group();
  f.pid = i.ns->IdOf(t);
  f.tgid = i.ns->IdOf(g);
  if (g.parent != nullptr) f.ppid = i.ns->IdOf(*g.parent);
  if (g.pgrp) {
    Session& session = *g.pgrp->session();
    f.pgrp = LocalId(*i.ns, g.pgrp->id());
    f.session = LocalId(*i.ns, session.id());
    if (terminal_facts != nullptr && session.tty && !t.group().tty_given_up) {
      TerminalFacts tty = terminal_facts(session);
      f.tty = static_cast<int32_t>(tty.dev);
      f.tpgid = tty.foreground > 0 ? LocalId(*i.ns, tty.foreground) : -1;
    }
  }
  f.threads = static_cast<int>(g.tasks.size());
  return f;
}

const char* StateName(char c) {
  switch (c) {
    case 'R':
      return "R (running)";
    case 'S':
      return "S (sleeping)";
    case 'D':
      return "D (disk sleep)";
    case 'T':
      return "T (stopped)";
    case 't':
      return "t (tracing stop)";
    case 'Z':
      return "Z (zombie)";
  }
  return "X (dead)";
}

// Signals as the proc files show them.
struct SignalFacts {
  SignalSet pending = 0, shared = 0, blocked = 0, ignored = 0, caught = 0;
  uint32_t queued = 0;
};
SignalFacts Signals(Task& t) {
  SignalFacts f;
  ThreadGroup& g = t.group();
  {
    base::MutexLock lock(g.signal_mu);
    f.pending = t.pending.pending();
    f.shared = g.pending.pending();
    f.queued = t.pending.queued() + g.pending.queued();
    f.blocked = t.blocked();
  }
  base::Ref<SignalHandlers> h = g.handlers;
  for (int s = 1; h && s <= 64; s++) {
    uint64_t handler = h->Get(s).handler;
    if (handler == 1) f.ignored |= SignalBit(s);
    if (handler > 1) f.caught |= SignalBit(s);
  }
  return f;
}

// A guest range as text, at most a page beyond what Linux shows of arguments and environment.
Text ReadRange(Task& t, uint64_t from, uint64_t to) {
  base::Ref<MemoryManager> mm = t.mm_ref();
  constexpr uint64_t kMax = 2 << 20;
  if (!mm || to <= from) return std::string();
  std::string s(std::min(to - from, kMax), '\0');
  s.resize(mm->CopyForced(UserAddr{from}, s.data(), s.size(), false));
  return s;
}

std::string EscapeComm(const std::string& comm) {
  std::string out;
  for (char c : comm) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\') {
      out += "\\\\";
    } else {
      out += c;
    }
  }
  return out;
}

std::string IdMap(const std::vector<UserNamespace::Extent>& map, bool root) {
  if (root) return Format("%10u %10u %10u\n", 0, 0, UINT32_MAX);
  std::string out;
  for (const UserNamespace::Extent& e : map)
    out += Format("%10u %10u %10u\n", e.first, e.lower_first, e.count);
  return out;
}

}  // namespace

Text TaskStat(Instance& i, Task& t, bool thread) {
  TreeFacts f = Facts(i, t);
  SignalFacts s = Signals(t);
  CpuTimes cpu = thread ? TaskCpuTimes(t) : GroupCpuTimes(t.group());
  MemoryManager::Usage u;
  MemoryManager::Layout l;
  if (base::Ref<MemoryManager> mm = t.mm_ref()) {
    u = mm->usage();
    if (MayRead(t)) l = mm->layout();
  }
  abi::Rusage children;
  int32_t exit_code = 0;
  {
    base::MutexLock lock(i.kernel.tree_mu);
    children = t.group().children_usage;
    if (MayRead(t)) exit_code = t.group().exit_status;
  }
  auto ticks = [](const abi::Timeval& v) { return v.sec * 100 + v.usec / 10000; };
  const int nice = t.nice.load(), policy = t.sched_policy.load(),
            rt_priority = t.sched_priority.load();
  const int prio = policy == 0 || policy == 3 || policy == 5 ? 20 + nice : -1 - rt_priority;
  std::string out = Format("%d (%s) %c %d %d %d %d %d %u ", f.pid, EscapeComm(t.comm()).c_str(),
                           t.State(), f.ppid, f.pgrp, f.session, f.tty, f.tpgid, 0x400000U);
  out += Format("%lu %ld %lu %ld %ld %ld %ld %ld %d %d %d 0 %ld ", t.min_flt.load(),
                children.minflt, t.maj_flt.load(), children.majflt, cpu.user / kNsPerTick,
                cpu.system / kNsPerTick, ticks(children.utime), ticks(children.stime), prio, nice,
                f.threads, t.start_time / kNsPerTick);
  out += Format("%lu %lu %lu %lu %lu %lu 0 0 ", u.total, u.resident / kPageSize, UINT64_MAX,
                l.start_code, l.end_code, l.start_stack);
  out += Format("%lu %lu %lu %lu 0 0 0 17 0 %d %d 0 0 0 ", s.pending & 0x7fffffff,
                s.blocked & 0x7fffffff, s.ignored & 0x7fffffff, s.caught & 0x7fffffff, rt_priority,
                policy);
  out += Format("%lu %lu %lu %lu %lu %lu %lu %d\n", l.start_data, l.end_data, l.end_data,
                l.arg_start, l.arg_end, l.env_start, l.env_end, exit_code);
  return out;
}

Text TaskStatus(Instance& i, Task& t, bool thread) {
  TreeFacts f = Facts(i, t);
  SignalFacts s = Signals(t);
  base::Ref<const Creds> c = t.creds_ref();
  base::Ref<FsContext> fs = t.fs_ref();
  base::Ref<FdTable> fds = t.fds_ref();
  auto uid = [&](uint32_t id) { return Task::Current()->creds().user_ns->UidFromGlobal(id); };
  auto gid = [&](uint32_t id) { return Task::Current()->creds().user_ns->GidFromGlobal(id); };
  std::string out = "Name:\t" + EscapeComm(t.comm()) + "\n";
  if (fs) out += Format("Umask:\t%04o\n", fs->umask());
  out += Format("State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
                StateName(t.State()), f.tgid, f.pid, f.ppid);
  out +=
      Format("Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", uid(c->uid), uid(c->euid),
             uid(c->suid), uid(c->fsuid), gid(c->gid), gid(c->egid), gid(c->sgid), gid(c->fsgid));
  uint32_t fd_size = 64;
  while (fds && fd_size < fds->size()) fd_size *= 2;
  out += Format("FDSize:\t%u\nGroups:\t", fds ? fd_size : 0);
  for (uint32_t g : c->groups) out += Format("%u ", gid(g));
  out += Format("\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n", f.tgid, f.pid,
                f.pgrp, f.session);
  if (base::Ref<MemoryManager> mm = t.mm_ref()) {
    MemoryManager::Usage u = mm->usage();
    auto kb = [](uint64_t v) { return v / 1024; };
    out += Format("VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8lu kB\nVmPin:\t%8d kB\n",
                  kb(u.peak_total), kb(u.total), kb(u.locked), 0);
    out += Format(
        "VmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\nRssAnon:\t%8lu kB\nRssFile:\t%8lu kB\nRssShmem:\t%8d "
        "kB\n",
        kb(u.resident), kb(u.resident), kb(u.resident - std::min(u.shared, u.resident)),
        kb(u.shared), 0);
    out += Format(
        "VmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\nVmLib:\t%8d kB\nVmPTE:\t%8lu "
        "kB\nVmSwap:\t%8d kB\n",
        kb(u.data), kb(u.stack), kb(u.text), 0, kb(u.resident / 512) + 4, 0);
    out += "HugetlbPages:\t       0 kB\nCoreDumping:\t0\nTHP_enabled:\t1\n";
  }
  out += Format("Threads:\t%d\nSigQ:\t%u/%lu\n", f.threads, s.queued,
                t.group().limits.Get(abi::kRLIMIT_SIGPENDING).cur);
  out += Format(
      "SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n",
      s.pending, s.shared, s.blocked, s.ignored, s.caught);
  out += Format(
      "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\nCapAmb:\t%016lx\n",
      c->inheritable, c->permitted, c->effective, c->bounding, c->ambient);
  base::Ref<SeccompFilter> filter = t.seccomp_filter();
  out += Format(
      "NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%d\n"
      "Speculation_Store_Bypass:\tvulnerable\n"
      "SpeculationIndirectBranch:\tconditional enabled\n",
      t.no_new_privs.load(), t.seccomp_mode(), filter ? filter->count() : 0);
  const int cpus = t.group().container().cpu_count;
  out += Format(
      "Cpus_allowed:\t%lx\nCpus_allowed_list:\t%s\nMems_allowed:\t1\nMems_allowed_list:\t0\n",
      t.affinity() != 0 ? t.affinity()
      : cpus >= 64      ? ~0UL
                        : (1UL << cpus) - 1,
      cpus == 1 ? "0" : Format("0-%d", cpus - 1).c_str());
  out += Format("voluntary_ctxt_switches:\t%lu\nnonvoluntary_ctxt_switches:\t%lu\n",
                t.VoluntarySwitches(), t.nivcsw.load());
  return out;
}

Text TaskStatm(Instance&, Task& t, bool) {
  MemoryManager::Usage u;
  if (base::Ref<MemoryManager> mm = t.mm_ref()) u = mm->usage();
  return Format("%lu %lu %lu %lu 0 %lu 0\n", u.total / kPageSize, u.resident / kPageSize,
                u.shared / kPageSize, u.text / kPageSize, (u.data + u.stack) / kPageSize);
}

Text TaskCmdline(Instance&, Task& t, bool) { return CommandLine(t); }

base::Result<std::string> CommandLine(Task& t) {
  base::Ref<MemoryManager> mm = t.mm_ref();
  if (!mm) return std::string();
  MemoryManager::Layout l = mm->layout();
  std::string s = TRY(ReadRange(t, l.arg_start, l.arg_end));
  // A program that overwrote its last NUL shows its environment too, up to the next NUL
  // (setproctitle).
  if (!s.empty() && s.back() != '\0') {
    std::string more = TRY(ReadRange(t, l.arg_start, l.env_end));
    return more.substr(0,
                       more.find('\0', 0) == std::string::npos ? more.size() : more.find('\0') + 1);
  }
  return s;
}

Text TaskEnviron(Instance&, Task& t, bool) {
  base::Ref<MemoryManager> mm = t.mm_ref();
  if (!mm) return std::string();
  MemoryManager::Layout l = mm->layout();
  return ReadRange(t, l.env_start, l.env_end);
}

Text TaskComm(Instance&, Task& t, bool) { return t.comm() + "\n"; }

base::Result<void> WriteComm(Task& t, std::string_view text) {
  if (Task::Current() != nullptr && &Task::Current()->group() != &t.group())
    return abi::Errno::kEINVAL;
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  t.set_comm(text.substr(0, 15));
  return {};
}

base::Result<void> WriteOomScoreAdj(Task& t, std::string_view text) {
  std::string s(text);
  char* end;
  long v = strtol(s.c_str(), &end, 10);
  if (end == s.c_str() || (*end != '\0' && *end != '\n')) return abi::Errno::kEINVAL;
  if (v < -1000 || v > 1000) return abi::Errno::kEINVAL;
  Task* self = Task::Current();
  if (v < t.group().oom_score_adj.load() && self != nullptr &&
      !self->creds().Has(abi::kCAP_SYS_RESOURCE)) {
    return abi::Errno::kEACCES;
  }
  t.group().oom_score_adj.store(static_cast<int32_t>(v));
  return {};
}

Text TaskAuxv(Instance&, Task& t, bool) {
  base::Ref<MemoryManager> mm = t.mm_ref();
  if (!mm) return std::string();
  std::vector<uint64_t> auxv = mm->layout().auxv;
  return std::string(reinterpret_cast<const char*>(auxv.data()), auxv.size() * sizeof auxv[0]);
}

Text TaskLimits(Instance&, Task& t, bool) {
  static constexpr struct {
    int resource;
    const char* name;
    const char* unit;
  } kRows[] = {
      {abi::kRLIMIT_CPU, "Max cpu time", "seconds"},
      {abi::kRLIMIT_FSIZE, "Max file size", "bytes"},
      {abi::kRLIMIT_DATA, "Max data size", "bytes"},
      {abi::kRLIMIT_STACK, "Max stack size", "bytes"},
      {abi::kRLIMIT_CORE, "Max core file size", "bytes"},
      {abi::kRLIMIT_RSS, "Max resident set", "bytes"},
      {abi::kRLIMIT_NPROC, "Max processes", "processes"},
      {abi::kRLIMIT_NOFILE, "Max open files", "files"},
      {abi::kRLIMIT_MEMLOCK, "Max locked memory", "bytes"},
      {abi::kRLIMIT_AS, "Max address space", "bytes"},
      {abi::kRLIMIT_LOCKS, "Max file locks", "locks"},
      {abi::kRLIMIT_SIGPENDING, "Max pending signals", "signals"},
      {abi::kRLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"},
      {abi::kRLIMIT_NICE, "Max nice priority", ""},
      {abi::kRLIMIT_RTPRIO, "Max realtime priority", ""},
      {abi::kRLIMIT_RTTIME, "Max realtime timeout", "us"},
  };
  std::string out =
      Format("%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  auto value = [](uint64_t v) {
    return v == UINT64_MAX ? std::string("unlimited") : std::to_string(v);
  };
  for (const auto& r : kRows) {
    abi::Rlimit l = t.group().limits.Get(r.resource);
    out += Format("%-25s %-20s %-20s %-10s\n", r.name, value(l.cur).c_str(), value(l.max).c_str(),
                  r.unit);
  }
  return out;
}

Text TaskCgroup(Instance&, Task&, bool) { return std::string("0::/\n"); }

Text TaskIo(Instance&, Task&, bool) {
  return std::string(
      "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: "
      "0\ncancelled_write_bytes: 0\n");
}

Text TaskUidMap(Instance&, Task& t, bool) {
  base::Ref<const Creds> c = t.creds_ref();
  return IdMap(c->user_ns->uid_map, !c->user_ns->parent());
}
Text TaskGidMap(Instance&, Task& t, bool) {
  base::Ref<const Creds> c = t.creds_ref();
  return IdMap(c->user_ns->gid_map, !c->user_ns->parent());
}
Text TaskSetgroups(Instance&, Task& t, bool) {
  return std::string(t.creds_ref()->user_ns->setgroups_allowed ? "allow\n" : "deny\n");
}

// map_write() in kernel/user_namespace.c.
base::Result<void> WriteIdMap(Task& t, std::string_view text, bool gid) {
  Task* self = Task::Current();
  if (self == nullptr) return abi::Errno::kEPERM;
  base::Ref<UserNamespace> ns = t.creds_ref()->user_ns;
  if (!ns->parent()) return abi::Errno::kEPERM;
  std::vector<UserNamespace::Extent> map;
  std::string s(text);
  const char* p = s.c_str();
  while (*p != '\0') {
    UserNamespace::Extent e;
    int used = 0;
    if (sscanf(p, "%u %u %u%n", &e.first, &e.lower_first, &e.count, &used) != 3)
      return abi::Errno::kEINVAL;
    p += used;
    while (*p == ' ' || *p == '\n') p++;
    if (e.count == 0 || e.first + e.count < e.first || e.lower_first + e.count < e.lower_first)
      return abi::Errno::kEINVAL;
    map.push_back(e);
    if (map.size() > 340) return abi::Errno::kEINVAL;
  }
  if (map.empty()) return abi::Errno::kEINVAL;
  base::Ref<const Creds> creds = self->creds_ref();
  base::MutexLock lock(self->kernel().tree_mu);
  std::vector<UserNamespace::Extent>& target = gid ? ns->gid_map : ns->uid_map;
  if (!target.empty()) return abi::Errno::kEPERM;
  const bool own = map.size() == 1 && map[0].count == 1 &&
                   map[0].lower_first == (gid ? creds->egid : creds->euid) &&
                   (!gid || !ns->setgroups_allowed);
  if (!own && !creds->HasIn(*ns->parent(), gid ? abi::kCAP_SETGID : abi::kCAP_SETUID))
    return abi::Errno::kEPERM;
  for (UserNamespace::Extent& e : map) {
    uint32_t lower =
        gid ? ns->parent()->GidToGlobal(e.lower_first) : ns->parent()->UidToGlobal(e.lower_first);
    if (lower == UINT32_MAX) return abi::Errno::kEPERM;
    e.lower_first = lower;
  }
  target = std::move(map);
  return {};
}

base::Result<void> WriteSetgroups(Task& t, std::string_view text) {
  base::Ref<UserNamespace> ns = t.creds_ref()->user_ns;
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  Task* self = Task::Current();
  if (self == nullptr || !ns->parent()) return abi::Errno::kEPERM;
  base::MutexLock lock(self->kernel().tree_mu);
  if (text == "deny") {
    if (!ns->gid_map.empty() && ns->setgroups_allowed) return abi::Errno::kEPERM;
    ns->setgroups_allowed = false;
    return {};
  }
  if (text == "allow")
    return ns->setgroups_allowed ? base::Result<void>() : base::Result<void>(abi::Errno::kEPERM);
  return abi::Errno::kEINVAL;
}

}  // namespace proc
}  // namespace sentry
