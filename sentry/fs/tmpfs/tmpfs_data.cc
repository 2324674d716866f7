#include "sentry/fs/tmpfs/tmpfs_data.h"

#include <algorithm>
#include <cstring>

#include "platform/host/host.h"
#include "platform/host/safe_copy.h"
#include "sentry/mm/host_io.h"
#include "syscalls/abi/fcntl.h"

namespace sentry {
namespace {
constexpr uint64_t kPage = 4096;
constexpr uint64_t kMaxSize = INT64_MAX - kPage;
constexpr uint64_t kMaxAhead = 32 << 20;
uint64_t Up(uint64_t v) { return (v + kPage - 1) & ~(kPage - 1); }
uint64_t Down(uint64_t v) { return v & ~(kPage - 1); }
}  // namespace

base::Result<void> StorageLimit::Charge(uint64_t n) {
  uint64_t now = used_.fetch_add(n, std::memory_order_relaxed) + n;
  if (limit_ != 0 && now > limit_) {
    used_.fetch_sub(n, std::memory_order_relaxed);
    return abi::Errno::kENOSPC;
  }
  return {};
}

TmpfsData::~TmpfsData() {
  base::MutexLock l(mu_);
  limit_->Uncharge(charged_);
}

base::Result<void> TmpfsData::ChargeLocked(uint64_t start, uint64_t end) {
  const uint64_t from = std::max(Down(start), charged_end_);
  const uint64_t to = Up(end);
  if (to <= from) return {};
  TRY(limit_->Charge(to - from));
  charged_ += to - from;
  charged_end_ = to;
  return {};
}

base::Result<void> TmpfsData::HostSizeLocked(uint64_t end) {
  if (end <= host_size_) return {};
  uint64_t to = Up(end);
  // Growing ahead saves host calls; a mapped file ends where its size says, so that what lies
  // behind faults.
  if (maps_.load(std::memory_order_relaxed) == 0) to += std::min(to, kMaxAhead);
  if (host::Ftruncate(big_->fd(), static_cast<int64_t>(to)) < 0) return abi::Errno::kENOSPC;
  host_size_ = to;
  return {};
}

base::Result<void> TmpfsData::PromoteLocked() {
  if (big_) return {};
  long fd = host::CreateMemoryFile();
  if (fd < 0) return abi::Errno::kENOSPC;
  big_ = base::MakeRef<BackingFile>(base::UniqueFd(static_cast<int>(fd)), true);
  const uint64_t n = size_.load(std::memory_order_relaxed);
  base::Result<void> r = HostSizeLocked(n);
  uint64_t len = n;
  if (r.ok() && n != 0) {
    uint8_t* w = big_->Window(0, &len);
    if (w == nullptr || len < n || host::SafeCopy(w, small_.get(), n) != n) r = abi::Errno::kENOSPC;
  }
  if (!r.ok()) {
    big_.reset();
    host_size_ = 0;
    return r;
  }
  small_.reset();
  small_cap_ = 0;
  file_.store(big_.get(), std::memory_order_release);
  return {};
}

base::Result<uint64_t> TmpfsData::Read(IoBuffer& dst, uint64_t* offset) {
  base::MutexLock l(mu_);
  const uint64_t end = size_.load(std::memory_order_relaxed);
  if (*offset >= end || dst.remaining() == 0) return uint64_t{0};
  const uint64_t want = std::min<uint64_t>(end - *offset, dst.remaining());
  uint64_t done = 0;
  if (!big_) {
    done = dst.CopyTo(small_.get() + *offset, want);
  } else if (sparse_) {
    // A read of a hole through the window would fill it.
    done = TRY(ReadHostFile(big_->fd(), dst, *offset, want));
  } else {
    while (done < want) {
      uint64_t len = want - done;
      uint8_t* w = big_->Window(*offset + done, &len);
      if (w == nullptr) return abi::Errno::kEIO;
      const uint64_t n = dst.CopyTo(w, len);
      done += n;
      if (n < len) break;
    }
  }
  if (done == 0) return abi::Errno::kEFAULT;
  *offset += done;
  return done;
}

base::Result<uint64_t> TmpfsData::Write(IoBuffer& src, uint64_t* offset, bool append) {
  base::MutexLock l(mu_);
  const uint64_t old = size_.load(std::memory_order_relaxed);
  if (append) *offset = old;
  uint64_t want = src.remaining();
  if (want == 0) return uint64_t{0};
  const uint64_t at = *offset;
  if (at >= kMaxSize) return abi::Errno::kEFBIG;
  want = std::min(want, kMaxSize - at);
  const uint32_t seals = this->seals();
  if ((seals & (abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE)) != 0) return abi::Errno::kEPERM;
  if ((seals & abi::kF_SEAL_GROW) != 0 && at + want > old) return abi::Errno::kEPERM;
  if (base::Result<void> r = ChargeLocked(at, at + want); !r.ok()) {
    // What fits is written.
    const uint64_t fits = std::max(Down(at), charged_end_) + (limit_->Left() & ~(kPage - 1));
    if (fits <= at) return r.error();
    want = std::min(want, fits - at);
    TRY(ChargeLocked(at, at + want));
  }
  const uint64_t end = at + want;
  uint64_t done = 0;
  if (!big_ && end <= kSmall) {
    if (end > small_cap_) {
      uint64_t cap = std::max<uint64_t>({end, small_cap_ * 2, 128});
      cap = std::min(cap, kSmall);
      std::unique_ptr<uint8_t[]> grown(new uint8_t[cap]());
      if (old != 0) memcpy(grown.get(), small_.get(), old);
      small_ = std::move(grown);
      small_cap_ = cap;
    }
    done = src.CopyFrom(small_.get() + at, want);
    if (done < want && end > old) {
      const uint64_t keep = std::max(old, at + done);
      memset(small_.get() + keep, 0, end - keep);
    }
  } else {
    TRY(PromoteLocked());
    TRY(HostSizeLocked(end));
    if (at > old) sparse_ = true;
    if (at >= old && want >= kPage) {
      // Pages that are not there yet cost half as much without a fault; all others are cheaper
      // through the window.
      done = TRY(WriteHostFile(big_->fd(), src, at, want));
    }
    while (done < want && !src.faulted()) {
      uint64_t len = want - done;
      uint8_t* w = big_->Window(at + done, &len);
      if (w == nullptr) return abi::Errno::kEIO;
      const uint64_t n = src.CopyFrom(w, len);
      done += n;
      if (n < len) break;
    }
  }
  if (done == 0) return abi::Errno::kEFAULT;
  *offset = at + done;
  if (at + done > old) size_.store(at + done, std::memory_order_release);
  return done;
}

base::Result<void> TmpfsData::Truncate(uint64_t to) {
  base::MutexLock l(mu_);
  const uint64_t old = size_.load(std::memory_order_relaxed);
  if (to > kMaxSize) return abi::Errno::kEFBIG;
  const uint32_t seals = this->seals();
  if (to < old && (seals & abi::kF_SEAL_SHRINK) != 0) return abi::Errno::kEPERM;
  if (to > old && (seals & abi::kF_SEAL_GROW) != 0) return abi::Errno::kEPERM;
  if (to == old) return {};
  if (!big_ && to > kSmall) TRY(PromoteLocked());
  if (big_) {
    if (to > old) sparse_ = true;
    if (to > host_size_ || to < old) {
      if (host::Ftruncate(big_->fd(), static_cast<int64_t>(to)) < 0) return abi::Errno::kENOSPC;
      host_size_ = to;
    }
  } else if (to > small_cap_) {
    std::unique_ptr<uint8_t[]> grown(new uint8_t[to]());
    if (old != 0) memcpy(grown.get(), small_.get(), old);
    small_ = std::move(grown);
    small_cap_ = to;
  } else if (to < old) {
    memset(small_.get() + to, 0, old - to);
  }
  size_.store(to, std::memory_order_release);
  if (Up(to) < charged_end_) {
    charged_end_ = Up(to);
    if (charged_ > charged_end_) {
      limit_->Uncharge(charged_ - charged_end_);
      charged_ = charged_end_;
    }
  }
  return {};
}

base::Result<void> TmpfsData::Fallocate(int mode, uint64_t offset, uint64_t len) {
  // shmem_fallocate().
  constexpr int kPunch = abi::kFALLOC_FL_PUNCH_HOLE, kKeep = abi::kFALLOC_FL_KEEP_SIZE;
  if ((mode & ~(kPunch | kKeep)) != 0) return abi::Errno::kEOPNOTSUPP;
  base::MutexLock l(mu_);
  const uint64_t old = size_.load(std::memory_order_relaxed);
  const uint64_t end = offset + len;
  if ((mode & kPunch) != 0) {
    if ((seals() & (abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE)) != 0)
      return abi::Errno::kEPERM;
    sparse_ = true;
    if (big_) {
      const uint64_t stop = std::min(end, host_size_);
      if (stop > offset && host::PunchHole(big_->fd(), static_cast<int64_t>(offset),
                                           static_cast<int64_t>(stop - offset)) < 0) {
        return abi::Errno::kEIO;
      }
    } else if (offset < old) {
      memset(small_.get() + offset, 0, std::min(end, old) - offset);
    }
    return {};
  }
  if (end > kMaxSize) return abi::Errno::kEFBIG;
  if (end > old && (seals() & abi::kF_SEAL_GROW) != 0) return abi::Errno::kEPERM;
  TRY(ChargeLocked(offset, end));
  if (end > old && (mode & kKeep) == 0) {
    if (end > kSmall) TRY(PromoteLocked());
    sparse_ = true;
    if (big_) {
      TRY(HostSizeLocked(end));
    } else if (end > small_cap_) {
      std::unique_ptr<uint8_t[]> grown(new uint8_t[end]());
      if (old != 0) memcpy(grown.get(), small_.get(), old);
      small_ = std::move(grown);
      small_cap_ = end;
    }
    size_.store(end, std::memory_order_release);
  }
  return {};
}

uint64_t TmpfsData::Blocks() {
  base::MutexLock l(mu_);
  if (!big_) return Up(size_.load(std::memory_order_relaxed)) / 512;
  struct stat st;
  if (host::Fstat(big_->fd(), &st) < 0) return 0;
  return static_cast<uint64_t>(st.st_blocks);
}

base::Result<uint64_t> TmpfsData::SeekExtent(uint64_t offset, bool hole, uint64_t size) {
  base::MutexLock l(mu_);
  if (!big_) return hole ? size : offset;
  long r = host::Lseek(big_->fd(), static_cast<int64_t>(offset), hole ? SEEK_HOLE : SEEK_DATA);
  if (r < 0 || static_cast<uint64_t>(r) >= size) {
    if (hole) return size;
    return abi::Errno::kENXIO;
  }
  return static_cast<uint64_t>(r);
}

base::Result<void> TmpfsData::PrepareMap(bool shared, uint8_t prot) {
  base::MutexLock l(mu_);
  const bool fresh = !big_;
  TRY(PromoteLocked());
  if (shared && (prot & platform::kProtWrite) != 0 &&
      (seals() & (abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE)) != 0) {
    return abi::Errno::kEPERM;
  }
  const uint64_t exact = Up(size_.load(std::memory_order_relaxed));
  if (host_size_ != exact && (fresh || maps_.load(std::memory_order_relaxed) == 0)) {
    if (host::Ftruncate(big_->fd(), static_cast<int64_t>(exact)) < 0) return abi::Errno::kENOMEM;
    host_size_ = exact;
  }
  return {};
}

base::Result<void> TmpfsData::AddSeals(uint32_t s) {
  base::MutexLock l(mu_);
  const uint32_t now = seals();
  if ((now & abi::kF_SEAL_SEAL) != 0) return abi::Errno::kEPERM;
  if ((s & abi::kF_SEAL_WRITE) != 0 && (now & abi::kF_SEAL_WRITE) == 0 &&
      writable_maps_.load(std::memory_order_acquire) > 0) {
    return abi::Errno::kEBUSY;
  }
  // memfd_add_seals(): an executable file that may not change its mode may not change at all.
  if ((s & abi::kF_SEAL_EXEC) != 0)
    s |= abi::kF_SEAL_SHRINK | abi::kF_SEAL_GROW | abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE;
  seals_.store(now | s, std::memory_order_relaxed);
  return {};
}

base::Result<Mappable::Extent> TmpfsData::Translate(uint64_t offset, uint64_t len, bool) {
  BackingFile* f = file_.load(std::memory_order_acquire);
  if (f == nullptr) return abi::Errno::kEIO;
  return Extent{base::Ref<BackingFile>(f), offset, len};
}

void TmpfsData::OnMap(uint64_t len, bool shared_writable) {
  maps_.fetch_add(static_cast<int64_t>(len), std::memory_order_relaxed);
  if (shared_writable)
    writable_maps_.fetch_add(static_cast<int64_t>(len), std::memory_order_relaxed);
}

void TmpfsData::OnUnmap(uint64_t len, bool shared_writable) {
  maps_.fetch_sub(static_cast<int64_t>(len), std::memory_order_relaxed);
  if (shared_writable)
    writable_maps_.fetch_sub(static_cast<int64_t>(len), std::memory_order_relaxed);
}

}  // namespace sentry
