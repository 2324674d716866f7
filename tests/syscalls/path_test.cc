// How paths are resolved, and each way in which that fails.
#include <limits.h>

#include "tests/syscalls/test_util.h"

namespace {

class PathWalk : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFile(dir_ / "file", "content"));
    ASSERT_OK(mkdir((dir_ / "d").c_str(), 0755));
    ASSERT_OK(mkdir((dir_ / "d/e").c_str(), 0755));
    ASSERT_TRUE(WriteFile(dir_ / "d/e/deep", "deep"));
  }
  int Access(const std::string& name) { return access((dir_ / name).c_str(), F_OK); }
  TempDir dir_;
};

TEST_F(PathWalk, DotsAndSlashes) {
  COVERS("access");
  EXPECT_OK(Access("d/e/deep"));
  EXPECT_OK(Access("d//e///deep"));
  EXPECT_OK(Access("./d/./e/../e/deep"));
  EXPECT_OK(Access("d/e/../../file"));
  EXPECT_OK(Access("d/"));
  EXPECT_OK(Access("d/."));
  EXPECT_OK(Access("d/.."));
  EXPECT_ERR(Access("file/"), ENOTDIR);
  EXPECT_ERR(Access("file/."), ENOTDIR);
  EXPECT_ERR(Access("file/.."), ENOTDIR);
  EXPECT_ERR(Access("none/.."), ENOENT);
  EXPECT_ERR(Access("none/"), ENOENT);
  EXPECT_OK(access("/..", F_OK));
  EXPECT_OK(access("//", F_OK));
  EXPECT_OK(access("/../../..", F_OK));
}

TEST_F(PathWalk, EmptyAndBad) {
  COVERS("access");
  EXPECT_ERR(access("", F_OK), ENOENT);
  EXPECT_ERR(syscall(SYS_access, nullptr, 0), EFAULT);
  EXPECT_ERR(syscall(SYS_access, -1L, 0), EFAULT);
}

TEST_F(PathWalk, NameTooLong) {
  COVERS("access", "openat", "mkdir");
  std::string n255(255, 'n'), n256(256, 'n');
  EXPECT_ERR(Access(n255), ENOENT);
  EXPECT_ERR(Access(n256), ENAMETOOLONG);
  EXPECT_ERR(Access("none/" + n256), ENOENT);
  EXPECT_ERR(Access("d/" + n256), ENAMETOOLONG);
  EXPECT_ERR(Access("file/" + n256), ENOTDIR);
  EXPECT_TRUE(WriteFile(dir_ / n255, "x"));
  EXPECT_ERR(mkdir((dir_ / n256).c_str(), 0700), ENAMETOOLONG);
  EXPECT_ERR(open((dir_ / n256).c_str(), O_CREAT | O_RDWR, 0600), ENAMETOOLONG);
}

TEST_F(PathWalk, PathTooLong) {
  COVERS("access");
  std::string p = dir_.path();
  while (p.size() < PATH_MAX - 3) p += "/.";
  p.resize(PATH_MAX - 1, '/');
  EXPECT_EQ(p.size(), size_t{PATH_MAX - 1});
  EXPECT_OK(access(p.c_str(), F_OK));
  p += "/";
  EXPECT_ERR(access(p.c_str(), F_OK), ENAMETOOLONG);
}

TEST_F(PathWalk, SymlinkLoop) {
  COVERS("access", "openat");
  ASSERT_OK(symlink("b", (dir_ / "a").c_str()));
  ASSERT_OK(symlink("a", (dir_ / "b").c_str()));
  ASSERT_OK(symlink("self", (dir_ / "self").c_str()));
  EXPECT_ERR(Access("a"), ELOOP);
  EXPECT_ERR(Access("self"), ELOOP);
  EXPECT_ERR(Access("self/x"), ELOOP);
  EXPECT_ERR(open((dir_ / "a").c_str(), O_CREAT | O_RDWR, 0600), ELOOP);
}

TEST_F(PathWalk, FortyLinksAreAllowed) {
  COVERS("access", "symlink");
  ASSERT_OK(symlink("file", (dir_ / "l1").c_str()));
  for (int i = 2; i <= 41; i++) {
    ASSERT_OK(
        symlink(("l" + std::to_string(i - 1)).c_str(), (dir_ / ("l" + std::to_string(i))).c_str()));
  }
  EXPECT_OK(Access("l40"));
  EXPECT_ERR(Access("l41"), ELOOP);
}

TEST_F(PathWalk, LinksInTheMiddle) {
  COVERS("access", "symlink", "openat");
  ASSERT_OK(symlink("d/e", (dir_ / "rel").c_str()));
  ASSERT_OK(symlink((dir_ / "d").c_str(), (dir_ / "abs").c_str()));
  ASSERT_OK(symlink("../../file", (dir_ / "d/e/up").c_str()));
  ASSERT_OK(symlink("rel/up", (dir_ / "chain").c_str()));
  EXPECT_OK(Access("rel/deep"));
  EXPECT_OK(Access("abs/e/deep"));
  EXPECT_OK(Access("rel/../e/deep"));
  EXPECT_ERR(Access("rel/../file"), ENOENT);  // .. of the link's target
  EXPECT_EQ(ReadFile(dir_ / "chain"), "content");
  EXPECT_OK(Access("rel/"));
  ASSERT_OK(symlink("file", (dir_ / "f").c_str()));
  EXPECT_ERR(Access("f/"), ENOTDIR);
  ASSERT_OK(symlink("d/", (dir_ / "slash").c_str()));
  EXPECT_OK(Access("slash"));
  struct stat st {};
  EXPECT_OK(lstat((dir_ / "rel").c_str(), &st));
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  EXPECT_OK(lstat((dir_ / "rel/").c_str(), &st));
  EXPECT_TRUE(S_ISDIR(st.st_mode));
  ASSERT_OK(symlink("file/", (dir_ / "fs").c_str()));
  EXPECT_ERR(Access("fs"), ENOTDIR);
}

TEST_F(PathWalk, SearchPermission) {
  COVERS("access", "chmod");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chmod((dir_ / "d").c_str(), 0644));
  EXPECT_OK(Access("d/e/deep"));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_ERR(Access("d/e/deep"), EACCES);
    CHILD_ERR(Access("d/none"), EACCES);
    CHILD_ERR(Access("d/.."), EACCES);
    CHILD_OK(Access("d"));
    CHILD_OK(Access("d/"));
  });
  ASSERT_OK(chmod((dir_ / "d").c_str(), 0711));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_OK(Access("d/e/deep"));
    CHILD_ERR(open((dir_ / "d").c_str(), O_RDONLY), EACCES);
  });
}

TEST_F(PathWalk, GroupPermissionBeatsOther) {
  COVERS("openat", "setgroups");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chown((dir_ / "file").c_str(), 1, 500));
  ASSERT_OK(chmod((dir_ / "file").c_str(), 0604));
  EXPECT_CHILD([&] {
    gid_t g = 500;
    CHILD_OK(syscall(SYS_setgroups, 1, &g));
    CHILD_OK(setresgid(65534, 65534, 65534));
    CHILD_OK(setresuid(65534, 65534, 65534));
    CHILD_ERR(open((dir_ / "file").c_str(), O_RDONLY), EACCES);
  });
  ASSERT_OK(chmod((dir_ / "file").c_str(), 0066));
  EXPECT_CHILD([&] {
    CHILD_OK(setresgid(500, 500, 500));
    CHILD_OK(setresuid(1, 1, 1));
    CHILD_ERR(open((dir_ / "file").c_str(), O_RDONLY), EACCES);
  });
}

TEST_F(PathWalk, RelativeToRemovedAndFile) {
  COVERS("openat", "mkdirat");
  Fd f(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_ERR(openat(f, "x", O_RDONLY), ENOTDIR);
  EXPECT_ERR(mkdirat(f, "x", 0700), ENOTDIR);
  EXPECT_ERR(unlinkat(f, "x", 0), ENOTDIR);
  EXPECT_ERR(faccessat(f, "x", F_OK, 0), ENOTDIR);
  EXPECT_ERR(faccessat(9999, "x", F_OK, 0), EBADF);
  EXPECT_ERR(symlinkat("x", 9999, "y"), EBADF);
  EXPECT_ERR(linkat(9999, "x", AT_FDCWD, "y", 0), EBADF);
  EXPECT_ERR(renameat(9999, "x", AT_FDCWD, "y"), EBADF);
  EXPECT_ERR(readlinkat(9999, "x", nullptr, 1), EBADF);
}

TEST_F(PathWalk, AnyByteButSlashAndNul) {
  COVERS("openat", "getdents64");
  std::string odd = "\x01\xff\xfe \n*?\\";
  ASSERT_TRUE(WriteFile(dir_ / odd, "odd"));
  EXPECT_EQ(ReadFile(dir_ / odd), "odd");
  EXPECT_OK(unlink((dir_ / odd).c_str()));
  ASSERT_TRUE(WriteFile(dir_ / "...", "dots"));
  EXPECT_EQ(ReadFile(dir_ / "..."), "dots");
  EXPECT_ERR(Access("FILE"), ENOENT);
}

TEST_F(PathWalk, DeepTree) {
  COVERS("mkdirat", "openat", "chdir", "getcwd");
  // Deeper than PATH_MAX: reachable only step by step.
  EXPECT_CHILD([&] {
    CHILD_OK(chdir(dir_.path().c_str()));
    std::string name(200, 'x');
    for (int i = 0; i < 25; i++) {
      CHILD_OK(mkdir(name.c_str(), 0700));
      CHILD_OK(chdir(name.c_str()));
    }
    char buf[8192];
    CHILD_ERR(syscall(SYS_getcwd, buf, 4096), ENAMETOOLONG);
    CHILD_ERR(syscall(SYS_getcwd, buf, 8192), ENAMETOOLONG);
    for (int i = 0; i < 25; i++) {
      CHILD_OK(chdir(".."));
      CHILD_OK(rmdir(name.c_str()));
    }
  });
}

}  // namespace
