// Bytes between an IoBuffer and a host file, by the host's calls: no copy in between, and pages of
// the file that were not there are made without a fault.
#pragma once

#include "sentry/mm/io_buffer.h"

namespace sentry {

// At offset, at most `most` bytes; consumes what moved and returns it. Fewer than asked at the end
// of the file, or after an error behind the first bytes. EFAULT, or the host's error. rwf: RWF_*.
base::Result<uint64_t> ReadHostFile(int fd, IoBuffer& dst, uint64_t offset,
                                    uint64_t most = UINT64_MAX, uint32_t rwf = 0);
base::Result<uint64_t> WriteHostFile(int fd, IoBuffer& src, uint64_t offset,
                                     uint64_t most = UINT64_MAX, uint32_t rwf = 0);

}  // namespace sentry
