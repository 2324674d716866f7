// Extended attributes.
#include <sys/xattr.h>

#include "tests/syscalls/test_util.h"

namespace {

class Xattr : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFile(path_, "x"));
    if (setxattr(path_.c_str(), "user.probe", "", 0, 0) != 0 && errno == EOPNOTSUPP) {
      GTEST_SKIP() << "no user attributes on this file system";
    }
    removexattr(path_.c_str(), "user.probe");
  }
  TempDir dir_;
  std::string path_ = dir_ / "f";
  const char* p() { return path_.c_str(); }
};

TEST_F(Xattr, SetGetRemove) {
  COVERS("setxattr", "getxattr", "removexattr");
  char buf[64];
  EXPECT_ERR(getxattr(p(), "user.a", buf, sizeof buf), ENODATA);
  EXPECT_OK(setxattr(p(), "user.a", "value", 5, 0));
  EXPECT_RET(getxattr(p(), "user.a", buf, sizeof buf), 5);
  EXPECT_EQ(std::string(buf, 5), "value");
  EXPECT_RET(getxattr(p(), "user.a", nullptr, 0), 5);
  EXPECT_ERR(getxattr(p(), "user.a", buf, 4), ERANGE);
  EXPECT_OK(setxattr(p(), "user.a", "", 0, 0));
  EXPECT_RET(getxattr(p(), "user.a", buf, sizeof buf), 0);
  EXPECT_OK(removexattr(p(), "user.a"));
  EXPECT_ERR(removexattr(p(), "user.a"), ENODATA);
}

TEST_F(Xattr, CreateAndReplace) {
  COVERS("setxattr");
  EXPECT_ERR(setxattr(p(), "user.a", "1", 1, XATTR_REPLACE), ENODATA);
  EXPECT_OK(setxattr(p(), "user.a", "1", 1, XATTR_CREATE));
  EXPECT_ERR(setxattr(p(), "user.a", "1", 1, XATTR_CREATE), EEXIST);
  EXPECT_OK(setxattr(p(), "user.a", "2", 1, XATTR_REPLACE));
  EXPECT_ERR(setxattr(p(), "user.a", "2", 1, 8), EINVAL);
}

TEST_F(Xattr, List) {
  COVERS("listxattr", "flistxattr");
  EXPECT_RET(listxattr(p(), nullptr, 0), 0);
  EXPECT_OK(setxattr(p(), "user.one", "1", 1, 0));
  EXPECT_OK(setxattr(p(), "user.two", "2", 1, 0));
  char buf[64] = {};
  EXPECT_RET(listxattr(p(), buf, sizeof buf), 18);
  std::string l(buf, 18);
  EXPECT_NE(l.find(std::string("user.one\0", 9)), std::string::npos);
  EXPECT_NE(l.find(std::string("user.two\0", 9)), std::string::npos);
  EXPECT_ERR(listxattr(p(), buf, 10), ERANGE);
  Fd f(open(p(), O_RDONLY));
  EXPECT_RET(flistxattr(f, buf, sizeof buf), 18);
}

TEST_F(Xattr, ByDescriptorAndLink) {
  COVERS("fsetxattr", "fgetxattr", "fremovexattr", "lgetxattr", "lsetxattr", "llistxattr",
         "lremovexattr");
  Fd f(open(p(), O_RDONLY));
  char buf[8];
  EXPECT_OK(fsetxattr(f, "user.d", "dd", 2, 0));
  EXPECT_RET(fgetxattr(f, "user.d", buf, 8), 2);
  ASSERT_OK(symlink("f", (dir_ / "l").c_str()));
  EXPECT_RET(getxattr((dir_ / "l").c_str(), "user.d", buf, 8), 2);
  EXPECT_ERR(lgetxattr((dir_ / "l").c_str(), "user.d", buf, 8), ENODATA);
  EXPECT_ERR(lsetxattr((dir_ / "l").c_str(), "user.d", buf, 2, 0), EPERM);
  EXPECT_RET(llistxattr((dir_ / "l").c_str(), buf, 8), 0);
  EXPECT_ERR(lremovexattr((dir_ / "l").c_str(), "user.d"), EPERM);
  EXPECT_OK(fremovexattr(f, "user.d"));
  Fd path(open(p(), O_PATH));
  EXPECT_ERR(fgetxattr(path, "user.d", buf, 8), EBADF);
}

TEST_F(Xattr, NameErrors) {
  COVERS("setxattr", "getxattr");
  char buf[8];
  std::string longname = "user." + std::string(255, 'n');
  EXPECT_ERR(setxattr(p(), longname.c_str(), "", 0, 0), ERANGE);
  EXPECT_ERR(setxattr(p(), "", "", 0, 0), ERANGE);
  EXPECT_ERR(setxattr(p(), "nonamespace", "", 0, 0), EOPNOTSUPP);
  EXPECT_ERR(getxattr(p(), "bogus.x", buf, 8), EOPNOTSUPP);
  EXPECT_ERR(setxattr(p(), "user.x", buf, 65537, 0), E2BIG);
  EXPECT_ERR(setxattr(p(), nullptr, buf, 1, 0), EFAULT);
  EXPECT_ERR(setxattr(p(), "user.x", reinterpret_cast<void*>(8), 1, 0), EFAULT);
  EXPECT_ERR(getxattr((dir_ / "none").c_str(), "user.x", buf, 8), ENOENT);
  EXPECT_ERR(fgetxattr(-1, "user.x", buf, 8), EBADF);
}

TEST_F(Xattr, Permissions) {
  COVERS("setxattr", "getxattr");
  SKIP_UNLESS_ROOT();
  EXPECT_OK(setxattr(p(), "trusted.t", "1", 1, 0));
  EXPECT_OK(setxattr(p(), "user.u", "1", 1, 0));
  char buf[8];
  EXPECT_RET(getxattr(p(), "trusted.t", buf, 8), 1);
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    char b[8];
    CHILD_ERR(getxattr(p(), "trusted.t", b, 8), ENODATA);
    CHILD_ERR(setxattr(p(), "trusted.t", "2", 1, 0), EPERM);
    CHILD_ERR(setxattr(p(), "user.u", "2", 1, 0), EACCES);
    CHILD_RET(getxattr(p(), "user.u", b, 8), 1);
    CHILD_RET(listxattr(p(), b, 8), 7);
  });
  ASSERT_OK(mkfifo((dir_ / "fifo").c_str(), 0666));
  EXPECT_ERR(setxattr((dir_ / "fifo").c_str(), "user.u", "1", 1, 0), EPERM);
}

TEST_F(Xattr, GoneWithTheFile) {
  COVERS("setxattr", "unlink");
  EXPECT_OK(setxattr(p(), "user.a", "1", 1, 0));
  ASSERT_OK(unlink(p()));
  ASSERT_TRUE(WriteFile(path_, "new"));
  EXPECT_RET(listxattr(p(), nullptr, 0), 0);
}

}  // namespace
