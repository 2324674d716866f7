#include "platform/host/host.h"

#include <errno.h>
#include <sys/auxv.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <utility>

#include "platform/base/log.h"

namespace host {

abi::Errno HostToGuest(long host_errno) {
  long e = host_errno < 0 ? -host_errno : host_errno;
  // The host's errno numbers are Linux's own, the guest's too. What the host says only about Moat's
  // own doings must not reach a guest: no such call, no such process, restart codes.
  if (e <= 0 || e >= 134) return abi::Errno::kEIO;
  switch (e) {
    case ENOSYS:
    case ESRCH:
    case ECHILD:
    case 41:  // unassigned numbers
    case 58:
      return abi::Errno::kEIO;
    default:
      return static_cast<abi::Errno>(e);
  }
}

long SendWithFds(int fd, std::span<const iovec> iov, std::span<const int> fds, int flags) {
  if (fds.size() > kMaxMessageFds) return -EINVAL;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxMessageFds)];
  msghdr m{};
  m.msg_iov = const_cast<iovec*>(iov.data());
  m.msg_iovlen = iov.size();
  if (!fds.empty()) {
    m.msg_control = control;
    m.msg_controllen = CMSG_SPACE(fds.size_bytes());
    auto* c = reinterpret_cast<cmsghdr*>(control);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }
  return Sendmsg(fd, &m, flags | MSG_NOSIGNAL);
}

long RecvWithFds(int fd, std::span<const iovec> iov, std::span<base::UniqueFd> fds, size_t* n_fds,
                 int flags) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxMessageFds)];
  msghdr m{};
  m.msg_iov = const_cast<iovec*>(iov.data());
  m.msg_iovlen = iov.size();
  size_t capacity = fds.size() < kMaxMessageFds ? fds.size() : kMaxMessageFds;
  if (capacity != 0) {
    m.msg_control = control;
    m.msg_controllen = CMSG_LEN(sizeof(int) * capacity);
  }
  size_t got = 0;
  if (n_fds) *n_fds = 0;
  long r = Recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
  if (r < 0) return r;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < n; i++) {
      int received;
      memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof received);
      if (got < fds.size()) {
        fds[got++].reset(received);
      } else {
        Close(received);
      }
    }
  }
  // A message that was cut, or descriptors without room: the peer broke the protocol.
  if (m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) {
    for (size_t i = 0; i < got; i++) fds[i].reset();
    return -EMSGSIZE;
  }
  if (n_fds) *n_fds = got;
  return r;
}

#ifdef MOAT_SANITIZE
long Mmap(void* addr, size_t len, int prot, int flags, int fd, int64_t off) {
  const int saved = errno;
  void* r = mmap(addr, len, prot, flags, fd, off);
  const int error = std::exchange(errno, saved);
  return r == MAP_FAILED ? -error : reinterpret_cast<long>(r);
}

long Munmap(void* addr, size_t len) {
  const int saved = errno;
  const int r = munmap(addr, len);
  const int error = std::exchange(errno, saved);
  return r == 0 ? 0 : -error;
}
#endif

static int memory_dir = -1;
static std::atomic<uint32_t> memory_file_seq{0};

void SetMemoryDir(int dir_fd) { memory_dir = dir_fd; }

bool MemoryExhausted(uint64_t bytes) {
  struct statfs st;
  if (memory_dir < 0 || Fstatfs(memory_dir, &st) < 0 || st.f_blocks == 0) return false;
  return static_cast<uint64_t>(st.f_bfree) * static_cast<uint64_t>(st.f_bsize) < bytes;
}

long CreateMemoryFile(base::UniqueFd* read_only) {
  if (memory_dir < 0) {
    base::UniqueFd fd(static_cast<int>(Call<SYS_memfd_create>("moat", MFD_CLOEXEC)));
    if (!fd) return -ENOMEM;
    if (read_only) {
      char path[48];
      snprintf(path, sizeof path, "/proc/self/fd/%d", fd.get());
      long ro = Call<SYS_openat>(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
      if (ro < 0) return ro;
      read_only->reset(static_cast<int>(ro));
    }
    return fd.Release();
  }
  if (!read_only)
    return Call<SYS_openat>(memory_dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
  // A second descriptor needs a name for a moment.
  char name[24];
  snprintf(name, sizeof name, "m%u", memory_file_seq.fetch_add(1, std::memory_order_relaxed));
  base::UniqueFd fd(static_cast<int>(Call<SYS_openat>(
      memory_dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)));
  if (!fd) return -ENOMEM;
  long ro = Call<SYS_openat>(memory_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
  Call<SYS_unlinkat>(memory_dir, name, 0);
  if (ro < 0) return ro;
  read_only->reset(static_cast<int>(ro));
  return fd.Release();
}

uint64_t Hwcap2() { return getauxval(AT_HWCAP2); }

int UsableCpus() {
  alignas(8) unsigned char mask[8192 / 8];
  long n = Call<SYS_sched_getaffinity>(0, sizeof mask, mask);
  int count = 0;
  for (long i = 0; i < n; i++) count += __builtin_popcount(mask[i]);
  return count > 0 ? count : 1;
}

int64_t ClockNow(int clock) {
  timespec ts;
  clock_gettime(clock, &ts);
  return ts.tv_sec * int64_t{1000000000} + ts.tv_nsec;
}

void Random(void* p, size_t n) {
  auto* c = static_cast<char*>(p);
  while (n != 0) {
    long r = Call<SYS_getrandom>(c, n, 0);
    if (r == -EINTR) continue;
    CHECK(r > 0);
    c += r;
    n -= r;
  }
}

}  // namespace host
