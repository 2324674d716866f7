// resource.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/resource.h>

#include "syscalls/abi/resource.h"
#include "syscalls/abi/verify.h"

SAME(RLIMIT_AS);
SAME(RLIMIT_DATA);
SAME(RLIMIT_LOCKS);
SAME(RLIMIT_SIGPENDING);
SAME(RLIMIT_MSGQUEUE);
SAME(RLIMIT_CPU);
SAME(RLIMIT_NPROC);
SAME(RLIMIT_CORE);
SAME(RLIMIT_RSS);
SAME(RLIMIT_NOFILE);
SAME(RLIMIT_RTTIME);
SAME(RLIMIT_RTPRIO);
SAME(RLIMIT_FSIZE);
SAME(RLIMIT_MEMLOCK);
SAME(RLIMIT_NICE);
SAME(RLIMIT_STACK);
SAME(RLIM_NLIMITS);
SAME(RUSAGE_SELF);
SAME(RUSAGE_CHILDREN);
SAME(RUSAGE_BOTH);
SAME(RUSAGE_THREAD);
SIZE(Rlimit, struct rlimit64);
SIZE(Rusage, struct rusage);
FIELD(Rusage, nivcsw, struct rusage, ru_nivcsw);
