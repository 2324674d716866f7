// What the three kinds of System V objects share (ipc/util.c): identifiers, keys, permissions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "sentry/auth/creds.h"
#include "sentry/kernel/process.h"
#include "syscalls/abi/ipc.h"

namespace sentry {

class Task;

// struct kern_ipc_perm. Ids of users are sandbox-global; mode: permission bits only.
struct IpcPerms {
  int32_t id = 0, key = 0;
  uint32_t uid = 0, gid = 0, cuid = 0, cgid = 0, mode = 0;
  uint16_t seq = 0;
  bool removed = false;

  void Init(const Creds& c, int32_t k, int32_t flags) {
    key = k;
    uid = cuid = c.euid;
    gid = cgid = c.egid;
    mode = static_cast<uint32_t>(flags) & 0777;
  }
  // ipcperms(): EACCES. mask: any of S_IRUGO, S_IWUGO, or the flags of a get call.
  base::Result<void> Check(const Creds& c, const UserNamespace& owner, uint32_t mask) const;
  // ipcctl_obtain_check(): owner, creator or CAP_SYS_ADMIN. EPERM.
  base::Result<void> CheckOwner(const Creds& c, const UserNamespace& owner) const;
  // ipc_update_perm(): IPC_SET. EINVAL: an id that the caller's namespace does not map.
  base::Result<void> Update(const Creds& c, const abi::IpcPerm& in);
  // As the caller's user namespace sees it.
  abi::IpcPerm Show(const Creds& c) const;
};

// Processes are remembered by their number in the root pid namespace; as the reader sees it, 0 for
// one that is gone or not visible.
int32_t ShowPid(const Task& reader, int32_t root_tgid);

// The objects of one kind, by identifier and by key. T has a member `IpcPerms perm`. Guarded by its
// owner's lock.
template <typename T>
class IpcIds {
 public:
  static constexpr int32_t kShift = 15, kMax = 1 << kShift;

  // Gives the object its identifier; false: none is free.
  bool Add(const base::Ref<T>& object) {
    int32_t in_use = size();
    if (in_use >= kMax) return false;
    // ipc_idr_alloc(): identifiers are reused late.
    int32_t limit = std::min(kMax, std::max(in_use * 3 / 2 + 1, kMinCycle));
    int32_t index = next_ < limit ? next_ : 0;
    while (objects_.contains(index)) index = index + 1 < limit ? index + 1 : 0;
    if (index <= last_) seq_ = seq_ == 0xffff ? 0 : seq_ + 1;
    last_ = index;
    next_ = index + 1;
    object->perm.seq = static_cast<uint16_t>(seq_);
    object->perm.id = (seq_ << kShift) + index;
    objects_[index] = object;
    if (object->perm.key != abi::kIPC_PRIVATE) keys_[object->perm.key] = object.get();
    return true;
  }
  // EINVAL: no such identifier; EIDRM: its index belongs to another object by now.
  base::Result<base::Ref<T>> Find(int32_t id) const {
    if (id < 0) return abi::Errno::kEINVAL;
    auto it = objects_.find(id & (kMax - 1));
    if (it == objects_.end()) return abi::Errno::kEINVAL;
    if (it->second->perm.id != id) return abi::Errno::kEIDRM;
    return it->second;
  }
  // By index, for the *_STAT commands. EINVAL.
  base::Result<base::Ref<T>> At(int32_t index) const {
    auto it = objects_.find(index & (kMax - 1));
    if (index < 0 || it == objects_.end()) return abi::Errno::kEINVAL;
    return it->second;
  }
  T* FindKey(int32_t key) const {
    auto it = keys_.find(key);
    return it == keys_.end() ? nullptr : it->second;
  }
  void Remove(T& object) {
    DropKey(object);
    object.perm.removed = true;
    objects_.erase(object.perm.id & (kMax - 1));
  }
  // ipc_set_key_private().
  void DropKey(T& object) {
    if (object.perm.key != abi::kIPC_PRIVATE) keys_.erase(object.perm.key);
    object.perm.key = abi::kIPC_PRIVATE;
  }
  int32_t size() const { return static_cast<int32_t>(objects_.size()); }
  // The highest index in use, 0 if none: what the *_INFO commands return.
  int32_t highest() const { return objects_.empty() ? 0 : objects_.rbegin()->first; }
  const absl::btree_map<int32_t, base::Ref<T>>& all() const { return objects_; }

 private:
  static constexpr int32_t kMinCycle = 64;
  absl::btree_map<int32_t, base::Ref<T>> objects_;
  absl::flat_hash_map<int32_t, T*> keys_;
  int32_t next_ = 0, last_ = -1, seq_ = 0;
};

// CLOCK_REALTIME in seconds.
int64_t IpcNow();

}  // namespace sentry
