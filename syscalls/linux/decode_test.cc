#include "syscalls/linux/decode.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "syscalls/abi/signal.h"
#include "syscalls/abi/socket.h"
#include "syscalls/abi/stat.h"
#include "syscalls/table/table.h"

namespace syscalls {
namespace {

using sentry::SyscallArgs;
using sentry::SyscallResult;
using sentry::UserAddr;

constexpr uint64_t kBase = 0x10000;

// One readable page at kBase.
class FakeMemory final : public sentry::UserMemory {
 public:
  size_t CopyInPartial(void* dst, UserAddr src, size_t n) override {
    if (src.value < kBase || src.value >= kBase + sizeof page_) return 0;
    const size_t off = src.value - kBase;
    n = std::min(n, sizeof page_ - off);
    memcpy(dst, page_ + off, n);
    return n;
  }
  size_t CopyOutPartial(UserAddr, const void*, size_t) override { return 0; }
  size_t ZeroPartial(UserAddr, size_t) override { return 0; }
  size_t Blocks(UserAddr, size_t, bool, sentry::HostIov*, size_t,
                std::vector<base::Ref<base::RefCounted>>*) override {
    return 0;
  }
  base::Result<uint32_t> Load32(UserAddr) override { return abi::Errno::kEFAULT; }
  base::Result<void> Store32(UserAddr, uint32_t) override { return abi::Errno::kEFAULT; }
  base::Result<uint32_t> CompareExchange32(UserAddr, uint32_t, uint32_t) override {
    return abi::Errno::kEFAULT;
  }
  template <typename T>
  uint64_t Put(size_t off, const T& v) {
    memcpy(page_ + off, &v, sizeof v);
    return kBase + off;
  }
  uint64_t PutString(size_t off, const char* s) {
    memcpy(page_ + off, s, strlen(s) + 1);
    return kBase + off;
  }

 private:
  char page_[4096] = {};
};

struct Decoder {
  base::Ref<FakeMemory> mm = base::MakeRef<FakeMemory>();
  std::string Entry(Sys call, std::vector<uint64_t> args) {
    a = {static_cast<uint64_t>(call), {}};
    std::copy(args.begin(), args.end(), a.arg);
    d.Begin(*mm, a);
    return d.Call();
  }
  std::string Exit(SyscallResult r) {
    d.End(*mm, a, r);
    return d.Call() + " = " + d.result();
  }
  SyscallArgs a{};
  DecodedCall d;
};

TEST(Decode, OpenAndErrors) {
  Decoder t;
  const uint64_t path = t.mm->PutString(0, "/etc/\"x\"\n");
  EXPECT_EQ(t.Entry(Sys::openat, {0xffffff9c, path, 02000101, 0640}),
            "openat(AT_FDCWD, \"/etc/\\\"x\\\"\\n\", O_WRONLY|O_CREAT|O_CLOEXEC, 0640)");
  EXPECT_EQ(t.Exit(3).substr(t.d.Call().size()), " = 3");
  t.Exit(abi::Errno::kENOENT);
  EXPECT_EQ(t.d.result(), "-1 ENOENT");
  t.Exit(base::Restart::kSys);
  EXPECT_EQ(t.d.result(), "? ERESTARTSYS");
  // Bad and null pointers are shown as they are.
  EXPECT_EQ(t.Entry(Sys::chdir, {0}), "chdir(NULL)");
  EXPECT_EQ(t.Entry(Sys::chdir, {0x50}), "chdir(0x50)");
}

TEST(Decode, OutputsAppearOnlyAfterwards) {
  Decoder t;
  abi::Stat st{};
  st.mode = 0100644;
  st.size = 12;
  const uint64_t path = t.mm->PutString(0, "f");
  const uint64_t p = t.mm->Put(64, st);
  EXPECT_EQ(t.Entry(Sys::stat, {path, p}), "stat(\"f\", 0x10040)");
  EXPECT_EQ(t.Exit(0), "stat(\"f\", {st_mode=S_IFREG|0644, st_size=12, ...}) = 0");
  t.Entry(Sys::stat, {path, p});
  EXPECT_EQ(t.Exit(abi::Errno::kEACCES), "stat(\"f\", 0x10040) = -1 EACCES");
  const int32_t fds[2] = {5, 6};
  const uint64_t q = t.mm->Put(256, fds);
  t.Entry(Sys::pipe2, {q, 02000000});
  EXPECT_EQ(t.Exit(0), "pipe2([5, 6], O_CLOEXEC) = 0");
}

TEST(Decode, Buffers) {
  Decoder t;
  const uint64_t p = t.mm->PutString(0, "hello\n");
  EXPECT_EQ(t.Entry(Sys::write, {1, p, 6}), "write(1, \"hello\\n\", 6)");
  EXPECT_EQ(t.Entry(Sys::write, {1, p, 4000}).substr(0, 19), "write(1, \"hello\\n\\x");
  EXPECT_EQ(t.Entry(Sys::write, {1, 0, 4}), "write(1, NULL, 4)");
  t.Entry(Sys::read, {0, p, 4096});
  EXPECT_EQ(t.Exit(5), "read(0, \"hello\", 4096) = 5");
}

TEST(Decode, SignalsAndSets) {
  Decoder t;
  EXPECT_EQ(t.Entry(Sys::kill, {1, 15}), "kill(1, SIGTERM)");
  EXPECT_EQ(t.Entry(Sys::kill, {0xffffffff, 40}), "kill(-1, SIGRT_8)");
  const uint64_t set = t.mm->Put(0, abi::SigBit(2) | abi::SigBit(15));
  EXPECT_EQ(t.Entry(Sys::rt_sigprocmask, {0, set, 0, 8}),
            "rt_sigprocmask(SIG_BLOCK, [SIGINT SIGTERM], NULL, 8)");
  t.mm->Put(0, ~abi::SigBit(9));
  EXPECT_EQ(t.Entry(Sys::rt_sigprocmask, {2, set, 0, 8}),
            "rt_sigprocmask(SIG_SETMASK, ~[SIGKILL], NULL, 8)");
}

TEST(Decode, Vectors) {
  Decoder t;
  const uint64_t arg0 = t.mm->PutString(0, "ls"), arg1 = t.mm->PutString(8, "-l");
  const uint64_t argv[3] = {arg0, arg1, 0};
  const uint64_t p = t.mm->Put(16, argv);
  EXPECT_EQ(t.Entry(Sys::execve, {arg0, p, 0}), "execve(\"ls\", [\"ls\", \"-l\"], NULL)");
  EXPECT_EQ(t.Exit(SyscallResult::RegsSet()), "execve(\"ls\", [\"ls\", \"-l\"], NULL) = 0");
}

TEST(Decode, Addresses) {
  Decoder t;
  abi::SockaddrUn un{};
  un.family = abi::kAF_UNIX;
  strcpy(un.path, "/run/s");
  const uint64_t p = t.mm->Put(0, un);
  EXPECT_EQ(t.Entry(Sys::connect, {3, p, 110}),
            "connect(3, {sa_family=AF_UNIX, sun_path=\"/run/s\"}, 110)");
  t.Entry(Sys::mmap, {0, 4096, 3, 0x22, 0xffffffff, 0});
  EXPECT_EQ(t.Exit(0x7f0000001000),
            "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = "
            "0x7f0000001000");
}

TEST(Decode, UnknownCalls) {
  Decoder t;
  SyscallArgs a{400, {1, 2, 3, 4, 5, 6}};
  t.d.Begin(*t.mm, a);
  EXPECT_EQ(t.d.Call(), "syscall_400(0x1, 0x2, 0x3, 0x4, 0x5, 0x6)");
  // Every row survives arguments of any kind.
  for (const Row& row : kRows) {
    for (uint64_t v : {uint64_t{0}, uint64_t{1}, kBase, kBase + 4090, ~uint64_t{0}}) {
      SyscallArgs b{row.nr, {v, v, v, v, v, v}};
      t.d.Begin(*t.mm, b);
      t.d.End(*t.mm, b, SyscallResult(static_cast<int64_t>(v & 0xffff)));
      EXPECT_FALSE(t.d.Call().empty());
    }
  }
}

}  // namespace
}  // namespace syscalls
