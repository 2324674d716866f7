// dirent.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <dirent.h>

#include "syscalls/abi/dirent.h"
#include "syscalls/abi/verify.h"

SAME(DT_UNKNOWN);
SAME(DT_FIFO);
SAME(DT_CHR);
SAME(DT_DIR);
SAME(DT_BLK);
SAME(DT_REG);
SAME(DT_LNK);
SAME(DT_SOCK);
SAME(DT_WHT);
