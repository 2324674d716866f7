// stat and its relatives, statx, access, chmod, chown, utimensat, statfs.
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <utime.h>

#include "tests/syscalls/test_util.h"

#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

namespace {

class Stat : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFile(dir_ / "file", "content"));
    ASSERT_OK(chmod(P("file").c_str(), 0644));
    ASSERT_OK(mkdir((dir_ / "sub").c_str(), 0755));
    ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
    ASSERT_OK(symlink("none", (dir_ / "dangling").c_str()));
  }
  std::string P(const char* name) { return dir_ / name; }
  struct stat Get(const char* name) {
    struct stat st {};
    EXPECT_OK(lstat(P(name).c_str(), &st));
    return st;
  }
  TempDir dir_;
};

TEST_F(Stat, RegularFile) {
  COVERS("stat", "lstat", "fstat", "newfstatat");
  struct stat a {
  }, b{}, c{};
  ASSERT_OK(syscall(SYS_stat, P("file").c_str(), &a));
  EXPECT_EQ(a.st_mode, S_IFREG | 0644u);
  EXPECT_EQ(a.st_nlink, 1u);
  EXPECT_EQ(a.st_size, 7);
  EXPECT_EQ(a.st_uid, geteuid());
  EXPECT_EQ(a.st_gid, getegid());
  EXPECT_GT(a.st_blksize, 0);
  EXPECT_NE(a.st_ino, 0u);
  EXPECT_EQ(a.st_rdev, 0u);
  Fd f(open(P("file").c_str(), O_RDONLY));
  ASSERT_OK(syscall(SYS_fstat, f.get(), &b));
  EXPECT_EQ(memcmp(&a, &b, sizeof a), 0);
  ASSERT_OK(syscall(SYS_newfstatat, f.get(), "", &c, AT_EMPTY_PATH));
  EXPECT_EQ(memcmp(&a, &c, sizeof a), 0);
  ASSERT_OK(syscall(SYS_lstat, P("link").c_str(), &c));
  EXPECT_EQ(c.st_mode, S_IFLNK | 0777u);
  EXPECT_EQ(c.st_size, 4);
  ASSERT_OK(syscall(SYS_newfstatat, AT_FDCWD, P("link").c_str(), &c, AT_SYMLINK_NOFOLLOW));
  EXPECT_EQ(c.st_mode, S_IFLNK | 0777u);
  ASSERT_OK(syscall(SYS_newfstatat, AT_FDCWD, P("link").c_str(), &c, 0));
  EXPECT_EQ(c.st_ino, a.st_ino);
  EXPECT_EQ(c.st_dev, a.st_dev);
}

TEST_F(Stat, DirectoryLinks) {
  COVERS("stat", "mkdir", "rmdir");
  EXPECT_EQ(Get("sub").st_mode, S_IFDIR | 0755u);
  EXPECT_EQ(Get("sub").st_nlink, 2u);
  ASSERT_OK(mkdir(P("sub/a").c_str(), 0700));
  EXPECT_EQ(Get("sub").st_nlink, 3u);
  ASSERT_OK(rmdir(P("sub/a").c_str()));
  EXPECT_EQ(Get("sub").st_nlink, 2u);
}

TEST_F(Stat, Errors) {
  COVERS("stat", "newfstatat", "fstat");
  struct stat st;
  EXPECT_ERR(stat(P("none").c_str(), &st), ENOENT);
  EXPECT_ERR(stat(P("dangling").c_str(), &st), ENOENT);
  EXPECT_ERR(stat(P("file/x").c_str(), &st), ENOTDIR);
  EXPECT_ERR(stat(P("file/").c_str(), &st), ENOTDIR);
  EXPECT_ERR(stat("", &st), ENOENT);
  EXPECT_ERR(syscall(SYS_stat, nullptr, &st), EFAULT);
  EXPECT_ERR(syscall(SYS_stat, P("file").c_str(), 8), EFAULT);
  EXPECT_ERR(syscall(SYS_fstat, -1, &st), EBADF);
  EXPECT_ERR(syscall(SYS_newfstatat, -1, "x", &st, 0), EBADF);
  EXPECT_ERR(syscall(SYS_newfstatat, AT_FDCWD, "/", &st, 1 << 30), EINVAL);
  EXPECT_ERR(syscall(SYS_newfstatat, AT_FDCWD, "", &st, 0), ENOENT);
}

TEST_F(Stat, EmptyPathIsWorkingDirectory) {
  COVERS("newfstatat");
  struct stat a {
  }, b{};
  ASSERT_OK(syscall(SYS_newfstatat, AT_FDCWD, "", &a, AT_EMPTY_PATH));
  ASSERT_OK(stat(".", &b));
  EXPECT_EQ(a.st_ino, b.st_ino);
}

TEST_F(Stat, Statx) {
  COVERS("statx");
  struct statx x {};
  ASSERT_OK(statx(AT_FDCWD, P("file").c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &x));
  EXPECT_EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  struct stat st = Get("file");
  EXPECT_EQ(x.stx_mode, st.st_mode);
  EXPECT_EQ(x.stx_size, 7u);
  EXPECT_EQ(x.stx_ino, st.st_ino);
  EXPECT_EQ(x.stx_nlink, 1u);
  EXPECT_EQ(makedev(x.stx_dev_major, x.stx_dev_minor), st.st_dev);
  EXPECT_EQ(x.stx_mtime.tv_sec, st.st_mtim.tv_sec);
  EXPECT_EQ(x.stx_mtime.tv_nsec, st.st_mtim.tv_nsec);
  EXPECT_EQ(x.stx_blocks, static_cast<uint64_t>(st.st_blocks));
  Fd f(open(P("file").c_str(), O_RDONLY));
  EXPECT_OK(statx(f, "", AT_EMPTY_PATH, STATX_SIZE, &x));
  EXPECT_TRUE(x.stx_mask & STATX_SIZE);
  EXPECT_ERR(statx(AT_FDCWD, P("file").c_str(), 1 << 30, STATX_ALL, &x), EINVAL);
  EXPECT_ERR(statx(AT_FDCWD, P("file").c_str(), 0, 0x80000000u, &x), EINVAL);
  EXPECT_ERR(
      statx(AT_FDCWD, P("file").c_str(), AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_ALL, &x),
      EINVAL);
  EXPECT_ERR(statx(AT_FDCWD, P("none").c_str(), 0, STATX_ALL, &x), ENOENT);
  EXPECT_ERR(syscall(SYS_statx, AT_FDCWD, P("file").c_str(), 0, STATX_ALL, 8), EFAULT);
}

TEST_F(Stat, AccessAsRoot) {
  COVERS("access", "faccessat");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chmod(P("file").c_str(), 0));
  EXPECT_OK(access(P("file").c_str(), R_OK | W_OK));
  EXPECT_ERR(access(P("file").c_str(), X_OK), EACCES);
  ASSERT_OK(chmod(P("file").c_str(), 0001));
  EXPECT_OK(access(P("file").c_str(), X_OK));
  EXPECT_OK(access(P("sub").c_str(), X_OK));
  EXPECT_ERR(access(P("none").c_str(), F_OK), ENOENT);
  EXPECT_ERR(access(P("dangling").c_str(), F_OK), ENOENT);
  EXPECT_ERR(syscall(SYS_access, P("file").c_str(), 8), EINVAL);
  EXPECT_ERR(syscall(SYS_faccessat, -1, "x", 0), EBADF);
}

TEST_F(Stat, AccessUsesRealIds) {
  COVERS("access", "faccessat2");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chmod(P("file").c_str(), 0600));
  EXPECT_CHILD([&] {
    CHILD_OK(setresgid(65534, 0, 0));
    CHILD_OK(setresuid(65534, 0, 0));
    CHILD_ERR(access(P("file").c_str(), R_OK), EACCES);
    CHILD_OK(open(P("file").c_str(), O_RDONLY));
    CHILD_OK(syscall(SYS_faccessat2, AT_FDCWD, P("file").c_str(), R_OK, AT_EACCESS));
    CHILD_ERR(syscall(SYS_faccessat2, AT_FDCWD, P("file").c_str(), R_OK, 0), EACCES);
    CHILD_ERR(syscall(SYS_faccessat2, AT_FDCWD, P("file").c_str(), R_OK, 1 << 30), EINVAL);
  });
}

TEST_F(Stat, AccessLinkItself) {
  COVERS("faccessat2");
  EXPECT_OK(syscall(SYS_faccessat2, AT_FDCWD, P("dangling").c_str(), F_OK, AT_SYMLINK_NOFOLLOW));
  Fd f(open(P("file").c_str(), O_PATH));
  EXPECT_OK(syscall(SYS_faccessat2, f.get(), "", F_OK, AT_EMPTY_PATH));
}

TEST_F(Stat, Chmod) {
  COVERS("chmod", "fchmod", "fchmodat");
  ASSERT_OK(chmod(P("file").c_str(), 07777));
  EXPECT_EQ(Get("file").st_mode, S_IFREG | 07777u);
  ASSERT_OK(chmod(P("link").c_str(), 0600));
  EXPECT_EQ(Get("file").st_mode, S_IFREG | 0600u);
  EXPECT_EQ(Get("link").st_mode, S_IFLNK | 0777u);
  Fd f(open(P("file").c_str(), O_RDONLY));
  ASSERT_OK(fchmod(f, 0123));
  EXPECT_EQ(Get("file").st_mode, S_IFREG | 0123u);
  ASSERT_OK(chmod(P("file").c_str(), 0170644));  // bits above 07777 are dropped
  EXPECT_EQ(Get("file").st_mode, S_IFREG | 0644u);
  EXPECT_ERR(chmod(P("none").c_str(), 0), ENOENT);
  EXPECT_ERR(fchmod(-1, 0), EBADF);
  Fd d(open(dir_.path().c_str(), O_RDONLY));
  EXPECT_OK(syscall(SYS_fchmodat, d.get(), "sub", 0700));
  EXPECT_EQ(Get("sub").st_mode, S_IFDIR | 0700u);
}

TEST_F(Stat, ChmodChangesCtimeOnly) {
  COVERS("chmod");
  struct stat a = Get("file");
  SleepMs(20);
  ASSERT_OK(chmod(P("file").c_str(), 0600));
  struct stat b = Get("file");
  EXPECT_EQ(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
  EXPECT_TRUE(a.st_ctim.tv_nsec != b.st_ctim.tv_nsec || a.st_ctim.tv_sec != b.st_ctim.tv_sec);
}

TEST_F(Stat, ChmodNeedsOwner) {
  COVERS("chmod", "chown");
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_ERR(chmod(P("file").c_str(), 0777), EPERM);
    CHILD_ERR(chown(P("file").c_str(), 65534, -1), EPERM);
    CHILD_ERR(utimensat(AT_FDCWD, P("file").c_str(), nullptr, 0), EACCES);
    timespec ts[2] = {{1, 0}, {1, 0}};
    CHILD_ERR(utimensat(AT_FDCWD, P("file").c_str(), ts, 0), EPERM);
  });
}

TEST_F(Stat, ChmodDropsSetgidOutsideGroup) {
  COVERS("chmod");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chown(P("file").c_str(), 65534, 12345));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_OK(chmod(P("file").c_str(), 02755));
  });
  EXPECT_EQ(Get("file").st_mode, S_IFREG | 0755u);
}

TEST_F(Stat, Chown) {
  COVERS("chown", "lchown", "fchown", "fchownat");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chown(P("link").c_str(), 11, 22));
  EXPECT_EQ(Get("file").st_uid, 11u);
  EXPECT_EQ(Get("file").st_gid, 22u);
  EXPECT_EQ(Get("link").st_uid, 0u);
  ASSERT_OK(lchown(P("link").c_str(), 33, 44));
  EXPECT_EQ(Get("link").st_uid, 33u);
  ASSERT_OK(chown(P("file").c_str(), -1, 55));
  EXPECT_EQ(Get("file").st_uid, 11u);
  EXPECT_EQ(Get("file").st_gid, 55u);
  Fd f(open(P("file").c_str(), O_RDONLY));
  ASSERT_OK(fchown(f, 66, -1));
  EXPECT_EQ(Get("file").st_uid, 66u);
  ASSERT_OK(fchownat(f, "", 77, 77, AT_EMPTY_PATH));
  EXPECT_EQ(Get("file").st_uid, 77u);
  EXPECT_ERR(fchownat(f, "", 0, 0, 0), ENOENT);
  EXPECT_ERR(fchownat(AT_FDCWD, P("file").c_str(), 0, 0, 1 << 30), EINVAL);
  EXPECT_ERR(chown(P("none").c_str(), 0, 0), ENOENT);
}

TEST_F(Stat, ChownClearsSetuid) {
  COVERS("chown");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chmod(P("file").c_str(), 06755));
  ASSERT_OK(chown(P("file").c_str(), 11, 11));
  EXPECT_EQ(Get("file").st_mode, S_IFREG | 0755u);
  // setgid without group execute means mandatory locking and stays.
  ASSERT_OK(chmod(P("file").c_str(), 02644));
  ASSERT_OK(chown(P("file").c_str(), 12, 12));
  EXPECT_EQ(Get("file").st_mode, S_IFREG | 02644u);
}

TEST_F(Stat, OwnerMayGiveToOwnGroupOnly) {
  COVERS("chown", "setgroups");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chown(P("file").c_str(), 65534, 65534));
  EXPECT_CHILD([&] {
    gid_t groups[] = {500};
    CHILD_OK(syscall(SYS_setgroups, 1, groups));
    CHILD_OK(setresgid(65534, 65534, 65534));
    CHILD_OK(setresuid(65534, 65534, 65534));
    CHILD_OK(chown(P("file").c_str(), -1, 500));
    CHILD_ERR(chown(P("file").c_str(), -1, 501), EPERM);
    CHILD_ERR(chown(P("file").c_str(), 1, -1), EPERM);
    CHILD_OK(chown(P("file").c_str(), 65534, 65534));
  });
}

TEST_F(Stat, Utimensat) {
  COVERS("utimensat");
  timespec ts[2] = {{1000, 123456789}, {2000, 987654321}};
  ASSERT_OK(utimensat(AT_FDCWD, P("file").c_str(), ts, 0));
  struct stat st = Get("file");
  EXPECT_EQ(st.st_atim.tv_sec, 1000);
  EXPECT_EQ(st.st_atim.tv_nsec, 123456789);
  EXPECT_EQ(st.st_mtim.tv_sec, 2000);
  EXPECT_EQ(st.st_mtim.tv_nsec, 987654321);
  ts[0].tv_nsec = UTIME_OMIT;
  ts[1].tv_nsec = UTIME_NOW;
  ASSERT_OK(utimensat(AT_FDCWD, P("file").c_str(), ts, 0));
  st = Get("file");
  EXPECT_EQ(st.st_atim.tv_sec, 1000);
  EXPECT_LT(llabs(st.st_mtim.tv_sec - time(nullptr)), 100);
  Fd f(open(P("file").c_str(), O_RDONLY));
  timespec both[2] = {{5, 0}, {6, 0}};
  ASSERT_OK(futimens(f, both));
  EXPECT_EQ(Get("file").st_mtim.tv_sec, 6);
  ASSERT_OK(utimensat(AT_FDCWD, P("link").c_str(), both, AT_SYMLINK_NOFOLLOW));
  EXPECT_EQ(Get("link").st_mtim.tv_sec, 6);
  timespec bad[2] = {{0, 1000000000}, {0, 0}};
  EXPECT_ERR(utimensat(AT_FDCWD, P("file").c_str(), bad, 0), EINVAL);
  EXPECT_ERR(utimensat(AT_FDCWD, P("none").c_str(), both, 0), ENOENT);
  EXPECT_ERR(utimensat(AT_FDCWD, P("file").c_str(), both, 1 << 30), EINVAL);
  EXPECT_ERR(syscall(SYS_utimensat, AT_FDCWD, nullptr, both, 0), EFAULT);
  timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  EXPECT_OK(utimensat(AT_FDCWD, P("file").c_str(), omit, 0));
}

TEST_F(Stat, OldTimeCalls) {
  COVERS("utime", "utimes", "futimesat");
  utimbuf u{10, 20};
  ASSERT_OK(syscall(SYS_utime, P("file").c_str(), &u));
  EXPECT_EQ(Get("file").st_atim.tv_sec, 10);
  EXPECT_EQ(Get("file").st_mtim.tv_sec, 20);
  timeval tv[2] = {{30, 40}, {50, 60}};
  ASSERT_OK(syscall(SYS_utimes, P("file").c_str(), tv));
  EXPECT_EQ(Get("file").st_mtim.tv_nsec, 60000);
  tv[0].tv_usec = 1000000;
  EXPECT_ERR(syscall(SYS_utimes, P("file").c_str(), tv), EINVAL);
  tv[0] = {70, 0};
  ASSERT_OK(syscall(SYS_futimesat, AT_FDCWD, P("file").c_str(), tv));
  EXPECT_EQ(Get("file").st_atim.tv_sec, 70);
}

TEST_F(Stat, DeviceNumbers) {
  COVERS("mknod", "mknodat", "stat");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(mkfifo(P("fifo").c_str(), 0640));
  EXPECT_EQ(Get("fifo").st_mode, S_IFIFO | 0640u);
  ASSERT_OK(mknod(P("reg").c_str(), 0600, 0));  // no type: a regular file
  EXPECT_EQ(Get("reg").st_mode, S_IFREG | 0600u);
  ASSERT_OK(mknod(P("sock").c_str(), S_IFSOCK | 0600, 0));
  EXPECT_EQ(Get("sock").st_mode, S_IFSOCK | 0600u);
  EXPECT_ERR(mknod(P("dir").c_str(), S_IFDIR | 0600, 0), EPERM);
  EXPECT_ERR(mknod(P("lnk").c_str(), S_IFLNK | 0600, 0), EINVAL);
  EXPECT_ERR(mknod(P("reg").c_str(), S_IFREG | 0600, 0), EEXIST);
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_ERR(mknod("/tmp/moat-no-such-device", S_IFCHR | 0600, makedev(1, 3)), EPERM);
  });
}

TEST_F(Stat, Statfs) {
  COVERS("statfs", "fstatfs");
  struct statfs a {
  }, b{};
  ASSERT_OK(statfs(dir_.path().c_str(), &a));
  EXPECT_GT(a.f_bsize, 0);
  EXPECT_EQ(a.f_namelen, 255);
  EXPECT_GE(a.f_blocks, a.f_bfree);
  Fd f(open(P("file").c_str(), O_PATH));
  ASSERT_OK(fstatfs(f, &b));
  EXPECT_EQ(a.f_type, b.f_type);
  ASSERT_OK(statfs("/proc", &a));
  EXPECT_EQ(a.f_type, 0x9fa0);
  EXPECT_ERR(statfs(P("none").c_str(), &a), ENOENT);
  EXPECT_ERR(fstatfs(-1, &a), EBADF);
  EXPECT_ERR(syscall(SYS_statfs, "/", 8), EFAULT);
}

TEST_F(Stat, PipeAndSocketAndDevice) {
  COVERS("fstat");
  int p[2];
  ASSERT_OK(pipe(p));
  struct stat st {};
  EXPECT_OK(fstat(p[0], &st));
  EXPECT_EQ(st.st_mode, S_IFIFO | 0600u);
  struct stat other {};
  EXPECT_OK(fstat(p[1], &other));
  EXPECT_EQ(st.st_ino, other.st_ino);
  close(p[0]);
  close(p[1]);
  ASSERT_OK(stat("/dev/null", &st));
  EXPECT_EQ(st.st_mode & S_IFMT, mode_t{S_IFCHR});
  EXPECT_EQ(st.st_rdev, makedev(1, 3));
}

TEST_F(Stat, HardLinkCount) {
  COVERS("link", "unlink", "stat");
  ASSERT_OK(link(P("file").c_str(), P("second").c_str()));
  EXPECT_EQ(Get("file").st_nlink, 2u);
  EXPECT_EQ(Get("file").st_ino, Get("second").st_ino);
  ASSERT_OK(unlink(P("file").c_str()));
  EXPECT_EQ(Get("second").st_nlink, 1u);
  EXPECT_EQ(ReadFile(P("second")), "content");
}

TEST_F(Stat, SetgidDirectoryPassesGroupOn) {
  COVERS("mkdir", "openat", "chown");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chown(P("sub").c_str(), 0, 777));
  ASSERT_OK(chmod(P("sub").c_str(), 02755));
  ASSERT_TRUE(WriteFile(P("sub/f"), ""));
  ASSERT_OK(mkdir(P("sub/d").c_str(), 0755));
  EXPECT_EQ(Get("sub/f").st_gid, 777u);
  EXPECT_EQ(Get("sub/d").st_gid, 777u);
  EXPECT_EQ(Get("sub/d").st_mode, S_IFDIR | 02755u);
}

TEST(Fchmodat2, ModeAndFlags) {
  COVERS("fchmodat2");
  constexpr long kFchmodat2 = 452;
  TempDir dir;
  std::string file = dir / "f", link = dir / "l";
  close(open(file.c_str(), O_CREAT | O_WRONLY, 0600));
  ASSERT_EQ(symlink("f", link.c_str()), 0);
  EXPECT_OK(syscall(kFchmodat2, AT_FDCWD, link.c_str(), 0640, 0));
  struct stat st;
  ASSERT_EQ(stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
  EXPECT_ERR(syscall(kFchmodat2, AT_FDCWD, link.c_str(), 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
  EXPECT_ERR(syscall(kFchmodat2, AT_FDCWD, file.c_str(), 0600, 0x40000000), EINVAL);
  int fd = open(file.c_str(), O_RDONLY);
  EXPECT_OK(syscall(kFchmodat2, fd, "", 0600, AT_EMPTY_PATH));
  close(fd);
}

}  // namespace
