#include "platform/host/jail.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "platform/host/host.h"

namespace host {
namespace {

using base::Status;

constexpr unsigned kNobody = 65534;

Status WriteFile(const std::string& path, const std::string& text) {
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return Status::Errno(path + " (is /proc mounted?)", errno);
  ssize_t n = write(fd, text.data(), text.size());
  int err = errno;
  close(fd);
  if (n != static_cast<ssize_t>(text.size())) return Status::Errno(path, err);
  return {};
}

// One id inside, one outside. setgroups must be off before an unprivileged process may map groups
// (user_namespaces(7)).
Status WriteMaps(pid_t pid, unsigned inside_uid, unsigned uid, unsigned inside_gid, unsigned gid) {
  const std::string dir = "/proc/" + std::to_string(pid) + "/";
  if (geteuid() != 0) RETURN_IF_ERROR(WriteFile(dir + "setgroups", "deny"));
  RETURN_IF_ERROR(
      WriteFile(dir + "uid_map", std::to_string(inside_uid) + " " + std::to_string(uid) + " 1"));
  return WriteFile(dir + "gid_map", std::to_string(inside_gid) + " " + std::to_string(gid) + " 1");
}

Status OpenTree(JailTree* t) {
  long fd = syscall(SYS_open_tree, AT_FDCWD, t->path.c_str(),
                    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (fd < 0) return Status::Errno("open_tree of " + t->path, errno);
  t->fd.reset(static_cast<int>(fd));
  mount_attr attr = {};
  attr.propagation = MS_PRIVATE;
  if (t->read_only) attr.attr_set = MOUNT_ATTR_RDONLY;
  if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0) {
    return Status::Errno("making " + t->path + (t->read_only ? " read-only" : " private"), errno);
  }
  return {};
}

// A new private tmpfs becomes the root; the old tree is gone.
Status EmptyRoot(bool writable, int* root_fd) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return Status::Errno("making the mounts private", errno);
  }
  int fs = static_cast<int>(syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC));
  if (fs < 0) return Status::Errno("tmpfs", errno);
  syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0700", 0);
  if (writable) {
    // The guest's memory lives here: as much as the host grants. Huge pages only where the kernel
    // offers them.
    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "0", 0);
    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "huge", "advise", 0);
  }
  if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return Status::Errno("tmpfs", errno);
  }
  int mfd = static_cast<int>(
      syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
              MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (writable ? 0 : MOUNT_ATTR_RDONLY)));
  if (mfd < 0) return Status::Errno("tmpfs", errno);
  close(fs);
  if (syscall(SYS_move_mount, mfd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0 ||
      fchdir(mfd) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0) {
    return Status::Errno("changing the root", errno);
  }
  if (writable) {
    *root_fd = mfd;
  } else {
    close(mfd);
  }
  return {};
}

Status SetCapabilities(uint64_t caps) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; i++) {
    data[i].effective = data[i].permitted = static_cast<uint32_t>(caps >> (32 * i));
  }
  if (syscall(SYS_capset, &header, data) != 0) return Status::Errno("capset", errno);
  return {};
}

// Closes everything but the standard descriptors' numbers in keep.
void CloseOthers(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned from = 0;
  for (int fd : keep) {
    if (fd < 0) continue;
    if (static_cast<unsigned>(fd) > from) syscall(SYS_close_range, from, fd - 1, 0);
    from = fd + 1;
  }
  syscall(SYS_close_range, from, ~0U, 0);
}

Status Enter(JailKind kind, bool user_ns, bool root_caller, std::vector<JailTree>* trees,
             std::vector<int> keep) {
  const bool sentry = kind == JailKind::kSentry;
  for (JailTree& t : *trees) RETURN_IF_ERROR(OpenTree(&t));
  int root_fd = -1;
  if (sentry && user_ns) {
    // Leave the caller's identity before the tmpfs is made, so that it is owned by the one we keep.
    if (root_caller) setgroups(0, nullptr);
    if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0)
      return Status::Errno("changing the identity", errno);
  }
  RETURN_IF_ERROR(EmptyRoot(sentry, &root_fd));
  if (sentry && !user_ns) {
    if (setgroups(0, nullptr) != 0 || fchown(root_fd, kNobody, kNobody) != 0 ||
        setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0) {
      return Status::Errno("changing the identity", errno);
    }
  }
  uint64_t caps = 0;
  if (!sentry && root_caller) {
    for (int c : {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_CHOWN, CAP_FSETID})
      caps |= uint64_t{1} << c;
  }
  RETURN_IF_ERROR(SetCapabilities(caps));
  // The identity change made the process undumpable, which would keep the ptrace engine out of its
  // own children.
  prctl(PR_SET_DUMPABLE, 1);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Status::Errno("no_new_privs", errno);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  umask(0);
  if (root_fd >= 0) {
    SetMemoryDir(root_fd);
    keep.push_back(root_fd);
  }
  for (JailTree& t : *trees) keep.push_back(t.fd.get());
  CloseOthers(std::move(keep));
  return {};
}

}  // namespace

base::StatusOr<pid_t> ForkJailed(JailKind kind, std::vector<JailTree> trees, int error_fd,
                                 std::vector<int> keep,
                                 const std::function<int(std::vector<JailTree>& trees)>& main) {
  const bool root = geteuid() == 0;
  const bool sentry = kind == JailKind::kSentry;
  bool user_ns = sentry || !root;
  int go[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go) != 0)
    return Status::Errno("socketpair", errno);
  long flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWPID | SIGCHLD;
  long pid = syscall(SYS_clone, flags | (user_ns ? CLONE_NEWUSER : 0), 0, 0, 0, 0);
  if (pid < 0 && user_ns && root) {
    user_ns = false;
    pid = syscall(SYS_clone, flags, 0, 0, 0, 0);
  }
  if (pid < 0) {
    int err = errno;
    close(go[0]);
    close(go[1]);
    Status s = Status::Errno("no namespaces for the sandbox", err);
    if (err == EPERM || err == ENOSPC) {
      return Status::Error(s.text() +
                           (root ? "; root needs CAP_SYS_ADMIN here"
                                 : "; user namespaces must be allowed for this user (sysctl "
                                   "user.max_user_namespaces, "
                                   "kernel.unprivileged_userns_clone, "
                                   "kernel.apparmor_restrict_unprivileged_userns), or run "
                                   "as root"));
    }
    return s;
  }
  if (pid == 0) {
    // A parent that died before this line has closed its end.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(go[0]);
    char c;
    if (read(go[1], &c, 1) != 1) _exit(125);
    close(go[1]);
    keep.push_back(error_fd);
    Status s = Enter(kind, user_ns, root, &trees, std::move(keep));
    if (!s.ok()) {
      std::string text = s.text();
      if (write(error_fd, text.data(), text.size()) < 0) _exit(126);
      _exit(125);
    }
    _exit(main(trees));
  }
  close(go[1]);
  Status s;
  if (user_ns) {
    if (sentry) {
      s = root ? WriteMaps(static_cast<pid_t>(pid), 0, kNobody, 0, kNobody)
               : WriteMaps(static_cast<pid_t>(pid), 0, geteuid(), 0, getegid());
    } else {
      s = WriteMaps(static_cast<pid_t>(pid), geteuid(), geteuid(), getegid(), getegid());
    }
  }
  if (s.ok() && write(go[0], "g", 1) != 1)
    s = Status::Errno("the sandbox process died at once", errno);
  close(go[0]);
  if (!s.ok()) {
    kill(static_cast<pid_t>(pid), SIGKILL);
    waitpid(static_cast<pid_t>(pid), nullptr, 0);
    return s;
  }
  return static_cast<pid_t>(pid);
}

}  // namespace host
