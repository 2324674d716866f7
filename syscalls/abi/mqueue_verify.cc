// mqueue.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/mqueue.h>

#include "syscalls/abi/mqueue.h"
#include "syscalls/abi/verify.h"

SAME(MQ_PRIO_MAX);
SIZE(MqAttr, struct mq_attr);
