// Process groups and sessions: setpgid(2), setsid(2) (kernel/sys.c).
#include <algorithm>

#include "sentry/kernel/released.h"

namespace sentry {
namespace {

PidNumbers NumbersOf(const Task& leader) {
  PidNumbers n;
  for (PidNamespace* ns = leader.pid_ns().get(); ns != nullptr; ns = ns->parent().get()) {
    n.emplace_back(ns, ns->IdOf(leader));
  }
  return n;
}

}  // namespace

base::Ref<Session> Kernel::NewSession(ThreadGroup& g) {
  auto s = base::MakeRef<Session>(g.leader->root_tid(), NumbersOf(*g.leader));
  s->leader = &g;
  for (auto [ns, id] : s->numbers) ns->sessions_[id] = s;
  return s;
}

base::Ref<ProcessGroup> Kernel::NewPgrp(ThreadGroup& g, base::Ref<Session> s) {
  s->pgrps++;
  auto p = base::MakeRef<ProcessGroup>(g.leader->root_tid(), NumbersOf(*g.leader), std::move(s));
  for (auto [ns, id] : p->numbers) ns->pgrps_[id] = p;
  return p;
}

void Kernel::JoinPgrp(ThreadGroup& g, base::Ref<ProcessGroup> p) {
  p->members.push_back(&g);
  g.pgrp = std::move(p);
}

void Kernel::LeavePgrp(ThreadGroup& g, Released* out) {
  if (!g.pgrp) return;
  base::Ref<ProcessGroup> p = std::move(g.pgrp);
  auto it = std::find(p->members.begin(), p->members.end(), &g);
  if (it != p->members.end()) {
    *it = p->members.back();
    p->members.pop_back();
  }
  if (p->members.empty()) {
    for (auto [ns, id] : p->numbers) ns->pgrps_.erase(id);
    Session& s = *p->session();
    if (--s.pgrps == 0) {
      for (auto [ns, id] : s.numbers) ns->sessions_.erase(id);
    }
  }
  out->refs.push_back(std::move(p));
}

base::Result<void> Kernel::SetPgid(Task& t, int32_t pid, int32_t pgid) {
  Released released;
  base::MutexLock l(tree_mu);
  ThreadGroup& self = t.group();
  const PidNamespace& ns = *t.pid_ns_;
  if (pid == 0) pid = t.tgid_;
  if (pgid == 0) pgid = pid;
  if (pgid < 0) return abi::Errno::kEINVAL;
  ThreadGroup* g = ns.FindGroup(pid);
  if (g == nullptr) {
    // A thread that is no leader: EINVAL.
    return ns.FindTask(pid) != nullptr ? abi::Errno::kEINVAL : abi::Errno::kESRCH;
  }
  if (g->parent == &self) {
    if (!g->pgrp || !(g->pgrp->session() == self.pgrp->session())) return abi::Errno::kEPERM;
    if (g->exec_done) return abi::Errno::kEACCES;
  } else if (g != &self) {
    return abi::Errno::kESRCH;
  }
  if (!g->pgrp) return abi::Errno::kESRCH;
  if (g->pgrp->session()->leader == g) return abi::Errno::kEPERM;
  base::Ref<ProcessGroup> target;
  if (pgid != pid) {
    target = base::Ref<ProcessGroup>(ns.FindPgrp(pgid));
    if (!target || !(target->session() == self.pgrp->session())) return abi::Errno::kEPERM;
  } else {
    target = base::Ref<ProcessGroup>(ns.FindPgrp(pgid));
  }
  if (target == g->pgrp) return {};
  base::Ref<Session> session = g->pgrp->session();
  if (!target) {
    target = NewPgrp(*g, session);
  }
  LeavePgrp(*g, &released);
  JoinPgrp(*g, std::move(target));
  return {};
}

base::Result<int32_t> Kernel::SetSid(Task& t) {
  Released released;
  base::MutexLock l(tree_mu);
  ThreadGroup& g = t.group();
  if (g.pgrp && g.pgrp->session()->leader == &g) return abi::Errno::kEPERM;
  // A group of this number that others live in still.
  if (t.pid_ns_->FindPgrp(t.tgid_) != nullptr) return abi::Errno::kEPERM;
  LeavePgrp(g, &released);
  JoinPgrp(g, NewPgrp(g, NewSession(g)));
  g.tty_given_up = false;
  return t.tgid_;
}

}  // namespace sentry
