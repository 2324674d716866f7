// The interface between the kernel and the system call handlers, which it does not know: a table of
// function pointers.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include "platform/api/context.h"
#include "platform/base/result.h"

namespace sentry {

class Task;

using SyscallArgs = platform::SyscallRegs;

// What a handler returns: a value, an errno, a restart code, or "the registers are set already"
// (sigreturn, a successful execve).
class SyscallResult {
 public:
  template <std::integral T>
  SyscallResult(T v)
      : value_(static_cast<uint64_t>(static_cast<int64_t>(v))) {}    // NOLINT(runtime/explicit)
  SyscallResult(abi::Errno e) : SyscallResult(base::Error(e)) {}     // NOLINT(runtime/explicit)
  SyscallResult(base::Restart r) : SyscallResult(base::Error(r)) {}  // NOLINT(runtime/explicit)
  SyscallResult(base::Error e) : code_(e.code()) {}                  // NOLINT(runtime/explicit)
  template <std::integral T>
  SyscallResult(base::Result<T> r) {  // NOLINT(runtime/explicit)
    if (r.ok()) {
      value_ = static_cast<uint64_t>(static_cast<int64_t>(*r));
    } else {
      code_ = r.error().code();
    }
  }
  SyscallResult(base::Result<void> r) : code_(r.error().code()) {}  // NOLINT(runtime/explicit)
  static SyscallResult RegsSet() {
    SyscallResult r(0);
    r.regs_set_ = true;
    return r;
  }
  bool ok() const { return code_ == 0; }
  bool regs_set() const { return regs_set_; }
  uint64_t value() const { return value_; }
  int16_t code() const { return code_; }
  bool is_restart() const { return code_ >= 512; }

 private:
  uint64_t value_ = 0;
  int16_t code_ = 0;
  bool regs_set_ = false;
};

using SyscallFn = SyscallResult (*)(Task& task, const SyscallArgs& args);

struct SyscallTable {
  std::span<const SyscallFn> fn;  // by number; never null
  SyscallFn unknown;              // numbers beyond
};

// Tracing, installed by --strace and friends; null costs one predictable branch.
struct SyscallHooks {
  void (*enter)(Task& task, const SyscallArgs& args) = nullptr;
  void (*leave)(Task& task, const SyscallArgs& args, const SyscallResult& r) = nullptr;
};

}  // namespace sentry
