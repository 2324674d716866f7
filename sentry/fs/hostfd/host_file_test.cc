#include "sentry/fs/hostfd/host_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <unistd.h>

#include "sentry/wait/parker.h"
#include "syscalls/abi/epoll.h"

namespace sentry {
namespace {

TEST(HostFile, PipeNeverBlocks) {
  int p[2];
  ASSERT_EQ(pipe(p), 0);
  auto r = HostFile::Create(base::UniqueFd(p[0]), 0, 0);
  ASSERT_TRUE(r.ok());
  HostFile& f = **r;
  char buf[8];
  IoBuffer b = IoBuffer::Kernel(buf, sizeof buf);
  uint64_t off = 0;
  EXPECT_TRUE(f.Read(b, &off, 0).is(abi::Errno::kEAGAIN));
  Parker parker;
  Parker::Entry entry(parker);
  f.WillWait(abi::kEPOLLIN);
  f.wait_queue()->Add(&entry, abi::kEPOLLIN);
  ASSERT_EQ(write(p[1], "hey", 3), 3);
  EXPECT_TRUE(parker.Park());
  f.wait_queue()->Remove(&entry);
  EXPECT_EQ(*f.Read(b, &off, 0), 3u);
  EXPECT_EQ(fcntl(p[0], F_GETFL) & O_NONBLOCK, 0);
  close(p[1]);
  EXPECT_EQ(*f.Read(b, &off, 0), 0u);
  EXPECT_NE(f.Poll() & abi::kEPOLLHUP, 0u);
}

TEST(HostFile, FullPipeAndBrokenPipe) {
  int p[2];
  ASSERT_EQ(pipe(p), 0);
  auto r = HostFile::Create(base::UniqueFd(p[1]), 0, 0);
  ASSERT_TRUE(r.ok());
  std::string data(1 << 20, 'x');
  IoBuffer b = IoBuffer::Kernel(data.data(), data.size());
  uint64_t off = 0, total = 0;
  for (;;) {
    base::Result<uint64_t> w = (*r)->Write(b, &off, 0);
    if (!w.ok()) {
      EXPECT_TRUE(w.is(abi::Errno::kEAGAIN));
      break;
    }
    total += *w;
  }
  EXPECT_EQ(total, 65536u);
  close(p[0]);
  EXPECT_TRUE((*r)->Write(b, &off, 0).is(abi::Errno::kEPIPE));
}

TEST(HostFile, RegularFileSharesItsPosition) {
  FILE* t = tmpfile();
  ASSERT_NE(t, nullptr);
  int fd = fileno(t);
  ASSERT_EQ(write(fd, "abcdef", 6), 6);
  lseek(fd, 2, SEEK_SET);
  auto r = HostFile::Create(base::UniqueFd(dup(fd)), 0, 0);
  ASSERT_TRUE(r.ok());
  HostFile& f = **r;
  EXPECT_EQ(f.wait_queue(), nullptr);
  char buf[2];
  IoBuffer b = IoBuffer::Kernel(buf, 2);
  EXPECT_EQ(*f.Read(b, &f.pos, 0), 2u);
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 4);
  IoBuffer c = IoBuffer::Kernel(buf, 2);
  uint64_t at = 0;
  EXPECT_EQ(*f.Read(c, &at, 0), 2u);
  EXPECT_EQ(std::string(buf, 2), "ab");
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 4);
  EXPECT_EQ(*f.Seek(0, abi::kSEEK_END), 6u);
  fclose(t);
}

}  // namespace
}  // namespace sentry
