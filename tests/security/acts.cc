#include "tests/security/acts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>

#include <cstdint>
#include <cstdio>
#include <type_traits>

namespace security {
namespace {

// An ELF file of one segment whose code is exit_group(kEscaped).
constexpr unsigned char kElf[] = {0x7f, 'E',  'L',  'F', 2,  1,    1,        0, 0,
                                  0,    0,    0,    0,   0,  0,    0,  // ident
                                  2,    0,    62,   0,   1,  0,    0,        0, 0x78,
                                  0,    0x40, 0,    0,   0,  0,    0,  // executable, x86-64, entry
                                  64,   0,    0,    0,   0,  0,    0,        0, 0,
                                  0,    0,    0,    0,   0,  0,    0,  // program headers at 64
                                  0,    0,    0,    0,   64, 0,    56,       0, 1,
                                  0,    0,    0,    0,   0,  0,    0,  // sizes
                                  1,    0,    0,    0,   5,  0,    0,        0, 0,
                                  0,    0,    0,    0,   0,  0,    0,  // PT_LOAD, R+X, offset 0
                                  0,    0,    0x40, 0,   0,  0,    0,        0, 0,
                                  0,    0x40, 0,    0,   0,  0,    0,  // at 0x400000
                                  0x84, 0,    0,    0,   0,  0,    0,        0, 0x84,
                                  0,    0,    0,    0,   0,  0,    0,            // sizes
                                  0,    0x10, 0,    0,   0,  0,    0,        0,  // alignment
                                  0xb8, 231,  0,    0,   0,  0xbf, kEscaped, 0, 0,
                                  0,    0x0f, 0x05};  // the code
static_assert(sizeof kElf == 0x84);

template <typename T>
long Word(T v) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<long>(v);
  } else {
    return static_cast<long>(v);
  }
}
template <typename... A>
long Do(Syscall call, long nr, A... args) {
  long a[6] = {Word(args)...};
  return call(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// A path made of two parts, in memory that only one act uses.
const char* Join(const char* a, const char* b) {
  static char path[4096];
  snprintf(path, sizeof path, "%s%s", a, b);
  return path;
}
const char* OfVictim(const Target& t, const char* rest) {
  static char path[4096];
  snprintf(path, sizeof path, "/proc/%d/%s", t.victim, rest);
  return path;
}
const char* Base(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

long Exec(const Target& t, Syscall c, const char* file) {
  const char* argv[] = {file, "escaped", nullptr};
  const char* envp[] = {nullptr};
  return Do(c, SYS_execve, file, argv, envp);
}
long ExecFd(Syscall c, long fd) {
  const char* argv[] = {"x", nullptr};
  const char* envp[] = {nullptr};
  return Do(c, SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
}
long Open2(Syscall c, int dir, const char* path, uint64_t flags, uint64_t mode = 0) {
  open_how how = {};
  how.flags = flags;
  how.mode = mode;
  return Do(c, SYS_openat2, dir, path, &how, sizeof how);
}
long ReadVictim(const Target& t, Syscall c, long nr) {
  char byte = 0;
  iovec local{&byte, 1}, remote{reinterpret_cast<void*>(1), 1};
  return Do(c, nr, t.victim, &local, 1, &remote, 1, 0);
}
// SYS_x on a pidfd of the victim.
long OnPidfd(const Target& t, Syscall c, long nr, long a, long b = 0, long d = 0) {
  long fd = Do(c, SYS_pidfd_open, t.victim, 0);
  return fd < 0 ? fd : Do(c, nr, fd, a, b, d);
}
long ConnectUnix(const Target& t, Syscall c) {
  long fd = Do(c, SYS_socket, AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return fd;
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  size_t n = strlen(t.name);
  memcpy(a.sun_path + 1, t.name, n);
  return Do(c, SYS_connect, fd, &a, offsetof(sockaddr_un, sun_path) + 1 + n);
}
long ConnectInet(const Target& t, Syscall c) {
  long fd = Do(c, SYS_socket, AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return fd;
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<uint16_t>(t.port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return Do(c, SYS_connect, fd, &a, sizeof a);
}
long Queue(const Target& t, Syscall c, bool thread) {
  siginfo_t info{};
  info.si_signo = SIGKILL;
  info.si_code = SI_QUEUE;
  return thread ? Do(c, SYS_rt_tgsigqueueinfo, t.victim, t.victim, SIGKILL, &info)
                : Do(c, SYS_rt_sigqueueinfo, t.victim, SIGKILL, &info);
}
// Fork and its relatives: the child is a success, and ends.
long Child(Syscall c, long nr, long flags) {
  long r = Do(c, nr, flags);
  if (r == 0) {
    Do(c, SYS_exit_group, kEscaped);
  }
  return r;
}
long OwnFile(Syscall c) {
  long fd = Do(c, SYS_openat, AT_FDCWD, "moat-own-file", O_CREAT | O_RDWR, 0700);
  if (fd < 0) return fd;
  Do(c, SYS_write, fd, kElf, sizeof kElf);
  Do(c, SYS_close, fd);
  Target t;
  return Exec(t, c, "moat-own-file");
}
long OwnMemory(Syscall c) {
  long fd = Do(c, SYS_memfd_create, "x", 0);
  if (fd < 0) return fd;
  Do(c, SYS_write, fd, kElf, sizeof kElf);
  return ExecFd(c, fd);
}
long Bpf(Syscall c) {
  struct {
    uint32_t type, key, value, entries;
    uint64_t rest[12];
  } attr{2, 4, 4, 1, {}};  // BPF_MAP_TYPE_ARRAY
  return Do(c, SYS_bpf, 0, &attr, sizeof attr);
}
long Perf(Syscall c) {
  struct {
    uint32_t type, size;
    uint64_t config, period, sample, format, flags, rest[8];
  } attr{1, 112, 0, 0, 0, 0, 1 << 5 | 1 << 6, {}};  // PERF_TYPE_SOFTWARE, exclude_kernel and _hv
  return Do(c, SYS_perf_event_open, &attr, 0, -1, -1, 0);
}
long Capabilities(Syscall c) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  // CAP_SYS_ADMIN and CAP_SYS_PTRACE.
  data[0].permitted = data[0].effective = 1u << CAP_SYS_ADMIN | 1u << CAP_SYS_PTRACE;
  return Do(c, SYS_capset, &header, data);
}
long Handle(Syscall c) {
  struct {
    uint32_t bytes;
    int32_t type;
    uint64_t data[2];
  } handle{8, 1, {2, 0}};
  return Do(c, SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDONLY);
}
long NameToHandle(Syscall c, const Target& t) {
  struct {
    uint32_t bytes;
    int32_t type;
    uint64_t data[16];
  } handle{128, 0, {}};
  int mount_id;
  return Do(c, SYS_name_to_handle_at, AT_FDCWD, t.secret, &handle, &mount_id, 0);
}
long IoUring(Syscall c) {
  io_uring_params p{};
  return Do(c, SYS_io_uring_setup, 1, &p);
}
// The read-only attribute of the served mount.
long Remount(const Target& t, Syscall c) {
  mount_attr attr{};
  attr.attr_clr = MOUNT_ATTR_RDONLY;
  return Do(c, SYS_mount_setattr, t.root, "", AT_EMPTY_PATH, &attr, sizeof attr);
}
long FsetXattr(const Target& t, Syscall c) {
  long fd = Open2(c, t.root, "file", O_RDONLY);
  return fd < 0 ? fd : Do(c, SYS_fsetxattr, fd, "user.moat", "x", 1, 0);
}
constexpr long kDeviceZero = 1 << 8 | 5;

#define ACT(name, flags, reached, ...)                             \
  {                                                                \
    name, flags, reached, [](const Target& t, Syscall c) -> long { \
      (void)t;                                                     \
      return __VA_ARGS__;                                          \
    }                                                              \
  }

constexpr Act kActs[] = {
    // Programs of the host, and own code.
    ACT("execve", kHostObject | kRightsStop, 0, Exec(t, c, t.program)),
    ACT("execveat", kHostObject | kRightsStop, 0,
        [&] {
          const char* argv[] = {t.program, "escaped", nullptr};
          const char* envp[] = {nullptr};
          return Do(c, SYS_execveat, AT_FDCWD, t.program, argv, envp, 0);
        }()),
    ACT("execve_own_file", 0, 0, OwnFile(c)),
    ACT("execveat_memfd", 0, 0, OwnMemory(c)),
    ACT("mmap_exec", 0, 0,
        Do(c, SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
           -1, 0)),
    ACT("mprotect_exec", 0, 0,
        [&] {
          long p = Do(c, SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          return p < 0 && p > -4096 ? p : Do(c, SYS_mprotect, p, 4096, PROT_READ | PROT_EXEC);
        }()),
    ACT("fork", 0, 0, Child(c, SYS_fork, 0)),
    ACT("clone_process", 0, 0, Child(c, SYS_clone, SIGCHLD)),
    ACT("clone_new_user", kMaybe, 0, Child(c, SYS_clone, SIGCHLD | CLONE_NEWUSER)),
    ACT("clone_parent", 0, 0, Child(c, SYS_clone, SIGCHLD | CLONE_PARENT)),

    // Files.
    ACT("open", kHostObject | kRightsStop, 0, Do(c, SYS_open, t.secret, O_RDONLY)),
    ACT("openat", kHostObject | kRightsStop, 0, Do(c, SYS_openat, AT_FDCWD, t.secret, O_RDONLY)),
    ACT("openat2", kHostObject | kRightsStop, 0, Open2(c, AT_FDCWD, t.secret, O_RDONLY)),
    ACT("openat_upwards", kHostObject | kRightsStop, 0,
        Do(c, SYS_openat, AT_FDCWD, Join("/../../../../../../..", t.secret), O_RDONLY)),
    ACT("openat_proc_self_root", kHostObject | kRightsStop, 0,
        Do(c, SYS_openat, AT_FDCWD, Join("/proc/self/root", t.secret), O_RDONLY)),
    ACT("openat_proc_1_root", kHostObject | kRightsStop | kRootOnly | kMaybe, 0,
        Do(c, SYS_openat, AT_FDCWD, Join("/proc/1/root", t.secret), O_RDONLY)),
    ACT("openat_proc_1", kRootOnly | kRightsStop | kMaybe, 0,
        Do(c, SYS_openat, AT_FDCWD, "/proc/1/environ", O_RDONLY)),
    ACT("openat_victim_mem", kHostObject | kRightsStop | kMaybe, 0,
        Do(c, SYS_openat, AT_FDCWD, OfVictim(t, "mem"), O_RDWR)),
    ACT("openat_victim_maps", kHostObject | kRightsStop, 0,
        Do(c, SYS_openat, AT_FDCWD, OfVictim(t, "maps"), O_RDONLY)),
    ACT("stat", kHostObject | kRightsStop, 0,
        [&] {
          struct stat st;
          return Do(c, SYS_stat, t.secret, &st);
        }()),
    ACT("readlink", kHostObject | kRightsStop, 0,
        [&] {
          char buf[256];
          return Do(c, SYS_readlink, OfVictim(t, "exe"), buf, sizeof buf);
        }()),
    ACT("truncate", kHostObject | kRightsStop, 0, Do(c, SYS_truncate, t.secret, 100)),
    ACT("name_to_handle_at", kHostObject | kRightsStop | kMaybe, 0, NameToHandle(c, t)),
    ACT("open_by_handle_at", kRootOnly | kMaybe, -ESTALE, Handle(c)),
    ACT("mknod", kRootOnly | kRightsStop, 0,
        Do(c, SYS_mknod, "moat-node", S_IFCHR | 0600, kDeviceZero)),
    ACT("mknodat", kRootOnly | kRightsStop, 0,
        Do(c, SYS_mknodat, AT_FDCWD, "moat-node-at", S_IFCHR | 0600, kDeviceZero)),

    // Processes.
    ACT("ptrace_attach", kHostObject | kRightsStop | kMaybe, 0,
        Do(c, SYS_ptrace, PTRACE_ATTACH, t.victim, 0, 0)),
    ACT("ptrace_seize", kHostObject | kRightsStop | kMaybe, 0,
        Do(c, SYS_ptrace, PTRACE_SEIZE, t.victim, 0, 0)),
    ACT("process_vm_readv", kHostObject | kRightsStop | kMaybe, -EFAULT,
        ReadVictim(t, c, SYS_process_vm_readv)),
    ACT("process_vm_writev", kHostObject | kRightsStop | kMaybe, -EFAULT,
        ReadVictim(t, c, SYS_process_vm_writev)),
    ACT("kill", kHostObject | kRightsStop, 0, Do(c, SYS_kill, t.victim, SIGKILL)),
    ACT("tkill", kHostObject | kRightsStop, 0, Do(c, SYS_tkill, t.victim, SIGKILL)),
    ACT("tgkill", kHostObject | kRightsStop, 0, Do(c, SYS_tgkill, t.victim, t.victim, SIGKILL)),
    ACT("rt_sigqueueinfo", kHostObject | kRightsStop, 0, Queue(t, c, false)),
    ACT("rt_tgsigqueueinfo", kHostObject | kRightsStop, 0, Queue(t, c, true)),
    ACT("pidfd_send_signal", kHostObject | kRightsStop, 0,
        OnPidfd(t, c, SYS_pidfd_send_signal, SIGKILL)),
    ACT("pidfd_getfd", kHostObject | kRightsStop | kMaybe, 0, OnPidfd(t, c, SYS_pidfd_getfd, 1)),
    ACT("prlimit64", kHostObject | kRightsStop, 0,
        [&] {
          long limit[2];
          return Do(c, SYS_prlimit64, t.victim, 7, 0, limit);
        }()),
    ACT("sched_setaffinity", kHostObject | kRightsStop, 0,
        [&] {
          unsigned long mask[16];
          memset(mask, 0xff, sizeof mask);
          return Do(c, SYS_sched_setaffinity, t.victim, sizeof mask, mask);
        }()),

    // The network and its relatives.
    ACT("socket_inet", 0, 0, Do(c, SYS_socket, AF_INET, SOCK_STREAM, 0)),
    ACT("socket_inet6", kMaybe, 0, Do(c, SYS_socket, AF_INET6, SOCK_DGRAM, 0)),
    ACT("socket_netlink", kMaybe, 0, Do(c, SYS_socket, AF_NETLINK, SOCK_RAW, 0)),
    ACT("socket_packet", kRootOnly | kMaybe | kRightsStop, 0,
        Do(c, SYS_socket, AF_PACKET, SOCK_RAW, 0)),
    ACT("socket_raw", kRootOnly | kMaybe | kRightsStop, 0,
        Do(c, SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP)),
    ACT("socket_unix", 0, 0, Do(c, SYS_socket, AF_UNIX, SOCK_STREAM, 0)),
    ACT("connect_abstract", kHostObject | kRightsStop, 0, ConnectUnix(t, c)),
    ACT("connect_inet", kHostObject | kRightsStop, 0, ConnectInet(t, c)),

    // Namespaces, mounts, rights.
    ACT("mount", kRootOnly | kRightsStop, -ENODEV,
        Do(c, SYS_mount, "none", "/", "moat-no-such-type", 0, 0)),
    ACT("umount2", kRootOnly | kRightsStop, -EINVAL,
        Do(c, SYS_umount2, "/", MNT_EXPIRE | MNT_FORCE)),
    ACT("open_tree", kRootOnly | kRightsStop, 0,
        Do(c, SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE)),
    ACT("fsopen", kRootOnly | kRightsStop, 0, Do(c, SYS_fsopen, "tmpfs", 0)),
    ACT("unshare_user", kMaybe, 0, Do(c, SYS_unshare, CLONE_NEWUSER)),
    ACT("unshare_mounts", kRootOnly | kRightsStop, 0, Do(c, SYS_unshare, CLONE_NEWNS)),
    ACT("setns", kHostObject | kRootOnly | kRightsStop, 0,
        OnPidfd(t, c, SYS_setns, CLONE_NEWNS | CLONE_NEWNET)),
    ACT("chroot", kRootOnly | kRightsStop, 0, Do(c, SYS_chroot, "/")),
    ACT("capset", kRootOnly | kRightsStop | kMaybe, 0, Capabilities(c)),
    ACT("sethostname", kRootOnly | kRightsStop, -EINVAL, Do(c, SYS_sethostname, "x", -1)),

    // Kernel interfaces with a history.
    ACT("bpf", kRootOnly | kMaybe | kRightsStop, 0, Bpf(c)),
    ACT("perf_event_open", kMaybe, 0, Perf(c)),
    ACT("keyctl", kMaybe, 0, Do(c, SYS_keyctl, 0, -3, 1)),
    ACT("add_key", kMaybe, 0, Do(c, SYS_add_key, "user", "moat", "x", 1, -2)),
    ACT("io_uring_setup", kMaybe, 0, IoUring(c)),
    ACT("userfaultfd", kMaybe, 0, Do(c, SYS_userfaultfd, O_CLOEXEC | 1)),
    ACT("memfd_create", 0, 0, Do(c, SYS_memfd_create, "x", 0)),
    ACT("memfd_secret", kMaybe, 0, Do(c, 447, 0)),
    ACT("fanotify_init", kRootOnly | kMaybe | kRightsStop, 0, Do(c, SYS_fanotify_init, 0, 0)),
    ACT("reboot", kRootOnly | kRightsStop, -EINVAL,
        Do(c, SYS_reboot, 0xfee1dead, 672274793, 0x12345, 0)),
    ACT("init_module", kRootOnly | kMaybe | kRightsStop, -ENOEXEC,
        Do(c, SYS_init_module, 0, 0, "")),
    ACT("finit_module", kRootOnly | kMaybe | kRightsStop, -EBADF,
        Do(c, SYS_finit_module, -1, "", 0)),
    ACT("delete_module", kRootOnly | kMaybe | kRightsStop, -ENOENT,
        Do(c, SYS_delete_module, "moat_no_such_module", O_NONBLOCK)),
    ACT("swapon", kRootOnly | kMaybe | kRightsStop, -ENOENT,
        Do(c, SYS_swapon, "/moat/no/such/file", 0)),
    ACT("iopl", kRootOnly | kMaybe | kRightsStop, 0, Do(c, SYS_iopl, 3)),
    ACT("syslog", kRootOnly | kMaybe | kRightsStop, 0,
        [&] {
          char buf[16];
          return Do(c, SYS_syslog, 3, buf, sizeof buf);
        }()),
    ACT("ioctl_tiocsti", kMaybe, -ENOTTY,
        [&] {
          char byte = 'x';
          return Do(c, SYS_ioctl, 1, TIOCSTI, &byte);
        }()),

    // With the descriptor of the folder that is served.
    ACT("served_dotdot", kServedRoot | kRightsStop, 0,
        Open2(c, t.root, Join("../", Base(t.secret)), O_RDONLY)),
    ACT("served_far_up", kServedRoot | kRightsStop, 0,
        Open2(c, t.root, Join("../../../../../../../../..", t.secret), O_RDONLY)),
    ACT("served_absolute", kServedRoot | kRightsStop, 0, Open2(c, t.root, t.secret, O_RDONLY)),
    ACT("served_link_relative", kServedRoot | kRightsStop, 0,
        Open2(c, t.root, "relative", O_RDONLY)),
    ACT("served_link_absolute", kServedRoot | kRightsStop, 0,
        Open2(c, t.root, "absolute", O_RDONLY)),
    ACT("served_link_out", kServedRoot | kRightsStop, 0,
        Do(c, SYS_linkat, AT_FDCWD, t.secret, t.root, "linked", 0)),
    ACT("served_device", kServedRoot | kRightsStop | kRootOnly | kMaybe, 0,
        Open2(c, t.root, "device", O_RDONLY)),
    ACT("served_mknod", kServedRoot | kRightsStop | kRootOnly, 0,
        Do(c, SYS_mknodat, t.root, "new-device", S_IFCHR | 0600, kDeviceZero)),
    ACT("served_write", kServedRoot | kRightsStop, 0, Open2(c, t.root, "file", O_WRONLY)),
    ACT("served_truncate", kServedRoot | kRightsStop, 0,
        Open2(c, t.root, "file", O_WRONLY | O_TRUNC)),
    ACT("served_create", kServedRoot | kRightsStop, 0,
        Open2(c, t.root, "new", O_WRONLY | O_CREAT, 0644)),
    ACT("served_mkdir", kServedRoot | kRightsStop, 0,
        Do(c, SYS_mkdirat, t.root, "new-folder", 0755)),
    ACT("served_symlink", kServedRoot | kRightsStop, 0,
        Do(c, SYS_symlinkat, "file", t.root, "new-link")),
    ACT("served_link", kServedRoot | kRightsStop, 0,
        Do(c, SYS_linkat, t.root, "file", t.root, "second", 0)),
    ACT("served_fifo", kServedRoot | kRightsStop, 0,
        Do(c, SYS_mknodat, t.root, "new-fifo", S_IFIFO | 0600, 0)),
    ACT("served_unlink", kServedRoot | kRightsStop, 0, Do(c, SYS_unlinkat, t.root, "file", 0)),
    ACT("served_rename", kServedRoot | kRightsStop, 0,
        Do(c, SYS_renameat2, t.root, "file", t.root, "file2", 0)),
    ACT("served_chmod", kServedRoot | kRightsStop | kMaybe, 0,
        Do(c, 452 /* fchmodat2 */, t.root, "file", 0600, 0)),
    ACT("served_chown", kServedRoot | kRightsStop | kRootOnly, 0,
        Do(c, SYS_fchownat, t.root, "file", 1, 1, 0)),
    ACT("served_utimens", kServedRoot | kRightsStop, 0, Do(c, SYS_utimensat, t.root, "file", 0, 0)),
    ACT("served_fsetxattr", kServedRoot | kRightsStop | kMaybe, 0, FsetXattr(t, c)),
    ACT("served_remount", kServedRoot | kRightsStop | kRootOnly, -EINVAL, Remount(t, c)),
};

}  // namespace

Target ParseTarget(const char* text) {
  Target t;
  static char copy[4096];
  if (text == nullptr || strlen(text) >= sizeof copy) return t;
  memcpy(copy, text, strlen(text) + 1);
  char* rest = copy;
  auto next = [&] { return rest ? strsep(&rest, ":") : copy; };
  t.victim = atoi(next());
  t.port = atoi(next());
  t.name = next();
  t.secret = next();
  t.program = next();
  return t;
}

std::span<const Act> Acts() { return kActs; }

const Act* FindAct(const char* name) {
  for (const Act& a : kActs) {
    if (strcmp(a.name, name) == 0) return &a;
  }
  return nullptr;
}

}  // namespace security
