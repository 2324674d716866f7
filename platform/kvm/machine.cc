#include "platform/kvm/machine.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/kvm/entry.h"

namespace platform::kvm {
namespace {

using base::Status;

constexpr uint64_t kKernelMemorySize = uint64_t{4} << 30;
constexpr uint32_t kMaxCpuid = 256;

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

long Machine::AddSlot(void* self, uint32_t slot, uint64_t gpa, uint64_t size, void* at) {
  kvm_userspace_memory_region r{};
  r.slot = slot;
  r.guest_phys_addr = gpa;
  r.memory_size = size;
  r.userspace_addr = reinterpret_cast<uint64_t>(at);
  return Ioctl(static_cast<Machine*>(self)->fd_, KVM_SET_USER_MEMORY_REGION, &r);
}

Status Machine::InitCpuid(uint64_t features) {
  cpuid_.resize(sizeof(kvm_cpuid2) + kMaxCpuid * sizeof(kvm_cpuid_entry2));
  auto* c = reinterpret_cast<kvm_cpuid2*>(cpuid_.data());
  c->nent = kMaxCpuid;
  if (long r = Ioctl(device_, KVM_GET_SUPPORTED_CPUID, c); r < 0)
    return Status::Errno("KVM_GET_SUPPORTED_CPUID", static_cast<int>(-r));
  bool fsgsbase = false, smep = false, smap = false, xsave = false;
  for (uint32_t i = 0; i < c->nent; i++) {
    kvm_cpuid_entry2& e = c->entries[i];
    if (e.function == 1) xsave = (e.ecx & 1 << 26) != 0;
    if (e.function == 7 && e.index == 0) {
      fsgsbase = (e.ebx & 1) != 0;
      smep = (e.ebx & 1 << 7) != 0;
      smap = (e.ebx & 1 << 20) != 0;
    }
    if (e.function == 0xd && e.index == 0) xcr0_ = e.eax | uint64_t{e.edx} << 32;
  }
  if (!fsgsbase) return Status::Error("the processor has no FSGSBASE");
  cr4_ = kCr4 | (smep ? kCr4Smep : 0) | (smap ? kCr4Smap : 0) | (xsave ? kCr4Osxsave : 0);
  xcr0_ = xsave ? (xcr0_ & features) | 3 : 0;
  return {};
}

Status Machine::Init(base::UniqueFd device, uint64_t features) {
  device_ = std::move(device);
  if (long v = IoctlNumber(device_, KVM_GET_API_VERSION, 0); v != KVM_API_VERSION)
    return Status::Error("/dev/kvm speaks another version");
  RETURN_IF_ERROR(InitCpuid(features));
  long r = IoctlNumber(device_, KVM_CREATE_VM, 0);
  if (r < 0) return Status::Errno("making a virtual machine", static_cast<int>(-r));
  fd_.reset(static_cast<int>(r));
  r = IoctlNumber(device_, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (r < 0) return Status::Errno("KVM_GET_VCPU_MMAP_SIZE", static_cast<int>(-r));
  run_size_ = static_cast<size_t>(r);
  r = IoctlNumber(fd_, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
  max_vcpus_ = r > 0 ? static_cast<uint32_t>(r) : 4;
  uint32_t physical_bits = 36;
  auto* c = reinterpret_cast<kvm_cpuid2*>(cpuid_.data());
  for (uint32_t i = 0; i < c->nent; i++) {
    if (c->entries[i].function == 0x80000008) physical_bits = c->entries[i].eax & 0xff;
  }

  r = kernel_memory_.Init(kKernelMemorySize);
  if (r == 0) r = AddSlot(this, 0, 0, kKernelMemorySize, kernel_memory_.base());
  if (r < 0) return Status::Errno("the virtual machine's memory", static_cast<int>(-r));
  files_.emplace(&AddSlot, this, 1, FileMemory::kSlotSize,
                 uint64_t{1} << std::min(physical_bits, 46u));
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
  s.cr4 = cr4_;
  s.efer = kEfer;
  if (Ioctl(vcpu.fd_, KVM_SET_SREGS, &s) < 0) return false;
  if (xcr0_ != 0) {
    kvm_xcrs x{};
    x.nr_xcrs = 1;
    x.xcrs[0].value = xcr0_;
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

Vcpu* Machine::Take(int tid) {
  base::MutexLock l(mu_);
  if (!idle_.empty()) {
    auto it = std::find_if(idle_.begin(), idle_.end(), [&](Vcpu* v) { return v->last_tid == tid; });
    if (it == idle_.end()) it = idle_.end() - 1;
    Vcpu* v = *it;
    *it = idle_.back();
    idle_.pop_back();
    v->last_tid = tid;
    return v;
  }
  if (vcpus_.size() >= max_vcpus_) return nullptr;
  auto fresh = Make(static_cast<uint32_t>(vcpus_.size()));
  if (!fresh) return nullptr;
  Vcpu* v = fresh.get();
  v->last_tid = tid;
  vcpus_.push_back(std::move(fresh));
  return v;
}

void Machine::Return(Vcpu* vcpu) {
  base::MutexLock l(mu_);
  if (!vcpu->broken) idle_.push_back(vcpu);
}

}  // namespace platform::kvm
