// The bytes of a tmpfs file: small ones in the heap, larger or mapped ones in a memory file of
// their own, read and written through the sentry's windows on it.
#pragma once

#include <atomic>
#include <memory>

#include "sentry/memory/backing_file.h"
#include "sentry/mm/io_buffer.h"
#include "sentry/mm/mappable.h"

namespace sentry {

// The size limit of one file system, in bytes.
class StorageLimit : public base::RefCounted {
 public:
  explicit StorageLimit(uint64_t limit) : limit_(limit) {}
  // ENOSPC.
  base::Result<void> Charge(uint64_t n);
  void Uncharge(uint64_t n) { used_.fetch_sub(n, std::memory_order_relaxed); }
  uint64_t limit() const { return limit_; }
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t Left() const {
    if (limit_ == 0) return UINT64_MAX;
    const uint64_t now = used();
    return now < limit_ ? limit_ - now : 0;
  }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> used_{0};
};

class TmpfsData : public Mappable {
 public:
  explicit TmpfsData(base::Ref<StorageLimit> limit) : limit_(std::move(limit)) {}
  ~TmpfsData() override;

  // At *offset, which advances; 0 at the end. EFAULT when nothing moved.
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset);
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, bool append);
  base::Result<void> Truncate(uint64_t size);
  base::Result<void> Fallocate(int mode, uint64_t offset, uint64_t len);
  uint64_t Blocks();
  base::Result<uint64_t> SeekExtent(uint64_t offset, bool hole, uint64_t size);
  // Before it is mapped: the bytes move to a memory file. ENOMEM; EPERM by seals.
  base::Result<void> PrepareMap(bool shared, uint8_t prot);

  uint32_t seals() const { return seals_.load(std::memory_order_relaxed); }
  void init_seals(uint32_t s) { seals_.store(s, std::memory_order_relaxed); }
  base::Result<void> AddSeals(uint32_t s);

  // Mappable. Only after PrepareMap(); takes no lock.
  base::Result<Extent> Translate(uint64_t offset, uint64_t len, bool write) override;
  uint64_t size() override { return size_.load(std::memory_order_acquire); }
  void OnMap(uint64_t len, bool shared_writable) override;
  void OnUnmap(uint64_t len, bool shared_writable) override;

 private:
  static constexpr uint64_t kSmall = 16 << 10;
  base::Result<void> PromoteLocked() REQUIRES_LOCK(mu_);
  base::Result<void> HostSizeLocked(uint64_t end) REQUIRES_LOCK(mu_);
  base::Result<void> ChargeLocked(uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);

  const base::Ref<StorageLimit> limit_;
  std::atomic<uint64_t> size_{0};
  std::atomic<uint32_t> seals_{0};
  std::atomic<int64_t> maps_{0}, writable_maps_{0};  // bytes: mappings are unmapped piece by piece
  // Set once; big_ owns.
  std::atomic<BackingFile*> file_{nullptr};
  base::Mutex<base::LockClass::kInode> mu_;
  base::Ref<BackingFile> big_ GUARDED_BY(mu_);
  uint64_t host_size_ GUARDED_BY(mu_) = 0;
  bool sparse_ GUARDED_BY(mu_) = false;  // there may be holes below size()
  // Bytes beyond size() are zero in both forms.
  std::unique_ptr<uint8_t[]> small_ GUARDED_BY(mu_);
  uint64_t small_cap_ GUARDED_BY(mu_) = 0;
  // Storage is charged for page ranges below this mark, as writes first reach them.
  uint64_t charged_end_ GUARDED_BY(mu_) = 0, charged_ GUARDED_BY(mu_) = 0;
};

}  // namespace sentry
