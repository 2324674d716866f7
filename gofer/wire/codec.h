// Reader and Writer: bounded, little-endian coding of one message into a flat buffer. Both are
// sticky: after the first overrun every further access yields zeros (Reader) or writes nothing
// (Writer), and ok() is false; the caller checks once at the end. A Reader copies out; it hands out
// views of the buffer only through Bytes and Name, so the buffer must be private memory.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace gofer::wire {

static_assert(std::endian::native == std::endian::little, "structs travel as they lie in memory");

// What may travel as it lies in memory: no padding, so that nothing leaks and every bit pattern is
// a value.
template <typename T>
concept WireType = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> &&
    std::has_unique_object_representations_v<T>;

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> data) : data_(data) {}
  template <WireType T>
  T Get() {
    T v{};
    if (std::span<const uint8_t> b = Bytes(sizeof(T)); ok_) std::memcpy(&v, b.data(), sizeof(T));
    return v;
  }
  // The next n bytes, valid as long as the buffer is.
  std::span<const uint8_t> Bytes(size_t n) {
    if (!ok_ || n > data_.size() - pos_) {
      ok_ = false;
      return {};
    }
    pos_ += n;
    return data_.subspan(pos_ - n, n);
  }
  // A uint16 length and so many bytes; longer than max is a failure.
  std::string_view String(size_t max) {
    size_t n = Get<uint16_t>();
    if (n > max) ok_ = false;
    std::span<const uint8_t> b = Bytes(n);
    return ok_ ? std::string_view(reinterpret_cast<const char*>(b.data()), n) : std::string_view();
  }
  // A uint32 length and so many bytes.
  std::span<const uint8_t> Blob(size_t max) {
    size_t n = Get<uint32_t>();
    if (n > max) ok_ = false;
    return Bytes(n);
  }
  void Fail() { ok_ = false; }
  bool ok() const { return ok_; }
  size_t left() const { return data_.size() - pos_; }
  // Everything was read, nothing is left over.
  bool Done() const { return ok_ && pos_ == data_.size(); }

 private:
  std::span<const uint8_t> data_;
  size_t pos_ = 0;
  bool ok_ = true;
};

class Writer {
 public:
  explicit Writer(std::span<uint8_t> buffer) : buffer_(buffer) {}
  template <WireType T>
  void Put(const T& v) {
    if (uint8_t* p = Space(sizeof(T))) std::memcpy(p, &v, sizeof(T));
  }
  void Bytes(const void* data, size_t n) {
    uint8_t* p = Space(n);
    if (p != nullptr && n != 0) std::memcpy(p, data, n);
  }
  void String(std::string_view s) {
    if (s.size() > UINT16_MAX) ok_ = false;
    Put(static_cast<uint16_t>(s.size()));
    Bytes(s.data(), s.size());
  }
  void Blob(std::span<const uint8_t> b) {
    Put(static_cast<uint32_t>(b.size()));
    Bytes(b.data(), b.size());
  }
  // Reserves n bytes to be filled in by the caller; null when they don't fit.
  uint8_t* Space(size_t n) {
    if (!ok_ || n > buffer_.size() - pos_) {
      ok_ = false;
      return nullptr;
    }
    pos_ += n;
    return buffer_.data() + pos_ - n;
  }
  // Overwrites what was put at offset `at` earlier.
  template <WireType T>
  void Patch(size_t at, const T& v) {
    if (at + sizeof(T) <= pos_) std::memcpy(buffer_.data() + at, &v, sizeof(T));
  }
  // Drops everything from offset `at` on, and a failure with it.
  void Rewind(size_t at) {
    pos_ = at;
    ok_ = true;
  }
  bool ok() const { return ok_; }
  size_t size() const { return pos_; }
  size_t left() const { return buffer_.size() - pos_; }

 private:
  std::span<uint8_t> buffer_;
  size_t pos_ = 0;
  bool ok_ = true;
};

}  // namespace gofer::wire
