#include "platform/systrap/systrap.h"

#include <errno.h>
#include <signal.h>

#include <cstring>
#include <utility>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/stub/fp_state.h"
#include "platform/stub/inside.h"
#include "platform/stub/layout.h"
#include "platform/stub/process.h"
#include "platform/stub/turn.h"

namespace platform::systrap {
namespace {

using platform::Stop;
using stub::Channel;

class SystrapEngine;

constexpr uint32_t kMaxSpinBackoff = 256;
// Of the processor's clock: a few sleeps and wake-ups.
constexpr uint64_t kShortTicks = 60'000;
// Who sleeps in the stub is counted as often.
constexpr uint32_t kTripsPerCount = 64;

class SystrapThread final : public stub::Thread {
 public:
  using Thread::Thread;
  ~SystrapThread() override;

  Stop Run() override;
  bool Commit() override;
  void SetReturn(uint64_t value) override {
    ret_ = value;
    ret_pending_ = true;
    if (regs_valid_) regs_.rax = value;
  }
  const platform::Regs& regs() override;
  void SetRegs(const platform::Regs& regs) override;
  platform::FpState GetFp() override;
  base::Result<void> SetFp(std::span<const uint8_t> fp) override;
  bool StartHandler(const HandlerStart& start) override;
  void Interrupt() override;
  void Rest() override;
  platform::LocalThread* local() override {
    return space_->engine()->patching() ? &channel_->local : nullptr;
  }

 private:
  uint8_t* base() const { return reinterpret_cast<uint8_t*>(channel_); }
  // The guest's registers in its signal frame. The stub says where: checked, since the guest may
  // have written it.
  stub::UContext* frame() const {
    uint64_t at = __atomic_load_n(&channel_->frame, __ATOMIC_RELAXED);
    if (at == stub::kLightFrame) return &channel_->light.uc;
    if (at < stub::kAltStack || at > stub::kSlotSize - sizeof(stub::UContext) || (at & 7) != 0)
      at = stub::InitialFrame();
    return reinterpret_cast<stub::UContext*>(base() + at);
  }
  // Its extended state, or nullptr.
  uint8_t* fp() const {
    uint64_t offset = frame()->fpstate - (stub::kSlots + uint64_t{slot_} * stub::kSlotSize);
    uint64_t size = stub::GetFpLayout().size;
    return offset >= stub::kAltStack && offset <= stub::kSlotSize - size ? base() + offset
                                                                         : nullptr;
  }
  Stop Stopped(uint32_t state);
  // Whether the guest's registers are in the light frame: it came through a patched call site.
  bool light() const {
    return __atomic_load_n(&channel_->frame, __ATOMIC_RELAXED) == stub::kLightFrame;
  }
  stub::UContext Frame() const;
  // Moves registers and extended state from the light frame to a signal frame, in which they can be
  // changed. False when the guest side died.
  bool LeaveLight();
  // Has the stub act on flags and stop again. False when the guest side died.
  bool Order(uint32_t flags);

  // Flags that the next command must have: kFull (as a new thread's must), kSaveFp, kInitFp.
  uint32_t flags_ = stub::kFull;
  bool bases_dirty_ = true;  // a new thread's are in the slot
  bool ret_pending_ = false;
  bool regs_valid_ = false;
  bool last_spun_ = false;
  bool rested_ = false;  // the stub was told not to wait busily
  uint32_t trips_ = 0;
  uint64_t stopped_at_ = 0;  // by the processor's clock, if somebody waited for a turn then
  uint64_t ret_ = 0;
  uint64_t orig_rax_ = ~uint64_t{0};
  platform::Regs regs_{};
};

class SystrapEngine final : public stub::Engine {
 public:
  base::Status Init(const platform::Options& options) { return Start(false, options.patch); }
  const char* name() const override { return "systrap"; }

 protected:
  std::unique_ptr<stub::Thread> MakeThread(base::Ref<stub::Space> space, uint32_t slot, int tid,
                                           const platform::Regs& regs) override {
    return std::make_unique<SystrapThread>(std::move(space), slot, tid, regs);
  }
};

SystrapThread::~SystrapThread() {
  // While it is stopped where a new thread's registers can be put, the host's thread is as good as
  // new: those of frame and slot.
  uint32_t state = __atomic_load_n(&channel_->state, __ATOMIC_RELAXED) & stub::kKindMask;
  bool stopped = state == stub::kStoppedSyscall || state == stub::kStoppedFault ||
                 state == stub::kStoppedInterrupt || state == stub::kReady;
  uint64_t at = __atomic_load_n(&channel_->frame, __ATOMIC_RELAXED);
  bool usable = stopped && (at == stub::kLightFrame || at == stub::InitialFrame());
  // A process whose first thread has ended can't be killed by its number any more
  // (complete_signal() in kernel/signal.c): that one stays in any case.
  parked_ = (usable && space_->Park(slot_, tid_)) || slot_ == stub::kFirstSlot;
}

Stop SystrapThread::Run() {
  // Before anything that commits to a trip into the guest. Partner of Interrupt().
  running_.store(true, std::memory_order_seq_cst);
  if (interrupt_.load(std::memory_order_seq_cst)) [[unlikely]] {
    running_.store(false, std::memory_order_relaxed);
    interrupt_.store(false, std::memory_order_relaxed);
    return {.kind = Stop::Kind::kInterrupted};
  }
  uint32_t command = stub::kRunning;
  if (space_->HasOps()) [[unlikely]] {
    for (;;) {
      stub::Space::Hand hand = space_->HandOver(slot_);
      if (hand == stub::Space::Hand::kDead) {
        running_.store(false, std::memory_order_relaxed);
        return Dead();
      }
      if (hand == stub::Space::Hand::kNothing) break;
      command |= stub::kOps;
      if (hand == stub::Space::Hand::kLast) break;
      if (!Command(stub::kRunning | stub::kOps | stub::kStay) ||
          WaitStop(stub::kRunning | stub::kOps | stub::kStay, false) != stub::kReady) {
        running_.store(false, std::memory_order_relaxed);
        return Dead();
      }
      command &= ~stub::kOps;
    }
  }
  if (ret_pending_) {
    __atomic_store_n(&channel_->ret, ret_, __ATOMIC_RELAXED);
    command |= stub::kRet;
    ret_pending_ = false;
  }
  if (bases_dirty_) {
    command |= stub::kBases;
    bases_dirty_ = false;
  }
  command |= std::exchange(flags_, 0);
  regs_valid_ = false;
  if (++trips_ % kTripsPerCount == 0) space_->engine()->CountAsleep();
  // Neither side spins for a while when one of them did so for nothing.
  const bool busily = spin_pause_ == 0;
  int processors = stub::Turn::Keep(busily);
  // A call that takes long is no reason to wait for a turn: what a turn saves is little to it.
  if (processors == 0 && (stopped_at_ == 0 || __builtin_ia32_rdtsc() - stopped_at_ < kShortTicks)) {
    Rest();
    processors = stub::Turn::Wait(busily);
  }
  const bool spin = processors == 2;
  if (spin_pause_ != 0) spin_pause_--;
  if (spin) command |= stub::kSpin;
  slept_ = false;
  bool alive = Command(command);
  // By itself, that is.
  const bool stub_slept = slept_ && !rested_;
  const bool spun = std::exchange(last_spun_, spin);
  slept_ = rested_ = false;
  uint32_t state = alive ? WaitStop(command, spin) : stub::kDead;
  if ((spin && slept_) || (spun && stub_slept)) {
    spin_pause_ = spin_backoff_;
    if (spin_backoff_ < kMaxSpinBackoff) spin_backoff_ *= 2;
  } else if (spin) {
    spin_backoff_ = 1;
  }
  running_.store(false, std::memory_order_relaxed);
  return Stopped(state);
}

Stop SystrapThread::Stopped(uint32_t state) {
  stopped_at_ = stub::Turn::wanted() ? __builtin_ia32_rdtsc() : 0;
  const Channel* c = channel_;
  orig_rax_ = ~uint64_t{0};
  switch (state) {
    case stub::kStoppedSyscall:
      syscall_.nr = __atomic_load_n(&c->nr, __ATOMIC_RELAXED);
      for (int i = 0; i < 6; i++) syscall_.arg[i] = __atomic_load_n(&c->arg[i], __ATOMIC_RELAXED);
      orig_rax_ = syscall_.nr;
      ret_ = static_cast<uint64_t>(-ENOSYS);
      ret_pending_ = true;
      if (!light()) space_->OnTrap(__atomic_load_n(&frame()->rip, __ATOMIC_RELAXED));
      return {.kind = Stop::Kind::kSyscall};
    case stub::kStoppedInterrupt:
      interrupt_.store(false, std::memory_order_relaxed);
      return {.kind = Stop::Kind::kInterrupted};
    case stub::kStoppedFault: {
      uint32_t signo = __atomic_load_n(&c->signo, __ATOMIC_RELAXED);
      if (signo != SIGSEGV && signo != SIGBUS && signo != SIGFPE && signo != SIGILL &&
          signo != SIGTRAP)
        break;
      return {.kind = Stop::Kind::kFault,
              .signo = static_cast<uint8_t>(signo),
              .code = __atomic_load_n(&c->code, __ATOMIC_RELAXED),
              .addr = __atomic_load_n(&c->addr, __ATOMIC_RELAXED),
              .trapno = static_cast<uint32_t>(__atomic_load_n(&c->trapno, __ATOMIC_RELAXED)),
              .error = static_cast<uint32_t>(__atomic_load_n(&c->error, __ATOMIC_RELAXED))};
    }
    default:
      if (!space_->dead()) LOG_WARNING("guest process %d: state %u", space_->pid(), state);
      break;
  }
  return Dead();
}

bool SystrapThread::Commit() {
  while (space_->HasOps()) {
    stub::Space::Hand hand = space_->HandOver(slot_);
    if (hand == stub::Space::Hand::kDead) return false;
    if (hand == stub::Space::Hand::kNothing) return true;
    constexpr uint32_t kCommand = stub::kRunning | stub::kOps | stub::kStay;
    if (!Command(kCommand) || WaitStop(kCommand, false) != stub::kReady) {
      space_->Kill();
      return false;
    }
  }
  return !space_->dead();
}

stub::UContext SystrapThread::Frame() const {
  stub::UContext uc;
  memcpy(&uc, frame(), sizeof uc);
  if (light()) {
    uc.eflags = stub::WithArithmetic(uc.eflags, channel_->light.flags);
    uc.r11 = uc.eflags;
  }
  return uc;
}

bool SystrapThread::Order(uint32_t flags) {
  const uint32_t command = stub::kRunning | stub::kStay | flags;
  if (Command(command) && WaitStop(command, true) == stub::kReady) return true;
  space_->Kill();
  return false;
}

bool SystrapThread::StartHandler(const HandlerStart& start) {
  // The frame in the guest's memory may need mapping changes first, which the next command brings.
  if (!light() || flags_ != 0) return false;
  stub::LightFrame& f = channel_->light;
  f.uc.rip = start.rip;
  f.uc.rsp = start.rsp;
  f.uc.rdi = start.rdi;
  f.uc.rsi = start.rsi;
  f.uc.rdx = start.rdx;
  f.uc.rax = 0;
  f.uc.eflags = (start.eflags & platform::kUserEflags) | platform::kFixedEflags;
  f.flags = (start.eflags & 0xd5) << 8 | (start.eflags >> 11 & 1);
  channel_->fp_at = start.fp;
  flags_ = stub::kSaveFp | stub::kInitFp;
  ret_pending_ = false;
  regs_valid_ = false;
  orig_rax_ = ~uint64_t{0};
  return true;
}

bool SystrapThread::LeaveLight() {
  if (!light()) return true;
  // A handler that was started, before the guest was let go on.
  if (flags_ != 0 && (!Commit() || !Order(std::exchange(flags_, 0)))) return false;
  stub::UContext uc = Frame();
  uc.flags = stub::kUcFlags;
  uc.link = uc.ss_sp = uc.ss_flags = uc.ss_size = 0;
  uc.cs = platform::kUserCs;
  uc.ss = platform::kUserSs;
  uc.gs = uc.fs = 0;
  uc.sigmask = 0;
  uc.fpstate = stub::kSlots + uint64_t{slot_} * stub::kSlotSize + stub::InitialFp();
  // What XSAVE leaves out: the software's bytes and the header's reserved ones.
  stub::NormaliseFp(stub::GetFpLayout(), {}, base() + stub::InitialFp());
  channel_->fp_at = uc.fpstate;
  if (!Order(stub::kSaveFp)) return false;
  memcpy(base() + stub::InitialFrame(), &uc, sizeof uc);
  __atomic_store_n(&channel_->frame, stub::InitialFrame(), __ATOMIC_RELAXED);
  flags_ = stub::kFull;
  return true;
}

const platform::Regs& SystrapThread::regs() {
  if (!regs_valid_) {
    stub::RegsFromFrame(Frame(), &regs_);
    regs_.fs_base = channel_->fs_base;
    regs_.gs_base = channel_->gs_base;
    if (ret_pending_) regs_.rax = ret_;
    regs_.orig_rax = orig_rax_;
    regs_valid_ = true;
  }
  return regs_;
}

void SystrapThread::SetRegs(const platform::Regs& regs) {
  LeaveLight();
  stub::RegsToFrame(regs, frame());
  // A base that isn't canonical would be the stub's fault, and its end.
  uint64_t fs = regs.fs_base < stub::kTaskEnd ? regs.fs_base : 0;
  uint64_t gs = regs.gs_base < stub::kTaskEnd ? regs.gs_base : 0;
  if (channel_->fs_base != fs || channel_->gs_base != gs) {
    channel_->fs_base = fs;
    channel_->gs_base = gs;
    bases_dirty_ = true;
  }
  ret_pending_ = false;
  regs_ = regs;
  regs_.cs = platform::kUserCs;
  regs_.ss = platform::kUserSs;
  regs_.ds = regs_.es = regs_.fs = regs_.gs = 0;
  regs_.eflags = (regs.eflags & platform::kUserEflags) | platform::kFixedEflags;
  regs_valid_ = true;
}

platform::FpState SystrapThread::GetFp() {
  const stub::FpLayout& layout = stub::GetFpLayout();
  uint8_t* p = base() + stub::InitialFp();
  if (!light() || flags_ != 0 || !stub::StartsThread(orig_rax_)) {
    LeaveLight();
    p = fp();
  }
  if (!p) return layout.initial;
  platform::FpState raw(p, p + layout.size);
  platform::FpState out(layout.size);
  if (!stub::NormaliseFp(layout, raw, out.data())) return layout.initial;
  return out;
}

void SystrapThread::Rest() {
  rested_ = true;
  uint32_t s = __atomic_load_n(&channel_->state, __ATOMIC_RELAXED);
  // The stub sees it, and goes to sleep on the word.
  if ((s & stub::kSleeping) == 0 && (s & stub::kKindMask) > stub::kRunning) {
    __atomic_compare_exchange_n(&channel_->state, &s, s | stub::kSleeping, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
  }
}

base::Result<void> SystrapThread::SetFp(std::span<const uint8_t> fp_state) {
  const stub::FpLayout& layout = stub::GetFpLayout();
  platform::FpState clean(layout.size);
  if (!stub::NormaliseFp(layout, fp_state, clean.data())) return abi::Errno::kEINVAL;
  LeaveLight();
  uint8_t* p = fp();
  if (!p) {
    frame()->fpstate = stub::kSlots + uint64_t{slot_} * stub::kSlotSize + stub::InitialFp();
    p = base() + stub::InitialFp();
  }
  memcpy(p, clean.data(), clean.size());
  return {};
}

void SystrapThread::Interrupt() {
  if (interrupt_.exchange(true, std::memory_order_seq_cst)) return;
  if (!running_.load(std::memory_order_seq_cst)) return;
  space_->Signal(tid_, stub::kInterruptSignal);
  // The driving thread learns that it may not wait for ever now.
  host::FutexWake(&channel_->state, 1, true);
}

}  // namespace

base::StatusOr<std::unique_ptr<platform::Platform>> Create(const platform::Options& options) {
  auto engine = std::make_unique<SystrapEngine>();
  if (base::Status s = engine->Init(options); !s.ok()) return std::move(s).With("systrap");
  return std::unique_ptr<platform::Platform>(std::move(engine));
}

}  // namespace platform::systrap
