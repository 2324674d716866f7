#include "platform/host/safe_copy.h"

#include <signal.h>
#include <ucontext.h>

#include <cstdio>

#include "platform/base/log.h"

// Each protected range lists {start, end, continuation} in the section moat_fixups, as
// self-relative offsets. At the continuation the registers are as the faulting instruction left
// them: "rep movsb" keeps the number of remaining bytes in rcx.
__asm__(R"(
  .macro FIXUP from, to, target
  .pushsection moat_fixups, "a"
  .balign 4
  .long \from - ., \to - ., \target - .
  .popsection
  .endm

  .text
  .balign 16
  .type moat_safe_copy, @function
  .hidden moat_safe_copy
moat_safe_copy:
  cmp $2048, %rdx
  jae 5f
  cmp $64, %rdx
  jb 2f
1:
  movups (%rsi), %xmm0
  movups 16(%rsi), %xmm1
  movups 32(%rsi), %xmm2
  movups 48(%rsi), %xmm3
  movups %xmm0, (%rdi)
  movups %xmm1, 16(%rdi)
  movups %xmm2, 32(%rdi)
  movups %xmm3, 48(%rdi)
  add $64, %rsi
  add $64, %rdi
  sub $64, %rdx
  cmp $64, %rdx
  jae 1b
2:
  cmp $8, %rdx
  jb 3f
  mov (%rsi), %rax
  mov %rax, (%rdi)
  add $8, %rsi
  add $8, %rdi
  sub $8, %rdx
  jmp 2b
3:
  cmp $4, %rdx
  jb 4f
  mov (%rsi), %eax
  mov %eax, (%rdi)
  add $4, %rsi
  add $4, %rdi
  sub $4, %rdx
4:
  test %rdx, %rdx
  jz 7f
41:
  mov (%rsi), %al
  mov %al, (%rdi)
  inc %rsi
  inc %rdi
  dec %rdx
  jnz 41b
  jmp 7f
5:
  mov %rdx, %rcx
6:
  rep movsb
61:
  mov %rcx, %rdx
7:
  mov %rdx, %rax
  ret
  FIXUP 1b, 4b, 4b
  FIXUP 41b, 5b, 7b
  FIXUP 6b, 61b, 61b
  .size moat_safe_copy, . - moat_safe_copy

  .balign 16
  .type moat_safe_zero, @function
  .hidden moat_safe_zero
moat_safe_zero:
  mov %rsi, %rcx
  xor %eax, %eax
1:
  rep stosb
2:
  mov %rcx, %rax
  ret
  FIXUP 1b, 2b, 2b
  .size moat_safe_zero, . - moat_safe_zero

  # Each returns 0, or 1 after a fault; the old value goes to *%rdx (or *%rcx for the exchange).
  .type moat_safe_load32, @function
  .hidden moat_safe_load32
moat_safe_load32:
1:
  mov (%rdi), %eax
2:
  mov %eax, (%rsi)
  xor %eax, %eax
  ret
3:
  mov $1, %eax
  ret
  FIXUP 1b, 2b, 3b
  .size moat_safe_load32, . - moat_safe_load32

  .type moat_safe_swap32, @function
  .hidden moat_safe_swap32
moat_safe_swap32:
1:
  xchg %esi, (%rdi)
2:
  mov %esi, (%rdx)
  xor %eax, %eax
  ret
3:
  mov $1, %eax
  ret
  FIXUP 1b, 2b, 3b
  .size moat_safe_swap32, . - moat_safe_swap32

  .type moat_safe_cas32, @function
  .hidden moat_safe_cas32
moat_safe_cas32:
  mov %esi, %eax
1:
  lock cmpxchg %edx, (%rdi)
2:
  mov %eax, (%rcx)
  xor %eax, %eax
  ret
3:
  mov $1, %eax
  ret
  FIXUP 1b, 2b, 3b
  .size moat_safe_cas32, . - moat_safe_cas32
)");

extern "C" {
size_t moat_safe_copy(void* dst, const void* src, size_t n);
size_t moat_safe_zero(void* dst, size_t n);
int moat_safe_load32(const void* addr, uint32_t* value);
int moat_safe_swap32(void* addr, uint32_t value, uint32_t* old);
int moat_safe_cas32(void* addr, uint32_t expected, uint32_t desired, uint32_t* old);

void __asan_loadN(const void* addr, size_t n);
void __asan_storeN(void* addr, size_t n);

struct MoatFixup {
  int32_t from, to, target;  // each relative to its own place
};
extern const MoatFixup __start_moat_fixups[] __attribute__((visibility("hidden")));
extern const MoatFixup __stop_moat_fixups[] __attribute__((visibility("hidden")));
}

namespace host {
namespace {

uint64_t Absolute(const int32_t& offset) {
  return reinterpret_cast<uint64_t>(&offset) + static_cast<int64_t>(offset);
}

// The address sanitizer doesn't see the accesses above. Guest memory is not its own: always valid.
#ifdef MOAT_SANITIZE_ADDRESS
void CheckRead(const void* p, size_t n) { __asan_loadN(p, n); }
void CheckWrite(void* p, size_t n) { __asan_storeN(p, n); }
#else
void CheckRead(const void*, size_t) {}
void CheckWrite(void*, size_t) {}
#endif

void OnFault(int sig, siginfo_t* info, void* context) {
  auto* uc = static_cast<ucontext_t*>(context);
  greg_t* r = uc->uc_mcontext.gregs;
  auto rip = static_cast<uint64_t>(r[REG_RIP]);
  for (const MoatFixup* f = __start_moat_fixups; f != __stop_moat_fixups; f++) {
    if (rip >= Absolute(f->from) && rip < Absolute(f->to)) {
      r[REG_RIP] = static_cast<greg_t>(Absolute(f->target));
      return;
    }
  }
  // The instruction runs again under the default action: the process dies of the real signal, with
  // a core where wanted.
  struct sigaction dfl {};
  dfl.sa_handler = SIG_DFL;
  sigaction(sig, &dfl, nullptr);
  base::LogReport(
      "signal %d code %d address %p rip %llx rsp %llx rax %llx rbx %llx rcx %llx rdx %llx rsi %llx "
      "rdi %llx rbp %llx",
      sig, info->si_code, info->si_addr, static_cast<unsigned long long>(r[REG_RIP]),
      static_cast<unsigned long long>(r[REG_RSP]), static_cast<unsigned long long>(r[REG_RAX]),
      static_cast<unsigned long long>(r[REG_RBX]), static_cast<unsigned long long>(r[REG_RCX]),
      static_cast<unsigned long long>(r[REG_RDX]), static_cast<unsigned long long>(r[REG_RSI]),
      static_cast<unsigned long long>(r[REG_RDI]), static_cast<unsigned long long>(r[REG_RBP]));
}

}  // namespace

void InstallFaultHandler() {
  struct sigaction sa {};
  sa.sa_sigaction = OnFault;
  sa.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &sa, nullptr);
  sigaction(SIGBUS, &sa, nullptr);
}

size_t SafeCopy(void* dst, const void* src, size_t n) {
  CheckRead(src, n);
  CheckWrite(dst, n);
  return n - moat_safe_copy(dst, src, n);
}
size_t SafeZero(void* dst, size_t n) {
  CheckWrite(dst, n);
  return n - moat_safe_zero(dst, n);
}
bool SafeLoad32(const void* addr, uint32_t* value) { return moat_safe_load32(addr, value) == 0; }
bool SafeStore32(void* addr, uint32_t value) {
  uint32_t old;
  return moat_safe_swap32(addr, value, &old) == 0;
}
bool SafeSwap32(void* addr, uint32_t value, uint32_t* old) {
  return moat_safe_swap32(addr, value, old) == 0;
}
bool SafeCas32(void* addr, uint32_t expected, uint32_t desired, uint32_t* old) {
  return moat_safe_cas32(addr, expected, desired, old) == 0;
}

}  // namespace host
