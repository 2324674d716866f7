// The way in and out for patched call sites: no signal, no host call; the guest's registers are
// kept in the slot's light frame. Interrupts may come at any instruction here (the handler in
// stub.cc knows the ranges): before the thread has published its stop they only leave a mark, and
// on the way out the thread looks at the mark, and begins that again if one comes meanwhile.

#include "platform/stub/code/common.h"

namespace platform::stub {

namespace {

// x86-64 call numbers.
constexpr uint32_t kRtSigprocmask = 14, kGetpid = 39, kGetuid = 102, kGetgid = 104, kGeteuid = 107,
                   kGetegid = 108, kGetppid = 110, kGettid = 186, kFutex = 202,
                   kSetRobustList = 273, kRseq = 334;
constexpr long kEagain = 11, kEnosys = 38, kEtimedout = 110;
constexpr uint64_t kRobustListHeadSize = 24;
// A loop that waits by yielding must not keep the processor for ever.
constexpr uint32_t kYieldsPerHost = 16;

// futex(2) with op, unless *interrupted: -EINTR then, and when an interrupt comes meanwhile.
extern "C" __attribute__((visibility("hidden"))) long StubSleepOn(uint64_t addr, uint64_t op,
                                                                  uint64_t value, uint64_t timeout,
                                                                  const uint32_t* interrupted,
                                                                  uint64_t bits);

// rt_sigprocmask(how, set, oldset, 8).
bool Sigprocmask(LocalThread* l, UContext* uc) {
  uint64_t how = uc->rdi, set = uc->rsi, old_set = uc->rdx;
  if (uc->r10 != 8 || set >= kBase || old_set >= kBase || l->pending != 0) return false;
  uint64_t old = l->blocked, mask = old;
  if (set != 0) {
    uint64_t arg;
    if (!StubCopy(&arg, P(set), sizeof arg)) return false;
    arg &= ~kUnblockable;
    switch (static_cast<uint32_t>(how)) {
      case 0:  // SIG_BLOCK
        mask |= arg;
        break;
      case 1:  // SIG_UNBLOCK
        mask &= ~arg;
        break;
      case 2:  // SIG_SETMASK
        mask = arg;
        break;
      default:
        return false;
    }
  }
  if (old_set != 0 && !StubCopy(P(old_set), &old, sizeof old)) return false;
  if (!SetMask(l, mask)) return false;
  uc->rax = 0;
  return true;
}

int64_t Now() {
  struct {
    int64_t sec, ns;
  } t;
  reinterpret_cast<int (*)(int, void*)>(Data()->clock)(1, &t);  // CLOCK_MONOTONIC
  return t.sec * 1'000'000'000 + t.ns;
}

// Waits of private futexes are the host's, by this process's addresses.
bool Sleep(Channel* c, UContext* uc, uint16_t* sleepers) {
  LocalThread* l = &c->local;
  if (Data()->clock == 0) return false;
  // Counted before the host looks at the word.
  __atomic_fetch_add(sleepers, 1, __ATOMIC_SEQ_CST);
  const int64_t since = Now();
  __atomic_store_n(&l->asleep_since, since, __ATOMIC_RELAXED);
  const long r =
      StubSleepOn(uc->rdi, static_cast<uint32_t>(uc->rsi), static_cast<uint32_t>(uc->rdx), uc->r10,
                  &c->light.interrupted, static_cast<uint32_t>(uc->r9));
  __atomic_store_n(&l->asleep_since, 0, __ATOMIC_RELAXED);
  l->slept_ns += Now() - since;
  l->sleeps++;
  __atomic_fetch_sub(sleepers, 1, __ATOMIC_RELAXED);
  // All else needs the sentry: a signal, a page that isn't there.
  if (r != 0 && r != -kEagain && r != -kEtimedout) return false;
  uc->rax = static_cast<uint64_t>(r);
  return true;
}

// *woken: how many of those to wake are awake already, when the sentry knows of others.
bool Futex(Channel* c, UContext* uc, uint32_t* woken) {
  const uint64_t addr = uc->rdi;
  if (addr % 4 != 0 || addr >= kBase) return false;
  LocalSpace& s = Process()->local;
  const uint32_t bucket = LocalSpace::BucketOf(addr);
  switch (static_cast<uint32_t>(uc->rsi)) {
    case kFutexWait | kFutexPrivate:
      // With a time limit, which is relative, a wait that is interrupted could not be told to the
      // sentry.
      return uc->r10 == 0 && Sleep(c, uc, &s.futex_sleepers[bucket]);
    case kFutexWaitBitset | kFutexPrivate:
    case kFutexWaitBitset | kFutexPrivate | kFutexClockRealtime:
      return uc->r10 < kBase && static_cast<uint32_t>(uc->r9) == ~0u &&
             Sleep(c, uc, &s.futex_sleepers[bucket]);
    case kFutexWake | kFutexPrivate: {
      // The guest has changed the word already; a waiter counts itself before it looks at it.
      __atomic_thread_fence(__ATOMIC_SEQ_CST);
      const bool here = __atomic_load_n(&s.futex_sleepers[bucket], __ATOMIC_RELAXED) != 0;
      const bool there = __atomic_load_n(&s.futex_waiters[bucket], __ATOMIC_RELAXED) != 0;
      const auto count = static_cast<int32_t>(uc->rdx);
      long n = here ? Call(kSysFutex, addr, kFutexWake | kFutexPrivate, uc->rdx) : 0;
      if (n < 0) return false;
      if (there && n < (count < 1 ? 1 : count)) {
        *woken = static_cast<uint32_t>(n);
        return false;
      }
      uc->rax = static_cast<uint64_t>(n);
      return true;
    }
    default:
      return false;
  }
}

// Calls whose answer is known here. False: the sentry's.
bool Local(Channel* c, uint32_t nr, UContext* uc, uint32_t* woken) {
  LocalThread& l = c->local;
  switch (nr) {
    case kRtSigprocmask:
      return Sigprocmask(&l, uc);
    case kGetpid:
      uc->rax = static_cast<uint64_t>(l.pid);
      return true;
    case kGettid:
      uc->rax = static_cast<uint64_t>(l.tid);
      return true;
    case kGetppid:
      uc->rax = static_cast<uint64_t>(l.ppid);
      return true;
    case kGetuid:
      uc->rax = l.uid;
      return true;
    case kGeteuid:
      uc->rax = l.euid;
      return true;
    case kGetgid:
      uc->rax = l.gid;
      return true;
    case kGetegid:
      uc->rax = l.egid;
      return true;
    case kSysSchedYield:
      if (++c->yields % kYieldsPerHost == 0) {
        if (Data()->machine) return false;
        Call(kSysSchedYield);
      }
      uc->rax = 0;
      return true;
    case kFutex:
      return Futex(c, uc, woken);
    case kSetRobustList:
      if (uc->rsi != kRobustListHeadSize) return false;
      l.robust_list = uc->rdi;
      uc->rax = 0;
      return true;
    case kRseq:
      uc->rax = static_cast<uint64_t>(-kEnosys);
      return true;
    default:
      return false;
  }
}

// How to leave: lightly, by a system call in place of the site's, or by the frame at that address.
constexpr uint64_t kLeave = 0, kCallOut = 1;

uint64_t StopLight(Channel* c, uint32_t stopped) {
  // The fs base as the guest left it; gs is the stub's.
  uint64_t fs = ReadFs();
  if (c->fs_base != fs) c->fs_base = fs;
  if (c->frame != kLightFrame) c->frame = kLightFrame;
  c->light.interrupted = 0;
  uint32_t command = Stop(c, &c->light.uc, stopped, true);
  return command & kFull ? U(c) + c->frame : kLeave;
}

}  // namespace

extern "C" uint64_t StubSyscall(Channel* c, uint32_t nr) {
  UContext& uc = c->light.uc;
  uint32_t woken = 0;
  if (c->local.enabled && Local(c, nr, &uc, &woken)) return kLeave;
  if (Data()->machine) {
    uc.rax = nr;
    return kCallOut;
  }
  if (StartsThread(nr)) StubSaveFp(c->own_fp, c->fp_mask);
  c->nr = nr;
  c->arg[0] = uc.rdi;
  c->arg[1] = uc.rsi;
  c->arg[2] = uc.rdx - woken;
  c->arg[3] = uc.r10;
  c->arg[4] = uc.r8;
  c->arg[5] = uc.r9;
  uint64_t leave = StopLight(c, kStoppedSyscall);
  if (woken != 0 && leave == kLeave && static_cast<int64_t>(uc.rax) >= 0) uc.rax += woken;
  return leave;
}

extern "C" uint64_t StubInterrupted(Channel* c) { return StopLight(c, kStoppedInterrupt); }

// The fixed places; the entry and the exit; the signal handler's ends; and clone, whose child must
// not return on the parent's stack.
__asm__(R"(
  .set STACK, 104
  .set LIGHT, 0xe00
  .set FLAGS, LIGHT + 304
  .set INTERRUPTED, LIGHT + 308
  .set R8, LIGHT + 40
  .set R9, LIGHT + 48
  .set R10, LIGHT + 56
  .set R11, LIGHT + 64
  .set R12, LIGHT + 72
  .set R13, LIGHT + 80
  .set R14, LIGHT + 88
  .set R15, LIGHT + 96
  .set RDI, LIGHT + 104
  .set RSI, LIGHT + 112
  .set RBP, LIGHT + 120
  .set RBX, LIGHT + 128
  .set RDX, LIGHT + 136
  .set RAX, LIGHT + 144
  .set RCX, LIGHT + 152
  .set RSP, LIGHT + 160
  .set RIP, LIGHT + 168
  .set EFLAGS, LIGHT + 176

  # The guest's registers that code in C doesn't leave alone, from the slot at rcx; rcx stays.
  .macro REGISTERS
  mov R8(%rcx), %r8
  mov R9(%rcx), %r9
  mov R10(%rcx), %r10
  mov RDI(%rcx), %rdi
  mov RSI(%rcx), %rsi
  mov RDX(%rcx), %rdx
  mov EFLAGS(%rcx), %r11
  mov FLAGS(%rcx), %eax
  add $0x7f, %al
  sahf
  mov RAX(%rcx), %rax
  mov RSP(%rcx), %rsp
  .endm

  .pushsection .text.head, "ax"
  .globl stub_head
stub_head:
  jmp StubBoot
  .org 16
  syscall
  int3
  .org 32
clone_syscall:
  syscall
  test %rax, %rax
  jz 1f
  ret
1:
  # The slot of a new thread is known from its stack.
  xor %ebp, %ebp
  mov %rsp, %rdi
  and $-0x8000, %rdi
  call StubThread
  hlt

  .org 64
  .long StubSlow - stub_head
  .long StubTouch - stub_head
  .long StubTouchEnd - stub_head
  .long StubTouchFailed - stub_head
  .long StubCalledOut - stub_head

  # eax: the number; rcx: the address behind the site; r11 is free, as after a real system call.
  .org 128
  .globl StubEntry
StubEntry:
  mov %eax, %r11d
  seto %al
  lahf
  movzwl %ax, %eax
  shl $32, %rax
  or %rax, %r11
  # The guest may have a gs base of its own: then it is no slot.
  rdgsbase %rax
  sub slots(%rip), %rax
  cmp $0x20000000, %rax
  jae StubSlow
  test $0x7fff, %eax
  jnz StubSlow
  add slots(%rip), %rax
  mov %rsp, RSP(%rax)
  mov STACK(%rax), %rsp
  pushfq
  testl $0x500, (%rsp)  # TF, DF
  jnz 1f
  popq EFLAGS(%rax)
  mov %r8, R8(%rax)
  mov %r9, R9(%rax)
  mov %r10, R10(%rax)
  mov %r12, R12(%rax)
  mov %r13, R13(%rax)
  mov %r14, R14(%rax)
  mov %r15, R15(%rax)
  mov %rdi, RDI(%rax)
  mov %rsi, RSI(%rax)
  mov %rbp, RBP(%rax)
  mov %rbx, RBX(%rax)
  mov %rdx, RDX(%rax)
  mov %rcx, RCX(%rax)
  mov %rcx, RIP(%rax)
  mov %r11d, %esi
  shr $32, %r11
  mov %r11d, FLAGS(%rax)
  mov %rax, %rdi
  call StubSyscall
2:
  test %rax, %rax
  jnz StubFull
  .globl StubLeave
StubLeave:
  rdgsbase %rcx
  cmpl $0, INTERRUPTED(%rcx)
  jne 3f
  REGISTERS
  mov RIP(%rcx), %rcx
  jmp *%rcx
  .globl StubLeaveEnd
StubLeaveEnd:
3:
  mov STACK(%rcx), %rsp
  mov %rcx, %rdi
  call StubInterrupted
  jmp 2b
StubFull:
  cmp $1, %rax
  je StubCallOut
  mov %rax, %rsp
  mov $15, %eax
  syscall
  hlt
  # The sentry puts the site in the place of rip.
StubCallOut:
  rdgsbase %rcx
  REGISTERS
  syscall
StubCalledOut:
  ud2
1:
  mov RSP(%rax), %rsp
  .globl StubSlow
StubSlow:
  # The signal handler takes it from here.
  ud2
  .balign 8
slots:
  .quad 0x7fffc1000000

  .balign 16
  .globl StubTouch
StubTouch:
  .globl StubCopy
StubCopy:
  mov %rdx, %rcx
  rep movsb
  mov $1, %eax
  ret
  .globl StubSaveFp
StubSaveFp:
  mov %esi, %eax
  mov %rsi, %rdx
  shr $32, %rdx
  xsave64 (%rdi)
  mov $1, %eax
  ret
  .globl StubRestoreFp
StubRestoreFp:
  mov %esi, %eax
  mov %rsi, %rdx
  shr $32, %rdx
  xrstor64 (%rdi)
  mov $1, %eax
  ret
  .globl StubTouchEnd
StubTouchEnd:
  .globl StubTouchFailed
StubTouchFailed:
  xor %eax, %eax
  ret
  .globl StubInitFp
StubInitFp:
  mov %edi, %eax
  mov %rdi, %rdx
  shr $32, %rdx
  xrstor64 initial_fp(%rip)
  ret
  # No component in use, and MXCSR as after a reset, which is loaded all the same.
  .balign 64
initial_fp:
  .fill 24, 1, 0
  .long 0x1f80
  .fill 548, 1, 0

  .balign 16
  .globl StubSleepOn
StubSleepOn:
  mov %rcx, %r10
  mov $202, %eax
  .globl StubSleep
StubSleep:
  cmpl $0, (%r8)
  jne StubSleepNot
  syscall
  .globl StubSleepEnd
StubSleepEnd:
  ret
  .globl StubSleepNot
StubSleepNot:
  mov $-4, %rax
  ret

  .balign 16
  .globl StubHandlerEntry
StubHandlerEntry:
  cld
  jmp StubHandler
  .balign 16
  .globl StubRestorer
StubRestorer:
  mov $15, %eax
  syscall
  hlt
  .balign 16
  .globl StubClone
StubClone:
  # rdi flags, rsi stack, rdx ptid, rcx ctid
  mov %rcx, %r10
  mov $56, %eax
  jmp clone_syscall
  .popsection
)");
static_assert(kSlotSize == 0x8000 && kSlots == 0x7fffc1000000 && kSlotsRange == 0x20000000);
static_assert(kEntryOffset == 128 && kPlacesOffset == 64 && kCloneOffset == 32 &&
              kSyscallOffset == 16);

}  // namespace platform::stub
