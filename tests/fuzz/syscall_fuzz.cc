// Makes random system calls with hostile arguments. Runs anywhere on Linux; inside a sandbox it is
// the guest's side of a fuzz test: whatever it does, the kernel below must answer each call and
// stay up.
// Usage: syscall_fuzz [--seed N] [--count N] [--seconds N] [--threads N] [--only NAME] [--verbose]
//                     [--as-root]
//
// Started by root it becomes user 65534 for the calls, since root could rename /dev/null away as
// well as anything else. --as-root leaves that out: only inside a sandbox whose files nobody needs.
//
// Each batch of calls runs in a child (so that a fatal signal or a broken process costs one batch)
// in a directory of its own under $TEST_TMPDIR or /tmp. The same seed makes the same calls.
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace {

// What an argument is; the generator mixes fitting and unfitting values.
//   f descriptor   p path   i buffer that is read   o buffer that is written   n length
//   d flags or small number   t time structure   g signal number   P process id   a address
//   m page-aligned address inside the scratch area   v iovec array   * anything
struct Call {
  const char* name;
  long nr;
  const char* args;
};

#define C(name, args) \
  { #name, SYS_##name, args }

// Left out on purpose: what ends or stops the process for good (exit, exit_group, rt_sigreturn,
// pause, reboot, ...), what changes the machine natively (mount, settimeofday, sethostname, swapon,
// kernel modules, ...), fork and its relatives (covered by the batches), and vhangup.
const Call kCalls[] = {
    C(read, "fon"),
    C(write, "fin"),
    C(open, "pdd"),
    C(close, "f"),
    C(stat, "po"),
    C(fstat, "fo"),
    C(lstat, "po"),
    C(poll, "ond"),
    C(lseek, "f*d"),
    C(mmap, "mnddf*"),
    C(mprotect, "mnd"),
    C(munmap, "mn"),
    C(brk, "a"),
    C(rt_sigprocmask, "dion"),
    C(ioctl, "f*o"),
    C(pread64, "fon*"),
    C(pwrite64, "fin*"),
    C(readv, "fvd"),
    C(writev, "fvd"),
    C(access, "pd"),
    C(pipe, "o"),
    C(select, "dooot"),
    C(sched_yield, ""),
    C(mremap, "mnndm"),
    C(msync, "mnd"),
    C(mincore, "mno"),
    C(madvise, "mnd"),
    C(shmget, "*nd"),
    C(shmat, "*md"),
    C(shmctl, "*do"),
    C(dup, "f"),
    C(dup2, "ff"),
    C(nanosleep, "to"),
    C(getitimer, "do"),
    C(getpid, ""),
    C(sendfile, "ffon"),
    C(socket, "ddd"),
    C(connect, "fin"),
    C(accept, "foo"),
    C(sendto, "findin"),
    C(recvfrom, "fondoo"),
    C(sendmsg, "fid"),
    C(recvmsg, "fod"),
    C(shutdown, "fd"),
    C(bind, "fin"),
    C(listen, "fd"),
    C(getsockname, "foo"),
    C(getpeername, "foo"),
    C(socketpair, "dddo"),
    C(setsockopt, "fddin"),
    C(getsockopt, "fddoo"),
    C(uname, "o"),
    C(semget, "*dd"),
    C(semop, "*in"),
    C(semctl, "*dd*"),
    C(shmdt, "m"),
    C(msgget, "*d"),
    C(msgsnd, "*ind"),
    C(msgrcv, "*on*d"),
    C(msgctl, "*do"),
    C(fcntl, "fd*"),
    C(flock, "fd"),
    C(fsync, "f"),
    C(fdatasync, "f"),
    C(truncate, "p*"),
    C(ftruncate, "f*"),
    C(getdents, "fon"),
    C(getcwd, "on"),
    C(chdir, "p"),
    C(fchdir, "f"),
    C(rename, "pp"),
    C(mkdir, "pd"),
    C(rmdir, "p"),
    C(creat, "pd"),
    C(link, "pp"),
    C(unlink, "p"),
    C(symlink, "pp"),
    C(readlink, "pon"),
    C(chmod, "pd"),
    C(fchmod, "fd"),
    C(chown, "p**"),
    C(fchown, "f**"),
    C(lchown, "p**"),
    C(umask, "d"),
    C(gettimeofday, "oo"),
    C(getrlimit, "do"),
    C(getrusage, "do"),
    C(sysinfo, "o"),
    C(times, "o"),
    C(getuid, ""),
    C(getgid, ""),
    C(getpgid, "P"),
    C(getsid, "P"),
    C(getgroups, "do"),
    C(getresuid, "ooo"),
    C(getresgid, "ooo"),
    C(capget, "oo"),
    C(rt_sigpending, "on"),
    C(rt_sigtimedwait, "iotn"),
    C(sigaltstack, "io"),
    C(utime, "pi"),
    C(mknod, "pd*"),
    C(statfs, "po"),
    C(fstatfs, "fo"),
    C(getpriority, "dP"),
    C(sched_getparam, "Po"),
    C(sched_getscheduler, "P"),
    C(sched_get_priority_max, "d"),
    C(sched_get_priority_min, "d"),
    C(sched_rr_get_interval, "Po"),
    C(mlock, "mn"),
    C(munlock, "mn"),
    C(prctl, "d****"),
    C(arch_prctl, "doo"),
    C(sync, ""),
    C(gettid, ""),
    C(readahead, "f*n"),
    C(setxattr, "ppind"),
    C(lsetxattr, "ppind"),
    C(fsetxattr, "fpind"),
    C(getxattr, "ppon"),
    C(lgetxattr, "ppon"),
    C(fgetxattr, "fpon"),
    C(listxattr, "pon"),
    C(llistxattr, "pon"),
    C(flistxattr, "fon"),
    C(removexattr, "pp"),
    C(lremovexattr, "pp"),
    C(fremovexattr, "fp"),
    C(time, "o"),
    C(futex, "odnti*"),
    C(sched_getaffinity, "Pno"),
    C(epoll_create, "d"),
    C(remap_file_pages, "mnd*d"),
    C(getdents64, "fon"),
    C(set_tid_address, "o"),
    C(fadvise64, "f*nd"),
    C(timer_create, "dio"),
    C(timer_settime, "ddio"),
    C(timer_gettime, "do"),
    C(timer_getoverrun, "d"),
    C(timer_delete, "d"),
    C(clock_gettime, "do"),
    C(clock_getres, "do"),
    C(clock_nanosleep, "ddto"),
    C(epoll_wait, "fodd"),
    C(epoll_ctl, "fdfi"),
    C(utimes, "pi"),
    C(mq_open, "pddi"),
    C(mq_unlink, "p"),
    C(mq_timedsend, "findt"),
    C(mq_timedreceive, "fonot"),
    C(mq_notify, "fi"),
    C(mq_getsetattr, "fio"),
    C(ioprio_get, "dP"),
    C(inotify_init, ""),
    C(inotify_add_watch, "fpd"),
    C(inotify_rm_watch, "fd"),
    C(openat, "fpdd"),
    C(mkdirat, "fpd"),
    C(mknodat, "fpd*"),
    C(fchownat, "fp**d"),
    C(futimesat, "fpi"),
    C(newfstatat, "fpod"),
    C(unlinkat, "fpd"),
    C(renameat, "fpfp"),
    C(linkat, "fpfpd"),
    C(symlinkat, "pfp"),
    C(readlinkat, "fpon"),
    C(fchmodat, "fpd"),
    C(faccessat, "fpd"),
    C(pselect6, "doootn"),
    C(ppoll, "ontin"),
    C(set_robust_list, "an"),
    C(get_robust_list, "Poo"),
    C(splice, "fofond"),
    C(tee, "ffnd"),
    C(sync_file_range, "f**d"),
    C(vmsplice, "fvdd"),
    C(utimensat, "fpid"),
    C(epoll_pwait, "foddin"),
    C(signalfd, "fin"),
    C(timerfd_create, "dd"),
    C(eventfd, "d"),
    C(fallocate, "fd*n"),
    C(timerfd_settime, "fdio"),
    C(timerfd_gettime, "fo"),
    C(accept4, "food"),
    C(signalfd4, "find"),
    C(eventfd2, "dd"),
    C(epoll_create1, "d"),
    C(dup3, "ffd"),
    C(pipe2, "od"),
    C(inotify_init1, "d"),
    C(preadv, "fvd**"),
    C(pwritev, "fvd**"),
    C(recvmmsg, "fonDt"),
    C(prlimit64, "Pd0o"),
    C(name_to_handle_at, "fpood"),
    C(syncfs, "f"),
    C(sendmmsg, "findd"),
    C(getcpu, "ooo"),
    C(process_vm_readv, "Pvdvdd"),
    C(process_vm_writev, "Pvdvdd"),
    C(kcmp, "PPd**"),
    C(sched_getattr, "Pond"),
    C(renameat2, "fpfpd"),
    C(getrandom, "ond"),
    C(memfd_create, "pd"),
    C(membarrier, "ddd"),
    C(mlock2, "mnd"),
    C(copy_file_range, "fofond"),
    C(preadv2, "fvd**d"),
    C(pwritev2, "fvd**d"),
    C(statx, "fpddo"),
    C(rseq, "ondd"),
    C(openat2, "fpin"),
    C(close_range, "DDd"),
    C(faccessat2, "fpdd"),
    C(pidfd_open, "Pd"),
    C(pidfd_getfd, "ffd"),
    C(epoll_pwait2, "fodtin"),
    C(waitid, "dPodo"),
    C(wait4, "PoDo"),
};
#undef C
constexpr size_t kCount = sizeof kCalls / sizeof kCalls[0];

// xorshift64*: small, and the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : s_(seed * 0x9e3779b97f4a7c15 + 0x1234567) {}
  uint64_t Next() {
    s_ ^= s_ >> 12;
    s_ ^= s_ << 25;
    s_ ^= s_ >> 27;
    return s_ * 0x2545f4914f6cdd1d;
  }
  uint64_t Below(uint64_t n) { return Next() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t s_;
};

constexpr size_t kArea = 16 * 4096;
constexpr int kReportFd = 199;  // a copy of standard error in a batch

struct World {
  char* area;      // scratch memory; the page after it isn't mapped
  char* readonly;  // one page
  std::vector<std::string> paths;
  pid_t child;
  bool ipc;  // System V objects and message queues may be made
};

uint64_t Edge(Random& r) {
  static const uint64_t edges[] = {0,
                                   1,
                                   2,
                                   3,
                                   4,
                                   7,
                                   8,
                                   15,
                                   16,
                                   63,
                                   64,
                                   100,
                                   255,
                                   256,
                                   1023,
                                   1024,
                                   1025,
                                   4095,
                                   4096,
                                   4097,
                                   65535,
                                   65536,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0x100000000,
                                   0x7fffffffffff,
                                   0x800000000000,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   ~0ull,
                                   ~0ull - 1,
                                   ~0ull - 4095,
                                   ~0ull - 15};
  switch (r.Below(4)) {
    case 0:
      return edges[r.Below(sizeof edges / sizeof edges[0])];
    case 1:
      return 1ull << r.Below(64);
    case 2:
      return r.Below(1024);
    default:
      return r.Next() >> r.Below(64);
  }
}

uint64_t Pointer(Random& r, World& w) {
  switch (r.Below(10)) {
    case 0:
      return 0;
    case 1:
      return 8;
    case 2:
      return 0xffffffff81000000;
    case 3:
      return reinterpret_cast<uint64_t>(w.area) + kArea - r.Below(64);  // runs off the end
    case 4:
      return reinterpret_cast<uint64_t>(w.readonly);
    case 5:
      return 0x7ffffffff000 - r.Below(32);
    default:
      return reinterpret_cast<uint64_t>(w.area) + r.Below(kArea / 2);
  }
}

void Scramble(Random& r, World& w) {
  for (int i = 0; i < 64; i++) {
    auto* p = reinterpret_cast<uint64_t*>(w.area + (r.Below(kArea / 2) & ~7ull));
    *p = r.OneIn(3) ? Pointer(r, w) : Edge(r);
  }
}

uint64_t Argument(char kind, Random& r, World& w) {
  if (r.OneIn(12)) return Edge(r);
  switch (kind) {
    case 'f':
      return r.OneIn(8) ? static_cast<uint64_t>(-100) : 3 + r.Below(40);
    case 'D':
      return 10 + r.Below(60);  // keeps 0 to 2 and the report alive
    case 'p':
      return r.OneIn(6) ? Pointer(r, w)
                        : reinterpret_cast<uint64_t>(w.paths[r.Below(w.paths.size())].c_str());
    case 'i':
    case 'o':
    case 'a':
      return Pointer(r, w);
    case 'v': {  // an array of buffers with lengths
      auto* v = reinterpret_cast<uint64_t*>(w.area + kArea / 2);
      for (int i = 0; i < 16; i += 2) {
        v[i] = Pointer(r, w);
        v[i + 1] = r.OneIn(4) ? Edge(r) : r.Below(5000);
      }
      return reinterpret_cast<uint64_t>(v);
    }
    case 'n':
      return r.OneIn(3) ? Edge(r) : r.Below(5000);
    case 'd':
      return r.OneIn(2) ? r.Below(16) : Edge(r);
    case 't': {  // never longer than a millisecond when it is valid
      auto* t = reinterpret_cast<int64_t*>(w.area + kArea / 2 + 1024);
      t[0] = 0;
      t[1] = r.OneIn(4) ? static_cast<int64_t>(Edge(r) % 2000000000) - 1000000000 : 1000;
      if (t[1] > 1000000 && t[1] < 1000000000) t[1] = 1000;
      return reinterpret_cast<uint64_t>(t);
    }
    case 'P':
      return r.OneIn(3) ? static_cast<uint64_t>(w.child) : r.OneIn(2) ? 0 : Edge(r);
    case 'm':
      return reinterpret_cast<uint64_t>(w.area) + kArea / 2 + 8192 + 4096 * r.Below(4);
    case '0':
      return 0;
    default:
      return Edge(r);
  }
}

// True when a call with these arguments could block for long, or hit what the batch lives from.
bool Unsafe(const Call& c, uint64_t* a) {
  switch (c.nr) {
    case SYS_mmap:
      a[3] &= ~0x10ull;  // never MAP_FIXED over arbitrary memory
      if (a[1] > 1 << 20) a[1] = 1 << 20;
      return false;
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_madvise:
      if (a[1] > 4 * 4096) a[1] = 4 * 4096;
      a[2] &= 0xffff;
      return a[0] < 4096;
    case SYS_shmat:
      a[2] &= ~040000ull;
      return false;  // not SHM_REMAP
    case SYS_remap_file_pages:
      return true;
    case SYS_poll:
      a[1] &= 0xffff;
      a[2] = static_cast<uint64_t>(static_cast<int>(a[2]) & 3);
      return false;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      a[3] &= 3;
      return false;
    case SYS_select:
    case SYS_pselect6:
    case SYS_ppoll:
    case SYS_epoll_pwait2:
    case SYS_rt_sigtimedwait:
    case SYS_clock_nanosleep:
      return false;  // their time structure is short or invalid
    case SYS_futex: {
      uint64_t op = a[1] & 0x7f;
      return (op == 0 || op == 9 || op == 6 || op == 11 || op == 13) && a[3] == 0;
    }
    case SYS_wait4:
      a[2] |= 1;
      return false;  // WNOHANG
    case SYS_waitid:
      a[3] |= 1;
      return false;
    case SYS_semop:
      return true;
    case SYS_msgrcv:
      a[4] |= 04000;
      return false;  // IPC_NOWAIT
    case SYS_msgsnd:
      a[3] |= 04000;
      return false;
    case SYS_flock:
      a[1] |= 4;
      return false;
    case SYS_fcntl:
      return a[1] == 7 || a[1] == 38;  // F_SETLKW, F_OFD_SETLKW
    case SYS_prctl:
      return a[0] == 22 || a[0] == 1 || a[0] == 59 || a[0] == 35;
    case SYS_arch_prctl:
      return (a[0] & 0xfff) <= 2 || a[0] >= 0x3000;  // FS: our own thread pointer
    case SYS_rseq:
      return true;
    case SYS_truncate:
    case SYS_ftruncate:
      a[1] &= 0xfffff;
      return false;
    case SYS_fallocate:
      a[2] &= 0xfffff;
      a[3] &= 0xfffff;
      return false;
    case SYS_pwrite64:
      a[3] &= 0x80000000000fffff;
      return false;
    case SYS_open:
    case SYS_openat:
      return false;
    case SYS_close_range:
      if (a[1] < 1024) a[1] = 60;
      return a[0] < 10;
    case SYS_dup2:
    case SYS_dup3:
      return a[1] < 3 || a[1] > 60;
    case SYS_close:
      return a[0] < 3;
    case SYS_brk:
      a[0] = 0;
      return false;
    case SYS_mknod:
      a[1] = (a[1] & 0777) | 0010000;
      return false;  // FIFOs only
    case SYS_mknodat:
      a[2] = (a[2] & 0777) | 0010000;
      return false;
    case SYS_prlimit64:
      return a[0] > 1;
    case SYS_sync:
    case SYS_syncfs:
      return true;  // slow natively, and no argument worth fuzzing
    default:
      return false;
  }
}

void MakeWorld(World* w) {
  char* p = static_cast<char*>(
      mmap(nullptr, kArea + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(p + kArea, 4096);
  w->area = p;
  w->readonly =
      static_cast<char*>(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  w->paths = {"a",
              "b",
              "dir",
              "dir/x",
              "link",
              "dir/../a",
              ".",
              "",
              "fifo",
              "sock",
              "none/x",
              std::string(255, 'n'),
              std::string(256, 'n'),
              std::string(5000, '/'),
              "loop",
              "user.attribute",
              "/q",
              "/dev/null",
              "/dev/zero",
              "/dev/full",
              "/proc/self/stat",
              "/proc/self/maps",
              "/proc/self/fd/3"};
  close(open("a", O_CREAT | O_RDWR, 0600));
  (void)!symlink("a", "link");
  (void)!symlink("loop", "loop");
  (void)!mkdir("dir", 0700);
  mknod("fifo", S_IFIFO | 0600, 0);
  int s[2];
  (void)!open("a", O_RDWR);
  (void)!open(".", O_RDONLY | O_DIRECTORY);
  (void)!open("/dev/null", O_RDWR);
  (void)!open("fifo", O_RDWR | O_NONBLOCK);
  (void)!pipe2(s, O_NONBLOCK);
  (void)!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
  (void)!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s);
  (void)!socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
  (void)!eventfd(0, EFD_NONBLOCK);
  (void)!timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  (void)!epoll_create1(0);
  (void)!inotify_init1(IN_NONBLOCK);
  (void)!static_cast<int>(syscall(SYS_memfd_create, "fuzz", 0));
  (void)!posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
}

bool LeavesObjects(long nr) {
  return nr == SYS_shmget || nr == SYS_semget || nr == SYS_msgget || nr == SYS_mq_open;
}

void Calls(uint64_t seed, int count, const char* only, bool verbose, World& w) {
  Random r(seed);
  for (int i = 0; i < count; i++) {
    const Call& c = kCalls[r.Below(kCount)];
    if (i % 16 == 0) Scramble(r, w);
    uint64_t a[6] = {};
    for (int k = 0; k < 6 && c.args[k]; k++) a[k] = Argument(c.args[k], r, w);
    if (only && strcmp(only, c.name) != 0) continue;
    if (Unsafe(c, a) || (!w.ipc && LeavesObjects(c.nr))) continue;
    if (verbose) {
      dprintf(kReportFd, "%s(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx)", c.name, a[0], a[1], a[2], a[3],
              a[4], a[5]);
    }
    long ret = syscall(c.nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (verbose) dprintf(kReportFd, " = %ld %s\n", ret, ret == -1 ? strerrorname_np(errno) : "");
    if (c.nr == SYS_rt_sigprocmask) {  // SIGALRM gets us out of blocked calls
      sigset_t s;
      sigemptyset(&s);
      sigaddset(&s, SIGALRM);
      pthread_sigmask(SIG_UNBLOCK, &s, nullptr);
    }
    // The scratch memory may have been unmapped or protected by a call on it.
    mmap(w.area, kArea, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
}

int RemoveOne(const char* path, const struct stat*, int, struct FTW*) {
  remove(path);
  return 0;
}

// The child of one batch: leaves after all calls with status 0.
[[noreturn]] void Batch(uint64_t seed, int count, int threads, const char* only, bool verbose,
                        bool as_root, const std::string& dir) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);
  if (chdir(dir.c_str()) != 0) _exit(1);
  for (int s = 1; s < 32; s++) {
    if (s != SIGSEGV && s != SIGBUS && s != SIGILL && s != SIGABRT && s != SIGALRM)
      signal(s, SIG_IGN);
  }
  rlimit fsize{4 << 20, 4 << 20}, core{0, 0}, files{200, 200}, as{4ull << 30, 4ull << 30};
  setrlimit(RLIMIT_FSIZE, &fsize);
  setrlimit(RLIMIT_CORE, &core);
  setrlimit(RLIMIT_NOFILE, &files);
  setrlimit(RLIMIT_AS, &as);
  struct sigaction sa {};
  sa.sa_handler = [](int) {};  // without SA_RESTART: what blocks is interrupted
  sigaction(SIGALRM, &sa, nullptr);
  dup2(2, kReportFd);
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  // Objects that would outlive the batch: only where they go with a namespace.
  bool ipc = unshare(CLONE_NEWIPC) == 0;
  if (!as_root && geteuid() == 0 &&
      (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 ||
       setresuid(65534, 65534, 65534) != 0)) {
    _exit(1);
  }
  World w{};
  w.ipc = ipc;
  w.child = fork();
  if (w.child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  MakeWorld(&w);
  std::vector<std::thread> ts;
  std::atomic<int> running{threads};
  for (int t = 0; t < threads; t++) {
    ts.emplace_back([&, t] {
      World mine = w;
      mine.area = static_cast<char*>(
          mmap(nullptr, kArea + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      munmap(mine.area + kArea, 4096);
      Calls(seed * 31 + t, count / threads, only, verbose, mine);
      running--;
      for (;;) pause();  // so that it may still be signalled
    });
  }
  for (int tick = 0; running > 0; tick++) {
    timespec ms{0, 5'000'000};
    nanosleep(&ms, nullptr);
    if (tick > 2000) _exit(2);
    for (auto& t : ts) pthread_kill(t.native_handle(), SIGALRM);
  }
  kill(w.child, SIGKILL);
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = 1;
  int count = 20000, threads = 1, seconds = 0;
  const char* only = nullptr;
  bool verbose = false, as_root = false;
  for (int i = 1; i < argc; i++) {
    std::string a = argv[i];
    auto value = [&]() -> const char* {
      if (i + 1 >= argc) {
        fprintf(stderr, "%s needs a value\n", a.c_str());
        exit(2);
      }
      return argv[++i];
    };
    if (a == "--seed")
      seed = strtoull(value(), nullptr, 0);
    else if (a == "--count")
      count = atoi(value());
    else if (a == "--seconds")
      seconds = atoi(value());
    else if (a == "--threads")
      threads = atoi(value());
    else if (a == "--only")
      only = value();
    else if (a == "--verbose")
      verbose = true;
    else if (a == "--as-root")
      as_root = true;
    else {
      fprintf(stderr,
              "usage: %s [--seed N] [--count N] [--seconds N] [--threads N] [--only NAME] "
              "[--verbose] [--as-root]\n",
              argv[0]);
      return 2;
    }
  }
  constexpr int kBatch = 500;
  const char* base = getenv("TEST_TMPDIR");
  int batches = 0, blocked = 0, killed = 0, failed = 0;
  time_t end = seconds ? time(nullptr) + seconds : 0;
  for (int done = 0; end ? time(nullptr) < end : done < count; done += kBatch, seed++) {
    std::string dir = std::string(base && *base ? base : "/tmp") + "/fuzz.XXXXXX";
    if (!mkdtemp(dir.data())) {
      perror(dir.c_str());
      return 1;
    }
    if (!as_root && geteuid() == 0 && chown(dir.c_str(), 65534, 65534) != 0) {
      perror(dir.c_str());
      return 1;
    }
    pid_t pid = fork();
    if (pid == 0) Batch(seed, kBatch, threads, only, verbose, as_root, dir);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    kill(-pid, SIGKILL);
    batches++;
    if (WIFSIGNALED(status))
      killed++;
    else if (WEXITSTATUS(status) == 2)
      blocked++;
    else if (WEXITSTATUS(status) != 0)
      failed++;
    nftw(dir.c_str(), RemoveOne, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
  }
  printf(
      "%d batches of %d calls over %zu kinds of call: %d ended by a signal, %d blocked, %d "
      "failed\n",
      batches, kBatch, kCount, killed, blocked, failed);
  return failed ? 1 : 0;
}
