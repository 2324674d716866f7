#include "platform/kvm/thread.h"

#include <errno.h>
#include <signal.h>

#include <cstring>
#include <utility>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/stub/blob.h"
#include "platform/stub/fp_state.h"
#include "platform/stub/inside.h"

namespace platform::kvm {
namespace {

constexpr uint32_t kDivide = 0, kDebug = 1, kBreakpoint = 3, kInvalidOpcode = 6, kNotPresent = 11,
                   kStack = 12, kProtection = 13, kPage14 = 14, kFloatingPoint = 16,
                   kAlignment = 17, kSimd = 19;
constexpr uint64_t kTrapFlag = 0x100;
// The host can't give a page although every one was tried, or a page that is there faults:
// something else is wrong.
constexpr int kMaxFaults = 1000;
// From a patched site to its end there are some 300 instructions at most. A guest that made loops
// of the stub's code is interrupted there.
constexpr int kMaxSteps = 1000;
// In the extended state: from kSoftware to kLegacy it is the software's; then comes XSAVE's header.
constexpr uint32_t kMxcsrMask = 28, kXmm = 160, kXmmSize = 256, kSoftware = 464, kLegacy = 512;
constexpr uint64_t kSse = 2;
// A page fault's error code, for the sentry: a user's access.
constexpr uint32_t kUserAccess = 4;

Stop ProtectionFault() {
  return {.kind = Stop::Kind::kFault, .signo = SIGSEGV, .code = SI_KERNEL, .trapno = kProtection};
}

// The signal that ended KVM_RUN is still pending, and would end the next one.
void TakeKickSignal() {
  uint64_t set = uint64_t{1} << (kKickSignal - 1);
  timespec zero{};
  host::Call<SYS_rt_sigtimedwait>(&set, nullptr, &zero, sizeof set);
}

}  // namespace

Thread::Thread(base::Ref<Space> space, uint32_t slot, const Regs& regs, FpState fp)
    : space_(std::move(space)),
      slot_(slot),
      channel_(slot == 0 ? nullptr : space_->channel(slot)),
      no_gs_base_(slot == 0 ? 0 : stub::kSlots + slot * stub::kSlotSize),
      fp_(std::move(fp)) {
  SetRegs(regs);
}

Thread::~Thread() {
  space_->Remove(this, slot_);
  Use use(*this);
  if (vcpu_ == nullptr) return;
  if (midway_) vcpu_->broken = true;
  space_->machine().Return(vcpu_);
}

Thread::Use::Use(Thread& thread) : thread_(thread) {
  uint32_t was = kUnused;
  while (!thread_.use_.compare_exchange_strong(was, kUsed, std::memory_order_acquire)) {
    host::FutexWait(&thread_.use_, kTaken);
    was = kUnused;
  }
}

bool Thread::GiveUp() {
  uint32_t was = kUnused;
  if (!use_.compare_exchange_strong(was, kTaken, std::memory_order_acquire)) return false;
  const bool whole = !midway_;
  if (whole) Detach();
  use_.store(kUnused, std::memory_order_release);
  host::FutexWake(&use_, 1);
  return whole;
}

void Thread::Preempt() {
  preempt_.store(true, std::memory_order_seq_cst);
  Kick(UINT64_MAX);
}

bool Thread::Wanted() const {
  return (interrupt_.load(std::memory_order_seq_cst) && steps_ == 0) ||
         preempt_.load(std::memory_order_seq_cst) || space_->dead();
}

void Thread::Detach() {
  fp_ = LoadFp();
  regs_ = vcpu_->area().regs;
  vcpu_ = nullptr;
}

bool Thread::Prepare() {
  if (vcpu_ != nullptr) return true;
  if (tid_.load(std::memory_order_relaxed) == 0) {
    tid_.store(static_cast<int>(host::Gettid()), std::memory_order_relaxed);
    // Only KVM_RUN lets it through.
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, kKickSignal);
    pthread_sigmask(SIG_BLOCK, &kick, nullptr);
  }
  Vcpu* v = space_->machine().Take(this, tid_.load(std::memory_order_relaxed));
  if (v == nullptr) return false;
  v->area().regs = regs_;
  v->area().cr3 = space_->root();
  vcpu_ = v;
  flags_ = kReturnFull | kReturnBases | kReturnFlush;
  const stub::FpLayout& layout = space_->machine().fp_layout();
  FpState clean(layout.size);
  if (!stub::NormaliseFp(layout, fp_, clean.data()) || !StoreFp(clean)) return false;
  fp_.clear();
  return true;
}

const Regs& Thread::regs() {
  Use use(*this);
  ApplyReturn();
  shown_ = current();
  if (shown_.gs_base == no_gs_base_) shown_.gs_base = 0;
  return shown_;
}

void Thread::ApplyReturn() {
  if (!return_) return;
  current().rax = *return_;
  return_.reset();
}

void Thread::SetRegs(const Regs& regs) {
  Use use(*this);
  return_.reset();
  Regs& r = current();
  r = regs;
  r.cs = kUserCs;
  r.ss = kUserSs;
  r.ds = r.es = r.fs = r.gs = 0;
  r.eflags = (regs.eflags & kUserEflags) | kFixedEflags;
  if (r.fs_base >= kTaskEnd) r.fs_base = 0;
  if (r.gs_base == 0 || r.gs_base >= kTaskEnd) r.gs_base = no_gs_base_;
  flags_ |= kReturnFull | kReturnBases;
}

FpState Thread::LoadFp() {
  const stub::FpLayout& layout = space_->machine().fp_layout();
  FpState out = layout.initial;
  kvm_xsave x;
  if (layout.xstate_size > sizeof x || !vcpu_->GetXsave(&x)) return out;
  const auto* from = reinterpret_cast<const uint8_t*>(&x);
  // What lies between is the software's (stub/fp_state.cc).
  memcpy(out.data(), from, kSoftware);
  memcpy(out.data() + kMxcsrMask, layout.initial.data() + kMxcsrMask, 4);
  if (layout.xstate_size > kLegacy) {
    memcpy(out.data() + kLegacy, from + kLegacy, layout.xstate_size - kLegacy);
    // The host may add what is the virtual processor's, but not the guests': protection keys.
    uint64_t components;
    memcpy(&components, out.data() + kLegacy, sizeof components);
    components &= layout.features;
    memcpy(out.data() + kLegacy, &components, sizeof components);
  }
  return out;
}

bool Thread::StoreFp(const FpState& clean) {
  const uint32_t size = space_->machine().fp_layout().xstate_size;
  kvm_xsave x{};
  auto* to = reinterpret_cast<uint8_t*>(&x);
  if (size > sizeof x) return false;
  memcpy(to, clean.data(), kSoftware);
  if (size > kLegacy) {
    memcpy(to + kLegacy, clean.data() + kLegacy, size - kLegacy);
    // XRSTOR takes MXCSR without the SSE component, too; KVM_SET_XSAVE doesn't.
    uint64_t components;
    memcpy(&components, to + kLegacy, sizeof components);
    if ((components & kSse) == 0) {
      memset(to + kXmm, 0, kXmmSize);
      components |= kSse;
      memcpy(to + kLegacy, &components, sizeof components);
    }
  }
  return vcpu_->SetXsave(x);
}

FpState Thread::GetFp() {
  Use use(*this);
  if (vcpu_ != nullptr) return LoadFp();
  return fp_.empty() ? space_->machine().fp_layout().initial : fp_;
}

base::Result<void> Thread::SetFp(std::span<const uint8_t> fp) {
  const stub::FpLayout& layout = space_->machine().fp_layout();
  FpState clean(layout.size);
  if (!stub::NormaliseFp(layout, fp, clean.data())) return abi::Errno::kEINVAL;
  Use use(*this);
  if (vcpu_ == nullptr) {
    fp_ = std::move(clean);
  } else if (!StoreFp(clean)) {
    return abi::Errno::kEINVAL;
  }
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
  Use use(*this);
  ApplyReturn();
  // Partner of Interrupt().
  running_.store(true, std::memory_order_seq_cst);
  Stop stop{.kind = Stop::Kind::kInterrupted};
  if (interrupt_.load(std::memory_order_seq_cst)) [[unlikely]] {
    interrupt_.store(false, std::memory_order_relaxed);
  } else if (!Commit()) {
    stop.kind = Stop::Kind::kDead;
  } else if (current().rip >= kTaskEnd) {
    // IRET would be ring 0's fault; Linux makes it the guest's.
    stop = ProtectionFault();
  } else {
    do {
      if (preempt_.load(std::memory_order_relaxed)) [[unlikely]]
        Yield();
      if (!Prepare()) {
        stop = Broken("no virtual processor");
        break;
      }
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

void Thread::Yield() {
  preempt_.store(false, std::memory_order_relaxed);
  if (vcpu_ == nullptr) return;
  Vcpu* v = vcpu_;
  Detach();
  space_->machine().Return(v);
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
      if (Wanted()) [[unlikely]] {
        flags_ = area.flags;
        area.vector = kKickVector;
        if (in_guest_.exchange(0, std::memory_order_seq_cst) == 2)
          host::FutexWake(&in_guest_, 1 << 30);
        return true;
      }
    } else if (stale || Wanted()) {
      ok = vcpu_->Kick();
    }
    long r = ok ? vcpu_->Run() : -EIO;
    if (in_guest_.exchange(0, std::memory_order_seq_cst) == 2) [[unlikely]]
      host::FutexWake(&in_guest_, 1 << 30);
    midway_ = true;
    Counters::Count(vcpu_->counters.exits);
    if (r == -EINTR) {
      Counters::Count(vcpu_->counters.kicks);
      TakeKickSignal();
      continue;
    }
    if (r == -EFAULT && faults_++ < kMaxFaults) {
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
  if (!Returned(stop)) return false;
  if (steps_ != 0) [[unlikely]]
    EndSteps();
  return true;
}

bool Thread::Called(Stop* stop) {
  Regs& r = vcpu_->area().regs;
  faults_ = 0;
  Counters::Count(vcpu_->counters.calls);
  syscall_ = {r.orig_rax, {r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9}};
  r.rax = static_cast<uint64_t>(-ENOSYS);
  r.cs = kUserCs;
  r.ss = kUserSs;
  *stop = {.kind = Stop::Kind::kSyscall};
  return true;
}

bool Thread::Returned(Stop* stop) {
  VcpuArea& area = vcpu_->area();
  Regs& r = area.regs;
  if (area.vector == kSyscallVector) [[likely]] {
    if (slot_ != 0) {
      if (r.rip == stub::kText + stub::StubPlaces().called_out) {
        r.rip = __atomic_load_n(&channel_->light.uc.rip, __ATOMIC_RELAXED);
      } else if (stub::MayBeLocal(r.orig_rax)) {
        space_->Trapped(r.rip);
      }
    }
    return Called(stop);
  }
  flags_ |= kReturnFull;
  if (area.vector == kKickVector) {
    area.vector = kSyscallVector;
    r.orig_rax = ~uint64_t{0};
    if (!space_->dead()) return Interrupted(stop);
    *stop = {.kind = Stop::Kind::kDead};
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
  if (area.vector != kPage14) {
    *stop = Exception(static_cast<uint32_t>(area.vector));
  } else if (!PageFault(stop)) {
    return false;
  }
  if (slot_ != 0 && !AtSite(stop)) return false;
  if (stop->kind == Stop::Kind::kFault) Counters::Count(vcpu_->counters.exceptions);
  return true;
}

bool Thread::Interrupted(Stop* stop) {
  if (!interrupt_.load(std::memory_order_seq_cst) || Step()) return false;
  interrupt_.store(false, std::memory_order_seq_cst);
  *stop = {.kind = Stop::Kind::kInterrupted};
  return true;
}

bool Thread::Step() {
  Regs& r = vcpu_->area().regs;
  if (slot_ == 0 || !stub::InStub(r.rip) || steps_ == kMaxSteps) return false;
  if (steps_++ == 0) own_trap_flag_ = (r.eflags & kTrapFlag) != 0;
  r.eflags |= kTrapFlag;
  return true;
}

void Thread::EndSteps() {
  steps_ = 0;
  if (!own_trap_flag_) vcpu_->area().regs.eflags &= ~kTrapFlag;
}

bool Thread::AtSite(Stop* stop) {
  const VcpuArea& area = vcpu_->area();
  Regs& r = vcpu_->area().regs;
  const stub::Places& places = stub::StubPlaces();
  const uint64_t in_text = r.rip - stub::kText;
  if (area.vector == kInvalidOpcode) {
    if (in_text == places.slow) {
      stub::AsAtSite(&r);
      r.orig_rax = r.rax;
      return Called(stop);
    }
    if (uint64_t copy = space_->CopyOf(r.rip)) {
      r.rip = copy;
      return false;
    }
  } else if (area.vector == kDebug) {
    const bool inside = stub::InStub(r.rip);
    if (steps_ != 0 && (inside || !own_trap_flag_)) return Interrupted(stop);
    return !inside;
  }
  if (in_text >= places.touch && in_text < places.touch_end) {
    r.rip = stub::kText + places.touch_failed;
    return false;
  }
  if (stub::InThunks(r.rip)) r.rip = space_->SiteOf(r.rip);
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
  const Space::Fault fault = space_->Fill(area.cr2, area.error);
  switch (fault) {
    case Space::Fault::kFilled:
      Counters::Count(vcpu_->counters.pages);
      return false;
    case Space::Fault::kPresent:
      if (area.cr2 != odd_address_) odd_faults_ = 0;
      odd_address_ = area.cr2;
      if (odd_faults_++ < kMaxFaults) return false;
      // The sentry would find nothing wrong with the page either, and have the guest try again.
      *stop = ProtectionFault();
      break;
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
