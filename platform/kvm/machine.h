// The virtual machine and its processors: what the engine needs of /dev/kvm.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/mutex.h"
#include "platform/base/status.h"
#include "platform/host/kvm_abi.h"
#include "platform/kvm/file_memory.h"
#include "platform/kvm/layout.h"
#include "platform/kvm/page_table.h"

namespace platform::kvm {

// The signal that makes KVM_RUN return; blocked everywhere else.
constexpr int kKickSignal = 10;  // SIGUSR1

class Machine;

// A virtual processor. Used by one host thread at a time.
class Vcpu {
 public:
  ~Vcpu();
  VcpuArea& area() const { return *area_; }
  kvm_run& run() const { return *run_; }
  // KVM_RUN: 0 or -errno.
  long Run();
  // Queues the kick for a processor that is in ring 3, or asks for a return once it is.
  // False: the host can't.
  bool Kick();
  // The extended state, in XSAVE's standard format; at most sizeof(kvm_xsave).
  bool GetXsave(kvm_xsave* out);
  bool SetXsave(const kvm_xsave& in);

  // The host thread that drove it last: for another one the host takes long.
  int last_tid = 0;
  // Not to be used again.
  bool broken = false;

 private:
  friend class Machine;
  base::UniqueFd fd_;
  kvm_run* run_ = nullptr;
  size_t run_size_ = 0;
  VcpuArea* area_ = nullptr;
};

class Machine {
 public:
  Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();
  // device: /dev/kvm. features: components of the extended state that guests get.
  base::Status Init(base::UniqueFd device, uint64_t features);

  // A processor that nobody uses, as far as can be last used by thread tid; nullptr: the host has
  // no more.
  Vcpu* Take(int tid);
  void Return(Vcpu* vcpu);

  KernelMemory& kernel_memory() { return kernel_memory_; }
  FileMemory& files() { return *files_; }
  // Tables with nothing but the upper half; nullptr: no memory. They come back when nothing runs on
  // them any more, but a processor that did may still have them in cr3, and needs the upper half:
  // they are never anything else.
  std::unique_ptr<PageTable> TakeTables();
  void ReturnTables(std::unique_ptr<PageTable> tables);

 private:
  static long AddSlot(void* self, uint32_t slot, uint64_t gpa, uint64_t size, void* at);
  base::Status InitCpuid(uint64_t features);
  std::unique_ptr<Vcpu> Make(uint32_t index);
  bool MapPages(uint32_t index, VcpuArea** area);
  bool SetState(const Vcpu& vcpu, uint32_t index);

  base::UniqueFd device_, fd_;
  size_t run_size_ = 0;
  uint32_t max_vcpus_ = 0;
  uint64_t xcr0_ = 0, cr4_ = 0;
  std::vector<uint8_t> cpuid_;  // kvm_cpuid2
  KernelMemory kernel_memory_;
  uint64_t text_ = 0;  // the guest-physical address of ring 0's code
  std::unique_ptr<PageTable> upper_half_;
  std::optional<FileMemory> files_;
  base::Mutex<base::LockClass::kEngine> mu_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_ GUARDED_BY(mu_);
  std::vector<Vcpu*> idle_ GUARDED_BY(mu_);
  std::vector<std::unique_ptr<PageTable>> idle_tables_ GUARDED_BY(mu_);
};

}  // namespace platform::kvm
