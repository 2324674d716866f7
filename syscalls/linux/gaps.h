// Gaps: what guests asked for and Moat lacks. Counted per (call, value), so that real workloads
// rank them; `moat debug --gaps` prints them.
#pragma once

#include <cstdint>
#include <string>

#include "syscalls/table/table.h"

namespace syscalls {

// Counts one refusal of `value`, the option, command or flags that the call lacks; 0 for the call
// as a whole. No locks; the number of different gaps kept is bounded, so that a guest can't use it
// to fill the sentry's memory.
void TrackGap(uint64_t nr, uint64_t value);
inline void TrackGap(Sys call, uint64_t value) { TrackGap(static_cast<uint64_t>(call), value); }

// {"gaps":[{"call":"ioctl","nr":16,"value":4660,"name":"FS_IOC_GETFLAGS","count":3},...],"dropped":0},
// most frequent first.
std::string GapsAsJson();

// Calls per row and their failures, counted while counting is on (--strace, --debug-log); a relaxed
// addition each.
void CountCall(uint64_t nr, bool failed);
// {"calls":[{"call":"read","count":12,"failed":1},...]}, in the order of numbers, without those
// never made.
std::string CallsAsJson();

// For tests.
void ResetGaps();

}  // namespace syscalls
