// dup, dup2, dup3, fcntl, ioctl on files; record locks, OFD locks, flock, leases, seals.
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <thread>

#include "tests/syscalls/test_util.h"

#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY 1027
#endif

namespace {

class Fcntl : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFile(Path(), "0123456789"));
    fd_.reset(open(Path().c_str(), O_RDWR));
    ASSERT_GE(fd_.get(), 0);
  }
  std::string Path() { return dir_ / "f"; }
  static struct flock Lock(short type, off_t start, off_t len, short whence = SEEK_SET) {
    struct flock l {};
    l.l_type = type;
    l.l_whence = whence;
    l.l_start = start;
    l.l_len = len;
    return l;
  }
  static int Set(int fd, int cmd, struct flock l) { return fcntl(fd, cmd, &l); }
  TempDir dir_;
  Fd fd_;
};

TEST_F(Fcntl, Dup) {
  COVERS("dup", "dup2", "dup3", "fcntl");
  EXPECT_CHILD([&] {
    int d = dup(fd_);
    CHILD_OK(d);
    CHILD_EQ(dup2(fd_, 60), 60);
    CHILD_EQ(dup2(60, 60), 60);
    CHILD_ERR(dup2(61, 61), EBADF);
    CHILD_ERR(dup2(-1, 62), EBADF);
    CHILD_ERR(dup2(fd_, -1), EBADF);
    CHILD_ERR(dup(-1), EBADF);
    CHILD_ERR(dup3(60, 60, 0), EINVAL);
    CHILD_ERR(dup3(60, 61, O_NONBLOCK), EINVAL);
    CHILD_EQ(dup3(60, 61, O_CLOEXEC), 61);
    CHILD_RET(fcntl(61, F_GETFD), FD_CLOEXEC);
    CHILD_EQ(dup2(60, 61), 61);
    CHILD_RET(fcntl(61, F_GETFD), 0);
    CHILD_RET(fcntl(fd_, F_DUPFD, 200), 200);
    CHILD_RET(fcntl(fd_, F_DUPFD, 200), 201);
    CHILD_RET(fcntl(fd_, F_DUPFD_CLOEXEC, 200), 202);
    CHILD_RET(fcntl(202, F_GETFD), FD_CLOEXEC);
    CHILD_ERR(fcntl(fd_, F_DUPFD, -1), EINVAL);
    CHILD_ERR(fcntl(fd_, F_DUPFD, 1 << 30), EINVAL);
  });
}

TEST_F(Fcntl, DescriptorFlagsArePerDescriptor) {
  COVERS("fcntl");
  Fd d(dup(fd_));
  EXPECT_OK(fcntl(fd_, F_SETFD, FD_CLOEXEC));
  EXPECT_RET(fcntl(fd_, F_GETFD), FD_CLOEXEC);
  EXPECT_RET(fcntl(d, F_GETFD), 0);
  EXPECT_OK(fcntl(fd_, F_SETFD, 0));
  EXPECT_RET(fcntl(fd_, F_GETFD), 0);
}

TEST_F(Fcntl, StatusFlagsAreShared) {
  COVERS("fcntl", "ioctl");
  Fd d(dup(fd_));
  EXPECT_OK(fcntl(fd_, F_SETFL, O_NONBLOCK | O_APPEND));
  EXPECT_RET(fcntl(d, F_GETFL), O_RDWR | O_NONBLOCK | O_APPEND | 0100000);
  // Access mode and creation flags can't be changed, and are ignored.
  EXPECT_OK(fcntl(fd_, F_SETFL, O_WRONLY | O_TRUNC | O_CREAT));
  EXPECT_RET(fcntl(d, F_GETFL), O_RDWR | 0100000);
  EXPECT_EQ(ReadFile(Path()), "0123456789");
  int on = 1;
  EXPECT_OK(ioctl(fd_, FIONBIO, &on));
  EXPECT_RET(fcntl(d, F_GETFL), O_RDWR | O_NONBLOCK | 0100000);
}

TEST_F(Fcntl, Ioctls) {
  COVERS("ioctl");
  EXPECT_OK(ioctl(fd_, FIOCLEX));
  EXPECT_RET(fcntl(fd_, F_GETFD), FD_CLOEXEC);
  EXPECT_OK(ioctl(fd_, FIONCLEX));
  EXPECT_RET(fcntl(fd_, F_GETFD), 0);
  int n = 0;
  EXPECT_RET(lseek(fd_, 4, SEEK_SET), 4);
  EXPECT_OK(ioctl(fd_, FIONREAD, &n));
  EXPECT_EQ(n, 6);
  EXPECT_ERR(ioctl(fd_, TCGETS, &n), ENOTTY);
  EXPECT_ERR(ioctl(fd_, 0xdeadbeef, 0), ENOTTY);
  EXPECT_ERR(ioctl(-1, FIONREAD, &n), EBADF);
  EXPECT_ERR(ioctl(fd_, FIONBIO, reinterpret_cast<int*>(8)), EFAULT);
}

TEST_F(Fcntl, UnknownCommand) {
  COVERS("fcntl");
  EXPECT_ERR(fcntl(fd_, 9999), EINVAL);
  EXPECT_ERR(fcntl(-1, 9999), EBADF);
  EXPECT_ERR(fcntl(-1, F_GETFL), EBADF);
}

TEST_F(Fcntl, Owner) {
  COVERS("fcntl");
  int p[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
  EXPECT_RET(fcntl(p[0], F_GETOWN), 0);
  EXPECT_OK(fcntl(p[0], F_SETOWN, getpid()));
  EXPECT_RET(fcntl(p[0], F_GETOWN), getpid());
  EXPECT_OK(fcntl(p[0], F_SETOWN, -getpgrp()));
  f_owner_ex o{};
  EXPECT_OK(fcntl(p[0], F_GETOWN_EX, &o));
  EXPECT_EQ(o.type, F_OWNER_PGRP);
  EXPECT_EQ(o.pid, getpgrp());
  o = {F_OWNER_TID, static_cast<pid_t>(syscall(SYS_gettid))};
  EXPECT_OK(fcntl(p[0], F_SETOWN_EX, &o));
  o = {};
  EXPECT_OK(fcntl(p[0], F_GETOWN_EX, &o));
  EXPECT_EQ(o.type, F_OWNER_TID);
  EXPECT_ERR(fcntl(p[0], F_SETOWN, 0x7ffffff0), ESRCH);
  EXPECT_OK(fcntl(p[0], F_SETSIG, SIGUSR1));
  EXPECT_RET(fcntl(p[0], F_GETSIG), SIGUSR1);
  EXPECT_ERR(fcntl(p[0], F_SETSIG, 65), EINVAL);
  close(p[0]);
  close(p[1]);
}

TEST_F(Fcntl, SigioOnInput) {
  COVERS("fcntl", "rt_sigtimedwait");
  EXPECT_CHILD([] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    CHILD_OK(sigprocmask(SIG_BLOCK, &set, nullptr));
    int s[2];
    CHILD_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    CHILD_OK(fcntl(s[0], F_SETOWN, getpid()));
    CHILD_OK(fcntl(s[0], F_SETFL, O_ASYNC));
    CHILD_CHECK(fcntl(s[0], F_GETFL) & O_ASYNC);
    CHILD_RET(write(s[1], "x", 1), 1);
    timespec t{5, 0};
    CHILD_RET(sigtimedwait(&set, nullptr, &t), SIGIO);
  });
}

TEST_F(Fcntl, RecordLockConflict) {
  COVERS("fcntl");
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 2, 4)));
  EXPECT_CHILD([&] {
    int fd = open(Path().c_str(), O_RDWR);
    CHILD_ERR(Set(fd, F_SETLK, Lock(F_WRLCK, 0, 3)), EAGAIN);
    CHILD_ERR(Set(fd, F_SETLK, Lock(F_RDLCK, 5, 1)), EAGAIN);
    CHILD_OK(Set(fd, F_SETLK, Lock(F_WRLCK, 0, 2)));
    CHILD_OK(Set(fd, F_SETLK, Lock(F_WRLCK, 6, 0)));
    struct flock l = Lock(F_WRLCK, 0, 0);
    CHILD_OK(fcntl(fd, F_GETLK, &l));
    CHILD_EQ(l.l_type, F_WRLCK);
    CHILD_EQ(l.l_whence, SEEK_SET);
    CHILD_EQ(l.l_start, 2);
    CHILD_EQ(l.l_len, 4);
    CHILD_EQ(l.l_pid, getppid());
    l = Lock(F_WRLCK, 100, 5);
    CHILD_OK(fcntl(fd, F_GETLK, &l));
    CHILD_EQ(l.l_type, F_UNLCK);
  });
}

TEST_F(Fcntl, RecordLockSharedAndUpgrade) {
  COVERS("fcntl");
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_RDLCK, 0, 10)));
  EXPECT_CHILD([&] {
    int fd = open(Path().c_str(), O_RDWR);
    CHILD_OK(Set(fd, F_SETLK, Lock(F_RDLCK, 0, 10)));
    CHILD_ERR(Set(fd, F_SETLK, Lock(F_WRLCK, 0, 10)), EAGAIN);
  });
  EXPECT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 10)));
}

TEST_F(Fcntl, RecordLockSplit) {
  COVERS("fcntl");
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 10)));
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_UNLCK, 3, 4)));
  EXPECT_CHILD([&] {
    int fd = open(Path().c_str(), O_RDWR);
    struct flock l = Lock(F_RDLCK, 0, 0);
    CHILD_OK(fcntl(fd, F_GETLK, &l));
    CHILD_EQ(l.l_start, 0);
    CHILD_EQ(l.l_len, 3);
    l = Lock(F_RDLCK, 3, 0);
    CHILD_OK(fcntl(fd, F_GETLK, &l));
    CHILD_EQ(l.l_start, 7);
    CHILD_EQ(l.l_len, 3);
    CHILD_OK(Set(fd, F_SETLK, Lock(F_WRLCK, 3, 4)));
  });
}

TEST_F(Fcntl, RecordLockRanges) {
  COVERS("fcntl");
  EXPECT_RET(lseek(fd_, 5, SEEK_SET), 5);
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 1, 1, SEEK_CUR)));
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, -1, 1, SEEK_END)));
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 4, -2)));
  EXPECT_CHILD([&] {
    int fd = open(Path().c_str(), O_RDWR);
    struct flock l = Lock(F_WRLCK, 0, 0);
    CHILD_OK(fcntl(fd, F_GETLK, &l));
    CHILD_EQ(l.l_start, 2);
    CHILD_EQ(l.l_len, 2);
    l = Lock(F_WRLCK, 4, 5);
    CHILD_OK(fcntl(fd, F_GETLK, &l));
    CHILD_EQ(l.l_start, 6);
    l = Lock(F_WRLCK, 8, 0);
    CHILD_OK(fcntl(fd, F_GETLK, &l));
    CHILD_EQ(l.l_start, 9);
  });
  EXPECT_ERR(Set(fd_, F_SETLK, Lock(F_WRLCK, -1, 1)), EINVAL);
  EXPECT_ERR(Set(fd_, F_SETLK, Lock(F_WRLCK, 1, -2)), EINVAL);
  EXPECT_ERR(Set(fd_, F_SETLK, Lock(7, 0, 1)), EINVAL);
  EXPECT_ERR(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 1, 9)), EINVAL);
  EXPECT_ERR(Set(fd_, F_SETLK, Lock(F_WRLCK, INT64_MAX, 2)), EOVERFLOW);
  EXPECT_ERR(fcntl(fd_, F_SETLK, reinterpret_cast<struct flock*>(8)), EFAULT);
}

TEST_F(Fcntl, RecordLockNeedsAccessMode) {
  COVERS("fcntl");
  Fd ro(open(Path().c_str(), O_RDONLY)), wo(open(Path().c_str(), O_WRONLY));
  EXPECT_ERR(Set(ro, F_SETLK, Lock(F_WRLCK, 0, 1)), EBADF);
  EXPECT_ERR(Set(wo, F_SETLK, Lock(F_RDLCK, 0, 1)), EBADF);
  EXPECT_OK(Set(ro, F_SETLK, Lock(F_RDLCK, 0, 1)));
}

TEST_F(Fcntl, ClosingAnyDescriptorDropsRecordLocks) {
  COVERS("fcntl", "close");
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 1)));
  close(open(Path().c_str(), O_RDONLY));
  EXPECT_CHILD([&] {
    int fd = open(Path().c_str(), O_RDWR);
    CHILD_OK(Set(fd, F_SETLK, Lock(F_WRLCK, 0, 1)));
  });
}

TEST_F(Fcntl, RecordLocksAreNotInheritedByFork) {
  COVERS("fcntl", "fork");
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 1)));
  EXPECT_CHILD([&] { CHILD_ERR(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 1)), EAGAIN); });
  // The child's exit closed its copy of the descriptor, which must not drop the parent's lock.
  EXPECT_CHILD([&] { CHILD_ERR(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 1)), EAGAIN); });
}

TEST_F(Fcntl, RecordLockWaits) {
  COVERS("fcntl");
  int p[2];
  ASSERT_OK(pipe(p));
  pid_t pid = Spawn([&] {
    if (Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 1)) != 0) return 1;
    if (write(p[1], "x", 1) != 1) return 2;
    SleepMs(100);
    return 0;
  });
  char c;
  ASSERT_RET(read(p[0], &c, 1), 1);
  EXPECT_OK(Set(fd_, F_SETLKW, Lock(F_WRLCK, 0, 1)));  // until the child has gone
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  close(p[0]);
  close(p[1]);
}

TEST_F(Fcntl, RecordLockWaitInterrupted) {
  COVERS("fcntl", "alarm");
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 1)));
  EXPECT_CHILD([&] {
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    ualarm(50000, 50000);
    CHILD_ERR(Set(fd_, F_SETLKW, Lock(F_WRLCK, 0, 1)), EINTR);
  });
}

TEST_F(Fcntl, RecordLockDeadlock) {
  COVERS("fcntl");
  ASSERT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 1)));
  int p[2];
  ASSERT_OK(pipe(p));
  pid_t pid = Spawn([&] {
    if (Set(fd_, F_SETLK, Lock(F_WRLCK, 1, 1)) != 0) return 1;
    if (write(p[1], "x", 1) != 1) return 2;
    return Set(fd_, F_SETLKW, Lock(F_WRLCK, 0, 1)) == 0 ? 0 : 3;
  });
  char c;
  ASSERT_RET(read(p[0], &c, 1), 1);
  // As soon as the child waits for us, waiting for it is refused.
  bool seen = false;
  for (int i = 0; i < 100 && !seen; i++) {
    SleepMs(20);
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    sigaction(SIGALRM, &sa, nullptr);
    ualarm(300000, 0);
    int r = Set(fd_, F_SETLKW, Lock(F_WRLCK, 1, 1));
    int e = errno;
    ualarm(0, 0);
    signal(SIGALRM, SIG_DFL);
    ASSERT_EQ(r, -1);
    seen = e == EDEADLK;
    ASSERT_TRUE(seen || e == EINTR) << systest::ErrnoText(e);
  }
  EXPECT_TRUE(seen);
  EXPECT_OK(Set(fd_, F_SETLK, Lock(F_UNLCK, 0, 1)));
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  close(p[0]);
  close(p[1]);
}

TEST_F(Fcntl, OfdLocks) {
  COVERS("fcntl");
  Fd other(open(Path().c_str(), O_RDWR));
  ASSERT_OK(Set(fd_, F_OFD_SETLK, Lock(F_WRLCK, 0, 4)));
  EXPECT_ERR(Set(other, F_OFD_SETLK, Lock(F_WRLCK, 3, 1)), EAGAIN);
  EXPECT_OK(Set(other, F_OFD_SETLK, Lock(F_WRLCK, 4, 1)));
  struct flock l = Lock(F_WRLCK, 0, 0);
  EXPECT_OK(fcntl(other, F_OFD_GETLK, &l));
  EXPECT_EQ(l.l_type, F_WRLCK);
  EXPECT_EQ(l.l_pid, -1);
  EXPECT_EQ(l.l_len, 4);
  l.l_pid = 1;
  EXPECT_ERR(fcntl(other, F_OFD_SETLK, &l), EINVAL);
  // Owned by the description: shared with a child, and conflicting with record locks.
  EXPECT_CHILD([&] {
    CHILD_OK(Set(fd_, F_OFD_SETLK, Lock(F_WRLCK, 0, 4)));
    CHILD_ERR(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 4)), EAGAIN);
  });
  EXPECT_ERR(Set(other, F_OFD_SETLK, Lock(F_WRLCK, 0, 1)), EAGAIN);
  fd_.reset();
  EXPECT_OK(Set(other, F_OFD_SETLK, Lock(F_WRLCK, 0, 1)));
}

TEST_F(Fcntl, Flock) {
  COVERS("flock");
  Fd a(open(Path().c_str(), O_RDONLY)), b(open(Path().c_str(), O_RDONLY));
  Fd a2(dup(a));
  EXPECT_OK(flock(a, LOCK_EX));
  EXPECT_ERR(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  EXPECT_ERR(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
  EXPECT_OK(flock(a2, LOCK_SH));  // converts: same description
  EXPECT_OK(flock(b, LOCK_SH | LOCK_NB));
  EXPECT_ERR(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  EXPECT_OK(flock(b, LOCK_UN));
  EXPECT_OK(flock(b, LOCK_UN));
  EXPECT_ERR(flock(-1, LOCK_SH), EBADF);
  EXPECT_ERR(flock(a, 0), EINVAL);
  EXPECT_ERR(flock(a, LOCK_SH | LOCK_EX), EINVAL);
}

TEST_F(Fcntl, FlockLivesUntilLastDescriptor) {
  COVERS("flock", "dup", "close");
  Fd a(open(Path().c_str(), O_RDONLY)), b(open(Path().c_str(), O_RDONLY));
  Fd a2(dup(a));
  ASSERT_OK(flock(a, LOCK_EX));
  a.reset();
  EXPECT_ERR(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  a2.reset();
  EXPECT_OK(flock(b, LOCK_EX | LOCK_NB));
  // And it doesn't meet record locks.
  EXPECT_OK(Set(fd_, F_SETLK, Lock(F_WRLCK, 0, 0)));
}

TEST_F(Fcntl, FlockWaits) {
  COVERS("flock");
  Fd a(open(Path().c_str(), O_RDONLY));
  ASSERT_OK(flock(a, LOCK_EX));
  std::thread t([&] {
    Fd b(open(Path().c_str(), O_RDONLY));
    EXPECT_OK(flock(b, LOCK_EX));
  });
  SleepMs(50);
  EXPECT_OK(flock(a, LOCK_UN));
  t.join();
}

TEST_F(Fcntl, PipeSize) {
  COVERS("fcntl");
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_RET(fcntl(p[0], F_GETPIPE_SZ), 65536);
  EXPECT_RET(fcntl(p[1], F_SETPIPE_SZ, 5000), 8192);
  EXPECT_RET(fcntl(p[0], F_GETPIPE_SZ), 8192);
  EXPECT_RET(fcntl(p[1], F_SETPIPE_SZ, 1), 4096);
  EXPECT_RET(fcntl(p[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
  std::string data(8192, 'x');
  EXPECT_RET(write(p[1], data.data(), data.size()), 8192);
  EXPECT_ERR(fcntl(p[1], F_SETPIPE_SZ, 4096), EBUSY);
  EXPECT_ERR(fcntl(fd_, F_GETPIPE_SZ), EBADF);
  EXPECT_ERR(fcntl(fd_, F_SETPIPE_SZ, 4096), EBADF);
  close(p[0]);
  close(p[1]);
}

TEST_F(Fcntl, Seals) {
  COVERS("memfd_create", "fcntl");
  Fd m(memfd_create("seal", MFD_ALLOW_SEALING));
  ASSERT_GE(m.get(), 0);
  EXPECT_RET(fcntl(m, F_GET_SEALS), 0);
  ASSERT_OK(ftruncate(m, 4096));
  EXPECT_OK(fcntl(m, F_ADD_SEALS, F_SEAL_GROW));
  EXPECT_ERR(ftruncate(m, 8192), EPERM);
  EXPECT_OK(ftruncate(m, 2048));
  EXPECT_OK(fcntl(m, F_ADD_SEALS, F_SEAL_SHRINK));
  EXPECT_ERR(ftruncate(m, 1024), EPERM);
  void* p = mmap(nullptr, 2048, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_ERR(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
  munmap(p, 2048);
  EXPECT_OK(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
  EXPECT_ERR(write(m, "x", 1), EPERM);
  EXPECT_ERR(mmap(nullptr, 2048, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0), EPERM);
  EXPECT_OK(fcntl(m, F_ADD_SEALS, F_SEAL_SEAL));
  EXPECT_ERR(fcntl(m, F_ADD_SEALS, F_SEAL_GROW), EPERM);
  EXPECT_RET(fcntl(m, F_GET_SEALS), 15);
  Fd unsealable(memfd_create("no", 0));
  EXPECT_RET(fcntl(unsealable, F_GET_SEALS), F_SEAL_SEAL);
  EXPECT_ERR(fcntl(unsealable, F_ADD_SEALS, F_SEAL_GROW), EPERM);
  EXPECT_ERR(fcntl(fd_, F_GET_SEALS), EINVAL);
}

TEST_F(Fcntl, LeaseArguments) {
  COVERS("fcntl");
  EXPECT_RET(fcntl(fd_, F_GETLEASE), F_UNLCK);
  EXPECT_ERR(fcntl(fd_, F_SETLEASE, 99), EINVAL);
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_ERR(fcntl(p[0], F_SETLEASE, F_RDLCK), EINVAL);
  close(p[0]);
  close(p[1]);
}

}  // namespace
