// poll.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <asm/poll.h>
#include <linux/types.h>

#include "syscalls/abi/poll.h"
#include "syscalls/abi/verify.h"

SAME(POLLRDBAND);
SAME(POLL_BUSY_LOOP);
SAME(POLLWRBAND);
SAME(POLLNVAL);
SAME(POLLFREE);
SAME(POLLOUT);
SAME(POLLPRI);
SAME(POLLRDNORM);
SAME(POLLHUP);
SAME(POLLMSG);
SAME(POLLIN);
SAME(POLLRDHUP);
SAME(POLLREMOVE);
SAME(POLLERR);
SAME(POLLWRNORM);
SIZE(Pollfd, struct pollfd);
