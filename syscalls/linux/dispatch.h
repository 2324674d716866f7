// From system call numbers to handlers: the table that boot gives to the kernel.
#pragma once

#include <cstdint>

#include "sentry/kernel/syscall.h"
#include "syscalls/linux/arg_codec.h"
#include "syscalls/table/table.h"

namespace syscalls {

// Made at the first call; lives forever. Refused rows answer their errno, unknown numbers and rows
// whose handler is missing ENOSYS; all of these count as gaps (gaps.h).
const sentry::SyscallTable& LinuxTable();

// A row's handler exists in this program. The handlers' library must be linked whole (CMake:
// syscalls_linux_whole).
bool HasHandler(const Row& row);

// Of a row that is not refused.
const CallInfo& InfoOf(const Row& row);

}  // namespace syscalls
