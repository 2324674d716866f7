// aio.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/aio_abi.h>

#include "syscalls/abi/aio.h"
#include "syscalls/abi/verify.h"

SAME(IOCB_CMD_PREAD);
SAME(IOCB_CMD_PWRITE);
SAME(IOCB_CMD_FSYNC);
SAME(IOCB_CMD_FDSYNC);
SAME(IOCB_CMD_POLL);
SAME(IOCB_CMD_NOOP);
SAME(IOCB_CMD_PREADV);
SAME(IOCB_CMD_PWRITEV);
SAME(IOCB_FLAG_RESFD);
SAME(IOCB_FLAG_IOPRIO);
SIZE(Iocb, struct iocb);
FIELD(Iocb, offset, struct iocb, aio_offset);
SIZE(IoEvent, struct io_event);
