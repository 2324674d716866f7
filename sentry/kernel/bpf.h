// Classic BPF (net/core/filter.c), which guests give to seccomp(2) and to SO_ATTACH_FILTER: checked
// when it is installed, interpreted here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "syscalls/abi/seccomp.h"

namespace sentry {

// bpf_check_classic(): known instructions, jumps that stay inside, no scratch word that is read
// before it is written, a return at the end. What loads may ask for is the user's to check further.
bool BpfProgramOk(std::span<const abi::SockFilter> p);

// Interprets a program that is ok. length: what BPF_LEN says. load(size, offset): what is there, of
// 1, 2 or 4 bytes; nothing ends the program with 0.
template <typename Load>
uint32_t RunBpf(std::span<const abi::SockFilter> p, uint32_t length, Load&& load) {
  uint32_t a = 0, x = 0;
  uint32_t mem[abi::kBPF_MEMWORDS] = {};
  for (size_t pc = 0;; pc++) {
    const abi::SockFilter& f = p[pc];
    const uint32_t operand = (f.code & abi::kBPF_X) != 0 ? x : f.k;
    switch (f.code & 7) {
      case abi::kBPF_LD:
      case abi::kBPF_LDX: {
        const bool indirect = (f.code & 0xe0) == abi::kBPF_IND;
        std::optional<uint32_t> v = f.k;
        switch (f.code & 0xe0) {
          case abi::kBPF_ABS:
          case abi::kBPF_IND: {
            const size_t size = (f.code & 0x18) == abi::kBPF_W   ? 4
                                : (f.code & 0x18) == abi::kBPF_H ? 2
                                                                 : 1;
            v = load(size, indirect ? x + f.k : f.k);
            break;
          }
          case abi::kBPF_MSH:  // the length of an IPv4 header
            v = load(size_t{1}, f.k);
            if (v) v = (*v & 0xf) * 4;
            break;
          case abi::kBPF_LEN:
            v = length;
            break;
          case abi::kBPF_MEM:
            v = mem[f.k];
            break;
          default:  // BPF_IMM
            break;
        }
        if (!v) return 0;
        ((f.code & 7) == abi::kBPF_LD ? a : x) = *v;
        break;
      }
      case abi::kBPF_ST:
        mem[f.k] = a;
        break;
      case abi::kBPF_STX:
        mem[f.k] = x;
        break;
      case abi::kBPF_ALU:
        switch (f.code & 0xf0) {
          case abi::kBPF_ADD:
            a += operand;
            break;
          case abi::kBPF_SUB:
            a -= operand;
            break;
          case abi::kBPF_MUL:
            a *= operand;
            break;
          case abi::kBPF_DIV:
          case abi::kBPF_MOD:
            if (operand == 0) return 0;  // bpf_convert_filter(): the program ends with 0
            a = (f.code & 0xf0) == abi::kBPF_DIV ? a / operand : a % operand;
            break;
          case abi::kBPF_AND:
            a &= operand;
            break;
          case abi::kBPF_OR:
            a |= operand;
            break;
          case abi::kBPF_XOR:
            a ^= operand;
            break;
          case abi::kBPF_LSH:
            a <<= operand & 31;
            break;
          case abi::kBPF_RSH:
            a >>= operand & 31;
            break;
          default:  // BPF_NEG
            a = 0 - a;
            break;
        }
        break;
      case abi::kBPF_JMP: {
        bool taken = false;
        switch (f.code & 0xf0) {
          case abi::kBPF_JA:
            pc += f.k;
            continue;
          case abi::kBPF_JEQ:
            taken = a == operand;
            break;
          case abi::kBPF_JGT:
            taken = a > operand;
            break;
          case abi::kBPF_JGE:
            taken = a >= operand;
            break;
          default:  // BPF_JSET
            taken = (a & operand) != 0;
            break;
        }
        pc += taken ? f.jt : f.jf;
        break;
      }
      case abi::kBPF_RET:
        return (f.code & 0x18) == abi::kBPF_A ? a : f.k;
      default:  // BPF_MISC
        if ((f.code & 0xf8) == abi::kBPF_TXA) {
          a = x;
        } else {
          x = a;
        }
        break;
    }
  }
}

}  // namespace sentry
