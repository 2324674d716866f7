// Pipes and FIFOs.
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

struct Pipe {
  explicit Pipe(int flags = 0) {
    int p[2] = {-1, -1};
    EXPECT_OK(pipe2(p, flags));
    r.reset(p[0]);
    w.reset(p[1]);
  }
  Fd r, w;
};

TEST(PipeTest, FlagsOfBothEnds) {
  COVERS("pipe", "pipe2");
  Pipe p(O_NONBLOCK | O_CLOEXEC);
  EXPECT_RET(fcntl(p.r, F_GETFL), O_RDONLY | O_NONBLOCK);
  EXPECT_RET(fcntl(p.w, F_GETFL), O_WRONLY | O_NONBLOCK);
  EXPECT_RET(fcntl(p.r, F_GETFD), FD_CLOEXEC);
  int q[2];
  EXPECT_ERR(pipe2(q, O_APPEND), EINVAL);
  EXPECT_ERR(pipe2(q, O_TRUNC), EINVAL);
  EXPECT_ERR(syscall(SYS_pipe, 8), EFAULT);
  ASSERT_OK(syscall(SYS_pipe, q));
  EXPECT_RET(fcntl(q[0], F_GETFL), O_RDONLY);
  close(q[0]);
  close(q[1]);
}

TEST(PipeTest, WrongEnd) {
  COVERS("read", "write");
  Pipe p;
  char c;
  EXPECT_ERR(write(p.r, &c, 1), EBADF);
  EXPECT_ERR(read(p.w, &c, 1), EBADF);
}

TEST(PipeTest, EndOfFileAndBrokenPipe) {
  COVERS("read", "write", "close");
  Pipe p;
  EXPECT_RET(write(p.w, "abc", 3), 3);
  p.w.reset();
  char buf[8];
  EXPECT_RET(read(p.r, buf, 8), 3);
  EXPECT_RET(read(p.r, buf, 8), 0);
  EXPECT_CHILD([] {
    Pipe q;
    q.r.reset();
    signal(SIGPIPE, SIG_IGN);
    CHILD_ERR(write(q.w, "x", 1), EPIPE);
    CHILD_RET(write(q.w, "x", 0), 0);
  });
  pid_t pid = Spawn([] {
    Pipe q;
    q.r.reset();
    write(q.w, "x", 1);
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGPIPE);
}

TEST(PipeTest, NonBlocking) {
  COVERS("read", "write");
  Pipe p(O_NONBLOCK);
  char buf[4096] = {};
  EXPECT_ERR(read(p.r, buf, 1), EAGAIN);
  size_t total = 0;
  for (;;) {
    ssize_t n = write(p.w, buf, sizeof buf);
    if (n < 0) break;
    total += n;
  }
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(total, 65536u);
  EXPECT_ERR(write(p.w, buf, 1), EAGAIN);
  EXPECT_RET(read(p.r, buf, 100), 100);
  // Writes of up to PIPE_BUF are atomic: no room for a page yet.
  EXPECT_ERR(write(p.w, buf, 4096), EAGAIN);
  EXPECT_RET(read(p.r, buf, 3996), 3996);
  EXPECT_RET(write(p.w, buf, 4096), 4096);
}

TEST(PipeTest, PartialWriteAbovePipeBuf) {
  COVERS("write");
  Pipe p(O_NONBLOCK);
  std::string big(100000, 'x');
  EXPECT_RET(write(p.w, big.data(), big.size()), 65536);
}

TEST(PipeTest, BlockedReaderWakes) {
  COVERS("read", "write");
  Pipe p;
  std::thread t([&] {
    SleepMs(30);
    EXPECT_RET(write(p.w, "late", 4), 4);
  });
  char buf[8] = {};
  EXPECT_RET(read(p.r, buf, 8), 4);
  EXPECT_STREQ(buf, "late");
  t.join();
}

TEST(PipeTest, BlockedReaderSeesEndOfFile) {
  COVERS("read", "close");
  Pipe p;
  std::thread t([&] {
    SleepMs(30);
    p.w.reset();
  });
  char c;
  EXPECT_RET(read(p.r, &c, 1), 0);
  t.join();
}

TEST(PipeTest, BlockedWriterFinishesWholeWrite) {
  COVERS("write", "read");
  Pipe p;
  std::string big(300000, 0), back;
  for (size_t i = 0; i < big.size(); i++) big[i] = static_cast<char>(i * 7 >> 4);
  std::thread t([&] {
    EXPECT_RET(write(p.w, big.data(), big.size()), big.size());
    p.w.reset();
  });
  back = ReadAllFd(p.r);
  t.join();
  EXPECT_TRUE(back == big);
}

TEST(PipeTest, BlockedWriterGetsSigpipe) {
  COVERS("write", "close");
  EXPECT_CHILD([] {
    signal(SIGPIPE, SIG_IGN);
    int p[2];
    CHILD_OK(pipe(p));
    std::thread t([&] {
      for (int filled = 0; filled < 65536;) ioctl(p[0], FIONREAD, &filled);
      SleepMs(30);
      close(p[0]);
    });
    std::string big(300000, 'x');
    // What went in before the reader left counts.
    CHILD_RET(write(p[1], big.data(), big.size()), 65536);
    CHILD_ERR(write(p[1], big.data(), big.size()), EPIPE);
    t.join();
  });
}

TEST(PipeTest, InterruptedRead) {
  COVERS("read", "rt_sigaction");
  EXPECT_CHILD([] {
    int p[2];
    CHILD_OK(pipe(p));
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    ualarm(30000, 30000);
    char c;
    CHILD_ERR(read(p[0], &c, 1), EINTR);
  });
}

TEST(PipeTest, RestartedRead) {
  COVERS("read", "rt_sigaction");
  EXPECT_CHILD([] {
    static int fds[2];
    CHILD_OK(pipe(fds));
    struct sigaction sa {};
    sa.sa_handler = [](int) { (void)!write(fds[1], "s", 1); };
    sa.sa_flags = SA_RESTART;
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    ualarm(30000, 0);
    char c = 0;
    CHILD_RET(read(fds[0], &c, 1), 1);
    CHILD_EQ(c, 's');
  });
}

TEST(PipeTest, InterruptedWriteIsPartial) {
  COVERS("write");
  EXPECT_CHILD([] {
    int p[2];
    CHILD_OK(pipe(p));
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    ualarm(50000, 50000);
    std::string big(100000, 'x');
    CHILD_RET(write(p[1], big.data(), big.size()), 65536);
    CHILD_ERR(write(p[1], big.data(), big.size()), EINTR);
  });
}

TEST(PipeTest, BytesReadable) {
  COVERS("ioctl");
  Pipe p;
  int n = -1;
  EXPECT_OK(ioctl(p.r, FIONREAD, &n));
  EXPECT_EQ(n, 0);
  EXPECT_RET(write(p.w, "hello", 5), 5);
  EXPECT_OK(ioctl(p.r, FIONREAD, &n));
  EXPECT_EQ(n, 5);
  EXPECT_OK(ioctl(p.w, FIONREAD, &n));
  EXPECT_EQ(n, 5);
}

TEST(PipeTest, PollStates) {
  COVERS("poll");
  Pipe p;
  pollfd f[2] = {{p.r, POLLIN, 0}, {p.w, POLLOUT, 0}};
  EXPECT_RET(poll(f, 2, 0), 1);
  EXPECT_EQ(f[0].revents, 0);
  EXPECT_EQ(f[1].revents, POLLOUT);
  EXPECT_RET(write(p.w, "x", 1), 1);
  EXPECT_RET(poll(f, 2, 0), 2);
  EXPECT_EQ(f[0].revents, POLLIN);
  p.w.reset();
  EXPECT_RET(poll(f, 1, 0), 1);
  EXPECT_EQ(f[0].revents, POLLIN | POLLHUP);
  char c;
  EXPECT_RET(read(p.r, &c, 1), 1);
  EXPECT_RET(poll(f, 1, 0), 1);
  EXPECT_EQ(f[0].revents, POLLHUP);
  Pipe q;
  q.r.reset();
  pollfd g{q.w, POLLOUT, 0};
  EXPECT_RET(poll(&g, 1, 0), 1);
  EXPECT_EQ(g.revents, POLLOUT | POLLERR);
}

TEST(PipeTest, PacketMode) {
  COVERS("pipe2", "read", "write");
  Pipe p(O_DIRECT);
  EXPECT_RET(write(p.w, "first", 5), 5);
  EXPECT_RET(write(p.w, "second", 6), 6);
  char buf[64];
  EXPECT_RET(read(p.r, buf, 3), 3);  // the rest of the packet is dropped
  EXPECT_RET(read(p.r, buf, sizeof buf), 6);
}

TEST(PipeTest, VectoredTransfers) {
  COVERS("readv", "writev");
  Pipe p;
  iovec out[2] = {{(void*)"ab", 2}, {(void*)"cdef", 4}};
  EXPECT_RET(writev(p.w, out, 2), 6);
  char a[4] = {}, b[8] = {};
  iovec in[2] = {{a, 3}, {b, 8}};
  EXPECT_RET(readv(p.r, in, 2), 6);
  EXPECT_STREQ(a, "abc");
  EXPECT_STREQ(b, "def");
}

TEST(PipeTest, ReadIntoBadBufferKeepsData) {
  COVERS("read");
  Pipe p;
  EXPECT_RET(write(p.w, "abc", 3), 3);
  EXPECT_ERR(read(p.r, reinterpret_cast<void*>(8), 3), EFAULT);
  char buf[4] = {};
  EXPECT_RET(read(p.r, buf, 3), 3);
  EXPECT_STREQ(buf, "abc");
}

TEST(PipeTest, ReopenThroughProc) {
  COVERS("openat");
  Pipe p;
  Fd again(open(("/proc/self/fd/" + std::to_string(p.r.get())).c_str(), O_WRONLY));
  ASSERT_GE(again.get(), 0);
  EXPECT_RET(write(again, "via", 3), 3);
  char buf[4] = {};
  EXPECT_RET(read(p.r, buf, 3), 3);
  EXPECT_STREQ(buf, "via");
}

class Fifo : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(mkfifo(Path(), 0644)); }
  const char* Path() {
    path_ = dir_ / "fifo";
    return path_.c_str();
  }
  TempDir dir_;
  std::string path_;
};

TEST_F(Fifo, OpenRules) {
  COVERS("openat", "mknod");
  EXPECT_ERR(open(Path(), O_WRONLY | O_NONBLOCK), ENXIO);
  Fd r(open(Path(), O_RDONLY | O_NONBLOCK));
  ASSERT_GE(r.get(), 0);
  char c;
  EXPECT_RET(read(r, &c, 1), 0);  // no writer yet: end of file, not EAGAIN
  Fd w(open(Path(), O_WRONLY | O_NONBLOCK));
  ASSERT_GE(w.get(), 0);
  EXPECT_ERR(read(r, &c, 1), EAGAIN);
  EXPECT_RET(write(w, "x", 1), 1);
  EXPECT_RET(read(r, &c, 1), 1);
  w.reset();
  EXPECT_RET(read(r, &c, 1), 0);
  Fd rw(open(Path(), O_RDWR));  // never blocks on Linux
  EXPECT_GE(rw.get(), 0);
}

TEST_F(Fifo, OpenWaitsForOtherEnd) {
  COVERS("openat");
  Path();
  std::thread t([&] {
    SleepMs(30);
    Fd w(open(path_.c_str(), O_WRONLY));
    EXPECT_RET(write(w, "hi", 2), 2);
  });
  Fd r(open(path_.c_str(), O_RDONLY));
  EXPECT_EQ(ReadAllFd(r), "hi");
  t.join();
}

TEST_F(Fifo, OpenInterrupted) {
  COVERS("openat");
  Path();
  EXPECT_CHILD([&] {
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    CHILD_OK(sigaction(SIGALRM, &sa, nullptr));
    ualarm(30000, 30000);
    CHILD_ERR(open(path_.c_str(), O_RDONLY), EINTR);
  });
}

TEST_F(Fifo, PollHangupOnlyAfterAWriter) {
  COVERS("poll");
  Fd r(open(Path(), O_RDONLY | O_NONBLOCK));
  pollfd p{r, POLLIN, 0};
  EXPECT_RET(poll(&p, 1, 0), 0);
  Fd w(open(Path(), O_WRONLY));
  w.reset();
  EXPECT_RET(poll(&p, 1, 0), 1);
  EXPECT_EQ(p.revents, POLLHUP);
  Fd again(open(Path(), O_WRONLY));
  EXPECT_RET(poll(&p, 1, 0), 0);
}

TEST_F(Fifo, SeekAndTruncate) {
  COVERS("lseek", "ftruncate");
  Fd rw(open(Path(), O_RDWR));
  EXPECT_ERR(lseek(rw, 0, SEEK_SET), ESPIPE);
  EXPECT_ERR(ftruncate(rw, 0), EINVAL);
  char c;
  EXPECT_ERR(pread(rw, &c, 1, 0), ESPIPE);
}

}  // namespace
