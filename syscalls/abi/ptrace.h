// ptrace(2) and struct user_regs_struct.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"
#include "syscalls/abi/signal.h"

namespace uapi {

inline constexpr int32_t kPTRACE_TRACEME = 0x0;
inline constexpr int32_t kPTRACE_PEEKTEXT = 0x1;
inline constexpr int32_t kPTRACE_PEEKDATA = 0x2;
inline constexpr int32_t kPTRACE_PEEKUSR = 0x3;
inline constexpr int32_t kPTRACE_POKETEXT = 0x4;
inline constexpr int32_t kPTRACE_POKEDATA = 0x5;
inline constexpr int32_t kPTRACE_POKEUSR = 0x6;
inline constexpr int32_t kPTRACE_CONT = 0x7;
inline constexpr int32_t kPTRACE_KILL = 0x8;
inline constexpr int32_t kPTRACE_SINGLESTEP = 0x9;
inline constexpr int32_t kPTRACE_GETREGS = 0xc;
inline constexpr int32_t kPTRACE_SETREGS = 0xd;
inline constexpr int32_t kPTRACE_GETFPREGS = 0xe;
inline constexpr int32_t kPTRACE_SETFPREGS = 0xf;
inline constexpr int32_t kPTRACE_ATTACH = 0x10;
inline constexpr int32_t kPTRACE_DETACH = 0x11;
inline constexpr int32_t kPTRACE_GETFPXREGS = 0x12;
inline constexpr int32_t kPTRACE_SETFPXREGS = 0x13;
inline constexpr int32_t kPTRACE_OLDSETOPTIONS = 0x15;
inline constexpr int32_t kPTRACE_SYSCALL = 0x18;
inline constexpr int32_t kPTRACE_GET_THREAD_AREA = 0x19;
inline constexpr int32_t kPTRACE_SET_THREAD_AREA = 0x1a;
inline constexpr int32_t kPTRACE_ARCH_PRCTL = 0x1e;
inline constexpr int32_t kPTRACE_SYSEMU = 0x1f;
inline constexpr int32_t kPTRACE_SYSEMU_SINGLESTEP = 0x20;
inline constexpr int32_t kPTRACE_SINGLEBLOCK = 0x21;
inline constexpr int32_t kPTRACE_SETOPTIONS = 0x4200;
inline constexpr int32_t kPTRACE_GETEVENTMSG = 0x4201;
inline constexpr int32_t kPTRACE_GETSIGINFO = 0x4202;
inline constexpr int32_t kPTRACE_SETSIGINFO = 0x4203;
inline constexpr int32_t kPTRACE_GETREGSET = 0x4204;
inline constexpr int32_t kPTRACE_SETREGSET = 0x4205;
inline constexpr int32_t kPTRACE_SEIZE = 0x4206;
inline constexpr int32_t kPTRACE_INTERRUPT = 0x4207;
inline constexpr int32_t kPTRACE_LISTEN = 0x4208;
inline constexpr int32_t kPTRACE_PEEKSIGINFO = 0x4209;
inline constexpr int32_t kPTRACE_GETSIGMASK = 0x420a;
inline constexpr int32_t kPTRACE_SETSIGMASK = 0x420b;
inline constexpr int32_t kPTRACE_SECCOMP_GET_FILTER = 0x420c;
inline constexpr int32_t kPTRACE_SECCOMP_GET_METADATA = 0x420d;
inline constexpr int32_t kPTRACE_GET_SYSCALL_INFO = 0x420e;
inline constexpr int32_t kPTRACE_GET_RSEQ_CONFIGURATION = 0x420f;
inline constexpr int32_t kPTRACE_O_TRACESYSGOOD = 0x1;
inline constexpr int32_t kPTRACE_O_TRACEFORK = 0x2;
inline constexpr int32_t kPTRACE_O_TRACEVFORK = 0x4;
inline constexpr int32_t kPTRACE_O_TRACECLONE = 0x8;
inline constexpr int32_t kPTRACE_O_TRACEEXEC = 0x10;
inline constexpr int32_t kPTRACE_O_TRACEVFORKDONE = 0x20;
inline constexpr int32_t kPTRACE_O_TRACEEXIT = 0x40;
inline constexpr int32_t kPTRACE_O_TRACESECCOMP = 0x80;
inline constexpr int32_t kPTRACE_O_EXITKILL = 0x100000;
inline constexpr int32_t kPTRACE_O_SUSPEND_SECCOMP = 0x200000;
inline constexpr int32_t kPTRACE_O_MASK = 0x3000ff;
inline constexpr int32_t kPTRACE_EVENT_FORK = 1;
inline constexpr int32_t kPTRACE_EVENT_VFORK = 2;
inline constexpr int32_t kPTRACE_EVENT_CLONE = 3;
inline constexpr int32_t kPTRACE_EVENT_EXEC = 4;
inline constexpr int32_t kPTRACE_EVENT_VFORK_DONE = 5;
inline constexpr int32_t kPTRACE_EVENT_EXIT = 6;
inline constexpr int32_t kPTRACE_EVENT_SECCOMP = 7;
inline constexpr int32_t kPTRACE_EVENT_STOP = 128;
inline constexpr int32_t kPTRACE_SYSCALL_INFO_NONE = 0;
inline constexpr int32_t kPTRACE_SYSCALL_INFO_ENTRY = 1;
inline constexpr int32_t kPTRACE_SYSCALL_INFO_EXIT = 2;
inline constexpr int32_t kPTRACE_SYSCALL_INFO_SECCOMP = 3;
inline constexpr int32_t kPTRACE_PEEKSIGINFO_SHARED = 1;
struct UserRegs {
  uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip,
      cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};
// struct user, for PTRACE_PEEKUSER offsets.
struct User {
  UserRegs regs;
  int32_t fpvalid, pad0;
  FpState i387;
  uint64_t tsize, dsize, ssize, start_code, start_stack;
  int64_t signal;
  int32_t reserved, pad1;
  uint64_t u_ar0, u_fpstate, magic;
  char comm[32];
  uint64_t debugreg[8];
};
struct PtraceSyscallInfo {
  uint8_t op, pad[3];
  uint32_t arch;
  uint64_t instruction_pointer, stack_pointer;
  union {
    struct {
      uint64_t nr, args[6], pad;
    } entry;
    struct {
      int64_t rval;
      uint8_t is_error, pad[55];
    } exit;
    struct {
      uint64_t nr, args[6];
      uint32_t ret_data, pad;
    } seccomp;
  } u;
};
struct PtracePeeksiginfoArgs {
  uint64_t off;
  uint32_t flags;
  int32_t nr;
};

}  // namespace uapi
