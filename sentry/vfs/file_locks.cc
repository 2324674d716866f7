// fs/locks.c.
#include "sentry/vfs/file_locks.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "syscalls/abi/epoll.h"

namespace sentry {
namespace {

bool Overlap(const LockRange& a, const LockRange& b) {
  return a.start <= b.end && b.start <= a.end;
}

bool Touch(const LockRange& a, const LockRange& b) {
  return (a.end != UINT64_MAX && a.end + 1 == b.start) ||
         (b.end != UINT64_MAX && b.end + 1 == a.start);
}

bool Conflict(FileLocks::Type a, FileLocks::Type b) {
  return a == FileLocks::Type::kWrite || b == FileLocks::Type::kWrite;
}

// Who sleeps for whom, over all files (fl_blocker).
struct Waiting {
  base::Mutex<base::LockClass::kLeaf> mu;
  absl::flat_hash_map<const void*, const void*> for_owner GUARDED_BY(mu);
};
Waiting& TheWaiting() {
  static Waiting* w = new Waiting;
  return *w;
}

}  // namespace

bool FileLocks::SetPosix(const void* owner, int32_t pid, Type type, LockRange range) {
  bool wake = false;
  {
    base::MutexLock l(mu_);
    if (type != Type::kUnlock) {
      for (const Record& r : posix_) {
        if (r.owner != owner && Overlap(r.range, range) && Conflict(r.type, type)) return false;
      }
    }
    LockRange merged = range;
    std::vector<Record> next;
    next.reserve(posix_.size() + 2);
    for (const Record& r : posix_) {
      if (r.owner != owner) {
        next.push_back(r);
      } else if (r.type == type) {
        if (Overlap(r.range, merged) || Touch(r.range, merged)) {
          merged.start = std::min(merged.start, r.range.start);
          merged.end = std::max(merged.end, r.range.end);
        } else {
          next.push_back(r);
        }
      } else if (!Overlap(r.range, range)) {
        next.push_back(r);
      } else {
        // What lies before and behind the changed range keeps its type.
        wake = true;
        if (r.range.start < range.start) {
          Record left = r;
          left.range.end = range.start - 1;
          next.push_back(left);
        }
        if (r.range.end > range.end) {
          Record right = r;
          right.range.start = range.end + 1;
          next.push_back(right);
        }
      }
    }
    if (type != Type::kUnlock) next.push_back(Record{type, merged, owner, pid, false});
    posix_.swap(next);
  }
  if (wake) queue_.Wake(abi::kEPOLLIN);
  return true;
}

bool FileLocks::TestPosix(const void* owner, Type type, LockRange range, Record* conflict) {
  base::MutexLock l(mu_);
  const Record* best = nullptr;
  for (const Record& r : posix_) {
    if (r.owner == owner || !Overlap(r.range, range) || !Conflict(r.type, type)) continue;
    if (best == nullptr || r.range.start < best->range.start) best = &r;
  }
  if (best == nullptr) return false;
  *conflict = *best;
  return true;
}

bool FileLocks::SetFlock(const void* owner, int32_t pid, Type type) {
  bool ok = true, wake = false;
  {
    base::MutexLock l(mu_);
    auto mine = std::find_if(flock_.begin(), flock_.end(),
                             [owner](const Record& r) { return r.owner == owner; });
    if (mine != flock_.end()) {
      if (mine->type == type) return true;
      // flock(2): a conversion is no atomic step; the old lock is given up first.
      flock_.erase(mine);
      wake = true;
    }
    if (type != Type::kUnlock) {
      for (const Record& r : flock_) {
        if (Conflict(r.type, type)) ok = false;
      }
      if (ok) flock_.push_back(Record{type, LockRange{}, owner, pid, true});
    }
  }
  if (wake) queue_.Wake(abi::kEPOLLIN);
  return ok;
}

void FileLocks::ReleasePosix(const void* owner) {
  size_t n;
  {
    base::MutexLock l(mu_);
    n = std::erase_if(posix_, [owner](const Record& r) { return r.owner == owner; });
  }
  if (n != 0) queue_.Wake(abi::kEPOLLIN);
}

void FileLocks::ReleaseFlock(const void* owner) {
  size_t n;
  {
    base::MutexLock l(mu_);
    n = std::erase_if(flock_, [owner](const Record& r) { return r.owner == owner; });
  }
  if (n != 0) queue_.Wake(abi::kEPOLLIN);
}

bool FileLocks::BeginWait(const void* owner, Type type, LockRange range) {
  Record blocker;
  if (!TestPosix(owner, type, range, &blocker)) return true;
  Waiting& w = TheWaiting();
  base::MutexLock l(w.mu);
  const void* who = blocker.owner;
  // posix_locks_deadlock() gives up after MAX_DEADLK_ITERATIONS.
  for (int i = 0; i < 10; i++) {
    if (who == owner) return false;
    auto it = w.for_owner.find(who);
    if (it == w.for_owner.end()) break;
    who = it->second;
  }
  w.for_owner[owner] = blocker.owner;
  return true;
}

void FileLocks::EndWait(const void* owner) {
  Waiting& w = TheWaiting();
  base::MutexLock l(w.mu);
  w.for_owner.erase(owner);
}

std::vector<FileLocks::Record> FileLocks::List() {
  base::MutexLock l(mu_);
  std::vector<Record> out = posix_;
  out.insert(out.end(), flock_.begin(), flock_.end());
  return out;
}

bool FileLocks::has_posix(const void* owner) {
  base::MutexLock l(mu_);
  return std::any_of(posix_.begin(), posix_.end(),
                     [owner](const Record& r) { return r.owner == owner; });
}

}  // namespace sentry
