// bpf.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/filter.h>

#include "syscalls/abi/bpf.h"
#include "syscalls/abi/verify.h"

SAME(SKF_AD_OFF);
SAME(SKF_AD_PROTOCOL);
SAME(SKF_AD_PKTTYPE);
SAME(SKF_AD_IFINDEX);
SAME(SKF_AD_NLATTR);
SAME(SKF_AD_MARK);
SAME(SKF_AD_QUEUE);
SAME(SKF_AD_HATYPE);
SAME(SKF_AD_RXHASH);
SAME(SKF_AD_CPU);
SAME(SKF_AD_VLAN_TAG);
SAME(SKF_AD_VLAN_TAG_PRESENT);
SAME(SKF_AD_RANDOM);
SAME(SKF_AD_VLAN_TPID);
SAME(SKF_NET_OFF);
