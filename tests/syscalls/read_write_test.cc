// read, write and their vectored and positioned forms; lseek, truncation, allocation, syncing.
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "tests/syscalls/test_util.h"

namespace {

class ReadWrite : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_.reset(open((dir_ / "f").c_str(), O_RDWR | O_CREAT | O_EXCL, 0644));
    ASSERT_GE(fd_.get(), 0);
  }
  void Fill(const std::string& s) { ASSERT_RET(pwrite(fd_, s.data(), s.size(), 0), s.size()); }
  std::string Content() { return ReadFile(dir_ / "f"); }
  off_t Size() {
    struct stat st {};
    EXPECT_OK(fstat(fd_, &st));
    return st.st_size;
  }
  TempDir dir_;
  Fd fd_;
};

TEST_F(ReadWrite, WriteThenReadBack) {
  COVERS("read", "write", "lseek");
  EXPECT_RET(write(fd_, "hello world", 11), 11);
  EXPECT_RET(lseek(fd_, 0, SEEK_CUR), 11);
  EXPECT_RET(lseek(fd_, 6, SEEK_SET), 6);
  char buf[16] = {};
  EXPECT_RET(read(fd_, buf, sizeof buf), 5);
  EXPECT_STREQ(buf, "world");
  EXPECT_RET(read(fd_, buf, sizeof buf), 0);
}

TEST_F(ReadWrite, ZeroLength) {
  COVERS("read", "write");
  EXPECT_RET(write(fd_, nullptr, 0), 0);
  EXPECT_RET(read(fd_, nullptr, 0), 0);
  Fd ro(open((dir_ / "f").c_str(), O_RDONLY));
  EXPECT_ERR(write(ro, "", 0), EBADF);
}

TEST_F(ReadWrite, WrongModeAndDescriptor) {
  COVERS("read", "write");
  char c = 'x';
  Fd ro(open((dir_ / "f").c_str(), O_RDONLY));
  Fd wo(open((dir_ / "f").c_str(), O_WRONLY));
  EXPECT_ERR(write(ro, &c, 1), EBADF);
  EXPECT_ERR(read(wo, &c, 1), EBADF);
  EXPECT_ERR(read(-1, &c, 1), EBADF);
  EXPECT_ERR(read(9999, &c, 1), EBADF);
  Fd dir(open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_ERR(read(dir, &c, 1), EISDIR);
  EXPECT_ERR(write(dir, &c, 1), EBADF);
  Fd path(open((dir_ / "f").c_str(), O_PATH));
  EXPECT_ERR(read(path, &c, 1), EBADF);
  EXPECT_ERR(write(path, &c, 1), EBADF);
}

TEST_F(ReadWrite, BadPointer) {
  COVERS("read", "write");
  Fill("abc");
  EXPECT_ERR(read(fd_, reinterpret_cast<void*>(8), 3), EFAULT);
  EXPECT_ERR(write(fd_, reinterpret_cast<void*>(8), 3), EFAULT);
  EXPECT_RET(Size(), 3);
  EXPECT_RET(lseek(fd_, 0, SEEK_CUR), 0);
}

TEST_F(ReadWrite, ReadIntoPartlyMappedBufferIsShort) {
  COVERS("read", "write");
  char* p = static_cast<char*>(
      mmap(nullptr, 2 * PageSize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(p, MAP_FAILED);
  ASSERT_OK(munmap(p + PageSize(), PageSize()));
  std::string data(100, 'z');
  Fill(data);
  char* edge = p + PageSize() - 10;
  ssize_t n = read(fd_, edge, 100);
  EXPECT_EQ(n, 10);
  EXPECT_EQ(std::string(edge, 10), std::string(10, 'z'));
  munmap(p, PageSize());
}

TEST_F(ReadWrite, HugeCountIsClamped) {
  COVERS("read");
  Fill("abc");
  // Not on the stack: that may lie so near to the end of the address space that the range leaves
  // it.
  std::vector<char> buf(8);
  EXPECT_RET(read(fd_, buf.data(), 0x7fffffff), 3);
  EXPECT_ERR(read(fd_, buf.data(), ~size_t{0}), EFAULT);
}

TEST_F(ReadWrite, Append) {
  COVERS("write", "pwrite64", "openat");
  Fill("0123");
  Fd a(open((dir_ / "f").c_str(), O_WRONLY | O_APPEND));
  EXPECT_RET(lseek(a, 0, SEEK_SET), 0);
  EXPECT_RET(write(a, "45", 2), 2);
  EXPECT_RET(lseek(a, 0, SEEK_CUR), 6);
  // On Linux, O_APPEND beats the offset of pwrite (pwrite(2), BUGS).
  EXPECT_RET(pwrite(a, "67", 2, 0), 2);
  EXPECT_EQ(Content(), "01234567");
}

TEST_F(ReadWrite, Positioned) {
  COVERS("pread64", "pwrite64");
  EXPECT_RET(pwrite(fd_, "abc", 3, 5), 3);
  EXPECT_RET(lseek(fd_, 0, SEEK_CUR), 0);
  char buf[9] = {};
  EXPECT_RET(pread(fd_, buf, 8, 0), 8);
  EXPECT_EQ(std::string(buf, 8), std::string("\0\0\0\0\0abc", 8));
  EXPECT_RET(pread(fd_, buf, 8, 8), 0);
  EXPECT_RET(pread(fd_, buf, 8, 100), 0);
  EXPECT_ERR(pread(fd_, buf, 8, -1), EINVAL);
  EXPECT_ERR(pwrite(fd_, buf, 8, -1), EINVAL);
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_ERR(pread(p[0], buf, 1, 0), ESPIPE);
  EXPECT_ERR(pwrite(p[1], buf, 1, 0), ESPIPE);
  close(p[0]);
  close(p[1]);
}

TEST_F(ReadWrite, Vectored) {
  COVERS("readv", "writev", "preadv", "pwritev");
  iovec out[3] = {{(void*)"ab", 2}, {nullptr, 0}, {(void*)"cde", 3}};
  EXPECT_RET(writev(fd_, out, 3), 5);
  EXPECT_RET(lseek(fd_, 0, SEEK_SET), 0);
  char a[3] = {}, b[8] = {};
  iovec in[2] = {{a, 2}, {b, 8}};
  EXPECT_RET(readv(fd_, in, 2), 5);
  EXPECT_STREQ(a, "ab");
  EXPECT_STREQ(b, "cde");
  EXPECT_RET(pwritev(fd_, out, 3, 10), 5);
  EXPECT_RET(preadv(fd_, in, 2, 12), 3);
  EXPECT_STREQ(a, "cd");
  EXPECT_RET(lseek(fd_, 0, SEEK_CUR), 5);
}

TEST_F(ReadWrite, VectoredErrors) {
  COVERS("readv", "writev", "preadv", "pwritev");
  char c;
  iovec v[2] = {{&c, 1}, {&c, 1}};
  EXPECT_RET(readv(fd_, v, 0), 0);
  EXPECT_ERR(readv(fd_, v, -1), EINVAL);
  EXPECT_ERR(readv(fd_, v, 1025), EINVAL);
  EXPECT_ERR(writev(fd_, v, 1025), EINVAL);
  EXPECT_ERR(readv(-1, v, 2), EBADF);
  EXPECT_ERR(readv(fd_, reinterpret_cast<iovec*>(8), 1), EFAULT);
  v[1].iov_len = ~size_t{0};
  EXPECT_ERR(writev(fd_, v, 2), EINVAL);
  EXPECT_ERR(preadv(fd_, v, 1, -1), EINVAL);
}

TEST_F(ReadWrite, WritevStopsAtBadBuffer) {
  COVERS("writev");
  iovec v[2] = {{(void*)"good", 4}, {reinterpret_cast<void*>(8), 4}};
  EXPECT_RET(writev(fd_, v, 2), 4);
  EXPECT_EQ(Content(), "good");
}

TEST_F(ReadWrite, Preadv2Flags) {
  COVERS("preadv2", "pwritev2");
  iovec v{(void*)"xyz", 3};
  EXPECT_RET(pwritev2(fd_, &v, 1, 2, 0), 3);
  EXPECT_RET(lseek(fd_, 0, SEEK_CUR), 0);
  EXPECT_RET(pwritev2(fd_, &v, 1, -1, 0), 3);  // -1: the current position, which moves
  EXPECT_RET(lseek(fd_, 0, SEEK_CUR), 3);
  EXPECT_RET(pwritev2(fd_, &v, 1, 0, RWF_APPEND), 3);
  EXPECT_EQ(Size(), 8);
  char b[8] = {};
  iovec r{b, 8};
  EXPECT_RET(preadv2(fd_, &r, 1, 5, 0), 3);
  EXPECT_STREQ(b, "xyz");
  EXPECT_ERR(preadv2(fd_, &r, 1, 0, 1 << 30), EOPNOTSUPP);
  EXPECT_RET(pwritev2(fd_, &v, 1, 0, RWF_SYNC), 3);
}

TEST_F(ReadWrite, Seek) {
  COVERS("lseek");
  Fill("0123456789");
  EXPECT_RET(lseek(fd_, -2, SEEK_END), 8);
  EXPECT_RET(lseek(fd_, -3, SEEK_CUR), 5);
  EXPECT_ERR(lseek(fd_, -6, SEEK_CUR), EINVAL);
  EXPECT_ERR(lseek(fd_, -1, SEEK_SET), EINVAL);
  EXPECT_ERR(lseek(fd_, 0, 99), EINVAL);
  EXPECT_ERR(lseek(-1, 0, SEEK_SET), EBADF);
  EXPECT_RET(lseek(fd_, 0, SEEK_CUR), 5);
  EXPECT_RET(lseek(fd_, 1000, SEEK_SET), 1000);
  EXPECT_EQ(Size(), 10);
  EXPECT_RET(write(fd_, "x", 1), 1);
  EXPECT_EQ(Size(), 1001);
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_ERR(lseek(p[0], 0, SEEK_CUR), ESPIPE);
  close(p[0]);
  close(p[1]);
}

TEST_F(ReadWrite, SeekDataAndHole) {
  COVERS("lseek");
  Fill("data");
  EXPECT_RET(lseek(fd_, 0, SEEK_DATA), 0);
  EXPECT_RET(lseek(fd_, 0, SEEK_HOLE), 4);
  EXPECT_ERR(lseek(fd_, 4, SEEK_DATA), ENXIO);
  EXPECT_ERR(lseek(fd_, 4, SEEK_HOLE), ENXIO);
  EXPECT_ERR(lseek(fd_, -1, SEEK_DATA), ENXIO);
}

TEST_F(ReadWrite, OffsetSharedByDup) {
  COVERS("dup", "lseek");
  Fill("abcdef");
  Fd d(dup(fd_));
  char c;
  EXPECT_RET(read(fd_, &c, 1), 1);
  EXPECT_RET(read(d, &c, 1), 1);
  EXPECT_EQ(c, 'b');
  Fd other(open((dir_ / "f").c_str(), O_RDONLY));
  EXPECT_RET(read(other, &c, 1), 1);
  EXPECT_EQ(c, 'a');
}

TEST_F(ReadWrite, OffsetSharedWithChild) {
  COVERS("fork", "lseek", "read");
  Fill("abcdef");
  EXPECT_CHILD([&] {
    char c;
    CHILD_RET(read(fd_, &c, 1), 1);
  });
  EXPECT_RET(lseek(fd_, 0, SEEK_CUR), 1);
}

TEST_F(ReadWrite, Truncate) {
  COVERS("ftruncate", "truncate");
  Fill("0123456789");
  EXPECT_OK(ftruncate(fd_, 4));
  EXPECT_EQ(Content(), "0123");
  EXPECT_OK(ftruncate(fd_, 6));
  EXPECT_EQ(Content(), std::string("0123\0\0", 6));
  EXPECT_OK(truncate((dir_ / "f").c_str(), 1));
  EXPECT_EQ(Content(), "0");
  EXPECT_ERR(ftruncate(fd_, -1), EINVAL);
  EXPECT_ERR(truncate((dir_ / "f").c_str(), -1), EINVAL);
  EXPECT_ERR(truncate((dir_ / "none").c_str(), 0), ENOENT);
  EXPECT_ERR(truncate(dir_.path().c_str(), 0), EISDIR);
  EXPECT_ERR(ftruncate(-1, 0), EBADF);
  Fd ro(open((dir_ / "f").c_str(), O_RDONLY));
  EXPECT_ERR(ftruncate(ro, 0), EINVAL);
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_ERR(ftruncate(p[1], 0), EINVAL);
  close(p[0]);
  close(p[1]);
}

TEST_F(ReadWrite, TruncateKeepsOffset) {
  COVERS("ftruncate", "write");
  Fill("0123456789");
  EXPECT_RET(lseek(fd_, 8, SEEK_SET), 8);
  EXPECT_OK(ftruncate(fd_, 2));
  char c;
  EXPECT_RET(read(fd_, &c, 1), 0);
  EXPECT_RET(write(fd_, "x", 1), 1);
  EXPECT_EQ(Content(), std::string("01\0\0\0\0\0\0x", 9));
}

TEST_F(ReadWrite, FileSizeLimit) {
  COVERS("write", "ftruncate", "setrlimit");
  EXPECT_CHILD([&] {
    rlimit r{10, 10};
    CHILD_OK(setrlimit(RLIMIT_FSIZE, &r));
    signal(SIGXFSZ, SIG_IGN);
    CHILD_RET(write(fd_, "01234567", 8), 8);
    CHILD_RET(write(fd_, "01234567", 8), 2);
    CHILD_ERR(write(fd_, "x", 1), EFBIG);
    CHILD_ERR(ftruncate(fd_, 11), EFBIG);
    CHILD_OK(ftruncate(fd_, 10));
  });
  pid_t pid = Spawn([&] {
    rlimit r{10, 10};
    setrlimit(RLIMIT_FSIZE, &r);
    rlimit core{0, 0};
    setrlimit(RLIMIT_CORE, &core);
    pwrite(fd_, "x", 1, 10);
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGXFSZ);
}

TEST_F(ReadWrite, Fallocate) {
  COVERS("fallocate");
  EXPECT_OK(fallocate(fd_, 0, 0, 8192));
  EXPECT_EQ(Size(), 8192);
  EXPECT_OK(fallocate(fd_, FALLOC_FL_KEEP_SIZE, 8192, 8192));
  EXPECT_EQ(Size(), 8192);
  EXPECT_RET(pwrite(fd_, "abcdef", 6, 0), 6);
  EXPECT_OK(fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 3));
  char b[7] = {};
  EXPECT_RET(pread(fd_, b, 6, 0), 6);
  EXPECT_EQ(std::string(b, 6), std::string("\0\0\0def", 6));
  EXPECT_ERR(fallocate(fd_, 0, -1, 10), EINVAL);
  EXPECT_ERR(fallocate(fd_, 0, 0, 0), EINVAL);
  EXPECT_ERR(fallocate(fd_, FALLOC_FL_PUNCH_HOLE, 0, 10), EOPNOTSUPP);
  EXPECT_ERR(fallocate(-1, 0, 0, 10), EBADF);
  Fd ro(open((dir_ / "f").c_str(), O_RDONLY));
  EXPECT_ERR(fallocate(ro, 0, 0, 10), EBADF);
}

TEST_F(ReadWrite, SyncCalls) {
  COVERS("fsync", "fdatasync", "sync_file_range", "sync", "syncfs");
  Fill("abc");
  EXPECT_OK(fsync(fd_));
  EXPECT_OK(fdatasync(fd_));
  EXPECT_OK(sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE));
  EXPECT_ERR(sync_file_range(fd_, 0, 0, 0xff), EINVAL);
  EXPECT_ERR(fsync(-1), EBADF);
  EXPECT_ERR(syncfs(-1), EBADF);
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_ERR(fsync(p[0]), EINVAL);
  EXPECT_ERR(fdatasync(p[0]), EINVAL);
  EXPECT_ERR(sync_file_range(p[0], 0, 0, 0), ESPIPE);
  close(p[0]);
  close(p[1]);
}

TEST_F(ReadWrite, Fadvise) {
  COVERS("fadvise64", "readahead");
  EXPECT_RET(posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL), 0);
  EXPECT_RET(posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED), 0);
  EXPECT_RET(posix_fadvise(fd_, 0, 0, 99), EINVAL);
  EXPECT_RET(posix_fadvise(-1, 0, 0, 0), EBADF);
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_RET(posix_fadvise(p[0], 0, 0, 0), ESPIPE);
  EXPECT_ERR(readahead(p[0], 0, 1), EINVAL);
  close(p[0]);
  close(p[1]);
  EXPECT_OK(readahead(fd_, 0, 4096));
  EXPECT_ERR(readahead(-1, 0, 1), EBADF);
}

TEST_F(ReadWrite, LargeFileOffsets) {
  COVERS("pwrite64", "pread64", "ftruncate");
  off_t far = 5'000'000'000;
  EXPECT_RET(pwrite(fd_, "far", 3, far), 3);
  EXPECT_EQ(Size(), far + 3);
  char b[4] = {};
  EXPECT_RET(pread(fd_, b, 3, far), 3);
  EXPECT_STREQ(b, "far");
  EXPECT_RET(pread(fd_, b, 3, far / 2), 3);
  EXPECT_EQ(b[0], '\0');
}

TEST_F(ReadWrite, BigTransferIsWhole) {
  COVERS("write", "read");
  std::string big(3'000'000, 0);
  for (size_t i = 0; i < big.size(); i++) big[i] = static_cast<char>(i * 31 >> 3);
  EXPECT_RET(write(fd_, big.data(), big.size()), big.size());
  std::string back(big.size() + 10, 0);
  EXPECT_RET(pread(fd_, back.data(), back.size(), 0), big.size());
  back.resize(big.size());
  EXPECT_TRUE(big == back);
}

TEST_F(ReadWrite, WriteUpdatesTimesAndClearsSetuid) {
  COVERS("write", "fchmod");
  SKIP_UNLESS_ROOT();
  ASSERT_OK(fchmod(fd_, 06777));
  struct stat before {};
  ASSERT_OK(fstat(fd_, &before));
  SleepMs(20);
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    CHILD_RET(write(fd_, "x", 1), 1);
  });
  struct stat after {};
  ASSERT_OK(fstat(fd_, &after));
  EXPECT_EQ(after.st_mode & 07777, 0777u);
  EXPECT_GT(after.st_mtim.tv_sec * 1000000000L + after.st_mtim.tv_nsec,
            before.st_mtim.tv_sec * 1000000000L + before.st_mtim.tv_nsec);
  EXPECT_EQ(after.st_blocks > 0, true);
}

TEST_F(ReadWrite, ReadOwnMappingOfSameFile) {
  COVERS("read", "mmap");
  Fill(std::string(4096, 'q'));
  char* p = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
  ASSERT_NE(p, MAP_FAILED);
  p[0] = 'a';
  char c = 0;
  EXPECT_RET(pread(fd_, &c, 1, 0), 1);
  EXPECT_EQ(c, 'a');
  EXPECT_RET(pwrite(fd_, "b", 1, 1), 1);
  EXPECT_EQ(p[1], 'b');
  EXPECT_RET(pwrite(fd_, p, 10, 100), 10);
  EXPECT_EQ(p[101], 'b');
  munmap(p, 4096);
}

}  // namespace
