// Instructions that programs may not execute, and addresses that aren't theirs: the program gets
// the signal that Linux makes of it, and all else goes on.
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>

#include <vector>

#include "tests/syscalls/test_util.h"

namespace {

constexpr size_t kPage = 4096;

using Code = std::vector<uint8_t>;

// The signal that ended a child which ran the code, 0 if it came to its end.
int SignalOf(const Code& code) {
  auto* page = static_cast<uint8_t*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  memcpy(page, code.data(), code.size());
  page[code.size()] = 0xc3;  // ret
  pid_t pid = fork();
  if (pid == 0) {
    for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) signal(s, SIG_DFL);
    rlimit none{};
    setrlimit(RLIMIT_CORE, &none);
    reinterpret_cast<void (*)()>(page)();
    _exit(0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  munmap(page, kPage);
  if (WIFSIGNALED(status)) return WTERMSIG(status);
  EXPECT_TRUE(WIFEXITED(status));
  return 0;
}

struct Row {
  const char* name;
  Code code;
};

TEST(Instruction, Privileged) {
  COVERS("rt_sigaction");
  const Row rows[] = {
      {"hlt", {0xf4}},
      {"cli", {0xfa}},
      {"sti", {0xfb}},
      {"clts", {0x0f, 0x06}},
      {"invd", {0x0f, 0x08}},
      {"wbinvd", {0x0f, 0x09}},
      {"invlpg", {0x0f, 0x01, 0x3c, 0x24}},
      {"swapgs", {0x0f, 0x01, 0xf8}},
      {"sysretq", {0x48, 0x0f, 0x07}},
      {"in al, dx", {0xec}},
      {"in eax, 0x80", {0xe5, 0x80}},
      {"out dx, al", {0xee}},
      {"out 0xf4, eax", {0xe7, 0xf4}},
      {"insb", {0x6c}},
      {"outsb", {0x6e}},
      {"rdmsr EFER", {0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32}},
      {"wrmsr LSTAR", {0xb9, 0x82, 0x00, 0x00, 0xc0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30}},
      {"xsetbv", {0x31, 0xc9, 0xb8, 0x03, 0, 0, 0, 0x31, 0xd2, 0x0f, 0x01, 0xd1}},
      {"mov cr0, rax", {0x0f, 0x20, 0xc0}},
      {"mov rax, cr0", {0x0f, 0x22, 0xc0}},
      {"mov cr3, rax", {0x0f, 0x20, 0xd8}},
      {"mov rax, cr3", {0x0f, 0x22, 0xd8}},
      {"mov rax, cr4", {0x0f, 0x22, 0xe0}},
      {"mov rax, cr8", {0x44, 0x0f, 0x22, 0xc0}},
      {"mov dr7, rax", {0x0f, 0x21, 0xf8}},
      {"mov rax, dr7", {0x0f, 0x23, 0xf8}},
      {"lgdt", {0x0f, 0x01, 0x14, 0x24}},
      {"lidt", {0x0f, 0x01, 0x1c, 0x24}},
      {"lldt", {0x31, 0xc0, 0x0f, 0x00, 0xd0}},
      {"ltr", {0xb8, 0x40, 0, 0, 0, 0x0f, 0x00, 0xd8}},
      {"lmsw", {0x0f, 0x01, 0xf0}},
  };
  for (const Row& r : rows) EXPECT_EQ(SignalOf(r.code), SIGSEGV) << r.name;
}

TEST(Instruction, ReturnsToRing0) {
  COVERS("rt_sigaction");
  const Row rows[] = {
      {"iretq to ring 0", {0x6a, 0x18, 0x54, 0x9c, 0x6a, 0x10, 0x50, 0x48, 0xcf}},
      {"lretq to ring 0", {0x6a, 0x10, 0x50, 0x48, 0xcb}},
  };
  for (const Row& r : rows) EXPECT_EQ(SignalOf(r.code), SIGSEGV) << r.name;
}

TEST(Instruction, Undefined) {
  COVERS("rt_sigaction");
  const Row rows[] = {
      {"ud2", {0x0f, 0x0b}}, {"ud1", {0x0f, 0xb9, 0xc0}}, {"push es", {0x06}},   {"into", {0xce}},
      {"daa", {0x27}},       {"lock nop", {0xf0, 0x90}},  {"rsm", {0x0f, 0xaa}},
  };
  for (const Row& r : rows) EXPECT_EQ(SignalOf(r.code), SIGILL) << r.name;
}

TEST(Instruction, LockWhereItMayNotStand) {
  COVERS("rt_sigaction");
  EXPECT_EQ(SignalOf({0xf0, 0x89, 0xc0}), SIGILL);  // lock mov %eax, %eax
}

// What these do depends on the processor, and on what the system runs under itself.
TEST(Instruction, Virtualisation) {
  COVERS("rt_sigaction");
  const Row rows[] = {
      {"vmcall", {0x0f, 0x01, 0xc1}},
      {"vmmcall", {0x0f, 0x01, 0xd9}},
      {"vmlaunch", {0x0f, 0x01, 0xc2}},
      {"vmxoff", {0x0f, 0x01, 0xc4}},
      {"vmrun", {0x0f, 0x01, 0xd8}},
      {"vmload", {0x0f, 0x01, 0xda}},
      {"stgi", {0x0f, 0x01, 0xdc}},
      {"clgi", {0x0f, 0x01, 0xdd}},
      {"skinit", {0x0f, 0x01, 0xde}},
      {"invlpga", {0x0f, 0x01, 0xdf}},
      {"monitor", {0x31, 0xc9, 0x31, 0xd2, 0x48, 0x89, 0xe0, 0x0f, 0x01, 0xc8}},
      {"mwait", {0x31, 0xc9, 0x31, 0xc0, 0x0f, 0x01, 0xc9}},
      {"invpcid", {0x66, 0x0f, 0x38, 0x82, 0x04, 0x24}},
      {"xsaves", {0x0f, 0xc7, 0x2c, 0x24}},
      {"encls", {0x0f, 0x01, 0xcf}},
      {"getsec", {0x31, 0xc0, 0x0f, 0x37}},
      {"stac", {0x0f, 0x01, 0xcb}},
      {"sysenter", {0x0f, 0x34}},
      {"sysexitq", {0x48, 0x0f, 0x35}},
  };
  for (const Row& r : rows) {
    const int s = SignalOf(r.code);
    EXPECT_TRUE(s == 0 || s == SIGILL || s == SIGSEGV) << r.name << ": " << s;
  }
}

TEST(Instruction, Selectors) {
  COVERS("rt_sigaction");
  // mov $n, %eax; mov %eax, segment
  auto load = [](uint16_t selector, uint8_t segment) {
    return Code{
        0xb8, static_cast<uint8_t>(selector),           static_cast<uint8_t>(selector >> 8), 0, 0,
        0x8e, static_cast<uint8_t>(0xc0 | segment << 3)};
  };
  constexpr uint8_t kEs = 0, kSs = 2, kDs = 3;
  for (uint8_t segment : {kEs, kSs, kDs}) {
    // Ring 0's, beyond the table, of a local table that isn't there.
    for (uint16_t selector : {0x10, 0x13, 0x18, 0x1b, 0xfff8, 0xfffb, 0xff, 0xfff}) {
      EXPECT_EQ(SignalOf(load(selector, segment)), SIGSEGV)
          << selector << " in " << static_cast<int>(segment);
    }
  }
  for (uint8_t segment : {kEs, kDs}) {
    EXPECT_EQ(SignalOf(load(0, segment)), 0);
    EXPECT_EQ(SignalOf(load(0x2b, segment)), 0);
  }
  EXPECT_EQ(SignalOf(load(0, kSs)), SIGSEGV);
}

TEST(Instruction, Jumps) {
  COVERS("rt_sigaction");
  // mov $addr, %rax; jmp *%rax
  constexpr uint64_t kAddresses[] = {0x8000000000000000, 0x800000000000,     0x7ffffffff000,
                                     0xffff800000000000, 0xffffff0000000000, 0xffffffff81000000,
                                     0xfffffffffffff000};
  for (uint64_t addr : kAddresses) {
    Code jump = {0x48, 0xb8};
    for (int i = 0; i < 8; i++) jump.push_back(static_cast<uint8_t>(addr >> 8 * i));
    Code ret = jump;
    jump.insert(jump.end(), {0xff, 0xe0});
    ret.insert(ret.end(), {0x50, 0xc3});  // push %rax; ret
    EXPECT_EQ(SignalOf(jump), SIGSEGV) << std::hex << addr;
    EXPECT_EQ(SignalOf(ret), SIGSEGV) << std::hex << addr;
  }
}

TEST(Instruction, StackThatIsNotCanonical) {
  COVERS("rt_sigaction");
  // mov $1 << 63, %rsp; push %rax
  EXPECT_EQ(SignalOf({0x48, 0xbc, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x50}), SIGBUS);
}

sigjmp_buf jump;
void Jump(int) { siglongjmp(jump, 1); }

// The upper half of the address space is nobody's to read, write or run.
TEST(Instruction, StrayAddresses) {
  COVERS("rt_sigaction");
  signal(SIGSEGV, Jump);
  int faults = 0, tried = 0;
  auto touch = [&](uint64_t addr) {
    auto* p = reinterpret_cast<volatile uint64_t*>(addr);
    tried += 2;
    if (sigsetjmp(jump, 1) == 0) {
      (void)*p;
    } else {
      faults++;
    }
    if (sigsetjmp(jump, 1) == 0) {
      *p = 0;
    } else {
      faults++;
    }
  };
  for (int bit = 12; bit < 47; bit++) {
    touch(0xffff800000000000 + (uint64_t{1} << bit));
    touch(~uint64_t{0xfff} - (uint64_t{1} << bit));
  }
  for (uint64_t page = 0; page < 64; page++) touch(0xffffff0000000000 + page * kPage);
  // What the processor says of its tables, unless that is forbidden too.
  struct __attribute__((packed)) {
    uint16_t limit;
    uint64_t base;
  } table{};
  if (sigsetjmp(jump, 1) == 0) {
    asm volatile("sgdt %0" : "=m"(table));
    if (table.base >> 63 != 0) touch(table.base);
    asm volatile("sidt %0" : "=m"(table));
    if (table.base >> 63 != 0) touch(table.base);
  }
  signal(SIGSEGV, SIG_DFL);
  EXPECT_EQ(faults, tried);
}

int interrupts;
void Skip(int, siginfo_t*, void* context) {
  interrupts++;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += 2;
}

// All but the breakpoint's, overflow's and the 32-bit system call's.
TEST(Instruction, SoftwareInterrupts) {
  COVERS("rt_sigaction");
  struct sigaction sa {};
  sa.sa_sigaction = Skip;
  sa.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &sa, nullptr);
  auto* page = static_cast<uint8_t*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  int count = 0;
  for (int n = 0; n < 256; n++) {
    if (n == 3 || n == 4 || n == 0x80) continue;
    page[2 * count] = 0xcd;
    page[2 * count + 1] = static_cast<uint8_t>(n);
    count++;
  }
  page[2 * count] = 0xc3;
  interrupts = 0;
  reinterpret_cast<void (*)()>(page)();
  signal(SIGSEGV, SIG_DFL);
  munmap(page, kPage);
  EXPECT_EQ(interrupts, count);
}

}  // namespace
