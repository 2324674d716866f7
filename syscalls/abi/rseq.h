// rseq(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kRSEQ_CPU_ID_UNINITIALIZED = -1;
inline constexpr int32_t kRSEQ_CPU_ID_REGISTRATION_FAILED = -2;
inline constexpr int32_t kRSEQ_FLAG_UNREGISTER = 1;
struct Rseq {
  uint32_t cpu_id_start, cpu_id;
  uint64_t rseq_cs;
  uint32_t flags, node_id, mm_cid, pad;
};
struct RseqCs {
  uint32_t version, flags;
  uint64_t start_ip, post_commit_offset, abort_ip;
};

}  // namespace uapi
