// splice, tee, vmsplice, sendfile, copy_file_range.
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tests/syscalls/test_util.h"

namespace {

class Splice : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFile(dir_ / "in", "0123456789"));
    in_.reset(open((dir_ / "in").c_str(), O_RDWR));
    out_.reset(open((dir_ / "out").c_str(), O_RDWR | O_CREAT, 0644));
    int p[2];
    ASSERT_OK(pipe(p));
    r_.reset(p[0]);
    w_.reset(p[1]);
  }
  std::string Out() { return ReadFile(dir_ / "out"); }
  TempDir dir_;
  Fd in_, out_, r_, w_;
};

TEST_F(Splice, FileToPipeToFile) {
  COVERS("splice");
  EXPECT_RET(splice(in_, nullptr, w_, nullptr, 4, 0), 4);
  EXPECT_RET(lseek(in_, 0, SEEK_CUR), 4);
  off_t at = 7;
  EXPECT_RET(splice(in_, &at, w_, nullptr, 100, 0), 3);
  EXPECT_EQ(at, 10);
  EXPECT_RET(lseek(in_, 0, SEEK_CUR), 4);
  EXPECT_RET(splice(in_, &at, w_, nullptr, 100, 0), 0);
  off_t to = 2;
  EXPECT_RET(splice(r_, nullptr, out_, &to, 100, 0), 7);
  EXPECT_EQ(to, 9);
  EXPECT_EQ(Out(), std::string("\0\0"
                               "0123789",
                               9));
}

TEST_F(Splice, PipeToPipe) {
  COVERS("splice");
  int q[2];
  ASSERT_OK(pipe(q));
  EXPECT_RET(write(w_, "abcdef", 6), 6);
  EXPECT_RET(splice(r_, nullptr, q[1], nullptr, 4, 0), 4);
  char buf[8] = {};
  EXPECT_RET(read(q[0], buf, 8), 4);
  EXPECT_STREQ(buf, "abcd");
  EXPECT_RET(read(r_, buf, 8), 2);
  close(q[0]);
  close(q[1]);
}

TEST_F(Splice, Errors) {
  COVERS("splice");
  off_t at = 0;
  EXPECT_ERR(splice(in_, nullptr, out_, nullptr, 4, 0), EINVAL);
  EXPECT_ERR(splice(r_, &at, out_, nullptr, 4, 0), ESPIPE);
  EXPECT_ERR(splice(in_, nullptr, w_, &at, 4, 0), ESPIPE);
  EXPECT_ERR(splice(in_, nullptr, w_, nullptr, 4, 1 << 20), EINVAL);
  EXPECT_ERR(splice(-1, nullptr, w_, nullptr, 4, 0), EBADF);
  EXPECT_ERR(splice(w_, nullptr, r_, nullptr, 4, 0), EBADF);
  EXPECT_ERR(splice(r_, nullptr, w_, nullptr, 4, 0), EINVAL);  // one and the same pipe
  EXPECT_RET(splice(-1, nullptr, -1, nullptr, 0, 0), 0);
  EXPECT_ERR(splice(r_, nullptr, out_, nullptr, 4, SPLICE_F_NONBLOCK), EAGAIN);
  Fd append(open((dir_ / "out").c_str(), O_WRONLY | O_APPEND));
  EXPECT_RET(write(w_, "x", 1), 1);
  EXPECT_ERR(splice(r_, nullptr, append, nullptr, 1, 0), EINVAL);
  Fd dir(open(dir_.path().c_str(), O_RDONLY));
  EXPECT_ERR(splice(dir, nullptr, w_, nullptr, 1, 0), EINVAL);
}

TEST_F(Splice, EndOfFile) {
  COVERS("splice");
  w_.reset();
  EXPECT_RET(splice(r_, nullptr, out_, nullptr, 4, 0), 0);
}

TEST_F(Splice, Tee) {
  COVERS("tee");
  int q[2];
  ASSERT_OK(pipe(q));
  EXPECT_RET(write(w_, "abcdef", 6), 6);
  EXPECT_RET(tee(r_, q[1], 100, 0), 6);
  char buf[8] = {};
  EXPECT_RET(read(q[0], buf, 8), 6);
  EXPECT_STREQ(buf, "abcdef");
  EXPECT_RET(read(r_, buf, 8), 6);
  EXPECT_STREQ(buf, "abcdef");
  EXPECT_ERR(tee(r_, q[1], 1, SPLICE_F_NONBLOCK), EAGAIN);
  EXPECT_ERR(tee(in_, q[1], 1, 0), EINVAL);
  EXPECT_ERR(tee(r_, w_, 1, 0), EINVAL);
  EXPECT_ERR(tee(r_, q[1], 1, 1 << 20), EINVAL);
  close(q[0]);
  close(q[1]);
}

TEST_F(Splice, Vmsplice) {
  COVERS("vmsplice");
  char a[] = "hello ", b[] = "world";
  iovec v[2] = {{a, 6}, {b, 5}};
  EXPECT_RET(vmsplice(w_, v, 2, 0), 11);
  char buf[16] = {};
  EXPECT_RET(read(r_, buf, sizeof buf), 11);
  EXPECT_STREQ(buf, "hello world");
  EXPECT_RET(write(w_, "back", 4), 4);
  iovec in{buf, sizeof buf};
  EXPECT_RET(vmsplice(r_, &in, 1, 0), 4);
  EXPECT_EQ(std::string(buf, 4), "back");
  EXPECT_ERR(vmsplice(in_, v, 1, 0), EBADF);
  EXPECT_ERR(vmsplice(w_, v, 1, 1 << 20), EINVAL);
  EXPECT_ERR(vmsplice(-1, v, 1, 0), EBADF);
}

TEST_F(Splice, Sendfile) {
  COVERS("sendfile");
  off_t at = 2;
  EXPECT_RET(sendfile(out_, in_, &at, 5), 5);
  EXPECT_EQ(at, 7);
  EXPECT_RET(lseek(in_, 0, SEEK_CUR), 0);
  EXPECT_RET(sendfile(out_, in_, nullptr, 100), 10);
  EXPECT_RET(lseek(in_, 0, SEEK_CUR), 10);
  EXPECT_RET(sendfile(out_, in_, nullptr, 100), 0);
  EXPECT_EQ(Out(), "234560123456789");
  at = 8;
  EXPECT_RET(sendfile(w_, in_, &at, 100), 2);
  int s[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  at = 0;
  EXPECT_RET(sendfile(s[0], in_, &at, 10), 10);
  char buf[16];
  EXPECT_RET(read(s[1], buf, sizeof buf), 10);
  EXPECT_ERR(sendfile(out_, s[1], nullptr, 1), EINVAL);
  close(s[0]);
  close(s[1]);
}

TEST_F(Splice, SendfileErrors) {
  COVERS("sendfile");
  EXPECT_ERR(sendfile(-1, in_, nullptr, 1), EBADF);
  EXPECT_ERR(sendfile(out_, -1, nullptr, 1), EBADF);
  Fd ro(open((dir_ / "out").c_str(), O_RDONLY)), wo(open((dir_ / "in").c_str(), O_WRONLY));
  EXPECT_ERR(sendfile(ro, in_, nullptr, 1), EBADF);
  EXPECT_ERR(sendfile(out_, wo, nullptr, 1), EBADF);
  off_t at = -1;
  EXPECT_ERR(sendfile(out_, in_, &at, 1), EINVAL);
  EXPECT_ERR(sendfile(out_, in_, reinterpret_cast<off_t*>(8), 1), EFAULT);
  at = 0;
  EXPECT_ERR(sendfile(out_, r_, &at, 1), ESPIPE);
  Fd append(open((dir_ / "out").c_str(), O_WRONLY | O_APPEND));
  EXPECT_ERR(sendfile(append, in_, nullptr, 1), EINVAL);
}

TEST_F(Splice, CopyFileRange) {
  COVERS("copy_file_range");
  off_t from = 3, to = 1;
  EXPECT_RET(copy_file_range(in_, &from, out_, &to, 4, 0), 4);
  EXPECT_EQ(from, 7);
  EXPECT_EQ(to, 5);
  EXPECT_EQ(Out(), std::string("\0"
                               "3456",
                               5));
  EXPECT_RET(lseek(in_, 0, SEEK_CUR), 0);
  EXPECT_RET(copy_file_range(in_, nullptr, out_, nullptr, 100, 0), 10);
  EXPECT_RET(copy_file_range(in_, nullptr, out_, nullptr, 100, 0), 0);
  EXPECT_EQ(Out(), "0123456789");
  // Within one file: only where source and target don't overlap.
  from = 0;
  to = 5;
  EXPECT_RET(copy_file_range(in_, &from, in_, &to, 5, 0), 5);
  EXPECT_EQ(ReadFile(dir_ / "in"), "0123401234");
  from = 0;
  to = 2;
  EXPECT_ERR(copy_file_range(in_, &from, in_, &to, 5, 0), EINVAL);
}

TEST_F(Splice, CopyFileRangeErrors) {
  COVERS("copy_file_range");
  EXPECT_ERR(copy_file_range(in_, nullptr, out_, nullptr, 1, 1), EINVAL);
  EXPECT_ERR(copy_file_range(-1, nullptr, out_, nullptr, 1, 0), EBADF);
  Fd ro(open((dir_ / "out").c_str(), O_RDONLY)), wo(open((dir_ / "in").c_str(), O_WRONLY));
  EXPECT_ERR(copy_file_range(in_, nullptr, ro, nullptr, 1, 0), EBADF);
  EXPECT_ERR(copy_file_range(wo, nullptr, out_, nullptr, 1, 0), EBADF);
  Fd dir(open(dir_.path().c_str(), O_RDONLY));
  EXPECT_ERR(copy_file_range(dir, nullptr, out_, nullptr, 1, 0), EISDIR);
  EXPECT_ERR(copy_file_range(r_, nullptr, out_, nullptr, 1, 0), EINVAL);
  EXPECT_ERR(copy_file_range(in_, nullptr, w_, nullptr, 1, 0), EINVAL);
  Fd append(open((dir_ / "out").c_str(), O_WRONLY | O_APPEND));
  EXPECT_ERR(copy_file_range(in_, nullptr, append, nullptr, 1, 0), EBADF);
}

}  // namespace
