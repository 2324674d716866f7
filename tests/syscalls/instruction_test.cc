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

sigjmp_buf jump;
void Jump(int) { siglongjmp(jump, 1); }

// Runs code with every register 0, and a stack; a signal ends it.
[[noreturn]] void Enter(const uint8_t* code, uint8_t* stack) {
  asm volatile(
      "mov %1, %%rsp\n push %0\n"
      "xor %%eax, %%eax\n xor %%ebx, %%ebx\n xor %%ecx, %%ecx\n xor %%edx, %%edx\n"
      "xor %%esi, %%esi\n xor %%edi, %%edi\n xor %%ebp, %%ebp\n xor %%r8d, %%r8d\n"
      "xor %%r9d, %%r9d\n xor %%r10d, %%r10d\n xor %%r11d, %%r11d\n xor %%r12d, %%r12d\n"
      "xor %%r13d, %%r13d\n xor %%r14d, %%r14d\n xor %%r15d, %%r15d\n"
      "ret" ::"a"(code),
      "d"(stack));
  __builtin_unreachable();
}

// Whatever an opcode is, it does what it may and nothing else: in place of its operands, and behind
// it, stand breakpoints, so that each ends in a signal.
TEST(Instruction, EveryOpcode) {
  COVERS("rt_sigaction", "sigaltstack");
  constexpr uint8_t kInt3 = 0xcc;
  auto map = [](int protection) {
    return static_cast<uint8_t*>(
        mmap(nullptr, kPage, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  };
  uint8_t* page = map(PROT_READ | PROT_WRITE | PROT_EXEC);
  uint8_t* stack = map(PROT_READ | PROT_WRITE);
  std::vector<uint8_t> handler_stack(65536);
  stack_t alternative{};
  alternative.ss_sp = handler_stack.data();
  alternative.ss_size = handler_stack.size();
  ASSERT_OK(sigaltstack(&alternative, nullptr));
  struct sigaction sa {};
  sa.sa_handler = Jump;
  sa.sa_flags = SA_ONSTACK | SA_NODEFER;
  for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) sigaction(s, &sa, nullptr);

  memset(page, kInt3, kPage);
  volatile int tried = 0, ended = 0;
  auto run = [&](const Code& code) {
    uint8_t* at = page + kPage / 2;
    memset(at, kInt3, 16);
    memcpy(at, code.data(), code.size());
    memset(stack, 0, kPage);
    tried = tried + 1;
    if (sigsetjmp(jump, 0) == 0) Enter(at, stack + kPage / 2);
    ended = ended + 1;
  };
  // The prefix is part of the opcode of many; 0x90 stands for none.
  for (uint8_t prefix : {0x90, 0x66, 0xf2, 0xf3}) {
    for (int n = 0; n < 256; n++) {
      const auto op = static_cast<uint8_t>(n);
      // A register, and memory at 0.
      for (uint8_t operand : {0xc0, 0x00}) {
        // Not the far returns, which are below.
        if (op != 0xca && op != 0xcb && op != 0xcf) run({prefix, op, operand});
        // Not system calls, nor what changes the base of this program's own variables.
        if (op != 0x05 && op != 0x34 && op != 0xa1) run({prefix, 0x0f, op, operand});
        // Of those with three bytes, which are vectors' else, the system's: virtual machines and
        // address spaces, shadow stacks, messages to devices.
        if ((op >= 0x80 && op <= 0x87) || op >= 0xf0) run({prefix, 0x0f, 0x38, op, operand});
      }
      // Those with many meanings: the system's tables, virtual machines, control and debug
      // registers, extended state.
      for (uint8_t group : {0x00, 0x01, 0x20, 0x21, 0x22, 0x23, 0xc7})
        run({prefix, 0x0f, group, op});
      if (prefix != 0xf3 || op < 0xd0 || op > 0xdf) run({prefix, 0x0f, 0xae, op});
    }
  }
  for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) signal(s, SIG_DFL);
  alternative.ss_flags = SS_DISABLE;
  sigaltstack(&alternative, nullptr);
  munmap(page, kPage);
  munmap(stack, kPage);
  EXPECT_EQ(ended, tried);
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

TEST(Instruction, FarSelectors) {
  COVERS("rt_sigaction");
  // mov $selector << 32, %rax; push %rax; jmp or call far *(%rsp)
  auto far = [](uint16_t selector, uint8_t operation) {
    return Code{0x48,
                0xb8,
                0,
                0,
                0,
                0,
                static_cast<uint8_t>(selector),
                static_cast<uint8_t>(selector >> 8),
                0,
                0,
                0x50,
                0xff,
                operation,
                0x24};
  };
  // None, ring 0's, data, the task's, beyond the table, of a local table that isn't there.
  for (uint16_t selector : {0, 0x10, 0x13, 0x18, 0x2b, 0x40, 0x43, 0xfff8, 0xfffb, 0xff, 0xfff}) {
    EXPECT_EQ(SignalOf(far(selector, 0x2c)), SIGSEGV) << "jmp " << selector;
    EXPECT_EQ(SignalOf(far(selector, 0x1c)), SIGSEGV) << "call " << selector;
  }
}

// Nobody's to read, write or run: the upper half of the address space, and what would be the start
// of a machine's memory.
TEST(Instruction, StrayAddresses) {
  COVERS("rt_sigaction", "read", "write");
  signal(SIGSEGV, Jump);
  int pipe_fds[2];
  ASSERT_OK(pipe(pipe_fds));
  ASSERT_RET(write(pipe_fds[1], "12345678", 8), 8);
  int faults = 0, tried = 0;
  auto touch = [&](uint64_t addr) {
    auto* p = reinterpret_cast<volatile uint64_t*>(addr);
    // Nor by a call.
    EXPECT_ERR(write(pipe_fds[1], const_cast<uint64_t*>(p), 8), EFAULT);
    EXPECT_ERR(read(pipe_fds[0], const_cast<uint64_t*>(p), 8), EFAULT);
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
  for (uint64_t page = 0; page < 16; page++) touch(page * kPage);
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
  close(pipe_fds[0]);
  close(pipe_fds[1]);
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

// No register of the processor's and no port of the machine's is a program's. Each of these
// instructions has two bytes, which the handler skips.
TEST(Instruction, RegistersOfTheProcessorAndPorts) {
  COVERS("rt_sigaction");
  struct sigaction sa {};
  sa.sa_sigaction = Skip;
  sa.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &sa, nullptr);
  interrupts = 0;
  int tried = 0;
  struct Range {
    uint32_t first, count;
  };
  // The makers', and those that hypervisors offer.
  constexpr Range kRegisters[] = {{0, 0x20},       {0x170, 0x10},      {0x1b0, 0x30},
                                  {0x277, 1},      {0x800, 0x40},      {0xda0, 1},
                                  {0x40000000, 8}, {0x4b564d00, 8},    {0xc0000080, 5},
                                  {0xc0000100, 4}, {0xc0010000, 0x20}, {0xc0010110, 0x10}};
  for (const Range& r : kRegisters) {
    for (uint32_t n = r.first; n < r.first + r.count; n++) {
      uint32_t a = 0, d = 0;
      asm volatile("rdmsr" : "+a"(a), "+d"(d) : "c"(n));
      asm volatile("wrmsr" ::"a"(a), "d"(d), "c"(n));
      tried += 2;
    }
  }
  // The old machine's devices, those of virtual ones, configuration space.
  constexpr Range kPorts[] = {{0, 0x100}, {0x1f0, 8},  {0x2f8, 8}, {0x3b0, 0x50}, {0x510, 4},
                              {0x600, 8}, {0xb000, 8}, {0xcf8, 8}, {0x5658, 2},   {0xfffe, 1}};
  for (const Range& r : kPorts) {
    for (uint32_t n = r.first; n < r.first + r.count; n++) {
      uint16_t a = 0;
      asm volatile("inw %%dx, %%ax" : "+a"(a) : "d"(static_cast<uint16_t>(n)));
      asm volatile("outw %%ax, %%dx" ::"a"(a), "d"(static_cast<uint16_t>(n)));
      tried += 2;
    }
  }
  signal(SIGSEGV, SIG_DFL);
  EXPECT_EQ(interrupts, tried);
}

}  // namespace
