// Namespaces as files: /proc/[pid]/ns, setns(2), ioctl_ns(2).
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/utsname.h>

#include "tests/syscalls/test_util.h"

namespace {

std::string Link(const std::string& path) {
  char buf[128];
  ssize_t n = readlink(path.c_str(), buf, sizeof buf);
  return std::string(buf, n > 0 ? n : 0);
}

class Namespaces : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNLESS_ROOT();
    pid_t pid = Spawn([] { return unshare(CLONE_NEWUTS | CLONE_NEWNS) == 0 ? 0 : 1; });
    if (WaitFor(pid) != 0) GTEST_SKIP() << "no namespaces";
  }
};

TEST_F(Namespaces, LinksAndFiles) {
  COVERS("readlink", "openat", "fstat");
  for (const char* kind : {"ipc", "mnt", "net", "pid", "user", "uts", "cgroup"}) {
    const std::string path = std::string("/proc/self/ns/") + kind;
    const std::string text = Link(path);
    EXPECT_EQ(text.rfind(std::string(kind) + ":[", 0), 0u) << text;
    Fd fd(open(path.c_str(), O_RDONLY));
    ASSERT_GE(fd.get(), 0) << path;
    struct stat st {};
    ASSERT_OK(fstat(fd, &st));
    EXPECT_EQ(text, std::string(kind) + ":[" + std::to_string(st.st_ino) + "]");
    EXPECT_TRUE(S_ISREG(st.st_mode));
    struct stat by_path {};
    ASSERT_OK(stat(path.c_str(), &by_path));
    EXPECT_EQ(by_path.st_ino, st.st_ino);
    EXPECT_EQ(by_path.st_dev, st.st_dev);
    EXPECT_EQ(Link("/proc/self/fd/" + std::to_string(fd.get())), text);
    char c;
    EXPECT_ERR(read(fd, &c, 1), EINVAL);
  }
}

TEST_F(Namespaces, SetnsUts) {
  COVERS("setns", "unshare", "sethostname");
  EXPECT_CHILD([] {
    int old = open("/proc/self/ns/uts", O_RDONLY);
    CHILD_OK(old);
    const std::string before = Link("/proc/self/ns/uts");
    utsname u, v;
    CHILD_OK(uname(&u));
    CHILD_OK(unshare(CLONE_NEWUTS));
    CHILD_CHECK(Link("/proc/self/ns/uts") != before);
    CHILD_OK(sethostname("elsewhere", 9));
    int fresh = open("/proc/self/ns/uts", O_RDONLY);
    CHILD_OK(fresh);
    CHILD_ERR(setns(old, CLONE_NEWIPC), EINVAL);
    CHILD_OK(setns(old, CLONE_NEWUTS));
    CHILD_CHECK(Link("/proc/self/ns/uts") == before);
    CHILD_OK(uname(&v));
    CHILD_CHECK(strcmp(u.nodename, v.nodename) == 0);
    CHILD_OK(setns(fresh, 0));
    CHILD_OK(uname(&v));
    CHILD_CHECK(strcmp(v.nodename, "elsewhere") == 0);
    systest::BecomeNobody();
    CHILD_ERR(setns(old, 0), EPERM);
  });
}

TEST_F(Namespaces, SetnsOfAnotherProcess) {
  COVERS("setns", "mount");
  TempDir dir;
  int up[2], stop[2];
  ASSERT_OK(pipe2(up, O_CLOEXEC));
  ASSERT_OK(pipe2(stop, O_CLOEXEC));
  pid_t pid = Spawn([&] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", dir.path().c_str(), "tmpfs", 0, nullptr) != 0 ||
        !WriteFile(dir / "inside", "i")) {
      return 1;
    }
    write(up[1], "u", 1);
    char c;
    read(stop[0], &c, 1);
    return 0;
  });
  char c;
  ASSERT_RET(read(up[0], &c, 1), 1);
  EXPECT_ERR(access((dir / "inside").c_str(), F_OK), ENOENT);
  EXPECT_CHILD([&] {
    int ns = open(("/proc/" + std::to_string(pid) + "/ns/mnt").c_str(), O_RDONLY);
    CHILD_OK(ns);
    CHILD_OK(setns(ns, CLONE_NEWNS));
    CHILD_OK(access((dir / "inside").c_str(), F_OK));
  });
  write(stop[1], "s", 1);
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  for (int fd : {up[0], up[1], stop[0], stop[1]}) close(fd);
}

TEST_F(Namespaces, SetnsPidIsForChildren) {
  COVERS("setns", "clone", "getpid");
  EXPECT_CHILD([] {
    int own = open("/proc/self/ns/pid", O_RDONLY);
    CHILD_OK(own);
    CHILD_OK(unshare(CLONE_NEWPID));
    pid_t pid = fork();
    if (pid == 0) _exit(getpid() == 1 ? 0 : 1);
    CHILD_EQ(WaitFor(pid), 0);
    CHILD_OK(setns(own, CLONE_NEWPID));
    pid = fork();
    if (pid == 0) _exit(getpid() == 1 ? 1 : 0);
    CHILD_EQ(WaitFor(pid), 0);
  });
}

TEST_F(Namespaces, Ioctls) {
  COVERS("ioctl");
  Fd uts(open("/proc/self/ns/uts", O_RDONLY)), user(open("/proc/self/ns/user", O_RDONLY));
  EXPECT_RET(ioctl(uts, NS_GET_NSTYPE), CLONE_NEWUTS);
  EXPECT_RET(ioctl(user, NS_GET_NSTYPE), CLONE_NEWUSER);
  Fd owner(ioctl(uts, NS_GET_USERNS));
  ASSERT_GE(owner.get(), 0);
  EXPECT_RET(ioctl(owner, NS_GET_NSTYPE), CLONE_NEWUSER);
  uid_t uid = 99;
  EXPECT_OK(ioctl(owner, NS_GET_OWNER_UID, &uid));
  EXPECT_EQ(uid, 0u);
  EXPECT_ERR(ioctl(uts, NS_GET_OWNER_UID, &uid), EINVAL);
  EXPECT_ERR(ioctl(uts, NS_GET_PARENT), EINVAL);
}

}  // namespace
