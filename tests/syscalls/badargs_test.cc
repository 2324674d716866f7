// Bad pointers, descriptors and flags for as many calls as possible: one row, one case. The
// expected errno is what Linux gives (as root, with an otherwise sane process).
#include <linux/futex.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <map>

#include "tests/syscalls/test_util.h"

namespace {

// Placeholders that the test replaces by something real at run time.
enum : long {
  kFile = 0x7eed0001,   // a descriptor of a regular file, read-write
  kPipeR = 0x7eed0002,  // the reading end of a pipe
  kDir = 0x7eed0003,    // a descriptor of a directory
  kSock = 0x7eed0004,   // an unconnected local stream socket
  kEpoll = 0x7eed0005,
  kBuf = 0x7eed0006,      // 4096 readable and writable zero bytes
  kPath = 0x7eed0007,     // the path of a regular file
  kNoPath = 0x7eed0008,   // a path that doesn't exist, in a directory that does
  kDirPath = 0x7eed0009,  // the path of a directory
  kClosed = 0x7eed000a,   // a descriptor number that isn't open
  kEmpty = 0x7eed000b,    // ""
  kOnes = 0x7eed000c,     // 4096 bytes of 0xff
  kPid = 0x7eed000d,      // getpid()
  kNull = 0x7eed000f,     // a descriptor of /dev/null
};
constexpr long kBad = 8;         // an address that nobody maps
constexpr long kKernel = -8192;  // an address of the kernel's half
constexpr long kCwd = AT_FDCWD;
constexpr long kNoPid = 0x7ffffff0;

struct Row {
  const char* name;
  long nr;
  long a[6];
  int want;
};

#define R(name, want, ...) \
  Row { #name, SYS_##name, {__VA_ARGS__ }, want }

const Row kRows[] = {
    // Descriptors.
    R(read, EBADF, kClosed, kBuf, 1),
    R(read, EBADF, -1, kBuf, 1),
    R(read, EFAULT, kFile, kKernel, 1),
    R(read, EISDIR, kDir, kBuf, 1),
    R(write, EBADF, kClosed, kBuf, 1),
    R(write, EBADF, kPipeR, kBuf, 1),
    R(write, EFAULT, kFile, kBad, 1),
    R(write, EFAULT, kFile, kKernel, 1),
    R(readv, EBADF, kClosed, kBuf, 1),
    R(readv, EFAULT, kFile, kBad, 1),
    R(readv, EINVAL, kFile, kBuf, 1025),
    R(readv, EINVAL, kFile, kBuf, -1),
    R(writev, EBADF, kClosed, kBuf, 1),
    R(writev, EFAULT, kFile, kBad, 1),
    R(writev, EINVAL, kFile, kOnes, 1),
    R(pread64, EBADF, kClosed, kBuf, 1, 0),
    R(pread64, EINVAL, kFile, kBuf, 1, -1),
    R(pread64, ESPIPE, kPipeR, kBuf, 1, 0),
    R(pwrite64, EBADF, kClosed, kBuf, 1, 0),
    R(pwrite64, EINVAL, kFile, kBuf, 1, -1),
    R(preadv, EINVAL, kFile, kBuf, 1, -1, -1),
    R(pwritev, EINVAL, kFile, kBuf, 1, -1, -1),
    R(close, EBADF, kClosed),
    R(close, EBADF, -1),
    R(fstat, EBADF, kClosed, kBuf),
    R(fstat, EFAULT, kFile, kBad),
    R(lseek, EBADF, kClosed, 0, 0),
    R(lseek, EINVAL, kFile, 0, 99),
    R(lseek, EINVAL, kFile, -1, 0),
    R(lseek, ESPIPE, kPipeR, 0, 0),
    R(ioctl, EBADF, kClosed, 0x5401, kBuf),
    R(ioctl, ENOTTY, kFile, 0x5401, kBuf),
    R(ioctl, ENOTTY, kFile, 0x12345678, kBuf),
    R(ioctl, EFAULT, kFile, 0x5421, kBad),
    R(dup, EBADF, kClosed),
    R(dup2, EBADF, kClosed, 5),
    R(dup2, EBADF, kFile, -1),
    R(dup3, EINVAL, kFile, kFile, 0),
    R(dup3, EINVAL, kFile, 500, 1),
    R(dup3, EBADF, kClosed, 500, 0),
    R(fcntl, EBADF, kClosed, F_GETFD, 0),
    R(fcntl, EINVAL, kFile, 12345, 0),
    R(fcntl, EFAULT, kFile, F_GETLK, kBad),
    R(fcntl, EINVAL, kFile, F_DUPFD, -1),
    R(fsync, EBADF, kClosed),
    R(fsync, EINVAL, kPipeR),
    R(fdatasync, EBADF, kClosed),
    R(ftruncate, EBADF, kClosed, 0),
    R(ftruncate, EINVAL, kFile, -1),
    R(ftruncate, EINVAL, kPipeR, 0),
    R(truncate, EFAULT, kBad, 0),
    R(truncate, ENOENT, kNoPath, 0),
    R(truncate, EINVAL, kPath, -1),
    R(truncate, EISDIR, kDirPath, 0),
    R(fallocate, EBADF, kClosed, 0, 0, 1),
    R(fallocate, EINVAL, kFile, 0, -1, 1),
    R(fallocate, EINVAL, kFile, 0, 0, 0),
    R(fallocate, EOPNOTSUPP, kFile, 1 << 20, 0, 1),
    R(fallocate, EBADF, kPipeR, 0, 0, 1),
    R(fallocate, EBADF, kDir, 0, 0, 1),
    R(flock, EBADF, kClosed, 1),
    R(flock, EINVAL, kFile, 0),
    R(fadvise64, EBADF, kClosed, 0, 0, 0),
    R(fadvise64, EINVAL, kFile, 0, 0, 77),
    R(fadvise64, ESPIPE, kPipeR, 0, 0, 0),
    R(readahead, EBADF, kClosed, 0, 1),
    R(sync_file_range, EBADF, kClosed, 0, 0, 0),
    R(sync_file_range, EINVAL, kFile, 0, 0, 64),
    R(syncfs, EBADF, kClosed),
    R(getdents64, EBADF, kClosed, kBuf, 4096),
    R(getdents64, ENOTDIR, kFile, kBuf, 4096),
    R(getdents64, EINVAL, kDir, kBuf, 1),
    R(getdents64, EFAULT, kDir, kBad, 4096),
    R(fchdir, EBADF, kClosed),
    R(fchdir, ENOTDIR, kFile),
    R(fchmod, EBADF, kClosed, 0),
    R(fchown, EBADF, kClosed, 0, 0),
    R(fstatfs, EBADF, kClosed, kBuf),
    R(fstatfs, EFAULT, kFile, kBad),
    // Paths.
    R(open, EFAULT, kBad, 0, 0),
    R(open, ENOENT, kNoPath, 0, 0),
    R(open, ENOENT, kEmpty, 0, 0),
    R(open, EISDIR, kDirPath, O_RDWR, 0),
    R(open, ENOTDIR, kPath, O_DIRECTORY, 0),
    R(open, EEXIST, kPath, O_CREAT | O_EXCL, 0),
    R(openat, EFAULT, kCwd, kBad, 0, 0),
    R(openat, EFAULT, kCwd, kKernel, 0, 0),
    R(openat2, EINVAL, kCwd, kPath, kBuf, 1),
    R(openat2, E2BIG, kCwd, kPath, kOnes, 4096),
    R(openat2, EFAULT, kCwd, kPath, kBad, 24),
    R(creat, EFAULT, kBad, 0),
    R(creat, EISDIR, kDirPath, 0),
    R(stat, EFAULT, kBad, kBuf),
    R(stat, EFAULT, kPath, kBad),
    R(stat, ENOENT, kNoPath, kBuf),
    R(stat, ENOENT, kEmpty, kBuf),
    R(lstat, EFAULT, kBad, kBuf),
    R(lstat, ENOENT, kNoPath, kBuf),
    R(newfstatat, EINVAL, kCwd, kPath, kBuf, 0x40000000),
    R(newfstatat, EFAULT, kCwd, kPath, kBad, 0),
    R(statx, EINVAL, kCwd, kPath, 0x40000000, 0, kBuf),
    R(statx, EINVAL, kCwd, kPath, 0, 0x80000000, kBuf),
    R(statx, EFAULT, kCwd, kPath, 0, 0x7ff, kBad),
    R(statfs, EFAULT, kBad, kBuf),
    R(statfs, EFAULT, kPath, kBad),
    R(statfs, ENOENT, kNoPath, kBuf),
    R(access, EFAULT, kBad, 0),
    R(access, EINVAL, kPath, 8),
    R(access, ENOENT, kNoPath, 0),
    R(faccessat, EINVAL, kCwd, kPath, 64),
    R(chmod, EFAULT, kBad, 0),
    R(chmod, ENOENT, kNoPath, 0),
    R(fchmodat, EFAULT, kCwd, kBad, 0),
    R(chown, EFAULT, kBad, 0, 0),
    R(chown, ENOENT, kNoPath, 0, 0),
    R(lchown, EFAULT, kBad, 0, 0),
    R(fchownat, EINVAL, kCwd, kPath, 0, 0, 0x40000000),
    R(mkdir, EFAULT, kBad, 0),
    R(mkdir, EEXIST, kDirPath, 0),
    R(mkdir, ENOENT, kEmpty, 0),
    R(mkdirat, EFAULT, kCwd, kBad, 0),
    R(rmdir, EFAULT, kBad),
    R(rmdir, ENOTDIR, kPath),
    R(rmdir, ENOENT, kNoPath),
    R(unlink, EFAULT, kBad),
    R(unlink, ENOENT, kNoPath),
    R(unlink, EISDIR, kDirPath),
    R(unlinkat, EINVAL, kCwd, kPath, 1),
    R(rename, EFAULT, kBad, kNoPath),
    R(rename, EFAULT, kPath, kBad),
    R(rename, ENOENT, kNoPath, kPath),
    R(renameat2, EINVAL, kCwd, kPath, kCwd, kNoPath, 64),
    R(renameat2, EINVAL, kCwd, kPath, kCwd, kNoPath, 3),
    R(link, EFAULT, kBad, kNoPath),
    R(link, ENOENT, kNoPath, kNoPath),
    R(link, EPERM, kDirPath, kNoPath),
    R(linkat, EINVAL, kCwd, kPath, kCwd, kNoPath, 1),
    R(symlink, EFAULT, kBad, kNoPath),
    R(symlink, ENOENT, kEmpty, kNoPath),
    R(symlink, EEXIST, kPath, kPath),
    R(readlink, EFAULT, kBad, kBuf, 1),
    R(readlink, EINVAL, kPath, kBuf, 1),
    R(readlink, EINVAL, kPath, kBuf, 0),
    R(readlink, ENOENT, kNoPath, kBuf, 1),
    R(mknod, EFAULT, kBad, S_IFREG, 0),
    R(mknod, EEXIST, kPath, S_IFREG, 0),
    R(mknod, EPERM, kNoPath, S_IFDIR, 0),
    R(mknod, EINVAL, kNoPath, 0170000, 0),
    R(chdir, EFAULT, kBad),
    R(chdir, ENOENT, kNoPath),
    R(chdir, ENOTDIR, kPath),
    R(chroot, EFAULT, kBad),
    R(chroot, ENOTDIR, kPath),
    R(getcwd, ERANGE, kBuf, 0),
    R(getcwd, ERANGE, kBuf, 1),
    R(getcwd, EFAULT, kBad, 4096),
    R(utimensat, EINVAL, kCwd, kPath, 0, 0x40000000),
    R(utimensat, EFAULT, kCwd, kPath, kBad, 0),
    R(utimensat, EINVAL, kCwd, kPath, kOnes, 0),
    R(utime, EFAULT, kPath, kBad),
    R(utimes, EINVAL, kPath, kOnes),
    R(setxattr, EFAULT, kPath, kBad, kBuf, 1, 0),
    R(setxattr, EINVAL, kPath, kPath, kBuf, 1, 99),
    R(getxattr, EFAULT, kPath, kBad, kBuf, 1),
    R(listxattr, EFAULT, kBad, kBuf, 1),
    R(fgetxattr, EBADF, kClosed, kPath, kBuf, 1),
    R(removexattr, EFAULT, kPath, kBad),
    R(mount, EFAULT, kBad, kDirPath, kBad, 0, 0),
    R(mount, ENOENT, 0, kNoPath, kPath, 0, 0),
    R(umount2, EINVAL, kDirPath, 0x1000),
    R(umount2, EFAULT, kBad, 0),
    R(umount2, EINVAL, kDirPath, 0),
    R(name_to_handle_at, EFAULT, kCwd, kPath, kBad, kBuf, 0),
    R(name_to_handle_at, EINVAL, kCwd, kPath, kBuf, kBuf, 0x40000000),
    // Memory.
    R(mmap, EINVAL, 0, 0, 1, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
    R(mmap, EINVAL, 0, 4096, 1, MAP_ANONYMOUS, -1, 0),
    R(mmap, EBADF, 0, 4096, 1, MAP_PRIVATE, kClosed, 0),
    R(mmap, EINVAL, 0, 4096, 1, MAP_PRIVATE, kFile, 123),
    R(mmap, ENODEV, 0, 4096, 1, MAP_PRIVATE, kDir, 0),
    R(munmap, EINVAL, 1, 4096),
    R(munmap, EINVAL, 0, 0),
    R(mprotect, EINVAL, 1, 4096, 0),
    R(mprotect, ENOMEM, 0, 4096, 0),
    R(mprotect, EINVAL, kBuf, 4096, 0x40),
    R(mremap, EINVAL, 1, 4096, 4096, 0, 0),
    R(mremap, EFAULT, 4096, 4096, 8192, 1, 0),
    R(mremap, EINVAL, 4096, 4096, 0, 0, 0),
    R(madvise, EINVAL, 1, 4096, 0),
    R(madvise, ENOMEM, 4096, 4096, 0),
    R(madvise, EINVAL, 4096, 4096, 12345),
    R(msync, EINVAL, 1, 4096, 1),
    R(msync, EINVAL, 4096, 4096, 5),
    R(msync, ENOMEM, 4096, 4096, 1),
    R(mincore, EINVAL, 1, 4096, kBuf),
    R(mincore, ENOMEM, 4096, 4096, kBuf),
    R(mlock, ENOMEM, 4096, 4096),
    R(mlock2, EINVAL, 4096, 4096, 9),
    R(munlock, ENOMEM, 4096, 4096),
    R(mlockall, EINVAL, 0),
    R(memfd_create, EFAULT, kBad, 0),
    R(memfd_create, EINVAL, kEmpty, 0x4000),
    R(remap_file_pages, EINVAL, 1, 4096, 1, 0, 0),
    // Processes and signals.
    R(execve, EFAULT, kBad, 0, 0),
    R(execve, ENOENT, kNoPath, 0, 0),
    R(execve, EACCES, kPath, 0, 0),
    R(execve, EACCES, kDirPath, 0, 0),
    R(execveat, EBADF, kClosed, kEmpty, 0, 0, 0x1000),
    R(clone, EINVAL, CLONE_THREAD, 0, 0, 0, 0),
    R(clone, EINVAL, CLONE_SIGHAND, 0, 0, 0, 0),
    R(clone3, EINVAL, kBuf, 8),
    R(clone3, E2BIG, kOnes, 4096),
    R(clone3, EFAULT, kBad, 88),
    R(unshare, EINVAL, 1),
    R(setns, EBADF, kClosed, 0),
    R(setns, EINVAL, kFile, 0),
    R(wait4, ECHILD, -1, kBuf, 0, 0),
    R(wait4, EINVAL, -1, kBuf, 0x10000, 0),
    R(wait4, ESRCH, -0x80000000L, kBuf, 0, 0),
    R(waitid, EINVAL, 9, 0, kBuf, 4, 0),
    R(waitid, EINVAL, 0, 0, kBuf, 0, 0),
    R(waitid, ECHILD, 0, 0, kBuf, 4, 0),
    R(kill, ESRCH, kNoPid, 0),
    R(kill, EINVAL, kPid, 65),
    R(tkill, EINVAL, -1, 0),
    R(tkill, ESRCH, kNoPid, 0),
    R(tgkill, EINVAL, 0, kPid, 0),
    R(tgkill, ESRCH, kNoPid, kNoPid, 0),
    R(rt_sigaction, EINVAL, 0, 0, 0, 8),
    R(rt_sigaction, EINVAL, 65, 0, 0, 8),
    R(rt_sigaction, EINVAL, SIGKILL, kBuf, 0, 8),
    R(rt_sigaction, EFAULT, SIGUSR1, kBad, 0, 8),
    R(rt_sigaction, EINVAL, SIGUSR1, 0, 0, 7),
    R(rt_sigprocmask, EINVAL, 99, kBuf, 0, 8),
    R(rt_sigprocmask, EFAULT, 0, kBad, 0, 8),
    R(rt_sigprocmask, EFAULT, 0, 0, kBad, 8),
    R(rt_sigprocmask, EINVAL, 0, 0, 0, 9),
    R(rt_sigpending, EFAULT, kBad, 8),
    R(rt_sigpending, EINVAL, kBuf, 9),
    R(rt_sigtimedwait, EINVAL, kBuf, 0, 0, 9),
    R(rt_sigtimedwait, EFAULT, kBad, 0, 0, 8),
    R(rt_sigtimedwait, EINVAL, kBuf, 0, kOnes, 8),
    R(rt_sigtimedwait, EAGAIN, kBuf, 0, kBuf, 8),
    R(rt_sigsuspend, EINVAL, kBuf, 9),
    R(rt_sigsuspend, EFAULT, kBad, 8),
    R(rt_sigqueueinfo, EFAULT, kPid, SIGUSR1, kBad),
    R(sigaltstack, EFAULT, kBad, 0),
    R(sigaltstack, EFAULT, 0, kBad),
    R(signalfd4, EINVAL, -1, kBuf, 9, 0),
    R(signalfd4, EFAULT, -1, kBad, 8, 0),
    R(signalfd4, EBADF, kClosed, kBuf, 8, 0),
    R(signalfd4, EINVAL, kFile, kBuf, 8, 0),
    R(pidfd_open, EINVAL, kPid, 1),
    R(pidfd_open, ESRCH, kNoPid, 0),
    R(pidfd_open, EINVAL, -1, 0),
    R(pidfd_send_signal, EBADF, kClosed, 0, 0, 0),
    R(pidfd_send_signal, EBADF, kFile, 0, 0, 0),
    R(setpgid, EINVAL, 0, -1),
    R(setpgid, ESRCH, kNoPid, 0),
    R(getpgid, ESRCH, kNoPid),
    R(getsid, ESRCH, kNoPid),
    R(getpriority, EINVAL, 9, 0),
    R(setpriority, EINVAL, 9, 0, 0),
    R(getrlimit, EINVAL, 99, kBuf),
    R(getrlimit, EFAULT, 0, kBad),
    R(setrlimit, EINVAL, 99, kBuf),
    R(setrlimit, EFAULT, 0, kBad),
    R(prlimit64, EINVAL, 0, 99, 0, kBuf),
    R(prlimit64, ESRCH, kNoPid, 0, 0, kBuf),
    R(getrusage, EINVAL, 99, kBuf),
    R(getrusage, EFAULT, 0, kBad),
    R(times, EFAULT, kBad),
    R(sysinfo, EFAULT, kBad),
    R(uname, EFAULT, kBad),
    R(getgroups, EINVAL, -1, kBuf),
    R(setgroups, EINVAL, 65537, kBuf),
    R(setgroups, EFAULT, 5, kBad),
    R(getresuid, EFAULT, kBad, kBuf, kBuf),
    R(getresgid, EFAULT, kBuf, kBuf, kBad),
    R(capget, EFAULT, kBad, 0),
    R(capset, EFAULT, kBad, 0),
    R(prctl, EINVAL, 99999, 0, 0, 0, 0),
    R(prctl, EINVAL, 1, 65, 0, 0, 0),
    R(prctl, EFAULT, 15, kBad, 0, 0, 0),
    R(arch_prctl, EINVAL, 0x12345, 0),
    R(arch_prctl, EFAULT, 0x1003, kBad),
    R(sched_getaffinity, EINVAL, 0, 1, kBuf),
    R(sched_getaffinity, ESRCH, kNoPid, 128, kBuf),
    R(sched_setaffinity, EFAULT, 0, 128, kBad),
    R(sched_setaffinity, EINVAL, 0, 128, kBuf),
    R(sched_getparam, EINVAL, 0, 0),
    R(sched_getparam, ESRCH, kNoPid, kBuf),
    R(sched_setscheduler, EINVAL, 0, 99, kBuf),
    R(sched_getscheduler, ESRCH, kNoPid),
    R(sched_get_priority_max, EINVAL, 99),
    R(sched_get_priority_min, EINVAL, 99),
    R(sched_rr_get_interval, ESRCH, kNoPid, kBuf),
    R(sched_getattr, EINVAL, 0, kBuf, 1, 0),
    R(sched_setattr, EINVAL, 0, 0, 0),
    R(futex, ENOSYS, kBuf, 99, 0, 0, 0, 0),
    R(futex, EFAULT, 0, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0),
    R(futex, EAGAIN, kBuf, FUTEX_WAIT_PRIVATE, 7, 0, 0, 0),
    R(futex, EINVAL, kBuf, FUTEX_WAIT_PRIVATE, 0, kOnes, 0, 0),
    R(set_robust_list, EINVAL, kBuf, 1),
    R(get_robust_list, ESRCH, kNoPid, kBuf, kBuf),
    R(kcmp, ESRCH, kNoPid, kPid, 0, 0, 0),
    R(process_vm_readv, EINVAL, kPid, kBuf, 1, kBuf, 1, 1),
    R(process_vm_readv, EINVAL, kPid, kBuf, 1025, kBuf, 1, 0),
    R(process_vm_writev, EINVAL, kPid, kBuf, 1, kBuf, 1, 1),
    R(membarrier, EINVAL, 1 << 29, 0, 0),
    R(getrandom, EFAULT, kBad, 8, 0),
    R(getrandom, EINVAL, kBuf, 8, 64),
    R(getcpu, EFAULT, kBad, 0, 0),
    // Time.
    R(clock_gettime, EINVAL, 99, kBuf),
    R(clock_gettime, EFAULT, 1, kBad),
    R(clock_getres, EINVAL, 99, kBuf),
    R(clock_getres, EFAULT, 1, kBad),
    R(clock_settime, EINVAL, 1, kBuf),
    R(clock_settime, EFAULT, 0, kBad),
    R(clock_nanosleep, EINVAL, 99, 0, kBuf, 0),
    R(clock_nanosleep, EFAULT, 1, 0, kBad, 0),
    R(clock_nanosleep, EINVAL, 1, 0, kOnes, 0),
    R(nanosleep, EFAULT, kBad, 0),
    R(nanosleep, EINVAL, kOnes, 0),
    R(gettimeofday, EFAULT, kBad, 0),
    R(time, EFAULT, kBad),
    R(getitimer, EINVAL, 99, kBuf),
    R(getitimer, EFAULT, 0, kBad),
    R(setitimer, EINVAL, 99, kBuf, 0),
    R(setitimer, EFAULT, 0, kBad, 0),
    R(setitimer, EINVAL, 0, kOnes, 0),
    R(timer_create, EINVAL, 99, 0, kBuf),
    R(timer_create, EFAULT, 1, kBad, kBuf),
    R(timer_settime, EINVAL, 12345, 0, kBuf, 0),
    R(timer_gettime, EINVAL, 12345, kBuf),
    R(timer_getoverrun, EINVAL, 12345),
    R(timer_delete, EINVAL, 12345),
    R(timerfd_create, EINVAL, 99, 0),
    R(timerfd_create, EINVAL, 1, 1),
    R(timerfd_settime, EBADF, kClosed, 0, kBuf, 0),
    R(timerfd_settime, EINVAL, kFile, 0, kBuf, 0),
    R(timerfd_settime, EFAULT, kFile, 0, kBad, 0),
    R(timerfd_gettime, EBADF, kClosed, kBuf),
    R(timerfd_gettime, EINVAL, kFile, kBuf),
    R(adjtimex, EFAULT, kBad),
    // Events.
    R(pipe, EFAULT, kBad),
    R(pipe2, EFAULT, kBad, 0),
    R(pipe2, EINVAL, kBuf, 1),
    R(eventfd2, EINVAL, 0, 2),
    R(epoll_create, EINVAL, 0),
    R(epoll_create, EINVAL, -1),
    R(epoll_create1, EINVAL, 1),
    R(epoll_ctl, EBADF, kClosed, EPOLL_CTL_ADD, kPipeR, kBuf),
    R(epoll_ctl, EBADF, kEpoll, EPOLL_CTL_ADD, kClosed, kBuf),
    R(epoll_ctl, EINVAL, kFile, EPOLL_CTL_ADD, kPipeR, kBuf),
    R(epoll_ctl, EPERM, kEpoll, EPOLL_CTL_ADD, kFile, kBuf),
    R(epoll_ctl, EFAULT, kEpoll, EPOLL_CTL_ADD, kPipeR, kBad),
    R(epoll_ctl, ENOENT, kEpoll, EPOLL_CTL_MOD, kPipeR, kBuf),
    R(epoll_ctl, EINVAL, kEpoll, EPOLL_CTL_ADD, kEpoll, kBuf),
    R(epoll_ctl, EINVAL, kEpoll, 77, kPipeR, kBuf),
    R(epoll_wait, EBADF, kClosed, kBuf, 1, 0),
    R(epoll_wait, EINVAL, kFile, kBuf, 1, 0),
    R(epoll_wait, EINVAL, kEpoll, kBuf, 0, 0),
    R(epoll_wait, EINVAL, kEpoll, kBuf, 0x7fffffff, 0),
    R(epoll_pwait, EINVAL, kEpoll, kBuf, 1, 0, kBuf, 9),
    R(poll, EFAULT, kBad, 1, 0),
    R(poll, EINVAL, kBuf, 0x7fffffff, 0),
    R(ppoll, EINVAL, kBuf, 1, kOnes, 0, 8),
    R(ppoll, EINVAL, kBuf, 1, kBuf, kBuf, 9),
    R(select, EINVAL, -1, 0, 0, 0, kBuf),
    R(select, EFAULT, 1, kBad, 0, 0, kBuf),
    R(select, EFAULT, 0, 0, 0, 0, kBad),
    R(select, EINVAL, 0, 0, 0, 0, kOnes),
    R(pselect6, EINVAL, -1, 0, 0, 0, kBuf, 0),
    R(pselect6, EFAULT, 0, 0, 0, 0, kBuf, kBad),
    R(inotify_init1, EINVAL, 1),
    R(inotify_add_watch, EBADF, kClosed, kPath, 1),
    R(inotify_add_watch, EINVAL, kFile, kPath, 1),
    R(inotify_rm_watch, EBADF, kClosed, 1),
    R(inotify_rm_watch, EINVAL, kFile, 1),
    R(splice, EBADF, kClosed, 0, kFile, 0, 1, 0),
    R(splice, EINVAL, kFile, 0, kFile, 0, 1, 0),
    R(splice, EINVAL, kPipeR, 0, kFile, 0, 1, 64),
    R(tee, EBADF, kClosed, kFile, 1, 0),
    R(tee, EINVAL, kFile, kFile, 1, 0),
    R(vmsplice, EBADF, kClosed, kBuf, 1, 0),
    R(sendfile, EBADF, kClosed, kFile, 0, 1),
    R(sendfile, EBADF, kFile, kClosed, 0, 1),
    R(sendfile, EFAULT, kFile, kFile, kBad, 1),
    R(copy_file_range, EBADF, kClosed, 0, kFile, 0, 1, 0),
    R(copy_file_range, EINVAL, kFile, 0, kFile, 0, 1, 1),
    // Sockets.
    R(socket, EAFNOSUPPORT, 99, 1, 0),
    R(socket, EINVAL, AF_UNIX, 99, 0),
    R(socket, EINVAL, AF_UNIX, 0x1000001, 0),
    R(socketpair, EINVAL, AF_UNIX, 99, 0, kBuf),
    R(socketpair, EFAULT, AF_UNIX, SOCK_STREAM, 0, kBad),
    R(bind, EBADF, kClosed, kBuf, 16),
    R(bind, ENOTSOCK, kFile, kBuf, 16),
    R(bind, EINVAL, kSock, kBuf, 1000),
    R(bind, EFAULT, kSock, kBad, 16),
    R(connect, EBADF, kClosed, kBuf, 16),
    R(connect, ENOTSOCK, kFile, kBuf, 16),
    R(connect, EFAULT, kSock, kBad, 16),
    R(connect, EINVAL, kSock, kOnes, 16),
    R(listen, EBADF, kClosed, 1),
    R(listen, ENOTSOCK, kFile, 1),
    R(listen, EINVAL, kSock, 1),
    R(accept, EBADF, kClosed, 0, 0),
    R(accept, ENOTSOCK, kFile, 0, 0),
    R(accept, EINVAL, kSock, 0, 0),
    R(accept4, EINVAL, kSock, 0, 0, 1),
    R(getsockname, EBADF, kClosed, kBuf, kBuf),
    R(getsockname, ENOTSOCK, kFile, kBuf, kBuf),
    R(getsockname, EFAULT, kSock, kBuf, kBad),
    R(getsockname, EINVAL, kSock, kBuf, kOnes),
    R(getpeername, ENOTCONN, kSock, kBuf, kBuf),
    R(getsockopt, EBADF, kClosed, 1, 3, kBuf, kBuf),
    R(getsockopt, ENOTSOCK, kFile, 1, 3, kBuf, kBuf),
    R(getsockopt, EFAULT, kSock, 1, 3, kBuf, kBad),
    R(getsockopt, EINVAL, kSock, 1, 3, kBuf, kOnes),
    R(getsockopt, EOPNOTSUPP, kSock, 777, 1, kBuf, kBuf),
    R(setsockopt, EBADF, kClosed, 1, 3, kBuf, 4),
    R(setsockopt, ENOTSOCK, kFile, 1, 3, kBuf, 4),
    R(setsockopt, EINVAL, kSock, 1, 2, kBuf, 1),
    R(setsockopt, EFAULT, kSock, 1, 2, kBad, 4),
    R(setsockopt, EINVAL, kSock, 1, 2, kBuf, -1),
    R(sendto, EBADF, kClosed, kBuf, 1, 0, 0, 0),
    R(sendto, ENOTSOCK, kFile, kBuf, 1, 0, 0, 0),
    R(sendto, ENOTCONN, kSock, kBuf, 1, 0, 0, 0),
    R(recvfrom, EBADF, kClosed, kBuf, 1, 0, 0, 0),
    R(recvfrom, ENOTSOCK, kFile, kBuf, 1, 0, 0, 0),
    R(recvfrom, EINVAL, kSock, kBuf, 1, 0, 0, 0),
    R(sendmsg, EBADF, kClosed, kBuf, 0),
    R(sendmsg, ENOTSOCK, kFile, kBuf, 0),
    R(sendmsg, EFAULT, kSock, kBad, 0),
    R(recvmsg, EBADF, kClosed, kBuf, 0),
    R(recvmsg, ENOTSOCK, kFile, kBuf, 0),
    R(recvmsg, EFAULT, kSock, kBad, 0),
    R(shutdown, EBADF, kClosed, 0),
    R(shutdown, ENOTSOCK, kFile, 0),
    R(shutdown, EINVAL, kSock, 9),
    // System V objects.
    R(shmget, EINVAL, 0, 0, 0600),
    R(shmat, EINVAL, kNoPid, 0, 0),
    R(shmdt, EINVAL, 4096),
    R(shmctl, EINVAL, kNoPid, 2, kBuf),
    R(shmctl, EINVAL, 0, 999, kBuf),
    R(semget, EINVAL, 0, -1, 0600),
    R(semop, EINVAL, kNoPid, kBuf, 1),
    R(semop, EINVAL, kNoPid, kBuf, 0),
    R(semctl, EINVAL, kNoPid, 0, 12, 0),
    R(msgctl, EINVAL, kNoPid, 2, kBuf),
    R(msgsnd, EFAULT, 0, kBad, 1, 0),
    R(msgrcv, EINVAL, kNoPid, kBuf, 1, 0, 0),
    R(msgrcv, EINVAL, kNoPid, kBuf, -1, 0, 0),
    R(mq_open, EFAULT, kBad, 0, 0, 0),
    R(mq_unlink, EFAULT, kBad),
    R(mq_timedsend, EBADF, kClosed, kBuf, 1, 0, 0),
    R(mq_timedreceive, EBADF, kClosed, kBuf, 1, 0, 0),
    R(mq_getsetattr, EBADF, kClosed, 0, kBuf),
    R(mq_notify, EBADF, kClosed, 0),
};

class BadArgs : public ::testing::TestWithParam<Row> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFile(dir_ / "file", "content"));
    ASSERT_OK(mkdir((dir_ / "d").c_str(), 0755));
    file_.reset(open((dir_ / "file").c_str(), O_RDWR));
    dirfd_.reset(open((dir_ / "d").c_str(), O_RDONLY | O_DIRECTORY));
    null_.reset(open("/dev/null", O_RDWR));
    int p[2];
    ASSERT_OK(pipe2(p, O_NONBLOCK));
    r_.reset(p[0]);
    w_.reset(p[1]);
    sock_.reset(socket(AF_UNIX, SOCK_STREAM, 0));
    epoll_.reset(epoll_create1(0));
    zeros_.assign(4096, 0);
    ones_.assign(4096, '\xff');
  }
  static long Ptr(const void* p) { return static_cast<long>(reinterpret_cast<intptr_t>(p)); }
  long Real(long a) {
    switch (a) {
      case kFile:
        return file_;
      case kPipeR:
        return r_;
      case kDir:
        return dirfd_;
      case kSock:
        return sock_;
      case kEpoll:
        return epoll_;
      case kNull:
        return null_;
      case kBuf:
        return Ptr(zeros_.data());
      case kOnes:
        return Ptr(ones_.data());
      case kPath:
        return Ptr(path_.c_str());
      case kNoPath:
        return Ptr(nopath_.c_str());
      case kDirPath:
        return Ptr(dirpath_.c_str());
      case kEmpty:
        return Ptr("");
      case kClosed:
        return 777;
      case kPid:
        return getpid();
      default:
        return a;
    }
  }
  TempDir dir_;
  Fd file_, dirfd_, null_, r_, w_, sock_, epoll_;
  std::string path_ = dir_ / "file", nopath_ = dir_ / "none", dirpath_ = dir_ / "d";
  alignas(16) std::vector<char> zeros_, ones_;
};

TEST_P(BadArgs, Call) {
  const Row& row = GetParam();
  systest::RecordCalls({row.name});
  long a[6];
  for (int i = 0; i < 6; i++) a[i] = Real(row.a[i]);
  EXPECT_ERR(syscall(row.nr, a[0], a[1], a[2], a[3], a[4], a[5]), row.want);
}

std::string RowName(const ::testing::TestParamInfo<Row>& info) {
  size_t n = 0;  // the how-manieth row of that call
  for (size_t i = 0; i < info.index; i++) n += std::string(kRows[i].name) == info.param.name;
  return std::string(info.param.name) + "_" + std::to_string(n);
}

void PrintTo(const Row& row, std::ostream* os) { *os << row.name; }

INSTANTIATE_TEST_SUITE_P(Bad, BadArgs, ::testing::ValuesIn(kRows), RowName);

}  // namespace
