// A guest thread on a virtual processor.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "platform/kvm/space.h"

namespace platform::kvm {

class Thread final : public GuestThread {
 public:
  // slot: 0 where call sites aren't patched.
  Thread(base::Ref<Space> space, uint32_t slot, const Regs& regs, FpState fp);
  ~Thread() override;

  Stop Run() override;
  bool Commit() override;
  const SyscallRegs& syscall() const override { return syscall_; }
  void SetReturn(uint64_t value) override { return_ = value; }
  const Regs& regs() override;
  void SetRegs(const Regs& regs) override;
  FpState GetFp() override;
  base::Result<void> SetFp(std::span<const uint8_t> fp) override;
  LocalThread* local() override { return slot_ == 0 ? nullptr : &channel_->local; }
  void Interrupt() override;

  // For Space, whose lock keeps the thread. Makes it leave the guest if it is there and doesn't
  // know this generation.
  void Kick(uint64_t generation) const;
  // Returns when it has left, or knows the generation.
  void WaitForget(uint64_t generation) const;

  // For Machine, whose lock keeps the thread. Takes the processor from it, unless it is using it.
  bool GiveUp();
  // A thread that uses its processor all the time gives it up soon.
  void Preempt();

 private:
  // While a method of its own uses the processor and the registers: nobody takes them away.
  class Use {
   public:
    explicit Use(Thread& thread);
    ~Use() { thread_.use_.store(kUnused, std::memory_order_release); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Thread& thread_;
  };

  // Takes a processor if it has none; waits for one.
  bool Prepare();
  // Another one's turn.
  void Yield();
  // What is the processor's becomes the thread's; the processor may be another's.
  void Detach();
  Regs& current() { return vcpu_ != nullptr ? vcpu_->area().regs : regs_; }
  void ApplyReturn();
  FpState LoadFp();
  bool StoreFp(const FpState& clean);
  // Whether the guest must stop soon.
  bool Wanted() const;
  // Has the guest go on for an instruction, if it is in the stub. False: it isn't, or doesn't come
  // out.
  bool Step();
  void EndSteps();
  // Runs until ring 0 gives back. False: the guest side is broken.
  bool Trip();
  // What ring 0 gave back. False: nothing for the sentry, go on.
  bool Stopped(Stop* stop);
  bool Returned(Stop* stop);
  bool Called(Stop* stop);
  // Where the guest is in the middle of what is one instruction to it, goes on to its end.
  bool Interrupted(Stop* stop);
  // A fault, as *stop says, or something that patched sites and the stub have: as Stopped().
  bool AtSite(Stop* stop);
  bool PageFault(Stop* stop);
  Stop Exception(uint32_t vector);
  int FloatingPointCode(bool simd);
  Stop Broken(const char* what);

  const base::Ref<Space> space_;
  const uint32_t slot_;
  stub::Channel* const channel_;  // the slot's; with one
  // What a guest without a gs base has there: by it the stub knows the slot.
  const uint64_t no_gs_base_;
  Vcpu* vcpu_ = nullptr;
  enum : uint32_t { kUnused, kUsed, kTaken };
  std::atomic<uint32_t> use_{kUnused};  // a futex: kTaken: another thread takes the processor
  // While there is no processor.
  Regs regs_{};
  FpState fp_;
  SyscallRegs syscall_{};
  std::optional<uint64_t> return_;  // SetReturn()'s
  Regs shown_{};
  uint64_t flags_ = kReturnFull | kReturnBases | kReturnFlush;  // of the next return
  // In the middle of ring 3, or on the way there: not stopped in ring 0's exit.
  bool midway_ = false;

  std::atomic<bool> interrupt_{false}, running_{false}, preempt_{false};
  std::atomic<int> tid_{0};
  // A futex: 1 while the thread is in KVM_RUN; 2: and somebody waits for it to leave.
  mutable std::atomic<uint32_t> in_guest_{0};
  // How often in a row the guest went on for an instruction; whether by its own trap flag.
  int steps_ = 0;
  bool own_trap_flag_ = false;
  // How often in a row the host couldn't give a page.
  int faults_ = 0;
  // Faults in a row at an address for which the tables have what it takes.
  int odd_faults_ = 0;
  uint64_t odd_address_ = 0;
  uint64_t synchronised_ = 0;      // others of the space know at least this generation
  std::atomic<uint64_t> seen_{0};  // the space's generation that its processor knows
};

}  // namespace platform::kvm
