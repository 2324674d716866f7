// Decoded system calls, one line each:
//
//   [17] bash openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3
//
// What an argument means follows from its type and name in sys.h and from features.def. Tracing is
// a pair of hooks of the kernel: without it nothing is called.
#pragma once

#include <string_view>

#include "sentry/kernel/syscall.h"

namespace syscalls {

// Gets whole lines, newline included, from the thread of the task that made the call; may be called
// by several at once.
using StraceSink = void (*)(std::string_view line);

// The hooks to install in the kernel. entries: also print a line when a call starts (to see what
// blocks). The sink is the process's: there is one tracer.
sentry::SyscallHooks StraceHooks(StraceSink sink, bool entries = false);

// The hooks that only count calls (gaps.h).
sentry::SyscallHooks CountingHooks();

}  // namespace syscalls
