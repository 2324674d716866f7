// How the kernel names itself: uname(2), /proc/version.
#pragma once

namespace sentry {

// The Linux whose interface is implemented; programs compare it.
inline constexpr char kKernelRelease[] = "6.12.0-moat";
inline constexpr char kKernelVersion[] = "#1 SMP PREEMPT_DYNAMIC Moat";

}  // namespace sentry
