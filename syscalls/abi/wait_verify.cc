// wait.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/wait.h>

#include "syscalls/abi/verify.h"
#include "syscalls/abi/wait.h"

SAME(WNOHANG);
SAME(WUNTRACED);
SAME(WSTOPPED);
SAME(WEXITED);
SAME(WCONTINUED);
SAME(WNOWAIT);
SAME(__WNOTHREAD);
SAME(__WALL);
SAME(__WCLONE);
SAME(P_ALL);
SAME(P_PID);
SAME(P_PGID);
SAME(P_PIDFD);
