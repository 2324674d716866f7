// Intrusive reference counting. Ref<T> may be null (a moved-from or default one is); T derives from
// RefCounted. Dropping the last reference runs T's destructor on the dropping thread: do not drop
// under a lock that the destructor takes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace base {

class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;
  void IncRef() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void DecRef() const {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) LastRef();
  }
  // Takes a reference unless the last one is already gone: for tables that do not own what they
  // list.
  bool TryIncRef() const {
    uint32_t n = refs_.load(std::memory_order_relaxed);
    while (n != 0) {
      if (refs_.compare_exchange_weak(n, n + 1, std::memory_order_acquire)) return true;
    }
    return false;
  }
  uint32_t RefCount() const { return refs_.load(std::memory_order_acquire); }

 protected:
  RefCounted() = default;
  virtual ~RefCounted() = default;
  // The last reference is gone. Overridden by objects that others list without owning and that
  // must be taken off those lists while they are still whole.
  virtual void LastRef() const { delete this; }

 private:
  mutable std::atomic<uint32_t> refs_{1};
};

template <typename T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT(runtime/explicit)
  // Takes a new reference.
  explicit Ref(T* p) : p_(p) {
    if (p_) p_->IncRef();
  }
  Ref(const Ref& o) : Ref(o.p_) {}
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  template <typename U>
  requires std::is_convertible_v<U*, T*> Ref(const Ref<U>& o)
      : Ref(static_cast<T*>(o.get())) {}  // NOLINT(runtime/explicit)
  template <typename U>
  requires std::is_convertible_v<U*, T*> Ref(Ref<U>&& o)
  noexcept : p_(o.Release()) {}  // NOLINT(runtime/explicit)
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_) p_->DecRef();
  }
  // Adopts a reference that the caller owns (a new object starts with one).
  static Ref Adopt(T* p) {
    Ref r;
    r.p_ = p;
    return r;
  }
  T* Release() { return std::exchange(p_, nullptr); }
  void reset() { *this = Ref(); }
  T* get() const { return p_; }
  T& operator*() const { return *p_; }
  T* operator->() const { return p_; }
  explicit operator bool() const { return p_ != nullptr; }
  friend bool operator==(const Ref& a, const Ref& b) { return a.p_ == b.p_; }
  friend bool operator==(const Ref& a, const T* b) { return a.p_ == b; }

 private:
  T* p_ = nullptr;
};

template <typename T, typename... A>
Ref<T> MakeRef(A&&... a) {
  return Ref<T>::Adopt(new T(std::forward<A>(a)...));
}

// For a caller that knows the dynamic type (an op table entry, a kind tag): RTTI is off.
template <typename T, typename U>
Ref<T> StaticRefCast(const Ref<U>& u) {
  return Ref<T>(static_cast<T*>(u.get()));
}

}  // namespace base
