// inotify hooks and the watches on inodes (fs/notify/fsnotify.c, fs/notify/inotify).
#include "absl/container/inlined_vector.h"
#include "sentry/vfs/vfs.h"
#include "sentry/vfs/watches.h"
#include "syscalls/abi/inotify.h"

namespace sentry {

std::atomic<int64_t> InotifyWatches::count_{0};

InotifyWatches::~InotifyWatches() {
  base::MutexLock l(mu_);
  count_.fetch_sub(static_cast<int64_t>(watches_.size()), std::memory_order_relaxed);
}

int32_t InotifyWatches::Find(const InotifySink* sink) {
  base::MutexLock l(mu_);
  for (const Watch& w : watches_) {
    if (w.sink == sink) return w.wd;
  }
  return -1;
}

void InotifyWatches::Add(base::Ref<InotifySink> sink, int32_t wd, uint32_t mask) {
  base::MutexLock l(mu_);
  watches_.push_back(Watch{std::move(sink), wd, mask});
  count_.fetch_add(1, std::memory_order_relaxed);
}

void InotifyWatches::Update(const InotifySink* sink, uint32_t mask, bool add) {
  base::MutexLock l(mu_);
  for (Watch& w : watches_) {
    if (w.sink == sink) w.mask = add ? w.mask | mask : mask;
  }
}

void InotifyWatches::Remove(const InotifySink* sink) {
  base::Ref<InotifySink> dropped;
  base::MutexLock l(mu_);
  for (size_t i = 0; i < watches_.size(); i++) {
    if (!(watches_[i].sink == sink)) continue;
    dropped = std::move(watches_[i].sink);
    watches_.erase(watches_.begin() + static_cast<ptrdiff_t>(i));
    count_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
}

void InotifyWatches::Fire(uint32_t mask, uint32_t cookie, std::string_view name, bool unlinked) {
  absl::InlinedVector<Watch, 4> hit;
  {
    base::MutexLock l(mu_);
    for (size_t i = 0; i < watches_.size();) {
      const Watch& w = watches_[i];
      if ((w.mask & mask & abi::kIN_ALL_EVENTS) == 0 ||
          (unlinked && (w.mask & abi::kIN_EXCL_UNLINK) != 0)) {
        i++;
        continue;
      }
      hit.push_back(w);
      if ((w.mask & abi::kIN_ONESHOT) != 0) {
        watches_.erase(watches_.begin() + static_cast<ptrdiff_t>(i));
        count_.fetch_sub(1, std::memory_order_relaxed);
      } else {
        i++;
      }
    }
  }
  for (Watch& w : hit) {
    w.sink->Event(w.wd, mask, cookie, name);
    if ((w.mask & abi::kIN_ONESHOT) != 0) w.sink->Ignored(w.wd);
  }
}

void InotifyWatches::FireGone(uint32_t mask) {
  std::vector<Watch> all;
  {
    base::MutexLock l(mu_);
    all.swap(watches_);
    count_.fetch_sub(static_cast<int64_t>(all.size()), std::memory_order_relaxed);
  }
  for (Watch& w : all) {
    if ((w.mask & mask) != 0 || mask == abi::kIN_UNMOUNT) w.sink->Event(w.wd, mask, 0, {});
    w.sink->Ignored(w.wd);
  }
}

void NotifyInode(Inode& inode, uint32_t mask) {
  if (InotifyWatches* w = inode.watches()) w->Fire(mask, 0, {}, false);
}

void NotifyChange(const Path& p, uint32_t mask) {
  if (!InotifyWatches::Any() || !p.dentry || p.dentry->negative()) return;
  Inode& inode = *p.dentry->inode();
  if (inode.is_dir()) mask |= abi::kIN_ISDIR;
  if (base::Ref<Dentry> parent = p.dentry->parent()) {
    // Events that concern the object alone do not reach its directory.
    if (InotifyWatches* w = parent->inode()->watches();
        w != nullptr && (mask & (abi::kIN_DELETE_SELF | abi::kIN_MOVE_SELF)) == 0) {
      w->Fire(mask, 0, p.dentry->name(), p.dentry->unhashed());
    }
  }
  NotifyInode(inode, mask);
}

void NotifyName(const Path& dir, std::string_view name, Inode* child, uint32_t mask,
                uint32_t cookie) {
  if (!InotifyWatches::Any() || !dir.dentry) return;
  if (child != nullptr && child->is_dir()) mask |= abi::kIN_ISDIR;
  if (InotifyWatches* w = dir.dentry->inode()->watches()) w->Fire(mask, cookie, name, false);
}

void NotifyFile(const File& f, uint32_t mask) {
  if (!InotifyWatches::Any()) return;
  if (f.path()) NotifyChange(f.path(), mask);
}

}  // namespace sentry
