// What the stub (freestanding code inside guest processes) and the sentry agree on: addresses, the
// slot of a guest thread, commands. Included by both sides. Everything in a slot can be rewritten
// by a hostile guest at any time: the sentry copies once, checks, uses.
#pragma once

#include <cstdint>

#include "platform/api/local.h"

namespace platform::stub {

// --- Addresses in a guest process ---
constexpr uint64_t kTaskEnd =
    0x7ffffffff000;  // end of user addresses (TASK_SIZE_MAX of 4-level paging)
constexpr uint64_t kBase = 0x7fffc0000000;  // guests get what is below
constexpr uint64_t kText = kBase;           // the stub's code and constants
constexpr uint64_t kTextSize = 0x10000;
constexpr uint64_t kData = kBase + 0x20000;  // StubData, and the zygote's stack
constexpr uint64_t kDataSize = 0x1000;
constexpr uint64_t kZygoteSecret = kBase + 0x22000;  // a page that children don't get (ForkSecret)
constexpr uint64_t kZygoteSecretSize = 0x1000;
constexpr uint64_t kVdso = kBase + 0x100000;  // the host's vvar and vdso, in their order
constexpr uint64_t kVdsoSize = 0x40000;
constexpr uint64_t kSlots =
    kBase + 0x1000000;  // the shared file of the address space: an array of slots
// Patched call sites (patch.h) jump through a table of addresses, which must lie where the jump's
// own bytes make bad instructions: at 0x6xxxx. Guests get what is above.
constexpr uint64_t kTable = 0x60000;
constexpr uint64_t kTableSize = 0x10000;
constexpr uint64_t kGuestMin = 0x70000;
constexpr uint64_t kThunks = kBase + 0x200000;  // what the table points to
constexpr uint64_t kThunkSize = 64;
constexpr uint64_t kMaxThunks = kTableSize / 8;
// The code file, descriptor kCodeFd of every guest process, read-only: table, thunks, patched code.
constexpr int kCodeFd = 1;
// A guest process's socket, on which it receives descriptors; the zygote's is 0, which guest
// processes close at their start.
constexpr int kSocketFd = 3;
constexpr int kZygoteSocketFd = 0;
// As many descriptors come with one message.
constexpr uint32_t kMaxReceive = 16;
constexpr uint64_t kCodeFileThunks = kTableSize;
constexpr uint64_t kCodeFileImages = kCodeFileThunks + kMaxThunks * kThunkSize;

// Offsets in the text (fixed by code/entry.cc).
constexpr uint64_t kBootstrapOffset = 0;
constexpr uint64_t kSyscallOffset =
    16;  // "syscall; int3": where the ptrace engine makes a guest process call
constexpr uint64_t kCloneOffset =
    32;  // the same for clone: a new thread goes its own way from here
constexpr uint64_t kPlacesOffset = 64;  // Places
constexpr uint64_t kEntryOffset = 128;  // where thunks jump to

// Places in the text, as offsets.
struct Places {
  uint32_t slow;              // "ud2": the entry can't go on; AsAtSite() tells what was called
  uint32_t touch, touch_end;  // may fault, and go on at touch_failed then
  uint32_t touch_failed;
  uint32_t called_out;  // in a machine: behind the system call that is the sentry's
};

// What the stub knows of where it is, at kData.
struct StubData {
  uint32_t fsgsbase;  // 1: the bases can be read and written without a call
  uint32_t machine;   // 1: in a virtual machine, where the sentry is a system call away
  uint64_t clock;     // __vdso_clock_gettime, or 0: nobody sleeps in the stub
};

// --- A guest thread's slot ---
constexpr uint64_t kSlotSize =
    0x8000;  // a power of two: the stub finds its slot from its stack pointer
constexpr uint32_t kMaxSlots = 16384;
constexpr uint64_t kSlotsRange = uint64_t{kMaxSlots} * kSlotSize;
// Slot 0 is no thread's: it is the process page. Threads have the slots from here on.
constexpr uint32_t kFirstSlot = 1;

// The state word. Low bits: who has the thread and why; kSleeping: the side that waits sleeps in
// futex on the word, so that the other must wake it. The sentry changes the word while it is not
// kRunning, the stub while it is (and the kernel writes 0 when the thread ends).
constexpr uint32_t kDead = 0;
constexpr uint32_t kRunning = 1;  // a command was given: the flags below
constexpr uint32_t kStoppedSyscall = 2;
constexpr uint32_t kStoppedFault = 3;
constexpr uint32_t kStoppedInterrupt = 4;
constexpr uint32_t kReady = 5;   // new, or after a command with kStay
constexpr uint32_t kFailed = 6;  // a mapping change failed
constexpr uint32_t kKindMask = 7;
constexpr uint32_t kSleeping = 8;
// Flags of a command.
constexpr uint32_t kOps = 0x10;       // carry out the slot's ops first
constexpr uint32_t kStay = 0x20;      // then stop again as kReady
constexpr uint32_t kBases = 0x40;     // load fs_base and gs_base
constexpr uint32_t kRet = 0x80;       // rax = ret
constexpr uint32_t kExit = 0x100;     // end the thread
constexpr uint32_t kSpin = 0x200;     // spin at the next stop before sleeping
constexpr uint32_t kSaveFp = 0x400;   // store the extended state at fp_at
constexpr uint32_t kFull = 0x800;     // go on by rt_sigreturn from the frame, not lightly
constexpr uint32_t kInitFp = 0x1000;  // then make the extended state initial

// Channel.ops_state.
constexpr uint32_t kOpsDone = 0;
constexpr uint32_t kOpsPending = 1;
constexpr uint32_t kOpsWaited = 2;  // pending, and a sentry thread sleeps on the word

enum OpKind : uint32_t {
  kOpMap = 1,
  kOpUnmap = 2,
  kOpProtect = 3,
  kOpReceive = 4,
  kOpClose = 5,
  kOpClone = 6,
  kOpWake = 7,  // up to len sleepers of the private futex at addr
  kOpMove = 8,  // as kOpWake; up to fd others move to that at offset
};

constexpr uint32_t kOpHuge = 0x4000;  // kOpMap: huge pages are welcome
struct Op {
  uint64_t addr;
  uint64_t len;
  uint64_t offset;
  uint32_t kind_prot;  // OpKind | prot << 8 | kOpHuge
  // kOpMap, kOpClose; kOpClone: the slot; kOpReceive: the number that the last of `len` descriptors
  // must get.
  int32_t fd;
};
static_assert(sizeof(Op) == 32);
constexpr uint32_t kMaxOps = 96;

// The kernel's signal frame (struct ucontext of asm-generic, x86-64).
struct UContext {
  uint64_t flags;
  uint64_t link;
  uint64_t ss_sp;
  uint32_t ss_flags;
  uint32_t pad;
  uint64_t ss_size;
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
      eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  uint64_t fpstate;  // address in the guest process
  uint64_t reserved[8];
  uint64_t sigmask;
};
static_assert(sizeof(UContext) == 304);

// The registers of a guest thread that came through a patched call site. Only the general ones are
// valid in uc; its eflags lack the arithmetic flags, which are in `flags` (bit 0: OF, bits 8 to 15:
// as LAHF gives them).
struct LightFrame {
  UContext uc;
  uint32_t flags;
  uint32_t interrupted;  // an interrupt came while the thread was in the stub
};

struct Channel {
  // The hot line: all that a system call needs.
  uint32_t state;
  uint32_t nr;
  uint64_t ret;
  uint64_t arg[6];
  // Rarely changed, so that the line stays shared in both caches.
  uint64_t frame;  // offset in the slot of the ucontext of the guest's registers
  uint64_t fs_base;
  uint64_t gs_base;
  uint32_t tid;  // written by the kernel at clone
  uint32_t ops_state;
  uint32_t ops_count;
  int32_t clone_result;
  // The light path's stack, an address in the guest process, fixed for the slot.
  uint64_t stack;
  // Where kSaveFp stores the extended state; which components it has, and how long it is in a
  // signal frame with what XSAVE doesn't write (FP_XSTATE_MAGIC2), and without.
  uint64_t fp_at;
  uint64_t fp_mask;
  uint32_t fp_size;
  uint32_t xsave_size;
  // The last fault.
  uint32_t signo;
  int32_t code;
  uint64_t addr;
  uint64_t trapno;
  uint64_t error;
  uint64_t own_fp;  // where the slot has room for the extended state
  uint32_t awake;   // since a command that found it asleep
  uint32_t unused0;
  uint64_t unused1;
  uint8_t unused2[0x100 - 192];
  LocalThread local;
  uint32_t yields;  // since the host was last asked
  uint8_t unused3[0x200 - 0x100 - sizeof(LocalThread) - 4];
  Op ops[kMaxOps];
  LightFrame light;
};
static_assert(sizeof(Channel) <= 0x1000);
// code/entry.cc knows these.
static_assert(__builtin_offsetof(Channel, stack) == 104);
static_assert(__builtin_offsetof(Channel, light) == 0xe00);
static_assert(__builtin_offsetof(UContext, r8) == 40 &&
              __builtin_offsetof(UContext, eflags) == 176);
static_assert(__builtin_offsetof(LightFrame, flags) == 304);
// Calls whose caller's extended state the light path stores at own_fp: a new thread begins with it.
constexpr bool StartsThread(uint64_t nr) {
  return nr == 56 || nr == 57 || nr == 58 || nr == 435;  // clone, fork, vfork, clone3
}
// Calls that the stub answers, if it can.
constexpr bool MayBeLocal(uint64_t nr) {
  switch (nr) {
    case 14:   // rt_sigprocmask
    case 24:   // sched_yield
    case 39:   // getpid
    case 102:  // getuid
    case 104:  // getgid
    case 107:  // geteuid
    case 108:  // getegid
    case 110:  // getppid
    case 186:  // gettid
    case 202:  // futex
    case 273:  // set_robust_list
    case 334:  // rseq
      return true;
    default:
      return false;
  }
}
constexpr uint64_t kLightFrame = __builtin_offsetof(Channel, light);
static_assert(__builtin_offsetof(Channel, frame) == 64);
static_assert(__builtin_offsetof(Channel, ops) == 0x200);

// The rest of the slot is the alternate signal stack; the guest's registers lie in the kernel's
// signal frame at its top.
constexpr uint64_t kAltStack = 0x1000;
constexpr uint64_t kAltStackSize = kSlotSize - kAltStack;

// What the kernel lets user code set in eflags, what is always set, and the selectors of user code
// (platform/api/context.h, which the stub can't include).
constexpr uint64_t kGuestEflags = 0x50dd5;
constexpr uint64_t kFixedEflags = 0x202;
constexpr uint16_t kCs = 0x33, kSs = 0x2b;
constexpr uint64_t kUcFlags = 7;  // UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
constexpr uint64_t kSiginfoSize = 128;

constexpr int kInterruptSignal =
    10;  // SIGUSR1: never reaches the guest, whose signals are the sentry's

// --- The process page (slot 0) ---
constexpr uint32_t kMaxImages = 256;
struct ProcessPage {
  // By number of a patched image (patch.h): where its file's offset 0 would be mapped.
  uint64_t base[kMaxImages];
  LocalSpace local;
};
static_assert(sizeof(ProcessPage) <= 4096);

// --- Thunks ---
// What a patched site's jump leads to: the instructions it replaced, the address behind the system
// call into rcx, a jump to the entry. Its last bytes tell which site that is.
struct ThunkInfo {
  uint32_t image;
  uint32_t site;        // offset in the image's file of the first instruction replaced
  uint16_t boundaries;  // bit n: an instruction began at site + n
  uint8_t copied;       // bytes of instructions at the thunk's start
  uint8_t jump;         // the jump is at site + jump (a prefix stands before it)
};
constexpr uint64_t kThunkInfo = 48;
static_assert(kThunkInfo + sizeof(ThunkInfo) <= kThunkSize);

// --- The zygote ---
// The filter on guest processes is installed once, in the zygote: it lets a process be forked by
// who has these words in the last two argument registers. Guests never see them: they are in a page
// of the zygote that its children don't inherit, and in registers for the one instruction.
struct ForkSecret {
  uint64_t word[2];
};
constexpr uint64_t kForkFlags = 0x8000 | 0x200000 | 17;  // PARENT CHILD_CLEARTID SIGCHLD

// Before the switch into the stub, in the forked child's memory.
struct BootArgs {
  uint64_t temp,
      temp_size;  // where this struct, the text's copy and a stack lie; unmapped at the end
  uint64_t text, text_size;  // the copy
  uint64_t vdso[4][2];       // {start, end} of vvar*, vdso in address order; 0 when absent
  int32_t socket;            // SOCK_SEQPACKET to the sentry, becomes kZygoteSocketFd
  uint32_t fsgsbase;         // 1: the host lets user code read and write the bases
  uint64_t clock;            // where __vdso_clock_gettime will be; 0: nowhere
  uint32_t filter_len;       // sock_filter entries
  uint32_t ptrace;           // 1: the sentry traces guest processes
  uint64_t filter;           // their address
  ForkSecret secret;
};

// The zygote's messages. It says hello once, then answers each request, that came with the address
// space's slots file and socket.
struct ZygoteHello {
  uint32_t magic;
  uint32_t vdso_ok;
};
constexpr uint32_t kZygoteMagic = 0x4d6f6174;
struct ZygoteRequest {
  uint64_t slots_size;  // how much of the file's range to map
};
struct ZygoteReply {
  int32_t pid;  // or -errno
  uint32_t pad;
};

}  // namespace platform::stub
