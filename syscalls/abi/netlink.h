// netlink(7), rtnetlink(7): what `ip`, glibc's getifaddrs and node ask for.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kNETLINK_ROUTE = 0;
inline constexpr int32_t kNETLINK_USERSOCK = 2;
inline constexpr int32_t kNETLINK_SOCK_DIAG = 4;
inline constexpr int32_t kNETLINK_AUDIT = 9;
inline constexpr int32_t kNETLINK_KOBJECT_UEVENT = 15;
inline constexpr int32_t kNETLINK_GENERIC = 16;
inline constexpr int32_t kNETLINK_NETFILTER = 12;
struct SockaddrNl {
  uint16_t family, pad;
  uint32_t pid, groups;
};
struct Nlmsghdr {
  uint32_t len;
  uint16_t type, flags;
  uint32_t seq, pid;
};
struct Nlmsgerr {
  int32_t error;
  Nlmsghdr msg;
};
struct Nlattr {
  uint16_t len, type;
};
constexpr uint32_t NlAlign(uint32_t n) { return (n + 3) & ~3u; }
inline constexpr int32_t kNLM_F_REQUEST = 0x1;
inline constexpr int32_t kNLM_F_MULTI = 0x2;
inline constexpr int32_t kNLM_F_ACK = 0x4;
inline constexpr int32_t kNLM_F_ECHO = 0x8;
inline constexpr int32_t kNLM_F_DUMP_INTR = 0x10;
inline constexpr int32_t kNLM_F_ROOT = 0x100;
inline constexpr int32_t kNLM_F_MATCH = 0x200;
inline constexpr int32_t kNLM_F_ATOMIC = 0x400;
inline constexpr int32_t kNLM_F_DUMP = 0x300;
inline constexpr int32_t kNLM_F_REPLACE = 0x100;
inline constexpr int32_t kNLM_F_EXCL = 0x200;
inline constexpr int32_t kNLM_F_CREATE = 0x400;
inline constexpr int32_t kNLM_F_APPEND = 0x800;
inline constexpr int32_t kNLMSG_NOOP = 1;
inline constexpr int32_t kNLMSG_ERROR = 2;
inline constexpr int32_t kNLMSG_DONE = 3;
inline constexpr int32_t kNLMSG_OVERRUN = 4;
inline constexpr int32_t kNLMSG_MIN_TYPE = 16;
inline constexpr int32_t kNETLINK_ADD_MEMBERSHIP = 1;
inline constexpr int32_t kNETLINK_DROP_MEMBERSHIP = 2;
inline constexpr int32_t kNETLINK_PKTINFO = 3;
inline constexpr int32_t kNETLINK_BROADCAST_ERROR = 4;
inline constexpr int32_t kNETLINK_RX_RING = 6;
inline constexpr int32_t kNETLINK_TX_RING = 7;
inline constexpr int32_t kNETLINK_LIST_MEMBERSHIPS = 9;
inline constexpr int32_t kNETLINK_NO_ENOBUFS = 5;
inline constexpr int32_t kNETLINK_EXT_ACK = 11;
inline constexpr int32_t kNETLINK_CAP_ACK = 10;
inline constexpr int32_t kNETLINK_GET_STRICT_CHK = 12;
inline constexpr int32_t kRTM_NEWLINK = 16;
inline constexpr int32_t kRTM_DELLINK = 17;
inline constexpr int32_t kRTM_GETLINK = 18;
inline constexpr int32_t kRTM_SETLINK = 19;
inline constexpr int32_t kRTM_NEWADDR = 20;
inline constexpr int32_t kRTM_DELADDR = 21;
inline constexpr int32_t kRTM_GETADDR = 22;
inline constexpr int32_t kRTM_NEWROUTE = 24;
inline constexpr int32_t kRTM_DELROUTE = 25;
inline constexpr int32_t kRTM_GETROUTE = 26;
inline constexpr int32_t kRTM_NEWNEIGH = 28;
inline constexpr int32_t kRTM_GETNEIGH = 30;
inline constexpr int32_t kRTM_NEWRULE = 32;
inline constexpr int32_t kRTM_GETRULE = 34;
inline constexpr int32_t kRTM_GETQDISC = 38;
inline constexpr int32_t kSOCK_DIAG_BY_FAMILY = 20;
struct Rtgenmsg {
  uint8_t family;
};
struct Ifinfomsg {
  uint8_t family, pad;
  uint16_t type;
  int32_t index;
  uint32_t flags, change;
};
struct Ifaddrmsg {
  uint8_t family, prefixlen, flags, scope;
  uint32_t index;
};
struct Rtmsg {
  uint8_t family, dst_len, src_len, tos, table, protocol, scope, type;
  uint32_t flags;
};
// sock_diag(7). Ports and addresses in network byte order.
struct InetDiagSockid {
  uint16_t sport, dport;
  uint32_t src[4], dst[4];
  uint32_t interface, cookie[2];
};
struct InetDiagReqV2 {
  uint8_t family, protocol, ext, pad;
  uint32_t states;
  InetDiagSockid id;
};
struct InetDiagMsg {
  uint8_t family, state, timer, retrans;
  InetDiagSockid id;
  uint32_t expires, rqueue, wqueue, uid, inode;
};
inline constexpr int32_t kIFLA_ADDRESS = 1;
inline constexpr int32_t kIFLA_BROADCAST = 2;
inline constexpr int32_t kIFLA_IFNAME = 3;
inline constexpr int32_t kIFLA_MTU = 4;
inline constexpr int32_t kIFLA_LINK = 5;
inline constexpr int32_t kIFLA_QDISC = 6;
inline constexpr int32_t kIFLA_STATS = 7;
inline constexpr int32_t kIFLA_TXQLEN = 13;
inline constexpr int32_t kIFLA_OPERSTATE = 16;
inline constexpr int32_t kIFLA_LINKMODE = 17;
inline constexpr int32_t kIFLA_GROUP = 27;
inline constexpr int32_t kIFLA_STATS64 = 23;
inline constexpr int32_t kIFLA_PROMISCUITY = 30;
inline constexpr int32_t kIFLA_LINKINFO = 18;
inline constexpr int32_t kIFLA_INFO_KIND = 1;
inline constexpr int32_t kIFLA_NUM_TX_QUEUES = 31;
inline constexpr int32_t kIFLA_NUM_RX_QUEUES = 32;
inline constexpr int32_t kIFLA_CARRIER = 33;
inline constexpr int32_t kIFA_ADDRESS = 1;
inline constexpr int32_t kIFA_LOCAL = 2;
inline constexpr int32_t kIFA_LABEL = 3;
inline constexpr int32_t kIFA_BROADCAST = 4;
inline constexpr int32_t kIFA_CACHEINFO = 6;
inline constexpr int32_t kIFA_FLAGS = 8;
inline constexpr int32_t kIFA_F_PERMANENT = 128;
inline constexpr int32_t kRTA_DST = 1;
inline constexpr int32_t kRTA_SRC = 2;
inline constexpr int32_t kRTA_IIF = 3;
inline constexpr int32_t kRTA_OIF = 4;
inline constexpr int32_t kRTA_GATEWAY = 5;
inline constexpr int32_t kRTA_PRIORITY = 6;
inline constexpr int32_t kRTA_PREFSRC = 7;
inline constexpr int32_t kRTA_MULTIPATH = 9;
inline constexpr int32_t kRTA_TABLE = 15;
inline constexpr int32_t kRT_TABLE_MAIN = 254;
inline constexpr int32_t kRT_TABLE_LOCAL = 255;
inline constexpr int32_t kRT_SCOPE_UNIVERSE = 0;
inline constexpr int32_t kRT_SCOPE_LINK = 253;
inline constexpr int32_t kRT_SCOPE_HOST = 254;
inline constexpr int32_t kRTN_UNICAST = 1;
inline constexpr int32_t kRTN_LOCAL = 2;
inline constexpr int32_t kRTPROT_KERNEL = 2;
inline constexpr int32_t kRTPROT_BOOT = 3;
inline constexpr int32_t kARPHRD_ETHER = 1;
inline constexpr int32_t kARPHRD_LOOPBACK = 772;

}  // namespace uapi
