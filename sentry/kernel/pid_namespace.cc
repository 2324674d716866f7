#include <algorithm>

#include "sentry/kernel/kernel.h"

namespace sentry {
namespace {

constexpr int32_t kPidMax = 4194304;  // PID_MAX_LIMIT on 64-bit
constexpr int32_t kReserved = 300;    // RESERVED_PIDS: where numbers go on after a wrap

template <typename T>
int32_t NumberIn(const T& object, const PidNamespace* ns) {
  for (const auto& [n, id] : object.numbers) {
    if (n == ns) return id;
  }
  return 0;
}

}  // namespace

bool PidNamespace::IsWithin(const PidNamespace& a) const {
  for (const PidNamespace* n = this; n != nullptr; n = n->parent_.get()) {
    if (n == &a) return true;
  }
  return false;
}

int32_t PidNamespace::Allocate() {
  for (int32_t tried = 0; tried < kPidMax; tried++) {
    last_pid_ = last_pid_ + 1 >= kPidMax ? kReserved : last_pid_ + 1;
    if (!Taken(last_pid_)) return last_pid_;
  }
  return 0;
}

Task* PidNamespace::FindTask(int32_t tid) const {
  auto it = tasks_.find(tid);
  return it == tasks_.end() ? nullptr : it->second;
}

ThreadGroup* PidNamespace::FindGroup(int32_t tgid) const {
  Task* t = FindTask(tgid);
  return t != nullptr && t->group().leader == t ? &t->group() : nullptr;
}

ProcessGroup* PidNamespace::FindPgrp(int32_t pgid) const {
  auto it = pgrps_.find(pgid);
  return it == pgrps_.end() ? nullptr : it->second.get();
}

Session* PidNamespace::FindSession(int32_t sid) const {
  auto it = sessions_.find(sid);
  return it == sessions_.end() ? nullptr : it->second.get();
}

int32_t PidNamespace::IdOf(const Task& t) const {
  if (t.pid_ns_.get() == this) return t.tid();
  if (level_ == 0) return t.root_tid();
  auto it = ids_.find(&t);
  return it == ids_.end() ? 0 : it->second;
}

int32_t PidNamespace::IdOf(const ThreadGroup& g) const {
  return g.leader == nullptr ? 0 : IdOf(*g.leader);
}

int32_t PidNamespace::IdOf(const ProcessGroup& p) const { return NumberIn(p, this); }
int32_t PidNamespace::IdOf(const Session& s) const { return NumberIn(s, this); }

std::vector<Task*> PidNamespace::Tasks() const {
  std::vector<std::pair<int32_t, Task*>> all(tasks_.begin(), tasks_.end());
  std::sort(all.begin(), all.end());
  std::vector<Task*> out;
  out.reserve(all.size());
  for (const auto& [id, t] : all) out.push_back(t);
  return out;
}

std::vector<ThreadGroup*> PidNamespace::Groups() const {
  std::vector<std::pair<int32_t, Task*>> all;
  for (const auto& [id, t] : tasks_) {
    if (t->group().leader == t) all.emplace_back(id, t);
  }
  std::sort(all.begin(), all.end());
  std::vector<ThreadGroup*> out;
  out.reserve(all.size());
  for (const auto& [id, t] : all) out.push_back(&t->group());
  return out;
}

}  // namespace sentry
