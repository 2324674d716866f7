#include "sentry/mm/host_io.h"

#include <algorithm>

#include "platform/host/host.h"

namespace sentry {
namespace {

constexpr size_t kPieces = 16;

// transfer: (iov, pieces, offset) to the host's result.
template <typename F>
base::Result<uint64_t> Move(IoBuffer& buffer, bool read, uint64_t offset, uint64_t most,
                            F&& transfer) {
  uint64_t done = 0;
  while (buffer.remaining() > 0 && done < most) {
    iovec iov[kPieces];
    static_assert(sizeof(HostIov) == sizeof(iovec));
    const size_t n = buffer.HostVec(read, reinterpret_cast<HostIov*>(iov), kPieces);
    if (n == 0) {
      if (done == 0) return abi::Errno::kEFAULT;
      break;
    }
    uint64_t asked = 0;
    size_t pieces = 0;
    for (; pieces < n && asked < most - done; pieces++) {
      iov[pieces].iov_len = std::min<uint64_t>(iov[pieces].iov_len, most - done - asked);
      asked += iov[pieces].iov_len;
    }
    long r;
    do {
      r = transfer(iov, static_cast<int>(pieces), static_cast<int64_t>(offset + done));
    } while (r == -EINTR);
    if (r < 0) {
      if (done == 0) return host::HostToGuest(r);
      break;
    }
    buffer.Consume(static_cast<size_t>(r));
    done += static_cast<uint64_t>(r);
    if (static_cast<uint64_t>(r) < asked && (read || r == 0)) break;
  }
  return done;
}

}  // namespace

base::Result<uint64_t> ReadHostFile(int fd, IoBuffer& dst, uint64_t offset, uint64_t most,
                                    uint32_t rwf) {
  return Move(dst, true, offset, most, [&](const iovec* iov, int n, int64_t at) {
    return host::Preadv(fd, iov, n, at, static_cast<int>(rwf));
  });
}

base::Result<uint64_t> WriteHostFile(int fd, IoBuffer& src, uint64_t offset, uint64_t most,
                                     uint32_t rwf) {
  return Move(src, false, offset, most, [&](const iovec* iov, int n, int64_t at) {
    return host::Pwritev(fd, iov, n, at, static_cast<int>(rwf));
  });
}

}  // namespace sentry
