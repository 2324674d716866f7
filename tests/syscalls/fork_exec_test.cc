// fork, vfork, clone, clone3, execve, execveat, wait4, waitid, exit codes, orphans, pidfds.
#include <elf.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tests/syscalls/test_util.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace {

int PidfdOpen(pid_t pid, unsigned flags) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, flags));
}

// Runs the program and returns what it printed; the status goes to *status.
std::string Output(const char* path, std::vector<std::string> args, int* status,
                   std::vector<std::string> env = {}) {
  int p[2];
  if (pipe2(p, O_CLOEXEC) != 0) return "pipe2";
  pid_t pid = Spawn([&] {
    dup2(p[1], 1);
    dup2(p[1], 2);
    std::vector<char*> a, e;
    for (auto& s : args) a.push_back(s.data());
    for (auto& s : env) e.push_back(s.data());
    a.push_back(nullptr);
    e.push_back(nullptr);
    execve(path, a.data(), e.data());
    return errno;
  });
  close(p[1]);
  std::string s = ReadAllFd(p[0]);
  close(p[0]);
  *status = WaitFor(pid);
  return s;
}

TEST(Fork, IdentityAndExitCode) {
  COVERS("fork", "getpid", "getppid", "wait4", "exit_group");
  pid_t parent = getpid();
  pid_t pid = Spawn([&] { return getppid() == parent && getpid() != parent ? 42 : 1; });
  int status = 0;
  EXPECT_RET(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 42 << 8);
  EXPECT_ERR(waitpid(pid, &status, 0), ECHILD);
}

TEST(Fork, ExitCodeIsEightBits) {
  COVERS("exit_group", "exit");
  EXPECT_EXIT_STATUS(WaitFor(Spawn([] { return 0x1ff; })), 0xff);
  EXPECT_EXIT_STATUS(WaitFor(Spawn([] { return -1; })), 0xff);
  EXPECT_EXIT_STATUS(WaitFor(Spawn([] {
                       syscall(SYS_exit, 7);
                       return 0;
                     })),
                     7);
}

TEST(Fork, KilledBySignal) {
  COVERS("kill", "wait4");
  pid_t pid = Spawn([] {
    pause();
    return 0;
  });
  EXPECT_OK(kill(pid, SIGTERM));
  int status = 0;
  EXPECT_RET(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, SIGTERM);
}

TEST(Fork, DescriptorsAndSignalsInherited) {
  COVERS("fork", "rt_sigprocmask", "rt_sigpending");
  EXPECT_CHILD([] {
    sigset_t set, now;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHILD_OK(sigprocmask(SIG_BLOCK, &set, nullptr));
    raise(SIGUSR1);
    signal(SIGUSR2, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0) {
      CHILD_OK(sigprocmask(SIG_BLOCK, nullptr, &now));
      CHILD_CHECK(sigismember(&now, SIGUSR1) == 1);
      CHILD_OK(sigpending(&now));
      CHILD_CHECK(sigismember(&now, SIGUSR1) == 0);  // pending signals stay behind
      CHILD_CHECK(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
      _exit(0);
    }
    CHILD_EQ(WaitFor(pid), 0);
  });
}

TEST(Fork, DescriptorTableIsACopy) {
  COVERS("fork", "close");
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_CHILD([&] {
    CHILD_OK(close(p[0]));
    CHILD_OK(close(p[1]));
  });
  EXPECT_RET(write(p[1], "x", 1), 1);
  close(p[0]);
  close(p[1]);
}

TEST(Fork, VforkParentWaitsForExec) {
  COVERS("vfork", "execve");
  static volatile int shared;
  shared = 0;
  pid_t pid = vfork();
  if (pid == 0) {
    shared = 1;
    execl("/bin/true", "true", nullptr);
    _exit(1);
  }
  EXPECT_EQ(shared, 1);  // same memory
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
}

TEST(Fork, RawCloneFlags) {
  COVERS("clone");
  EXPECT_ERR(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0), EINVAL);
  EXPECT_ERR(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0), EINVAL);
  EXPECT_ERR(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0), EINVAL);
  pid_t ptid = -1, pid;
  int pidfd = -1;
  pid = static_cast<pid_t>(syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, 0, &ptid, nullptr, 0));
  if (pid == 0) _exit(3);
  EXPECT_EQ(ptid, pid);
  EXPECT_EXIT_STATUS(WaitFor(pid), 3);
  pid = static_cast<pid_t>(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, nullptr, 0));
  if (pid == 0) _exit(4);
  EXPECT_GE(pidfd, 0);
  EXPECT_EXIT_STATUS(WaitFor(pid), 4);
  close(pidfd);
}

TEST(Fork, ChildSetAndClearTid) {
  COVERS("clone", "set_tid_address");
  auto* word = static_cast<pid_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pid_t pid =
      static_cast<pid_t>(syscall(SYS_clone, CLONE_CHILD_SETTID | SIGCHLD, 0, nullptr, word, 0));
  if (pid == 0) _exit(*word == getpid() ? 0 : 1);
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  EXPECT_EQ(*word, pid);
  munmap(word, 4096);
}

TEST(Fork, SharedDescriptorTable) {
  COVERS("clone");
  int p[2];
  ASSERT_OK(pipe(p));
  pid_t pid = static_cast<pid_t>(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
  if (pid == 0) {
    close(p[0]);
    _exit(0);
  }
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  EXPECT_ERR(fcntl(p[0], F_GETFD), EBADF);
  close(p[1]);
}

TEST(Fork, SharedFsContext) {
  COVERS("clone", "umask", "chdir", "unshare");
  EXPECT_CHILD([] {
    CHILD_OK(chdir("/"));
    umask(022);
    pid_t pid = static_cast<pid_t>(syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0));
    if (pid == 0) {
      umask(0);
      _exit(chdir("/tmp"));
    }
    CHILD_EQ(WaitFor(pid), 0);
    char buf[100];
    CHILD_CHECK(getcwd(buf, 100) && std::string(buf) == "/tmp");
    CHILD_EQ(umask(022), 0);
    pid = static_cast<pid_t>(syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0));
    if (pid == 0) _exit(unshare(CLONE_FS) || chdir("/"));
    CHILD_EQ(WaitFor(pid), 0);
    CHILD_CHECK(getcwd(buf, 100) && std::string(buf) == "/tmp");
  });
}

TEST(Fork, ExitSignalOtherThanSigchld) {
  COVERS("clone", "wait4");
  EXPECT_CHILD([] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHILD_OK(sigprocmask(SIG_BLOCK, &set, nullptr));
    pid_t pid = static_cast<pid_t>(syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0));
    if (pid == 0) _exit(5);
    siginfo_t si;
    timespec t{5, 0};
    CHILD_RET(sigtimedwait(&set, &si, &t), SIGUSR1);
    CHILD_EQ(si.si_pid, pid);
    int status;
    CHILD_ERR(waitpid(pid, &status, 0), ECHILD);  // a "clone" child: __WCLONE or __WALL only
    CHILD_RET(waitpid(pid, &status, __WALL), pid);
    CHILD_EQ(status, 5 << 8);
  });
}

TEST(Fork, Clone3) {
  COVERS("clone3");
  clone_args a{};
  EXPECT_ERR(syscall(SYS_clone3, &a, 10), EINVAL);
  EXPECT_ERR(syscall(SYS_clone3, nullptr, sizeof a), EFAULT);
  a.flags = CLONE_DETACHED;
  EXPECT_ERR(syscall(SYS_clone3, &a, sizeof a), EINVAL);
  a = {};
  a.exit_signal = 65;
  EXPECT_ERR(syscall(SYS_clone3, &a, sizeof a), EINVAL);
  a = {};
  a.stack = 4096;  // a stack without a size
  EXPECT_ERR(syscall(SYS_clone3, &a, sizeof a), EINVAL);
  a = {};
  int pidfd = -1;
  pid_t tid = -1;
  a.flags = CLONE_PIDFD | CLONE_PARENT_SETTID;
  a.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  a.parent_tid = reinterpret_cast<uint64_t>(&tid);
  a.exit_signal = SIGCHLD;
  pid_t pid = static_cast<pid_t>(syscall(SYS_clone3, &a, sizeof a));
  ASSERT_OK(pid);
  if (pid == 0) _exit(6);
  EXPECT_EQ(tid, pid);
  EXPECT_GE(pidfd, 0);
  EXPECT_RET(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
  EXPECT_EXIT_STATUS(WaitFor(pid), 6);
  close(pidfd);
}

TEST(Wait, Options) {
  COVERS("wait4");
  int status = 77;
  EXPECT_ERR(waitpid(-1, &status, 0), ECHILD);
  EXPECT_ERR(waitpid(-1, &status, WNOHANG), ECHILD);
  EXPECT_ERR(waitpid(-1, &status, 0x100), EINVAL);
  EXPECT_ERR(waitpid(1 << 22, &status, 0), ECHILD);
  EXPECT_ERR(syscall(SYS_wait4, INT32_MIN, &status, 0, nullptr), ESRCH);
  pid_t pid = Spawn([] {
    pause();
    return 0;
  });
  EXPECT_RET(waitpid(pid, &status, WNOHANG), 0);
  EXPECT_ERR(waitpid(-pid, &status, WNOHANG), ECHILD);  // no such group
  EXPECT_RET(waitpid(0, &status, WNOHANG), 0);
  EXPECT_OK(kill(pid, SIGSTOP));
  EXPECT_RET(waitpid(pid, &status, WUNTRACED), pid);
  EXPECT_EQ(status, SIGSTOP << 8 | 0x7f);
  EXPECT_RET(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);  // told once
  EXPECT_OK(kill(pid, SIGCONT));
  EXPECT_RET(waitpid(pid, &status, WCONTINUED), pid);
  EXPECT_EQ(status, 0xffff);
  EXPECT_OK(kill(pid, SIGKILL));
  EXPECT_RET(waitpid(-1, &status, 0), pid);
  EXPECT_EQ(status, SIGKILL);
}

TEST(Wait, Waitid) {
  COVERS("waitid");
  pid_t pid = Spawn([] { return 9; });
  siginfo_t si;
  memset(&si, 0xff, sizeof si);
  EXPECT_OK(waitid(P_PID, pid, &si, WEXITED | WNOWAIT));
  EXPECT_EQ(si.si_signo, SIGCHLD);
  EXPECT_EQ(si.si_code, CLD_EXITED);
  EXPECT_EQ(si.si_status, 9);
  EXPECT_EQ(si.si_pid, pid);
  EXPECT_EQ(si.si_uid, getuid());
  EXPECT_EQ(si.si_errno, 0);
  memset(&si, 0, sizeof si);
  EXPECT_OK(waitid(P_ALL, 0, &si, WEXITED));
  EXPECT_EQ(si.si_pid, pid);
  EXPECT_ERR(waitid(P_PID, pid, &si, WEXITED), ECHILD);
  EXPECT_ERR(waitid(P_PID, pid, &si, 0), EINVAL);
  EXPECT_ERR(waitid(P_PID, 0, &si, WEXITED), EINVAL);
  EXPECT_ERR(waitid(static_cast<idtype_t>(17), 0, &si, WEXITED), EINVAL);
  pid = Spawn([] {
    pause();
    return 0;
  });
  memset(&si, 0xff, sizeof si);
  EXPECT_OK(waitid(P_PID, pid, &si, WEXITED | WNOHANG));
  EXPECT_EQ(si.si_pid, 0);  // nothing yet
  kill(pid, SIGSTOP);
  EXPECT_OK(waitid(P_PID, pid, &si, WSTOPPED));
  EXPECT_EQ(si.si_code, CLD_STOPPED);
  EXPECT_EQ(si.si_status, SIGSTOP);
  kill(pid, SIGCONT);
  EXPECT_OK(waitid(P_PID, pid, &si, WCONTINUED));
  EXPECT_EQ(si.si_code, CLD_CONTINUED);
  EXPECT_EQ(si.si_status, SIGCONT);
  kill(pid, SIGKILL);
  EXPECT_OK(waitid(P_PID, pid, &si, WEXITED));
  EXPECT_EQ(si.si_code, CLD_KILLED);
  EXPECT_EQ(si.si_status, SIGKILL);
}

TEST(Wait, ByGroup) {
  COVERS("wait4", "setpgid");
  pid_t a = Spawn([] {
    setpgid(0, 0);
    SleepMs(20);
    return 1;
  });
  setpgid(a, a);
  pid_t b = Spawn([] { return 2; });
  int status;
  EXPECT_RET(waitpid(-a, &status, 0), a);
  EXPECT_RET(waitpid(0, &status, 0), b);
}

TEST(Wait, ResourceUsage) {
  COVERS("wait4", "getrusage");
  pid_t pid = Spawn([] {
    int64_t end = NowNs(CLOCK_PROCESS_CPUTIME_ID) + 60'000'000;
    while (NowNs(CLOCK_PROCESS_CPUTIME_ID) < end) {
    }
    return 0;
  });
  int status;
  rusage u{};
  EXPECT_RET(wait4(pid, &status, 0, &u), pid);
  int64_t us =
      (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
  EXPECT_GE(us, 30000);
  EXPECT_LT(us, 5000000);
  rusage c{};
  EXPECT_OK(getrusage(RUSAGE_CHILDREN, &c));
  EXPECT_GE(c.ru_utime.tv_sec * 1000000 + c.ru_utime.tv_usec + c.ru_stime.tv_sec * 1000000 +
                c.ru_stime.tv_usec,
            us);
}

TEST(Wait, MaximumResidentSet) {
  COVERS("wait4", "getrusage");
  auto run = [](size_t bytes) {
    pid_t pid = Spawn([bytes] {
      memset(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1,
             bytes);
      return 0;
    });
    rusage u{};
    wait4(pid, nullptr, 0, &u);
    return u.ru_maxrss;
  };
  EXPECT_GE(run(4096), 100);
  const long big = run(32 << 20);
  EXPECT_GE(big, 32 << 10);
  EXPECT_LT(big, 256 << 10);
  rusage c{};
  EXPECT_OK(getrusage(RUSAGE_CHILDREN, &c));
  EXPECT_GE(c.ru_maxrss, big);
}

TEST(Wait, IgnoredSigchldReapsByItself) {
  COVERS("rt_sigaction", "wait4");
  EXPECT_CHILD([] {
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0) _exit(1);
    int status;
    CHILD_ERR(waitpid(pid, &status, 0), ECHILD);  // after it ended
    struct sigaction sa {};
    sa.sa_handler = SIG_DFL;
    sa.sa_flags = SA_NOCLDWAIT;
    CHILD_OK(sigaction(SIGCHLD, &sa, nullptr));
    pid = fork();
    if (pid == 0) _exit(1);
    CHILD_ERR(waitpid(pid, &status, 0), ECHILD);
  });
}

TEST(Wait, OrphanGoesToSubreaper) {
  COVERS("prctl", "getppid", "wait4");
  EXPECT_CHILD([] {
    CHILD_OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
    int on = 0;
    CHILD_OK(prctl(PR_GET_CHILD_SUBREAPER, &on));
    CHILD_EQ(on, 1);
    pid_t me = getpid();
    pid_t middle = fork();
    if (middle == 0) {
      if (fork() == 0) {
        bool ok = WaitUntil([&] { return getppid() == me; });
        _exit(ok ? 23 : 24);
      }
      _exit(0);
    }
    int status;
    CHILD_RET(waitpid(middle, &status, 0), middle);
    CHILD_CHECK(waitpid(-1, &status, 0) > 0);
    CHILD_EQ(status, 23 << 8);
  });
}

TEST(Wait, ParentDeathSignal) {
  COVERS("prctl");
  EXPECT_CHILD([] {
    CHILD_OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t middle = fork();
    if (middle == 0) {
      int p[2];
      CHILD_OK(pipe(p));
      if (fork() == 0) {
        CHILD_OK(prctl(PR_SET_PDEATHSIG, SIGUSR1));
        int sig = 0;
        CHILD_OK(prctl(PR_GET_PDEATHSIG, &sig));
        CHILD_EQ(sig, SIGUSR1);
        CHILD_RET(write(p[1], "x", 1), 1);
        SleepMs(10000);
        _exit(0);
      }
      char c;
      CHILD_RET(read(p[0], &c, 1), 1);
      _exit(0);
    }
    int status;
    CHILD_RET(waitpid(middle, &status, 0), middle);
    CHILD_CHECK(waitpid(-1, &status, 0) > 0);
    CHILD_EQ(status, SIGUSR1);
  });
}

TEST(Pidfd, PollWaitAndSignal) {
  COVERS("pidfd_open", "pidfd_send_signal", "waitid", "poll");
  pid_t pid = Spawn([] {
    pause();
    return 0;
  });
  Fd fd(PidfdOpen(pid, 0));
  ASSERT_GE(fd.get(), 0);
  EXPECT_RET(fcntl(fd, F_GETFD), FD_CLOEXEC);
  pollfd p{fd, POLLIN, 0};
  EXPECT_RET(poll(&p, 1, 0), 0);
  siginfo_t si{};
  EXPECT_OK(syscall(SYS_pidfd_send_signal, fd.get(), 0, nullptr, 0));
  EXPECT_OK(syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0));
  EXPECT_RET(poll(&p, 1, 10000), 1);
  EXPECT_TRUE(p.revents & POLLIN);
  EXPECT_OK(waitid(static_cast<idtype_t>(P_PIDFD), fd, &si, WEXITED));
  EXPECT_EQ(si.si_status, SIGKILL);
  EXPECT_ERR(syscall(SYS_pidfd_send_signal, fd.get(), 0, nullptr, 0), ESRCH);
  EXPECT_ERR(PidfdOpen(pid, 0), ESRCH);
  EXPECT_ERR(PidfdOpen(0, 0), EINVAL);
  EXPECT_ERR(PidfdOpen(getpid(), 1), EINVAL);
  EXPECT_ERR(syscall(SYS_pidfd_send_signal, 0x7fff, 0, nullptr, 0), EBADF);
}

TEST(Pidfd, ProcDirectoryTakesSignals) {
  COVERS("pidfd_send_signal");
  pid_t pid = Spawn([] {
    pause();
    return 0;
  });
  const std::string name = "/proc/" + std::to_string(pid);
  Fd dir(open(name.c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_GE(dir.get(), 0);
  Fd below(open((name + "/task").c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_GE(below.get(), 0);
  EXPECT_ERR(syscall(SYS_pidfd_send_signal, below.get(), 0, nullptr, 0), EBADF);
  EXPECT_OK(syscall(SYS_pidfd_send_signal, dir.get(), 0, nullptr, 0));
  EXPECT_OK(syscall(SYS_pidfd_send_signal, dir.get(), SIGTERM, nullptr, 0));
  int status = 0;
  EXPECT_RET(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, SIGTERM);
  EXPECT_ERR(syscall(SYS_pidfd_send_signal, dir.get(), 0, nullptr, 0), ESRCH);
}

TEST(Pidfd, GetDescriptor) {
  COVERS("pidfd_getfd", "pidfd_open");
  int p[2];
  ASSERT_OK(pipe(p));
  pid_t pid = Spawn([&] {
    close(p[0]);
    pause();
    return 0;
  });
  Fd fd(PidfdOpen(pid, 0));
  Fd got(static_cast<int>(syscall(SYS_pidfd_getfd, fd.get(), p[1], 0)));
  ASSERT_GE(got.get(), 0);
  EXPECT_RET(write(got, "y", 1), 1);
  char c = 0;
  EXPECT_RET(read(p[0], &c, 1), 1);
  EXPECT_EQ(c, 'y');
  EXPECT_ERR(syscall(SYS_pidfd_getfd, fd.get(), 999, 0), EBADF);
  EXPECT_ERR(syscall(SYS_pidfd_getfd, fd.get(), p[1], 1), EINVAL);
  kill(pid, SIGKILL);
  WaitFor(pid);
  close(p[0]);
  close(p[1]);
}

TEST(Exec, ArgumentsAndEnvironment) {
  COVERS("execve");
  int status;
  EXPECT_EQ(Output("/bin/sh", {"zero", "-c", "echo \"$0|$1|$2|$V\"", "n", "a b", ""}, &status,
                   {"V=value"}),
            "n|a b||value\n");
  EXPECT_EXIT_STATUS(status, 0);
}

TEST(Exec, Errors) {
  COVERS("execve");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "plain", "#!/bin/sh\n", 0644));
  ASSERT_TRUE(WriteFile(dir / "empty", "", 0755));
  ASSERT_TRUE(WriteFile(dir / "junk", "\x01\x02\x03 no program at all", 0755));
  ASSERT_TRUE(WriteFile(dir / "badinterp", "#!/no/such/interpreter\n", 0755));
  ASSERT_TRUE(WriteFile(dir / "nointerp", "#!\n", 0755));
  ASSERT_TRUE(WriteFile(dir / "dirinterp", "#!/tmp\n", 0755));
  ASSERT_TRUE(WriteFile(dir / "cutelf",
                        std::string("\x7f"
                                    "ELF\x02\x01\x01",
                                    7),
                        0755));
  std::string shell = ReadFile("/bin/sh");
  ASSERT_TRUE(WriteFile(dir / "headonly", shell.substr(0, 64), 0755));
  std::string arm = shell.substr(0, 4096);
  arm[18] = static_cast<char>(183);  // e_machine: aarch64
  ASSERT_TRUE(WriteFile(dir / "arm", arm, 0755));
  char* argv[] = {const_cast<char*>("x"), nullptr};
  char* envp[] = {nullptr};
  auto e = [&](const char* name) { return execve((dir / name).c_str(), argv, envp); };
  EXPECT_ERR(e("plain"), EACCES);
  EXPECT_ERR(e("empty"), ENOEXEC);
  EXPECT_ERR(e("junk"), ENOEXEC);
  EXPECT_ERR(e("badinterp"), ENOENT);
  EXPECT_ERR(e("nointerp"), ENOEXEC);
  EXPECT_ERR(e("dirinterp"), EACCES);
  EXPECT_ERR(e("cutelf"), ENOEXEC);
  EXPECT_ERR(e("arm"), ENOEXEC);
  EXPECT_ERR(e("none"), ENOENT);
  EXPECT_ERR(e("plain/x"), ENOTDIR);
  EXPECT_ERR(execve(dir.path().c_str(), argv, envp), EACCES);
  EXPECT_ERR(execve("", argv, envp), ENOENT);
  EXPECT_ERR(syscall(SYS_execve, nullptr, argv, envp), EFAULT);
  EXPECT_ERR(syscall(SYS_execve, "/bin/true", 8, envp), EFAULT);
  EXPECT_ERR(syscall(SYS_execve, "/bin/true", argv, 8), EFAULT);
}

TEST(Exec, ArgumentListTooLong) {
  COVERS("execve");
  std::string one(131072, 'x');  // MAX_ARG_STRLEN with the NUL is one too many
  char* argv[] = {const_cast<char*>("true"), one.data(), nullptr};
  char* envp[] = {nullptr};
  EXPECT_CHILD([&] { CHILD_ERR(execve("/bin/true", argv, envp), E2BIG); });
  one.resize(131071);
  EXPECT_EXIT_STATUS(WaitFor(Spawn([&] {
                       execve("/bin/true", argv, envp);
                       return errno;
                     })),
                     0);
  std::vector<char*> many(100, one.data());
  many.push_back(nullptr);
  EXPECT_CHILD([&] { CHILD_ERR(execve("/bin/true", many.data(), envp), E2BIG); });
}

TEST(Exec, Script) {
  COVERS("execve");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "s", "#!  /bin/echo  one two  \nignored\n", 0755));
  int status;
  EXPECT_EQ(Output((dir / "s").c_str(), {"argv0", "a", "b"}, &status),
            "one two " + (dir / "s") + " a b\n");
  // A script as the interpreter of a script, five levels at most.
  std::string inner = dir / "s";
  for (int i = 1; i <= 5; i++) {
    std::string name = dir / ("s" + std::to_string(i));
    ASSERT_TRUE(WriteFile(name, "#!" + inner + "\n", 0755));
    inner = name;
  }
  EXPECT_EQ(Output((dir / "s1").c_str(), {"x"}, &status),
            "one two " + (dir / "s") + " " + (dir / "s1") + "\n");
  char* argv[] = {const_cast<char*>("x"), nullptr};
  EXPECT_ERR(execve((dir / "s5").c_str(), argv, argv + 1), ELOOP);
}

TEST(Exec, ClosesCloexecOnly) {
  COVERS("execve", "fcntl");
  int p[2];
  ASSERT_OK(pipe(p));
  int status;
  ASSERT_RET(fcntl(p[1], F_DUPFD, 70), 70);
  ASSERT_RET(fcntl(p[1], F_DUPFD_CLOEXEC, 71), 71);
  Output("/bin/sh", {"sh", "-c", "[ -e /proc/self/fd/70 ] && [ ! -e /proc/self/fd/71 ]"}, &status);
  EXPECT_EXIT_STATUS(status, 0);
  for (int fd : {70, 71, p[0], p[1]}) close(fd);
}

TEST(Exec, SignalStateAcross) {
  COVERS("execve", "rt_sigaction", "rt_sigprocmask");
  int p[2];
  ASSERT_OK(pipe(p));
  pid_t pid = Spawn([&] {
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, [](int) {});
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_SETMASK, &set, nullptr);
    dup2(p[1], 1);
    close(p[1]);
    execl("/bin/cat", "cat", "/proc/self/status", nullptr);
    return 1;
  });
  close(p[1]);
  std::string text = ReadAllFd(Fd(p[0]));
  size_t at = text.find("SigBlk:");
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_EQ(text.substr(at, 75),
            "SigBlk:\t0000000000004000\nSigIgn:\t0000000000000200\nSigCgt:\t0000000000000000\n");
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
}

TEST(Exec, KeepsPidAndSetsName) {
  COVERS("execve", "prctl");
  int p[2];
  ASSERT_OK(pipe(p));
  pid_t pid = Spawn([&] {
    prctl(PR_SET_NAME, "before");
    dup2(p[1], 1);
    close(p[1]);
    execl("/bin/sh", "other-argv0", "-c", "echo $$ $(cat /proc/$$/comm)", nullptr);
    return 1;
  });
  close(p[1]);
  char want[64];
  snprintf(want, sizeof want, "%d sh\n", pid);
  EXPECT_EQ(ReadAllFd(Fd(p[0])), want);
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
}

TEST(Exec, Execveat) {
  COVERS("execveat");
  char* argv[] = {const_cast<char*>("true"), nullptr};
  char* envp[] = {nullptr};
  Fd dir(open("/bin", O_RDONLY | O_DIRECTORY));
  auto run = [&](int fd, const char* path, int flags) {
    return WaitFor(Spawn([&] {
      syscall(SYS_execveat, fd, path, argv, envp, flags);
      return errno;
    }));
  };
  EXPECT_EXIT_STATUS(run(dir, "true", 0), 0);
  Fd f(open("/bin/true", O_PATH | O_CLOEXEC));
  EXPECT_EXIT_STATUS(run(f, "", AT_EMPTY_PATH), 0);
  EXPECT_EXIT_STATUS(run(f, "", 0), ENOENT);
  EXPECT_EXIT_STATUS(run(9999, "true", 0), EBADF);
  EXPECT_EXIT_STATUS(run(dir, "true", 1), EINVAL);
  TempDir tmp;
  ASSERT_OK(symlink("/bin/true", (tmp / "l").c_str()));
  EXPECT_EXIT_STATUS(run(AT_FDCWD, (tmp / "l").c_str(), AT_SYMLINK_NOFOLLOW), ELOOP);
}

TEST(Exec, AuxiliaryVector) {
  COVERS("execve");
  EXPECT_EQ(getauxval(AT_PAGESZ), 4096u);
  EXPECT_EQ(getauxval(AT_CLKTCK), 100u);
  EXPECT_EQ(getauxval(AT_UID), getuid());
  EXPECT_EQ(getauxval(AT_EGID), getegid());
  EXPECT_EQ(getauxval(AT_SECURE), 0u);
  EXPECT_NE(getauxval(AT_RANDOM), 0u);
  EXPECT_NE(getauxval(AT_PHDR), 0u);
  EXPECT_EQ(getauxval(AT_PHENT), sizeof(Elf64_Phdr));
  EXPECT_NE(getauxval(AT_ENTRY), 0u);
  ASSERT_NE(getauxval(AT_EXECFN), 0u);
  EXPECT_NE(strstr(reinterpret_cast<char*>(getauxval(AT_EXECFN)), "fork_exec_test"), nullptr);
  ASSERT_NE(getauxval(AT_PLATFORM), 0u);
  EXPECT_STREQ(reinterpret_cast<char*>(getauxval(AT_PLATFORM)), "x86_64");
}

TEST(Exec, EmptyArgvGetsOneEmptyString) {
  COVERS("execve");
  char* none[] = {nullptr};
  // Since Linux 5.18 argc is never 0: "" is put in.
  pid_t pid = Spawn([&] {
    execve("/bin/true", none, none);
    return errno;
  });
  int status = WaitFor(pid);
  EXPECT_TRUE(WIFEXITED(status));
}

TEST(Exec, SetuidProgram) {
  COVERS("execve", "chmod");
  SKIP_UNLESS_ROOT();
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "id", ReadFile("/usr/bin/id"), 0755));
  ASSERT_OK(chown((dir / "id").c_str(), 1234, 5678));
  ASSERT_OK(chmod((dir / "id").c_str(), 06755));
  auto run = [&](bool nnp) {
    int p[2];
    EXPECT_OK(pipe(p));
    pid_t pid = Spawn([&] {
      if (nnp) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      dup2(p[1], 1);
      close(p[1]);
      systest::BecomeNobody();
      execl((dir / "id").c_str(), "id", "-u", nullptr);
      return 1;
    });
    close(p[1]);
    std::string s = ReadAllFd(Fd(p[0]));
    WaitFor(pid);
    return s;
  };
  EXPECT_EQ(run(false), "1234\n");
  EXPECT_EQ(run(true), "65534\n");
}

}  // namespace
