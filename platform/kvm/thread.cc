#include "platform/kvm/thread.h"

#include <errno.h>
#include <signal.h>

#include <cstring>
#include <utility>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/stub/fp_state.h"

namespace platform::kvm {
namespace {

constexpr uint32_t kDivide = 0, kDebug = 1, kBreakpoint = 3, kInvalidOpcode = 6, kNotPresent = 11,
                   kStack = 12, kProtection = 13, kPage14 = 14, kFloatingPoint = 16,
                   kAlignment = 17, kSimd = 19;
constexpr uint64_t kTrapFlag = 0x100;
// A page fault's error code, for the sentry: a user's access.
constexpr uint32_t kUserAccess = 4;

// The signal that ended KVM_RUN is still pending, and would end the next one.
void TakeKickSignal() {
  uint64_t set = uint64_t{1} << (kKickSignal - 1);
  timespec zero{};
  host::Call<SYS_rt_sigtimedwait>(&set, nullptr, &zero, sizeof set);
}

}  // namespace

Thread::Thread(base::Ref<Space> space, const Regs& regs, FpState fp)
    : space_(std::move(space)), fp_(std::move(fp)) {
  SetRegs(regs);
}

Thread::~Thread() {
  space_->Remove(this);
  if (vcpu_ == nullptr) return;
  if (midway_) vcpu_->broken = true;
  space_->machine().Return(vcpu_);
}

bool Thread::Prepare() {
  if (vcpu_ != nullptr) return true;
  const int tid = static_cast<int>(host::Gettid());
  Vcpu* v = space_->machine().Take(tid);
  if (v == nullptr) return false;
  v->area().regs = regs_;
  v->area().cr3 = space_->root();
  vcpu_ = v;
  tid_.store(tid, std::memory_order_relaxed);
  // Only KVM_RUN lets it through.
  sigset_t kick;
  sigemptyset(&kick);
  sigaddset(&kick, kKickSignal);
  pthread_sigmask(SIG_BLOCK, &kick, nullptr);
  FpState clean(stub::GetFpLayout().size);
  if (!stub::NormaliseFp(fp_, clean.data()) || !SetFp(clean).ok()) return false;
  fp_.clear();
  return true;
}

void Thread::SetRegs(const Regs& regs) {
  Regs& r = current();
  r = regs;
  r.cs = kUserCs;
  r.ss = kUserSs;
  r.ds = r.es = r.fs = r.gs = 0;
  r.eflags = (regs.eflags & kUserEflags) | kFixedEflags;
  if (r.fs_base >= kTaskEnd) r.fs_base = 0;
  if (r.gs_base >= kTaskEnd) r.gs_base = 0;
  flags_ |= kReturnFull | kReturnBases;
}

FpState Thread::GetFp() {
  const stub::FpLayout& layout = stub::GetFpLayout();
  if (vcpu_ == nullptr) return fp_.empty() ? layout.initial : fp_;
  FpState out = layout.initial;
  kvm_xsave x;
  if (layout.xstate_size > sizeof x || !vcpu_->GetXsave(&x)) return out;
  const auto* from = reinterpret_cast<const uint8_t*>(&x);
  // What lies between is the software's (stub/fp_state.cc).
  memcpy(out.data(), from, 464);
  memcpy(out.data() + 28, layout.initial.data() + 28, 4);
  if (layout.xstate_size > 512) memcpy(out.data() + 512, from + 512, layout.xstate_size - 512);
  return out;
}

base::Result<void> Thread::SetFp(std::span<const uint8_t> fp) {
  const stub::FpLayout& layout = stub::GetFpLayout();
  FpState clean(layout.size);
  if (!stub::NormaliseFp(fp, clean.data())) return abi::Errno::kEINVAL;
  if (vcpu_ == nullptr) {
    fp_ = std::move(clean);
    return {};
  }
  kvm_xsave x{};
  auto* to = reinterpret_cast<uint8_t*>(&x);
  if (layout.xstate_size > sizeof x) return abi::Errno::kEINVAL;
  memcpy(to, clean.data(), 464);
  if (layout.xstate_size > 512) memcpy(to + 512, clean.data() + 512, layout.xstate_size - 512);
  if (!vcpu_->SetXsave(x)) return abi::Errno::kEINVAL;
  return {};
}

bool Thread::Commit() {
  if (space_->dead()) return false;
  const uint64_t now = space_->generation();
  if (synchronised_ != now) [[unlikely]] {
    space_->Synchronise(*this);
    synchronised_ = now;
  }
  return true;
}

Stop Thread::Broken(const char* what) {
  LOG_WARNING("kvm: %s; the guest process is killed", what);
  space_->Kill();
  return {.kind = Stop::Kind::kDead};
}

Stop Thread::Run() {
  if (!Prepare()) return Broken("no virtual processor");
  // Partner of Interrupt().
  running_.store(true, std::memory_order_seq_cst);
  Stop stop{.kind = Stop::Kind::kInterrupted};
  if (interrupt_.load(std::memory_order_seq_cst)) [[unlikely]] {
    interrupt_.store(false, std::memory_order_relaxed);
  } else if (!Commit()) {
    stop.kind = Stop::Kind::kDead;
  } else if (current().rip >= kTaskEnd) {
    // IRET would be ring 0's fault; Linux makes it the guest's.
    stop = {.kind = Stop::Kind::kFault, .signo = SIGSEGV, .code = SI_KERNEL, .trapno = kProtection};
  } else {
    do {
      if (!Trip()) {
        vcpu_->broken = true;
        stop = Broken("the virtual processor failed");
        break;
      }
    } while (!Stopped(&stop));
  }
  running_.store(false, std::memory_order_relaxed);
  return stop;
}

bool Thread::Trip() {
  VcpuArea& area = vcpu_->area();
  for (;;) {
    in_guest_.store(1, std::memory_order_seq_cst);
    const uint64_t generation = space_->generation();
    const bool stale = seen_.load(std::memory_order_relaxed) != generation;
    bool ok = true;
    if (!midway_) {
      if (stale) {
        flags_ |= kReturnFlush;
        seen_.store(generation, std::memory_order_seq_cst);
      }
      area.flags = std::exchange(flags_, 0);
      // An interrupt, or death, that nobody will be kicked for.
      if (interrupt_.load(std::memory_order_seq_cst) || space_->dead()) [[unlikely]] {
        flags_ = area.flags;
        area.vector = kKickVector;
        if (in_guest_.exchange(0, std::memory_order_seq_cst) == 2)
          host::FutexWake(&in_guest_, 1 << 30);
        return true;
      }
    } else if (stale || interrupt_.load(std::memory_order_seq_cst) || space_->dead()) {
      ok = vcpu_->Kick();
    }
    long r = ok ? vcpu_->Run() : -EIO;
    if (in_guest_.exchange(0, std::memory_order_seq_cst) == 2) [[unlikely]]
      host::FutexWake(&in_guest_, 1 << 30);
    midway_ = true;
    if (r == -EINTR) {
      TakeKickSignal();
      continue;
    }
    if (r == -EFAULT) {
      space_->Distrust();
      continue;
    }
    const kvm_run& run = vcpu_->run();
    if (r < 0) {
      LOG_WARNING("kvm: KVM_RUN: error %ld", -r);
      return false;
    }
    switch (run.exit_reason) {
      case KVM_EXIT_HLT:
        midway_ = false;
        return true;
      case KVM_EXIT_INTR:
      case KVM_EXIT_IRQ_WINDOW_OPEN:
        vcpu_->run().request_interrupt_window = 0;
        continue;
      default:
        LOG_WARNING("kvm: exit %u (%u, %llx)", run.exit_reason, run.internal.suberror,
                    static_cast<unsigned long long>(run.hw.hardware_exit_reason));
        return false;
    }
  }
}

bool Thread::Stopped(Stop* stop) {
  VcpuArea& area = vcpu_->area();
  Regs& r = area.regs;
  if (area.vector == kSyscallVector) [[likely]] {
    syscall_ = {r.orig_rax, {r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9}};
    r.rax = static_cast<uint64_t>(-ENOSYS);
    r.cs = kUserCs;
    r.ss = kUserSs;
    *stop = {.kind = Stop::Kind::kSyscall};
    return true;
  }
  flags_ |= kReturnFull;
  if (area.vector == kKickVector) {
    area.vector = kSyscallVector;
    r.orig_rax = ~uint64_t{0};
    if (space_->dead()) {
      *stop = {.kind = Stop::Kind::kDead};
      return true;
    }
    if (!interrupt_.exchange(false, std::memory_order_seq_cst)) return false;
    *stop = {.kind = Stop::Kind::kInterrupted};
    return true;
  }
  if ((r.cs & 3) != 3) {
    LOG_WARNING("kvm: exception %u in ring 0, at %llx", static_cast<unsigned>(area.vector),
                static_cast<unsigned long long>(r.rip));
    *stop = Broken("ring 0 failed");
    return true;
  }
  r.cs = kUserCs;
  r.ss = kUserSs;
  if (area.vector == kPage14) return PageFault(stop);
  *stop = Exception(static_cast<uint32_t>(area.vector));
  return true;
}

bool Thread::PageFault(Stop* stop) {
  const VcpuArea& area = vcpu_->area();
  *stop = {.kind = Stop::Kind::kFault,
           .signo = SIGSEGV,
           .code = SEGV_MAPERR,
           .addr = area.cr2,
           .trapno = kPage14,
           .error = (static_cast<uint32_t>(area.error) & ~1u) | kUserAccess};
  switch (space_->Fill(area.cr2, area.error)) {
    case Space::Fault::kFilled:
      return false;
    case Space::Fault::kNotMapped:
      break;
    case Space::Fault::kNotAllowed:
      stop->code = SEGV_ACCERR;
      stop->error |= 1;
      break;
    case Space::Fault::kBus:
      stop->signo = SIGBUS;
      stop->code = BUS_ADRERR;
      break;
    case Space::Fault::kNoMemory:
      *stop = Broken("no guest-physical memory");
      break;
  }
  return true;
}

// fpu__exception_code() in arch/x86/kernel/fpu/core.c.
int Thread::FloatingPointCode(bool simd) {
  kvm_xsave x;
  if (!vcpu_->GetXsave(&x)) return 0;
  uint32_t raised;
  if (simd) {
    const uint32_t mxcsr = x.region[6];
    raised = ~(mxcsr >> 7) & mxcsr;
  } else {
    const uint32_t control = x.region[0] & 0xffff, status = x.region[0] >> 16;
    raised = status & ~control;
  }
  if (raised & 1) return FPE_FLTINV;
  if (raised & 4) return FPE_FLTDIV;
  if (raised & 8) return FPE_FLTOVF;
  if (raised & 0x12) return FPE_FLTUND;
  if (raised & 0x20) return FPE_FLTRES;
  return 0;
}

// What arch/x86/kernel/traps.c makes of exceptions in user mode.
Stop Thread::Exception(uint32_t vector) {
  const VcpuArea& area = vcpu_->area();
  Stop s{.kind = Stop::Kind::kFault,
         .signo = SIGSEGV,
         .code = SI_KERNEL,
         .addr = area.regs.rip,
         .trapno = vector,
         .error = static_cast<uint32_t>(area.error)};
  switch (vector) {
    case kDivide:
      s.signo = SIGFPE;
      s.code = FPE_INTDIV;
      break;
    case kDebug:
      s.signo = SIGTRAP;
      s.code = (area.regs.eflags & kTrapFlag) != 0 ? TRAP_TRACE : TRAP_BRKPT;
      break;
    case kBreakpoint:
      s.signo = SIGTRAP;
      break;
    case kInvalidOpcode:
      s.signo = SIGILL;
      s.code = ILL_ILLOPN;
      break;
    case kNotPresent:
    case kStack:
      s.signo = SIGBUS;
      s.addr = 0;
      break;
    case kFloatingPoint:
    case kSimd:
      s.signo = SIGFPE;
      s.code = FloatingPointCode(vector == kSimd);
      break;
    case kAlignment:
      s.signo = SIGBUS;
      s.code = BUS_ADRALN;
      s.addr = 0;
      break;
    default:
      s.addr = 0;
      break;
  }
  return s;
}

void Thread::Interrupt() {
  if (interrupt_.exchange(true, std::memory_order_seq_cst)) return;
  if (running_.load(std::memory_order_seq_cst)) Kick(UINT64_MAX);
}

void Thread::Kick(uint64_t generation) const {
  if (in_guest_.load(std::memory_order_seq_cst) == 0 ||
      seen_.load(std::memory_order_seq_cst) >= generation)
    return;
  host::Tgkill(static_cast<int>(host::Getpid()), tid_.load(std::memory_order_relaxed), kKickSignal);
}

void Thread::WaitForget(uint64_t generation) const {
  for (;;) {
    uint32_t word = in_guest_.load(std::memory_order_seq_cst);
    if (word == 0 || seen_.load(std::memory_order_seq_cst) >= generation) return;
    if (word == 1 && !in_guest_.compare_exchange_strong(word, 2, std::memory_order_seq_cst))
      continue;
    host::FutexWait(&in_guest_, 2);
  }
}

}  // namespace platform::kvm
