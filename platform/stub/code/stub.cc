// The code that lives in guest processes: the zygote that creates them, and the signal handler in
// which a guest thread waits while the sentry works for it. Freestanding and position-independent,
// no writable data: state is in the thread's slot (layout.h). Nothing here is trusted. A guest may
// jump anywhere into it with any registers; what it can reach that way is what the host's filter on
// guest processes allows (platform/stub/guest_filter.cc), and that must be harmless.

#include "platform/stub/code/common.h"
#include "platform/stub/inside.h"

namespace platform::stub {
namespace {

constexpr int kEintr = 4;
constexpr uint64_t kProtRead = 1, kProtWrite = 2, kProtExec = 4;
constexpr uint64_t kMapShared = 1, kMapPrivate = 2, kMapFixed = 0x10, kMapAnonymous = 0x20;
constexpr uint64_t kMsgCmsgCloexec = 0x40000000;
constexpr uint64_t kThreadFlags =
    0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x100000 |
    0x200000;  // VM FS FILES SIGHAND THREAD SYSVSEM PARENT_SETTID CHILD_CLEARTID
constexpr int kSigill = 4, kSigtrap = 5, kSigbus = 7, kSigfpe = 8, kSigsegv = 11, kSigsys = 31;
constexpr uint32_t kAuditArchX8664 = 0xc000003e;
constexpr int kSiKernel = 0x80;
constexpr uint32_t kUretprobe = 335;

struct SigInfo {
  int32_t signo, err, code, pad;
  union {
    struct {
      uint64_t call_addr;
      int32_t syscall;
      uint32_t arch;
    } sys;
    uint64_t addr;
  };
};

inline uint32_t Load(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

constexpr uint64_t kZygoteStack = kData + kDataSize;

// A guest without a gs base of its own has its slot's address there, by which the entry of patched
// call sites knows the slot.
void SetBases(const Channel* c) {
  uint64_t fs = c->fs_base, gs = c->gs_base;
  if (Data()->fsgsbase) {
    if (gs == 0) gs = U(c);
    __asm__ volatile("wrfsbase %0" ::"r"(fs));
    __asm__ volatile("wrgsbase %0" ::"r"(gs));
  } else {
    Call(kSysArchPrctl, 0x1002, fs);
    Call(kSysArchPrctl, 0x1001, gs);
  }
}

// The bases as the guest left them. Without the instructions only the sentry changes them, so the
// slot is right already.
inline void SaveBases(Channel* c) {
  if (!Data()->fsgsbase) return;
  uint64_t fs = ReadFs(), gs = ReadGs();
  if (gs == U(c)) gs = 0;
  if (c->fs_base != fs) c->fs_base = fs;
  if (c->gs_base != gs) c->gs_base = gs;
}

extern "C" __attribute__((visibility("hidden"))) long StubClone(uint64_t flags, uint64_t stack,
                                                                uint32_t* ptid, uint32_t* ctid);

struct IoVec {
  void* base;
  uint64_t len;
};
struct MsgHdr {
  void* name;
  uint32_t namelen, pad;
  IoVec* iov;
  uint64_t iovlen;
  void* control;
  uint64_t controllen;
  uint32_t flags, pad2;
};
struct FdControl {
  uint64_t len;
  int32_t level, type;
  int32_t fd[kMaxReceive];
};

// The number of descriptors received, or -errno.
long Receive(int socket, void* p, uint64_t n, FdControl* control) {
  IoVec iov{p, n};
  MsgHdr m{nullptr, 0, 0, &iov, 1, control, sizeof *control, 0, 0};
  long r;
  do {
    r = Call(kSysRecvmsg, socket, U(&m), kMsgCmsgCloexec);
  } while (r == -kEintr);
  if (r < 0) return r;
  if (static_cast<uint64_t>(r) != n || m.controllen < 16) return -1;
  return static_cast<long>((control->len - 16) / 4);
}

bool RunOp(const Op& op) {
  uint64_t prot = op.kind_prot >> 8 & 7;
  switch (op.kind_prot & 0xff) {
    case kOpMap:
      if (Call(kSysMmap, op.addr, op.len, prot, kMapShared | kMapFixed, op.fd, op.offset) !=
          static_cast<long>(op.addr))
        return false;
      if (op.kind_prot & kOpHuge) Call(kSysMadvise, op.addr, op.len, 14);  // MADV_HUGEPAGE
      return true;
    case kOpUnmap:
      return Call(kSysMunmap, op.addr, op.len) == 0;
    case kOpProtect:
      return Call(kSysMprotect, op.addr, op.len, prot) == 0;
    case kOpReceive: {
      char byte;
      FdControl control;
      return op.len - 1 < kMaxReceive &&
             Receive(kSocketFd, &byte, 1, &control) == static_cast<long>(op.len) &&
             control.fd[op.len - 1] == op.fd;
    }
    case kOpClose:
      return Call(kSysClose, op.fd) == 0;
    case kOpWake:
      return Call(kSysFutex, op.addr, kFutexWake | kFutexPrivate, op.len) >= 0;
    case kOpMove:
      return Call(kSysFutex, op.addr, kFutexRequeue | kFutexPrivate, op.len, op.fd, op.offset) >= 0;
    case kOpClone: {
      Channel* n = SlotAt(op.fd);
      // In the new thread's slot: any thread of the process may be the one that carries the batch
      // out.
      n->clone_result = static_cast<int32_t>(
          StubClone(kThreadFlags, U(n) + n->frame - 8 * 32, &n->tid, &n->state));
      return true;
    }
    default:
      return false;
  }
}

bool RunOps(Channel* c) {
  uint32_t n = c->ops_count;
  bool ok = true;
  for (uint32_t i = 0; i < n && i < kMaxOps && ok; i++) ok = RunOp(c->ops[i]);
  if (__atomic_exchange_n(&c->ops_state, kOpsDone, __ATOMIC_ACQ_REL) == kOpsWaited) {
    Call(kSysFutex, U(&c->ops_state), kFutexWake, 0x7fffffff);
  }
  return ok;
}

// How often a waiting thread looks; a pause takes about 50 ns.
constexpr int kSpins = 2000;

// Waits for a command while the state is `stopped`. The sentry sets kSleeping when it will take
// long.
uint32_t WaitCommand(Channel* c, uint32_t stopped, int spins) {
  uint32_t s = Load(&c->state);
  for (int i = 0; i < spins && s == stopped; i++) {
    __asm__ volatile("pause");
    s = Load(&c->state);
  }
  if (s == stopped && __atomic_compare_exchange_n(&c->state, &s, stopped | kSleeping, false,
                                                  __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    s = stopped | kSleeping;
  if (s != (stopped | kSleeping)) return s;
  do {
    Call(kSysFutex, U(&c->state), kFutexWait, s);
    s = Load(&c->state);
  } while (s == (stopped | kSleeping));
  __atomic_store_n(&c->awake, 1, __ATOMIC_RELAXED);
  return s;
}

}  // namespace

uint32_t Stop(Channel* c, UContext* uc, uint32_t stopped, bool publish) {
  uint32_t last = 0;
  for (;;) {
    if (publish) {
      last = __atomic_exchange_n(&c->state, stopped, __ATOMIC_ACQ_REL);
      if (last & kSleeping) Call(kSysFutex, U(&c->state), kFutexWake, 1);
    }
    uint32_t command = WaitCommand(c, stopped, (last & kSpin) != 0 ? kSpins : 0);
    publish = true;
    if ((command & kKindMask) != kRunning) Die();
    if (command & kExit) {
      for (;;) Call(kSysExit, 0);
    }
    if (((command & kOps) && !RunOps(c)) ||
        ((command & kSaveFp) && !StubSaveFp(c->fp_at, c->fp_mask))) {
      stopped = kFailed;
      continue;
    }
    if (command & kInitFp) StubInitFp(c->fp_mask);
    if (command & kStay) {
      stopped = kReady;
      continue;
    }
    if (command & kBases) SetBases(c);
    if (command & kFull) uc = reinterpret_cast<UContext*>(U(c) + c->frame);
    if (command & kRet) uc->rax = c->ret;
    return command;
  }
}

namespace {

extern "C" __attribute__((visibility("hidden"))) const uint8_t StubLeave[], StubLeaveEnd[],
    StubSlow[], StubSleep[], StubSleepEnd[], StubSleepNot[], StubTouch[], StubTouchEnd[],
    StubTouchFailed[];

// Nothing of what patched sites lead to can be gone.
constexpr auto kRead = [](uint64_t from, void* to, uint64_t n) {
  __builtin_memcpy(to, reinterpret_cast<const void*>(from), n);
  return true;
};

// A signal inside the stub or a thunk. True when there is nothing for the sentry in it.
bool Inside(Channel* c, int sig, UContext* uc) {
  uint64_t rip = uc->rip;
  // The stub itself reads the clock; the guest does it with another stack.
  bool clock = rip >= kVdso && rip < kVdso + kVdsoSize && SlotOf(P(uc->rsp)) == c;
  if (!clock && !InStub(rip)) return false;
  if (sig == kInterruptSignal) {
    c->light.interrupted = 1;
    if (rip >= U(StubLeave) && rip < U(StubLeaveEnd)) uc->rip = U(StubLeave);
    if (rip >= U(StubSleep) && rip < U(StubSleepEnd)) uc->rip = U(StubSleepNot);
    return true;
  }
  if ((sig == kSigsegv || sig == kSigbus) && rip >= U(StubTouch) && rip < U(StubTouchEnd)) {
    uc->rip = U(StubTouchFailed);
    return true;
  }
  // A step within what is one instruction to the guest.
  if (sig == kSigtrap && uc->trapno == 1) return true;
  uc->rip = SiteOf(rip, *Process(), kRead);
  return false;
}

// rt_sigreturn(2) of the guest from a frame like those that the sentry makes, by the host's: uc
// becomes what the guest's frame says. False: the sentry's.
bool SigReturn(Channel* c, UContext* uc) {
  LocalThread* l = &c->local;
  UContext f;
  if (!l->enabled || l->pending != 0 || uc->rsp >= kBase - sizeof f ||
      !StubCopy(&f, P(uc->rsp), sizeof f) || f.cs != kCs || f.ss != kSs || f.rip >= kBase ||
      f.rsp >= kBase)
    return false;
  // The alternate stack comes back with the frame: it must be what it is.
  if (f.ss_sp != l->altstack_sp || f.ss_size != l->altstack_size || f.ss_flags != l->altstack_flags)
    return false;
  // struct _fpx_sw_bytes, at the end of the legacy area.
  struct {
    uint32_t magic1, extended_size;
    uint64_t xfeatures;
    uint32_t xstate_size;
  } sw;
  uint32_t magic2;
  constexpr uint32_t kSwBytes = 464, kMagic1 = 0x46505853, kMagic2 = 0x46505845;
  if (f.fpstate % 64 != 0 || f.fpstate >= kBase - c->fp_size ||
      !StubCopy(&sw, P(f.fpstate + kSwBytes), sizeof sw) || sw.magic1 != kMagic1 ||
      sw.extended_size != c->fp_size || sw.xfeatures != c->fp_mask ||
      sw.xstate_size != c->xsave_size ||
      !StubCopy(&magic2, P(f.fpstate + c->xsave_size), sizeof magic2) || magic2 != kMagic2)
    return false;
  // Whether the processor takes it: else the host would kill the process.
  if (!StubRestoreFp(f.fpstate, c->fp_mask) || !SetMask(l, f.sigmask & ~kUnblockable)) return false;
  const uint64_t* from = &f.r8;
  for (uint64_t* to = &uc->r8; to != &uc->eflags; to++) *to = *from++;
  uc->eflags = (f.eflags & kGuestEflags) | kFixedEflags;
  uc->fpstate = f.fpstate;
  return true;
}

}  // namespace

extern "C" void StubHandler(int sig, const SigInfo* info, UContext* uc) {
  Channel* c = SlotOf(uc);
  if (Inside(c, sig, uc)) [[unlikely]]
    return;
  bool slow = sig == kSigill && uc->rip == U(StubSlow);
  if (slow) {
    AsAtSite(uc);
  } else if (sig == kSigill) {
    if (uint64_t copy = CopyOf(uc->rip, kRead)) {
      uc->rip = copy;
      return;
    }
  }
  const bool call = sig == kSigsys && info->sys.arch == kAuditArchX8664;
  if (call && info->sys.syscall == kSysRtSigreturn && SigReturn(c, uc)) return;
  SaveBases(c);
  uint64_t frame = U(uc) - U(c);
  if (c->frame != frame) c->frame = frame;
  uint32_t stopped;
  // uretprobe passes every filter since Linux 6.14 (seccomp_uprobe_exception()). Its refusal is the
  // only SIGILL that the kernel makes without an exception of the processor.
  bool uretprobe = sig == kSigill && info->code == kSiKernel;
  if (slow || uretprobe || call) {
    c->nr = slow        ? static_cast<uint32_t>(uc->rax)
            : uretprobe ? kUretprobe
                        : static_cast<uint32_t>(info->sys.syscall);
    c->arg[0] = uc->rdi;
    c->arg[1] = uc->rsi;
    c->arg[2] = uc->rdx;
    c->arg[3] = uc->r10;
    c->arg[4] = uc->r8;
    c->arg[5] = uc->r9;
    stopped = kStoppedSyscall;
  } else if (sig == kInterruptSignal) {
    stopped = kStoppedInterrupt;
  } else {
    // A call of another architecture (int 0x80): what a kernel without it does.
    bool foreign = sig == kSigsys;
    c->signo = foreign ? kSigsegv : sig;
    c->code = foreign ? kSiKernel : info->code;
    c->addr = foreign ? 0 : info->addr;
    c->trapno = foreign ? 13 : uc->trapno;
    c->error = foreign ? 0x402 : uc->err;
    stopped = kStoppedFault;
  }
  Stop(c, uc, stopped, true);
}

// A new thread, on its slot's stack. The sentry has made the state kReady and a signal frame of the
// first registers.
extern "C" void StubThread(Channel* c) {
  struct {
    uint64_t sp;
    uint32_t flags, pad;
    uint64_t size;
  } ss{U(c) + kAltStack, 0, 0, kAltStackSize};
  if (Call(kSysSigaltstack, U(&ss), 0) != 0) Die();
  auto* uc = reinterpret_cast<UContext*>(U(c) + c->frame);
  Stop(c, uc, kReady, false);
  // The frame begins with the return address, which rt_sigreturn expects to be popped.
  __asm__ volatile("mov %0, %%rsp\n mov $15, %%eax\n syscall\n hlt" ::"r"(uc) : "memory");
  __builtin_unreachable();
}

namespace {

struct KernelSigaction {
  uint64_t handler;
  uint64_t flags;
  uint64_t restorer;
  uint64_t mask;
};

// In the new guest process, which has the zygote's filter. The zygote's socket goes first of all.
[[noreturn]] void Child(uint64_t slots_size, int slots_fd) {
  Call(kSysClose, kZygoteSocketFd);
  Call(kSysPrctl, 1, 9);  // PR_SET_PDEATHSIG, SIGKILL
  long r = Call(kSysMmap, kSlots, slots_size, kProtRead | kProtWrite, kMapShared | kMapFixed,
                slots_fd, 0);
  if (r != static_cast<long>(kSlots)) Die();
  Call(kSysClose, slots_fd);
  Channel* c = SlotAt(kFirstSlot);
  uint64_t sp = U(c) + c->frame - 8 * 32;
  __asm__ volatile("mov %0, %%rsp\n mov %1, %%rdi\n call StubThread\n hlt" ::"r"(sp), "r"(c)
                   : "memory");
  __builtin_unreachable();
}

// clone(2) for a new guest process. By hand: the secret must not be left anywhere in the child.
long Fork(uint32_t* ctid) {
  long ret;
  register uint64_t r10 __asm__("r10") = U(ctid);
  __asm__ volatile(
      "mov (%5), %%r8\n mov 8(%5), %%r9\n syscall\n xor %%r8d, %%r8d\n xor %%r9d, %%r9d"
      : "=a"(ret)
      : "a"(kSysClone), "D"(kForkFlags), "S"(0), "r"(r10), "b"(kZygoteSecret), "d"(0)
      : "rcx", "r8", "r9", "r11", "memory");
  return ret;
}

}  // namespace

// At the final address, on the zygote's stack. The arguments are still at their temporary place.
extern "C" [[noreturn]] void StubZygote(const BootArgs* a, uint64_t vdso_ok) {
  KernelSigaction sa;
  // By hand: a constant with addresses in it would need relocation.
  __asm__("lea StubHandlerEntry(%%rip), %0\n lea StubRestorer(%%rip), %1"
          : "=&r"(sa.handler), "=&r"(sa.restorer));
  sa.flags = 0x4 | 0x08000000 | 0x04000000;  // SA_SIGINFO SA_ONSTACK SA_RESTORER
  const int signals[] = {kSigsys, kSigsegv, kSigbus, kSigfpe, kSigill, kSigtrap, kInterruptSignal};
  for (int sig : signals) {
    // Nothing interrupts the handler but what StubCopy() and its like meet, in a system call.
    sa.mask = ~0ull;
    if (sig == kSigsys) sa.mask &= ~(1ull << (kSigsegv - 1) | 1ull << (kSigbus - 1));
    if (Call(kSysRtSigaction, sig, U(&sa), 0, 8) != 0) Die();
  }
  uint64_t all = ~0ull;
  Call(kSysRtSigprocmask, 2, U(&all), 0, 8);
  if (Call(kSysPrctl, 38, 1, 0, 0, 0) != 0) Die();  // PR_SET_NO_NEW_PRIVS
  struct {
    uint16_t len;
    uint64_t filter;
  } prog{static_cast<uint16_t>(a->filter_len), a->filter};
  if (Call(kSysSeccomp, 1, 0, U(&prog)) != 0) Die();  // SECCOMP_SET_MODE_FILTER
  Call(kSysMunmap, a->temp, a->temp_size);
  ZygoteHello hello{kZygoteMagic, static_cast<uint32_t>(vdso_ok)};
  Call(kSysSendto, kZygoteSocketFd, U(&hello), sizeof hello, 0x4000);
  for (;;) {
    ZygoteRequest request;
    FdControl control;
    // The numbers are the lowest free ones, so that the child need not move its socket.
    if (Receive(kZygoteSocketFd, &request, sizeof request, &control) != 2 ||
        control.fd[1] != kSocketFd) {
      Call(kSysExitGroup, 0);
    }
    long pid = Fork(&SlotAt(kFirstSlot)->state);
    if (pid == 0) Child(request.slots_size, control.fd[0]);
    Call(kSysClose, control.fd[0]);
    Call(kSysClose, control.fd[1]);
    ZygoteReply reply{static_cast<int32_t>(pid), 0};
    Call(kSysSendto, kZygoteSocketFd, U(&reply), sizeof reply, 0x4000);
  }
}

// In the sentry's forked child, at a temporary address: throws the sentry's memory away and moves
// to the final place.
extern "C" [[noreturn]] void StubBoot(BootArgs* a) {
  uint64_t at = 0;
  // Everything but the temporary block and the vdso's mappings, in address order.
  uint64_t keep[5][2];
  int n = 0;
  for (auto& v : a->vdso) {
    if (v[0]) {
      keep[n][0] = v[0];
      keep[n++][1] = v[1];
    }
  }
  keep[n][0] = a->temp;
  keep[n++][1] = a->temp + a->temp_size;
  for (int i = 0; i < n; i++) {
    for (int j = i + 1; j < n; j++) {
      if (keep[j][0] < keep[i][0]) {
        for (int k = 0; k < 2; k++) {
          uint64_t t = keep[i][k];
          keep[i][k] = keep[j][k];
          keep[j][k] = t;
        }
      }
    }
  }
  for (int i = 0; i <= n; i++) {
    uint64_t end = i < n ? keep[i][0] : kTaskEnd;
    if (end > at) Call(kSysMunmap, at, end - at);
    if (i < n) at = keep[i][1];
  }
  uint64_t first = 0, vdso_ok = 0;
  for (auto& v : a->vdso) {
    if (!v[0]) continue;
    if (!first) first = v[0];
    uint64_t to = kVdso + (v[0] - first);
    vdso_ok = Call(kSysMremap, v[0], v[1] - v[0], v[1] - v[0], 3, to) == static_cast<long>(to);
    if (!vdso_ok) break;
  }
  if (!vdso_ok) {
    for (auto& v : a->vdso) {
      if (v[0]) Call(kSysMunmap, v[0], v[1] - v[0]);
    }
    Call(kSysMunmap, kVdso, kVdsoSize);
  }
  auto map = [](uint64_t addr, uint64_t len) {
    if (Call(kSysMmap, addr, len, kProtRead | kProtWrite, kMapPrivate | kMapFixed | kMapAnonymous,
             ~0ull, 0) != static_cast<long>(addr)) {
      Die();
    }
  };
  auto map_code = [](uint64_t addr, uint64_t len, uint64_t prot, uint64_t offset) {
    if (Call(kSysMmap, addr, len, prot, kMapShared | kMapFixed, kCodeFd, offset) !=
        static_cast<long>(addr)) {
      Die();
    }
  };
  map_code(kTable, kTableSize, kProtRead, 0);
  map_code(kThunks, kMaxThunks * kThunkSize, kProtRead | kProtExec, kCodeFileThunks);
  map(kText, kTextSize);
  map(kData, kDataSize);
  map(kZygoteSecret, kZygoteSecretSize);
  if (Call(kSysMadvise, kZygoteSecret, kZygoteSecretSize, 10) != 0) Die();  // MADV_DONTFORK
  auto copy = [](uint64_t to, uint64_t from, uint64_t len) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
  };
  copy(kText, a->text, a->text_size);
  Call(kSysMprotect, kText, kTextSize, kProtRead | kProtExec);
  auto* d = reinterpret_cast<StubData*>(kData);
  d->fsgsbase = a->fsgsbase;
  d->clock = vdso_ok ? a->clock : 0;
  copy(kZygoteSecret, U(&a->secret), sizeof a->secret);
  uint64_t entry = kText + (reinterpret_cast<uint64_t>(&StubZygote) - a->text);
  __asm__ volatile("mov %0, %%rsp\n xor %%ebp, %%ebp\n call *%1\n hlt" ::"r"(kZygoteStack),
                   "r"(entry), "D"(a), "S"(vdso_ok)
                   : "memory");
  __builtin_unreachable();
}

}  // namespace platform::stub
