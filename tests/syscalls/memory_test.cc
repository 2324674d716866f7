// mmap, munmap, mprotect, mremap, madvise, msync, mincore, brk, mlock, memfd.
#include <cpuid.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "tests/syscalls/test_util.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

namespace {

constexpr size_t kPage = 4096;

char* Map(size_t pages, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE | MAP_ANONYMOUS,
          int fd = -1, off_t at = 0) {
  return static_cast<char*>(mmap(nullptr, pages * kPage, prot, flags, fd, at));
}

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string s(3 * kPage, 'f');
    for (int i = 0; i < 3; i++) s[i * kPage] = static_cast<char>('0' + i);
    ASSERT_TRUE(WriteFile(dir_ / "f", s));
    fd_.reset(open((dir_ / "f").c_str(), O_RDWR));
  }
  TempDir dir_;
  Fd fd_;
};

TEST_F(Memory, AnonymousIsZeroAndAligned) {
  COVERS("mmap", "munmap");
  char* p = Map(16);
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % kPage, 0u);
  for (size_t i = 0; i < 16 * kPage; i++) ASSERT_EQ(p[i], 0);
  p[0] = p[16 * kPage - 1] = 1;
  EXPECT_OK(munmap(p, 16 * kPage));
}

TEST_F(Memory, MmapErrors) {
  COVERS("mmap");
  int anon = MAP_PRIVATE | MAP_ANONYMOUS;
  EXPECT_ERR(mmap(nullptr, 0, PROT_READ, anon, -1, 0), EINVAL);
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL);
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ, anon, -1, 1), EINVAL);
  EXPECT_ERR(mmap(nullptr, ~size_t{0} - 100, PROT_READ, anon, -1, 0), ENOMEM);
  EXPECT_ERR(mmap(nullptr, size_t{1} << 47, PROT_READ, anon, -1, 0), ENOMEM);
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, -1, 0), EBADF);
  EXPECT_ERR(mmap((void*)123, kPage, PROT_READ, anon | MAP_FIXED, -1, 0), EINVAL);
  EXPECT_ERR(mmap((void*)0x7ffffffff000, 2 * kPage, PROT_READ, anon | MAP_FIXED, -1, 0), ENOMEM);
  Fd ro(open((dir_ / "f").c_str(), O_RDONLY)), wo(open((dir_ / "f").c_str(), O_WRONLY));
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, wo, 0), EACCES);
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0), EACCES);
  void* cow = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0);
  EXPECT_NE(cow, MAP_FAILED);
  munmap(cow, kPage);
  Fd dir(open(dir_.path().c_str(), O_RDONLY));
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, dir, 0), ENODEV);
  int p[2];
  ASSERT_OK(pipe(p));
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, p[0], 0), ENODEV);
  close(p[0]);
  close(p[1]);
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ, MAP_SHARED_VALIDATE | 0x800000, fd_, 0), EOPNOTSUPP);
  EXPECT_ERR(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd_, 0x7ffffffffffff000), EOVERFLOW);
}

TEST_F(Memory, FixedReplaces) {
  COVERS("mmap");
  char* p = Map(4);
  memset(p, 'a', 4 * kPage);
  char* q = static_cast<char*>(mmap(p + kPage, 2 * kPage, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  EXPECT_EQ(q, p + kPage);
  EXPECT_EQ(p[0], 'a');
  EXPECT_EQ(p[kPage], 0);
  EXPECT_EQ(p[3 * kPage], 'a');
  EXPECT_ERR(
      mmap(p + kPage, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
      EEXIST);
  EXPECT_OK(munmap(p + kPage, kPage));
  EXPECT_RET(
      mmap(p + kPage, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
      p + kPage);
  munmap(p, 4 * kPage);
}

TEST_F(Memory, HintIsTakenWhenFree) {
  COVERS("mmap");
  char* p = Map(4);
  ASSERT_OK(munmap(p, 4 * kPage));
  void* q = mmap(p, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_EQ(q, p);
  void* r = mmap(p, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(r, p);
  EXPECT_NE(r, MAP_FAILED);
  munmap(q, kPage);
  munmap(r, kPage);
}

TEST_F(Memory, LowAddresses) {
  COVERS("mmap");
  void* p =
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_LT(reinterpret_cast<uintptr_t>(p), uintptr_t{1} << 32);
  munmap(p, kPage);
}

TEST_F(Memory, MunmapRules) {
  COVERS("munmap");
  char* p = Map(3);
  EXPECT_ERR(munmap(p, 0), EINVAL);
  EXPECT_ERR(munmap(p + 1, kPage), EINVAL);
  EXPECT_ERR(munmap(p, ~size_t{0}), EINVAL);
  EXPECT_OK(munmap(p + kPage, 1));      // the length is rounded up
  EXPECT_OK(munmap(p + kPage, kPage));  // nothing there: fine
  p[0] = p[2 * kPage] = 1;
  EXPECT_OK(munmap(p, 3 * kPage));
}

TEST_F(Memory, PrivateFileMappingDoesntWriteBack) {
  COVERS("mmap", "msync");
  char* p = Map(3, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd_);
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_EQ(p[kPage], '1');
  p[kPage] = 'X';
  EXPECT_OK(msync(p, 3 * kPage, MS_SYNC));
  char c;
  EXPECT_RET(pread(fd_, &c, 1, kPage), 1);
  EXPECT_EQ(c, '1');
  munmap(p, 3 * kPage);
}

TEST_F(Memory, SharedFileMapping) {
  COVERS("mmap", "msync");
  char* p = Map(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, kPage);
  char* q = Map(1, PROT_READ, MAP_SHARED, fd_, 2 * kPage);
  ASSERT_NE(p, MAP_FAILED);
  p[kPage + 5] = 'S';
  EXPECT_EQ(q[5], 'S');
  EXPECT_OK(msync(p, 2 * kPage, MS_SYNC));
  EXPECT_OK(msync(p, 2 * kPage, MS_ASYNC));
  char c;
  EXPECT_RET(pread(fd_, &c, 1, 2 * kPage + 5), 1);
  EXPECT_EQ(c, 'S');
  EXPECT_CHILD([&] { p[0] = 'C'; });
  EXPECT_EQ(p[0], 'C');
  munmap(p, 2 * kPage);
  munmap(q, kPage);
}

TEST_F(Memory, MappingOutlivesDescriptorAndName) {
  COVERS("mmap", "close", "unlink");
  char* p = Map(1, PROT_READ | PROT_WRITE, MAP_SHARED, fd_);
  fd_.reset();
  ASSERT_OK(unlink((dir_ / "f").c_str()));
  EXPECT_EQ(p[0], '0');
  p[0] = 'z';
  EXPECT_EQ(p[0], 'z');
  munmap(p, kPage);
}

TEST_F(Memory, TailOfLastPageIsZero) {
  COVERS("mmap");
  ASSERT_OK(ftruncate(fd_, kPage + 100));
  char* p = Map(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd_);
  EXPECT_EQ(p[kPage + 99], 'f');
  EXPECT_EQ(p[kPage + 100], 0);
  EXPECT_EQ(p[2 * kPage - 1], 0);
  munmap(p, 2 * kPage);
}

TEST_F(Memory, TruncateThenGrowShowsZeros) {
  COVERS("mmap", "ftruncate");
  char* p = Map(3, PROT_READ, MAP_SHARED, fd_);
  EXPECT_EQ(p[2 * kPage], '2');
  ASSERT_OK(ftruncate(fd_, kPage + 10));
  ASSERT_OK(ftruncate(fd_, 3 * kPage));
  EXPECT_EQ(p[2 * kPage], 0);
  EXPECT_EQ(p[kPage + 9], 'f');
  EXPECT_EQ(p[kPage + 10], 0);
  munmap(p, 3 * kPage);
}

TEST_F(Memory, Mprotect) {
  COVERS("mprotect");
  char* p = Map(3);
  EXPECT_OK(mprotect(p + kPage, kPage, PROT_NONE));
  EXPECT_OK(mprotect(p, 3 * kPage, PROT_READ));
  EXPECT_OK(mprotect(p, 0, PROT_READ));
  EXPECT_ERR(mprotect(p + 1, kPage, PROT_READ), EINVAL);
  EXPECT_ERR(mprotect(p, kPage, 0x100), EINVAL);
  EXPECT_ERR(mprotect(p, kPage, PROT_READ | PROT_GROWSDOWN), EINVAL);
  ASSERT_OK(munmap(p + kPage, kPage));
  EXPECT_ERR(mprotect(p, 3 * kPage, PROT_READ | PROT_WRITE), ENOMEM);
  p[0] = 1;  // the part before the hole was changed
  munmap(p, 3 * kPage);
  Fd ro(open((dir_ / "f").c_str(), O_RDONLY));
  char* q = Map(1, PROT_READ, MAP_SHARED, ro);
  EXPECT_ERR(mprotect(q, kPage, PROT_READ | PROT_WRITE), EACCES);
  munmap(q, kPage);
}

// What holds with protection keys and without.
TEST_F(Memory, ProtectionKeyArguments) {
  COVERS("pkey_mprotect", "pkey_alloc");
  constexpr int kNobodys = 15;
  auto protect = [](char* p, size_t length, int prot, int key) {
    return syscall(SYS_pkey_mprotect, p, length, prot, key);
  };
  char* p = Map(1);
  EXPECT_OK(protect(p, kPage, PROT_READ, -1));
  EXPECT_ERR(protect(p, kPage, PROT_READ, kNobodys), EINVAL);
  // The key comes last.
  EXPECT_OK(protect(p, 0, PROT_READ, kNobodys));
  EXPECT_ERR(protect(nullptr, SIZE_MAX, PROT_READ, kNobodys), ENOMEM);
  munmap(p, kPage);
  EXPECT_ERR(syscall(SYS_pkey_alloc, 1, 0), EINVAL);
  EXPECT_ERR(syscall(SYS_pkey_alloc, 0, 8), EINVAL);
}

TEST_F(Memory, ProtectionKeyFreeRefusal) {
  COVERS("pkey_free");
  for (int key : {-1, 15, 16}) EXPECT_ERR(syscall(SYS_pkey_free, key), EINVAL) << key;
}

TEST_F(Memory, ProtectionKeyOrNone) {
  COVERS("pkey_alloc");
  constexpr unsigned kOspke = 1 << 4;
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool processor = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & kOspke) != 0;
  const long key = syscall(SYS_pkey_alloc, 0, 0);
  if (key == -1) {
    EXPECT_EQ(errno, ENOSPC);
    return;
  }
  EXPECT_TRUE(processor);
  EXPECT_OK(syscall(SYS_pkey_free, key));
}

TEST_F(Memory, ExecutableCode) {
  COVERS("mmap", "mprotect");
  char* p = Map(1);
  const unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};  // mov $42,%eax; ret
  memcpy(p, code, sizeof code);
  ASSERT_OK(mprotect(p, kPage, PROT_READ | PROT_EXEC));
  EXPECT_EQ(reinterpret_cast<int (*)()>(p)(), 42);
  ASSERT_OK(mprotect(p, kPage, PROT_READ | PROT_WRITE));
  p[1] = 43;
  ASSERT_OK(mprotect(p, kPage, PROT_READ | PROT_EXEC));
  EXPECT_EQ(reinterpret_cast<int (*)()>(p)(), 43);
  munmap(p, kPage);
}

TEST_F(Memory, KernelAccessRespectsProtection) {
  COVERS("read", "write", "mprotect");
  char* p = Map(1);
  ASSERT_OK(mprotect(p, kPage, PROT_READ));
  EXPECT_ERR(read(fd_, p, 10), EFAULT);
  ASSERT_OK(mprotect(p, kPage, PROT_NONE));
  EXPECT_ERR(write(fd_, p, 10), EFAULT);
  munmap(p, kPage);
  EXPECT_ERR(write(fd_, p, 10), EFAULT);
}

TEST_F(Memory, MremapGrowAndShrink) {
  COVERS("mremap");
  char* p = Map(4);
  memset(p, 'a', 4 * kPage);
  EXPECT_RET(mremap(p, 4 * kPage, 2 * kPage, 0), p);
  EXPECT_RET(mremap(p, 2 * kPage, 3 * kPage, 0), p);  // into the hole just made
  EXPECT_EQ(p[kPage], 'a');
  EXPECT_EQ(p[2 * kPage], 0);
  char* q = static_cast<char*>(mremap(p, 3 * kPage, 1000 * kPage, MREMAP_MAYMOVE));
  ASSERT_NE(q, MAP_FAILED);
  EXPECT_EQ(q[0], 'a');
  EXPECT_EQ(q[2 * kPage - 1], 'a');
  EXPECT_EQ(q[999 * kPage], 0);
  munmap(q, 1000 * kPage);
}

TEST_F(Memory, MremapNoRoom) {
  COVERS("mremap");
  char* p = Map(3);
  EXPECT_ERR(mremap(p, kPage, 2 * kPage, 0), ENOMEM);
  EXPECT_ERR(mremap(p + 1, kPage, kPage, 0), EINVAL);
  EXPECT_ERR(mremap(p, kPage, 0, 0), EINVAL);
  EXPECT_ERR(mremap(p, kPage, kPage, 64), EINVAL);
  EXPECT_ERR(mremap(p, kPage, kPage, MREMAP_FIXED), EINVAL);
  munmap(p, 3 * kPage);
  EXPECT_ERR(mremap(p, kPage, 2 * kPage, MREMAP_MAYMOVE), EFAULT);
}

TEST_F(Memory, MremapFixed) {
  COVERS("mremap");
  char* p = Map(2);
  char* target = Map(4);
  memset(p, 'm', 2 * kPage);
  memset(target, 't', 4 * kPage);
  EXPECT_RET(mremap(p, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target + kPage),
             target + kPage);
  EXPECT_EQ(target[0], 't');
  EXPECT_EQ(target[kPage], 'm');
  EXPECT_EQ(target[3 * kPage], 't');
  EXPECT_ERR(msync(p, kPage, MS_ASYNC), ENOMEM);  // the old place is free
  EXPECT_ERR(mremap(target, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target + kPage),
             EINVAL);
  munmap(target, 4 * kPage);
}

TEST_F(Memory, MremapOfSharedMemory) {
  COVERS("mremap");
  char* p = Map(1, PROT_READ | PROT_WRITE, MAP_SHARED, fd_);
  char* q = static_cast<char*>(mremap(p, kPage, 3 * kPage, MREMAP_MAYMOVE));
  ASSERT_NE(q, MAP_FAILED);
  EXPECT_EQ(q[2 * kPage], '2');
  // An old size of zero duplicates a shared mapping.
  char* d = static_cast<char*>(mremap(q, 0, kPage, MREMAP_MAYMOVE));
  ASSERT_NE(d, MAP_FAILED);
  d[7] = 'D';
  EXPECT_EQ(q[7], 'D');
  munmap(q, 3 * kPage);
  munmap(d, kPage);
  char* priv = Map(1);
  EXPECT_ERR(mremap(priv, 0, kPage, MREMAP_MAYMOVE), EINVAL);
  munmap(priv, kPage);
}

TEST_F(Memory, MremapDontUnmap) {
  COVERS("mremap");
  char* p = Map(1);
  p[0] = 'x';
  // Directly: glibc passes an undefined new address, which the kernel takes for a hint here.
  long r = syscall(SYS_mremap, p, kPage, kPage, MREMAP_MAYMOVE | 4, 0);
  ASSERT_OK(r);
  char* q = reinterpret_cast<char*>(r);
  EXPECT_EQ(q[0], 'x');
  EXPECT_EQ(p[0], 0);
  munmap(p, kPage);
  munmap(q, kPage);
}

TEST_F(Memory, MadviseDontneed) {
  COVERS("madvise");
  char* p = Map(2);
  memset(p, 'a', 2 * kPage);
  EXPECT_OK(madvise(p, kPage, MADV_DONTNEED));
  EXPECT_EQ(p[0], 0);
  EXPECT_EQ(p[kPage], 'a');
  munmap(p, 2 * kPage);
  char* f = Map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd_);
  f[0] = 'X';
  EXPECT_OK(madvise(f, kPage, MADV_DONTNEED));
  EXPECT_EQ(f[0], '0');  // the file's content again
  munmap(f, kPage);
}

TEST_F(Memory, MadviseOthers) {
  COVERS("madvise");
  char* p = Map(3);
  for (int advice : {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_FREE,
                     MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP}) {
    EXPECT_OK(madvise(p, kPage, advice)) << advice;
  }
  EXPECT_OK(madvise(p, 0, MADV_DONTNEED));
  EXPECT_ERR(madvise(p, kPage, 9999), EINVAL);
  EXPECT_ERR(madvise(p + 1, kPage, MADV_NORMAL), EINVAL);
  ASSERT_OK(munmap(p + kPage, kPage));
  EXPECT_ERR(madvise(p, 3 * kPage, MADV_DONTNEED), ENOMEM);
  munmap(p, 3 * kPage);
}

TEST_F(Memory, MadviseWipeOnForkAndDontFork) {
  COVERS("madvise", "fork");
  char* p = Map(2);
  p[0] = p[kPage] = 'x';
  ASSERT_OK(madvise(p, kPage, MADV_WIPEONFORK));
  ASSERT_OK(madvise(p + kPage, kPage, MADV_DONTFORK));
  EXPECT_CHILD([&] {
    CHILD_EQ(p[0], 0);
    CHILD_ERR(msync(p + kPage, kPage, MS_ASYNC), ENOMEM);
  });
  EXPECT_EQ(p[0], 'x');
  EXPECT_EQ(p[kPage], 'x');
  munmap(p, 2 * kPage);
}

TEST_F(Memory, MadviseRemovePunchesHole) {
  COVERS("madvise", "memfd_create");
  Fd m(memfd_create("hole", 0));
  ASSERT_OK(ftruncate(m, 2 * kPage));
  char* p = Map(2, PROT_READ | PROT_WRITE, MAP_SHARED, m);
  memset(p, 'h', 2 * kPage);
  EXPECT_OK(madvise(p, kPage, MADV_REMOVE));
  EXPECT_EQ(p[0], 0);
  char c = 'q';
  EXPECT_RET(pread(m, &c, 1, 0), 1);
  EXPECT_EQ(c, 0);
  EXPECT_EQ(p[kPage], 'h');
  munmap(p, 2 * kPage);
}

TEST_F(Memory, MsyncErrors) {
  COVERS("msync");
  char* p = Map(1);
  EXPECT_OK(msync(p, kPage, MS_ASYNC));
  EXPECT_OK(msync(p, 0, MS_SYNC));
  EXPECT_ERR(msync(p, kPage, MS_ASYNC | MS_SYNC), EINVAL);
  EXPECT_ERR(msync(p, kPage, 64), EINVAL);
  EXPECT_ERR(msync(p + 1, kPage, MS_SYNC), EINVAL);
  munmap(p, kPage);
  EXPECT_ERR(msync(p, kPage, MS_SYNC), ENOMEM);
}

TEST_F(Memory, Mincore) {
  COVERS("mincore");
  char* p = Map(2);
  p[0] = 1;
  unsigned char v[2] = {};
  EXPECT_OK(mincore(p, 2 * kPage, v));
  EXPECT_EQ(v[0] & 1, 1);
  EXPECT_ERR(mincore(p + 1, kPage, v), EINVAL);
  EXPECT_ERR(mincore(p, kPage, nullptr), EFAULT);
  munmap(p, 2 * kPage);
  EXPECT_ERR(mincore(p, kPage, v), ENOMEM);
}

TEST_F(Memory, Brk) {
  COVERS("brk");
  EXPECT_CHILD([] {
    // Above what malloc uses; nothing allocates in between.
    auto cur = reinterpret_cast<char*>(syscall(SYS_brk, 0));
    auto up = cur + 10 * kPage;
    CHILD_EQ(syscall(SYS_brk, up), reinterpret_cast<long>(up));
    CHILD_EQ(up[-1], 0);
    up[-1] = 'b';
    CHILD_EQ(syscall(SYS_brk, cur), reinterpret_cast<long>(cur));
    CHILD_EQ(syscall(SYS_brk, up), reinterpret_cast<long>(up));
    CHILD_EQ(up[-1], 0);
    CHILD_EQ(syscall(SYS_brk, 1), reinterpret_cast<long>(up));  // can't: unchanged
    CHILD_EQ(syscall(SYS_brk, -1), reinterpret_cast<long>(up));
    rlimit r{0, 0};
    CHILD_OK(setrlimit(RLIMIT_DATA, &r));
    CHILD_EQ(syscall(SYS_brk, up + kPage), reinterpret_cast<long>(up));
  });
}

TEST_F(Memory, SharedAnonymousAcrossFork) {
  COVERS("mmap", "fork");
  char* p = Map(2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  p[0] = 'p';
  EXPECT_CHILD([&] {
    CHILD_EQ(p[0], 'p');
    p[kPage] = 'c';
  });
  EXPECT_EQ(p[kPage], 'c');
  munmap(p, 2 * kPage);
}

TEST_F(Memory, CopyOnWriteAfterFork) {
  COVERS("fork", "mmap");
  char* p = Map(100);
  for (int i = 0; i < 100; i++) p[i * kPage] = static_cast<char>(i);
  int up[2], down[2];
  ASSERT_OK(pipe(up));
  ASSERT_OK(pipe(down));
  pid_t pid = Spawn([&] {
    for (int i = 0; i < 50; i++) p[i * kPage] = 'C';
    char c = 'r';
    if (write(up[1], &c, 1) != 1) return 1;
    if (read(down[0], &c, 1) != 1) return 2;
    for (int i = 0; i < 50; i++) {
      if (p[i * kPage] != 'C') return 3;
    }
    for (int i = 50; i < 100; i++) {
      if (p[i * kPage] != i) return 4;  // the parent wrote these after the fork
    }
    return 0;
  });
  char c;
  ASSERT_RET(read(up[0], &c, 1), 1);
  for (int i = 0; i < 50; i++) EXPECT_EQ(p[i * kPage], i);
  for (int i = 50; i < 100; i++) p[i * kPage] = 'P';
  ASSERT_RET(write(down[1], &c, 1), 1);
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  for (int i = 50; i < 100; i++) EXPECT_EQ(p[i * kPage], 'P');
  munmap(p, 100 * kPage);
  for (int fd : {up[0], up[1], down[0], down[1]}) close(fd);
}

TEST_F(Memory, ForkGenerations) {
  COVERS("fork");
  // Each generation changes one page and forks on; every one sees exactly its ancestors' writes.
  char* p = Map(8);
  EXPECT_CHILD([&] {
    for (int g = 0; g < 8; g++) {
      for (int i = 0; i < 8; i++) CHILD_EQ(p[i * kPage], i < g ? 'a' + i : 0);
      p[g * kPage] = static_cast<char>('a' + g);
      pid_t pid = fork();
      CHILD_OK(pid);
      if (pid > 0) {
        int status = 0;
        CHILD_RET(waitpid(pid, &status, 0), pid);
        CHILD_EQ(status, 0);
        for (int i = 0; i < 8; i++) CHILD_EQ(p[i * kPage], i <= g ? 'a' + i : 0);
        return;
      }
    }
  });
  EXPECT_EQ(p[0], 0);
  munmap(p, 8 * kPage);
}

TEST_F(Memory, MemfdBasics) {
  COVERS("memfd_create", "ftruncate", "mmap");
  Fd m(memfd_create("name", MFD_CLOEXEC));
  ASSERT_GE(m.get(), 0);
  EXPECT_RET(fcntl(m, F_GETFD), FD_CLOEXEC);
  struct stat st {};
  EXPECT_OK(fstat(m, &st));
  EXPECT_EQ(st.st_mode, S_IFREG | 0777u);
  EXPECT_EQ(st.st_size, 0);
  EXPECT_EQ(st.st_nlink, 0u);
  EXPECT_RET(write(m, "data", 4), 4);
  char link[64] = {};
  EXPECT_GT(readlink(("/proc/self/fd/" + std::to_string(m.get())).c_str(), link, 63), 0);
  EXPECT_STREQ(link, "/memfd:name (deleted)");
  EXPECT_ERR(memfd_create("x", 0x100), EINVAL);
  EXPECT_ERR(memfd_create(std::string(250, 'x').c_str(), 0), EINVAL);
  EXPECT_ERR(memfd_create(nullptr, 0), EFAULT);
  Fd ok(memfd_create(std::string(249, 'x').c_str(), 0));
  EXPECT_GE(ok.get(), 0);
}

TEST_F(Memory, LockCalls) {
  COVERS("mlock", "munlock", "mlock2", "mlockall", "munlockall");
  char* p = Map(2);
  EXPECT_OK(mlock(p, kPage));
  EXPECT_OK(munlock(p, kPage));
  EXPECT_OK(mlock2(p, kPage, MLOCK_ONFAULT));
  EXPECT_ERR(mlock2(p, kPage, 8), EINVAL);
  EXPECT_ERR(mlockall(0), EINVAL);
  EXPECT_ERR(mlockall(64), EINVAL);
  EXPECT_OK(munlockall());
  munmap(p, 2 * kPage);
  EXPECT_ERR(mlock(p, kPage), ENOMEM);
}

TEST_F(Memory, AddressSpaceLimit) {
  COVERS("mmap", "setrlimit");
  EXPECT_CHILD([] {
    rlimit r{size_t{1} << 30, size_t{1} << 30};
    CHILD_OK(setrlimit(RLIMIT_AS, &r));
    CHILD_ERR(mmap(nullptr, size_t{2} << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
              ENOMEM);
  });
}

TEST_F(Memory, ManyMappings) {
  COVERS("mmap", "mprotect", "munmap");
  char* p = Map(2000);
  for (int i = 0; i < 2000; i += 2) {
    ASSERT_OK(mprotect(p + i * kPage, kPage, PROT_READ));
  }
  for (int i = 1; i < 2000; i += 2) p[i * kPage] = 1;
  for (int i = 0; i < 2000; i += 2) ASSERT_EQ(p[i * kPage], 0);
  EXPECT_OK(mprotect(p, 2000 * kPage, PROT_READ | PROT_WRITE));
  p[0] = 1;
  EXPECT_OK(munmap(p, 2000 * kPage));
}

TEST_F(Memory, RemapFilePages) {
  COVERS("remap_file_pages");
  char* p = Map(3, PROT_READ | PROT_WRITE, MAP_SHARED, fd_);
  ASSERT_NE(p, MAP_FAILED);
  EXPECT_OK(remap_file_pages(p, kPage, 0, 2, 0));
  EXPECT_EQ(p[0], '2');
  EXPECT_EQ(p[kPage], '1');
  p[0] = 'R';
  EXPECT_EQ(p[2 * kPage], 'R');
  EXPECT_ERR(remap_file_pages(p, kPage, PROT_READ, 0, 0), EINVAL);
  EXPECT_ERR(remap_file_pages(p, 0, 0, 0, 0), EINVAL);
  EXPECT_ERR(remap_file_pages(p + 2 * kPage, 8 * kPage, 0, 0, 0), EINVAL);
  munmap(p, 3 * kPage);
  char* q = Map(2);
  EXPECT_ERR(remap_file_pages(q, kPage, 0, 1, 0), EINVAL);  // not shared
  munmap(q, 2 * kPage);
}

TEST_F(Memory, ProcessVmReadWrite) {
  COVERS("process_vm_readv", "process_vm_writev");
  static volatile char value = 'v';
  char got = 0;
  iovec l{&got, 1}, r{const_cast<char*>(&value), 1};
  EXPECT_RET(process_vm_readv(getpid(), &l, 1, &r, 1, 0), 1);
  EXPECT_EQ(got, 'v');
  got = 'w';
  EXPECT_RET(process_vm_writev(getpid(), &l, 1, &r, 1, 0), 1);
  EXPECT_EQ(value, 'w');
  EXPECT_ERR(process_vm_readv(getpid(), &l, 1, &r, 1, 1), EINVAL);
  EXPECT_ERR(process_vm_readv(0x7ffffff0, &l, 1, &r, 1, 0), ESRCH);
  iovec bad{reinterpret_cast<void*>(8), 1};
  EXPECT_ERR(process_vm_readv(getpid(), &l, 1, &bad, 1, 0), EFAULT);
}

}  // namespace
