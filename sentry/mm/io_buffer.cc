#include "sentry/mm/io_buffer.h"

#include <algorithm>
#include <cstring>

namespace sentry {

IoBuffer IoBuffer::Kernel(void* p, size_t n) {
  IoBuffer b;
  b.segments_.push_back({reinterpret_cast<uint64_t>(p), n});
  b.remaining_ = n;
  return b;
}

IoBuffer IoBuffer::User(UserMemory& mm, UserAddr addr, size_t n) {
  IoBuffer b;
  b.mm_ = &mm;
  b.segments_.push_back({addr.value, n});
  b.remaining_ = n;
  return b;
}

IoBuffer IoBuffer::UserVec(UserMemory& mm, std::span<const UserSegment> segments) {
  IoBuffer b;
  b.mm_ = &mm;
  b.segments_.reserve(segments.size());
  for (const UserSegment& s : segments) {
    b.segments_.push_back({s.addr.value, s.len});
    b.remaining_ += s.len;
  }
  return b;
}

void IoBuffer::Truncate(size_t n) { remaining_ = std::min(remaining_, n); }

// f(address, bytes, position in this walk) returns how many it moved; fewer is a fault.
template <typename F>
size_t IoBuffer::Walk(size_t n, bool consume, F&& f) {
  n = std::min(n, remaining_);
  size_t index = index_, offset = offset_, done = 0;
  while (done < n) {
    const Segment& s = segments_[index];
    size_t part = std::min<size_t>(s.len - offset, n - done);
    if (part != 0) {
      size_t moved = f(s.base + offset, part, done);
      done += moved;
      offset += moved;
      if (moved < part) {
        faulted_ = true;
        break;
      }
    }
    if (offset == s.len) {
      index++;
      offset = 0;
    }
  }
  if (consume) {
    index_ = index;
    offset_ = offset;
    remaining_ -= done;
  }
  return done;
}

size_t IoBuffer::CopyTo(const void* src, size_t n) {
  return Walk(n, true, [&](uint64_t at, size_t part, size_t done) -> size_t {
    const char* from = static_cast<const char*>(src) + done;
    if (mm_) return mm_->CopyOutPartial(UserAddr{at}, from, part);
    memcpy(reinterpret_cast<void*>(at), from, part);
    return part;
  });
}

size_t IoBuffer::Zero(size_t n) {
  return Walk(n, true, [&](uint64_t at, size_t part, size_t) -> size_t {
    if (mm_) return mm_->ZeroPartial(UserAddr{at}, part);
    memset(reinterpret_cast<void*>(at), 0, part);
    return part;
  });
}

size_t IoBuffer::CopyFrom(void* dst, size_t n) {
  return Walk(n, true, [&](uint64_t at, size_t part, size_t done) -> size_t {
    char* to = static_cast<char*>(dst) + done;
    if (mm_) return mm_->CopyInPartial(to, UserAddr{at}, part);
    memcpy(to, reinterpret_cast<const void*>(at), part);
    return part;
  });
}

size_t IoBuffer::PeekFrom(void* dst, size_t n) {
  return Walk(n, false, [&](uint64_t at, size_t part, size_t done) -> size_t {
    char* to = static_cast<char*>(dst) + done;
    if (mm_) return mm_->CopyInPartial(to, UserAddr{at}, part);
    memcpy(to, reinterpret_cast<const void*>(at), part);
    return part;
  });
}

size_t IoBuffer::HostVec(bool write_to_buffer, HostIov* out, size_t max) {
  size_t pieces = 0;
  Walk(remaining_, false, [&](uint64_t at, size_t part, size_t) -> size_t {
    if (pieces == max) return 0;
    if (!mm_) {
      out[pieces++] = {reinterpret_cast<void*>(at), part};
      return part;
    }
    size_t n = mm_->Blocks(UserAddr{at}, part, write_to_buffer, out + pieces, max - pieces, &pins_);
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += out[pieces + i].len;
    pieces += n;
    return bytes;
  });
  // Running out of pieces is no fault.
  faulted_ = pieces == 0 && remaining_ != 0;
  return pieces;
}

void IoBuffer::Consume(size_t n) {
  Walk(n, true, [](uint64_t, size_t part, size_t) { return part; });
  pins_.clear();
}

}  // namespace sentry
