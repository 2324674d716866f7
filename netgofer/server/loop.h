// The net gofer's one thread: waits in epoll, calls who watches.
#pragma once

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "platform/base/fd.h"

namespace netgofer {

class Loop {
 public:
  class Source {
   public:
    // events: EPOLL* bits of fd. May add and remove watches, but not destroy a source whose
    // function is running.
    virtual void OnReady(int fd, uint32_t events) = 0;

   protected:
    ~Source() = default;
  };

  // 0 or -errno.
  int Open();
  // Waits, then handles what is ready. 0 or -errno.
  int RunOnce();

 private:
  friend class Watch;
  struct Entry {
    int fd;
    Source* source;
  };
  base::UniqueFd epoll_;
  uint64_t next_ = 1;
  // By what epoll reports, so that an event of a watch that ended in the same round finds nobody.
  absl::flat_hash_map<uint64_t, Entry> entries_;
};

// Level-triggered interest in a descriptor, which must outlive it.
class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { Stop(); }
  // 0 or -errno.
  int Start(Loop& loop, int fd, uint32_t events, Loop::Source* source);
  void SetEvents(uint32_t events);
  void Stop();

 private:
  Loop* loop_ = nullptr;
  int fd_ = -1;
  uint64_t id_ = 0;
  uint32_t events_ = 0;
};

}  // namespace netgofer
