// For tests: programs of classic BPF, as bpf(4) writes them down.
#pragma once

#include <vector>

#include "syscalls/abi/seccomp.h"

namespace sentry::testing {

using Program = std::vector<abi::SockFilter>;

constexpr abi::SockFilter Stmt(int32_t code, uint32_t k) {
  return {static_cast<uint16_t>(code), 0, 0, k};
}
constexpr abi::SockFilter Jump(int32_t code, uint32_t k, uint8_t jt, uint8_t jf) {
  return {static_cast<uint16_t>(code), jt, jf, k};
}
constexpr int32_t kRet = abi::kBPF_RET | abi::kBPF_K;

}  // namespace sentry::testing
