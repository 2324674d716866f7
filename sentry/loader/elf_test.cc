#include "sentry/loader/elf.h"

#include <gtest/gtest.h>

#include <cstring>

#include "sentry/loader/loader.h"

namespace sentry {
namespace {

using abi::Errno;
constexpr uint64_t kLimit = 0x7ffff0000000;

class File {
 public:
  File(std::vector<abi::Elf64Phdr> ph) {
    memcpy(h.ident, "\177ELF\2\1\1", 7);
    h.type = abi::kET_DYN;
    h.machine = abi::kEM_X86_64;
    h.entry = 0x1040;
    h.phoff = sizeof h;
    h.phentsize = sizeof(abi::Elf64Phdr);
    h.phnum = static_cast<uint16_t>(ph.size());
    headers = std::move(ph);
  }
  std::string Bytes() const {
    std::string s(0x3000, '\0');
    memcpy(s.data(), &h, sizeof h);
    if (!headers.empty())
      memcpy(s.data() + sizeof h, headers.data(), headers.size() * sizeof headers[0]);
    memcpy(s.data() + 0x2000, "/lib/ld.so", 11);
    return s;
  }
  base::Result<ElfImage> Parse() const { return ParseBytes(Bytes()); }
  static base::Result<ElfImage> ParseBytes(const std::string& bytes) {
    return ParseElf(
        [&](uint64_t off, void* dst, size_t n) -> base::Result<size_t> {
          if (off >= bytes.size()) return size_t{0};
          n = std::min(n, bytes.size() - off);
          memcpy(dst, bytes.data() + off, n);
          return n;
        },
        Errno::kENOEXEC, kLimit);
  }
  abi::Elf64Ehdr h{};
  std::vector<abi::Elf64Phdr> headers;
};

abi::Elf64Phdr Load(uint64_t vaddr, uint64_t offset, uint64_t filesz, uint64_t memsz,
                    uint32_t flags) {
  return {abi::kPT_LOAD, flags, offset, vaddr, vaddr, filesz, memsz, 0x1000};
}

TEST(ElfTest, GoodFile) {
  File f({Load(0, 0, 0x800, 0x800, abi::kPF_R),
          Load(0x1000, 0x1000, 0x500, 0x500, 5),
          Load(0x2f00, 0x1f00, 0x200, 0x4000, 6),
          {abi::kPT_INTERP, 4, 0x2000, 0, 0, 11, 11, 1},
          {abi::kPT_GNU_STACK, 7, 0, 0, 0, 0, 0, 16}});
  ElfImage e = f.Parse().value();
  EXPECT_TRUE(e.dynamic);
  EXPECT_TRUE(e.exec_stack);
  EXPECT_EQ(e.interpreter, "/lib/ld.so");
  EXPECT_EQ(e.segments.size(), 3u);
  EXPECT_EQ(e.low, 0u);
  EXPECT_EQ(e.high, 0x7000u);
  EXPECT_EQ(e.brk, 0x6f00u);
  EXPECT_EQ(e.phdr, 64u);
  EXPECT_EQ(e.segments[1].prot, platform::kProtRead | platform::kProtExec);
}

TEST(ElfTest, MalformedHeaders) {
  File good({Load(0, 0, 0x800, 0x800, 5)});
  EXPECT_TRUE(good.Parse().ok());
  auto broken = [&](auto change) {
    File f = good;
    change(f);
    auto r = f.Parse();
    return r.ok() ? 0 : static_cast<int>(r.error().code());
  };
  int noexec = static_cast<int>(Errno::kENOEXEC), inval = static_cast<int>(Errno::kEINVAL);
  EXPECT_EQ(broken([](File& f) { f.h.ident[0] = 0; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.ident[4] = 1; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.type = abi::kET_REL; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.machine = abi::kEM_AARCH64; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.phentsize = 32; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.phnum = 0; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.phnum = 65535; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.phoff = UINT64_MAX - 8; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.phoff = 0x2ff0; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.h.entry = UINT64_MAX; }), inval);
  EXPECT_EQ(broken([](File& f) { f.headers[0].type = abi::kPT_NOTE; }), noexec);
  EXPECT_EQ(broken([](File& f) { f.headers[0].filesz = 0x900; }), inval);
  EXPECT_EQ(broken([](File& f) { f.headers[0].memsz = UINT64_MAX; }), inval);
  EXPECT_EQ(broken([](File& f) { f.headers[0].vaddr = UINT64_MAX - 0x100; }), inval);
  EXPECT_EQ(broken([](File& f) { f.headers[0].offset = UINT64_MAX - 0x100; }), inval);
  EXPECT_EQ(broken([](File& f) { f.headers[0].vaddr = 0x10; }), inval);
  EXPECT_EQ(broken([](File& f) {
              f.headers.push_back({abi::kPT_INTERP, 4, 0x2000, 0, 0, 1, 1, 1}), f.h.phnum = 2;
            }),
            noexec);
  EXPECT_EQ(broken([](File& f) {
              f.headers.push_back({abi::kPT_INTERP, 4, 0x2000, 0, 0, 5, 5, 1}), f.h.phnum = 2;
            }),
            noexec);
  EXPECT_EQ(
      broken([](File& f) {
        f.headers.push_back({abi::kPT_INTERP, 4, 0x2000, 0, 0, 1 << 30, 1 << 30, 1}), f.h.phnum = 2;
      }),
      noexec);
  EXPECT_TRUE(File::ParseBytes("").is(Errno::kENOEXEC));
  EXPECT_TRUE(File::ParseBytes("\177ELF").is(Errno::kENOEXEC));
}

TEST(ElfTest, RandomDamageNeverCrashes) {
  File good({Load(0, 0, 0x800, 0x800, 5),
             Load(0x2f00, 0x1f00, 0x200, 0x4000, 6),
             {abi::kPT_INTERP, 4, 0x2000, 0, 0, 11, 11, 1}});
  std::string bytes = good.Bytes();
  uint32_t seed = 1;
  for (int i = 0; i < 20000; i++) {
    std::string b = bytes;
    for (int k = 0; k < 4; k++) {
      seed = seed * 1664525 + 1013904223;
      b[(seed >> 8) % 240] = static_cast<char>(seed >> 24);
    }
    auto r = File::ParseBytes(b);
    if (!r.ok()) continue;
    for (const ElfSegment& s : r->segments) {
      EXPECT_LE(s.vaddr + s.memsz, kLimit);
      EXPECT_LE(s.filesz, s.memsz);
      EXPECT_LE(r->low, s.vaddr);
      EXPECT_GE(r->high, s.vaddr + s.memsz);
    }
  }
}

TEST(ScriptTest, Lines) {
  auto parse = [](std::string_view s) { return ParseScript(s); };
  ScriptLine l = parse("#!/bin/sh\necho").value();
  EXPECT_EQ(l.interpreter, "/bin/sh");
  EXPECT_FALSE(l.has_argument);
  l = parse("#! \t/usr/bin/env  python3 -u \t\n").value();
  EXPECT_EQ(l.interpreter, "/usr/bin/env");
  EXPECT_EQ(l.argument, "python3 -u");
  EXPECT_EQ(parse("#!/bin/sh").value().interpreter, "/bin/sh");
  EXPECT_TRUE(parse("#!").is(Errno::kENOEXEC));
  EXPECT_TRUE(parse("#!\n").is(Errno::kENOEXEC));
  EXPECT_TRUE(parse("#!   \n/bin/sh").is(Errno::kENOEXEC));
  EXPECT_TRUE(parse("echo hi\n").is(Errno::kENOEXEC));
  EXPECT_TRUE(parse("#!" + std::string(300, 'a') + "\n").is(Errno::kENOEXEC));
  // A cut-off argument is taken as far as it goes.
  l = parse("#!/bin/x " + std::string(300, 'b') + "\n").value();
  EXPECT_EQ(l.interpreter, "/bin/x");
  EXPECT_EQ(l.argument.size(), 255 - 9u);
}

TEST(StackTest, Layout) {
  StackArgs a;
  a.argv = {"prog", "one"};
  a.envp = {"A=b"};
  a.filename = "./prog";
  a.auxv = {abi::kAT_PAGESZ, 4096, abi::kAT_RANDOM, 0, abi::kAT_EXECFN, 0, abi::kAT_NULL, 0};
  constexpr uint64_t kTop = 0x7ffffffff000;
  StackImage s = BuildStack(kTop, a);
  EXPECT_EQ(s.sp % 16, 0u);
  EXPECT_EQ(s.sp + s.bytes.size(), kTop);
  auto word = [&](int i) {
    uint64_t v;
    memcpy(&v, s.bytes.data() + 8 * i, 8);
    return v;
  };
  auto text = [&](uint64_t at) { return std::string(s.bytes.data() + (at - s.sp)); };
  EXPECT_EQ(word(0), 2u);
  EXPECT_EQ(text(word(1)), "prog");
  EXPECT_EQ(text(word(2)), "one");
  EXPECT_EQ(word(3), 0u);
  EXPECT_EQ(text(word(4)), "A=b");
  EXPECT_EQ(word(5), 0u);
  EXPECT_EQ(word(6), static_cast<uint64_t>(abi::kAT_PAGESZ));
  EXPECT_EQ(word(7), 4096u);
  EXPECT_EQ(text(word(11)), "./prog");
  EXPECT_EQ(s.arg_start, word(1));
  EXPECT_EQ(s.arg_end, s.env_start);
  EXPECT_EQ(s.env_end - s.env_start, 4u);
  EXPECT_EQ(word(12), 0u);
}

}  // namespace
}  // namespace sentry
