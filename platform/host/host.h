// The only way to the host's system calls: thin wrappers, each with a row in host_calls.def. All
// return the kernel's value or -errno (a host errno: HostToGuest() makes it a guest's); libc's
// errno is never touched. Descriptors are plain ints here: the caller owns them through
// base::UniqueFd.
#pragma once

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "platform/base/before_sleep.h"
#include "platform/base/fd.h"
#include "platform/base/result.h"
#include "platform/base/status.h"

// Newer than the headers of Debian 12.
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

namespace host {

// Whether host_calls.def has a row for a system call.
constexpr bool HasRow(long nr) {
#define HOST_CALL(name, roles, reason) \
  if (nr == SYS_##name) return true;
#define HOST_CALL_IF(name, roles, reason, ...) \
  if (nr == SYS_##name) return true;
#include "platform/host/host_calls.def"
  return false;
}

inline long RawCall(long nr, uint64_t a0 = 0, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0,
                    uint64_t a4 = 0, uint64_t a5 = 0) {
  long ret;
  register uint64_t r10 __asm__("r10") = a3;
  register uint64_t r8 __asm__("r8") = a4;
  register uint64_t r9 __asm__("r9") = a5;
  __asm__ volatile("syscall"
                   : "=a"(ret)
                   : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return ret;
}

namespace internal {
template <typename T>
uint64_t ToRegister(T v) {
  if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return reinterpret_cast<uint64_t>(static_cast<const volatile void*>(v));
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<uint64_t>(static_cast<int64_t>(v));
  } else {
    return static_cast<uint64_t>(v);
  }
}
}  // namespace internal

// Call<SYS_x>(args...): the kernel's return value, -errno on failure. Compiles only with a row in
// host_calls.def.
template <long kNr, typename... A>
inline long Call(A... a) {
  static_assert(HasRow(kNr), "no row in host_calls.def");
  static_assert(sizeof...(A) <= 6);
  return RawCall(kNr, internal::ToRegister(a)...);
}

// One table from host errnos to guest errnos; pass errno as a positive number or as the negative
// return value. Host errnos that a guest must not see become EIO.
abi::Errno HostToGuest(long host_errno);
// A host return value as a Result: r >= 0 is the value.
inline base::Result<uint64_t> ToResult(long r) {
  if (r < 0) return HostToGuest(r);
  return static_cast<uint64_t>(r);
}

// --- Bytes ---
inline long Read(int fd, void* p, size_t n) { return Call<SYS_read>(fd, p, n); }
inline long Write(int fd, const void* p, size_t n) { return Call<SYS_write>(fd, p, n); }
inline long Pread(int fd, void* p, size_t n, int64_t off) {
  return Call<SYS_pread64>(fd, p, n, off);
}
inline long Pwrite(int fd, const void* p, size_t n, int64_t off) {
  return Call<SYS_pwrite64>(fd, p, n, off);
}
// offset -1: the file's position (readv, writev). flags: RWF_*.
inline long Preadv(int fd, const iovec* iov, int n, int64_t off, int flags = 0) {
  return Call<SYS_preadv2>(fd, iov, n, off, 0, flags);
}
inline long Pwritev(int fd, const iovec* iov, int n, int64_t off, int flags = 0) {
  return Call<SYS_pwritev2>(fd, iov, n, off, 0, flags);
}
inline long Readv(int fd, const iovec* iov, int n) { return Preadv(fd, iov, n, -1); }
inline long Writev(int fd, const iovec* iov, int n) { return Pwritev(fd, iov, n, -1); }
inline long Lseek(int fd, int64_t off, int whence) { return Call<SYS_lseek>(fd, off, whence); }
inline long Sendmsg(int fd, const msghdr* m, int flags) { return Call<SYS_sendmsg>(fd, m, flags); }
inline long Recvmsg(int fd, msghdr* m, int flags) { return Call<SYS_recvmsg>(fd, m, flags); }

constexpr size_t kMaxMessageFds = 253;  // SCM_MAX_FD
// Sends bytes with descriptors (SCM_RIGHTS). MSG_NOSIGNAL is added.
long SendWithFds(int fd, std::span<const iovec> iov, std::span<const int> fds, int flags);
inline long SendWithFds(int fd, const void* p, size_t n, std::span<const int> fds, int flags) {
  iovec v{const_cast<void*>(p), n};
  return SendWithFds(fd, std::span<const iovec>(&v, 1), fds, flags);
}
// Receives bytes and up to fds.size() descriptors (close-on-exec); *n_fds is how many came. More
// than that were sent: the surplus is closed by the kernel, and -EMSGSIZE is returned with those
// received closed. A truncated message is -EMSGSIZE too.
long RecvWithFds(int fd, std::span<const iovec> iov, std::span<base::UniqueFd> fds, size_t* n_fds,
                 int flags);
inline long RecvWithFds(int fd, void* p, size_t n, std::span<base::UniqueFd> fds, size_t* n_fds,
                        int flags) {
  iovec v{p, n};
  return RecvWithFds(fd, std::span<const iovec>(&v, 1), fds, n_fds, flags);
}

// --- Descriptors ---
inline long Close(int fd) { return Call<SYS_close>(fd); }
inline long Dup(int fd, int min = 3) { return Call<SYS_fcntl>(fd, F_DUPFD_CLOEXEC, min); }
inline long GetFlags(int fd) { return Call<SYS_fcntl>(fd, F_GETFL); }
inline long Fstat(int fd, struct stat* st) { return Call<SYS_fstat>(fd, st); }
inline long Fstatfs(int fd, struct statfs* st) { return Call<SYS_fstatfs>(fd, st); }
// Only the requests with a row in host_calls.def pass the filter.
inline long Ioctl(int fd, unsigned long request, void* arg) {
  return Call<SYS_ioctl>(fd, request, arg);
}
// timeout nullptr: for ever. sigmask: nullptr.
inline long Poll(pollfd* fds, size_t n, timespec* timeout) {
  return Call<SYS_ppoll>(fds, n, timeout, nullptr, 0);
}
inline long EpollCreate() { return Call<SYS_epoll_create1>(EPOLL_CLOEXEC); }
inline long EpollCtl(int ep, int op, int fd, epoll_event* ev) {
  return Call<SYS_epoll_ctl>(ep, op, fd, ev);
}
// timeout in ms, -1: for ever.
inline long EpollWait(int ep, epoll_event* ev, int n, int timeout_ms) {
  return Call<SYS_epoll_pwait>(ep, ev, n, timeout_ms, nullptr, 0);
}
inline long Eventfd(unsigned value, int flags) {
  return Call<SYS_eventfd2>(value, flags | EFD_CLOEXEC);
}
inline long Socketpair(int type, int fds[2]) {
  return Call<SYS_socketpair>(AF_UNIX, type | SOCK_CLOEXEC, 0, fds);
}
// A connection that waits at a listening socket; close-on-exec.
inline long Accept(int fd) { return Call<SYS_accept4>(fd, nullptr, nullptr, SOCK_CLOEXEC); }

// --- Memory ---
// The address or -errno: test with IsError().
#ifdef MOAT_SANITIZE
// Libc's: the run time forgets what it knew of the memory that was at these addresses.
long Mmap(void* addr, size_t len, int prot, int flags, int fd, int64_t off);
long Munmap(void* addr, size_t len);
#else
inline long Mmap(void* addr, size_t len, int prot, int flags, int fd, int64_t off) {
  return Call<SYS_mmap>(addr, len, prot, flags, fd, off);
}
inline long Munmap(void* addr, size_t len) { return Call<SYS_munmap>(addr, len); }
#endif
inline bool IsError(long r) { return static_cast<unsigned long>(r) >= -4095UL; }
inline long Ftruncate(int fd, int64_t size) { return Call<SYS_ftruncate>(fd, size); }
inline long Fallocate(int fd, int mode, int64_t off, int64_t len) {
  return Call<SYS_fallocate>(fd, mode, off, len);
}
inline long PunchHole(int fd, int64_t off, int64_t len) {
  return Fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}
inline long Fsync(int fd) {
  base::BeforeSleep();
  return Call<SYS_fsync>(fd);
}
inline long Fdatasync(int fd) {
  base::BeforeSleep();
  return Call<SYS_fdatasync>(fd);
}

// Where memory files are made: the root of the process's private tmpfs (jail.h), or -1:
// memfd_create (tests). Set once at start.
void SetMemoryDir(int dir_fd);
// Less than so many bytes are left for memory files. False where nothing bounds them.
bool MemoryExhausted(uint64_t bytes);
// A new unlinked memory file, read-write, size 0, huge pages as the tmpfs allows. read_only: when
// not null it receives a second, read-only descriptor of the same file, that can never be made
// writable (with memfds, through /proc/self/fd). Returns the descriptor or -errno.
long CreateMemoryFile(base::UniqueFd* read_only = nullptr);

// --- Threads, signals, time ---
// Absolute deadline on CLOCK_MONOTONIC or nullptr. 0, -EAGAIN (value differs), -ETIMEDOUT, -EINTR.
inline long FutexWait(const volatile void* word, uint32_t value, const timespec* deadline = nullptr,
                      bool shared = false) {
  base::BeforeSleep();
  return Call<SYS_futex>(word, FUTEX_WAIT_BITSET | (shared ? 0 : FUTEX_PRIVATE_FLAG), value,
                         deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
}
inline long FutexWake(const volatile void* word, int count, bool shared = false) {
  return Call<SYS_futex>(word, FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG), count);
}
inline long Tgkill(int tgid, int tid, int sig) { return Call<SYS_tgkill>(tgid, tid, sig); }
inline long Waitid(int idtype, int id, siginfo_t* info, int options) {
  return Call<SYS_waitid>(idtype, id, info, options, nullptr);
}
inline long Gettid() { return Call<SYS_gettid>(); }
inline long Getpid() { return Call<SYS_getpid>(); }
inline long Sigaction(int sig, const struct sigaction* act, struct sigaction* old) {
  return sigaction(sig, act, old) == 0 ? 0 : -1;
}
// A memory barrier on every running thread of the host (milliseconds).
inline long Membarrier() { return Call<SYS_membarrier>(1 /* MEMBARRIER_CMD_GLOBAL */, 0, 0); }
inline long SchedYield() { return Call<SYS_sched_yield>(); }
// AT_HWCAP2 of this process: what the host lets user mode do.
uint64_t Hwcap2();
// Number of processors this process may use (at least 1).
int UsableCpus();
[[noreturn]] inline void ExitGroup(int code) {
  Call<SYS_exit_group>(code);
  __builtin_unreachable();
}

// Through the vDSO where it can; nanoseconds. clock: CLOCK_*.
int64_t ClockNow(int clock);
inline timespec ToTimespec(int64_t ns) { return timespec{ns / 1000000000, ns % 1000000000}; }
// Sleeps until an absolute time of clock. 0 or -EINTR.
inline long SleepUntil(int clock, const timespec* deadline) {
  return Call<SYS_clock_nanosleep>(clock, TIMER_ABSTIME, deadline, nullptr);
}
// Fills all of it (aborts if the host can't).
void Random(void* p, size_t n);

}  // namespace host
