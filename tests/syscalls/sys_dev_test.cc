// /dev and /sys.
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "tests/syscalls/test_util.h"

namespace {

TEST(Dev, NumbersAndModes) {
  COVERS("stat");
  const struct {
    const char* path;
    unsigned major, minor;
  } table[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
               {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
  for (auto& t : table) {
    struct stat st {};
    ASSERT_OK(stat(t.path, &st)) << t.path;
    EXPECT_EQ(st.st_mode, S_IFCHR | 0666u) << t.path;
    EXPECT_EQ(st.st_rdev, makedev(t.major, t.minor)) << t.path;
  }
  struct stat st {};
  ASSERT_OK(stat("/dev/ptmx", &st));
  EXPECT_TRUE(S_ISCHR(st.st_mode));
}

TEST(Dev, Null) {
  COVERS("read", "write", "lseek");
  Fd fd(open("/dev/null", O_RDWR));
  char c;
  EXPECT_RET(read(fd, &c, 1), 0);
  EXPECT_RET(write(fd, "abc", 3), 3);
  EXPECT_RET(lseek(fd, 100, SEEK_SET), 0);
  EXPECT_RET(pread(fd, &c, 1, 5), 0);
  EXPECT_RET(pwrite(fd, &c, 1, 5), 1);
  EXPECT_ERR(ioctl(fd, TCGETS, 8), ENOTTY);
  EXPECT_ERR(ftruncate(fd, 0), EINVAL);
  EXPECT_RET(write(fd, reinterpret_cast<void*>(8), 10), 10);  // never looks at it
  Fd t(open("/dev/null", O_WRONLY | O_TRUNC | O_CREAT, 0666));
  EXPECT_GE(t.get(), 0);
}

TEST(Dev, Zero) {
  COVERS("read", "write", "mmap");
  Fd fd(open("/dev/zero", O_RDWR));
  char buf[5000];
  memset(buf, 'x', sizeof buf);
  EXPECT_RET(read(fd, buf, sizeof buf), sizeof buf);
  for (char c : buf) ASSERT_EQ(c, 0);
  EXPECT_RET(write(fd, buf, 10), 10);
  char* p = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_EQ(p[4096], 0);
  p[4096] = 1;
  munmap(p, 8192);
  p = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_CHILD([&] { p[0] = 's'; });
  EXPECT_EQ(p[0], 's');
  munmap(p, 4096);
}

TEST(Dev, Full) {
  COVERS("read", "write");
  Fd fd(open("/dev/full", O_RDWR));
  char c = 'x';
  EXPECT_RET(read(fd, &c, 1), 1);
  EXPECT_EQ(c, 0);
  EXPECT_ERR(write(fd, &c, 1), ENOSPC);
}

TEST(Dev, Random) {
  COVERS("read", "write", "getrandom");
  for (const char* path : {"/dev/random", "/dev/urandom"}) {
    Fd fd(open(path, O_RDWR));
    std::string a(64, 0), b(64, 0);
    EXPECT_RET(read(fd, a.data(), 64), 64);
    EXPECT_RET(read(fd, b.data(), 64), 64);
    EXPECT_NE(a, b);
    EXPECT_RET(write(fd, "seed", 4), 4);
  }
}

TEST(Dev, StandardLinks) {
  COVERS("readlink");
  char buf[64] = {};
  EXPECT_RET(readlink("/dev/fd", buf, 63), 13);
  EXPECT_STREQ(buf, "/proc/self/fd");
  memset(buf, 0, sizeof buf);
  EXPECT_RET(readlink("/dev/stdin", buf, 63), 15);
  EXPECT_STREQ(buf, "/proc/self/fd/0");
}

TEST(Dev, OpenThroughDevFd) {
  COVERS("openat");
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_RET(write(p[1], "hi", 2), 2);
  close(p[1]);
  EXPECT_EQ(ReadFile("/dev/fd/" + std::to_string(p[0])), "hi");
  close(p[0]);
}

TEST(Dev, SharedMemoryDirectory) {
  COVERS("openat", "mmap");
  struct stat st {};
  ASSERT_OK(stat("/dev/shm", &st));
  EXPECT_TRUE(S_ISDIR(st.st_mode));
  std::string name = "/moat-test-" + std::to_string(getpid());
  Fd fd(shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600));
  ASSERT_GE(fd.get(), 0);
  EXPECT_OK(ftruncate(fd, 4096));
  char* p = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_CHILD([&] {
    int again = shm_open(name.c_str(), O_RDWR, 0);
    CHILD_OK(again);
    CHILD_RET(pwrite(again, "shm", 3, 0), 3);
  });
  EXPECT_EQ(std::string(p, 3), "shm");
  munmap(p, 4096);
  EXPECT_OK(shm_unlink(name.c_str()));
  EXPECT_ERR(shm_open(name.c_str(), O_RDWR, 0), ENOENT);
}

TEST(Sys, CpuLists) {
  COVERS("openat", "read");
  std::string online = ReadFile("/sys/devices/system/cpu/online");
  ASSERT_FALSE(online.empty());
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  EXPECT_EQ(online, n == 1 ? "0\n" : "0-" + std::to_string(n - 1) + "\n");
  EXPECT_FALSE(ReadFile("/sys/devices/system/cpu/possible").empty());
  EXPECT_OK(access("/sys/devices/system/cpu/cpu0", F_OK));
}

TEST(Sys, CantBeChanged) {
  COVERS("openat", "mkdir");
  struct stat st {};
  ASSERT_OK(stat("/sys", &st));
  EXPECT_TRUE(S_ISDIR(st.st_mode));
  EXPECT_EQ(mkdir("/sys/new", 0700), -1);
  EXPECT_TRUE(errno == EPERM || errno == EROFS) << systest::ErrnoText(errno);
}

}  // namespace
