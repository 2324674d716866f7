#include "platform/kvm/machine.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/kvm/entry.h"
#include "platform/kvm/thread.h"
#include "platform/stub/host_vdso.h"
#include "platform/stub/layout.h"

namespace platform::kvm {
namespace {

using base::Status;

constexpr uint32_t kMaxCpuid = 256;
// Processors cost the host memory, and an idle one is another thread's for a few microseconds.
constexpr uint32_t kFewVcpus = 64, kVcpusPerProcessor = 8;
// How long a thread runs on while others wait for its processor.
constexpr int64_t kSliceNs = 10'000'000, kSecond = 1'000'000'000;

// Control registers.
constexpr uint64_t kCr0 = 0x80050033;  // PE MP ET NE WP AM PG
constexpr uint64_t kCr4 = 0x10620;     // PAE OSFXSR OSXMMEXCPT FSGSBASE; nothing is global
constexpr uint64_t kCr4Osxsave = 1 << 18, kCr4Smep = 1 << 20, kCr4Smap = 1 << 21;
constexpr uint64_t kEfer = 0xd01;  // SCE LME LMA NXE
// Flags that SYSCALL clears: all that Linux clears (arch/x86/kernel/cpu/common.c).
constexpr uint64_t kFlagMask = 0x257fd5;
constexpr uint32_t kMsrStar = 0xc0000081, kMsrLstar = 0xc0000082, kMsrFmask = 0xc0000084;

// The page of tables.
struct Tables {
  uint64_t gdt[kGdtEntries];
  uint8_t tss[104];
  alignas(16) struct Gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, zero;
  } idt[kVectors];
};
static_assert(sizeof(Tables) <= kPage);

constexpr uint64_t VcpuAt(uint32_t index) { return kVcpuBase + index * kVcpuStride; }

void FillTables(uint64_t at, Tables* t) {
  // Accessed already: the page is read-only.
  t->gdt[kRing0Cs / 8] = 0x00af9b000000ffff;
  t->gdt[kRing0Ss / 8] = 0x00cf93000000ffff;
  t->gdt[kUserSs / 8] = 0x00cff3000000ffff;
  t->gdt[kUserCs / 8] = 0x00affb000000ffff;
  const uint64_t stack = at + kStackTop;
  memcpy(t->tss + 4, &stack, 8);          // RSP0
  memcpy(t->tss + 36, &stack, 8);         // IST1
  const uint16_t io_map = sizeof t->tss;  // beyond the limit: no ports
  memcpy(t->tss + 102, &io_map, 2);
  for (uint32_t v = 0; v < kVectors; v++) {
    const uint64_t entry = at + kTextPage + kVectorsOffset + v * kVectorSize;
    // INT3 and INTO may come from ring 3; other INTs are protection faults there.
    const uint8_t type = v == 3 || v == 4 ? 0xee : 0x8e;
    t->idt[v] = {
        static_cast<uint16_t>(entry),       kRing0Cs, 1, type, static_cast<uint16_t>(entry >> 16),
        static_cast<uint32_t>(entry >> 32), 0};
  }
}

kvm_segment Segment(uint16_t selector, uint8_t type, bool system, bool code, uint8_t dpl) {
  kvm_segment s{};
  s.limit = 0xffffffff;
  s.selector = selector;
  s.type = type;
  s.present = 1;
  s.dpl = dpl;
  s.s = !system;
  s.l = code;
  s.db = !code && !system;
  s.g = !system;
  return s;
}

long Ioctl(const base::UniqueFd& fd, unsigned long request, const void* arg) {
  return host::Ioctl(fd.get(), request, const_cast<void*>(arg));
}
// Requests whose argument is a number.
long IoctlNumber(const base::UniqueFd& fd, unsigned long request, uint64_t value) {
  return host::Ioctl(fd.get(), request, reinterpret_cast<void*>(value));
}

}  // namespace

Vcpu::~Vcpu() {
  if (run_ != nullptr) host::Munmap(run_, run_size_);
}

long Vcpu::Run() { return IoctlNumber(fd_, KVM_RUN, 0); }

bool Vcpu::Kick() {
  if (run_->ready_for_interrupt_injection != 0 && run_->if_flag != 0) {
    run_->request_interrupt_window = 0;
    const kvm_interrupt kick{kKickVector};
    return Ioctl(fd_, KVM_INTERRUPT, &kick) == 0;
  }
  run_->request_interrupt_window = 1;
  return true;
}

bool Vcpu::GetXsave(kvm_xsave* out) { return Ioctl(fd_, KVM_GET_XSAVE, out) == 0; }
bool Vcpu::SetXsave(const kvm_xsave& in) { return Ioctl(fd_, KVM_SET_XSAVE, &in) == 0; }

Machine::~Machine() = default;

long Machine::AddSlot(uint32_t slot, uint64_t gpa, uint64_t size, void* at, uint32_t flags) {
  kvm_userspace_memory_region r{};
  r.slot = slot;
  r.flags = flags;
  r.guest_phys_addr = gpa;
  r.memory_size = size;
  r.userspace_addr = reinterpret_cast<uint64_t>(at);
  return Ioctl(fd_, KVM_SET_USER_MEMORY_REGION, &r);
}

Status Machine::InitCpuid() {
  const auto bytes = [](uint32_t entries) {
    return sizeof(kvm_cpuid2) + entries * sizeof(kvm_cpuid_entry2);
  };
  cpuid_.resize(bytes(kMaxCpuid));
  auto* c = reinterpret_cast<kvm_cpuid2*>(cpuid_.data());
  c->nent = kMaxCpuid;
  if (long r = Ioctl(device_, KVM_GET_SUPPORTED_CPUID, c); r < 0)
    return Status::Errno("KVM_GET_SUPPORTED_CPUID", static_cast<int>(-r));
  std::vector<kvm_cpuid_entry2> entries(c->entries, c->entries + c->nent);
  const stub::FpLayout& host = stub::GetFpLayout();
  processor_ = Restrict(entries, host.features);
  if (!processor_.fsgsbase) return Status::Error("the processor has no FSGSBASE");
  fp_layout_ = stub::Restrict(host, processor_.xcr0, processor_.xsave_size);
  c->nent = static_cast<uint32_t>(entries.size());
  std::copy(entries.begin(), entries.end(), c->entries);
  cpuid_.resize(bytes(c->nent));
  return {};
}

Status Machine::Init(base::UniqueFd device) {
  device_ = std::move(device);
  if (long v = IoctlNumber(device_, KVM_GET_API_VERSION, 0); v != KVM_API_VERSION)
    return Status::Error("/dev/kvm speaks another version");
  RETURN_IF_ERROR(InitCpuid());
  long r = IoctlNumber(device_, KVM_CREATE_VM, 0);
  if (r < 0) return Status::Errno("making a virtual machine", static_cast<int>(-r));
  fd_.reset(static_cast<int>(r));
  // The other maker's hypercall instruction would be rewritten in the guest's memory. Older hosts
  // don't know the request, and do so.
  kvm_enable_cap quirks{};
  quirks.cap = KVM_CAP_DISABLE_QUIRKS2;
  quirks.args[0] = KVM_X86_QUIRK_FIX_HYPERCALL_INSN;
  Ioctl(fd_, KVM_ENABLE_CAP, &quirks);
  r = IoctlNumber(device_, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (r < 0) return Status::Errno("KVM_GET_VCPU_MMAP_SIZE", static_cast<int>(-r));
  run_size_ = static_cast<size_t>(r);
  r = IoctlNumber(fd_, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
  max_vcpus_ = r > 0 ? static_cast<uint32_t>(r) : 4;
  r = IoctlNumber(fd_, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS);  // the host's processors, about
  if (r > 0) {
    const uint32_t enough = kVcpusPerProcessor * static_cast<uint32_t>(std::min(r, 4096l));
    max_vcpus_ = std::min(max_vcpus_, std::max(kFewVcpus, enough));
  }
  r = kernel_memory_.Init(kKernelMemorySize);
  if (r == 0) r = AddSlot(kKernelSlot, 0, kKernelMemorySize, kernel_memory_.base());
  if (r < 0) return Status::Errno("the virtual machine's memory", static_cast<int>(-r));
  files_.emplace([](void* self, uint32_t slot, uint64_t gpa, uint64_t size,
                    void* at) { return static_cast<Machine*>(self)->AddSlot(slot, gpa, size, at); },
                 this, kFirstFileSlot, kFileMemory,
                 uint64_t{1} << std::min(processor_.physical_bits, 46u));
  InitClock();
  upper_half_ = std::make_unique<PageTable>(kernel_memory_);
  text_ = kernel_memory_.Allocate();
  if (text_ == KernelMemory::kNone || !upper_half_->Init())
    return Status::Error("no memory for page tables");
  std::span<const uint8_t> code = EntryCode();
  CHECK(code.size() <= kPage);
  memcpy(kernel_memory_.At(text_), code.data(), code.size());
  // The first one now: where it can't be had, that is known before a guest starts. It makes the
  // upper half's tables, too, which address spaces share.
  base::MutexLock l(mu_);
  auto first = Make(0);
  if (!first) return Status::Error("the host gives no virtual processor");
  idle_.push_back(first.get());
  vcpus_.push_back(std::move(first));
  return {};
}

// With the host's own time stamps the host's vDSO is right in guests, too. Where its clock isn't
// the time stamp counter, the code there makes a system call.
void Machine::InitClock() {
  const stub::HostVdso& vdso = stub::LocateVdso();
  if (vdso.clock_gettime == 0 || IoctlNumber(fd_, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0)
    return;
  if (AddSlot(kClockSlot, kClockMemory, vdso.size(), reinterpret_cast<void*>(vdso.start()),
              KVM_MEM_READONLY) == 0)
    clock_size_ = vdso.size();
}

uint64_t Machine::clock_gettime() const {
  return clock_size_ != 0 ? stub::kVdso + stub::LocateVdso().clock_gettime : 0;
}

bool Machine::MapPages(uint32_t index, VcpuArea** area) {
  const uint64_t at = VcpuAt(index);
  const uint64_t tables = kernel_memory_.Allocate(), state = kernel_memory_.Allocate();
  if (tables == KernelMemory::kNone || state == KernelMemory::kNone) return false;
  FillTables(at, reinterpret_cast<Tables*>(kernel_memory_.At(tables)));
  *area = reinterpret_cast<VcpuArea*>(kernel_memory_.At(state));
  (*area)->cr3 = upper_half_->root();
  return upper_half_->Set(at + kTextPage, text_, 0) &&
         upper_half_->Set(at + kTablesPage, tables, kPteNoExec) &&
         upper_half_->Set(at + kAreaPage, state, kPteNoExec | kPteWrite);
}

bool Machine::SetState(const Vcpu& vcpu, uint32_t index) {
  const uint64_t at = VcpuAt(index);
  if (Ioctl(vcpu.fd_, KVM_SET_CPUID2, cpuid_.data()) < 0) return false;
  kvm_sregs s{};
  if (Ioctl(vcpu.fd_, KVM_GET_SREGS, &s) < 0) return false;
  s.cs = Segment(kRing0Cs, 0xb, false, true, 0);
  s.ss = Segment(kRing0Ss, 3, false, false, 0);
  s.ds = s.es = s.fs = s.gs = Segment(kUserSs, 3, false, false, 3);
  s.tr = Segment(kTssSelector, 0xb, true, false, 0);
  s.tr.base = at + kTablesPage + offsetof(Tables, tss);
  s.tr.limit = sizeof(Tables::tss) - 1;
  s.ldt = {};
  s.ldt.unusable = 1;
  s.gdt = {at + kTablesPage + offsetof(Tables, gdt), sizeof(Tables::gdt) - 1, {}};
  s.idt = {at + kTablesPage + offsetof(Tables, idt), sizeof(Tables::idt) - 1, {}};
  s.cr0 = kCr0;
  s.cr3 = upper_half_->root();
  s.cr4 = kCr4 | (processor_.smep ? kCr4Smep : 0) | (processor_.smap ? kCr4Smap : 0) |
          (processor_.xcr0 != 0 ? kCr4Osxsave : 0);
  s.efer = kEfer;
  if (Ioctl(vcpu.fd_, KVM_SET_SREGS, &s) < 0) return false;
  if (processor_.xcr0 != 0) {
    kvm_xcrs x{};
    x.nr_xcrs = 1;
    x.xcrs[0].value = processor_.xcr0;
    if (Ioctl(vcpu.fd_, KVM_SET_XCRS, &x) < 0) return false;
  }
  const kvm_msr_entry values[] = {
      {kMsrStar, 0, uint64_t{kSysretBase} << 48 | uint64_t{kRing0Cs} << 32},
      {kMsrLstar, 0, at + kTextPage + kSyscallOffset},
      {kMsrFmask, 0, kFlagMask}};
  alignas(kvm_msrs) uint8_t msrs[sizeof(kvm_msrs) + sizeof values] = {};
  reinterpret_cast<kvm_msrs*>(msrs)->nmsrs = std::size(values);
  memcpy(msrs + sizeof(kvm_msrs), values, sizeof values);
  if (Ioctl(vcpu.fd_, KVM_SET_MSRS, msrs) != std::size(values)) return false;
  const uint64_t offset = 0;
  kvm_device_attr tsc{};
  tsc.group = KVM_VCPU_TSC_CTRL;
  tsc.attr = KVM_VCPU_TSC_OFFSET;
  tsc.addr = reinterpret_cast<uint64_t>(&offset);
  if (clock_size_ != 0 && Ioctl(vcpu.fd_, KVM_SET_DEVICE_ATTR, &tsc) < 0) {
    if (index != 0) return false;
    ForgetClock();
  }
  const uint64_t blocked = ~(uint64_t{1} << (kKickSignal - 1));
  alignas(kvm_signal_mask) uint8_t mask[sizeof(kvm_signal_mask) + sizeof blocked] = {};
  reinterpret_cast<kvm_signal_mask*>(mask)->len = sizeof blocked;
  memcpy(mask + sizeof(kvm_signal_mask), &blocked, sizeof blocked);
  if (Ioctl(vcpu.fd_, KVM_SET_SIGNAL_MASK, mask) < 0) return false;
  kvm_regs regs{};
  regs.rip = at + kTextPage + kResumeOffset;
  regs.rflags = 2;
  return Ioctl(vcpu.fd_, KVM_SET_REGS, &regs) == 0;
}

std::unique_ptr<Vcpu> Machine::Make(uint32_t index) {
  auto v = std::make_unique<Vcpu>();
  long r = IoctlNumber(fd_, KVM_CREATE_VCPU, index);
  if (r < 0) {
    LOG_WARNING("kvm: no virtual processor %u (%ld)", index, r);
    return nullptr;
  }
  v->fd_.reset(static_cast<int>(r));
  r = host::Mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd_.get(), 0);
  if (host::IsError(r)) return nullptr;
  v->run_ = reinterpret_cast<kvm_run*>(r);
  v->run_size_ = run_size_;
  if (!MapPages(index, &v->area_) || !SetState(*v, index)) {
    LOG_WARNING("kvm: virtual processor %u refuses its state", index);
    return nullptr;
  }
  return v;
}

std::unique_ptr<PageTable> Machine::TakeTables() {
  std::unique_ptr<PageTable> t;
  {
    base::MutexLock l(mu_);
    if (!idle_tables_.empty()) {
      t = std::move(idle_tables_.back());
      idle_tables_.pop_back();
      return t;
    }
  }
  t = std::make_unique<PageTable>(kernel_memory_);
  if (!t->Init()) return nullptr;
  t->ShareUpperHalf(*upper_half_);
  return t;
}

void Machine::ReturnTables(std::unique_ptr<PageTable> tables) {
  tables->FreeLowerHalf();
  base::MutexLock l(mu_);
  idle_tables_.push_back(std::move(tables));
}

std::string Machine::Stats() {
  base::MutexLock l(mu_);
  const std::pair<const char*, std::atomic<uint64_t> Counters::*> all[] = {
      {"exits", &Counters::exits},
      {"calls", &Counters::calls},
      {"pages", &Counters::pages},
      {"exceptions", &Counters::exceptions},
      {"kicks", &Counters::kicks}};
  std::string out = "{\"engine\": \"kvm\", \"processors\": " + std::to_string(vcpus_.size());
  for (const auto& [name, counter] : all) {
    uint64_t sum = 0;
    for (const auto& v : vcpus_) sum += (v->counters.*counter).load(std::memory_order_relaxed);
    out += std::string(", \"") + name + "\": " + std::to_string(sum);
  }
  return out + "}\n";
}

Vcpu* Machine::TakeIdle(int tid) {
  if (!idle_.empty()) {
    auto it = std::find_if(idle_.begin(), idle_.end(), [&](Vcpu* v) { return v->last_tid == tid; });
    if (it == idle_.end()) it = idle_.end() - 1;
    Vcpu* v = *it;
    *it = idle_.back();
    idle_.pop_back();
    return v;
  }
  if (vcpus_.size() - broken_ >= max_vcpus_) return nullptr;
  auto fresh = Make(static_cast<uint32_t>(vcpus_.size()));
  if (!fresh) {
    // The host gives no more than there are.
    max_vcpus_ = static_cast<uint32_t>(vcpus_.size() - broken_);
    return nullptr;
  }
  vcpus_.push_back(std::move(fresh));
  return vcpus_.back().get();
}

Vcpu* Machine::TakeAny(int tid) {
  if (Vcpu* v = TakeIdle(tid)) return v;
  for (size_t i = 0; i < vcpus_.size(); i++) {
    hand_ = (hand_ + 1) % vcpus_.size();
    Vcpu* v = vcpus_[hand_].get();
    if (v->owner_ != nullptr && v->owner_->GiveUp()) return v;
  }
  return nullptr;
}

Vcpu* Machine::Take(Thread* owner, int tid) {
  Vcpu* v;
  Waiter waiter;
  {
    base::MutexLock l(mu_);
    v = waiting_.empty() ? TakeAny(tid) : nullptr;
    if (v != nullptr) {
      v->owner_ = owner;
      v->last_tid = tid;
      return v;
    }
    waiting_.push_back(&waiter);
  }
  for (;;) {
    const int64_t at = host::ClockNow(CLOCK_MONOTONIC) + kSliceNs;
    const timespec until{at / kSecond, at % kSecond};
    host::FutexWait(&waiter.served, 0, &until);
    base::MutexLock l(mu_);
    if (waiter.got == nullptr && waiting_.front() == &waiter) {
      v = TakeAny(tid);
      if (v != nullptr || vcpus_.size() == broken_) {
        waiting_.pop_front();
        if (v == nullptr) return nullptr;
        waiter.got = v;
      } else {
        hand_ = (hand_ + 1) % vcpus_.size();
        if (Thread* runs = vcpus_[hand_]->owner_) runs->Preempt();
      }
    }
    if (waiter.got == nullptr) continue;
    waiter.got->owner_ = owner;
    waiter.got->last_tid = tid;
    return waiter.got;
  }
}

void Machine::Return(Vcpu* vcpu) {
  base::MutexLock l(mu_);
  vcpu->owner_ = nullptr;
  if (vcpu->broken) {
    broken_++;
    return;
  }
  if (waiting_.empty()) {
    idle_.push_back(vcpu);
    return;
  }
  Waiter* next = waiting_.front();
  waiting_.pop_front();
  next->got = vcpu;
  next->served.store(1, std::memory_order_relaxed);
  host::FutexWake(&next->served, 1);
}

}  // namespace platform::kvm
