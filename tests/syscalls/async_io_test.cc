// Signal-driven I/O: F_SETOWN and its relatives, F_SETSIG, O_ASYNC, FIOASYNC.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <atomic>

#include "tests/syscalls/test_util.h"

#ifndef FIOSETOWN
#define FIOSETOWN 0x8901
#define FIOGETOWN 0x8903
#endif

namespace {

void Block(int sig) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, sig);
  CHILD_OK(sigprocmask(SIG_BLOCK, &set, nullptr));
}

// The next sig, or a signal number of -1 if none comes in ms.
siginfo_t Next(int sig, int ms = 5000) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, sig);
  siginfo_t info{};
  timespec t{ms / 1000, ms % 1000 * 1000000};
  if (sigtimedwait(&set, &info, &t) < 0) info.si_signo = -1;
  return info;
}

void Async(int fd, pid_t owner, int sig) {
  CHILD_OK(fcntl(fd, F_SETOWN, owner));
  if (sig != 0) CHILD_OK(fcntl(fd, F_SETSIG, sig));
  CHILD_OK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC));
}

TEST(AsyncIo, PipeWithRealTimeSignal) {
  COVERS("fcntl", "rt_sigtimedwait");
  EXPECT_CHILD([] {
    const int sig = SIGRTMIN + 1;
    Block(sig);
    int p[2];
    CHILD_OK(pipe(p));
    Async(p[0], getpid(), sig);
    CHILD_RET(write(p[1], "a", 1), 1);
    siginfo_t i = Next(sig);
    CHILD_EQ(i.si_signo, sig);
    CHILD_EQ(i.si_code, POLL_IN);
    CHILD_EQ(i.si_band, POLLIN | POLLRDNORM);
    CHILD_EQ(i.si_fd, p[0]);
    // Off again.
    CHILD_OK(fcntl(p[0], F_SETFL, 0));
    CHILD_RET(write(p[1], "a", 1), 1);
    CHILD_EQ(Next(sig, 50).si_signo, -1);
  });
}

TEST(AsyncIo, HandlerRunsBeforeTheCallReturns) {
  COVERS("fcntl", "write");
  EXPECT_CHILD([] {
    static volatile sig_atomic_t count = 0;
    static volatile int code = 0;
    struct sigaction sa {};
    sa.sa_flags = SA_SIGINFO;
    sa.sa_sigaction = [](int, siginfo_t* i, void*) {
      count = count + 1;
      code = i->si_code;
    };
    CHILD_OK(sigaction(SIGIO, &sa, nullptr));
    int s[2];
    CHILD_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    Async(s[0], getpid(), 0);
    CHILD_RET(write(s[1], "x", 1), 1);
    CHILD_EQ(count, 1);
    CHILD_EQ(code, SI_KERNEL);
    CHILD_RET(write(s[1], "x", 1), 1);
    CHILD_EQ(count, 2);
  });
}

TEST(AsyncIo, Hangup) {
  COVERS("fcntl", "close");
  EXPECT_CHILD([] {
    const int sig = SIGRTMIN;
    Block(sig);
    int s[2];
    CHILD_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    Async(s[0], getpid(), sig);
    CHILD_OK(close(s[1]));
    siginfo_t i = Next(sig);
    CHILD_EQ(i.si_signo, sig);
    CHILD_EQ(i.si_code, POLL_HUP);
    CHILD_EQ(i.si_band, POLLHUP | POLLERR);
  });
}

TEST(AsyncIo, ProcessGroupAndThread) {
  COVERS("fcntl", "setpgid");
  EXPECT_CHILD([] {
    Block(SIGIO);
    CHILD_OK(setpgid(0, 0));
    int p[2], ready[2];
    CHILD_OK(pipe(p));
    CHILD_OK(pipe(ready));
    pid_t pid = fork();
    if (pid == 0) {
      CHILD_RET(write(ready[1], "r", 1), 1);
      CHILD_EQ(Next(SIGIO).si_signo, SIGIO);
      _exit(0);
    }
    char c;
    CHILD_RET(read(ready[0], &c, 1), 1);
    Async(p[0], -getpgrp(), 0);
    CHILD_RET(fcntl(p[0], F_GETOWN), -getpgrp());
    CHILD_RET(write(p[1], "a", 1), 1);
    CHILD_EQ(Next(SIGIO).si_signo, SIGIO);
    CHILD_EQ(WaitFor(pid), 0);
    f_owner_ex o{F_OWNER_TID, static_cast<pid_t>(syscall(SYS_gettid))};
    CHILD_OK(fcntl(p[0], F_SETOWN_EX, &o));
    CHILD_RET(write(p[1], "a", 1), 1);
    CHILD_EQ(Next(SIGIO).si_signo, SIGIO);
  });
}

TEST(AsyncIo, OwnerGoesAway) {
  COVERS("fcntl", "wait4");
  EXPECT_CHILD([] {
    int p[2];
    CHILD_OK(pipe(p));
    CHILD_RET(fcntl(p[0], F_GETOWN), 0);
    pid_t pid = Spawn([] {
      pause();
      return 0;
    });
    CHILD_OK(fcntl(p[0], F_SETOWN, pid));
    CHILD_RET(fcntl(p[0], F_GETOWN), pid);
    uid_t ids[2] = {99, 99};
    CHILD_OK(fcntl(p[0], 17 /* F_GETOWNER_UIDS */, ids));
    CHILD_EQ(ids[0], getuid());
    CHILD_EQ(ids[1], geteuid());
    kill(pid, SIGKILL);
    WaitFor(pid);
    CHILD_RET(fcntl(p[0], F_GETOWN), 0);
    CHILD_ERR(fcntl(p[0], F_SETOWN, pid), ESRCH);
    CHILD_ERR(fcntl(p[0], F_SETOWN, -pid), ESRCH);
    CHILD_OK(fcntl(p[0], F_SETOWN, 0));
    CHILD_RET(fcntl(p[0], F_GETOWN), 0);
    f_owner_ex o{static_cast<decltype(f_owner_ex::type)>(7), getpid()};
    CHILD_ERR(fcntl(p[0], F_SETOWN_EX, &o), EINVAL);
  });
}

TEST(AsyncIo, OnlyThosePermitted) {
  COVERS("fcntl");
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([] {
    Block(SIGIO);
    const pid_t parent = getpid();
    int p[2];
    CHILD_OK(pipe(p));
    pid_t pid = fork();
    if (pid == 0) {
      systest::BecomeNobody();
      Async(p[0], parent, 0);  // setting it is allowed, sending isn't
      CHILD_RET(write(p[1], "a", 1), 1);
      _exit(0);
    }
    CHILD_EQ(WaitFor(pid), 0);
    CHILD_EQ(Next(SIGIO, 50).si_signo, -1);
  });
}

TEST(AsyncIo, Ioctls) {
  COVERS("ioctl");
  EXPECT_CHILD([] {
    Block(SIGIO);
    int s[2];
    CHILD_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    int v = getpid();
    CHILD_OK(ioctl(s[0], FIOSETOWN, &v));
    v = 0;
    CHILD_OK(ioctl(s[0], FIOGETOWN, &v));
    CHILD_EQ(v, getpid());
    int gone = 0x7ffffff0;
    CHILD_ERR(ioctl(s[0], FIOSETOWN, &gone), ESRCH);
    int on = 1;
    CHILD_OK(ioctl(s[0], FIOASYNC, &on));
    CHILD_CHECK(fcntl(s[0], F_GETFL) & O_ASYNC);
    CHILD_RET(write(s[1], "x", 1), 1);
    CHILD_EQ(Next(SIGIO).si_signo, SIGIO);
    on = 0;
    CHILD_OK(ioctl(s[0], FIOASYNC, &on));
    CHILD_CHECK(!(fcntl(s[0], F_GETFL) & O_ASYNC));
    int p[2];
    CHILD_OK(pipe(p));
    CHILD_ERR(ioctl(p[0], FIOSETOWN, &v), ENOTTY);
    int e = eventfd(0, 0);
    on = 1;
    CHILD_ERR(ioctl(e, FIOASYNC, &on), ENOTTY);  // an eventfd signals nobody
  });
}

TEST(AsyncIo, TerminalAndInotify) {
  COVERS("fcntl", "inotify_add_watch");
  TempDir dir;
  EXPECT_CHILD([&] {
    Block(SIGIO);
    int m = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    CHILD_OK(m);
    int unlock = 0;
    CHILD_OK(ioctl(m, TIOCSPTLCK, &unlock));
    int t = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    CHILD_OK(t);
    Async(t, getpid(), 0);
    CHILD_RET(write(m, "line\n", 5), 5);
    CHILD_EQ(Next(SIGIO).si_signo, SIGIO);
    CHILD_OK(fcntl(t, F_SETFL, 0));
    while (Next(SIGIO, 0).si_signo == SIGIO) {
    }
    int i = inotify_init();
    CHILD_OK(i);
    CHILD_OK(inotify_add_watch(i, dir.path().c_str(), IN_CREATE));
    Async(i, getpid(), 0);
    CHILD_OK(mkdir((dir / "d").c_str(), 0700));
    CHILD_EQ(Next(SIGIO).si_signo, SIGIO);
  });
}

TEST(AsyncIo, DescriptionNotDescriptor) {
  COVERS("fcntl", "dup", "close");
  EXPECT_CHILD([] {
    const int sig = SIGRTMIN + 2;
    Block(sig);
    int p[2];
    CHILD_OK(pipe(p));
    Async(p[0], getpid(), sig);
    int other = dup(p[0]);
    CHILD_OK(other);
    CHILD_OK(close(p[0]));
    CHILD_RET(write(p[1], "a", 1), 1);
    siginfo_t i = Next(sig);
    CHILD_EQ(i.si_signo, sig);
    CHILD_EQ(i.si_fd, p[0]);  // the one that O_ASYNC was set by
    CHILD_OK(close(other));
    CHILD_EQ(Next(sig, 20).si_signo, -1);
  });
}

}  // namespace
