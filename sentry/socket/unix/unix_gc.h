// Descriptors in flight: files that wait in the queues of AF_UNIX sockets. Sockets that are held by
// nothing but each other's queues are found and emptied (net/unix/garbage.c).
#pragma once

#include "sentry/socket/socket.h"

namespace sentry {

class UnixGc {
 public:
  // Files of a message enter and leave a queue, under that queue's lock; the caller still holds
  // them when they leave.
  static void Sent(const Ancillary& a);
  static void Landed(const Ancillary& a);
  // Of all kinds of files.
  static uint64_t in_flight() { return files_.load(std::memory_order_relaxed); }
  // No lock held. Cheap while no socket is in flight; gives up when sockets land meanwhile.
  static void Collect();

 private:
  static inline std::atomic<uint64_t> files_{0};
  // Sockets among them; counts what landed, too.
  static inline std::atomic<uint64_t> sockets_{0}, landings_{0};
};

}  // namespace sentry
