// packet.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/if_packet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>

#include "syscalls/abi/packet.h"
#include "syscalls/abi/verify.h"

SAME(PACKET_HOST);
SAME(PACKET_OUTGOING);
SAME(PACKET_ADD_MEMBERSHIP);
SAME(PACKET_DROP_MEMBERSHIP);
SAME(PACKET_STATISTICS);
SAME(PACKET_MR_UNICAST);
SAME(IPV6_2292PKTINFO);
SAME(IPV6_2292HOPOPTS);
SAME(IPV6_2292DSTOPTS);
SAME(IPV6_2292RTHDR);
SAME(IPV6_2292PKTOPTIONS);
SAME(IPV6_2292HOPLIMIT);
#ifdef PACKET_IGNORE_OUTGOING
SAME(PACKET_IGNORE_OUTGOING);
#endif
SIZE(SockaddrLl, sockaddr_ll);
FIELD(SockaddrLl, ifindex, sockaddr_ll, sll_ifindex);
FIELD(SockaddrLl, halen, sockaddr_ll, sll_halen);
SIZE(PacketMreq, packet_mreq);
FIELD(PacketMreq, address, packet_mreq, mr_address);
SIZE(TpacketStats, tpacket_stats);
SIZE(Icmp6Filter, icmp6_filter);
