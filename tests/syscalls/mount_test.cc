// mount, umount2, pivot_root, unshare. Everything happens in a child with a mount namespace of its
// own, where that is to be had.
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "tests/syscalls/test_util.h"

namespace {

class Mount : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNLESS_ROOT();
    pid_t pid = Spawn([] { return unshare(CLONE_NEWNS) == 0 ? 0 : 1; });
    if (WaitFor(pid) != 0) GTEST_SKIP() << "no mount namespaces";
    ASSERT_OK(mkdir(P("m").c_str(), 0755));
    ASSERT_OK(mkdir(P("n").c_str(), 0755));
    ASSERT_TRUE(WriteFile(P("n/in-n"), "n"));
    ASSERT_TRUE(WriteFile(P("file"), "f"));
  }
  std::string P(const char* n) { return dir_ / n; }
  static void Enter() {
    CHILD_OK(unshare(CLONE_NEWNS));
    CHILD_OK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  }
  int Do(const char* src, const char* at, const char* type, unsigned long flags,
         const char* data = nullptr) {
    return mount(src, P(at).c_str(), type, flags, data);
  }
  TempDir dir_;
};

TEST_F(Mount, Tmpfs) {
  COVERS("mount", "umount2", "statfs");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_CHECK(WriteFile(P("m/under"), "u"));
    CHILD_OK(Do("none", "m", "tmpfs", 0, "size=1m,mode=0711,uid=5,gid=6"));
    CHILD_ERR(access(P("m/under").c_str(), F_OK), ENOENT);
    struct stat st;
    CHILD_OK(stat(P("m").c_str(), &st));
    CHILD_EQ(st.st_mode, S_IFDIR | 0711);
    CHILD_EQ(st.st_uid, 5);
    CHILD_EQ(st.st_gid, 6);
    struct statfs sf;
    CHILD_OK(statfs(P("m").c_str(), &sf));
    CHILD_EQ(sf.f_type, 0x01021994);
    CHILD_EQ(sf.f_blocks * sf.f_bsize, 1 << 20);
    std::string big(2 << 20, 'x');
    int fd = open(P("m/big").c_str(), O_CREAT | O_RDWR, 0600);
    CHILD_RET(write(fd, big.data(), big.size()), 1 << 20);
    CHILD_ERR(write(fd, "x", 1), ENOSPC);
    CHILD_ERR(umount2(P("m").c_str(), 0), EBUSY);
    CHILD_OK(close(fd));
    CHILD_OK(umount2(P("m").c_str(), 0));
    CHILD_OK(access(P("m/under").c_str(), F_OK));
    CHILD_OK(unlink(P("m/under").c_str()));
  });
}

TEST_F(Mount, Bind) {
  COVERS("mount", "umount2");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_OK(Do(P("n").c_str(), "m", nullptr, MS_BIND));
    CHILD_CHECK(ReadFile(P("m/in-n")) == "n");
    CHILD_CHECK(WriteFile(P("m/new"), "x"));
    CHILD_CHECK(ReadFile(P("n/new")) == "x");
    CHILD_ERR(rename(P("m/new").c_str(), P("n/moved").c_str()), EXDEV);
    CHILD_ERR(link(P("m/new").c_str(), P("n/linked").c_str()), EXDEV);
    CHILD_ERR(rmdir(P("m").c_str()), EBUSY);
    CHILD_OK(umount2(P("m").c_str(), 0));
    CHILD_CHECK(WriteFile(P("target"), ""));
    CHILD_OK(Do(P("file").c_str(), "target", nullptr, MS_BIND));
    CHILD_CHECK(ReadFile(P("target")) == "f");
    CHILD_ERR(unlink(P("target").c_str()), EBUSY);
    CHILD_OK(umount2(P("target").c_str(), 0));
    CHILD_ERR(Do(P("file").c_str(), "m", nullptr, MS_BIND), ENOTDIR);
    CHILD_ERR(Do(P("n").c_str(), "file", nullptr, MS_BIND), ENOTDIR);
    CHILD_ERR(Do(P("none").c_str(), "m", nullptr, MS_BIND), ENOENT);
  });
}

TEST_F(Mount, ReadOnlyBind) {
  COVERS("mount");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_OK(Do(P("n").c_str(), "m", nullptr, MS_BIND));
    CHILD_OK(Do(nullptr, "m", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY));
    CHILD_ERR(open(P("m/new").c_str(), O_CREAT | O_RDWR, 0600), EROFS);
    CHILD_ERR(open(P("m/in-n").c_str(), O_RDWR), EROFS);
    CHILD_OK(open(P("m/in-n").c_str(), O_RDONLY));
    CHILD_ERR(mkdir(P("m/d").c_str(), 0700), EROFS);
    CHILD_ERR(unlink(P("m/in-n").c_str()), EROFS);
    CHILD_ERR(chmod(P("m/in-n").c_str(), 0600), EROFS);
    CHILD_ERR(access(P("m/in-n").c_str(), W_OK), EROFS);
    CHILD_OK(open(P("n/in-n").c_str(), O_RDWR));  // the original isn't affected
    struct statvfs v;
    CHILD_OK(statvfs(P("m").c_str(), &v));
    CHILD_CHECK(v.f_flag & ST_RDONLY);
  });
}

TEST_F(Mount, NoexecNosuidNodev) {
  COVERS("mount", "execve", "openat");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_OK(Do("none", "m", "tmpfs", MS_NOEXEC | MS_NODEV | MS_NOSUID));
    CHILD_CHECK(WriteFile(P("m/true"), ReadFile("/bin/true"), 0755));
    char* argv[] = {const_cast<char*>("true"), nullptr};
    CHILD_ERR(execve(P("m/true").c_str(), argv, argv + 1), EACCES);
    if (mknod(P("m/null").c_str(), S_IFCHR | 0666, 0x103) == 0) {
      CHILD_ERR(open(P("m/null").c_str(), O_RDWR), EACCES);
    }
  });
}

TEST_F(Mount, StackedAndLazy) {
  COVERS("mount", "umount2");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_OK(Do("none", "m", "tmpfs", 0));
    CHILD_CHECK(WriteFile(P("m/first"), ""));
    CHILD_OK(Do("none", "m", "tmpfs", 0));
    CHILD_ERR(access(P("m/first").c_str(), F_OK), ENOENT);
    CHILD_OK(umount2(P("m").c_str(), 0));
    CHILD_OK(access(P("m/first").c_str(), F_OK));
    int fd = open(P("m/first").c_str(), O_RDWR);
    CHILD_OK(umount2(P("m").c_str(), MNT_DETACH));
    CHILD_ERR(access(P("m/first").c_str(), F_OK), ENOENT);
    CHILD_RET(write(fd, "still", 5), 5);
  });
}

TEST_F(Mount, Errors) {
  COVERS("mount", "umount2");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_ERR(Do("none", "m", "no-such-type", 0), ENODEV);
    CHILD_ERR(Do("none", "none", "tmpfs", 0), ENOENT);
    CHILD_ERR(Do("none", "file", "tmpfs", 0), ENOTDIR);
    CHILD_ERR(Do("none", "m", "tmpfs", 0, "size=nonsense"), EINVAL);
    CHILD_ERR(mount("none", reinterpret_cast<char*>(8), "tmpfs", 0, nullptr), EFAULT);
    CHILD_ERR(mount("none", P("m").c_str(), nullptr, 0, nullptr), EINVAL);
    CHILD_ERR(umount2(P("m").c_str(), 0), EINVAL);
    CHILD_ERR(umount2(P("none").c_str(), 0), ENOENT);
    CHILD_ERR(umount2(P("m").c_str(), 1 << 20), EINVAL);
    CHILD_ERR(Do(nullptr, "m", nullptr, MS_REMOUNT), EINVAL);
    CHILD_ERR(Do(nullptr, "m", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY), EINVAL);
    systest::BecomeNobody();
    CHILD_ERR(Do("none", "m", "tmpfs", 0), EPERM);
    CHILD_ERR(umount2("/proc", 0), EPERM);
  });
}

TEST_F(Mount, Move) {
  COVERS("mount");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_OK(Do("none", "m", "tmpfs", 0));
    CHILD_CHECK(WriteFile(P("m/x"), "x"));
    CHILD_OK(mount(P("m").c_str(), P("n").c_str(), nullptr, MS_MOVE, nullptr));
    CHILD_CHECK(ReadFile(P("n/x")) == "x");
    CHILD_ERR(access(P("m/x").c_str(), F_OK), ENOENT);
    CHILD_ERR(mount(P("m").c_str(), P("n").c_str(), nullptr, MS_MOVE, nullptr), EINVAL);
  });
}

TEST_F(Mount, Recursive) {
  COVERS("mount");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_OK(mkdir(P("n/sub").c_str(), 0755));
    CHILD_OK(Do("none", "n/sub", "tmpfs", 0));
    CHILD_CHECK(WriteFile(P("n/sub/deep"), "d"));
    CHILD_OK(Do(P("n").c_str(), "m", nullptr, MS_BIND));
    CHILD_ERR(access(P("m/sub/deep").c_str(), F_OK), ENOENT);
    CHILD_OK(umount2(P("m").c_str(), 0));
    CHILD_OK(Do(P("n").c_str(), "m", nullptr, MS_BIND | MS_REC));
    CHILD_OK(access(P("m/sub/deep").c_str(), F_OK));
    CHILD_ERR(umount2(P("m").c_str(), 0), EBUSY);
    CHILD_OK(umount2(P("m").c_str(), MNT_DETACH));
    CHILD_OK(umount2(P("n/sub").c_str(), 0));
  });
}

TEST_F(Mount, NamespacesAreSeparate) {
  COVERS("unshare", "mount");
  EXPECT_CHILD([&] {
    Enter();
    pid_t pid = fork();
    if (pid == 0) {
      CHILD_OK(unshare(CLONE_NEWNS));
      CHILD_OK(Do("none", "m", "tmpfs", 0));
      CHILD_CHECK(WriteFile(P("m/inner"), ""));
      _exit(0);
    }
    CHILD_EQ(WaitFor(pid), 0);
    CHILD_ERR(access(P("m/inner").c_str(), F_OK), ENOENT);
    CHILD_ERR(umount2(P("m").c_str(), 0), EINVAL);
  });
}

TEST_F(Mount, Proc) {
  COVERS("mount");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_OK(Do("proc", "m", "proc", 0));
    CHILD_CHECK(ReadFile(P("m/self/comm")) == ReadFile("/proc/self/comm"));
    CHILD_OK(umount2(P("m").c_str(), 0));
  });
}

TEST_F(Mount, PivotRoot) {
  COVERS("pivot_root", "mount");
  EXPECT_CHILD([&] {
    Enter();
    CHILD_ERR(syscall(SYS_pivot_root, P("n").c_str(), P("n").c_str()),
              EBUSY);  // on the root's mount
    CHILD_OK(Do("none", "m", "tmpfs", 0));
    CHILD_OK(mkdir(P("m/old").c_str(), 0700));
    CHILD_CHECK(WriteFile(P("m/mark"), "new root"));
    CHILD_OK(syscall(SYS_pivot_root, P("m").c_str(), P("m/old").c_str()));
    CHILD_OK(chdir("/"));
    CHILD_CHECK(ReadFile("/mark") == "new root");
    CHILD_OK(access("/old/bin", F_OK));
    CHILD_OK(umount2("/old", MNT_DETACH));
    CHILD_ERR(access("/old/bin", F_OK), ENOENT);
  });
}

}  // namespace
