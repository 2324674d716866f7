// eventfd.
#include <poll.h>
#include <sys/eventfd.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

uint64_t Get(int fd) {
  uint64_t v = 0;
  EXPECT_RET(read(fd, &v, 8), 8);
  return v;
}
void Add(int fd, uint64_t v) { EXPECT_RET(write(fd, &v, 8), 8); }

TEST(EventFd, CounterSemantics) {
  COVERS("eventfd2", "eventfd", "read", "write");
  Fd fd(eventfd(5, EFD_NONBLOCK));
  EXPECT_EQ(Get(fd), 5u);
  uint64_t v;
  EXPECT_ERR(read(fd, &v, 8), EAGAIN);
  Add(fd, 3);
  Add(fd, 4);
  EXPECT_EQ(Get(fd), 7u);
  Fd old(static_cast<int>(syscall(SYS_eventfd, 9)));
  EXPECT_EQ(Get(old), 9u);
  EXPECT_RET(fcntl(old, F_GETFL), O_RDWR);
}

TEST(EventFd, Semaphore) {
  COVERS("eventfd2");
  Fd fd(eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE | EFD_CLOEXEC));
  EXPECT_RET(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(Get(fd), 1u);
  EXPECT_EQ(Get(fd), 1u);
  uint64_t v;
  EXPECT_ERR(read(fd, &v, 8), EAGAIN);
}

TEST(EventFd, Limits) {
  COVERS("eventfd2", "poll");
  Fd fd(eventfd(0, EFD_NONBLOCK));
  uint64_t v = ~0ull;
  EXPECT_ERR(write(fd, &v, 8), EINVAL);
  Add(fd, ~0ull - 1);
  v = 1;
  EXPECT_ERR(write(fd, &v, 8), EAGAIN);
  pollfd p{fd, POLLIN | POLLOUT, 0};
  EXPECT_RET(poll(&p, 1, 0), 1);
  EXPECT_EQ(p.revents, POLLIN);
  EXPECT_EQ(Get(fd), ~0ull - 1);
  EXPECT_RET(poll(&p, 1, 0), 1);
  EXPECT_EQ(p.revents, POLLOUT);
}

TEST(EventFd, Errors) {
  COVERS("eventfd2");
  EXPECT_ERR(eventfd(0, 1 << 20), EINVAL);
  Fd fd(eventfd(1, 0));
  char buf[16] = {};
  EXPECT_ERR(read(fd, buf, 7), EINVAL);
  EXPECT_ERR(write(fd, buf, 7), EINVAL);
  EXPECT_RET(read(fd, buf, 16), 8);
  EXPECT_RET(lseek(fd, 5, SEEK_SET), 0);  // accepted without effect
  EXPECT_ERR(pread(fd, buf, 8, 0), ESPIPE);
  EXPECT_ERR(write(fd, reinterpret_cast<void*>(8), 8), EFAULT);
  EXPECT_ERR(ftruncate(fd, 0), EINVAL);
}

TEST(EventFd, BlockingReadAndWrite) {
  COVERS("eventfd2", "read", "write");
  Fd fd(eventfd(0, 0));
  std::thread t([&] {
    SleepMs(30);
    Add(fd, 11);
  });
  EXPECT_EQ(Get(fd), 11u);
  t.join();
  Add(fd, ~0ull - 1);
  std::thread u([&] {
    SleepMs(30);
    EXPECT_EQ(Get(fd), ~0ull - 1);
  });
  Add(fd, 5);
  u.join();
  EXPECT_EQ(Get(fd), 5u);
}

TEST(EventFd, SharedAcrossFork) {
  COVERS("eventfd2", "fork");
  Fd fd(eventfd(0, 0));
  EXPECT_CHILD([&] {
    uint64_t v = 42;
    CHILD_RET(write(fd, &v, 8), 8);
  });
  EXPECT_EQ(Get(fd), 42u);
}

}  // namespace
