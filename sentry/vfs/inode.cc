#include "sentry/vfs/inode.h"

#include "sentry/time/clock.h"
#include "sentry/vfs/file_locks.h"
#include "sentry/vfs/vfs.h"
#include "sentry/vfs/watches.h"
#include "syscalls/abi/capability.h"

namespace sentry {

FileTime Now() {
  int64_t ns = HostClock().Realtime();
  return FileTime{ns / 1000000000, static_cast<uint32_t>(ns % 1000000000)};
}

namespace {
uint64_t NextDev() {
  // get_anon_bdev(): major 0.
  static std::atomic<uint32_t> next{1};
  return abi::MakeDev(0, next.fetch_add(1, std::memory_order_relaxed));
}
}  // namespace

Superblock::Superblock(std::string type_name) : type_name_(std::move(type_name)), dev_(NextDev()) {}

Inode::~Inode() {
  delete locks_.load(std::memory_order_relaxed);
  delete watches_.load(std::memory_order_relaxed);
}

FileLocks& Inode::locks() {
  FileLocks* l = locks_.load(std::memory_order_acquire);
  if (l != nullptr) return *l;
  FileLocks* made = new FileLocks;
  if (locks_.compare_exchange_strong(l, made, std::memory_order_acq_rel)) {
    pinned_.store(true, std::memory_order_relaxed);
    return *made;
  }
  delete made;
  return *l;
}

InotifyWatches& Inode::make_watches() {
  InotifyWatches* w = watches();
  if (w != nullptr) return *w;
  InotifyWatches* made = new InotifyWatches;
  if (watches_.compare_exchange_strong(w, made, std::memory_order_acq_rel)) {
    pinned_.store(true, std::memory_order_relaxed);
    return *made;
  }
  delete made;
  return *w;
}

base::Ref<base::RefCounted> Inode::bound_object() {
  base::MutexLock l(bound_mu_);
  return bound_;
}

base::Ref<base::RefCounted> Inode::BindObject(base::Ref<base::RefCounted> made) {
  base::MutexLock l(bound_mu_);
  if (!bound_) {
    bound_ = std::move(made);
    pinned_.store(true, std::memory_order_relaxed);
  }
  return bound_;
}

void Inode::UnbindObject() {
  base::Ref<base::RefCounted> old;  // dropped without the lock
  base::MutexLock l(bound_mu_);
  old = std::move(bound_);
}

bool CapableOver(const Creds& creds, const Inode::Perm& p, int cap) {
  if (!creds.Has(cap)) return false;
  if (!creds.user_ns || creds.user_ns->level() == 0) return true;
  return creds.user_ns->UidFromGlobal(p.uid) != UINT32_MAX &&
         creds.user_ns->GidFromGlobal(p.gid) != UINT32_MAX;
}

bool OwnerOrCapable(const Creds& creds, const Inode::Perm& p) {
  return creds.fsuid == p.uid || CapableOver(creds, p, abi::kCAP_FOWNER);
}

base::Result<void> CheckMode(const Creds& creds, const Inode::Perm& p, uint32_t type,
                             uint32_t mask) {
  uint32_t mode = p.mode;
  if (creds.fsuid == p.uid) {
    mode >>= 6;
  } else if ((mode >> 3 & 7) != (mode & 7) && creds.InGroup(p.gid)) {
    mode >>= 3;
  }
  if ((mask & ~mode & 7) == 0) return {};
  if (type == abi::kS_IFDIR) {
    if ((mask & kMayWrite) == 0 && CapableOver(creds, p, abi::kCAP_DAC_READ_SEARCH)) return {};
    if (CapableOver(creds, p, abi::kCAP_DAC_OVERRIDE)) return {};
    return abi::Errno::kEACCES;
  }
  if (mask == kMayRead && CapableOver(creds, p, abi::kCAP_DAC_READ_SEARCH)) return {};
  if (((mask & kMayExec) == 0 || (p.mode & 0111) != 0) &&
      CapableOver(creds, p, abi::kCAP_DAC_OVERRIDE)) {
    return {};
  }
  return abi::Errno::kEACCES;
}

base::Result<base::Ref<File>> Inode::Open(const base::Ref<Dentry>&, const OpenFlags&,
                                          const Creds&) {
  return abi::Errno::kENXIO;
}

base::Result<void> Inode::Permission(const Creds& creds, uint32_t mask) {
  return CheckMode(creds, perm(), type_, mask & 7);
}

}  // namespace sentry
