// IoBuffer: where the bytes of a read go or those of a write come from: guest memory or the
// sentry's own, one piece or many, consumed from the front (the kernel's iov_iter). All data paths
// of files, pipes and sockets take it.
#pragma once

#include <cstdint>
#include <span>

#include "absl/container/inlined_vector.h"
#include "sentry/mm/user.h"

namespace sentry {

struct UserSegment {
  UserAddr addr;
  uint64_t len;
};

class IoBuffer {
 public:
  // Sentry memory; the caller keeps it alive.
  static IoBuffer Kernel(void* p, size_t n);
  static IoBuffer Kernel(const void* p, size_t n) { return Kernel(const_cast<void*>(p), n); }
  static IoBuffer User(UserMemory& mm, UserAddr addr, size_t n);
  static IoBuffer UserVec(UserMemory& mm, std::span<const UserSegment> segments);

  IoBuffer(IoBuffer&&) = default;
  IoBuffer& operator=(IoBuffer&&) = default;

  size_t remaining() const { return remaining_; }
  // Limits the rest to n bytes.
  void Truncate(size_t n);
  // True once a copy stopped at a bad guest address: the caller reports EFAULT if it moved nothing.
  bool faulted() const { return faulted_; }

  // Into the buffer (read direction): bytes moved, fewer than min(n, remaining()) only after a
  // fault. Consumes them.
  size_t CopyTo(const void* src, size_t n);
  size_t Zero(size_t n);
  // Out of the buffer (write direction). Consumes.
  size_t CopyFrom(void* dst, size_t n);
  // As CopyFrom without consuming: for data that may have to be offered again.
  size_t PeekFrom(void* dst, size_t n);
  // Host vectors for the front (at most max pieces), for preadv/pwritev on a host descriptor; then
  // Consume what moved. 0 pieces with remaining() > 0 means a bad address (faulted() is set).
  size_t HostVec(bool write_to_buffer, HostIov* out, size_t max);
  void Consume(size_t n);
  // A position to return to (a write that has to be undone because the pipe was full, for
  // instance).
  struct Mark {
    size_t index, offset, remaining;
  };
  Mark mark() const { return {index_, offset_, remaining_}; }
  void Rewind(Mark m) { index_ = m.index, offset_ = m.offset, remaining_ = m.remaining; }

 private:
  IoBuffer() = default;
  struct Segment {
    uint64_t base;
    uint64_t len;
  };
  template <typename F>
  size_t Walk(size_t n, bool consume, F&& f);

  UserMemory* mm_ = nullptr;  // nullptr: sentry memory
  absl::InlinedVector<Segment, 4> segments_;
  std::vector<base::Ref<base::RefCounted>> pins_;
  size_t index_ = 0, offset_ = 0, remaining_ = 0;
  bool faulted_ = false;
};

// The most that one read or write moves (MAX_RW_COUNT).
constexpr uint64_t kMaxRwCount = 0x7ffff000;

}  // namespace sentry
