// inotify watches as inodes carry them. The instances (sentry/fs/inotify) are sinks.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "platform/base/mutex.h"
#include "platform/base/ref.h"

namespace sentry {

// An inotify instance. Event() is called with no lock held.
class InotifySink : public base::RefCounted {
 public:
  virtual void Event(int32_t wd, uint32_t mask, uint32_t cookie, std::string_view name) = 0;
  // The watched object is gone, or IN_ONESHOT fired: the watch was removed (IN_IGNORED).
  virtual void Ignored(int32_t wd) = 0;
};

class InotifyWatches {
 public:
  ~InotifyWatches();
  struct Watch {
    base::Ref<InotifySink> sink;
    int32_t wd;
    uint32_t mask;  // IN_* events and IN_ONESHOT, IN_EXCL_UNLINK
  };
  // wd of the sink's watch here, or -1.
  int32_t Find(const InotifySink* sink);
  void Add(base::Ref<InotifySink> sink, int32_t wd, uint32_t mask);
  // add: IN_MASK_ADD.
  void Update(const InotifySink* sink, uint32_t mask, bool add);
  void Remove(const InotifySink* sink);
  void Fire(uint32_t mask, uint32_t cookie, std::string_view name, bool unlinked);
  // IN_DELETE_SELF or IN_UNMOUNT, then IN_IGNORED to all.
  void FireGone(uint32_t mask);

  // Whether any watch exists in the sandbox: hooks return at once otherwise.
  static bool Any() { return count_.load(std::memory_order_relaxed) != 0; }

 private:
  static std::atomic<int64_t> count_;
  base::Mutex<base::LockClass::kInotify> mu_;
  std::vector<Watch> watches_ GUARDED_BY(mu_);
};

}  // namespace sentry
