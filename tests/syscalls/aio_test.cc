// Linux's asynchronous I/O: io_setup, io_submit, io_getevents and their relatives.
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

long IoSetup(unsigned n, aio_context_t* c) { return syscall(SYS_io_setup, n, c); }
long Destroy(aio_context_t c) { return syscall(SYS_io_destroy, c); }
long Submit(aio_context_t c, long n, iocb** p) { return syscall(SYS_io_submit, c, n, p); }
long GetEvents(aio_context_t c, long min, long n, io_event* e, timespec* t) {
  return syscall(SYS_io_getevents, c, min, n, e, t);
}

class Aio : public ::testing::Test {
 protected:
  void SetUp() override {
    if (IoSetup(8, &ctx_) != 0) {
      ASSERT_EQ(errno, ENOSYS);
      GTEST_SKIP() << "no AIO";
    }
    fd_.reset(open((dir_ / "f").c_str(), O_RDWR | O_CREAT, 0600));
  }
  void TearDown() override {
    if (ctx_ != 0) {
      EXPECT_OK(Destroy(ctx_));
    }
  }
  iocb Request(int op, void* buf, size_t n, long long at) {
    iocb cb{};
    cb.aio_lio_opcode = static_cast<uint16_t>(op);
    cb.aio_fildes = static_cast<uint32_t>(fd_.get());
    cb.aio_buf = reinterpret_cast<uint64_t>(buf);
    cb.aio_nbytes = n;
    cb.aio_offset = at;
    return cb;
  }
  long SubmitOne(iocb* cb) { return Submit(ctx_, 1, &cb); }
  aio_context_t ctx_ = 0;
  TempDir dir_;
  Fd fd_;
};

TEST_F(Aio, WriteThenRead) {
  COVERS("io_setup", "io_submit", "io_getevents", "io_destroy");
  char out[] = "hello", in[8] = {};
  iocb w = Request(IOCB_CMD_PWRITE, out, 5, 100);
  w.aio_data = 77;
  ASSERT_RET(SubmitOne(&w), 1);
  io_event e{};
  ASSERT_RET(GetEvents(ctx_, 1, 1, &e, nullptr), 1);
  EXPECT_EQ(e.data, 77u);
  EXPECT_EQ(e.obj, reinterpret_cast<uint64_t>(&w));
  EXPECT_EQ(e.res, 5);
  EXPECT_EQ(e.res2, 0);
  iovec v{in, 8};
  iocb r = Request(IOCB_CMD_PREADV, &v, 1, 100);
  iocb s = Request(IOCB_CMD_FDSYNC, nullptr, 0, 0);
  iocb* both[] = {&r, &s};
  ASSERT_RET(Submit(ctx_, 2, both), 2);
  io_event two[4];
  ASSERT_RET(GetEvents(ctx_, 2, 4, two, nullptr), 2);
  EXPECT_EQ(two[0].res + two[1].res, 5);
  EXPECT_STREQ(in, "hello");
}

TEST_F(Aio, EventfdTellsOfCompletion) {
  COVERS("io_submit", "eventfd2");
  Fd ev(eventfd(0, 0));
  char out[] = "x";
  iocb w = Request(IOCB_CMD_PWRITE, out, 1, 0);
  w.aio_flags = IOCB_FLAG_RESFD;
  w.aio_resfd = static_cast<uint32_t>(ev.get());
  ASSERT_RET(SubmitOne(&w), 1);
  uint64_t n = 0;
  EXPECT_RET(read(ev, &n, 8), 8);
  EXPECT_EQ(n, 1u);
  w.aio_resfd = static_cast<uint32_t>(fd_.get());
  EXPECT_ERR(SubmitOne(&w), EINVAL);
  io_event e;
  EXPECT_RET(GetEvents(ctx_, 1, 1, &e, nullptr), 1);
}

TEST_F(Aio, FailuresOfTheRequest) {
  COVERS("io_submit");
  char buf[4];
  iocb r = Request(IOCB_CMD_PREAD, reinterpret_cast<void*>(8), 4, 0);
  ASSERT_RET(write(fd_, "data", 4), 4);
  long n = SubmitOne(&r);
  if (n == 1) {
    io_event e{};
    ASSERT_RET(GetEvents(ctx_, 1, 1, &e, nullptr), 1);
    EXPECT_EQ(e.res, -EFAULT);
  }
  r = Request(99, buf, 4, 0);
  EXPECT_ERR(SubmitOne(&r), EINVAL);
  r = Request(IOCB_CMD_PREAD, buf, 4, 0);
  r.aio_fildes = 9999;
  EXPECT_ERR(SubmitOne(&r), EBADF);
  r = Request(IOCB_CMD_PREAD, buf, 4, 0);
  r.aio_reserved2 = 1;
  EXPECT_ERR(SubmitOne(&r), EINVAL);
  Fd ro(open((dir_ / "f").c_str(), O_RDONLY));
  r = Request(IOCB_CMD_PWRITE, buf, 4, 0);
  r.aio_fildes = static_cast<uint32_t>(ro.get());
  EXPECT_ERR(SubmitOne(&r), EBADF);
  // The good ones before a bad one are done.
  iocb good = Request(IOCB_CMD_PREAD, buf, 4, 0), bad = Request(99, buf, 4, 0);
  iocb* list[] = {&good, &bad};
  EXPECT_RET(Submit(ctx_, 2, list), 1);
  io_event e{};
  EXPECT_RET(GetEvents(ctx_, 0, 4, &e, nullptr), 1);
  EXPECT_EQ(e.res, 4);
  EXPECT_ERR(Submit(ctx_, 1, nullptr), EFAULT);
  EXPECT_ERR(Submit(ctx_, -1, list), EINVAL);
  EXPECT_ERR(Submit(ctx_ + 4096, 1, list), EINVAL);
}

TEST_F(Aio, WaitingForEvents) {
  COVERS("io_getevents");
  io_event e{};
  timespec none{0, 0}, brief{0, 20'000'000};
  EXPECT_RET(GetEvents(ctx_, 0, 1, &e, nullptr), 0);
  EXPECT_RET(GetEvents(ctx_, 1, 1, &e, &none), 0);
  const int64_t start = NowNs();
  EXPECT_RET(GetEvents(ctx_, 1, 1, &e, &brief), 0);
  EXPECT_GE(NowNs() - start, 19'000'000);
  EXPECT_ERR(GetEvents(ctx_, 2, 1, &e, &none), EINVAL);
  EXPECT_ERR(GetEvents(ctx_, -1, 1, &e, &none), EINVAL);
  EXPECT_ERR(GetEvents(ctx_ + 4096, 0, 1, &e, &none), EINVAL);
  char out[] = "x";
  iocb w = Request(IOCB_CMD_PWRITE, out, 1, 0);
  std::thread t([&] {
    SleepMs(30);
    SubmitOne(&w);
  });
  EXPECT_RET(GetEvents(ctx_, 1, 1, &e, nullptr), 1);
  EXPECT_EQ(e.res, 1);
  t.join();
}

TEST_F(Aio, EventsWithASignalMask) {
  COVERS("io_pgetevents");
  struct {
    const sigset_t* set;
    size_t size;
  } mask{nullptr, 8};
  sigset_t empty;
  sigemptyset(&empty);
  mask.set = &empty;
  io_event e{};
  timespec brief{5, 0};
  EXPECT_CHILD([&] {
    sigset_t usr;
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    CHILD_OK(sigprocmask(SIG_BLOCK, &usr, nullptr));
    signal(SIGUSR1, [](int) {});
    CHILD_OK(raise(SIGUSR1));
    aio_context_t c = 0;
    CHILD_OK(IoSetup(1, &c));
    CHILD_ERR(syscall(SYS_io_pgetevents, c, 1, 1, &e, &brief, &mask), EINTR);
  });
  char out[] = "x";
  iocb w = Request(IOCB_CMD_PWRITE, out, 1, 0);
  ASSERT_RET(SubmitOne(&w), 1);
  EXPECT_RET(syscall(SYS_io_pgetevents, ctx_, 1, 1, &e, &brief, &mask), 1);
  mask.size = 3;
  EXPECT_ERR(syscall(SYS_io_pgetevents, ctx_, 0, 1, &e, nullptr, &mask), EINVAL);
}

TEST(AioSetup, Errors) {
  COVERS("io_setup", "io_destroy", "io_cancel");
  aio_context_t c = 0;
  if (IoSetup(1, &c) != 0) GTEST_SKIP() << "no AIO";
  EXPECT_ERR(IoSetup(1, &c), EINVAL);  // not 0
  EXPECT_OK(Destroy(c));
  EXPECT_ERR(Destroy(c), EINVAL);
  c = 0;
  EXPECT_ERR(IoSetup(0, &c), EINVAL);
  EXPECT_ERR(IoSetup(1, nullptr), EFAULT);
  io_event e;
  iocb cb{};
  cb.aio_key = 5;
  EXPECT_ERR(syscall(SYS_io_cancel, 4096, &cb, &e), EINVAL);
  EXPECT_ERR(syscall(SYS_io_cancel, 4096, nullptr, &e), EFAULT);
}

}  // namespace
