// raw(7), packet(7), and the control messages of RFC 2292.
#pragma once

#include "syscalls/abi/socket.h"

namespace uapi {

inline constexpr int32_t kIPV6_2292PKTINFO = 2;
inline constexpr int32_t kIPV6_2292HOPOPTS = 3;
inline constexpr int32_t kIPV6_2292DSTOPTS = 4;
inline constexpr int32_t kIPV6_2292RTHDR = 5;
inline constexpr int32_t kIPV6_2292PKTOPTIONS = 6;
inline constexpr int32_t kIPV6_2292HOPLIMIT = 8;
// raw(7), icmp(7): a bit is a type that the socket does not want.
inline constexpr int32_t kICMP_FILTER = 1;
inline constexpr int32_t kICMPV6_FILTER = 1;
struct IcmpFilter {
  uint32_t data;
};
struct Icmp6Filter {
  uint32_t data[8];
};
// packet(7). protocol in network byte order.
struct SockaddrLl {
  SaFamily family;
  uint16_t protocol;
  int32_t ifindex;
  uint16_t hatype;
  uint8_t pkttype, halen;
  uint8_t addr[8];
};
struct PacketMreq {
  int32_t ifindex;
  uint16_t type, alen;
  uint8_t address[8];
};
struct TpacketStats {
  uint32_t packets, drops;
};
inline constexpr uint8_t kPACKET_HOST = 0;
inline constexpr uint8_t kPACKET_OUTGOING = 4;
inline constexpr int32_t kPACKET_ADD_MEMBERSHIP = 1;
inline constexpr int32_t kPACKET_DROP_MEMBERSHIP = 2;
inline constexpr int32_t kPACKET_STATISTICS = 6;
inline constexpr int32_t kPACKET_IGNORE_OUTGOING = 23;
inline constexpr int32_t kPACKET_MR_UNICAST = 3;

}  // namespace uapi
