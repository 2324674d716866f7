// What a guest thread's processor state looks like to the sentry.
#pragma once

#include <cstdint>
#include <vector>

namespace platform {

// The order of the kernel's user_regs_struct (arch/x86/include/asm/user_64.h), so that ptrace's
// view needs no translation.
struct Regs {
  uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax;
  uint64_t rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};
static_assert(sizeof(Regs) == 27 * 8);

constexpr uint64_t kUserCs = 0x33;
constexpr uint64_t kUserSs = 0x2b;
// Flags that a guest may set through sigreturn or ptrace (FIX_EFLAGS in the kernel's
// arch/x86/kernel/signal.c).
constexpr uint64_t kUserEflags = 0x50dd5;  // CF PF AF ZF SF TF DF OF AC RF
// IF and the fixed bit: always set in user mode.
constexpr uint64_t kFixedEflags = 0x202;

// Extended state in the layout of the kernel's signal frames: legacy FXSAVE area (512 bytes, with
// the software-reserved fpx_sw_bytes at 464), XSAVE header, components, FP_XSTATE_MAGIC2. Empty
// means the initial state.
using FpState = std::vector<uint8_t>;

enum Prot : uint8_t { kProtNone = 0, kProtRead = 1, kProtWrite = 2, kProtExec = 4 };
// For AddressSpace::Map(), together with protections, a hint: the host may use huge pages.
constexpr uint8_t kMapHuge = 0x40;

// Why a guest thread stopped.
struct Stop {
  enum class Kind : uint8_t {
    kSyscall,      // GuestThread::syscall() tells which
    kFault,        // a processor exception: the fields below
    kInterrupted,  // Interrupt() was called (or a spurious stop): nothing happened in the guest
    kDead,         // the host thread or process is gone: the guest process can't go on
  };
  Kind kind;
  uint8_t signo = 0;    // kFault: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP as the host delivered it
  int32_t code = 0;     // kFault: the host's si_code
  uint64_t addr = 0;    // kFault: fault address (cr2 for page faults, rip otherwise)
  uint32_t trapno = 0;  // kFault: x86 exception number (14 page fault, 13 general protection...)
  uint32_t error = 0;   // kFault: x86 error code (page fault: 1 present, 2 write, 4 user, 16 fetch)
};

struct SyscallRegs {
  uint64_t nr;
  uint64_t arg[6];
};

}  // namespace platform
