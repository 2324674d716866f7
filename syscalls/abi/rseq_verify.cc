// rseq.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/rseq.h>

#include "syscalls/abi/rseq.h"
#include "syscalls/abi/verify.h"

SAME(RSEQ_CPU_ID_UNINITIALIZED);
SAME(RSEQ_CPU_ID_REGISTRATION_FAILED);
SAME(RSEQ_FLAG_UNREGISTER);
SIZE(RseqCs, struct rseq_cs);
SIZE(Rseq, struct rseq);
