// Result<T>: a value or a guest errno / restart code. Two error worlds never mix: this one is what
// a guest may see; failures of the host side (boot, the command, the gofer server's set-up) are
// base::Status (status.h). There is no implicit conversion.
#pragma once

#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include "syscalls/abi/errno.h"

namespace base {

// What the kernel calls ERESTART*: never seen by a guest. The task loop turns them into a restart
// or EINTR (signal(7)).
enum class Restart : int16_t {
  kSys = 512,           // ERESTARTSYS: restart if the handler has SA_RESTART or there is no handler
  kNoIntr = 513,        // ERESTARTNOINTR: always restart
  kNoHand = 514,        // ERESTARTNOHAND: restart only if no handler runs
  kRestartBlock = 516,  // ERESTART_RESTARTBLOCK: restart through restart_syscall(2) and the task's
                        // restart block
};

// A guest errno or a restart code. Implicit from both, so that `return abi::Errno::kEBADF;` reads
// well.
class [[nodiscard]] Error {
 public:
  constexpr Error(abi::Errno e) : code_(static_cast<int16_t>(e)) {}  // NOLINT(runtime/explicit)
  constexpr Error(Restart r) : code_(static_cast<int16_t>(r)) {}     // NOLINT(runtime/explicit)
  constexpr bool is_restart() const { return code_ >= 512; }
  constexpr abi::Errno guest_errno() const { return static_cast<abi::Errno>(code_); }
  constexpr int16_t code() const { return code_; }
  constexpr bool operator==(Error o) const { return code_ == o.code_; }

 private:
  int16_t code_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T v) : ok_(true) { new (&value_) T(std::move(v)); }  // NOLINT(runtime/explicit)
  Result(Error e) : ok_(false), error_(e) {}                  // NOLINT(runtime/explicit)
  Result(abi::Errno e) : Result(Error(e)) {}                  // NOLINT(runtime/explicit)
  Result(Restart e) : Result(Error(e)) {}                     // NOLINT(runtime/explicit)
  template <typename U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::decay_t<U>, T> &&
           !std::is_same_v<std::decay_t<U>, Result> && !std::is_same_v<std::decay_t<U>, Error> &&
           !std::is_same_v<std::decay_t<U>, abi::Errno> &&
           !std::is_same_v<std::decay_t<U>, Restart>) Result(U&& v)
      : ok_(true) {  // NOLINT(runtime/explicit)
    new (&value_) T(std::forward<U>(v));
  }
  Result(Result&& o) noexcept : ok_(o.ok_) {
    if (ok_) {
      new (&value_) T(std::move(o.value_));
    } else {
      error_ = o.error_;
    }
  }
  Result& operator=(Result&& o) noexcept {
    if (this != &o) {
      this->~Result();
      new (this) Result(std::move(o));
    }
    return *this;
  }
  ~Result() {
    if (ok_) value_.~T();
  }
  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  // Precondition of value(): ok(). Of error(): !ok(). A violation aborts.
  T& value() & { return Check(ok_), value_; }
  const T& value() const& { return Check(ok_), value_; }
  T&& value() && { return Check(ok_), std::move(value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error error() const { return Check(!ok_), error_; }
  bool is(abi::Errno e) const { return !ok_ && error_ == Error(e); }

 private:
  static void Check(bool b) {
    if (!b) [[unlikely]]
      __builtin_trap();
  }
  bool ok_;
  union {
    T value_;
    Error error_;
  };
};

template <>
class [[nodiscard]] Result<void> {
 public:
  constexpr Result() : error_(abi::Errno::kOk) {}
  constexpr Result(Error e) : error_(e) {}       // NOLINT(runtime/explicit)
  constexpr Result(abi::Errno e) : error_(e) {}  // NOLINT(runtime/explicit)
  constexpr Result(Restart e) : error_(e) {}     // NOLINT(runtime/explicit)
  constexpr bool ok() const { return error_.code() == 0; }
  constexpr explicit operator bool() const { return ok(); }
  void value() const {
    if (!ok()) [[unlikely]]
      __builtin_trap();
  }
  constexpr Error error() const { return error_; }
  constexpr bool is(abi::Errno e) const { return error_ == Error(e); }

 private:
  Error error_;
};

template <typename T>
T TakeValue(Result<T>&& r) {
  return std::move(r).value();
}
inline void TakeValue(Result<void>&&) {}

}  // namespace base

// TRY(expr): the value of a Result, or return its error from the enclosing function.
#define TRY(...)                                 \
  __extension__({                                \
    auto try_result_ = (__VA_ARGS__);            \
    if (!try_result_.ok()) [[unlikely]]          \
      return ::base::Error(try_result_.error()); \
    ::base::TakeValue(std::move(try_result_));   \
  })
