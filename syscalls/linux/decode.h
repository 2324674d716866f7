// System calls as text. What an argument means follows from its type and name in sys.h and from
// features.def.
#pragma once

#include <string>

#include "sentry/kernel/syscall.h"
#include "sentry/mm/user.h"

namespace syscalls {

// One call, decoded in two steps: what the guest passed, and what came back.
class DecodedCall {
 public:
  // At entry: reads strings and structs that the call is given.
  void Begin(sentry::UserMemory& mm, const sentry::SyscallArgs& args);
  // Afterwards: reads what the call has stored.
  void End(sentry::UserMemory& mm, const sentry::SyscallArgs& args, const sentry::SyscallResult& r);
  // "openat(AT_FDCWD, ...)"; arguments that End() is to fill in are addresses before it.
  std::string Call() const;
  // "3", "-1 ENOENT", "? ERESTARTSYS".
  const std::string& result() const { return result_; }

 private:
  std::string name_;
  std::string arg_[6];
  int argc_ = 0;
  std::string result_;
};

}  // namespace syscalls
