// mkdir, rmdir, getdents64, rename, link, unlink, symlink, readlink, chdir, getcwd, chroot.
#include <dirent.h>
#include <linux/fs.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "tests/syscalls/test_util.h"

namespace {

struct DirEntry64 {
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
  uint8_t type;
  char name[1];
};

class Directory : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFile(dir_ / "file", "content"));
    ASSERT_OK(mkdir((dir_ / "sub").c_str(), 0755));
    ASSERT_TRUE(WriteFile(dir_ / "sub/inner", "inner"));
    ASSERT_OK(mkdir((dir_ / "empty").c_str(), 0755));
    ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
    ASSERT_OK(symlink("sub", (dir_ / "dirlink").c_str()));
  }
  const char* P(const std::string& name) {
    kept_.push_back(dir_ / name);
    return kept_.back().c_str();
  }
  ino_t Ino(const std::string& name) {
    struct stat st {};
    EXPECT_OK(lstat(P(name), &st));
    return st.st_ino;
  }
  std::map<std::string, unsigned> List(const std::string& name, size_t bufsize = 4096) {
    std::map<std::string, unsigned> out;
    Fd fd(open(P(name), O_RDONLY | O_DIRECTORY));
    EXPECT_GE(fd.get(), 0);
    std::vector<char> buf(bufsize);
    for (;;) {
      long n = syscall(SYS_getdents64, fd.get(), buf.data(), buf.size());
      EXPECT_GE(n, 0) << systest::ErrnoText(errno);
      if (n <= 0) break;
      for (long at = 0; at < n;) {
        auto* e = reinterpret_cast<DirEntry64*>(buf.data() + at);
        EXPECT_EQ(e->reclen % 8, 0);
        EXPECT_TRUE(out.emplace(e->name, e->type).second) << "twice: " << e->name;
        at += e->reclen;
      }
    }
    return out;
  }
  TempDir dir_;
  std::deque<std::string> kept_;
};

int Renameat2(const char* a, const char* b, unsigned flags) {
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags));
}

TEST_F(Directory, ListNamesAndTypes) {
  COVERS("getdents64");
  auto l = List("");
  EXPECT_EQ(l.size(), 7u);
  EXPECT_EQ(l["."], DT_DIR);
  EXPECT_EQ(l[".."], DT_DIR);
  EXPECT_EQ(l["file"], DT_REG);
  EXPECT_EQ(l["sub"], DT_DIR);
  EXPECT_EQ(l["link"], DT_LNK);
}

TEST_F(Directory, ListManyWithSmallBuffer) {
  COVERS("getdents64");
  for (int i = 0; i < 500; i++) {
    ASSERT_TRUE(WriteFile(dir_ / ("empty/name" + std::to_string(i)), ""));
  }
  EXPECT_EQ(List("empty", 100).size(), 502u);
  EXPECT_EQ(List("empty", 65536).size(), 502u);
}

TEST_F(Directory, GetdentsErrors) {
  COVERS("getdents64", "getdents");
  char buf[256];
  Fd f(open(P("file"), O_RDONLY));
  EXPECT_ERR(syscall(SYS_getdents64, f.get(), buf, sizeof buf), ENOTDIR);
  EXPECT_ERR(syscall(SYS_getdents64, -1, buf, sizeof buf), EBADF);
  Fd d(open(P(""), O_RDONLY));
  EXPECT_ERR(syscall(SYS_getdents64, d.get(), buf, 8), EINVAL);
  EXPECT_ERR(syscall(SYS_getdents64, d.get(), 8, 4096), EFAULT);
  EXPECT_GT(syscall(SYS_getdents, d.get(), buf, sizeof buf), 0);
}

TEST_F(Directory, GetdentsOfRemovedDirectory) {
  COVERS("getdents64", "rmdir");
  Fd d(open(P("empty"), O_RDONLY));
  ASSERT_OK(rmdir(P("empty")));
  char buf[256];
  EXPECT_ERR(syscall(SYS_getdents64, d.get(), buf, sizeof buf), ENOENT);
  EXPECT_ERR(openat(d, "x", O_CREAT | O_RDWR, 0600), ENOENT);
  EXPECT_ERR(mkdirat(d, "x", 0700), ENOENT);
}

TEST_F(Directory, RewindSeesNewEntries) {
  COVERS("getdents64", "lseek");
  Fd d(open(P("empty"), O_RDONLY));
  char buf[4096];
  long n = syscall(SYS_getdents64, d.get(), buf, sizeof buf);
  EXPECT_EQ(n, 48);
  EXPECT_RET(syscall(SYS_getdents64, d.get(), buf, sizeof buf), 0);
  ASSERT_TRUE(WriteFile(dir_ / "empty/new", ""));
  EXPECT_RET(lseek(d, 0, SEEK_SET), 0);
  EXPECT_RET(syscall(SYS_getdents64, d.get(), buf, sizeof buf), 72);
}

TEST_F(Directory, SeekToAnEntry) {
  COVERS("getdents64", "lseek");
  for (int i = 0; i < 50; i++) {
    ASSERT_TRUE(WriteFile(dir_ / ("empty/n" + std::to_string(i)), ""));
  }
  DIR* d = opendir(P("empty"));
  ASSERT_NE(d, nullptr);
  for (int i = 0; i < 20; i++) ASSERT_NE(readdir(d), nullptr);
  long at = telldir(d);
  std::string next = readdir(d)->d_name;
  while (readdir(d)) {
  }
  seekdir(d, at);
  dirent* e = readdir(d);
  ASSERT_NE(e, nullptr);
  EXPECT_EQ(next, e->d_name);
  closedir(d);
}

TEST_F(Directory, RemoveWhileListing) {
  COVERS("getdents64", "unlink");
  for (int i = 0; i < 200; i++) {
    ASSERT_TRUE(WriteFile(dir_ / ("empty/n" + std::to_string(i)), ""));
  }
  DIR* d = opendir(P("empty"));
  int seen = 0;
  while (dirent* e = readdir(d)) {
    if (e->d_name[0] == '.') continue;
    seen++;
    EXPECT_OK(unlinkat(dirfd(d), e->d_name, 0));
  }
  closedir(d);
  EXPECT_EQ(seen, 200);
  EXPECT_OK(rmdir(P("empty")));
}

TEST_F(Directory, InodeNumbersMatchStat) {
  COVERS("getdents64", "stat");
  DIR* d = opendir(dir_.path().c_str());
  while (dirent* e = readdir(d)) {
    std::string n = e->d_name;
    if (n == "." || n == "..") continue;
    EXPECT_EQ(e->d_ino, Ino(n)) << n;
  }
  closedir(d);
}

TEST_F(Directory, Mkdir) {
  COVERS("mkdir", "mkdirat");
  EXPECT_OK(mkdir(P("a"), 0777));
  struct stat st {};
  EXPECT_OK(stat(P("a"), &st));
  EXPECT_EQ(st.st_mode, S_IFDIR | 0755u);
  EXPECT_ERR(mkdir(P("a"), 0777), EEXIST);
  EXPECT_ERR(mkdir(P("file"), 0777), EEXIST);
  EXPECT_ERR(mkdir(P("link"), 0777), EEXIST);
  EXPECT_OK(mkdir(P("b/"), 0777));
  EXPECT_ERR(mkdir(P("none/x"), 0777), ENOENT);
  EXPECT_ERR(mkdir(P("file/x"), 0777), ENOTDIR);
  EXPECT_ERR(mkdir("", 0777), ENOENT);
  EXPECT_ERR(mkdir("/", 0777), EEXIST);
  EXPECT_ERR(mkdir(P("a/."), 0777), EEXIST);
  EXPECT_ERR(mkdir(P("a/.."), 0777), EEXIST);
  EXPECT_OK(mkdir(P("t"), 01777));
  EXPECT_OK(stat(P("t"), &st));
  EXPECT_EQ(st.st_mode, S_IFDIR | 01755u);
  EXPECT_ERR(mkdirat(-1, "x", 0), EBADF);
}

TEST_F(Directory, Rmdir) {
  COVERS("rmdir", "unlinkat");
  EXPECT_ERR(rmdir(P("sub")), ENOTEMPTY);
  EXPECT_ERR(rmdir(P("file")), ENOTDIR);
  EXPECT_ERR(rmdir(P("dirlink")), ENOTDIR);
  EXPECT_ERR(rmdir(P("none")), ENOENT);
  EXPECT_ERR(rmdir(P("empty/.")), EINVAL);
  EXPECT_ERR(rmdir(P("empty/..")), ENOTEMPTY);
  EXPECT_ERR(rmdir("/"), EBUSY);
  EXPECT_ERR(unlinkat(AT_FDCWD, P("empty"), 0), EISDIR);
  EXPECT_OK(unlinkat(AT_FDCWD, P("empty/"), AT_REMOVEDIR));
  EXPECT_ERR(unlinkat(AT_FDCWD, P("empty"), AT_REMOVEDIR), ENOENT);
  EXPECT_ERR(unlinkat(AT_FDCWD, P("file"), 1 << 20), EINVAL);
}

TEST_F(Directory, Unlink) {
  COVERS("unlink", "unlinkat");
  EXPECT_ERR(unlink(P("sub")), EISDIR);
  EXPECT_ERR(unlink(P("none")), ENOENT);
  EXPECT_ERR(unlink(P("file/")), ENOTDIR);
  EXPECT_ERR(unlink(P("file/x")), ENOTDIR);
  EXPECT_OK(unlink(P("link")));
  EXPECT_OK(access(P("file"), F_OK));
  EXPECT_OK(unlinkat(AT_FDCWD, P("file"), 0));
  EXPECT_ERR(unlink(P("file")), ENOENT);
  EXPECT_ERR(unlink(""), ENOENT);
}

TEST_F(Directory, StickyBit) {
  COVERS("unlink", "rename");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(mkdir(P("t"), 0777));
  ASSERT_OK(chmod(P("t"), 01777));
  ASSERT_TRUE(WriteFile(dir_ / "t/root", ""));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_ERR(unlink(P("t/root")), EPERM);
    CHILD_ERR(rename(P("t/root"), P("t/x")), EPERM);
    CHILD_CHECK(WriteFile(dir_ / "t/mine", ""));
    CHILD_OK(rename(P("t/mine"), P("t/mine2")));
    CHILD_ERR(rename(P("t/mine2"), P("t/root")), EPERM);
    CHILD_OK(unlink(P("t/mine2")));
    CHILD_ERR(unlink(P("file")), EACCES);
  });
}

TEST_F(Directory, RenameFile) {
  COVERS("rename", "renameat");
  ino_t i = Ino("file");
  EXPECT_OK(rename(P("file"), P("moved")));
  EXPECT_ERR(access(P("file"), F_OK), ENOENT);
  EXPECT_EQ(Ino("moved"), i);
  EXPECT_OK(rename(P("moved"), P("sub/inner")));
  EXPECT_EQ(ReadFile(dir_ / "sub/inner"), "content");
  EXPECT_ERR(rename(P("none"), P("x")), ENOENT);
  EXPECT_ERR(rename(P("sub/inner"), P("none/x")), ENOENT);
  EXPECT_ERR(rename(P("sub/inner"), P("empty")), EISDIR);
  EXPECT_ERR(rename(P("sub/inner"), P("sub")), ENOTEMPTY);  // an ancestor of what is moved
  EXPECT_ERR(rename(P("sub/inner"), P("x/")), ENOTDIR);
  EXPECT_OK(rename(P("sub/inner"), P("sub/inner")));
  EXPECT_ERR(rename(P("sub"), P("sub/inner")), EINVAL);
  EXPECT_OK(syscall(SYS_renameat, AT_FDCWD, P("sub/inner"), AT_FDCWD, P("back")));
}

TEST_F(Directory, RenameDirectory) {
  COVERS("rename");
  EXPECT_ERR(rename(P("sub"), P("file")), ENOTDIR);
  EXPECT_OK(rename(P("sub"), P("empty")));
  EXPECT_EQ(ReadFile(dir_ / "empty/inner"), "inner");
  ASSERT_OK(mkdir(P("again"), 0755));
  EXPECT_ERR(rename(P("again"), P("empty")), ENOTEMPTY);
  EXPECT_ERR(rename(P("empty"), P("empty/below")), EINVAL);
  EXPECT_ERR(rename(P("empty/.."), P("x")), EBUSY);
  EXPECT_ERR(rename(P("empty/."), P("x")), EBUSY);
  EXPECT_OK(rename(P("again/"), P("more/")));
  EXPECT_OK(rename(P("empty"), P("more")));
  EXPECT_EQ(ReadFile(dir_ / "more/inner"), "inner");
}

TEST_F(Directory, RenameHardLinksOfOneFileDoesNothing) {
  COVERS("rename", "link");
  ASSERT_OK(link(P("file"), P("second")));
  EXPECT_OK(rename(P("file"), P("second")));
  EXPECT_OK(access(P("file"), F_OK));
  EXPECT_OK(access(P("second"), F_OK));
}

TEST_F(Directory, RenameMovesLinkItself) {
  COVERS("rename");
  EXPECT_OK(rename(P("link"), P("newlink")));
  struct stat st {};
  EXPECT_OK(lstat(P("newlink"), &st));
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  EXPECT_OK(access(P("file"), F_OK));
}

TEST_F(Directory, Renameat2) {
  COVERS("renameat2");
  EXPECT_ERR(Renameat2(P("file"), P("sub"), RENAME_NOREPLACE), EEXIST);
  EXPECT_OK(Renameat2(P("file"), P("free"), RENAME_NOREPLACE));
  ino_t a = Ino("free"), b = Ino("sub");
  EXPECT_OK(Renameat2(P("free"), P("sub"), RENAME_EXCHANGE));
  EXPECT_EQ(Ino("sub"), a);
  EXPECT_EQ(Ino("free"), b);
  EXPECT_EQ(ReadFile(dir_ / "free/inner"), "inner");
  EXPECT_ERR(Renameat2(P("free"), P("none"), RENAME_EXCHANGE), ENOENT);
  EXPECT_ERR(Renameat2(P("free"), P("x"), RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
  EXPECT_ERR(Renameat2(P("free"), P("x"), 1 << 10), EINVAL);
}

TEST_F(Directory, RenameUpdatesDotDot) {
  COVERS("rename", "getcwd");
  EXPECT_CHILD([&] {
    CHILD_OK(chdir(P("sub")));
    CHILD_OK(rename(P("sub"), P("empty/deeper")));
    char buf[4096];
    CHILD_OK(syscall(SYS_getcwd, buf, sizeof buf));
    CHILD_CHECK(std::string(buf) == dir_ / "empty/deeper");
    struct stat a, b;
    CHILD_OK(stat("..", &a));
    CHILD_OK(stat(P("empty"), &b));
    CHILD_EQ(a.st_ino, b.st_ino);
  });
}

TEST_F(Directory, Link) {
  COVERS("link", "linkat");
  EXPECT_OK(link(P("file"), P("hard")));
  EXPECT_ERR(link(P("file"), P("hard")), EEXIST);
  EXPECT_ERR(link(P("sub"), P("hard2")), EPERM);
  EXPECT_ERR(link(P("none"), P("hard2")), ENOENT);
  EXPECT_ERR(link(P("file"), P("hard2/")), ENOENT);
  EXPECT_OK(link(P("link"), P("l2")));  // the link itself
  struct stat st {};
  EXPECT_OK(lstat(P("l2"), &st));
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  EXPECT_OK(linkat(AT_FDCWD, P("link"), AT_FDCWD, P("l3"), AT_SYMLINK_FOLLOW));
  EXPECT_OK(lstat(P("l3"), &st));
  EXPECT_TRUE(S_ISREG(st.st_mode));
  EXPECT_ERR(linkat(AT_FDCWD, P("file"), AT_FDCWD, P("l4"), 1 << 20), EINVAL);
  EXPECT_ERR(link(P("file"), "/dev/no-such-name"), EXDEV);
}

TEST_F(Directory, Symlink) {
  COVERS("symlink", "symlinkat", "readlink", "readlinkat");
  EXPECT_OK(symlink("anything at all", P("s")));
  char buf[64] = {};
  EXPECT_RET(readlink(P("s"), buf, sizeof buf), 15);
  EXPECT_STREQ(buf, "anything at all");
  memset(buf, '#', sizeof buf);
  EXPECT_RET(readlink(P("s"), buf, 3), 3);
  EXPECT_EQ(std::string(buf, 4), "any#");
  EXPECT_ERR(readlink(P("s"), buf, 0), EINVAL);
  EXPECT_ERR(readlink(P("s"), buf, -1), EINVAL);
  EXPECT_ERR(readlink(P("file"), buf, 10), EINVAL);
  EXPECT_ERR(readlink(P("none"), buf, 10), ENOENT);
  EXPECT_ERR(syscall(SYS_readlink, P("s"), 8, 10), EFAULT);
  EXPECT_ERR(symlink("x", P("s")), EEXIST);
  EXPECT_ERR(symlink("x", P("file")), EEXIST);
  EXPECT_ERR(symlink("", P("e")), ENOENT);
  EXPECT_ERR(symlink("x", P("new/")), ENOENT);
  EXPECT_ERR(symlink(std::string(4096, 'x').c_str(), P("long")), ENAMETOOLONG);
  EXPECT_OK(symlink(std::string(4000, 'x').c_str(), P("long")));
  EXPECT_OK(symlinkat("t", AT_FDCWD, P("sa")));
}

TEST_F(Directory, ChdirAndGetcwd) {
  COVERS("chdir", "fchdir", "getcwd");
  EXPECT_CHILD([&] {
    char buf[4096];
    CHILD_OK(chdir(P("sub")));
    CHILD_RET(syscall(SYS_getcwd, buf, sizeof buf), (dir_ / "sub").size() + 1);
    CHILD_CHECK(dir_ / "sub" == buf);
    CHILD_OK(access("inner", F_OK));
    CHILD_OK(chdir(".."));
    CHILD_OK(chdir("dirlink"));
    CHILD_OK(syscall(SYS_getcwd, buf, sizeof buf));
    CHILD_CHECK(dir_ / "sub" == buf);
    CHILD_ERR(syscall(SYS_getcwd, buf, 3), ERANGE);
    CHILD_ERR(syscall(SYS_getcwd, 8, 4096), EFAULT);
    CHILD_ERR(chdir(P("file")), ENOTDIR);
    CHILD_ERR(chdir(P("none")), ENOENT);
    CHILD_ERR(fchdir(-1), EBADF);
    int fd = open(P(""), O_RDONLY);
    CHILD_OK(fchdir(fd));
    CHILD_OK(access("file", F_OK));
    CHILD_OK(chdir("/"));
    CHILD_RET(syscall(SYS_getcwd, buf, sizeof buf), 2);
  });
}

TEST_F(Directory, WorkingDirectoryRemoved) {
  COVERS("getcwd", "rmdir", "chdir");
  EXPECT_CHILD([&] {
    char buf[4096];
    CHILD_OK(chdir(P("empty")));
    CHILD_OK(rmdir(P("empty")));
    CHILD_ERR(syscall(SYS_getcwd, buf, sizeof buf), ENOENT);
    CHILD_ERR(open("x", O_CREAT | O_RDWR, 0600), ENOENT);
    struct stat st;
    CHILD_OK(stat(".", &st));
    CHILD_EQ(st.st_nlink, 0);
    CHILD_OK(chdir(".."));
    CHILD_OK(access("file", F_OK));
  });
}

TEST_F(Directory, ChdirNeedsSearch) {
  COVERS("chdir", "chroot");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(chmod(P("sub"), 0600));
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_ERR(chdir(P("sub")), EACCES);
    CHILD_ERR(chroot(P("")), EPERM);
  });
}

TEST_F(Directory, Chroot) {
  COVERS("chroot", "getcwd");
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([&] {
    CHILD_ERR(chroot(P("file")), ENOTDIR);
    CHILD_ERR(chroot(P("none")), ENOENT);
    CHILD_OK(chdir(P("sub")));
    CHILD_OK(chroot(P("")));
    char buf[4096];
    CHILD_OK(access("/file", F_OK));
    CHILD_OK(access("/../../file", F_OK));
    CHILD_OK(syscall(SYS_getcwd, buf, sizeof buf));
    CHILD_CHECK(std::string(buf) == "/sub");
    CHILD_OK(chdir("/"));
    CHILD_OK(chdir("../.."));
    CHILD_OK(syscall(SYS_getcwd, buf, sizeof buf));
    CHILD_CHECK(std::string(buf) == "/");
  });
  EXPECT_CHILD([&] {
    CHILD_OK(chdir("/"));
    CHILD_OK(chroot(P("")));
    char buf[4096];
    CHILD_OK(syscall(SYS_getcwd, buf, sizeof buf));
    CHILD_CHECK(std::string(buf) == "(unreachable)/");
  });
}

TEST_F(Directory, ParentTimesChange) {
  COVERS("mkdir", "unlink", "rename");
  timespec ts[2] = {{1000, 0}, {1000, 0}};
  auto mtime = [&] {
    struct stat st {};
    stat(P(""), &st);
    time_t t = st.st_mtime;
    utimensat(AT_FDCWD, P(""), ts, 0);
    return t;
  };
  mtime();
  ASSERT_OK(mkdir(P("n"), 0700));
  EXPECT_GT(mtime(), 1000);
  ASSERT_OK(rmdir(P("n")));
  EXPECT_GT(mtime(), 1000);
  ASSERT_OK(rename(P("file"), P("n")));
  EXPECT_GT(mtime(), 1000);
  ASSERT_OK(chmod(P("n"), 0600));
  EXPECT_EQ(mtime(), 1000);
  ASSERT_OK(unlink(P("n")));
  EXPECT_GT(mtime(), 1000);
}

}  // namespace
