// Signal frames: arch/x86/kernel/signal.c and signal_64.c.
#include <algorithm>
#include <cstring>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task_run.h"

namespace sentry {
namespace {

constexpr uint64_t kRedZone = 128;
constexpr uint64_t kSystemCallLength = 2;  // bytes of the syscall instruction
constexpr uint64_t kFlagTf = 0x100, kFlagDf = 0x400, kFlagRf = 0x10000;
constexpr size_t kLegacyFp = 512;
constexpr size_t kXStateHeader = 64;

bool WithinAltStack(const abi::StackT& s, uint64_t sp) { return sp > s.sp && sp - s.sp <= s.size; }

}  // namespace

void TaskRunner::Deliver(const abi::SigInfo& info, const abi::SigAction& action) {
  Task& t = t_;
  platform::Regs regs = t.GuestRegs();
  if (restart_ != 0) {
    bool again = restart_ == static_cast<int16_t>(base::Restart::kNoIntr) ||
                 (restart_ == static_cast<int16_t>(base::Restart::kSys) &&
                  (action.flags & abi::kSA_RESTART) != 0);
    if (again) {
      regs.rax = regs.orig_rax;
      regs.rip -= kSystemCallLength;
    } else {
      regs.rax = static_cast<uint64_t>(-static_cast<int64_t>(abi::Errno::kEINTR));
    }
    restart_ = 0;
    t.restart_block = nullptr;
  }
  SignalSet mask = t.has_saved_mask_ ? t.saved_mask_ : t.blocked();
  bool started = false;
  if (!PushFrame(&regs, info, action, mask, &started).ok()) {
    // force_sigsegv(): a SIGSEGV whose own frame does not fit kills.
    t.SetGuestRegs(regs);
    if (info.signo == abi::kSIGSEGV) {
      abi::SigAction dfl{};
      t.group().handlers->Set(abi::kSIGSEGV, dfl);
    }
    t.ForceSignal(KernelSigInfo(abi::kSIGSEGV));
    return;
  }
  t.has_saved_mask_ = false;
  if (started) {
    t.set_ = Task::Set::kNothing;
  } else {
    t.SetGuestRegs(regs);
    (void)t.guest_->SetFp({});
  }
  SignalSet blocked = t.blocked() | action.mask;
  if ((action.flags & abi::kSA_NODEFER) == 0) blocked |= SignalBit(info.signo);
  t.SetBlocked(blocked);
}

base::Result<void> TaskRunner::PushFrame(platform::Regs* regs, const abi::SigInfo& info,
                                         const abi::SigAction& action, SignalSet mask,
                                         bool* started) {
  Task& t = t_;
  if ((action.flags & abi::kSA_RESTORER) == 0) return abi::Errno::kEFAULT;
  // get_sigframe().
  bool nested = t.OnAltStack(regs->rsp), entering = false;
  uint64_t sp = regs->rsp - kRedZone;
  if ((action.flags & abi::kSA_ONSTACK) != 0 && t.altstack.size != 0 && !t.OnAltStack(sp)) {
    sp = t.altstack.sp + t.altstack.size;
    entering = true;
  }
  const std::span<const uint8_t> fp = kernel_.platform().initial_fp();
  uint64_t fp_addr = 0;
  if (!fp.empty()) {
    sp = (sp - fp.size()) & ~uint64_t{63};
    fp_addr = sp;
  }
  sp -= sizeof(abi::RtSigFrame);
  sp = (sp & ~uint64_t{15}) - 8;
  if ((nested || entering) && !WithinAltStack(t.altstack, sp)) return abi::Errno::kEFAULT;

  abi::RtSigFrame f;
  memset(&f, 0, sizeof f);
  f.pretcode = action.restorer;
  f.uc.flags = abi::kUC_SIGCONTEXT_SS | abi::kUC_STRICT_RESTORE_SS;
  if (fp_addr != 0) f.uc.flags |= abi::kUC_FP_XSTATE;
  f.uc.stack = t.altstack;
  f.uc.stack.pad = 0;
  abi::SigContext& c = f.uc.mcontext;
  c.r8 = regs->r8, c.r9 = regs->r9, c.r10 = regs->r10, c.r11 = regs->r11;
  c.r12 = regs->r12, c.r13 = regs->r13, c.r14 = regs->r14, c.r15 = regs->r15;
  c.rdi = regs->rdi, c.rsi = regs->rsi, c.rbp = regs->rbp, c.rbx = regs->rbx;
  c.rdx = regs->rdx, c.rax = regs->rax, c.rcx = regs->rcx, c.rsp = regs->rsp, c.rip = regs->rip;
  c.eflags = regs->eflags;
  c.cs = platform::kUserCs;
  c.ss = platform::kUserSs;
  c.err = t.fault_error_, c.trapno = t.fault_trapno_, c.cr2 = t.fault_cr2_;
  c.oldmask = mask;
  c.fpstate = fp_addr;
  f.uc.sigmask = mask;
  f.info = info;
  // Without SA_SIGINFO the siginfo is not written; what lies there stays.
  size_t len = (action.flags & abi::kSA_SIGINFO) != 0 ? sizeof f : offsetof(abi::RtSigFrame, info);
  if (fp_addr != 0) TRY(t.mm_->CopyOut(UserAddr{fp_addr}, fp.data(), fp.size()));
  TRY(t.mm_->CopyOut(UserAddr{sp}, &f, len));

  regs->rdi = static_cast<uint64_t>(info.signo);
  regs->rax = 0;
  regs->rsi = sp + offsetof(abi::RtSigFrame, info);
  regs->rdx = sp + offsetof(abi::RtSigFrame, uc);
  regs->rip = action.handler;
  regs->rsp = sp;
  regs->cs = platform::kUserCs;
  regs->ss = platform::kUserSs;
  regs->eflags &= ~(kFlagDf | kFlagRf | kFlagTf);
  *started = fp_addr != 0 && t.guest_->StartHandler({regs->rip, regs->rsp, regs->rdi, regs->rsi,
                                                     regs->rdx, regs->eflags, fp_addr});
  if (!*started && fp_addr != 0) {
    platform::FpState own = t.guest_->GetFp();
    TRY(t.mm_->CopyOut(UserAddr{fp_addr}, own.data(), std::min(own.size(), fp.size())));
  }
  if ((static_cast<uint32_t>(t.altstack.flags) & abi::kSS_AUTODISARM) != 0) {
    t.SetAltStack(abi::StackT{0, abi::kSS_DISABLE, 0, 0});
  }
  return {};
}

namespace {

// fpu__restore_sig(): the extended state at addr, as far as it is well-formed.
base::Result<void> RestoreFp(Task& t, uint64_t addr) {
  platform::GuestThread& guest = t.guest();
  if (addr == 0) return guest.SetFp({});
  size_t full = t.kernel().platform().fp_size();
  if (full < kLegacyFp + kXStateHeader) full = kLegacyFp + kXStateHeader;
  std::vector<uint8_t> image(full);
  TRY(t.mm().CopyIn(image.data(), UserAddr{addr}, kLegacyFp));
  abi::FpxSwBytes sw;
  memcpy(&sw, &image[offsetof(abi::FpState, sw_reserved)], sizeof sw);
  if (sw.magic1 == static_cast<uint32_t>(abi::kFP_XSTATE_MAGIC1) && sw.extended_size == full &&
      sw.xstate_size + abi::kFP_XSTATE_MAGIC2_SIZE == full) {
    TRY(t.mm().CopyIn(&image[kLegacyFp], UserAddr{addr + kLegacyFp}, full - kLegacyFp));
    return guest.SetFp(image);
  }
  // check_xstate_in_sigframe() failed: only the legacy part counts; the rest is initial.
  platform::FpState own = guest.GetFp();
  if (own.size() != full) return guest.SetFp({});
  memcpy(own.data(), image.data(), offsetof(abi::FpState, sw_reserved));
  memset(&own[kLegacyFp], 0, full - kLegacyFp - abi::kFP_XSTATE_MAGIC2_SIZE);
  uint64_t features = 3;  // x87 and SSE
  memcpy(&own[kLegacyFp], &features, sizeof features);
  return guest.SetFp(own);
}

}  // namespace

SyscallResult Task::SigReturn() {
  platform::Regs r = GuestRegs();
  abi::RtSigFrame f;
  // The return popped pretcode. The siginfo is not read.
  uint64_t frame = r.rsp - sizeof f.pretcode;
  bool ok = mm_->CopyIn(&f, UserAddr{frame}, offsetof(abi::RtSigFrame, info)).ok();
  if (ok) {
    const abi::SigContext& c = f.uc.mcontext;
    SetBlocked(f.uc.sigmask);
    r.r8 = c.r8, r.r9 = c.r9, r.r10 = c.r10, r.r11 = c.r11;
    r.r12 = c.r12, r.r13 = c.r13, r.r14 = c.r14, r.r15 = c.r15;
    r.rdi = c.rdi, r.rsi = c.rsi, r.rbp = c.rbp, r.rbx = c.rbx;
    r.rdx = c.rdx, r.rax = c.rax, r.rcx = c.rcx, r.rsp = c.rsp, r.rip = c.rip;
    r.eflags = (r.eflags & ~platform::kUserEflags) | (c.eflags & platform::kUserEflags);
    r.orig_rax = ~uint64_t{0};
    // Other code segments (32-bit) do not exist for a guest: the first instruction would fault.
    ok = (c.cs | 3) == platform::kUserCs && RestoreFp(*this, c.fpstate).ok();
  }
  if (!ok) {
    ForceSignal(KernelSigInfo(abi::kSIGSEGV));
    return 0;
  }
  // restore_altstack(): errors are ignored. do_sigaltstack() refuses while the old stack is in use.
  const abi::StackT& s = f.uc.stack;
  uint32_t flags = static_cast<uint32_t>(s.flags), mode = flags & ~abi::kSS_AUTODISARM;
  if (!OnAltStack(r.rsp) && (mode == 0 || mode == static_cast<uint32_t>(abi::kSS_DISABLE) ||
                             mode == static_cast<uint32_t>(abi::kSS_ONSTACK))) {
    if (mode == static_cast<uint32_t>(abi::kSS_DISABLE)) {
      SetAltStack(abi::StackT{0, static_cast<int32_t>(flags), 0, 0});
    } else if (s.size >= static_cast<uint64_t>(abi::kMINSIGSTKSZ)) {
      SetAltStack(abi::StackT{s.sp, static_cast<int32_t>(flags), 0, s.size});
    }
  }
  SetGuestRegs(r);
  restart_block = nullptr;
  return SyscallResult::RegsSet();
}

}  // namespace sentry
