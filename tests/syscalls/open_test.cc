// open, openat, openat2, creat, close, close_range, umask.
#include <linux/openat2.h>
#include <sys/resource.h>

#include "tests/syscalls/test_util.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace {

class Open : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFile(dir_ / "file", "content"));
    ASSERT_OK(mkdir((dir_ / "sub").c_str(), 0755));
    ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
    ASSERT_OK(symlink("none", (dir_ / "dangling").c_str()));
  }
  std::string P(const char* name) { return dir_ / name; }
  int O(const char* name, int flags, mode_t mode = 0644) {
    return open(P(name).c_str(), flags, mode);
  }
  TempDir dir_;
};

int Openat2(int dirfd, const char* path, open_how how, size_t size = sizeof(open_how)) {
  return static_cast<int>(syscall(SYS_openat2, dirfd, path, &how, size));
}

TEST_F(Open, LowestFreeDescriptor) {
  COVERS("openat", "close", "dup");
  EXPECT_CHILD([&] {
    int a = O("file", O_RDONLY), b = O("file", O_RDONLY), c = O("file", O_RDONLY);
    CHILD_CHECK(a >= 0 && b > a && c > b);
    CHILD_OK(close(a));
    CHILD_OK(close(b));
    CHILD_EQ(O("file", O_RDONLY), a);
    CHILD_EQ(dup(c), b);
    CHILD_ERR(close(1000), EBADF);
    CHILD_ERR(close(-1), EBADF);
  });
}

TEST_F(Open, CreateAndExclusive) {
  COVERS("openat", "open");
  EXPECT_ERR(O("new", O_RDWR), ENOENT);
  Fd a(O("new", O_RDWR | O_CREAT | O_EXCL, 0640));
  EXPECT_GE(a.get(), 0);
  EXPECT_ERR(O("new", O_RDWR | O_CREAT | O_EXCL), EEXIST);
  EXPECT_ERR(O("dangling", O_RDWR | O_CREAT | O_EXCL), EEXIST);
  EXPECT_ERR(O("sub", O_RDONLY | O_CREAT | O_EXCL), EEXIST);
  EXPECT_ERR(O("sub", O_RDONLY | O_CREAT), EISDIR);
  EXPECT_ERR(O("sub", O_RDWR), EISDIR);
  EXPECT_ERR(O("sub", O_WRONLY), EISDIR);
  EXPECT_ERR(O("new/", O_RDWR | O_CREAT), EISDIR);
  EXPECT_ERR(O("other/", O_RDWR | O_CREAT), EISDIR);
  EXPECT_ERR(O("file/", O_RDONLY), ENOTDIR);
  Fd raw(static_cast<int>(syscall(SYS_open, P("viaopen").c_str(), O_CREAT | O_RDWR, 0600)));
  EXPECT_GE(raw.get(), 0);
}

TEST_F(Open, CreateThroughDanglingLink) {
  COVERS("openat");
  Fd a(O("dangling", O_RDWR | O_CREAT));
  EXPECT_GE(a.get(), 0);
  EXPECT_OK(access(P("none").c_str(), F_OK));
}

TEST_F(Open, ModeAndUmask) {
  COVERS("openat", "umask", "creat");
  EXPECT_CHILD([&] {
    umask(027);
    CHILD_EQ(umask(027), 027);
    struct stat st;
    CHILD_OK(O("m", O_RDWR | O_CREAT, 0777));
    CHILD_OK(stat(P("m").c_str(), &st));
    CHILD_EQ(st.st_mode, S_IFREG | 0750);
    umask(0);
    CHILD_OK(O("n", O_RDWR | O_CREAT, 07777));
    CHILD_OK(stat(P("n").c_str(), &st));
    CHILD_EQ(st.st_mode, S_IFREG | 07777);
    CHILD_OK(creat(P("c").c_str(), 0604));
    CHILD_OK(stat(P("c").c_str(), &st));
    CHILD_EQ(st.st_mode, S_IFREG | 0604);
    CHILD_EQ(umask(0xffff), 0);
    CHILD_EQ(umask(0), 0777);
  });
}

TEST_F(Open, NewFileWithoutWritePermissionCanStillBeWritten) {
  COVERS("openat");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chmod(dir_.path().c_str(), 0777));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    int fd = O("ro", O_RDWR | O_CREAT, 0444);
    CHILD_OK(fd);
    CHILD_RET(write(fd, "x", 1), 1);
    CHILD_ERR(O("ro", O_RDWR), EACCES);
    CHILD_OK(O("ro", O_RDONLY));
  });
}

TEST_F(Open, Truncate) {
  COVERS("openat");
  Fd a(O("file", O_RDONLY));
  EXPECT_GE(a.get(), 0);
  Fd b(O("file", O_WRONLY | O_TRUNC));
  EXPECT_EQ(ReadFile(P("file")), "");
}

TEST_F(Open, Directory) {
  COVERS("openat");
  Fd d(O("sub", O_RDONLY | O_DIRECTORY));
  EXPECT_GE(d.get(), 0);
  EXPECT_ERR(O("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
  EXPECT_ERR(O("link", O_RDONLY | O_DIRECTORY), ENOTDIR);
  Fd s(O("sub/", O_RDONLY));
  EXPECT_GE(s.get(), 0);
}

TEST_F(Open, NoFollow) {
  COVERS("openat");
  EXPECT_ERR(O("link", O_RDONLY | O_NOFOLLOW), ELOOP);
  Fd ok(O("file", O_RDONLY | O_NOFOLLOW));
  EXPECT_GE(ok.get(), 0);
  Fd p(O("link", O_PATH | O_NOFOLLOW));
  ASSERT_GE(p.get(), 0);
  struct stat st {};
  EXPECT_OK(fstat(p, &st));
  EXPECT_EQ(st.st_mode & S_IFMT, mode_t{S_IFLNK});
  char buf[16] = {};
  EXPECT_RET(readlinkat(p, "", buf, sizeof buf), 4);
  EXPECT_STREQ(buf, "file");
}

TEST_F(Open, PathDescriptor) {
  COVERS("openat", "fstat", "fchdir", "linkat", "fchmod", "fcntl");
  SKIP_UNLESS_ROOT();
  Fd p(O("file", O_PATH));
  ASSERT_GE(p.get(), 0);
  EXPECT_RET(fcntl(p, F_GETFL), O_PATH);
  EXPECT_ERR(fchmod(p, 0600), EBADF);
  EXPECT_ERR(fchown(p, 0, 0), EBADF);
  EXPECT_ERR(ftruncate(p, 0), EBADF);
  EXPECT_ERR(fsync(p), EBADF);
  EXPECT_ERR(lseek(p, 0, SEEK_SET), EBADF);
  EXPECT_ERR(fcntl(p, F_SETFL, 0), EBADF);
  EXPECT_ERR(fchdir(p), ENOTDIR);
  EXPECT_OK(linkat(p, "", AT_FDCWD, P("hard").c_str(), AT_EMPTY_PATH));
  EXPECT_EQ(ReadFile(P("hard")), "content");
  Fd again(open(("/proc/self/fd/" + std::to_string(p.get())).c_str(), O_RDONLY));
  EXPECT_EQ(ReadAllFd(again), "content");
  Fd d(O("sub", O_PATH | O_DIRECTORY));
  Fd in(openat(d, "new", O_CREAT | O_RDWR, 0600));
  EXPECT_GE(in.get(), 0);
}

TEST_F(Open, TmpFile) {
  COVERS("openat", "linkat");
  Fd t(open(dir_.path().c_str(), O_TMPFILE | O_RDWR, 0600));
  ASSERT_GE(t.get(), 0);
  struct stat st {};
  EXPECT_OK(fstat(t, &st));
  EXPECT_EQ(st.st_nlink, 0u);
  EXPECT_RET(write(t, "tmp", 3), 3);
  std::string self = "/proc/self/fd/" + std::to_string(t.get());
  EXPECT_OK(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, P("named").c_str(), AT_SYMLINK_FOLLOW));
  EXPECT_EQ(ReadFile(P("named")), "tmp");
  EXPECT_ERR(open(dir_.path().c_str(), O_TMPFILE | O_RDONLY, 0600), EINVAL);
  EXPECT_ERR(O("file", O_TMPFILE | O_RDWR), ENOTDIR);
}

TEST_F(Open, AccessModeThree) {
  COVERS("openat", "fcntl");
  Fd a(O("file", 3));
  ASSERT_GE(a.get(), 0);
  char c;
  EXPECT_ERR(read(a, &c, 1), EBADF);
  EXPECT_ERR(write(a, &c, 1), EBADF);
  EXPECT_RET(fcntl(a, F_GETFL) & O_ACCMODE, 3);
}

TEST_F(Open, FlagsKept) {
  COVERS("openat", "fcntl");
  Fd a(O("file", O_RDWR | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_CREAT | O_TRUNC | O_NOCTTY));
  EXPECT_RET(fcntl(a, F_GETFL), O_RDWR | O_APPEND | O_NONBLOCK | 0100000);
  EXPECT_RET(fcntl(a, F_GETFD), FD_CLOEXEC);
  Fd d(O("sub", O_RDONLY | O_DIRECTORY));
  EXPECT_RET(fcntl(d, F_GETFL), O_RDONLY | O_DIRECTORY | 0100000);
}

TEST_F(Open, UnknownFlagsIgnoredByOpen) {
  COVERS("openat", "openat2");
  Fd a(static_cast<int>(syscall(SYS_openat, AT_FDCWD, P("file").c_str(), O_RDONLY | (1 << 28), 0)));
  EXPECT_GE(a.get(), 0);
}

TEST_F(Open, RelativeToDescriptor) {
  COVERS("openat");
  Fd d(open(dir_.path().c_str(), O_RDONLY));
  Fd f(openat(d, "file", O_RDONLY));
  EXPECT_GE(f.get(), 0);
  EXPECT_ERR(openat(f, "file", O_RDONLY), ENOTDIR);
  EXPECT_ERR(openat(-1, "file", O_RDONLY), EBADF);
  Fd abs(openat(-1, P("file").c_str(), O_RDONLY));
  EXPECT_GE(abs.get(), 0);
  EXPECT_ERR(openat(d, "", O_RDONLY), ENOENT);
  Fd dot(openat(d, ".", O_RDONLY));
  EXPECT_GE(dot.get(), 0);
  Fd up(openat(d, "sub/../file", O_RDONLY));
  EXPECT_GE(up.get(), 0);
}

TEST_F(Open, Permissions) {
  COVERS("openat");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chmod(P("file").c_str(), 0600));
  ASSERT_OK(chmod(P("sub").c_str(), 0700));
  ASSERT_TRUE(WriteFile(P("readable"), "r"));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_ERR(O("file", O_RDONLY), EACCES);
    CHILD_ERR(O("readable", O_RDWR), EACCES);
    CHILD_ERR(O("readable", O_RDONLY | O_TRUNC), EACCES);
    CHILD_OK(O("readable", O_RDONLY));
    CHILD_ERR(O("new", O_RDWR | O_CREAT), EACCES);
    CHILD_ERR(O("sub/x", O_RDONLY), EACCES);
    CHILD_ERR(O("sub", O_RDONLY), EACCES);
    CHILD_OK(O("sub", O_PATH));
    CHILD_ERR(O("readable", O_RDONLY | O_NOATIME), EPERM);
  });
}

TEST_F(Open, DescriptorLimit) {
  COVERS("openat", "dup2", "fcntl", "setrlimit");
  EXPECT_CHILD([&] {
    rlimit r;
    CHILD_OK(getrlimit(RLIMIT_NOFILE, &r));
    r.rlim_cur = 20;
    CHILD_OK(setrlimit(RLIMIT_NOFILE, &r));
    int last = -1;
    for (;;) {
      int fd = O("file", O_RDONLY);
      if (fd < 0) break;
      last = fd;
    }
    CHILD_EQ(errno, EMFILE);
    CHILD_EQ(last, 19);
    CHILD_ERR(dup(0), EMFILE);
    CHILD_ERR(dup2(0, 20), EBADF);
    CHILD_ERR(fcntl(0, F_DUPFD, 20), EINVAL);
    int p[2];
    CHILD_ERR(pipe(p), EMFILE);
    CHILD_OK(close(19));
    CHILD_ERR(pipe(p), EMFILE);
    CHILD_EQ(O("file", O_RDONLY), 19);
  });
}

TEST_F(Open, Openat2Basics) {
  COVERS("openat2");
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC;
  Fd f(Openat2(AT_FDCWD, P("file").c_str(), how));
  EXPECT_GE(f.get(), 0);
  EXPECT_RET(fcntl(f, F_GETFD), FD_CLOEXEC);
  EXPECT_ERR(Openat2(AT_FDCWD, P("file").c_str(), how, 8), EINVAL);
  how.mode = 0600;  // a mode without O_CREAT
  EXPECT_ERR(Openat2(AT_FDCWD, P("file").c_str(), how), EINVAL);
  how.flags = O_RDWR | O_CREAT;
  Fd n(Openat2(AT_FDCWD, P("new").c_str(), how));
  EXPECT_GE(n.get(), 0);
  how.mode = 010000;
  EXPECT_ERR(Openat2(AT_FDCWD, P("new2").c_str(), how), EINVAL);
  how = {};
  how.flags = 1ull << 40;
  EXPECT_ERR(Openat2(AT_FDCWD, P("file").c_str(), how), EINVAL);
  how = {};
  how.resolve = 1ull << 40;
  EXPECT_ERR(Openat2(AT_FDCWD, P("file").c_str(), how), EINVAL);
  struct {
    open_how how;
    uint64_t more;
  } longer{};
  EXPECT_OK(close(
      static_cast<int>(syscall(SYS_openat2, AT_FDCWD, P("file").c_str(), &longer, sizeof longer))));
  longer.more = 1;
  EXPECT_ERR(syscall(SYS_openat2, AT_FDCWD, P("file").c_str(), &longer, sizeof longer), E2BIG);
}

TEST_F(Open, Openat2Resolve) {
  COVERS("openat2");
  Fd d(open(P("sub").c_str(), O_PATH | O_DIRECTORY));
  ASSERT_OK(symlinkat("../file", d, "up"));
  ASSERT_OK(symlinkat("/etc", d, "abs"));
  ASSERT_TRUE(WriteFile(P("sub/in"), "in"));
  open_how how{};
  how.resolve = RESOLVE_BENEATH;
  Fd in(Openat2(d, "in", how));
  EXPECT_GE(in.get(), 0);
  EXPECT_ERR(Openat2(d, "../file", how), EXDEV);
  EXPECT_ERR(Openat2(d, "up", how), EXDEV);
  EXPECT_ERR(Openat2(d, "abs", how), EXDEV);
  EXPECT_ERR(Openat2(d, "/etc", how), EXDEV);
  how.resolve = RESOLVE_NO_SYMLINKS;
  EXPECT_ERR(Openat2(AT_FDCWD, P("link").c_str(), how), ELOOP);
  Fd f(Openat2(AT_FDCWD, P("file").c_str(), how));
  EXPECT_GE(f.get(), 0);
  how.resolve = RESOLVE_IN_ROOT;
  Fd r(Openat2(d, "/in", how));
  EXPECT_GE(r.get(), 0);
  Fd r2(Openat2(d, "../../in", how));
  EXPECT_GE(r2.get(), 0);
  EXPECT_ERR(Openat2(d, "abs", how), ENOENT);
  how.resolve = RESOLVE_NO_MAGICLINKS;
  EXPECT_ERR(Openat2(AT_FDCWD, "/proc/self/exe", how), ELOOP);
  how.resolve = RESOLVE_NO_XDEV;
  EXPECT_ERR(Openat2(AT_FDCWD, "/proc/self/stat", how), EXDEV);
}

TEST_F(Open, CloseRange) {
  COVERS("close_range");
  EXPECT_CHILD([&] {
    CHILD_EQ(dup2(0, 50), 50);
    CHILD_EQ(dup2(0, 51), 51);
    CHILD_EQ(dup2(0, 53), 53);
    CHILD_ERR(syscall(SYS_close_range, 53, 50, 0), EINVAL);
    CHILD_ERR(syscall(SYS_close_range, 50, 53, 1 << 20), EINVAL);
    CHILD_OK(syscall(SYS_close_range, 50, 51, 4));  // CLOSE_RANGE_CLOEXEC
    CHILD_RET(fcntl(50, F_GETFD), FD_CLOEXEC);
    CHILD_RET(fcntl(53, F_GETFD), 0);
    CHILD_OK(syscall(SYS_close_range, 50, 52, 0));
    CHILD_ERR(fcntl(50, F_GETFD), EBADF);
    CHILD_RET(fcntl(53, F_GETFD), 0);
    CHILD_OK(syscall(SYS_close_range, 53, ~0u, 2));  // CLOSE_RANGE_UNSHARE
    CHILD_ERR(fcntl(53, F_GETFD), EBADF);
  });
}

TEST_F(Open, UnlinkedFileStaysReadable) {
  COVERS("openat", "unlink", "fstat");
  Fd f(O("file", O_RDWR));
  ASSERT_OK(unlink(P("file").c_str()));
  char b[8] = {};
  EXPECT_RET(read(f, b, 7), 7);
  EXPECT_STREQ(b, "content");
  EXPECT_RET(pwrite(f, "X", 1, 0), 1);
  struct stat st {};
  EXPECT_OK(fstat(f, &st));
  EXPECT_EQ(st.st_nlink, 0u);
  EXPECT_ERR(O("file", O_RDONLY), ENOENT);
}

TEST_F(Open, SpecialFiles) {
  COVERS("openat", "mknodat");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(mknod(P("sock").c_str(), S_IFSOCK | 0600, 0));
  EXPECT_ERR(O("sock", O_RDWR), ENXIO);
  ASSERT_OK(mkfifo(P("fifo").c_str(), 0600));
  EXPECT_ERR(O("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
  Fd r(O("fifo", O_RDONLY | O_NONBLOCK));
  EXPECT_GE(r.get(), 0);
  Fd w(O("fifo", O_WRONLY | O_NONBLOCK));
  EXPECT_GE(w.get(), 0);
}

TEST_F(Open, TextFileBusy) {
  COVERS("openat", "execve");
  ASSERT_TRUE(WriteFile(P("prog"), ReadFile("/bin/sleep"), 0755));
  int p[2];
  ASSERT_OK(pipe2(p, O_CLOEXEC));
  pid_t pid = Spawn([&] {
    execl(P("prog").c_str(), "prog", "30", nullptr);
    return 1;
  });
  close(p[1]);
  char c;
  EXPECT_RET(read(p[0], &c, 1), 0);  // the exec happened
  close(p[0]);
  EXPECT_ERR(O("prog", O_WRONLY), ETXTBSY);
  EXPECT_ERR(truncate(P("prog").c_str(), 0), ETXTBSY);
  kill(pid, SIGKILL);
  WaitFor(pid);
  Fd w(O("prog", O_WRONLY));
  ASSERT_GE(w.get(), 0);
  EXPECT_CHILD([&] {
    char* argv[] = {const_cast<char*>("prog"), nullptr};
    char* envp[] = {nullptr};
    CHILD_ERR(execve(P("prog").c_str(), argv, envp), ETXTBSY);
  });
}

TEST_F(Open, NameToHandle) {
  COVERS("name_to_handle_at");
  struct {
    file_handle h;
    char more[128];
  } fh{};
  int mount = 0;
  fh.h.handle_bytes = 0;
  int r = name_to_handle_at(AT_FDCWD, P("file").c_str(), &fh.h, &mount, 0);
  EXPECT_EQ(r, -1);
  EXPECT_TRUE(errno == EOVERFLOW || errno == EOPNOTSUPP) << systest::ErrnoText(errno);
  EXPECT_ERR(name_to_handle_at(AT_FDCWD, P("file").c_str(), &fh.h, &mount, 1 << 30), EINVAL);
}

}  // namespace
