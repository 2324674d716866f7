// seccomp(2) and the classic BPF that its filters are.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kSECCOMP_MODE_DISABLED = 0;
inline constexpr int32_t kSECCOMP_SET_MODE_STRICT = 0;
inline constexpr int32_t kSECCOMP_MODE_STRICT = 1;
inline constexpr int32_t kSECCOMP_SET_MODE_FILTER = 1;
inline constexpr int32_t kSECCOMP_MODE_FILTER = 2;
inline constexpr int32_t kSECCOMP_GET_ACTION_AVAIL = 2;
inline constexpr int32_t kSECCOMP_GET_NOTIF_SIZES = 3;
inline constexpr int32_t kSECCOMP_FILTER_FLAG_TSYNC = 0x1;
inline constexpr int32_t kSECCOMP_FILTER_FLAG_LOG = 0x2;
inline constexpr int32_t kSECCOMP_FILTER_FLAG_SPEC_ALLOW = 0x4;
inline constexpr int32_t kSECCOMP_FILTER_FLAG_NEW_LISTENER = 0x8;
inline constexpr int32_t kSECCOMP_FILTER_FLAG_TSYNC_ESRCH = 0x10;
inline constexpr int32_t kSECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 0x20;
inline constexpr uint32_t kSECCOMP_RET_KILL = 0x0;
inline constexpr uint32_t kSECCOMP_RET_KILL_THREAD = 0x0;
inline constexpr uint32_t kSECCOMP_RET_DATA = 0xffff;
inline constexpr uint32_t kSECCOMP_RET_TRAP = 0x30000;
inline constexpr uint32_t kSECCOMP_RET_ERRNO = 0x50000;
inline constexpr uint32_t kSECCOMP_RET_USER_NOTIF = 0x7fc00000;
inline constexpr uint32_t kSECCOMP_RET_TRACE = 0x7ff00000;
inline constexpr uint32_t kSECCOMP_RET_LOG = 0x7ffc0000;
inline constexpr uint32_t kSECCOMP_RET_ACTION = 0x7fff0000;
inline constexpr uint32_t kSECCOMP_RET_ALLOW = 0x7fff0000;
inline constexpr uint32_t kSECCOMP_RET_KILL_PROCESS = 0x80000000;
inline constexpr uint32_t kSECCOMP_RET_ACTION_FULL = 0xffff0000;
struct SeccompData {
  int32_t nr;
  uint32_t arch;
  uint64_t instruction_pointer, args[6];
};
struct SeccompNotifSizes {
  uint16_t notif, resp, data;
};
inline constexpr uint32_t kAUDIT_ARCH_X86_64 = 0xc000003e;
inline constexpr uint32_t kAUDIT_ARCH_I386 = 0x40000003;

struct SockFilter {
  uint16_t code;
  uint8_t jt, jf;
  uint32_t k;
};
// struct sock_fprog is uapi::SockFprog in socket.h.
inline constexpr int32_t kBPF_MAXINSNS = 4096;
inline constexpr int32_t kBPF_MEMWORDS = 16;
inline constexpr int32_t kBPF_LD = 0x0;
inline constexpr int32_t kBPF_LDX = 0x1;
inline constexpr int32_t kBPF_ST = 0x2;
inline constexpr int32_t kBPF_STX = 0x3;
inline constexpr int32_t kBPF_ALU = 0x4;
inline constexpr int32_t kBPF_JMP = 0x5;
inline constexpr int32_t kBPF_RET = 0x6;
inline constexpr int32_t kBPF_MISC = 0x7;
inline constexpr int32_t kBPF_W = 0x0;
inline constexpr int32_t kBPF_H = 0x8;
inline constexpr int32_t kBPF_B = 0x10;
inline constexpr int32_t kBPF_IMM = 0x0;
inline constexpr int32_t kBPF_ABS = 0x20;
inline constexpr int32_t kBPF_IND = 0x40;
inline constexpr int32_t kBPF_MEM = 0x60;
inline constexpr int32_t kBPF_LEN = 0x80;
inline constexpr int32_t kBPF_MSH = 0xa0;
inline constexpr int32_t kBPF_ADD = 0x0;
inline constexpr int32_t kBPF_SUB = 0x10;
inline constexpr int32_t kBPF_MUL = 0x20;
inline constexpr int32_t kBPF_DIV = 0x30;
inline constexpr int32_t kBPF_OR = 0x40;
inline constexpr int32_t kBPF_AND = 0x50;
inline constexpr int32_t kBPF_LSH = 0x60;
inline constexpr int32_t kBPF_RSH = 0x70;
inline constexpr int32_t kBPF_NEG = 0x80;
inline constexpr int32_t kBPF_MOD = 0x90;
inline constexpr int32_t kBPF_XOR = 0xa0;
inline constexpr int32_t kBPF_JA = 0x0;
inline constexpr int32_t kBPF_JEQ = 0x10;
inline constexpr int32_t kBPF_JGT = 0x20;
inline constexpr int32_t kBPF_JGE = 0x30;
inline constexpr int32_t kBPF_JSET = 0x40;
inline constexpr int32_t kBPF_K = 0x0;
inline constexpr int32_t kBPF_X = 0x8;
inline constexpr int32_t kBPF_A = 0x10;
inline constexpr int32_t kBPF_TAX = 0x0;
inline constexpr int32_t kBPF_TXA = 0x80;

}  // namespace uapi
