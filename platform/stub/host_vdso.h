// Where the host's vDSO and its data lie in this process: guests get them too, for their clocks.
#pragma once

#include <cstdint>

namespace platform::stub {

struct HostVdso {
  // {start, end} of vvar*, vdso, in address order and without gaps; 0 when absent.
  uint64_t range[4][2] = {};
  // Of __vdso_clock_gettime, from range[0][0]; 0: there is none.
  uint64_t clock_gettime = 0;
  uint64_t start() const { return range[0][0]; }
  // The end of the last range, from start().
  uint64_t size() const;
};

// Reads /proc/self/maps at the first call: for callers that lose sight of /proc before an engine is
// made.
const HostVdso& LocateVdso();

}  // namespace platform::stub
