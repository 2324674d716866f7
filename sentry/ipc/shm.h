// System V shared memory (ipc/shm.c).
#pragma once

#include <string>

#include "sentry/ipc/ids.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/shared_anon.h"

namespace sentry {

class ShmTable;

// One segment. Mappings hold it; the table holds it until it is removed and the last mapping is
// gone. Fields are guarded by the table's lock.
class ShmSegment : public Mappable {
 public:
  ShmSegment(base::Ref<ShmTable> table, base::Ref<SharedAnon> memory, uint64_t size)
      : segsz(size), table_(std::move(table)), memory_(std::move(memory)) {}
  base::Result<Extent> Translate(uint64_t offset, uint64_t len, bool write) override {
    return memory_->Translate(offset, len, write);
  }
  uint64_t size() override { return PageUp(segsz); }
  uint64_t pages() const { return PageUp(segsz) / kPageSize; }
  base::Result<void> Punch(uint64_t offset, uint64_t len) override {
    return memory_->Punch(offset, len);
  }
  void OnMap(uint64_t len, bool shared_writable) override;
  void OnUnmap(uint64_t len, bool shared_writable) override;
  uint64_t ResidentBytes();

  // Mappings as Linux counts them; parts of an attachment that were unmapped count no more.
  uint64_t attached() const { return (mapped_bytes + PageUp(segsz) - 1) / PageUp(segsz); }

  IpcPerms perm;
  const uint64_t segsz;  // as asked for
  bool destroy = false, locked = false;
  int64_t atime = 0, dtime = 0, ctime = 0;
  int32_t cpid = 0, lpid = 0;
  uint64_t mapped_bytes = 0;
  uint32_t pins = 0;     // shmat calls under way
  base::Ref<File> file;  // what /proc/[pid]/maps shows

 private:
  const base::Ref<ShmTable> table_;
  const base::Ref<SharedAnon> memory_;
};

class ShmTable : public base::RefCounted {
 public:
  explicit ShmTable(base::Ref<UserNamespace> owner) : owner_(std::move(owner)) {}

  base::Result<int32_t> Get(Task& t, int32_t key, uint64_t size, int32_t flags);
  base::Result<uint64_t> Attach(Task& t, int32_t id, uint64_t addr, int32_t flags);
  static base::Result<void> Detach(Task& t, uint64_t addr);
  // cmd: IPC_STAT, SHM_STAT, SHM_STAT_ANY. What the call returns.
  base::Result<int32_t> Stat(Task& t, int32_t id, int32_t cmd, abi::ShmidDs* out);
  base::Result<void> Set(Task& t, int32_t id, const abi::ShmidDs& in);
  base::Result<void> Remove(Task& t, int32_t id);
  base::Result<void> LockMemory(Task& t, int32_t id, bool lock);
  // What the *_INFO commands return.
  int32_t Limits(abi::Shminfo* out);
  int32_t Usage(abi::ShmInfo* out);
  // /proc/sysvipc/shm.
  std::string ProcText(const Task& reader);
  void Clear();

 private:
  friend class ShmSegment;
  void MaybeDestroy(ShmSegment& s, base::Ref<ShmSegment>* dropped) REQUIRES_LOCK(mu_);
  const base::Ref<UserNamespace> owner_;
  base::Mutex<base::LockClass::kShm> mu_;
  IpcIds<ShmSegment> ids_ GUARDED_BY(mu_);
  uint64_t pages_ GUARDED_BY(mu_) = 0;
};

}  // namespace sentry
