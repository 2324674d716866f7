// The handlers of system calls: one prototype per row of syscalls/table/linux.def that is not
// refused.
//
// The types say all that dispatch, strace and the fuzzer need: integers of the width that the
// kernel's SYSCALL_DEFINE has (wider register bits are dropped), UserIn/UserOut/UserInOut for one
// struct, UserCString for a path or name, UserAddr for the rest (arrays, variable sizes). Parameter
// names matter too: strace prints `dirfd` as AT_FDCWD, `mode` in octal, and so on (strace.cc).
//
// A handler is defined in the .cc of its family in this folder. A row whose handler does not exist
// answers ENOSYS and counts as a gap.
#pragma once

#include <cstdint>

#include "sentry/kernel/syscall.h"
#include "sentry/mm/user.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/mqueue.h"
#include "syscalls/abi/resource.h"
#include "syscalls/abi/sched.h"
#include "syscalls/abi/signal.h"
#include "syscalls/abi/stat.h"
#include "syscalls/abi/sysinfo.h"
#include "syscalls/abi/time.h"
#include "syscalls/abi/utsname.h"

// dispatch.cc makes its references weak.
#ifndef MOAT_HANDLER_ATTRIBUTE
#define MOAT_HANDLER_ATTRIBUTE
#endif

#define MOAT_HANDLER(name, ...)                                                           \
  MOAT_HANDLER_ATTRIBUTE SyscallResult sys_##name(Task& task __VA_OPT__(, ) __VA_ARGS__); \
  inline constexpr char kParams_##name[] = #__VA_ARGS__

namespace syscalls {

using sentry::SyscallResult;
using sentry::Task;
using sentry::UserAddr;
using sentry::UserCString;
using sentry::UserIn;
using sentry::UserInOut;
using sentry::UserOut;

// files
MOAT_HANDLER(read, int32_t fd, UserAddr buf, uint64_t count);
MOAT_HANDLER(write, int32_t fd, UserAddr buf, uint64_t count);
MOAT_HANDLER(open, UserCString path, int32_t flags, uint32_t mode);
MOAT_HANDLER(close, int32_t fd);
MOAT_HANDLER(stat, UserCString path, UserOut<abi::Stat> st);
MOAT_HANDLER(fstat, int32_t fd, UserOut<abi::Stat> st);
MOAT_HANDLER(lstat, UserCString path, UserOut<abi::Stat> st);
MOAT_HANDLER(lseek, int32_t fd, int64_t offset, int32_t whence);
MOAT_HANDLER(ioctl, int32_t fd, uint32_t cmd, uint64_t arg);
MOAT_HANDLER(pread64, int32_t fd, UserAddr buf, uint64_t count, int64_t offset);
MOAT_HANDLER(pwrite64, int32_t fd, UserAddr buf, uint64_t count, int64_t offset);
MOAT_HANDLER(readv, int32_t fd, UserAddr iov, uint64_t iovcnt);
MOAT_HANDLER(writev, int32_t fd, UserAddr iov, uint64_t iovcnt);
MOAT_HANDLER(access, UserCString path, int32_t mode);
MOAT_HANDLER(pipe, UserAddr fds);
MOAT_HANDLER(dup, int32_t fd);
MOAT_HANDLER(dup2, int32_t oldfd, int32_t newfd);
MOAT_HANDLER(sendfile, int32_t out_fd, int32_t in_fd, UserInOut<int64_t> offset, uint64_t count);
MOAT_HANDLER(fcntl, int32_t fd, int32_t cmd, uint64_t arg);
MOAT_HANDLER(flock, int32_t fd, int32_t operation);
MOAT_HANDLER(fsync, int32_t fd);
MOAT_HANDLER(fdatasync, int32_t fd);
MOAT_HANDLER(truncate, UserCString path, int64_t length);
MOAT_HANDLER(ftruncate, int32_t fd, int64_t length);
MOAT_HANDLER(getdents, int32_t fd, UserAddr dirp, uint32_t count);
MOAT_HANDLER(getcwd, UserAddr buf, uint64_t size);
MOAT_HANDLER(chdir, UserCString path);
MOAT_HANDLER(fchdir, int32_t fd);
MOAT_HANDLER(rename, UserCString oldpath, UserCString newpath);
MOAT_HANDLER(mkdir, UserCString path, uint32_t mode);
MOAT_HANDLER(rmdir, UserCString path);
MOAT_HANDLER(creat, UserCString path, uint32_t mode);
MOAT_HANDLER(link, UserCString oldpath, UserCString newpath);
MOAT_HANDLER(unlink, UserCString path);
MOAT_HANDLER(symlink, UserCString target, UserCString linkpath);
MOAT_HANDLER(readlink, UserCString path, UserAddr buf, int32_t bufsiz);
MOAT_HANDLER(chmod, UserCString path, uint32_t mode);
MOAT_HANDLER(fchmod, int32_t fd, uint32_t mode);
MOAT_HANDLER(chown, UserCString path, uint32_t uid, uint32_t gid);
MOAT_HANDLER(fchown, int32_t fd, uint32_t uid, uint32_t gid);
MOAT_HANDLER(lchown, UserCString path, uint32_t uid, uint32_t gid);
MOAT_HANDLER(umask, int32_t mask);
MOAT_HANDLER(utime, UserCString path, UserIn<abi::Utimbuf> times);
MOAT_HANDLER(mknod, UserCString path, uint32_t mode, uint32_t dev);
MOAT_HANDLER(statfs, UserCString path, UserOut<abi::Statfs> buf);
MOAT_HANDLER(fstatfs, int32_t fd, UserOut<abi::Statfs> buf);
MOAT_HANDLER(chroot, UserCString path);
MOAT_HANDLER(sync);
MOAT_HANDLER(readahead, int32_t fd, int64_t offset, uint64_t count);
MOAT_HANDLER(getdents64, int32_t fd, UserAddr dirp, uint32_t count);
MOAT_HANDLER(fadvise64, int32_t fd, int64_t offset, int64_t len, int32_t advice);
MOAT_HANDLER(utimes, UserCString path, UserAddr times);
MOAT_HANDLER(openat, int32_t dirfd, UserCString path, int32_t flags, uint32_t mode);
MOAT_HANDLER(mkdirat, int32_t dirfd, UserCString path, uint32_t mode);
MOAT_HANDLER(mknodat, int32_t dirfd, UserCString path, uint32_t mode, uint32_t dev);
MOAT_HANDLER(fchownat, int32_t dirfd, UserCString path, uint32_t uid, uint32_t gid, int32_t flags);
MOAT_HANDLER(futimesat, int32_t dirfd, UserCString path, UserAddr times);
MOAT_HANDLER(newfstatat, int32_t dirfd, UserCString path, UserOut<abi::Stat> st, int32_t flags);
MOAT_HANDLER(unlinkat, int32_t dirfd, UserCString path, int32_t flags);
MOAT_HANDLER(renameat, int32_t olddirfd, UserCString oldpath, int32_t newdirfd,
             UserCString newpath);
MOAT_HANDLER(linkat, int32_t olddirfd, UserCString oldpath, int32_t newdirfd, UserCString newpath,
             int32_t flags);
MOAT_HANDLER(symlinkat, UserCString target, int32_t newdirfd, UserCString linkpath);
MOAT_HANDLER(readlinkat, int32_t dirfd, UserCString path, UserAddr buf, int32_t bufsiz);
MOAT_HANDLER(fchmodat, int32_t dirfd, UserCString path, uint32_t mode);
MOAT_HANDLER(faccessat, int32_t dirfd, UserCString path, int32_t mode);
MOAT_HANDLER(splice, int32_t fd_in, UserInOut<int64_t> off_in, int32_t fd_out,
             UserInOut<int64_t> off_out, uint64_t len, uint32_t flags);
MOAT_HANDLER(tee, int32_t fd_in, int32_t fd_out, uint64_t len, uint32_t flags);
MOAT_HANDLER(sync_file_range, int32_t fd, int64_t offset, int64_t nbytes, uint32_t flags);
MOAT_HANDLER(vmsplice, int32_t fd, UserAddr iov, uint64_t iovcnt, uint32_t flags);
MOAT_HANDLER(utimensat, int32_t dirfd, UserCString path, UserAddr times, int32_t flags);
MOAT_HANDLER(fallocate, int32_t fd, int32_t mode, int64_t offset, int64_t len);
MOAT_HANDLER(dup3, int32_t oldfd, int32_t newfd, int32_t flags);
MOAT_HANDLER(pipe2, UserAddr fds, int32_t flags);
MOAT_HANDLER(preadv, int32_t fd, UserAddr iov, uint64_t iovcnt, uint64_t pos_l, uint64_t pos_h);
MOAT_HANDLER(pwritev, int32_t fd, UserAddr iov, uint64_t iovcnt, uint64_t pos_l, uint64_t pos_h);
MOAT_HANDLER(syncfs, int32_t fd);
MOAT_HANDLER(renameat2, int32_t olddirfd, UserCString oldpath, int32_t newdirfd,
             UserCString newpath, uint32_t flags);
MOAT_HANDLER(copy_file_range, int32_t fd_in, UserInOut<int64_t> off_in, int32_t fd_out,
             UserInOut<int64_t> off_out, uint64_t len, uint32_t flags);
MOAT_HANDLER(preadv2, int32_t fd, UserAddr iov, uint64_t iovcnt, uint64_t pos_l, uint64_t pos_h,
             int32_t flags);
MOAT_HANDLER(pwritev2, int32_t fd, UserAddr iov, uint64_t iovcnt, uint64_t pos_l, uint64_t pos_h,
             int32_t flags);
MOAT_HANDLER(statx, int32_t dirfd, UserCString path, int32_t flags, uint32_t mask,
             UserOut<abi::Statx> buf);
MOAT_HANDLER(close_range, uint32_t first, uint32_t last, uint32_t flags);
MOAT_HANDLER(name_to_handle_at, int32_t dirfd, UserCString path, UserAddr handle,
             UserOut<int32_t> mount_id, int32_t flags);
MOAT_HANDLER(open_by_handle_at, int32_t mount_fd, UserAddr handle, int32_t flags);
MOAT_HANDLER(openat2, int32_t dirfd, UserCString path, UserAddr how, uint64_t size);
MOAT_HANDLER(faccessat2, int32_t dirfd, UserCString path, int32_t mode, int32_t flags);
MOAT_HANDLER(fchmodat2, int32_t dirfd, UserCString path, uint32_t mode, int32_t flags);

// poll
MOAT_HANDLER(poll, UserAddr fds, uint32_t nfds, int32_t timeout_ms);
MOAT_HANDLER(select, int32_t nfds, UserAddr readfds, UserAddr writefds, UserAddr exceptfds,
             UserInOut<abi::Timeval> timeout);
MOAT_HANDLER(epoll_create, int32_t size);
MOAT_HANDLER(epoll_wait, int32_t epfd, UserAddr events, int32_t maxevents, int32_t timeout_ms);
MOAT_HANDLER(epoll_ctl, int32_t epfd, int32_t op, int32_t fd, UserIn<abi::EpollEvent> event);
MOAT_HANDLER(inotify_init);
MOAT_HANDLER(inotify_add_watch, int32_t fd, UserCString path, uint32_t mask);
MOAT_HANDLER(inotify_rm_watch, int32_t fd, int32_t wd);
MOAT_HANDLER(pselect6, int32_t nfds, UserAddr readfds, UserAddr writefds, UserAddr exceptfds,
             UserInOut<abi::Timespec> timeout, UserAddr sigmask_arg);
MOAT_HANDLER(ppoll, UserAddr fds, uint32_t nfds, UserInOut<abi::Timespec> timeout,
             UserIn<abi::SigSet> sigmask, uint64_t sigsetsize);
MOAT_HANDLER(epoll_pwait, int32_t epfd, UserAddr events, int32_t maxevents, int32_t timeout_ms,
             UserIn<abi::SigSet> sigmask, uint64_t sigsetsize);
MOAT_HANDLER(eventfd, uint32_t count);
MOAT_HANDLER(eventfd2, uint32_t count, int32_t flags);
MOAT_HANDLER(epoll_create1, int32_t flags);
MOAT_HANDLER(inotify_init1, int32_t flags);
MOAT_HANDLER(epoll_pwait2, int32_t epfd, UserAddr events, int32_t maxevents,
             UserIn<abi::Timespec> timeout, UserIn<abi::SigSet> sigmask, uint64_t sigsetsize);

// memory
MOAT_HANDLER(mmap, UserAddr addr, uint64_t length, uint64_t prot, uint64_t flags, int32_t fd,
             uint64_t offset);
MOAT_HANDLER(mprotect, UserAddr addr, uint64_t length, uint64_t prot);
MOAT_HANDLER(munmap, UserAddr addr, uint64_t length);
MOAT_HANDLER(brk, UserAddr addr);
MOAT_HANDLER(remap_file_pages, uint64_t start, uint64_t size, uint64_t prot, uint64_t pgoff,
             uint64_t flags);
MOAT_HANDLER(mremap, UserAddr old_addr, uint64_t old_len, uint64_t new_len, uint64_t flags,
             UserAddr new_addr);
MOAT_HANDLER(msync, UserAddr addr, uint64_t length, int32_t flags);
MOAT_HANDLER(mincore, UserAddr addr, uint64_t length, UserAddr vec);
MOAT_HANDLER(madvise, UserAddr addr, uint64_t length, int32_t advice);
MOAT_HANDLER(mlock, UserAddr addr, uint64_t length);
MOAT_HANDLER(munlock, UserAddr addr, uint64_t length);
MOAT_HANDLER(mlockall, int32_t flags);
MOAT_HANDLER(munlockall);
MOAT_HANDLER(mbind, UserAddr addr, uint64_t len, uint64_t mode, UserAddr nmask, uint64_t maxnode,
             uint32_t flags);
MOAT_HANDLER(set_mempolicy, int32_t mode, UserAddr nmask, uint64_t maxnode);
MOAT_HANDLER(get_mempolicy, UserAddr policy, UserAddr nmask, uint64_t maxnode, UserAddr addr,
             uint64_t flags);
MOAT_HANDLER(process_vm_readv, int32_t pid, UserAddr lvec, uint64_t liovcnt, UserAddr rvec,
             uint64_t riovcnt, uint64_t flags);
MOAT_HANDLER(process_vm_writev, int32_t pid, UserAddr lvec, uint64_t liovcnt, UserAddr rvec,
             uint64_t riovcnt, uint64_t flags);
MOAT_HANDLER(memfd_create, UserCString name, uint32_t flags);
MOAT_HANDLER(membarrier, int32_t cmd, uint32_t flags, int32_t cpu_id);
MOAT_HANDLER(mlock2, UserAddr addr, uint64_t length, int32_t flags);
MOAT_HANDLER(pkey_mprotect, UserAddr addr, uint64_t length, uint64_t prot, int32_t pkey);
MOAT_HANDLER(pkey_alloc, uint64_t flags, uint64_t rights);

// signals
MOAT_HANDLER(rt_sigaction, int32_t sig, UserIn<abi::SigAction> act, UserOut<abi::SigAction> oldact,
             uint64_t sigsetsize);
MOAT_HANDLER(rt_sigprocmask, int32_t how, UserIn<abi::SigSet> set, UserOut<abi::SigSet> oldset,
             uint64_t sigsetsize);
MOAT_HANDLER(rt_sigreturn);
MOAT_HANDLER(pause);
MOAT_HANDLER(kill, int32_t pid, int32_t sig);
MOAT_HANDLER(rt_sigpending, UserAddr set, uint64_t sigsetsize);
MOAT_HANDLER(rt_sigtimedwait, UserIn<abi::SigSet> set, UserOut<abi::SigInfo> info,
             UserIn<abi::Timespec> timeout, uint64_t sigsetsize);
MOAT_HANDLER(rt_sigqueueinfo, int32_t pid, int32_t sig, UserIn<abi::SigInfo> info);
MOAT_HANDLER(rt_sigsuspend, UserIn<abi::SigSet> set, uint64_t sigsetsize);
MOAT_HANDLER(sigaltstack, UserIn<abi::StackT> ss, UserOut<abi::StackT> oss);
MOAT_HANDLER(tkill, int32_t tid, int32_t sig);
MOAT_HANDLER(tgkill, int32_t tgid, int32_t tid, int32_t sig);
MOAT_HANDLER(signalfd, int32_t fd, UserIn<abi::SigSet> mask, uint64_t sizemask);
MOAT_HANDLER(signalfd4, int32_t fd, UserIn<abi::SigSet> mask, uint64_t sizemask, int32_t flags);
MOAT_HANDLER(rt_tgsigqueueinfo, int32_t tgid, int32_t tid, int32_t sig, UserIn<abi::SigInfo> info);
MOAT_HANDLER(pidfd_send_signal, int32_t pidfd, int32_t sig, UserIn<abi::SigInfo> info,
             uint32_t flags);

// sched
MOAT_HANDLER(sched_yield);
MOAT_HANDLER(getpriority, int32_t which, int32_t who);
MOAT_HANDLER(setpriority, int32_t which, int32_t who, int32_t niceval);
MOAT_HANDLER(sched_setparam, int32_t pid, UserIn<abi::SchedParam> param);
MOAT_HANDLER(sched_getparam, int32_t pid, UserOut<abi::SchedParam> param);
MOAT_HANDLER(sched_setscheduler, int32_t pid, int32_t policy, UserIn<abi::SchedParam> param);
MOAT_HANDLER(sched_getscheduler, int32_t pid);
MOAT_HANDLER(sched_get_priority_max, int32_t policy);
MOAT_HANDLER(sched_get_priority_min, int32_t policy);
MOAT_HANDLER(sched_rr_get_interval, int32_t pid, UserOut<abi::Timespec> interval);
MOAT_HANDLER(sched_setaffinity, int32_t pid, uint32_t len, UserAddr mask);
MOAT_HANDLER(sched_getaffinity, int32_t pid, uint32_t len, UserAddr mask);
MOAT_HANDLER(ioprio_set, int32_t which, int32_t who, int32_t ioprio);
MOAT_HANDLER(ioprio_get, int32_t which, int32_t who);
MOAT_HANDLER(getcpu, UserOut<uint32_t> cpu, UserOut<uint32_t> node, UserAddr unused);
MOAT_HANDLER(sched_setattr, int32_t pid, UserAddr attr, uint32_t flags);
MOAT_HANDLER(sched_getattr, int32_t pid, UserAddr attr, uint32_t size, uint32_t flags);

// sysvipc
MOAT_HANDLER(shmget, int32_t key, uint64_t size, int32_t shmflg);
MOAT_HANDLER(shmat, int32_t shmid, UserAddr addr, int32_t shmflg);
MOAT_HANDLER(shmctl, int32_t shmid, int32_t cmd, UserAddr buf);
MOAT_HANDLER(semget, int32_t key, int32_t nsems, int32_t semflg);
MOAT_HANDLER(semop, int32_t semid, UserAddr sops, uint64_t nsops);
MOAT_HANDLER(semctl, int32_t semid, int32_t semnum, int32_t cmd, uint64_t arg);
MOAT_HANDLER(shmdt, UserAddr addr);
MOAT_HANDLER(msgget, int32_t key, int32_t msgflg);
MOAT_HANDLER(msgsnd, int32_t msqid, UserAddr msgp, uint64_t msgsz, int32_t msgflg);
MOAT_HANDLER(msgrcv, int32_t msqid, UserAddr msgp, uint64_t msgsz, int64_t msgtyp, int32_t msgflg);
MOAT_HANDLER(msgctl, int32_t msqid, int32_t cmd, UserAddr buf);
MOAT_HANDLER(semtimedop, int32_t semid, UserAddr sops, uint64_t nsops,
             UserIn<abi::Timespec> timeout);

// time
MOAT_HANDLER(nanosleep, UserIn<abi::Timespec> req, UserOut<abi::Timespec> rem);
MOAT_HANDLER(getitimer, int32_t which, UserOut<abi::Itimerval> value);
MOAT_HANDLER(alarm, uint32_t seconds);
MOAT_HANDLER(setitimer, int32_t which, UserIn<abi::Itimerval> value,
             UserOut<abi::Itimerval> ovalue);
MOAT_HANDLER(gettimeofday, UserOut<abi::Timeval> tv, UserOut<abi::Timezone> tz);
MOAT_HANDLER(times, UserOut<abi::Tms> buf);
MOAT_HANDLER(adjtimex, UserInOut<abi::Timex> buf);
MOAT_HANDLER(settimeofday, UserIn<abi::Timeval> tv, UserIn<abi::Timezone> tz);
MOAT_HANDLER(time, UserOut<int64_t> tloc);
MOAT_HANDLER(timer_create, int32_t clockid, UserIn<abi::SigEvent> sevp, UserOut<int32_t> timerid);
MOAT_HANDLER(timer_settime, int32_t timerid, int32_t flags, UserIn<abi::Itimerspec> value,
             UserOut<abi::Itimerspec> ovalue);
MOAT_HANDLER(timer_gettime, int32_t timerid, UserOut<abi::Itimerspec> value);
MOAT_HANDLER(timer_getoverrun, int32_t timerid);
MOAT_HANDLER(timer_delete, int32_t timerid);
MOAT_HANDLER(clock_settime, int32_t clockid, UserIn<abi::Timespec> tp);
MOAT_HANDLER(clock_gettime, int32_t clockid, UserOut<abi::Timespec> tp);
MOAT_HANDLER(clock_getres, int32_t clockid, UserOut<abi::Timespec> res);
MOAT_HANDLER(clock_nanosleep, int32_t clockid, int32_t flags, UserIn<abi::Timespec> req,
             UserOut<abi::Timespec> rem);
MOAT_HANDLER(timerfd_create, int32_t clockid, int32_t flags);
MOAT_HANDLER(timerfd_settime, int32_t fd, int32_t flags, UserIn<abi::Itimerspec> value,
             UserOut<abi::Itimerspec> ovalue);
MOAT_HANDLER(timerfd_gettime, int32_t fd, UserOut<abi::Itimerspec> value);
MOAT_HANDLER(clock_adjtime, int32_t clockid, UserInOut<abi::Timex> buf);

// tasks
MOAT_HANDLER(getpid);
MOAT_HANDLER(clone, uint64_t flags, UserAddr stack, UserInOut<int32_t> parent_tid,
             UserInOut<int32_t> child_tid, uint64_t tls);
MOAT_HANDLER(fork);
MOAT_HANDLER(vfork);
MOAT_HANDLER(execve, UserCString path, UserAddr argv, UserAddr envp);
MOAT_HANDLER(exit, int32_t status);
MOAT_HANDLER(wait4, int32_t pid, UserOut<int32_t> wstatus, int32_t options,
             UserOut<abi::Rusage> rusage);
MOAT_HANDLER(getrlimit, uint32_t resource, UserOut<abi::Rlimit> rlim);
MOAT_HANDLER(getrusage, int32_t who, UserOut<abi::Rusage> usage);
MOAT_HANDLER(setpgid, int32_t pid, int32_t pgid);
MOAT_HANDLER(getppid);
MOAT_HANDLER(getpgrp);
MOAT_HANDLER(setsid);
MOAT_HANDLER(getpgid, int32_t pid);
MOAT_HANDLER(getsid, int32_t pid);
MOAT_HANDLER(prctl, int32_t option, uint64_t arg2, uint64_t arg3, uint64_t arg4, uint64_t arg5);
MOAT_HANDLER(arch_prctl, int32_t code, uint64_t addr);
MOAT_HANDLER(setrlimit, uint32_t resource, UserIn<abi::Rlimit> rlim);
MOAT_HANDLER(gettid);
MOAT_HANDLER(futex, UserAddr uaddr, int32_t op, uint32_t val, uint64_t timeout_or_val2,
             UserAddr uaddr2, uint32_t val3);
MOAT_HANDLER(set_tid_address, UserAddr tidptr);
MOAT_HANDLER(restart_syscall);
MOAT_HANDLER(exit_group, int32_t status);
MOAT_HANDLER(waitid, int32_t which, int32_t pid, UserOut<abi::SigInfo> info, int32_t options,
             UserOut<abi::Rusage> rusage);
MOAT_HANDLER(unshare, uint64_t flags);
MOAT_HANDLER(set_robust_list, UserAddr head, uint64_t len);
MOAT_HANDLER(get_robust_list, int32_t pid, UserOut<uint64_t> head, UserOut<uint64_t> len);
MOAT_HANDLER(prlimit64, int32_t pid, uint32_t resource, UserIn<abi::Rlimit> new_rlim,
             UserOut<abi::Rlimit> old_rlim);
MOAT_HANDLER(setns, int32_t fd, int32_t flags);
MOAT_HANDLER(kcmp, int32_t pid1, int32_t pid2, int32_t type, uint64_t idx1, uint64_t idx2);
MOAT_HANDLER(seccomp, uint32_t op, uint32_t flags, UserAddr args);
MOAT_HANDLER(execveat, int32_t dirfd, UserCString path, UserAddr argv, UserAddr envp,
             int32_t flags);
MOAT_HANDLER(pidfd_open, int32_t pid, uint32_t flags);
MOAT_HANDLER(clone3, UserAddr args, uint64_t size);
MOAT_HANDLER(pidfd_getfd, int32_t pidfd, int32_t targetfd, uint32_t flags);
MOAT_HANDLER(futex_waitv, UserAddr waiters, uint32_t nr_futexes, uint32_t flags,
             UserIn<abi::Timespec> timeout, int32_t clockid);
MOAT_HANDLER(futex_wake, UserAddr uaddr, uint64_t mask, int32_t nr, uint32_t flags);
MOAT_HANDLER(futex_wait, UserAddr uaddr, uint64_t val, uint64_t mask, uint32_t flags,
             UserIn<abi::Timespec> timeout, int32_t clockid);
MOAT_HANDLER(futex_requeue, UserAddr waiters, uint32_t flags, int32_t nr_wake, int32_t nr_requeue);

// sockets
MOAT_HANDLER(socket, int32_t domain, int32_t type, int32_t protocol);
MOAT_HANDLER(connect, int32_t fd, UserAddr addr, int32_t addrlen);
MOAT_HANDLER(accept, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen);
MOAT_HANDLER(sendto, int32_t fd, UserAddr buf, uint64_t len, uint32_t flags, UserAddr addr,
             int32_t addrlen);
MOAT_HANDLER(recvfrom, int32_t fd, UserAddr buf, uint64_t len, uint32_t flags, UserAddr addr,
             UserInOut<int32_t> addrlen);
MOAT_HANDLER(sendmsg, int32_t fd, UserAddr msg, uint32_t flags);
MOAT_HANDLER(recvmsg, int32_t fd, UserAddr msg, uint32_t flags);
MOAT_HANDLER(shutdown, int32_t fd, int32_t how);
MOAT_HANDLER(bind, int32_t fd, UserAddr addr, int32_t addrlen);
MOAT_HANDLER(listen, int32_t fd, int32_t backlog);
MOAT_HANDLER(getsockname, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen);
MOAT_HANDLER(getpeername, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen);
MOAT_HANDLER(socketpair, int32_t domain, int32_t type, int32_t protocol, UserAddr sv);
MOAT_HANDLER(setsockopt, int32_t fd, int32_t level, int32_t optname, UserAddr optval,
             int32_t optlen);
MOAT_HANDLER(getsockopt, int32_t fd, int32_t level, int32_t optname, UserAddr optval,
             UserInOut<int32_t> optlen);
MOAT_HANDLER(accept4, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen, int32_t flags);
MOAT_HANDLER(recvmmsg, int32_t fd, UserAddr mmsg, uint32_t vlen, uint32_t flags,
             UserInOut<abi::Timespec> timeout);
MOAT_HANDLER(sendmmsg, int32_t fd, UserAddr mmsg, uint32_t vlen, uint32_t flags);

// system
MOAT_HANDLER(uname, UserOut<abi::Utsname> name);
MOAT_HANDLER(sysinfo, UserOut<abi::Sysinfo> info);
MOAT_HANDLER(syslog, int32_t type, UserAddr buf, int32_t len);
MOAT_HANDLER(personality, uint32_t persona);
MOAT_HANDLER(sethostname, UserAddr name, int32_t len);
MOAT_HANDLER(setdomainname, UserAddr name, int32_t len);
MOAT_HANDLER(getrandom, UserAddr buf, uint64_t count, uint32_t flags);

// creds
MOAT_HANDLER(getuid);
MOAT_HANDLER(getgid);
MOAT_HANDLER(setuid, uint32_t uid);
MOAT_HANDLER(setgid, uint32_t gid);
MOAT_HANDLER(geteuid);
MOAT_HANDLER(getegid);
MOAT_HANDLER(setreuid, uint32_t ruid, uint32_t euid);
MOAT_HANDLER(setregid, uint32_t rgid, uint32_t egid);
MOAT_HANDLER(getgroups, int32_t size, UserAddr list);
MOAT_HANDLER(setgroups, int32_t size, UserAddr list);
MOAT_HANDLER(setresuid, uint32_t ruid, uint32_t euid, uint32_t suid);
MOAT_HANDLER(getresuid, UserOut<uint32_t> ruid, UserOut<uint32_t> euid, UserOut<uint32_t> suid);
MOAT_HANDLER(setresgid, uint32_t rgid, uint32_t egid, uint32_t sgid);
MOAT_HANDLER(getresgid, UserOut<uint32_t> rgid, UserOut<uint32_t> egid, UserOut<uint32_t> sgid);
MOAT_HANDLER(setfsuid, uint32_t uid);
MOAT_HANDLER(setfsgid, uint32_t gid);
MOAT_HANDLER(capget, UserInOut<abi::CapUserHeader> hdr, UserAddr data);
MOAT_HANDLER(capset, UserInOut<abi::CapUserHeader> hdr, UserAddr data);

// mounts
MOAT_HANDLER(pivot_root, UserCString new_root, UserCString put_old);
MOAT_HANDLER(mount, UserCString source, UserCString target, UserCString fstype, uint64_t flags,
             UserAddr data);
MOAT_HANDLER(umount2, UserCString target, int32_t flags);

// xattr
MOAT_HANDLER(setxattr, UserCString path, UserCString name, UserAddr value, uint64_t size,
             int32_t flags);
MOAT_HANDLER(lsetxattr, UserCString path, UserCString name, UserAddr value, uint64_t size,
             int32_t flags);
MOAT_HANDLER(fsetxattr, int32_t fd, UserCString name, UserAddr value, uint64_t size, int32_t flags);
MOAT_HANDLER(getxattr, UserCString path, UserCString name, UserAddr value, uint64_t size);
MOAT_HANDLER(lgetxattr, UserCString path, UserCString name, UserAddr value, uint64_t size);
MOAT_HANDLER(fgetxattr, int32_t fd, UserCString name, UserAddr value, uint64_t size);
MOAT_HANDLER(listxattr, UserCString path, UserAddr list, uint64_t size);
MOAT_HANDLER(llistxattr, UserCString path, UserAddr list, uint64_t size);
MOAT_HANDLER(flistxattr, int32_t fd, UserAddr list, uint64_t size);
MOAT_HANDLER(removexattr, UserCString path, UserCString name);
MOAT_HANDLER(lremovexattr, UserCString path, UserCString name);
MOAT_HANDLER(fremovexattr, int32_t fd, UserCString name);

// mqueue
MOAT_HANDLER(mq_open, UserCString name, int32_t flags, uint32_t mode, UserIn<abi::MqAttr> attr);
MOAT_HANDLER(mq_unlink, UserCString name);
MOAT_HANDLER(mq_timedsend, int32_t mqdes, UserAddr msg, uint64_t len, uint32_t prio,
             UserIn<abi::Timespec> timeout);
MOAT_HANDLER(mq_timedreceive, int32_t mqdes, UserAddr msg, uint64_t len, UserOut<uint32_t> prio,
             UserIn<abi::Timespec> timeout);
MOAT_HANDLER(mq_notify, int32_t mqdes, UserIn<abi::SigEvent> sevp);
MOAT_HANDLER(mq_getsetattr, int32_t mqdes, UserIn<abi::MqAttr> newattr,
             UserOut<abi::MqAttr> oldattr);

// aio
MOAT_HANDLER(io_setup, uint32_t nr_events, UserInOut<uint64_t> ctx_idp);
MOAT_HANDLER(io_destroy, uint64_t ctx_id);
MOAT_HANDLER(io_submit, uint64_t ctx_id, int64_t nr, UserAddr iocbpp);
MOAT_HANDLER(io_cancel, uint64_t ctx_id, UserAddr iocb, UserAddr result);
MOAT_HANDLER(io_getevents, uint64_t ctx_id, int64_t min_nr, int64_t nr, UserAddr events,
             UserIn<abi::Timespec> timeout);
MOAT_HANDLER(io_pgetevents, uint64_t ctx_id, int64_t min_nr, int64_t nr, UserAddr events,
             UserIn<abi::Timespec> timeout, UserAddr usig);

}  // namespace syscalls
