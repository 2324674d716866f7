// The bytes that a TCP socket has received: a queue of chunks. What is sent is put into chunks, and
// what is received is taken out of them, without the queue's lock being held while bytes are
// copied.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/inlined_vector.h"
#include "platform/base/ref.h"

namespace sentry {

class StreamQueue {
 public:
  // Memory of one size or another, filled from its start. Whoever fills it, fills what nobody else
  // knows of yet.
  class Chunk : public base::RefCounted {
   public:
    // Bytes that it has room for: one of the two.
    static constexpr uint32_t kSmall = 4 << 10, kLarge = 64 << 10;
    static base::Ref<Chunk> Make(uint32_t size);
    explicit Chunk(uint32_t size);
    ~Chunk() override;
    uint8_t* data() const { return data_.get(); }
    uint32_t size() const { return size_; }

   private:
    std::unique_ptr<uint8_t[]> data_;
    const uint32_t size_;
  };
  struct Slice {
    base::Ref<Chunk> chunk;
    uint32_t begin = 0, end = 0;
    const uint8_t* data() const { return chunk->data() + begin; }
    uint32_t size() const { return end - begin; }
  };
  using Slices = absl::InlinedVector<Slice, 1>;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Room for at most n more bytes behind the last; commit() makes bytes written there count.
  uint8_t* tail(size_t n, size_t* contiguous);
  void commit(size_t n);
  // The bytes from offset on that lie together.
  const uint8_t* at(size_t offset, size_t* contiguous) const;
  void pop(size_t n);

  void Append(Slice s);
  // The first n bytes (at most size()), which leave the queue.
  Slices Take(size_t n);
  // Brings back what Take gave and nobody wants. Only as long as nothing else was taken since.
  void PutBack(Slices slices);

 private:
  Slices slices_;  // none empty, but a single one that is kept for the next bytes
  size_t size_ = 0;
};

}  // namespace sentry
