#include "sentry/fs/inotify/inotify.h"

#include <cstdio>
#include <cstring>
#include <vector>

#include "sentry/kernel/task.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/inotify.h"
#include "syscalls/abi/ioctl.h"

namespace sentry {
namespace {
// /proc/sys/fs/inotify/max_queued_events, max_user_watches.
constexpr size_t kMaxQueued = 16384;
constexpr size_t kMaxWatches = 65536;
}  // namespace

uint64_t InotifyInstance::SizeOf(const Queued& q) {
  // round_event_name_len().
  const uint64_t n = q.name.empty() ? 0 : (q.name.size() + 1 + 15) & ~uint64_t{15};
  return sizeof(abi::InotifyEvent) + n;
}

void InotifyInstance::Push(Queued q) {
  {
    base::MutexLock l(mu_);
    if (!events_.empty()) {
      const Queued& last = events_.back();
      // An event equal to the last one is merged into it (inotify_merge()).
      if (last.wd == q.wd && last.mask == q.mask && last.cookie == q.cookie &&
          last.name == q.name && q.mask != abi::kIN_IGNORED) {
        return;
      }
    }
    if (events_.size() >= kMaxQueued) {
      if (events_.back().mask == abi::kIN_Q_OVERFLOW) return;
      q = Queued{-1, abi::kIN_Q_OVERFLOW, 0, {}};
    }
    events_.push_back(std::move(q));
  }
  queue_.Wake(abi::kEPOLLIN | abi::kEPOLLRDNORM);
}

void InotifyInstance::Event(int32_t wd, uint32_t mask, uint32_t cookie, std::string_view name) {
  Push(Queued{wd, mask, cookie, std::string(name)});
}

void InotifyInstance::Ignored(int32_t wd) {
  base::Ref<Inode> dropped;
  {
    base::MutexLock l(mu_);
    auto it = watched_.find(wd);
    if (it != watched_.end()) {
      dropped = std::move(it->second);
      watched_.erase(it);
    }
  }
  Push(Queued{wd, abi::kIN_IGNORED, 0, {}});
}

base::Result<uint64_t> InotifyInstance::Read(IoBuffer& dst) {
  uint64_t done = 0;
  for (;;) {
    Queued q;
    {
      base::MutexLock l(mu_);
      if (events_.empty()) break;
      if (SizeOf(events_.front()) > dst.remaining()) {
        if (done == 0) return abi::Errno::kEINVAL;
        break;
      }
      q = std::move(events_.front());
      events_.pop_front();
    }
    const uint64_t size = SizeOf(q);
    const abi::InotifyEvent e{q.wd, q.mask, q.cookie,
                              static_cast<uint32_t>(size - sizeof(abi::InotifyEvent))};
    std::vector<uint8_t> bytes(size);
    memcpy(bytes.data(), &e, sizeof e);
    memcpy(bytes.data() + sizeof e, q.name.data(), q.name.size());
    if (dst.CopyTo(bytes.data(), size) != size) {
      if (done == 0) return abi::Errno::kEFAULT;
      break;
    }
    done += size;
  }
  if (done == 0) return abi::Errno::kEAGAIN;
  return done;
}

uint64_t InotifyInstance::QueuedBytes() {
  uint64_t n = 0;
  base::MutexLock l(mu_);
  for (const Queued& q : events_) n += SizeOf(q);
  return n;
}

base::Result<int32_t> InotifyInstance::AddWatch(base::Ref<Inode> inode, uint32_t mask) {
  const uint32_t kept = mask & (abi::kIN_ALL_EVENTS | abi::kIN_ONESHOT | abi::kIN_EXCL_UNLINK);
  InotifyWatches& watches = inode->make_watches();
  int32_t wd = watches.Find(this);
  if (wd >= 0) {
    if ((mask & abi::kIN_MASK_CREATE) != 0) return abi::Errno::kEEXIST;
    watches.Update(this, kept, (mask & abi::kIN_MASK_ADD) != 0);
    return wd;
  }
  {
    base::MutexLock l(mu_);
    if (watched_.size() >= kMaxWatches) return abi::Errno::kENOSPC;
    wd = next_wd_++;
    watched_[wd] = inode;
  }
  watches.Add(base::Ref<InotifySink>(this), wd, kept);
  return wd;
}

base::Result<void> InotifyInstance::RemoveWatch(int32_t wd) {
  base::Ref<Inode> inode;
  {
    base::MutexLock l(mu_);
    auto it = watched_.find(wd);
    if (it == watched_.end()) return abi::Errno::kEINVAL;
    inode = it->second;
  }
  inode->make_watches().Remove(this);
  Ignored(wd);
  return {};
}

void InotifyInstance::Close() {
  absl::btree_map<int32_t, base::Ref<Inode>> all;
  {
    base::MutexLock l(mu_);
    all.swap(watched_);
  }
  for (auto& [wd, inode] : all) inode->make_watches().Remove(this);
}

std::string InotifyInstance::Fdinfo() {
  std::string out;
  base::MutexLock l(mu_);
  for (const auto& [wd, inode] : watched_) {
    char line[128];
    snprintf(line, sizeof line, "inotify wd:%x ino:%lx sdev:%lx mask:fce ignored_mask:0\n", wd,
             static_cast<unsigned long>(inode->ino()),
             static_cast<unsigned long>(inode->sb().dev()));
    out += line;
  }
  return out;
}

uint32_t InotifyFile::Poll() {
  return instance_->QueuedBytes() != 0 ? abi::kEPOLLIN | abi::kEPOLLRDNORM : 0;
}

base::Result<uint64_t> InotifyFile::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  if (cmd != static_cast<uint32_t>(abi::kFIONREAD)) return abi::Errno::kENOTTY;
  TRY(UserOut<int32_t>{arg}.Store(task.mm(), static_cast<int32_t>(instance_->QueuedBytes())));
  return uint64_t{0};
}

}  // namespace sentry
