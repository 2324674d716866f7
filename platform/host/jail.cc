#include "platform/host/jail.h"

#include <errno.h>
#include <link.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/host/thread.h"

namespace host {
namespace {

constexpr unsigned kNobodyId = 65534;

bool in_user_namespace = false;

long WriteFile(const char* path, const char* text) {
  long fd = Call<SYS_openat>(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  long r = Write(static_cast<int>(fd), text, strlen(text));
  Close(static_cast<int>(fd));
  return r < 0 ? r : 0;
}

// user_namespaces(7): who may write which map.
base::Status MapIds(int pid, Ids ids, bool root, unsigned uid, unsigned gid) {
  char path[64], map[64];
  struct {
    const char* file;
    unsigned id;
  } files[] = {{"uid_map", uid}, {"gid_map", gid}};
  if (!root) {
    snprintf(path, sizeof path, "/proc/%d/setgroups", pid);
    WriteFile(path, "deny");
  }
  for (auto& f : files) {
    snprintf(path, sizeof path, "/proc/%d/%s", pid, f.file);
    if (root && ids == Ids::kCaller) {
      snprintf(map, sizeof map, "0 0 4294967295");
    } else if (ids == Ids::kCaller) {
      snprintf(map, sizeof map, "%u %u 1", f.id, f.id);
    } else {
      snprintf(map, sizeof map, "0 %u 1", root ? kNobodyId : f.id);
    }
    long r = WriteFile(path, map);
    if (r == -EPERM && root) {
      // Root of an outer user namespace that doesn't have all ids: what it has itself.
      snprintf(map, sizeof map, "0 %u 1", f.id);
      r = WriteFile(path, map);
    }
    if (r < 0) {
      return base::Status::Errno(
          std::string("mapping the sandbox's ids (is /proc mounted?): ") + path,
          static_cast<int>(-r));
    }
  }
  return {};
}

base::Status NamespaceError(int err) {
  const char* remedy =
      "run moat as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
      "user.max_user_namespaces > 0, kernel.apparmor_restrict_unprivileged_userns=0)";
  return base::Status::Error(std::string("the host refuses namespaces (") + strerror(err) +
                             "): " + remedy);
}

base::UniqueFd OpenPid(long pid) {
  return base::UniqueFd(static_cast<int>(Call<SYS_pidfd_open>(pid, 0)));
}

// A byte from fd; false when there is none to come, the process being dead (a pidfd, or -1: then
// the end of file says so).
bool AwaitByte(int fd, int process) {
  pollfd p[2] = {{fd, POLLIN, 0}, {process, POLLIN, 0}};
  while (process >= 0 && Poll(p, 2, nullptr) == -EINTR) {
  }
  if (process >= 0 && p[0].revents == 0) return false;
  char byte;
  return Read(fd, &byte, 1) == 1;
}

}  // namespace

base::StatusOr<int> ForkIntoNamespaces(const ForkOptions& options) {
  auto uid = static_cast<unsigned>(Call<SYS_geteuid>());
  auto gid = static_cast<unsigned>(Call<SYS_getegid>());
  bool root = uid == 0;
  int pipe_fds[2];
  // The child waits for a byte; end of file means that the command died.
  if (long r = Socketpair(SOCK_STREAM, pipe_fds); r < 0)
    return base::Status::Errno("socketpair", static_cast<int>(-r));
  base::UniqueFd parent_end(pipe_fds[0]), child_end(pipe_fds[1]);
  // In a shared table no end of file tells of a death.
  base::UniqueFd command = options.share_files ? OpenPid(Getpid()) : base::UniqueFd();
  bool user_namespace = !root || !options.keep_user_namespace;
  const int flags = options.namespaces | (options.share_files ? CLONE_FILES : 0) | SIGCHLD;
  long pid = -EPERM;
  if (user_namespace) pid = Call<SYS_clone>(CLONE_NEWUSER | flags, 0, 0, 0, 0);
  if (pid < 0 && root) {
    user_namespace = false;
    pid = Call<SYS_clone>(flags, 0, 0, 0, 0);
  }
  if (pid < 0) return NamespaceError(static_cast<int>(-pid));
  if (pid == 0) {
    in_user_namespace = user_namespace;
    // All are the command's to close, where it is one table.
    if (options.share_files) parent_end.Release();
    parent_end.reset();
    if (!options.outlive) Call<SYS_prctl>(PR_SET_PDEATHSIG, SIGKILL);
    const int death = options.share_files ? command.Release() : -1;
    if (!AwaitByte(child_end.get(), death)) ExitGroup(1);
    if (user_namespace && options.ids == Ids::kNobody) {
      if (root) Call<SYS_setgroups>(0, nullptr);
      if (Call<SYS_setresgid>(0, 0, 0) < 0 || Call<SYS_setresuid>(0, 0, 0) < 0) ExitGroup(1);
      // A change of ids clears it.
      if (!options.outlive) Call<SYS_prctl>(PR_SET_PDEATHSIG, SIGKILL);
      // The command may have ended meanwhile; if it lives, it keeps its end open until it has seen
      // our byte.
      pollfd p{options.share_files ? death : child_end.get(), POLLIN, 0};
      timespec now{0, 0};
      if (Poll(&p, 1, &now) > 0) ExitGroup(1);
    }
    Write(child_end.get(), "k", 1);
    if (options.share_files) child_end.Release();
    return 0;
  }
  if (!options.share_files) child_end.reset();
  base::Status status;
  if (user_namespace) {
    status = options.map_ids ? options.map_ids(static_cast<int>(pid))
                             : MapIds(static_cast<int>(pid), options.ids, root, uid, gid);
  }
  const base::UniqueFd child = options.share_files ? OpenPid(pid) : base::UniqueFd();
  if (status.ok() &&
      (Write(parent_end.get(), "k", 1) != 1 || !AwaitByte(parent_end.get(), child.get()))) {
    status = base::Status::Error("the sandbox's process died at its start");
  }
  if (!status.ok()) {
    Call<SYS_kill>(pid, SIGKILL);
    siginfo_t info;
    Waitid(P_PID, static_cast<int>(pid), &info, WEXITED);
    return status;
  }
  return static_cast<int>(pid);
}

uint64_t ThreadsForSandbox() {
  uint64_t most = kMaxHostThreads;
  for (const char* path : {"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"}) {
    long fd = Call<SYS_openat>(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) continue;
    char text[24] = {};
    Read(static_cast<int>(fd), text, sizeof text - 1);
    Close(static_cast<int>(fd));
    if (uint64_t all = strtoull(text, nullptr, 10); all != 0 && all / 2 < most) most = all / 2;
  }
  return most;
}

base::Status LimitThreads(uint64_t most) {
  rlimit limit{};
  long r = Call<SYS_prlimit64>(0, RLIMIT_NPROC, nullptr, &limit);
  if (r == 0) {
    if (limit.rlim_cur > most) limit.rlim_cur = most;
    limit.rlim_max = limit.rlim_cur;
    r = Call<SYS_prlimit64>(0, RLIMIT_NPROC, &limit, nullptr);
  }
  if (r < 0) return base::Status::Errno("limiting threads", static_cast<int>(-r));
  if (limit.rlim_cur > 2 * kSpareHostThreads)
    Thread::LimitPooled(limit.rlim_cur - kSpareHostThreads);
  return {};
}

base::StatusOr<EmptyRoot> MakeEmptyRoot(uint64_t size) {
  auto fail = [](const char* what, long r) {
    return base::Status::Errno(what, static_cast<int>(-r));
  };
  long r = Call<SYS_mount>(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (r < 0) return fail("making mounts private", r);
  // Any directory will do as a place: it is out of sight a moment later.
  EmptyRoot root;
  const char* at = nullptr;
  for (const char* dir : {"/tmp", "/proc", "/dev", "/"}) {
    for (bool huge : {true, false}) {
      char options[96];
      int n = snprintf(options, sizeof options, "mode=0700%s", huge ? ",huge=advise" : "");
      if (size != 0)
        snprintf(options + n, sizeof options - n, ",size=%llu",
                 static_cast<unsigned long long>(size));
      // Not noexec: guests execute what lies in memory files.
      r = Call<SYS_mount>("moat", dir, "tmpfs", MS_NOSUID | MS_NODEV, options);
      if (r == 0) {
        root.huge_pages = huge;
        break;
      }
    }
    if (r == 0) {
      at = dir;
      break;
    }
  }
  if (!at) return fail("mounting an empty root (a tmpfs)", r);
  if ((r = Call<SYS_chdir>(at)) < 0 || (r = Call<SYS_pivot_root>(".", ".")) < 0 ||
      (r = Call<SYS_umount2>(".", MNT_DETACH)) < 0 || (r = Call<SYS_chdir>("/")) < 0) {
    return fail("changing to the empty root", r);
  }
  r = Call<SYS_openat>(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (r < 0) return fail("opening the empty root", r);
  root.dir.reset(static_cast<int>(r));
  return root;
}

base::Status DropRights(const RightsOptions& options) {
  long r = 0;
  if (!in_user_namespace && options.ids == Ids::kNobody && Call<SYS_geteuid>() == 0) {
    // Else a change of ids clears all of them.
    if (options.capabilities != 0) Call<SYS_prctl>(PR_SET_KEEPCAPS, 1);
    if ((r = Call<SYS_setgroups>(0, nullptr)) < 0 ||
        (r = Call<SYS_setresgid>(kNobodyId, kNobodyId, kNobodyId)) < 0 ||
        (r = Call<SYS_setresuid>(kNobodyId, kNobodyId, kNobodyId)) < 0) {
      return base::Status::Errno("becoming nobody", static_cast<int>(-r));
    }
    if (!options.outlive) Call<SYS_prctl>(PR_SET_PDEATHSIG, SIGKILL);
  }
  if ((r = Call<SYS_prctl>(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) < 0) {
    return base::Status::Errno("no_new_privs", static_cast<int>(-r));
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int i = 0; i < 2; i++) {
    data[i].effective = data[i].permitted = static_cast<uint32_t>(options.capabilities >> (32 * i));
  }
  if ((r = Call<SYS_capset>(&header, data)) < 0) {
    return base::Status::Errno("dropping capabilities", static_cast<int>(-r));
  }
  // Nobody of the same id may look into it or trace it.
  if ((r = Call<SYS_prctl>(PR_SET_DUMPABLE, 0)) < 0)
    return base::Status::Errno("prctl", static_cast<int>(-r));
  return {};
}

void ForgetCode() {
  auto forget = [](dl_phdr_info* info, size_t, void*) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
      const ElfW(Phdr)& p = info->dlpi_phdr[i];
      // What relocation has written lies in the segments that are writable.
      if (p.p_type != PT_LOAD || (p.p_flags & PF_W)) continue;
      uint64_t start = (info->dlpi_addr + p.p_vaddr) & ~uint64_t{4095};
      uint64_t end = info->dlpi_addr + p.p_vaddr + p.p_memsz;
      Call<SYS_madvise>(start, end - start, MADV_DONTNEED);
    }
    return 0;
  };
  dl_iterate_phdr(forget, nullptr);
}

}  // namespace host
