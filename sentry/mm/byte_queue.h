// A growing ring of bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

namespace sentry {

class ByteQueue {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() { head_ = size_ = 0; }
  void push(uint8_t c) {
    if (size_ == cap_) Grow(size_ + 1);
    data_[(head_ + size_++) & (cap_ - 1)] = c;
  }
  void push(const uint8_t* p, size_t n) {
    if (size_ + n > cap_) Grow(size_ + n);
    while (n > 0) {
      size_t at = (head_ + size_) & (cap_ - 1);
      size_t k = std::min(n, cap_ - at);
      memcpy(&data_[at], p, k);
      size_ += k, p += k, n -= k;
    }
  }
  // Room for n more bytes behind the last; the part of it that lies together. commit() makes bytes
  // written there count.
  uint8_t* tail(size_t n, size_t* contiguous) {
    if (size_ + n > cap_) Grow(size_ + n);
    size_t at = (head_ + size_) & (cap_ - 1);
    *contiguous = std::min(n, cap_ - at);
    return &data_[at];
  }
  void commit(size_t n) { size_ += n; }
  // The bytes from offset on that lie together.
  const uint8_t* at(size_t offset, size_t* contiguous) const {
    size_t i = (head_ + offset) & (cap_ - 1);
    *contiguous = std::min(size_ - offset, cap_ - i);
    return &data_[i];
  }
  // The bytes at the front that lie together.
  const uint8_t* front() const { return &data_[head_]; }
  size_t front_size() const { return std::min(size_, cap_ - head_); }
  void pop(size_t n) {
    head_ = cap_ == 0 ? 0 : (head_ + n) & (cap_ - 1);
    size_ -= n;
    if (size_ == 0) head_ = 0;
  }
  // Of an empty queue: gives memory back if it is much.
  void Shrink() {
    constexpr size_t kKeep = 256 << 10;
    if (cap_ <= kKeep) return;
    data_.reset();
    cap_ = head_ = 0;
  }

 private:
  void Grow(size_t need) {
    size_t cap = std::max<size_t>(cap_, 256);
    while (cap < need) cap *= 2;
    std::unique_ptr<uint8_t[]> d(new uint8_t[cap]);
    size_t k = front_size();
    if (k > 0) memcpy(d.get(), front(), k);
    if (size_ > k) memcpy(d.get() + k, data_.get(), size_ - k);
    data_ = std::move(d);
    cap_ = cap;
    head_ = 0;
  }
  std::unique_ptr<uint8_t[]> data_;
  size_t cap_ = 0, head_ = 0, size_ = 0;  // cap_: a power of two
};

}  // namespace sentry
