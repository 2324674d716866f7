// inotify.
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "tests/syscalls/test_util.h"

namespace {

class Inotify : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_.reset(inotify_init1(IN_NONBLOCK));
    ASSERT_GE(fd_.get(), 0);
    ASSERT_TRUE(WriteFile(dir_ / "file", "x"));
  }
  int Watch(const std::string& path, uint32_t mask) {
    return inotify_add_watch(fd_, path.c_str(), mask);
  }
  // "wd mask name" for each queued event, in order.
  std::vector<std::string> Events() {
    std::vector<std::string> out;
    alignas(8) char buf[8192];
    for (;;) {
      ssize_t n = read(fd_, buf, sizeof buf);
      if (n <= 0) {
        EXPECT_EQ(errno, EAGAIN);
        return out;
      }
      cookies_.clear();
      for (char* p = buf; p < buf + n;) {
        auto* e = reinterpret_cast<inotify_event*>(p);
        char text[400];
        snprintf(text, sizeof text, "%d %s %s", e->wd, Mask(e->mask).c_str(),
                 e->len ? e->name : "");
        out.push_back(text);
        cookies_.push_back(e->cookie);
        EXPECT_EQ(e->len % 16, 0u);
        p += sizeof *e + e->len;
      }
    }
  }
  static std::string Mask(uint32_t m) {
    static const std::pair<uint32_t, const char*> names[] = {
        {IN_ACCESS, "ACCESS"},           {IN_MODIFY, "MODIFY"},
        {IN_ATTRIB, "ATTRIB"},           {IN_CLOSE_WRITE, "CLOSE_WRITE"},
        {IN_CLOSE_NOWRITE, "CLOSE"},     {IN_OPEN, "OPEN"},
        {IN_MOVED_FROM, "MOVED_FROM"},   {IN_MOVED_TO, "MOVED_TO"},
        {IN_CREATE, "CREATE"},           {IN_DELETE, "DELETE"},
        {IN_DELETE_SELF, "DELETE_SELF"}, {IN_MOVE_SELF, "MOVE_SELF"},
        {IN_UNMOUNT, "UNMOUNT"},         {IN_Q_OVERFLOW, "OVERFLOW"},
        {IN_IGNORED, "IGNORED"},         {IN_ISDIR, "ISDIR"}};
    std::string s;
    for (auto& [bit, name] : names) {
      if (m & bit) s += (s.empty() ? "" : "|") + std::string(name);
    }
    return s;
  }
  using L = std::vector<std::string>;
  TempDir dir_;
  Fd fd_;
  std::vector<uint32_t> cookies_;
};

TEST_F(Inotify, InitErrors) {
  COVERS("inotify_init", "inotify_init1");
  EXPECT_ERR(inotify_init1(1 << 20), EINVAL);
  Fd a(inotify_init());
  EXPECT_GE(a.get(), 0);
  Fd b(inotify_init1(IN_CLOEXEC));
  EXPECT_RET(fcntl(b, F_GETFD), FD_CLOEXEC);
  char c;
  EXPECT_ERR(read(fd_, &c, 1), EAGAIN);
  EXPECT_ERR(write(fd_, &c, 1), EBADF);
}

TEST_F(Inotify, WatchErrors) {
  COVERS("inotify_add_watch", "inotify_rm_watch");
  EXPECT_ERR(Watch(dir_ / "none", IN_OPEN), ENOENT);
  EXPECT_ERR(Watch(dir_ / "file", 0), EINVAL);
  EXPECT_ERR(Watch(dir_ / "file", IN_OPEN | IN_ONLYDIR), ENOTDIR);
  EXPECT_ERR(inotify_add_watch(0x7fff, "/", IN_OPEN), EBADF);
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_ERR(inotify_add_watch(p[0], "/", IN_OPEN), EINVAL);
  EXPECT_ERR(inotify_rm_watch(p[0], 1), EINVAL);
  close(p[0]);
  close(p[1]);
  EXPECT_ERR(inotify_rm_watch(fd_, 99), EINVAL);
}

TEST_F(Inotify, FileEventsInDirectory) {
  COVERS("inotify_add_watch", "read");
  ASSERT_RET(Watch(dir_.path(), IN_ALL_EVENTS), 1);
  int f = open((dir_ / "new").c_str(), O_CREAT | O_RDWR, 0644);
  EXPECT_RET(write(f, "abc", 3), 3);
  EXPECT_RET(lseek(f, 0, SEEK_SET), 0);
  char c;
  EXPECT_RET(read(f, &c, 1), 1);
  EXPECT_OK(fchmod(f, 0600));
  close(f);
  close(open((dir_ / "new").c_str(), O_RDONLY));
  EXPECT_OK(unlink((dir_ / "new").c_str()));
  EXPECT_EQ(Events(),
            (L{"1 CREATE new", "1 OPEN new", "1 MODIFY new", "1 ACCESS new", "1 ATTRIB new",
               "1 CLOSE_WRITE new", "1 OPEN new", "1 CLOSE new", "1 DELETE new"}));
}

TEST_F(Inotify, DirectoryEvents) {
  COVERS("inotify_add_watch", "mkdir", "rmdir");
  ASSERT_RET(Watch(dir_.path(), IN_CREATE | IN_DELETE | IN_ATTRIB), 1);
  ASSERT_OK(mkdir((dir_ / "d").c_str(), 0700));
  ASSERT_OK(chmod((dir_ / "d").c_str(), 0755));
  ASSERT_OK(rmdir((dir_ / "d").c_str()));
  ASSERT_OK(symlink("x", (dir_ / "l").c_str()));
  ASSERT_OK(link((dir_ / "file").c_str(), (dir_ / "h").c_str()));
  EXPECT_EQ(Events(), (L{"1 CREATE|ISDIR d", "1 ATTRIB|ISDIR d", "1 DELETE|ISDIR d", "1 CREATE l",
                         "1 CREATE h"}));
}

TEST_F(Inotify, RenamePairsByCookie) {
  COVERS("inotify_add_watch", "rename");
  ASSERT_OK(mkdir((dir_ / "d").c_str(), 0700));
  ASSERT_RET(Watch(dir_.path(), IN_MOVE), 1);
  ASSERT_RET(Watch(dir_ / "d", IN_MOVE), 2);
  ASSERT_RET(Watch(dir_ / "file", IN_MOVE_SELF), 3);
  ASSERT_OK(rename((dir_ / "file").c_str(), (dir_ / "d/to").c_str()));
  EXPECT_EQ(Events(), (L{"1 MOVED_FROM file", "2 MOVED_TO to", "3 MOVE_SELF "}));
  ASSERT_EQ(cookies_.size(), 3u);
  EXPECT_EQ(cookies_[0], cookies_[1]);
  EXPECT_NE(cookies_[0], 0u);
  EXPECT_EQ(cookies_[2], 0u);
}

TEST_F(Inotify, DeleteSelf) {
  COVERS("inotify_add_watch", "unlink");
  ASSERT_RET(Watch(dir_ / "file", IN_DELETE_SELF | IN_ATTRIB), 1);
  ASSERT_OK(unlink((dir_ / "file").c_str()));
  EXPECT_EQ(Events(), (L{"1 ATTRIB ", "1 DELETE_SELF ", "1 IGNORED "}));
  EXPECT_ERR(inotify_rm_watch(fd_, 1), EINVAL);
}

TEST_F(Inotify, EqualNeighboursMerge) {
  COVERS("read");
  ASSERT_RET(Watch(dir_ / "file", IN_MODIFY), 1);
  Fd f(open((dir_ / "file").c_str(), O_WRONLY));
  for (int i = 0; i < 5; i++) EXPECT_RET(write(f, "x", 1), 1);
  EXPECT_EQ(Events(), (L{"1 MODIFY "}));
}

TEST_F(Inotify, ChangingAndAddingMasks) {
  COVERS("inotify_add_watch");
  ASSERT_RET(Watch(dir_ / "file", IN_OPEN), 1);
  ASSERT_RET(Watch(dir_ / "file", IN_CLOSE), 1);  // the same watch, replaced
  close(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_EQ(Events(), (L{"1 CLOSE "}));
  ASSERT_RET(Watch(dir_ / "file", IN_OPEN | IN_MASK_ADD), 1);
  close(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_EQ(Events(), (L{"1 OPEN ", "1 CLOSE "}));
  EXPECT_ERR(Watch(dir_ / "file", IN_OPEN | IN_MASK_CREATE), EEXIST);
  EXPECT_ERR(Watch(dir_ / "file", IN_OPEN | IN_MASK_CREATE | IN_MASK_ADD), EINVAL);
}

TEST_F(Inotify, RemoveWatch) {
  COVERS("inotify_rm_watch");
  ASSERT_RET(Watch(dir_ / "file", IN_OPEN), 1);
  EXPECT_OK(inotify_rm_watch(fd_, 1));
  close(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_EQ(Events(), (L{"1 IGNORED "}));
  ASSERT_RET(Watch(dir_ / "file", IN_OPEN), 2);  // numbers aren't used again
}

TEST_F(Inotify, OneShot) {
  COVERS("inotify_add_watch");
  ASSERT_RET(Watch(dir_ / "file", IN_OPEN | IN_ONESHOT), 1);
  close(open((dir_ / "file").c_str(), O_RDONLY));
  close(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_EQ(Events(), (L{"1 OPEN ", "1 IGNORED "}));
}

TEST_F(Inotify, ReadinessAndSmallBuffer) {
  COVERS("poll", "ioctl", "read");
  pollfd p{fd_, POLLIN, 0};
  EXPECT_RET(poll(&p, 1, 0), 0);
  ASSERT_RET(Watch(dir_.path(), IN_OPEN), 1);
  close(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_RET(poll(&p, 1, 0), 1);
  int n = 0;
  EXPECT_OK(ioctl(fd_, FIONREAD, &n));
  EXPECT_EQ(n, 32);
  char small[20];
  EXPECT_ERR(read(fd_, small, sizeof small), EINVAL);
  EXPECT_EQ(Events().size(), 1u);
}

TEST_F(Inotify, DontFollow) {
  COVERS("inotify_add_watch");
  ASSERT_OK(symlink("file", (dir_ / "l").c_str()));
  int a = Watch(dir_ / "l", IN_ATTRIB);
  int b = Watch(dir_ / "l", IN_ATTRIB | IN_DONT_FOLLOW);
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 2);
}

}  // namespace
