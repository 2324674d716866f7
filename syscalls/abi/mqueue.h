// mq_overview(7).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kMQ_PRIO_MAX = 32768;
struct MqAttr {
  int64_t flags, maxmsg, msgsize, curmsgs, reserved[4];
};

}  // namespace uapi
