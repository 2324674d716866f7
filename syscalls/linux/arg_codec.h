// How a register becomes a handler's argument. ArgCodec is the only place where that happens; an
// argument type without a codec, or a seventh argument, does not compile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "sentry/kernel/syscall.h"
#include "sentry/mm/user.h"

namespace syscalls {

enum class ArgKind : uint8_t { kI32, kU32, kI64, kU64, kAddr, kString, kIn, kOut, kInOut };

// One address per type; identifies the T of a UserIn<T> at run time.
template <typename T>
inline constexpr char kTypeTag = 0;

struct ArgType {
  ArgKind kind = ArgKind::kU64;
  uint32_t size = 0;          // of T, for kIn, kOut, kInOut
  const void* tag = nullptr;  // &kTypeTag<T>, for the same
};

template <typename T>
struct ArgCodec;

// Narrow integers drop the register's high half, as the kernel's SYSCALL_DEFINE wrappers do.
template <>
struct ArgCodec<int32_t> {
  static constexpr ArgType kType{ArgKind::kI32};
  static int32_t Decode(uint64_t r) { return static_cast<int32_t>(r); }
};
template <>
struct ArgCodec<uint32_t> {
  static constexpr ArgType kType{ArgKind::kU32};
  static uint32_t Decode(uint64_t r) { return static_cast<uint32_t>(r); }
};
template <>
struct ArgCodec<int64_t> {
  static constexpr ArgType kType{ArgKind::kI64};
  static int64_t Decode(uint64_t r) { return static_cast<int64_t>(r); }
};
template <>
struct ArgCodec<uint64_t> {
  static constexpr ArgType kType{ArgKind::kU64};
  static uint64_t Decode(uint64_t r) { return r; }
};
template <>
struct ArgCodec<sentry::UserAddr> {
  static constexpr ArgType kType{ArgKind::kAddr};
  static sentry::UserAddr Decode(uint64_t r) { return sentry::UserAddr{r}; }
};
template <>
struct ArgCodec<sentry::UserCString> {
  static constexpr ArgType kType{ArgKind::kString};
  static sentry::UserCString Decode(uint64_t r) { return {sentry::UserAddr{r}}; }
};
template <typename T>
struct ArgCodec<sentry::UserIn<T>> {
  static constexpr ArgType kType{ArgKind::kIn, sizeof(T), &kTypeTag<T>};
  static sentry::UserIn<T> Decode(uint64_t r) { return {sentry::UserAddr{r}}; }
};
template <typename T>
struct ArgCodec<sentry::UserOut<T>> {
  static constexpr ArgType kType{ArgKind::kOut, sizeof(T), &kTypeTag<T>};
  static sentry::UserOut<T> Decode(uint64_t r) { return {sentry::UserAddr{r}}; }
};
template <typename T>
struct ArgCodec<sentry::UserInOut<T>> {
  static constexpr ArgType kType{ArgKind::kInOut, sizeof(T), &kTypeTag<T>};
  static sentry::UserInOut<T> Decode(uint64_t r) { return {sentry::UserAddr{r}}; }
};

// What dispatch, strace and the fuzzer know of a handler.
struct CallInfo {
  uint8_t argc = 0;
  ArgType arg[6] = {};
  const char* params = "";  // "int32_t fd, UserAddr buf, ...", for the names
};

template <typename F>
struct Handler;

template <typename... Args>
struct Handler<sentry::SyscallResult (*)(sentry::Task&, Args...)> {
  static_assert(sizeof...(Args) <= 6, "a system call has six registers");

  static constexpr CallInfo Info(const char* params) {
    return {sizeof...(Args), {ArgCodec<Args>::kType...}, params};
  }

  template <sentry::SyscallResult (*F)(sentry::Task&, Args...)>
  static sentry::SyscallResult Call(sentry::Task& task, const sentry::SyscallArgs& a) {
    return CallIndexed<F>(task, a, std::make_index_sequence<sizeof...(Args)>());
  }

 private:
  template <sentry::SyscallResult (*F)(sentry::Task&, Args...), size_t... I>
  static sentry::SyscallResult CallIndexed(sentry::Task& task, const sentry::SyscallArgs& a,
                                           std::index_sequence<I...>) {
    return F(task, ArgCodec<Args>::Decode(a.arg[I])...);
  }
};

// The function that the kernel's table holds for a handler.
template <auto F>
sentry::SyscallResult Thunk(sentry::Task& task, const sentry::SyscallArgs& a) {
  return Handler<decltype(F)>::template Call<F>(task, a);
}

}  // namespace syscalls
