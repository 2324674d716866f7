// Process groups and sessions.
#include "tests/syscalls/test_util.h"

namespace {

TEST(Session, Setsid) {
  COVERS("setsid", "getsid", "getpgrp", "getpgid");
  EXPECT_CHILD([] {
    CHILD_CHECK(getsid(0) != getpid());
    CHILD_RET(setsid(), getpid());
    CHILD_RET(getsid(0), getpid());
    CHILD_RET(getpgrp(), getpid());
    CHILD_RET(getpgid(getpid()), getpid());
    CHILD_ERR(setsid(), EPERM);
    CHILD_ERR(setpgid(0, 0), EPERM);  // a session leader stays in its group
  });
}

TEST(Session, SetsidOfGroupLeaderFails) {
  COVERS("setsid", "setpgid");
  EXPECT_CHILD([] {
    CHILD_OK(setpgid(0, 0));
    CHILD_ERR(setsid(), EPERM);
  });
}

TEST(Session, Setpgid) {
  COVERS("setpgid", "getpgid");
  EXPECT_CHILD([] {
    CHILD_OK(setpgid(0, 0));
    pid_t mine = getpgrp();
    CHILD_EQ(mine, getpid());
    pid_t a = fork();
    if (a == 0) {
      pause();
      _exit(0);
    }
    CHILD_RET(getpgid(a), mine);
    CHILD_OK(setpgid(a, a));
    CHILD_RET(getpgid(a), a);
    CHILD_OK(setpgid(a, mine));
    CHILD_ERR(setpgid(a, 0x7ffffff0), EPERM);  // no such group in the session
    CHILD_ERR(setpgid(a, -1), EINVAL);
    CHILD_ERR(setpgid(0x7ffffff0, 0), ESRCH);
    CHILD_ERR(setpgid(getppid(), 0), ESRCH);  // not a child
    CHILD_OK(kill(a, SIGKILL));
    WaitFor(a);
    CHILD_ERR(getpgid(0x7ffffff0), ESRCH);
    CHILD_ERR(getsid(0x7ffffff0), ESRCH);
  });
}

TEST(Session, SetpgidOfChildAfterExec) {
  COVERS("setpgid", "execve");
  int p[2];
  ASSERT_OK(pipe2(p, O_CLOEXEC));
  pid_t pid = Spawn([&] {
    execl("/bin/sleep", "sleep", "30", nullptr);
    return 1;
  });
  close(p[1]);
  char c;
  EXPECT_RET(read(p[0], &c, 1), 0);
  close(p[0]);
  EXPECT_ERR(setpgid(pid, pid), EACCES);
  kill(pid, SIGKILL);
  WaitFor(pid);
}

TEST(Session, ChildInOtherSession) {
  COVERS("setpgid", "setsid");
  int p[2];
  ASSERT_OK(pipe(p));
  pid_t pid = Spawn([&] {
    setsid();
    (void)!write(p[1], "x", 1);
    pause();
    return 0;
  });
  char c;
  EXPECT_RET(read(p[0], &c, 1), 1);
  EXPECT_ERR(setpgid(pid, getpgrp()), EPERM);
  EXPECT_RET(getsid(pid), pid);
  kill(pid, SIGKILL);
  WaitFor(pid);
  close(p[0]);
  close(p[1]);
}

TEST(Session, InheritedByFork) {
  COVERS("fork", "getpgrp", "getsid");
  pid_t group = getpgrp(), session = getsid(0);
  EXPECT_CHILD([&] {
    CHILD_EQ(getpgrp(), group);
    CHILD_EQ(getsid(0), session);
  });
}

TEST(Session, OrphanedStoppedGroupIsHungUp) {
  COVERS("exit_group", "kill");
  // A stopped group whose last tie to its session's other groups goes gets SIGHUP and SIGCONT.
  EXPECT_CHILD([] {
    int p[2];
    CHILD_OK(pipe(p));
    pid_t middle = fork();
    if (middle == 0) {
      pid_t child = fork();
      if (child == 0) {
        static int out;
        out = p[1];
        struct sigaction sa {};
        sa.sa_handler = [](int s) {
          char c = s == SIGHUP ? 'H' : 'C';
          (void)!write(out, &c, 1);
        };
        sigaction(SIGHUP, &sa, nullptr);
        sigaction(SIGCONT, &sa, nullptr);
        setpgid(0, 0);
        raise(SIGSTOP);
        _exit(0);
      }
      int status;
      CHILD_RET(waitpid(child, &status, WUNTRACED), child);
      CHILD_CHECK(WIFSTOPPED(status));
      _exit(0);
    }
    CHILD_OK(close(p[1]));
    CHILD_EQ(WaitFor(middle), 0);
    std::string s = ReadAllFd(p[0]);
    CHILD_CHECK(s == "HC" || s == "CH");
  });
}

TEST(Session, TerminalStopIgnoredInOrphanedGroup) {
  COVERS("kill");
  // SIGTSTP's default action does nothing in an orphaned group; SIGSTOP always stops.
  EXPECT_CHILD([] {
    CHILD_OK(setsid());  // the only group of its session: orphaned
    raise(SIGTSTP);
    raise(SIGTTIN);
    raise(SIGTTOU);
  });
}

}  // namespace
