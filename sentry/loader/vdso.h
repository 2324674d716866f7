// The guest's vDSO: a small shared object of Moat's own (vdso/vdso.cc), with a page of data beside
// it, mapped into every program.
#pragma once

#include "sentry/mm/memory_manager.h"

namespace sentry {

// Maps [vvar] and [vdso]; the address of the latter (AT_SYSINFO_EHDR). Errors: ENOMEM.
base::Result<uint64_t> MapVdso(MemoryManager& mm, const platform::Platform& platform,
                               int cpu_count);

}  // namespace sentry
