// fs.protected_* (proc_sys_fs(5)), and what capabilities(7) says of files.
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/xattr.h>

#include "tests/syscalls/test_util.h"

namespace {

int Sysctl(const std::string& name) {
  const std::string s = ReadFile("/proc/sys/fs/protected_" + name);
  return s.empty() ? -1 : atoi(s.c_str());
}

// Fails with error if the switch is on, and succeeds if it is off.
#define EXPECT_PROTECTED(on, expr, error) \
  do {                                    \
    if (on) {                             \
      EXPECT_ERR(expr, error);            \
    } else {                              \
      EXPECT_OK(expr);                    \
    }                                     \
  } while (0)

class Protected : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNLESS_ROOT();
    // A directory like /tmp, and in it things of two users.
    ASSERT_OK(mkdir(P("t").c_str(), 0700));
    ASSERT_OK(chmod(P("t").c_str(), 01777));
    ASSERT_TRUE(WriteFile(P("target"), "t", 0644));
    ASSERT_OK(symlink("../target", P("t/theirs").c_str()));
    ASSERT_OK(lchown(P("t/theirs").c_str(), 1234, 1234));
    ASSERT_OK(symlink("../target", P("t/roots").c_str()));
    ASSERT_TRUE(WriteFile(P("t/file"), "x", 0666));
    ASSERT_OK(chmod(P("t/file").c_str(), 0666));
    ASSERT_OK(chown(P("t/file").c_str(), 1234, 1234));
  }
  std::string P(const std::string& n) { return dir_ / n; }
  TempDir dir_;
};

TEST_F(Protected, Symlinks) {
  COVERS("openat", "stat", "readlink");
  const bool on = Sysctl("symlinks") == 1;
  EXPECT_PROTECTED(on, open(P("t/theirs").c_str(), O_RDONLY), EACCES);  // even for root
  struct stat st;
  EXPECT_PROTECTED(on, stat(P("t/theirs").c_str(), &st), EACCES);
  EXPECT_OK(lstat(P("t/theirs").c_str(), &st));
  char buf[64];
  EXPECT_RET(readlink(P("t/theirs").c_str(), buf, sizeof buf), 9);
  EXPECT_OK(stat(P("t/roots").c_str(), &st));  // the directory's owner made it
  EXPECT_CHILD([&] {
    CHILD_OK(setresuid(1234, 1234, 1234));
    struct stat s;
    CHILD_OK(stat(P("t/theirs").c_str(), &s));  // one's own
    CHILD_OK(stat(P("t/roots").c_str(), &s));
  });
  // In the middle of a path it does not matter.
  ASSERT_OK(symlink("..", P("t/up").c_str()));
  ASSERT_OK(lchown(P("t/up").c_str(), 1234, 1234));
  EXPECT_OK(stat(P("t/up/target").c_str(), &st));
  EXPECT_PROTECTED(on, stat(P("t/up/").c_str(), &st), EACCES);
  ASSERT_OK(chmod(P("t").c_str(), 0777));
  EXPECT_OK(stat(P("t/theirs").c_str(), &st));
}

TEST_F(Protected, HardLinks) {
  COVERS("link", "linkat");
  const bool on = Sysctl("hardlinks") == 1;
  ASSERT_OK(chmod(dir_.path().c_str(), 0777));
  ASSERT_TRUE(WriteFile(P("suid"), "s", 0666));
  ASSERT_OK(chmod(P("suid").c_str(), 04666));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_OK(link(P("t/file").c_str(), P("l2").c_str()));
    if (!on) return;
    CHILD_ERR(link(P("target").c_str(), P("l1").c_str()), EPERM);  // may not write it
    CHILD_ERR(link(P("suid").c_str(), P("l3").c_str()), EPERM);
    CHILD_ERR(link(P("t/roots").c_str(), P("l4").c_str()), EPERM);  // a symlink
  });
  EXPECT_OK(link(P("target").c_str(), P("l5").c_str()));
}

TEST_F(Protected, RegularFiles) {
  COVERS("openat");
  EXPECT_PROTECTED(Sysctl("regular") >= 1, open(P("t/file").c_str(), O_RDWR | O_CREAT, 0600),
                   EACCES);
  Fd plain(open(P("t/file").c_str(), O_RDWR));
  EXPECT_GE(plain.get(), 0);
  EXPECT_CHILD([&] {
    CHILD_OK(setresuid(1234, 1234, 1234));
    CHILD_OK(open(P("t/file").c_str(), O_RDWR | O_CREAT, 0600));
  });
}

TEST_F(Protected, Fifos) {
  COVERS("openat", "mknod");
  ASSERT_OK(mkfifo(P("t/fifo").c_str(), 0666));
  ASSERT_OK(chown(P("t/fifo").c_str(), 1234, 1234));
  EXPECT_PROTECTED(Sysctl("fifos") >= 1, open(P("t/fifo").c_str(), O_RDWR | O_CREAT, 0600), EACCES);
  Fd plain(open(P("t/fifo").c_str(), O_RDWR));
  EXPECT_GE(plain.get(), 0);
}

// The effective capabilities of a program that a user without any executes, in hexadecimal.
std::string CapEff(const std::string& program, bool no_new_privs = false) {
  int p[2];
  if (pipe(p) != 0) return "";
  pid_t pid = Spawn([&] {
    dup2(p[1], 1);
    if (no_new_privs) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    systest::BecomeNobody();
    execl(program.c_str(), "grep", "CapEff", "/proc/self/status", nullptr);
    dprintf(1, "errno %d", errno);
    return 1;
  });
  close(p[1]);
  std::string s = ReadAllFd(Fd(p[0]));
  WaitFor(pid);
  return s;
}

TEST(FileCapabilities, OfAProgram) {
  COVERS("execve", "setxattr", "write");
  SKIP_UNLESS_ROOT();
  TempDir dir;
  const std::string grep = dir / "grep";
  ASSERT_TRUE(WriteFile(grep, ReadFile("/bin/grep"), 0755));
  vfs_cap_data d{};
  d.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  d.data[0].permitted = 1u << CAP_KILL;
  if (setxattr(grep.c_str(), "security.capability", &d, sizeof d, 0) != 0)
    GTEST_SKIP() << "no file capabilities here: " << systest::ErrnoText(errno);
  EXPECT_EQ(CapEff(grep), "CapEff:\t0000000000000020\n");
  EXPECT_EQ(CapEff(grep, true), "CapEff:\t0000000000000000\n");
  // Not in the bounding set.
  EXPECT_CHILD([&] {
    CHILD_OK(prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0));
    CHILD_CHECK(CapEff(grep) == "errno 1");
  });
  // Permitted, but not effective.
  d.magic_etc = VFS_CAP_REVISION_2;
  ASSERT_OK(setxattr(grep.c_str(), "security.capability", &d, sizeof d, 0));
  EXPECT_EQ(CapEff(grep), "CapEff:\t0000000000000000\n");
  // A write takes them away.
  char byte;
  Fd fd(open(grep.c_str(), O_RDWR));
  ASSERT_RET(pread(fd, &byte, 1, 0), 1);
  ASSERT_RET(pwrite(fd, &byte, 1, 0), 1);
  EXPECT_ERR(getxattr(grep.c_str(), "security.capability", &d, sizeof d), ENODATA);
  ASSERT_OK(setxattr(grep.c_str(), "security.capability", &d, sizeof d, 0));
  ASSERT_OK(chown(grep.c_str(), 0, 0));
  EXPECT_ERR(getxattr(grep.c_str(), "security.capability", &d, sizeof d), ENODATA);
}

}  // namespace
