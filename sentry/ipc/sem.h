// System V semaphores (ipc/sem.c).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "sentry/ipc/ids.h"
#include "sentry/kernel/task.h"

namespace sentry {

class SemTable;
class SemUndoList;

// One set. Guarded by the table's lock.
class SemSet : public base::RefCounted {
 public:
  struct Sem {
    uint16_t value = 0;
    int32_t pid = 0;  // of the last operation, root pid namespace
  };
  // A semop call that waits. Lives on its task's stack; on the list while it waits.
  struct Waiter {
    std::span<const abi::Sembuf> ops;
    SemUndoList* undo = nullptr;
    int32_t pid = 0;
    Parker* parker = nullptr;
    const abi::Sembuf* blocking = nullptr;  // the operation that can't be done yet
    bool done = false;
    base::Result<void> result;
  };

  explicit SemSet(size_t n) : sems(n) {}
  IpcPerms perm;
  std::vector<Sem> sems;
  int64_t otime = 0, ctime = 0;
  std::vector<Waiter*> waiters;       // in order of arrival
  std::vector<SemUndoList*> undoers;  // those with adjustments here
};

// The adjustments that the end of a process (or of the last task that shares them by CLONE_SYSVSEM)
// makes. All of one namespace.
class SemUndoList : public base::RefCounted {
 public:
  explicit SemUndoList(base::Ref<SemTable> table) : table_(std::move(table)) {}

 protected:
  void LastRef() const override;  // exit_sem()

 private:
  friend class SemTable;
  using Adjustments = absl::flat_hash_map<uint16_t, int16_t>;
  const base::Ref<SemTable> table_;
  // Guarded by the table's lock. Sets take themselves out when they are removed.
  absl::flat_hash_map<SemSet*, Adjustments> sets_;
};

class SemTable : public base::RefCounted {
 public:
  explicit SemTable(base::Ref<UserNamespace> owner) : owner_(std::move(owner)) {}

  base::Result<int32_t> Get(Task& t, int32_t key, int32_t nsems, int32_t flags);
  // ops: at most SEMOPM of them. EAGAIN at the deadline; EIDRM; EINTR.
  base::Result<void> Op(Task& t, int32_t id, std::span<const abi::Sembuf> ops, int64_t deadline_ns);
  // cmd: IPC_STAT, SEM_STAT, SEM_STAT_ANY. What the call returns.
  base::Result<int32_t> Stat(Task& t, int32_t id, int32_t cmd, abi::SemidDs* out);
  base::Result<void> Set(Task& t, int32_t id, const abi::SemidDs& in);
  base::Result<void> Remove(Task& t, int32_t id);
  // cmd: GETVAL, GETPID, GETNCNT, GETZCNT.
  base::Result<int32_t> GetOne(Task& t, int32_t id, int32_t num, int32_t cmd);
  base::Result<void> SetValue(Task& t, int32_t id, int32_t num, int32_t value);
  base::Result<std::vector<uint16_t>> GetAll(Task& t, int32_t id);
  // How many values SETALL takes; with the permission check.
  base::Result<size_t> Count(Task& t, int32_t id);
  base::Result<void> SetAll(Task& t, int32_t id, std::span<const uint16_t> values);
  // IPC_INFO and SEM_INFO: what they return.
  int32_t Info(int32_t cmd, abi::Seminfo* out);
  // /proc/sysvipc/sem.
  std::string ProcText(const Task& reader);
  void Clear();

 private:
  friend class SemUndoList;
  void Exit(SemUndoList& list);
  base::Result<base::Ref<SemSet>> FindFor(Task& t, int32_t id, uint32_t mask) REQUIRES_LOCK(mu_);
  // perform_atomic_semop(). True: done; false: must wait, *blocking tells why. EAGAIN, ERANGE.
  base::Result<bool> TryOps(SemSet& s, std::span<const abi::Sembuf> ops, SemUndoList* undo,
                            int32_t pid, const abi::Sembuf** blocking) REQUIRES_LOCK(mu_);
  // do_smart_update(): completes the waiters that can go on now.
  void Update(SemSet& s) REQUIRES_LOCK(mu_);
  static void Complete(SemSet::Waiter& w, base::Result<void> r);
  void Forget(SemSet& s, int32_t num) REQUIRES_LOCK(mu_);  // num -1: all
  void RemoveSet(SemSet& s) REQUIRES_LOCK(mu_);

  const base::Ref<UserNamespace> owner_;
  base::Mutex<base::LockClass::kIpc> mu_;
  IpcIds<SemSet> ids_ GUARDED_BY(mu_);
  int64_t used_ GUARDED_BY(mu_) = 0;  // semaphores in all sets
};

}  // namespace sentry
