#include "sentry/ipc/sem.h"

#include <cstdio>

#include "sentry/kernel/kernel.h"

namespace sentry {

namespace {

constexpr uint32_t kRead = 0444, kWrite = 0222;

}  // namespace

void SemUndoList::LastRef() const {
  auto* self = const_cast<SemUndoList*>(this);
  table_->Exit(*self);
  delete self;
}

base::Result<base::Ref<SemSet>> SemTable::FindFor(Task& t, int32_t id, uint32_t mask) {
  base::Ref<SemSet> s = TRY(ids_.Find(id));
  TRY(s->perm.Check(t.creds(), *owner_, mask));
  return s;
}

base::Result<int32_t> SemTable::Get(Task& t, int32_t key, int32_t nsems, int32_t flags) {
  if (nsems < 0 || nsems > abi::kSEMMSL) return abi::Errno::kEINVAL;
  base::MutexLock l(mu_);
  SemSet* s = key == abi::kIPC_PRIVATE ? nullptr : ids_.FindKey(key);
  if (s != nullptr) {
    if ((flags & abi::kIPC_CREAT) != 0 && (flags & abi::kIPC_EXCL) != 0) return abi::Errno::kEEXIST;
    if (static_cast<size_t>(nsems) > s->sems.size()) return abi::Errno::kEINVAL;
    TRY(s->perm.Check(t.creds(), *owner_, static_cast<uint32_t>(flags)));
    return s->perm.id;
  }
  if (key != abi::kIPC_PRIVATE && (flags & abi::kIPC_CREAT) == 0) return abi::Errno::kENOENT;
  // newary().
  if (nsems == 0) return abi::Errno::kEINVAL;
  if (used_ + nsems > abi::kSEMMNS || ids_.size() >= abi::kSEMMNI) return abi::Errno::kENOSPC;
  auto made = base::MakeRef<SemSet>(static_cast<size_t>(nsems));
  made->perm.Init(t.creds(), key, flags);
  made->ctime = IpcNow();
  if (!ids_.Add(made)) return abi::Errno::kENOSPC;
  used_ += nsems;
  return made->perm.id;
}

base::Result<bool> SemTable::TryOps(SemSet& s, std::span<const abi::Sembuf> ops, SemUndoList* undo,
                                    int32_t pid, const abi::Sembuf** blocking) {
  // All or nothing: the operations are done in order and undone when one can't be.
  SemUndoList::Adjustments* adj = nullptr;
  if (undo != nullptr) {
    auto it = undo->sets_.find(&s);
    if (it != undo->sets_.end()) adj = &it->second;
  }
  size_t i = 0;
  base::Result<bool> result = true;
  // Adjustments of this call, which may name a semaphore more than once.
  absl::flat_hash_map<uint16_t, int32_t> wanted;
  for (; i < ops.size(); i++) {
    const abi::Sembuf& op = ops[i];
    SemSet::Sem& sem = s.sems[op.num];
    int32_t value = sem.value;
    if ((op.op == 0 && value != 0) || value + op.op < 0) {
      *blocking = &op;
      if ((op.flg & abi::kIPC_NOWAIT) != 0) {
        result = abi::Errno::kEAGAIN;
      } else {
        result = false;
      }
      break;
    }
    if (value + op.op > abi::kSEMVMX) {
      result = abi::Errno::kERANGE;
      break;
    }
    if ((op.flg & abi::kSEM_UNDO) != 0 && undo != nullptr) {
      auto [it, fresh] = wanted.try_emplace(op.num, 0);
      if (fresh && adj != nullptr) {
        auto a = adj->find(op.num);
        if (a != adj->end()) it->second = a->second;
      }
      int32_t v = it->second - op.op;
      if (v < -abi::kSEMAEM - 1 || v > abi::kSEMAEM) {
        result = abi::Errno::kERANGE;
        break;
      }
      it->second = v;
    }
    sem.value = static_cast<uint16_t>(value + op.op);
  }
  if (!result.ok() || !*result) {
    while (i-- > 0) {
      uint16_t& v = s.sems[ops[i].num].value;
      v = static_cast<uint16_t>(v - ops[i].op);
    }
    return result;
  }
  for (const abi::Sembuf& op : ops) s.sems[op.num].pid = pid;
  if (!wanted.empty()) {
    if (adj == nullptr) {
      adj = &undo->sets_[&s];
      s.undoers.push_back(undo);
    }
    for (auto [num, v] : wanted) {
      if (v != 0) {
        (*adj)[num] = static_cast<int16_t>(v);
      } else {
        adj->erase(num);
      }
    }
  }
  s.otime = IpcNow();
  return true;
}

void SemTable::Complete(SemSet::Waiter& w, base::Result<void> r) {
  w.result = r;
  w.done = true;
  // The waiter can't be gone: it leaves the list, or sees done, under the lock.
  w.parker->Unpark();
}

void SemTable::Update(SemSet& s) {
  for (size_t i = 0; i < s.waiters.size();) {
    SemSet::Waiter& w = *s.waiters[i];
    base::Result<bool> r = TryOps(s, w.ops, w.undo, w.pid, &w.blocking);
    if (r.ok() && !*r) {
      i++;
      continue;
    }
    bool altered = false;
    if (r.ok()) {
      for (const abi::Sembuf& op : w.ops) altered |= op.op != 0;
    }
    s.waiters.erase(s.waiters.begin() + static_cast<ptrdiff_t>(i));
    Complete(w, r.ok() ? base::Result<void>() : base::Result<void>(r.error()));
    if (altered) i = 0;
  }
}

base::Result<void> SemTable::Op(Task& t, int32_t id, std::span<const abi::Sembuf> ops,
                                int64_t deadline_ns) {
  uint16_t max = 0;
  bool alter = false, undo = false;
  for (const abi::Sembuf& op : ops) {
    max = std::max(max, op.num);
    alter |= op.op != 0;
    undo |= (op.flg & abi::kSEM_UNDO) != 0;
  }
  base::Ref<SemUndoList> undo_list;
  if (undo) {
    // find_alloc_undo(): the identifier is looked at first.
    {
      base::MutexLock l(mu_);
      TRY(ids_.Find(id));
    }
    base::Ref<SemUndoShare> share = t.sem_undo();
    base::MutexLock l(share->mu);
    if (!share->list) share->list = base::MakeRef<SemUndoList>(base::Ref<SemTable>(this));
    undo_list = base::StaticRefCast<SemUndoList>(share->list);
  }
  base::Ref<SemSet> s;
  SemSet::Waiter w;
  t.parker().Reset();
  {
    base::MutexLock l(mu_);
    s = TRY(ids_.Find(id));
    if (max >= s->sems.size()) return abi::Errno::kEFBIG;
    TRY(s->perm.Check(t.creds(), *owner_, alter ? kWrite : kRead));
    if (TRY(TryOps(*s, ops, undo_list.get(), t.root_tgid(), &w.blocking))) {
      if (alter && !s->waiters.empty()) Update(*s);
      return {};
    }
    w.ops = ops;
    w.undo = undo_list.get();
    w.pid = t.root_tgid();
    w.parker = &t.parker();
    s->waiters.push_back(&w);
  }
  for (;;) {
    base::Result<void> b = t.Block(deadline_ns);
    // signal(7): not even SA_RESTART restarts it, nor does a stop. What interrupts the sleep
    // without a signal for this task goes unseen.
    bool signal = !b.ok() && (t.PendingSet() & ~t.blocked()) != 0;
    base::MutexLock l(mu_);
    if (w.done) return w.result;
    if (b.ok()) continue;
    std::erase(s->waiters, &w);
    if (b.is(abi::Errno::kETIMEDOUT)) return abi::Errno::kEAGAIN;
    if (signal) return abi::Errno::kEINTR;
    return base::Restart::kNoHand;
  }
}

void SemTable::Exit(SemUndoList& list) {
  Task* t = Task::Current();
  int32_t pid = t == nullptr ? 0 : t->root_tgid();
  base::MutexLock l(mu_);
  for (auto& [set, adjustments] : list.sets_) {
    for (auto [num, adj] : adjustments) {
      SemSet::Sem& sem = set->sems[num];
      sem.value = static_cast<uint16_t>(std::clamp(sem.value + adj, 0, abi::kSEMVMX));
      sem.pid = pid;
    }
    std::erase(set->undoers, &list);
    set->otime = IpcNow();
    Update(*set);
  }
  list.sets_.clear();
}

void SemTable::Forget(SemSet& s, int32_t num) {
  for (SemUndoList* u : s.undoers) {
    auto it = u->sets_.find(&s);
    if (it == u->sets_.end()) continue;
    if (num < 0) {
      it->second.clear();
    } else {
      it->second.erase(static_cast<uint16_t>(num));
    }
  }
}

void SemTable::RemoveSet(SemSet& s) {
  for (SemUndoList* u : s.undoers) u->sets_.erase(&s);
  s.undoers.clear();
  for (SemSet::Waiter* w : s.waiters) Complete(*w, abi::Errno::kEIDRM);
  s.waiters.clear();
  used_ -= static_cast<int64_t>(s.sems.size());
  ids_.Remove(s);
}

base::Result<int32_t> SemTable::Stat(Task& t, int32_t id, int32_t cmd, abi::SemidDs* out) {
  base::MutexLock l(mu_);
  base::Ref<SemSet> s = cmd == abi::kIPC_STAT ? TRY(ids_.Find(id)) : TRY(ids_.At(id));
  if (cmd != abi::kSEM_STAT_ANY) TRY(s->perm.Check(t.creds(), *owner_, kRead));
  out->perm = s->perm.Show(t.creds());
  out->otime = s->otime;
  out->ctime = s->ctime;
  out->nsems = s->sems.size();
  return cmd == abi::kIPC_STAT ? 0 : s->perm.id;
}

base::Result<void> SemTable::Set(Task& t, int32_t id, const abi::SemidDs& in) {
  base::MutexLock l(mu_);
  base::Ref<SemSet> s = TRY(ids_.Find(id));
  TRY(s->perm.CheckOwner(t.creds(), *owner_));
  TRY(s->perm.Update(t.creds(), in.perm));
  s->ctime = IpcNow();
  return {};
}

base::Result<void> SemTable::Remove(Task& t, int32_t id) {
  base::MutexLock l(mu_);
  base::Ref<SemSet> s = TRY(ids_.Find(id));
  TRY(s->perm.CheckOwner(t.creds(), *owner_));
  RemoveSet(*s);
  return {};
}

base::Result<int32_t> SemTable::GetOne(Task& t, int32_t id, int32_t num, int32_t cmd) {
  int32_t pid = 0;
  {
    base::MutexLock l(mu_);
    base::Ref<SemSet> s = TRY(FindFor(t, id, kRead));
    if (num < 0 || static_cast<size_t>(num) >= s->sems.size()) return abi::Errno::kEINVAL;
    const SemSet::Sem& sem = s->sems[num];
    switch (cmd) {
      case abi::kGETVAL:
        return sem.value;
      case abi::kGETPID:
        pid = sem.pid;
        break;
      default: {
        // count_semcnt(): what a waiter waits for is its first operation that can't be done.
        int32_t n = 0;
        for (const SemSet::Waiter* w : s->waiters) {
          if (w->blocking->num == num && (w->blocking->op == 0) == (cmd == abi::kGETZCNT)) n++;
        }
        return n;
      }
    }
  }
  return ShowPid(t, pid);
}

base::Result<void> SemTable::SetValue(Task& t, int32_t id, int32_t num, int32_t value) {
  if (value < 0 || value > abi::kSEMVMX) return abi::Errno::kERANGE;
  base::MutexLock l(mu_);
  base::Ref<SemSet> s = TRY(ids_.Find(id));
  if (num < 0 || static_cast<size_t>(num) >= s->sems.size()) return abi::Errno::kEINVAL;
  TRY(s->perm.Check(t.creds(), *owner_, kWrite));
  Forget(*s, num);
  s->sems[num].value = static_cast<uint16_t>(value);
  s->sems[num].pid = t.root_tgid();
  s->ctime = IpcNow();
  Update(*s);
  return {};
}

base::Result<std::vector<uint16_t>> SemTable::GetAll(Task& t, int32_t id) {
  base::MutexLock l(mu_);
  base::Ref<SemSet> s = TRY(FindFor(t, id, kRead));
  std::vector<uint16_t> out;
  out.reserve(s->sems.size());
  for (const SemSet::Sem& sem : s->sems) out.push_back(sem.value);
  return out;
}

base::Result<size_t> SemTable::Count(Task& t, int32_t id) {
  base::MutexLock l(mu_);
  base::Ref<SemSet> s = TRY(FindFor(t, id, kWrite));
  return s->sems.size();
}

base::Result<void> SemTable::SetAll(Task& t, int32_t id, std::span<const uint16_t> values) {
  for (uint16_t v : values) {
    if (v > abi::kSEMVMX) return abi::Errno::kERANGE;
  }
  base::MutexLock l(mu_);
  // The set was there when the values were fetched.
  auto found = ids_.Find(id);
  if (!found.ok() || (*found)->sems.size() != values.size()) return abi::Errno::kEIDRM;
  SemSet& s = **found;
  Forget(s, -1);
  for (size_t i = 0; i < values.size(); i++) {
    s.sems[i].value = values[i];
    s.sems[i].pid = t.root_tgid();
  }
  s.ctime = IpcNow();
  Update(s);
  return {};
}

int32_t SemTable::Info(int32_t cmd, abi::Seminfo* out) {
  constexpr int32_t kSemUndoSize = 20;  // SEMUSZ
  base::MutexLock l(mu_);
  out->semmap = out->semmns = out->semmnu = abi::kSEMMNS;
  out->semmni = abi::kSEMMNI;
  out->semmsl = abi::kSEMMSL;
  out->semopm = out->semume = abi::kSEMOPM;
  out->semvmx = abi::kSEMVMX;
  bool usage = cmd == abi::kSEM_INFO;
  out->semusz = usage ? ids_.size() : kSemUndoSize;
  out->semaem = usage ? static_cast<int32_t>(used_) : abi::kSEMAEM;
  return ids_.highest();
}

std::string SemTable::ProcText(const Task& reader) {
  std::string text =
      "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
  base::Ref<const Creds> creds = reader.creds_ref();
  base::MutexLock l(mu_);
  for (auto& [index, s] : ids_.all()) {
    abi::IpcPerm p = s->perm.Show(*creds);
    char line[160];
    snprintf(line, sizeof line, "%10d %10d  %4o %10zu %5u %5u %5u %5u %10lu %10lu\n", p.key,
             s->perm.id, p.mode, s->sems.size(), p.uid, p.gid, p.cuid, p.cgid,
             static_cast<uint64_t>(s->otime), static_cast<uint64_t>(s->ctime));
    text += line;
  }
  return text;
}

void SemTable::Clear() {
  base::MutexLock l(mu_);
  while (ids_.size() != 0) {
    base::Ref<SemSet> s = ids_.all().begin()->second;
    RemoveSet(*s);
  }
}

}  // namespace sentry
