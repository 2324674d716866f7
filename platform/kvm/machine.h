// The virtual machine and its processors: what the engine needs of /dev/kvm.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/mutex.h"
#include "platform/base/status.h"
#include "platform/host/kvm_abi.h"
#include "platform/kvm/cpuid.h"
#include "platform/kvm/file_memory.h"
#include "platform/kvm/layout.h"
#include "platform/kvm/page_table.h"
#include "platform/stub/fp_state.h"

namespace platform::kvm {

// The signal that makes KVM_RUN return; blocked everywhere else.
constexpr int kKickSignal = 10;  // SIGUSR1

class Machine;
class Thread;

// What became of the trips into the guest; each processor's are written by who drives it.
struct Counters {
  std::atomic<uint64_t> exits{0};       // KVM_RUN returned
  std::atomic<uint64_t> calls{0};       // for a system call
  std::atomic<uint64_t> pages{0};       // for a page that wasn't in the tables, and now is
  std::atomic<uint64_t> exceptions{0};  // for one that is the guest's
  std::atomic<uint64_t> kicks{0};       // by a signal
  static void Count(std::atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
};

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
  Counters counters;

 private:
  friend class Machine;
  Thread* owner_ = nullptr;  // guarded by the machine's lock
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
  // device: /dev/kvm.
  base::Status Init(base::UniqueFd device);

  // A processor for a thread that has none, as far as can be one that host thread tid used last.
  // There are fewer than threads may be: one is taken from a thread that doesn't run, or waited
  // for. nullptr: the host gives none at all.
  Vcpu* Take(Thread* owner, int tid);
  void Return(Vcpu* vcpu);

  FileMemory& files() { return *files_; }
  // The guests' extended state: the host's format, with what they get of it.
  const stub::FpLayout& fp_layout() const { return fp_layout_; }
  // The guest-physical address of a page of the host's vDSO, FileMemory::kNone beyond its end:
  // guests have it at stub::kVdso.
  uint64_t ClockPage(uint64_t offset) const {
    return offset < clock_size_ ? kClockMemory + offset : FileMemory::kNone;
  }
  // The address of its clock_gettime in guests, or 0.
  uint64_t clock_gettime() const;
  // The host doesn't let guests read it after all. Before there are guests.
  void ForgetClock() { clock_size_ = 0; }
  // One line of JSON.
  std::string Stats();
  // Tables with nothing but the upper half; nullptr: no memory. They come back when nothing runs on
  // them any more, but a processor that did may still have them in cr3, and needs the upper half:
  // they are never anything else.
  std::unique_ptr<PageTable> TakeTables();
  void ReturnTables(std::unique_ptr<PageTable> tables);

 private:
  long AddSlot(uint32_t slot, uint64_t gpa, uint64_t size, void* at, uint32_t flags = 0);
  base::Status InitCpuid();
  void InitClock();
  std::unique_ptr<Vcpu> Make(uint32_t index);
  bool MapPages(uint32_t index, VcpuArea** area);
  bool SetState(const Vcpu& vcpu, uint32_t index);

  base::UniqueFd device_, fd_;
  size_t run_size_ = 0;
  uint32_t max_vcpus_ = 0;
  Processor processor_;
  stub::FpLayout fp_layout_;
  std::vector<uint8_t> cpuid_;  // kvm_cpuid2
  KernelMemory kernel_memory_;
  uint64_t clock_size_ = 0;  // 0: guests have no clock of their own
  uint64_t text_ = 0;        // the guest-physical address of ring 0's code
  std::unique_ptr<PageTable> upper_half_;
  std::optional<FileMemory> files_;
  // Who waits for a processor, first come first served: on the stack of Take().
  struct Waiter {
    std::atomic<uint32_t> served{0};  // a futex
    Vcpu* got = nullptr;
  };
  // One that nobody has, or a new one.
  Vcpu* TakeIdle(int tid) REQUIRES_LOCK(mu_);
  // Else that of a thread that isn't using it.
  Vcpu* TakeAny(int tid) REQUIRES_LOCK(mu_);

  base::Mutex<base::LockClass::kEngine> mu_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_ GUARDED_BY(mu_);
  std::vector<Vcpu*> idle_ GUARDED_BY(mu_);
  size_t broken_ GUARDED_BY(mu_) = 0;  // of them
  size_t hand_ GUARDED_BY(mu_) = 0;    // in vcpus_: whose turn it is to lose
  std::deque<Waiter*> waiting_ GUARDED_BY(mu_);
  std::vector<std::unique_ptr<PageTable>> idle_tables_ GUARDED_BY(mu_);
};

}  // namespace platform::kvm
