// epoll.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/eventpoll.h>

#include "syscalls/abi/epoll.h"
#include "syscalls/abi/verify.h"

SAME(EPOLL_CLOEXEC);
SAME(EPOLL_CTL_ADD);
SAME(EPOLL_CTL_DEL);
SAME(EPOLL_CTL_MOD);
SAME(EPOLLMSG);
SAME(EPOLLEXCLUSIVE);
SAME(EPOLLIN);
SAME(EPOLLNVAL);
SAME(EPOLLRDHUP);
SAME(EPOLLRDBAND);
SAME(EPOLLWAKEUP);
SAME(EPOLLRDNORM);
SAME(EPOLLOUT);
SAME(EPOLLHUP);
SAME(EPOLLET);
SAME(EPOLLWRBAND);
SAME(EPOLLERR);
SAME(EPOLLPRI);
SAME(EPOLLONESHOT);
SAME(EPOLLWRNORM);
SIZE(EpollEvent, struct epoll_event);
