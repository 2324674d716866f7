// A guest thread on a virtual processor.
#pragma once

#include <atomic>
#include <memory>

#include "platform/kvm/space.h"

namespace platform::kvm {

class Thread final : public GuestThread {
 public:
  Thread(base::Ref<Space> space, const Regs& regs, FpState fp);
  ~Thread() override;

  Stop Run() override;
  bool Commit() override;
  const SyscallRegs& syscall() const override { return syscall_; }
  void SetReturn(uint64_t value) override { current().rax = value; }
  const Regs& regs() override { return current(); }
  void SetRegs(const Regs& regs) override;
  FpState GetFp() override;
  base::Result<void> SetFp(std::span<const uint8_t> fp) override;
  void Interrupt() override;

  // For Space, whose lock keeps the thread. Makes it leave the guest if it is there and doesn't
  // know this generation.
  void Kick(uint64_t generation) const;
  // Returns when it has left, or knows the generation.
  void WaitForget(uint64_t generation) const;

 private:
  // Takes a processor if it has none.
  bool Prepare();
  Regs& current() { return vcpu_ != nullptr ? vcpu_->area().regs : regs_; }
  // Runs until ring 0 gives back. False: the guest side is broken.
  bool Trip();
  // What ring 0 gave back. False: nothing for the sentry, go on.
  bool Stopped(Stop* stop);
  bool PageFault(Stop* stop);
  Stop Exception(uint32_t vector);
  int FloatingPointCode(bool simd);
  Stop Broken(const char* what);

  const base::Ref<Space> space_;
  Vcpu* vcpu_ = nullptr;
  // While there is no processor.
  Regs regs_{};
  FpState fp_;
  SyscallRegs syscall_{};
  uint64_t flags_ = kReturnFull | kReturnBases | kReturnFlush;  // of the next return
  // In the middle of ring 3, or on the way there: not stopped in ring 0's exit.
  bool midway_ = false;

  std::atomic<bool> interrupt_{false}, running_{false};
  std::atomic<int> tid_{0};
  // A futex: 1 while the thread is in KVM_RUN; 2: and somebody waits for it to leave.
  mutable std::atomic<uint32_t> in_guest_{0};
  uint64_t synchronised_ = 0;      // others of the space know at least this generation
  std::atomic<uint64_t> seen_{0};  // the space's generation that its processor knows
};

}  // namespace platform::kvm
