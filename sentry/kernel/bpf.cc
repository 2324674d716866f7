#include "sentry/kernel/bpf.h"

#include <vector>

namespace sentry {

namespace {

using abi::SockFilter;

constexpr uint16_t Op(int32_t a, int32_t b, int32_t c = 0) {
  return static_cast<uint16_t>(a | b | c);
}

// chk_code_allowed().
bool KnownOp(uint16_t code) {
  using namespace abi;  // NOLINT
  switch (code) {
    case Op(kBPF_LD, kBPF_W, kBPF_ABS):
    case Op(kBPF_LD, kBPF_H, kBPF_ABS):
    case Op(kBPF_LD, kBPF_B, kBPF_ABS):
    case Op(kBPF_LD, kBPF_W, kBPF_IND):
    case Op(kBPF_LD, kBPF_H, kBPF_IND):
    case Op(kBPF_LD, kBPF_B, kBPF_IND):
    case Op(kBPF_LDX, kBPF_B, kBPF_MSH):
    case Op(kBPF_LD, kBPF_W, kBPF_LEN):
    case Op(kBPF_LDX, kBPF_W, kBPF_LEN):
    case Op(kBPF_RET, kBPF_K):
    case Op(kBPF_RET, kBPF_A):
    case Op(kBPF_LD, kBPF_IMM):
    case Op(kBPF_LDX, kBPF_IMM):
    case Op(kBPF_MISC, kBPF_TAX):
    case Op(kBPF_MISC, kBPF_TXA):
    case Op(kBPF_LD, kBPF_MEM):
    case Op(kBPF_LDX, kBPF_MEM):
    case Op(kBPF_ST, 0):
    case Op(kBPF_STX, 0):
    case Op(kBPF_JMP, kBPF_JA):
    case Op(kBPF_ALU, kBPF_NEG):
      return true;
    default:
      break;
  }
  if ((code & ~0xff) != 0) return false;
  const int32_t op = code & 0xf0;
  if ((code & 7) == kBPF_ALU) return op <= kBPF_XOR && op != kBPF_NEG;
  return (code & 7) == kBPF_JMP && op != kBPF_JA && op <= kBPF_JSET;
}

}  // namespace

bool BpfProgramOk(std::span<const SockFilter> p) {
  constexpr size_t kWords = abi::kBPF_MEMWORDS;
  const size_t n = p.size();
  if (n == 0 || n > static_cast<size_t>(abi::kBPF_MAXINSNS)) return false;
  // Which scratch words are surely written when an instruction is reached
  // (check_load_and_stores()).
  std::vector<uint16_t> valid(n, 0xffff);
  uint16_t now = 0;
  for (size_t pc = 0; pc < n; pc++) {
    const SockFilter& f = p[pc];
    if (!KnownOp(f.code)) return false;
    now &= valid[pc];
    const int32_t op = f.code & 0xf0;
    switch (f.code & 7) {
      case abi::kBPF_LD:
      case abi::kBPF_LDX:
        if ((f.code & 0xe0) == abi::kBPF_MEM && (f.k >= kWords || (now & (1u << f.k)) == 0)) {
          return false;
        }
        break;
      case abi::kBPF_ST:
      case abi::kBPF_STX:
        if (f.k >= kWords) return false;
        now |= static_cast<uint16_t>(1u << f.k);
        break;
      case abi::kBPF_ALU:
        if ((f.code & abi::kBPF_X) != 0) break;
        if ((op == abi::kBPF_DIV || op == abi::kBPF_MOD) && f.k == 0) return false;
        if ((op == abi::kBPF_LSH || op == abi::kBPF_RSH) && f.k >= 32) return false;
        break;
      case abi::kBPF_JMP:
        if (op == abi::kBPF_JA) {
          if (f.k >= n - pc - 1) return false;
          valid[pc + 1 + f.k] &= now;
        } else {
          if (pc + f.jt + 1 >= n || pc + f.jf + 1 >= n) return false;
          valid[pc + 1 + f.jt] &= now;
          valid[pc + 1 + f.jf] &= now;
        }
        now = 0xffff;
        break;
      default:
        break;
    }
  }
  return (p[n - 1].code & 7) == abi::kBPF_RET;
}

}  // namespace sentry
