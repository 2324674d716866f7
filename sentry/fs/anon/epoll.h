// epoll(7): interest list, ready list. Files call back through their wait queues, so that waiting
// costs what is ready, not what is watched.
//
// An item names a file without owning it. It goes with the file's last reference: File's
// epoll_release_hook takes it off every instance while the file is still whole.
#pragma once

#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/base/mutex.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/parker.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

class Epoll;

class EpollFile : public File {
 public:
  static constexpr char kKind = 0;
  EpollFile();
  ~EpollFile() override;

  Epoll& epoll() const { return *epoll_; }
  bool seekable() const override { return false; }
  // noop_llseek().
  base::Result<uint64_t> Seek(int64_t offset, int whence) override { return uint64_t{0}; }
  uint32_t Poll() override;
  WaitQueue* wait_queue() override;
  std::string Fdinfo() override;
  std::string description() override { return "anon_inode:[eventpoll]"; }
  const void* kind() const override { return &kKind; }

 private:
  const base::Ref<Epoll> epoll_;
};

class Epoll : public base::RefCounted {
 public:
  Epoll() = default;

  // epoll_ctl(2). self: the file of this instance, for the search for loops. The caller has checked
  // the combination of flags; EPERM (a file that can't be waited for), EEXIST, ENOENT, ELOOP,
  // ENOSPC, EINVAL (modifying an exclusive item).
  base::Result<void> Add(EpollFile& self, int32_t fd, File& file, const abi::EpollEvent& ev);
  base::Result<void> Modify(int32_t fd, File& file, const abi::EpollEvent& ev);
  base::Result<void> Delete(int32_t fd, File& file);

  // Takes at most max ready events.
  std::vector<abi::EpollEvent> Take(size_t max);
  // Wakes the next waiter if something is still ready.
  void PassOn();
  bool maybe_ready();
  WaitQueue& queue() { return queue_; }

  uint32_t Poll();
  std::string Fdinfo();
  // All items go (the last close of the instance), or those of one file.
  void Clear();
  void RemoveFile(const File* file);

  // A waiter of epoll_wait: one event wakes one of them.
  class Waiter : public WaitEntry {
   public:
    explicit Waiter(Parker& p) : parker_(p) {}
    bool OnReady(uint32_t) override {
      if (fired_.exchange(true, std::memory_order_acq_rel)) return false;
      parker_.Unpark();
      return true;
    }
    // Ready for the next event; before looking at the ready list.
    void Rearm() { fired_.store(false, std::memory_order_release); }

   private:
    Parker& parker_;
    std::atomic<bool> fired_{false};
  };

 private:
  struct Item;
  struct Key {
    const File* file;
    int32_t fd;
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& k) {
      return H::combine(std::move(h), k.file, k.fd);
    }
  };
  friend struct EpollGraph;
  // Nested instances are locked one inside the other, outer first.
  class Lock;

  void PushReady(Item* item);
  bool PushReadyLocked(Item* item) REQUIRES_LOCK(ready_mu_);
  void UnlinkReadyLocked(Item* item) REQUIRES_LOCK(ready_mu_);
  Item* PopReady();
  void DestroyItem(std::unique_ptr<Item> item) REQUIRES_LOCK(mu_);
  void AnnounceFrom(bool nested);

  static constexpr size_t kMaxItems = 1 << 20;

  base::Mutex<base::LockClass::kEpoll> mu_;
  absl::flat_hash_map<Key, std::unique_ptr<Item>> items_ GUARDED_BY(mu_);
  base::Mutex<base::LockClass::kEpollReady> ready_mu_;
  Item* ready_head_ GUARDED_BY(ready_mu_) = nullptr;
  Item* ready_tail_ GUARDED_BY(ready_mu_) = nullptr;
  std::atomic<size_t> ready_count_{0};
  WaitQueue queue_;
};

}  // namespace sentry
