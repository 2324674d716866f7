// uio.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/fs.h>
#include <linux/uio.h>

#include "syscalls/abi/uio.h"
#include "syscalls/abi/verify.h"

SAME(UIO_FASTIOV);
SAME(RWF_HIPRI);
SAME(RWF_DSYNC);
SAME(RWF_SYNC);
SAME(RWF_NOWAIT);
SAME(RWF_APPEND);
SAME(SYNC_FILE_RANGE_WAIT_BEFORE);
SAME(SYNC_FILE_RANGE_WRITE);
SAME(SYNC_FILE_RANGE_WAIT_AFTER);
#ifdef RWF_NOAPPEND
SAME(RWF_NOAPPEND);
#endif
#ifdef RWF_ATOMIC
SAME(RWF_ATOMIC);
#endif
#ifdef RWF_DONTCACHE
SAME(RWF_DONTCACHE);
#endif
SIZE(Iovec, struct iovec);
