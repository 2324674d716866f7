// What ring 0 of the virtual machine (entry.cc) and the sentry agree on. Guests run in ring 3 and
// can reach none of this: every page here is a supervisor's.
#pragma once

#include <cstdint>

#include "platform/api/context.h"

namespace platform::kvm {

constexpr uint64_t kPage = 4096;
// User addresses end here (TASK_SIZE_MAX of 4-level paging); the first address that isn't canonical
// is a page further.
constexpr uint64_t kTaskEnd = 0x7ffffffff000;

// --- The upper half of every address space: three pages per vCPU, and nothing else ---
constexpr uint64_t kVcpuBase = 0xffffff0000000000;
constexpr uint64_t kVcpuStride = 0x4000;
constexpr uint64_t kTextPage = 0;         // ring 0's code, one physical page for all
constexpr uint64_t kTablesPage = 0x1000;  // GDT, TSS, IDT: read-only
constexpr uint64_t kAreaPage = 0x2000;    // VcpuArea; the exception stack grows down from its end
constexpr uint64_t kStackTop = 0x3000;

// In the text page.
constexpr uint64_t kSyscallOffset = 0;     // LSTAR
constexpr uint64_t kResumeOffset = 0x100;  // where a vCPU begins
constexpr uint64_t kVectorsOffset = 0x200;
constexpr uint64_t kVectorSize = 16;

// Exceptions, and the one interrupt: the sentry's kick.
constexpr uint32_t kKickVector = 32;
constexpr uint32_t kVectors = 33;
// VcpuArea.vector of a system call.
constexpr uint64_t kSyscallVector = 256;

// Guest-physical addresses: page tables and vCPUs' pages, the host's vDSO, files.
constexpr uint64_t kKernelMemorySize = uint64_t{4} << 30;
constexpr uint64_t kClockMemory = kKernelMemorySize;
constexpr uint64_t kFileMemory = uint64_t{8} << 30;
// Memory slots, in this order.
constexpr uint32_t kKernelSlot = 0, kClockSlot = 1, kFirstFileSlot = 2;

// Flags of a return.
constexpr uint64_t kReturnFlush = 1;  // load cr3: another address space, or its tables changed
constexpr uint64_t kReturnFull = 2;   // all registers, by IRET; else SYSRET
constexpr uint64_t kReturnBases = 4;  // load fs_base and gs_base

// The guest's state between ring 0 and the sentry.
struct VcpuArea {
  Regs regs;  // orig_rax: the call's number, or -1; cs and ss are set by exceptions only
  uint64_t vector;
  uint64_t error;
  uint64_t cr2;
  uint64_t cr3;
  uint64_t flags;  // kReturn*; ring 0 clears them
};
// entry.cc knows these.
static_assert(__builtin_offsetof(VcpuArea, regs.r11) == 48);
static_assert(__builtin_offsetof(VcpuArea, regs.rax) == 80);
static_assert(__builtin_offsetof(VcpuArea, regs.orig_rax) == 120);
static_assert(__builtin_offsetof(VcpuArea, regs.ss) == 160);
static_assert(__builtin_offsetof(VcpuArea, regs.gs_base) == 176);
static_assert(__builtin_offsetof(VcpuArea, vector) == 216);
static_assert(__builtin_offsetof(VcpuArea, flags) == 248);

// Selectors: as Linux's, so that guests see the usual ones.
constexpr uint16_t kRing0Cs = 0x10, kRing0Ss = 0x18;
// SYSRET takes ss from this + 8, cs from this + 16.
constexpr uint16_t kSysretBase = 0x23;
constexpr uint16_t kTssSelector = 0x40;
constexpr uint64_t kGdtEntries = 10;

}  // namespace platform::kvm
