// personality.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/personality.h>

#include "syscalls/abi/personality.h"
#include "syscalls/abi/verify.h"

SAME(UNAME26);
SAME(ADDR_NO_RANDOMIZE);
SAME(FDPIC_FUNCPTRS);
SAME(MMAP_PAGE_ZERO);
SAME(ADDR_COMPAT_LAYOUT);
SAME(READ_IMPLIES_EXEC);
SAME(ADDR_LIMIT_32BIT);
SAME(SHORT_INODE);
SAME(WHOLE_SECONDS);
SAME(STICKY_TIMEOUTS);
SAME(ADDR_LIMIT_3GB);
SAME(PER_LINUX);
SAME(PER_LINUX32);
SAME(PER_CLEAR_ON_SETID);
