// Readiness of host descriptors: one sentry thread that waits in the host's epoll, started with the
// first descriptor that somebody waits for.
#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "platform/base/fd.h"
#include "platform/base/mutex.h"

namespace sentry {

class HostNotifier {
 public:
  class Listener {
   public:
    // On the notifier's thread, under its lock: wakes a queue or a thread and returns. ready:
    // EPOLL* bits of the host.
    virtual void OnHostReady(uint32_t ready) = 0;

   protected:
    ~Listener() = default;
  };

  static HostNotifier& Get();

  // Watches fd for everything, edge-triggered; the present state is reported at once. 0: the
  // descriptor can't be watched (a regular file). Otherwise an id for Remove.
  uint64_t Add(int fd, Listener* l);
  // No call to the listener runs during or after.
  void Remove(uint64_t id, int fd);

 private:
  static void ThreadMain(void* self);
  void Run();
  bool StartLocked() REQUIRES_LOCK(mu_);

  base::Mutex<base::LockClass::kHostNotifier> mu_;
  base::UniqueFd epoll_ GUARDED_BY(mu_);
  int epoll_fd_ = -1;  // epoll_'s, fixed before the thread starts
  uint64_t next_id_ GUARDED_BY(mu_) = 1;
  absl::flat_hash_map<uint64_t, Listener*> listeners_ GUARDED_BY(mu_);
};

}  // namespace sentry
