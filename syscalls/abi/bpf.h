// What filters of sockets load beside the message (SO_ATTACH_FILTER). The instructions are
// seccomp.h's.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kSKF_AD_OFF = -0x1000;
inline constexpr int32_t kSKF_AD_PROTOCOL = 0;
inline constexpr int32_t kSKF_AD_PKTTYPE = 4;
inline constexpr int32_t kSKF_AD_IFINDEX = 8;
inline constexpr int32_t kSKF_AD_NLATTR = 12;
inline constexpr int32_t kSKF_AD_MARK = 20;
inline constexpr int32_t kSKF_AD_QUEUE = 24;
inline constexpr int32_t kSKF_AD_HATYPE = 28;
inline constexpr int32_t kSKF_AD_RXHASH = 32;
inline constexpr int32_t kSKF_AD_CPU = 36;
inline constexpr int32_t kSKF_AD_VLAN_TAG = 44;
inline constexpr int32_t kSKF_AD_VLAN_TAG_PRESENT = 48;
inline constexpr int32_t kSKF_AD_RANDOM = 56;
inline constexpr int32_t kSKF_AD_VLAN_TPID = 60;
inline constexpr int32_t kSKF_NET_OFF = -0x100000;

}  // namespace uapi
