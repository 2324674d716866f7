#include "sentry/fs/anon/eventfd.h"

#include <cstdio>

#include "sentry/fs/anon/anon_inode.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

EventFd::EventFd(uint64_t value, bool semaphore, uint32_t flags)
    : File(Path{}, AnonInode(), abi::kO_RDWR | (flags & abi::kO_NONBLOCK)),
      count_(value),
      semaphore_(semaphore) {}

base::Result<uint64_t> EventFd::Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
  if (dst.remaining() < sizeof(uint64_t)) return abi::Errno::kEINVAL;
  uint64_t old = count_.load(std::memory_order_acquire);
  uint64_t taken;
  do {
    if (old == 0) return abi::Errno::kEAGAIN;
    taken = semaphore_ ? 1 : old;
  } while (!count_.compare_exchange_weak(old, old - taken, std::memory_order_acq_rel));
  queue_.Wake(abi::kEPOLLOUT);
  if (dst.CopyTo(&taken, sizeof taken) != sizeof taken) return abi::Errno::kEFAULT;
  return sizeof taken;
}

base::Result<uint64_t> EventFd::Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) {
  if (src.remaining() < sizeof(uint64_t)) return abi::Errno::kEINVAL;
  uint64_t add;
  if (src.PeekFrom(&add, sizeof add) != sizeof add) return abi::Errno::kEFAULT;
  if (add == UINT64_MAX) return abi::Errno::kEINVAL;
  uint64_t old = count_.load(std::memory_order_acquire);
  do {
    if (UINT64_MAX - old <= add) return abi::Errno::kEAGAIN;
  } while (!count_.compare_exchange_weak(old, old + add, std::memory_order_acq_rel));
  queue_.Wake(abi::kEPOLLIN);
  src.Consume(sizeof add);
  return sizeof add;
}

void EventFd::Signal(uint64_t n) {
  uint64_t old = count_.load(std::memory_order_acquire);
  while (!count_.compare_exchange_weak(old, UINT64_MAX - old < n ? UINT64_MAX : old + n,
                                       std::memory_order_acq_rel)) {
  }
  queue_.Wake(abi::kEPOLLIN);
}

uint32_t EventFd::Poll() {
  uint64_t c = count_.load(std::memory_order_acquire);
  uint32_t m = 0;
  if (c > 0) m |= abi::kEPOLLIN;
  if (c == UINT64_MAX) m |= abi::kEPOLLERR;
  if (c < UINT64_MAX - 1) m |= abi::kEPOLLOUT;
  return m;
}

std::string EventFd::Fdinfo() {
  char line[64];
  int n = snprintf(line, sizeof line, "eventfd-count: %16llx\n",
                   static_cast<unsigned long long>(count_.load(std::memory_order_relaxed)));
  return std::string(line, n);
}

}  // namespace sentry
