// What is written to files of /proc/sys that hold numbers (kernel/sysctl.c).
#pragma once

#include <span>
#include <string_view>

#include "platform/base/result.h"

namespace sentry {

// proc_dointvec_minmax(), proc_doulongvec_minmax(): the numbers of the text, which white space
// separates, take the place of the first of values, and what follows the last of these is not
// looked at. EINVAL, and values are as they were: there is none, or one is no number or above max.
base::Result<void> ReadSysctl(std::string_view text, uint32_t max, std::span<uint32_t> values);

}  // namespace sentry
