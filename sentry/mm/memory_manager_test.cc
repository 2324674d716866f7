#include "sentry/mm/memory_manager.h"

#include <gtest/gtest.h>

#include <cstring>

#include "platform/host/safe_copy.h"
#include "sentry/mm/fake_platform.h"
#include "sentry/mm/io_buffer.h"
#include "syscalls/abi/mman.h"

namespace sentry {
namespace {

using abi::Errno;
using platform::kProtExec;
using platform::kProtRead;
using platform::kProtWrite;
constexpr uint8_t kRw = kProtRead | kProtWrite;
constexpr uint64_t kP = kPageSize;

// A file of the given bytes in one memory file.
class TestFile : public Mappable {
 public:
  explicit TestFile(uint64_t size, uint64_t room = 1 << 20)
      : file_(std::move(MemoryFile::Create(room)).value()), size_(size) {
    for (uint64_t i = 0; i < size; i++) {
      uint8_t b = static_cast<uint8_t>(i / kP + 1);
      host::Pwrite(file_->fd(), &b, 1, i);
      if (i % kP == 8) i += kP - 9;
    }
    host::Ftruncate(file_->fd(), static_cast<int64_t>(size));
  }
  base::Result<Extent> Translate(uint64_t offset, uint64_t len, bool) override {
    return Extent{file_, offset, len};
  }
  uint64_t size() override { return size_; }
  void OnMap(uint64_t len, bool) override { mapped += len; }
  void OnUnmap(uint64_t len, bool) override { mapped -= len; }
  void Resize(uint64_t size) {
    size_ = size;
    host::Ftruncate(file_->fd(), static_cast<int64_t>(size));
  }
  uint64_t mapped = 0;
  base::Ref<MemoryFile> file_;

 private:
  uint64_t size_;
};

class MmTest : public testing::Test {
 protected:
  void SetUp() override {
    host::InstallFaultHandler();
    mm = std::move(MemoryManager::Create(platform)).value();
    as = platform.spaces.back().get();
  }
  uint64_t Map(uint64_t len, uint8_t prot = kRw, uint64_t at = 0) {
    MmapArgs a;
    a.addr = at;
    a.fixed = at != 0;
    a.len = len;
    a.prot = prot;
    return mm->Mmap(a).value();
  }
  uint64_t MapFile(base::Ref<Mappable> f, uint64_t len, uint8_t prot, bool shared,
                   uint64_t offset = 0) {
    MmapArgs a;
    a.len = len;
    a.prot = prot;
    a.shared = shared;
    a.mappable = std::move(f);
    a.offset = offset;
    return mm->Mmap(a).value();
  }
  FakePlatform platform;
  base::Ref<MemoryManager> mm;
  FakeAddressSpace* as;
  FakeThread thread;
};

TEST_F(MmTest, AnonymousIsMappedWholeAndZero) {
  uint64_t a = Map(1 << 20);
  FakeGuest guest(*mm);
  EXPECT_EQ(as->maps, 1);
  EXPECT_EQ(guest.Read(a + 12345), 0);
  EXPECT_TRUE(guest.Write(a, 7));
  EXPECT_EQ(guest.faults, 0);
  uint8_t b = 0;
  EXPECT_TRUE(mm->CopyIn(&b, UserAddr{a}, 1).ok());
  EXPECT_EQ(b, 7);
}

TEST_F(MmTest, NeighboursAreOneHostMapping) {
  uint64_t a = Map(65536), b = Map(65536), c = Map(65536);
  EXPECT_EQ(b + 65536, a);
  EXPECT_EQ(c + 65536, b);
  EXPECT_EQ(as->Runs(), 1u);
  EXPECT_EQ(mm->Vmas().size(), 1u);
}

TEST_F(MmTest, HeapIsOneHostMapping) {
  mm->InitBrk(0x5000000);
  for (int i = 1; i <= 10; i++) {
    EXPECT_EQ(mm->Brk(0x5000000 + i * 0x21000), 0x5000000u + i * 0x21000);
    Map(4 * kP);
  }
  EXPECT_EQ(mm->Brk(0), 0x5000000u + 10 * 0x21000);
  EXPECT_EQ(as->Runs(), 2u);
  FakeGuest guest(*mm);
  EXPECT_TRUE(guest.Write(0x5000000 + 0x21000, 3));
  EXPECT_EQ(mm->Brk(0x5000000), 0x5000000u);
  EXPECT_EQ(guest.Read(0x5000000 + 0x21000), -1);
  mm->Brk(0x5000000 + 0x40000);
  EXPECT_EQ(guest.Read(0x5000000 + 0x21000), 0);
}

TEST_F(MmTest, ArgumentErrors) {
  MmapArgs a;
  EXPECT_TRUE(mm->Mmap(a).is(Errno::kEINVAL));
  a.len = UINT64_MAX;
  EXPECT_TRUE(mm->Mmap(a).is(Errno::kENOMEM));
  a.len = kP;
  a.fixed = true;
  a.addr = 0x12345;
  EXPECT_TRUE(mm->Mmap(a).is(Errno::kEINVAL));
  a.addr = 0x1000;
  EXPECT_TRUE(mm->Mmap(a).is(Errno::kEPERM));
  a.addr = 0x7ffffffff000;
  EXPECT_TRUE(mm->Mmap(a).is(Errno::kENOMEM));
  a.addr = Map(kP);
  a.fixed = false;
  a.fixed_noreplace = true;
  EXPECT_TRUE(mm->Mmap(a).is(Errno::kEEXIST));
  EXPECT_TRUE(mm->Munmap(a.addr + 1, kP).is(Errno::kEINVAL));
  EXPECT_TRUE(mm->Munmap(a.addr, 0).is(Errno::kEINVAL));
  EXPECT_TRUE(mm->Munmap(a.addr, UINT64_MAX - kP).is(Errno::kEINVAL));
  EXPECT_TRUE(mm->Mprotect(a.addr + 1, kP, 0).is(Errno::kEINVAL));
  EXPECT_TRUE(mm->Mprotect(a.addr, 2 * kP + UINT64_MAX / 2, 0).is(Errno::kENOMEM));
}

TEST_F(MmTest, ReservationsCommitInPlace) {
  uint64_t a = Map(64 << 20, 0);
  EXPECT_EQ(as->maps, 0);
  for (int i = 0; i < 16; i++) EXPECT_TRUE(mm->Mprotect(a + i * 0x21000, 0x21000, kRw).ok());
  EXPECT_EQ(as->Runs(), 1u);
  // Other memory in between does not break the run.
  for (int i = 16; i < 20; i++) {
    Map(8 * kP, kProtRead);
    Map(0x21000, kRw, a + i * 0x21000);
  }
  EXPECT_EQ(mm->Vmas().size(), 3u);
  EXPECT_EQ(as->Runs(), 2u);
  FakeGuest guest(*mm);
  EXPECT_TRUE(guest.Write(a + 5, 9));
  Map(kP, kRw, a);
  EXPECT_EQ(guest.Read(a + 5), 0);
}

TEST_F(MmTest, Protections) {
  uint64_t a = Map(8 * kP);
  FakeGuest guest(*mm);
  EXPECT_TRUE(guest.Write(a + 2 * kP, 1));
  EXPECT_TRUE(mm->Mprotect(a + 2 * kP, kP, kProtRead).ok());
  EXPECT_FALSE(guest.Write(a + 2 * kP, 2));
  EXPECT_EQ(guest.err.signo, 11);
  EXPECT_EQ(guest.err.code, 2);
  EXPECT_EQ(guest.Read(a + 2 * kP), 1);
  EXPECT_TRUE(mm->CopyOut(UserAddr{a + 2 * kP}, "x", 1).is(Errno::kEFAULT));
  EXPECT_TRUE(mm->Mprotect(a + 2 * kP, kP, 0).ok());
  EXPECT_EQ(guest.Read(a + 2 * kP), -1);
  char c;
  EXPECT_TRUE(mm->CopyIn(&c, UserAddr{a + 2 * kP}, 1).is(Errno::kEFAULT));
  EXPECT_EQ(mm->CopyForced(UserAddr{a + 2 * kP}, &c, 1, false), 1u);
  EXPECT_EQ(c, 1);
  EXPECT_TRUE(mm->Mprotect(a + 2 * kP, kP, kRw).ok());
  EXPECT_EQ(guest.Read(a + 2 * kP), 1);
  EXPECT_EQ(mm->Vmas().size(), 1u);
  // A hole: what comes before it is changed.
  EXPECT_TRUE(mm->Munmap(a + 4 * kP, kP).ok());
  EXPECT_TRUE(mm->Mprotect(a, 8 * kP, kProtRead).is(Errno::kENOMEM));
  EXPECT_FALSE(guest.Write(a + 3 * kP, 2));
  EXPECT_TRUE(guest.Write(a + 5 * kP, 2));
  EXPECT_FALSE(guest.Write(a + 4 * kP, 2));
  EXPECT_EQ(guest.err.code, 1);
}

TEST_F(MmTest, CopiesAcrossPiecesAndHoles) {
  uint64_t a = Map(3 * kP, kRw, 0x10000000);
  Map(3 * kP, kRw, a + 3 * kP);
  std::string s(6 * kP, 0);
  for (size_t i = 0; i < s.size(); i++) s[i] = static_cast<char>(i * 31);
  EXPECT_TRUE(mm->CopyOut(UserAddr{a}, s.data(), s.size()).ok());
  std::string t(6 * kP, 0);
  EXPECT_TRUE(mm->CopyIn(t.data(), UserAddr{a}, t.size()).ok());
  EXPECT_EQ(s, t);
  EXPECT_EQ(mm->CopyInPartial(t.data(), UserAddr{a + 5 * kP + 10}, 2 * kP), kP - 10);
  EXPECT_EQ(mm->ZeroPartial(UserAddr{a + 5 * kP + 10}, 2 * kP), kP - 10);
  EXPECT_EQ(mm->CopyInPartial(t.data(), UserAddr{UINT64_MAX - 5}, 100), 0u);
  EXPECT_EQ(mm->CopyInPartial(t.data(), UserAddr{0}, 100), 0u);
  EXPECT_TRUE(mm->CopyOut(UserAddr{a + 2 * kP - 3}, "hello", 6).ok());
  EXPECT_EQ(*mm->CopyInString(UserAddr{a + 2 * kP - 3}, 100), "hello");
  EXPECT_TRUE(mm->CopyInString(UserAddr{a + 2 * kP - 3}, 5).is(Errno::kENAMETOOLONG));
  EXPECT_TRUE(mm->CopyOut(UserAddr{a + 6 * kP - 2}, "zz", 2).ok());
  EXPECT_TRUE(mm->CopyInString(UserAddr{a + 6 * kP - 2}, 5).is(Errno::kEFAULT));
  HostIov iov[4];
  std::vector<base::Ref<base::RefCounted>> pins;
  size_t n = mm->Blocks(UserAddr{a}, 100 * kP, true, iov, 4, &pins);
  size_t bytes = 0;
  for (size_t i = 0; i < n; i++) bytes += iov[i].len;
  EXPECT_EQ(bytes, 6 * kP);
}

TEST_F(MmTest, IoBufferWalksAndRewinds) {
  uint64_t a = Map(2 * kP);
  UserSegment seg[3] = {{UserAddr{a}, 3}, {UserAddr{a + 10}, 0}, {UserAddr{a + 20}, 4}};
  IoBuffer b = IoBuffer::UserVec(*mm, seg);
  auto mark = b.mark();
  EXPECT_EQ(b.CopyTo("abcdefghi", 9), 7u);
  EXPECT_EQ(b.remaining(), 0u);
  b.Rewind(mark);
  char out[8] = {};
  EXPECT_EQ(b.PeekFrom(out, 8), 7u);
  EXPECT_STREQ(out, "abcdefg");
  EXPECT_EQ(b.CopyFrom(out, 2), 2u);
  HostIov iov[3];
  ASSERT_EQ(b.HostVec(false, iov, 3), 2u);
  EXPECT_EQ(iov[0].len, 1u);
  EXPECT_EQ(*static_cast<char*>(iov[1].base), 'd');
  b.Consume(3);
  EXPECT_EQ(b.remaining(), 2u);
  IoBuffer bad = IoBuffer::User(*mm, UserAddr{a + 2 * kP - 1}, 4);
  EXPECT_EQ(bad.CopyTo("abcd", 4), 1u);
  EXPECT_TRUE(bad.faulted());
}

TEST_F(MmTest, PrivateFilesAreCopiedBeforeWrites) {
  auto f = base::MakeRef<TestFile>(100 * kP);
  uint64_t a = MapFile(f, 100 * kP, kRw, false);
  FakeGuest guest(*mm);
  EXPECT_EQ(guest.Read(a + 40 * kP), 41);
  EXPECT_EQ(guest.faults, 0);
  EXPECT_TRUE(guest.Write(a + 40 * kP, 99));
  EXPECT_EQ(guest.faults, 1);
  EXPECT_TRUE(guest.Write(a + 41 * kP, 98));
  EXPECT_EQ(guest.faults, 1);  // copied along
  EXPECT_EQ(guest.Read(a + 42 * kP), 43);
  uint8_t b;
  host::Pread(f->file_->fd(), &b, 1, 40 * kP);
  EXPECT_EQ(b, 41);
  // MADV_DONTNEED shows the file again.
  EXPECT_TRUE(mm->Madvise(a, 100 * kP, abi::kMADV_DONTNEED).ok());
  EXPECT_EQ(guest.Read(a + 40 * kP), 41);
  EXPECT_EQ(f->mapped, 100 * kP);
  EXPECT_TRUE(mm->Munmap(a, 50 * kP).ok());
  EXPECT_EQ(f->mapped, 50 * kP);
  mm.reset();
  EXPECT_EQ(f->mapped, 0u);
}

TEST_F(MmTest, SmallDataSegmentsAreCopiedAtOnce) {
  auto f = base::MakeRef<TestFile>(3 * kP + 100);
  uint64_t a = MapFile(f, 4 * kP, kRw, false);
  FakeGuest guest(*mm);
  EXPECT_TRUE(guest.Write(a + kP, 50));
  EXPECT_EQ(guest.Read(a + 3 * kP), 4);
  EXPECT_EQ(guest.Read(a + 3 * kP + 200), 0);
  EXPECT_EQ(guest.faults, 0);
}

TEST_F(MmTest, BeyondTheEndOfFile) {
  auto f = base::MakeRef<TestFile>(2 * kP + 10);
  uint64_t a = MapFile(f, 8 * kP, kRw, true);
  FakeGuest guest(*mm);
  EXPECT_EQ(guest.Read(a + 2 * kP), 3);
  EXPECT_EQ(guest.Read(a + 3 * kP), -1);
  EXPECT_EQ(guest.err.signo, 7);
  EXPECT_EQ(guest.err.code, 2);
  char c;
  EXPECT_FALSE(mm->CopyIn(&c, UserAddr{a + 3 * kP}, 1).ok());
  f->Resize(4 * kP);
  EXPECT_EQ(guest.Read(a + 3 * kP), 0);
  EXPECT_TRUE(guest.Write(a + 3 * kP, 5));
  f->Resize(kP);
  EXPECT_EQ(guest.Read(a + 3 * kP), -1);
  EXPECT_EQ(guest.err.signo, 7);
}

TEST_F(MmTest, ForkCopiesOnWrite) {
  uint64_t a = Map(1 << 20), ro = Map(4 * kP, kProtRead);
  FakeGuest parent(*mm);
  EXPECT_TRUE(parent.Write(a, 1));
  EXPECT_TRUE(parent.Write(a + 0x80000, 2));
  auto other = std::move(mm->Fork(thread)).value();
  FakeGuest child(*other);
  EXPECT_EQ(parent.Read(a), 1);
  EXPECT_EQ(child.Read(a), 1);
  EXPECT_EQ(child.Read(ro), 0);
  EXPECT_EQ(child.faults, 0);
  EXPECT_TRUE(child.Write(a, 10));
  EXPECT_TRUE(parent.Write(a, 20));
  EXPECT_EQ(child.Read(a), 10);
  EXPECT_EQ(parent.Read(a), 20);
  EXPECT_EQ(parent.faults, 1);
  EXPECT_EQ(child.Read(a + 0x80000), 2);
  EXPECT_TRUE(other->CopyOut(UserAddr{a + 0x80000}, "\x07", 1).ok());
  EXPECT_EQ(child.Read(a + 0x80000), 7);
  EXPECT_EQ(parent.Read(a + 0x80000), 2);
  EXPECT_FALSE(as->forgotten_in_use);
  // A grandchild sees both layers.
  auto third = std::move(other->Fork(thread)).value();
  FakeGuest grand(*third);
  EXPECT_EQ(grand.Read(a), 10);
  EXPECT_EQ(grand.Read(a + 0x80000), 7);
  EXPECT_EQ(grand.Read(a + 0x40000), 0);
  EXPECT_TRUE(grand.Write(a + 0x40000, 3));
  EXPECT_EQ(child.Read(a + 0x40000), 0);
}

TEST_F(MmTest, TheLastOwnerWritesInPlace) {
  uint64_t a = Map(1 << 20);
  FakeGuest parent(*mm);
  for (uint64_t i = 0; i < 1 << 20; i += kP) EXPECT_TRUE(parent.Write(a + i, 1));
  {
    auto other = std::move(mm->Fork(thread)).value();
    EXPECT_TRUE(parent.Write(a, 2));  // copies
  }
  EXPECT_TRUE(parent.Write(a + 0x80000, 3));
  EXPECT_EQ(parent.faults, 2);
  for (uint64_t i = 0; i < 1 << 20; i += kP) EXPECT_TRUE(parent.Write(a + i, 4));
  EXPECT_EQ(parent.faults, 2);
  // The replaced chunk was given back.
  EXPECT_EQ(mm->usage().resident, uint64_t{1} << 20);
  EXPECT_FALSE(as->forgotten_in_use);
}

TEST_F(MmTest, ForkCopiesAheadWhatTheLastOneWrote) {
  uint64_t p = Map(1 << 20);
  FakeGuest g(*mm);
  for (uint64_t at : {uint64_t{0}, uint64_t{512 << 10}}) ASSERT_TRUE(g.Write(p + at, 1));
  int here = 0, there = 0;
  for (uint8_t i = 0; i < 4; i++) {
    g.faults = 0;
    auto other = std::move(mm->Fork(thread)).value();
    FakeGuest o(*other);
    ASSERT_TRUE(g.Write(p, 2 + i) && o.Write(p + (512 << 10), 3 + i));
    EXPECT_EQ(o.Read(p), 1 + i);
    EXPECT_EQ(g.Read(p + (512 << 10)), 1);
    EXPECT_EQ(o.Read(p + (512 << 10)), 3 + i);
    // What both write, too: it is in the parent's last copy, which is the child's alone now.
    ASSERT_TRUE(o.Write(p, 99));
    EXPECT_EQ(g.Read(p), 2 + i);
    here = g.faults;
    there = o.faults;
  }
  EXPECT_EQ(here, 0);
  EXPECT_EQ(there, 0);
}

TEST_F(MmTest, WhoFillsLargeMappingsGetsHugePages) {
  constexpr uint64_t kLarge = 4 << 20;
  FakeGuest guest(*mm);
  uint64_t a = Map(kLarge);
  EXPECT_TRUE(guest.Write(a, 1));
  ASSERT_TRUE(mm->Munmap(a, kLarge).ok());
  a = Map(kLarge);
  EXPECT_FALSE(as->huge);
  for (uint64_t i = 0; i < kLarge; i += kP) ASSERT_TRUE(guest.Write(a + i, 1));
  ASSERT_TRUE(mm->Munmap(a, kLarge).ok());
  EXPECT_FALSE(as->huge);
  Map(1 << 20);
  EXPECT_FALSE(as->huge);
  a = Map(kLarge);
  EXPECT_TRUE(as->huge);
  EXPECT_EQ(guest.Read(a + kP), 0);
}

TEST_F(MmTest, HugePagesOnRequest) {
  uint64_t a = Map(8 << 20);
  EXPECT_TRUE(mm->Madvise(a, 8 << 20, uapi::kMADV_NOHUGEPAGE).ok());
  EXPECT_FALSE(as->huge);
  EXPECT_TRUE(mm->Madvise(a + (2 << 20), 2 << 20, uapi::kMADV_HUGEPAGE).ok());
  EXPECT_TRUE(as->huge);
  EXPECT_EQ(mm->Vmas().size(), 1u);
}

TEST_F(MmTest, ForkedFilesStayBounded) {
  uint64_t a = Map(1 << 20);
  FakeGuest parent(*mm);
  for (int i = 0; i < 200; i++) {
    auto other = std::move(mm->Fork(thread)).value();
    FakeGuest child(*other);
    EXPECT_TRUE(parent.Write(a + 0x1000, static_cast<uint8_t>(i)));
    EXPECT_TRUE(child.Write(a, 1));
    other.reset();
    EXPECT_TRUE(parent.Write(a + 0x90000, 1));
    platform.spaces.resize(1);
  }
  EXPECT_LE(as->Runs(), 8u);
}

TEST_F(MmTest, SharedAnonymousStaysSharedAcrossFork) {
  MmapArgs args;
  args.len = 4 * kP;
  args.prot = kRw;
  args.shared = true;
  uint64_t a = mm->Mmap(args).value();
  auto other = std::move(mm->Fork(thread)).value();
  FakeGuest parent(*mm), child(*other);
  EXPECT_TRUE(parent.Write(a, 5));
  EXPECT_EQ(child.Read(a), 5);
  auto k1 = mm->SharedFutexKey(UserAddr{a}), k2 = other->SharedFutexKey(UserAddr{a});
  EXPECT_TRUE(*k1 == *k2);
  EXPECT_TRUE(mm->Madvise(a, kP, abi::kMADV_REMOVE).ok());
  EXPECT_EQ(child.Read(a), 0);
}

TEST_F(MmTest, ForkAdvice) {
  uint64_t a = Map(kP, kRw, 0x20000000), b = Map(kP, kRw, 0x20010000);
  FakeGuest parent(*mm);
  parent.Write(a, 1), parent.Write(b, 1);
  EXPECT_TRUE(mm->Madvise(a, kP, abi::kMADV_DONTFORK).ok());
  EXPECT_TRUE(mm->Madvise(b, kP, abi::kMADV_WIPEONFORK).ok());
  auto other = std::move(mm->Fork(thread)).value();
  FakeGuest child(*other);
  EXPECT_EQ(child.Read(a), -1);
  EXPECT_EQ(child.Read(b), 0);
  EXPECT_EQ(parent.Read(b), 1);
}

TEST_F(MmTest, StackGrows) {
  MmapArgs args;
  args.addr = 0x7ffff0000000;
  args.fixed = true;
  args.len = 4 * kP;
  args.prot = kRw;
  args.grows_down = true;
  args.special_name = "[stack]";
  uint64_t a = mm->Mmap(args).value();
  FakeGuest guest(*mm);
  EXPECT_TRUE(guest.Write(a - 100, 1));
  EXPECT_TRUE(guest.Write(a - (1 << 20), 2));
  EXPECT_EQ(as->Runs(), 1u);
  EXPECT_TRUE(mm->CopyOut(UserAddr{a - (2 << 20)}, "x", 1).ok());
  EXPECT_FALSE(guest.Write(a - (9 << 20), 1));  // RLIMIT_STACK
  EXPECT_EQ(guest.err.code, 1);
  // The guard gap below.
  uint64_t low = mm->Vmas()[0].start;
  Map(kP, kRw, low - (1 << 20) - 5 * kP);
  EXPECT_TRUE(guest.Write(low - kP, 1));
  EXPECT_FALSE(guest.Write(low - (1 << 20) + kP, 1));
}

TEST_F(MmTest, DontNeedZeroes) {
  uint64_t a = Map(16 * kP);
  FakeGuest guest(*mm);
  for (int i = 0; i < 16; i++) guest.Write(a + i * kP, 1);
  EXPECT_EQ(mm->usage().resident, 16 * kP);
  EXPECT_TRUE(mm->Madvise(a + kP, 4 * kP, abi::kMADV_DONTNEED).ok());
  EXPECT_EQ(mm->usage().resident, 12 * kP);
  EXPECT_EQ(guest.Read(a + kP), 0);
  EXPECT_EQ(guest.Read(a + 5 * kP), 1);
  auto other = std::move(mm->Fork(thread)).value();
  EXPECT_TRUE(mm->Madvise(a, 8 * kP, abi::kMADV_DONTNEED).ok());
  EXPECT_EQ(guest.Read(a + 5 * kP), 0);
  EXPECT_EQ(FakeGuest(*other).Read(a + 5 * kP), 1);
  EXPECT_TRUE(mm->Madvise(a, kP, 4711).is(Errno::kEINVAL));
  EXPECT_TRUE(mm->Madvise(0x10000, kP, abi::kMADV_DONTNEED).is(Errno::kENOMEM));
}

TEST_F(MmTest, Mincore) {
  uint64_t a = Map(8 * kP);
  FakeGuest guest(*mm);
  guest.Write(a + 2 * kP, 1);
  guest.Write(a + 5 * kP, 1);
  std::vector<uint8_t> v;
  EXPECT_TRUE(mm->Mincore(a, 8 * kP, &v).ok());
  EXPECT_EQ(v, (std::vector<uint8_t>{0, 0, 1, 0, 0, 1, 0, 0}));
  EXPECT_TRUE(mm->Mincore(a - kP, 8 * kP, &v).is(Errno::kENOMEM));
}

TEST_F(MmTest, MremapGrowsMovesAndShrinks) {
  uint64_t guard = Map(kP, 0);
  (void)guard;
  uint64_t a = Map(4 * kP, kRw, 0x30000000);
  FakeGuest guest(*mm);
  guest.Write(a, 1), guest.Write(a + 3 * kP, 4);
  EXPECT_EQ(*mm->Mremap(a, 4 * kP, 8 * kP, 0, 0), a);
  EXPECT_TRUE(guest.Write(a + 7 * kP, 8));
  Map(kP, kRw, a + 8 * kP);
  EXPECT_TRUE(mm->Mremap(a, 8 * kP, 16 * kP, 0, 0).is(Errno::kENOMEM));
  uint64_t b = *mm->Mremap(a, 8 * kP, 16 * kP, abi::kMREMAP_MAYMOVE, 0);
  EXPECT_NE(a, b);
  EXPECT_EQ(guest.Read(b), 1);
  EXPECT_EQ(guest.Read(b + 7 * kP), 8);
  EXPECT_EQ(guest.Read(b + 15 * kP), 0);
  EXPECT_EQ(guest.Read(a), -1);
  // What comes to the old place has pages of its own.
  Map(8 * kP, kRw, a);
  EXPECT_EQ(guest.Read(a), 0);
  EXPECT_TRUE(guest.Write(a, 77));
  EXPECT_EQ(guest.Read(b), 1);
  EXPECT_EQ(*mm->Mremap(b, 16 * kP, kP, 0, 0), b);
  EXPECT_EQ(guest.Read(b + kP), -1);
  uint64_t c = *mm->Mremap(b, kP, kP, abi::kMREMAP_MAYMOVE | abi::kMREMAP_DONTUNMAP, 0);
  EXPECT_EQ(guest.Read(c), 1);
  EXPECT_EQ(guest.Read(b), 0);
  EXPECT_EQ(*mm->Mremap(c, kP, kP, abi::kMREMAP_MAYMOVE | abi::kMREMAP_FIXED, 0x40000000),
            0x40000000u);
  EXPECT_EQ(guest.Read(0x40000000), 1);
  EXPECT_TRUE(mm->Mremap(0x50000000, kP, 2 * kP, 0, 0).is(Errno::kEFAULT));
  EXPECT_TRUE(mm->Mremap(a, 0, kP, abi::kMREMAP_MAYMOVE, 0).is(Errno::kEINVAL));
}

TEST_F(MmTest, Limits) {
  mm->limits.as = 1 << 20;
  MmapArgs args;
  args.len = 2 << 20;
  args.prot = kRw;
  EXPECT_TRUE(mm->Mmap(args).is(Errno::kENOMEM));
  mm->limits.as = UINT64_MAX;
  mm->limits.data = 1 << 20;
  EXPECT_TRUE(mm->Mmap(args).is(Errno::kENOMEM));
  args.prot = kProtRead;
  uint64_t a = mm->Mmap(args).value();
  EXPECT_TRUE(mm->Mprotect(a, 2 << 20, kRw).is(Errno::kENOMEM));
  mm->limits.memlock = kP;
  EXPECT_TRUE(mm->Mlock(a, 2 * kP, true, false).is(Errno::kENOMEM));
  EXPECT_TRUE(mm->Mlock(a, kP, true, false).ok());
  EXPECT_EQ(mm->usage().locked, kP);
  EXPECT_TRUE(mm->Madvise(a, kP, abi::kMADV_DONTNEED).is(Errno::kEINVAL));
  EXPECT_TRUE(mm->Mlock(a, kP, false, false).ok());
  EXPECT_EQ(mm->usage().locked, 0u);
  EXPECT_EQ(mm->Vmas().size(), 1u);
}

TEST_F(MmTest, MapCountLimit) {
  uint64_t a = Map(uint64_t{140000} * kP, kProtRead);
  base::Result<void> r;
  size_t n = 0;
  while ((r = mm->Mprotect(a + n * 2 * kP, kP, kProtRead | kProtExec)).ok()) n++;
  EXPECT_TRUE(r.is(Errno::kENOMEM));
  EXPECT_LE(mm->Vmas().size(), kMaxMapCount);
  EXPECT_GT(mm->Vmas().size(), kMaxMapCount - 4);
  EXPECT_TRUE(mm->Munmap(a + 139990 * kP, kP).is(Errno::kENOMEM));
}

TEST_F(MmTest, RandomOperationsAgainstAModel) {
  // One megabyte of pages, each either unmapped or holding a value; fork children must keep theirs.
  constexpr uint64_t kBase = 0x60000000;
  constexpr int kPages = 256;
  std::vector<int> model(kPages, -1);
  struct Old {
    base::Ref<MemoryManager> mm;
    std::vector<int> model;
  };
  std::vector<Old> forks;
  uint32_t seed = 12345;
  auto rnd = [&](uint32_t n) { return (seed = seed * 1664525 + 1013904223) % 65536 * n / 65536; };
  FakeGuest guest(*mm);
  for (int step = 0; step < 6000; step++) {
    uint32_t first = rnd(kPages), n = 1 + rnd(24);
    if (first + n > kPages) n = kPages - first;
    uint64_t addr = kBase + first * kP;
    switch (rnd(10)) {
      case 0:
        Map(n * kP, kRw, addr);
        std::fill_n(model.begin() + first, n, 0);
        break;
      case 1:
        EXPECT_TRUE(mm->Munmap(addr, n * kP).ok());
        std::fill_n(model.begin() + first, n, -1);
        break;
      case 2: {
        if (!mm->Madvise(addr, n * kP, abi::kMADV_DONTNEED).ok()) {
          // The mapped parts are zero now all the same.
        }
        for (uint32_t i = first; i < first + n; i++) model[i] = model[i] < 0 ? -1 : 0;
        break;
      }
      case 3:
        if (rnd(20) == 0) {
          if (forks.size() == 4) forks.erase(forks.begin() + rnd(4));
          forks.push_back({std::move(mm->Fork(thread)).value(), model});
        }
        break;
      case 4: {
        uint32_t to = rnd(kPages - n);
        if (to + n > first && first + n > to) break;
        bool whole = true;
        for (uint32_t i = first; i < first + n; i++) whole &= model[i] >= 0;
        auto r = mm->Mremap(addr, n * kP, n * kP, abi::kMREMAP_MAYMOVE | abi::kMREMAP_FIXED,
                            kBase + to * kP);
        if (!r.ok()) {
          // A hole in the source: the target is gone already (Linux unmaps it first), unless the
          // source's first page was missing.
          ASSERT_FALSE(whole);
          if (model[first] >= 0) std::fill_n(model.begin() + to, n, -1);
          break;
        }
        std::copy_n(model.begin() + first, n, model.begin() + to);
        std::fill_n(model.begin() + first, n, -1);
        break;
      }
      default: {
        uint8_t v = static_cast<uint8_t>(1 + rnd(250));
        bool ok = rnd(2) ? guest.Write(addr, v) : mm->CopyOut(UserAddr{addr}, &v, 1).ok();
        EXPECT_EQ(ok, model[first] >= 0);
        if (ok) model[first] = v;
      }
    }
    if (!forks.empty() && rnd(8) == 0) {
      Old& o = forks[rnd(forks.size())];
      if (o.model[first] >= 0) {
        uint8_t v = static_cast<uint8_t>(rnd(250));
        EXPECT_TRUE(FakeGuest(*o.mm).Write(addr, v));
        o.model[first] = v;
      }
    }
    if (step % 50 != 0) continue;
    auto check = [&](MemoryManager& m, const std::vector<int>& want, const char* who) {
      FakeGuest g(m);
      for (int i = 0; i < kPages; i++) {
        ASSERT_EQ(g.Read(kBase + i * kP), want[i]) << who << " page " << i << " step " << step;
        uint8_t b = 0;
        bool ok = m.CopyIn(&b, UserAddr{kBase + i * kP}, 1).ok();
        ASSERT_EQ(ok ? b : -1, want[i]) << who << " page " << i << " step " << step;
      }
    };
    check(*mm, model, "self");
    for (Old& o : forks) check(*o.mm, o.model, "fork");
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace sentry
