// signal(7): numbers, siginfo, action and the frames on x86-64.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kSIGHUP = 1;
inline constexpr int32_t kSIGINT = 2;
inline constexpr int32_t kSIGQUIT = 3;
inline constexpr int32_t kSIGILL = 4;
inline constexpr int32_t kSIGTRAP = 5;
inline constexpr int32_t kSIGABRT = 6;
inline constexpr int32_t kSIGIOT = 6;
inline constexpr int32_t kSIGBUS = 7;
inline constexpr int32_t kSIGFPE = 8;
inline constexpr int32_t kSIGKILL = 9;
inline constexpr int32_t kSIGUSR1 = 10;
inline constexpr int32_t kSIGSEGV = 11;
inline constexpr int32_t kSIGUSR2 = 12;
inline constexpr int32_t kSIGPIPE = 13;
inline constexpr int32_t kSIGALRM = 14;
inline constexpr int32_t kSIGTERM = 15;
inline constexpr int32_t kSIGSTKFLT = 16;
inline constexpr int32_t kSIGCHLD = 17;
inline constexpr int32_t kSIGCONT = 18;
inline constexpr int32_t kSIGSTOP = 19;
inline constexpr int32_t kSIGTSTP = 20;
inline constexpr int32_t kSIGTTIN = 21;
inline constexpr int32_t kSIGTTOU = 22;
inline constexpr int32_t kSIGURG = 23;
inline constexpr int32_t kSIGXCPU = 24;
inline constexpr int32_t kSIGXFSZ = 25;
inline constexpr int32_t kSIGVTALRM = 26;
inline constexpr int32_t kSIGPROF = 27;
inline constexpr int32_t kSIGWINCH = 28;
inline constexpr int32_t kSIGIO = 29;
inline constexpr int32_t kSIGPOLL = 29;
inline constexpr int32_t kSIGPWR = 30;
inline constexpr int32_t kSIGSYS = 31;
inline constexpr int32_t kSIGUNUSED = 31;
inline constexpr int32_t kSIGRTMIN = 32;
inline constexpr int32_t kSIGRTMAX = 64;
inline constexpr int32_t kNSIG = 64;

// A set of signals as the kernel has it: bit n-1 is signal n.
using SigSet = uint64_t;
constexpr SigSet SigBit(int32_t sig) { return SigSet{1} << (sig - 1); }

// sigprocmask(2).
inline constexpr int32_t kSIG_BLOCK = 0;
inline constexpr int32_t kSIG_UNBLOCK = 1;
inline constexpr int32_t kSIG_SETMASK = 2;
inline constexpr uint64_t kSIG_DFL = 0;
inline constexpr uint64_t kSIG_IGN = 1;

// sigaction(2). rt_sigaction's struct, in the kernel's layout.
inline constexpr uint64_t kSA_NOCLDSTOP = 0x1;
inline constexpr uint64_t kSA_NOCLDWAIT = 0x2;
inline constexpr uint64_t kSA_SIGINFO = 0x4;
inline constexpr uint64_t kSA_UNSUPPORTED = 0x400;
inline constexpr uint64_t kSA_EXPOSE_TAGBITS = 0x800;
inline constexpr uint64_t kSA_RESTORER = 0x4000000;
inline constexpr uint64_t kSA_ONSTACK = 0x8000000;
inline constexpr uint64_t kSA_RESTART = 0x10000000;
inline constexpr uint64_t kSA_NOMASK = 0x40000000;
inline constexpr uint64_t kSA_NODEFER = 0x40000000;
inline constexpr uint64_t kSA_RESETHAND = 0x80000000;
inline constexpr uint64_t kSA_ONESHOT = 0x80000000;
struct SigAction {
  uint64_t handler, flags, restorer;
  SigSet mask;
};

// sigaltstack(2).
inline constexpr int32_t kSS_ONSTACK = 1;
inline constexpr int32_t kSS_DISABLE = 2;
inline constexpr uint32_t kSS_AUTODISARM = 0x80000000;
inline constexpr int32_t kMINSIGSTKSZ = 2048;
inline constexpr int32_t kSIGSTKSZ = 8192;
struct StackT {
  uint64_t sp;
  int32_t flags;
  uint32_t pad;
  uint64_t size;
};

// siginfo_t, 128 bytes. Which member of `f` holds follows from signo and code (sigaction(2)). Every
// member fills the union, so that a SigInfo that starts as zeros has no byte of unknown content.
struct SigInfo {
  int32_t signo, err, code, pad0;
  union Fields {
    uint8_t raw[112];
    struct Kill {
      int32_t pid;
      uint32_t uid;
      uint8_t rest[104];
    } kill;
    struct Timer {
      int32_t tid, overrun;
      uint64_t value;
      int32_t sys_private;
      uint8_t rest[92];
    } timer;
    struct Rt {
      int32_t pid;
      uint32_t uid;
      uint64_t value;
      uint8_t rest[96];
    } rt;
    struct Chld {
      int32_t pid;
      uint32_t uid;
      int32_t status, pad;
      int64_t utime, stime;
      uint8_t rest[80];
    } chld;
    // Of bounds faults lower and upper; of protection-key faults the key is the low half of lower.
    struct Fault {
      uint64_t addr;
      int16_t addr_lsb, pad[3];
      uint64_t lower, upper;
      uint8_t rest[80];
    } fault;
    struct Poll {
      int64_t band;
      int32_t fd;
      uint8_t rest[100];
    } poll;
    struct Sys {
      uint64_t call_addr;
      int32_t syscall;
      uint32_t arch;
      uint8_t rest[96];
    } sys;
  } f;
};
static_assert(sizeof(SigInfo) == 128);

// si_code.
inline constexpr int32_t kSI_USER = 0;
inline constexpr int32_t kSI_KERNEL = 128;
inline constexpr int32_t kSI_QUEUE = -1;
inline constexpr int32_t kSI_TIMER = -2;
inline constexpr int32_t kSI_MESGQ = -3;
inline constexpr int32_t kSI_ASYNCIO = -4;
inline constexpr int32_t kSI_SIGIO = -5;
inline constexpr int32_t kSI_TKILL = -6;
inline constexpr int32_t kSI_DETHREAD = -7;
inline constexpr int32_t kSI_ASYNCNL = -60;
inline constexpr int32_t kILL_ILLOPC = 1;
inline constexpr int32_t kILL_ILLOPN = 2;
inline constexpr int32_t kILL_ILLADR = 3;
inline constexpr int32_t kILL_ILLTRP = 4;
inline constexpr int32_t kILL_PRVOPC = 5;
inline constexpr int32_t kILL_PRVREG = 6;
inline constexpr int32_t kILL_COPROC = 7;
inline constexpr int32_t kILL_BADSTK = 8;
inline constexpr int32_t kILL_BADIADDR = 9;
inline constexpr int32_t kFPE_INTDIV = 1;
inline constexpr int32_t kFPE_INTOVF = 2;
inline constexpr int32_t kFPE_FLTDIV = 3;
inline constexpr int32_t kFPE_FLTOVF = 4;
inline constexpr int32_t kFPE_FLTUND = 5;
inline constexpr int32_t kFPE_FLTRES = 6;
inline constexpr int32_t kFPE_FLTINV = 7;
inline constexpr int32_t kFPE_FLTSUB = 8;
inline constexpr int32_t kFPE_FLTUNK = 14;
inline constexpr int32_t kFPE_CONDTRAP = 15;
inline constexpr int32_t kSEGV_MAPERR = 1;
inline constexpr int32_t kSEGV_ACCERR = 2;
inline constexpr int32_t kSEGV_BNDERR = 3;
inline constexpr int32_t kSEGV_PKUERR = 4;
inline constexpr int32_t kBUS_ADRALN = 1;
inline constexpr int32_t kBUS_ADRERR = 2;
inline constexpr int32_t kBUS_OBJERR = 3;
inline constexpr int32_t kBUS_MCEERR_AR = 4;
inline constexpr int32_t kBUS_MCEERR_AO = 5;
inline constexpr int32_t kTRAP_BRKPT = 1;
inline constexpr int32_t kTRAP_TRACE = 2;
inline constexpr int32_t kTRAP_BRANCH = 3;
inline constexpr int32_t kTRAP_HWBKPT = 4;
inline constexpr int32_t kTRAP_UNK = 5;
inline constexpr int32_t kCLD_EXITED = 1;
inline constexpr int32_t kCLD_KILLED = 2;
inline constexpr int32_t kCLD_DUMPED = 3;
inline constexpr int32_t kCLD_TRAPPED = 4;
inline constexpr int32_t kCLD_STOPPED = 5;
inline constexpr int32_t kCLD_CONTINUED = 6;
inline constexpr int32_t kPOLL_IN = 1;
inline constexpr int32_t kPOLL_OUT = 2;
inline constexpr int32_t kPOLL_MSG = 3;
inline constexpr int32_t kPOLL_ERR = 4;
inline constexpr int32_t kPOLL_PRI = 5;
inline constexpr int32_t kPOLL_HUP = 6;
inline constexpr int32_t kSYS_SECCOMP = 1;
inline constexpr int32_t kSYS_USER_DISPATCH = 2;

// sigevent of timer_create(2) and mq_notify(2).
inline constexpr int32_t kSIGEV_SIGNAL = 0;
inline constexpr int32_t kSIGEV_NONE = 1;
inline constexpr int32_t kSIGEV_THREAD = 2;
inline constexpr int32_t kSIGEV_THREAD_ID = 4;
struct SigEvent {
  uint64_t value;
  int32_t signo, notify;
  int32_t tid;
  int32_t pad[11];
};
static_assert(sizeof(SigEvent) == 64);

// signalfd(2).
inline constexpr int32_t kSFD_CLOEXEC = 02000000;
inline constexpr int32_t kSFD_NONBLOCK = 04000;
struct SignalfdSiginfo {
  uint32_t signo;
  int32_t err, code;
  uint32_t pid, uid;
  int32_t fd;
  uint32_t tid, band, overrun, trapno;
  int32_t status, ival;
  uint64_t ptr, utime, stime, addr;
  uint16_t addr_lsb, pad2;
  int32_t syscall;
  uint64_t call_addr;
  uint32_t arch;
  uint8_t pad[28];
};

// The frame that a handler gets (arch/x86/include/asm/sigframe.h): pretcode, ucontext, siginfo;
// fpstate above.
struct SigContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
  uint64_t eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  uint64_t fpstate;  // address of FpState, or 0
  uint64_t reserved[8];
};
struct UContext {
  uint64_t flags, link;
  StackT stack;
  SigContext mcontext;
  SigSet sigmask;
};
inline constexpr int32_t kUC_FP_XSTATE = 0x1;
inline constexpr int32_t kUC_SIGCONTEXT_SS = 0x2;
inline constexpr int32_t kUC_STRICT_RESTORE_SS = 0x4;
struct RtSigFrame {
  uint64_t pretcode;
  UContext uc;
  SigInfo info;
};
static_assert(sizeof(RtSigFrame) == 440);

// fxsave area; bytes 464..511 are software-reserved and describe the xsave area that follows it.
struct FpxSwBytes {
  uint32_t magic1, extended_size;
  uint64_t xfeatures;
  uint32_t xstate_size;
  uint32_t padding[7];
};
struct FpState {
  uint16_t cwd, swd, twd, fop;
  uint64_t rip, rdp;
  uint32_t mxcsr, mxcr_mask;
  uint32_t st_space[32], xmm_space[64], reserved2[12];
  FpxSwBytes sw_reserved;
};
struct XStateHeader {
  uint64_t xfeatures, xcomp_bv, reserved[6];
};
inline constexpr int32_t kFP_XSTATE_MAGIC1 = 0x46505853;
inline constexpr int32_t kFP_XSTATE_MAGIC2 = 0x46505845;
inline constexpr int32_t kFP_XSTATE_MAGIC2_SIZE = 0x4;
inline constexpr uint32_t kMXCSR_DEFAULT = 0x1f80;

}  // namespace uapi
