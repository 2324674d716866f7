// inotify.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/fanotify.h>
#include <linux/inotify.h>

#include "syscalls/abi/inotify.h"
#include "syscalls/abi/verify.h"

SAME(IN_MOVED_TO);
SAME(IN_ALL_EVENTS);
SAME(IN_MASK_ADD);
SAME(IN_ISDIR);
SAME(IN_DONT_FOLLOW);
SAME(IN_DELETE);
SAME(IN_CLOSE_WRITE);
SAME(IN_ATTRIB);
SAME(IN_MOVED_FROM);
SAME(IN_ONLYDIR);
SAME(IN_OPEN);
SAME(IN_UNMOUNT);
SAME(IN_CLOSE_NOWRITE);
SAME(IN_MODIFY);
SAME(IN_MOVE_SELF);
SAME(IN_IGNORED);
SAME(IN_CREATE);
SAME(IN_EXCL_UNLINK);
SAME(IN_DELETE_SELF);
SAME(IN_ONESHOT);
SAME(IN_MOVE);
SAME(IN_ACCESS);
SAME(IN_MASK_CREATE);
SAME(IN_CLOSE);
SAME(IN_Q_OVERFLOW);
SAME(IN_CLOEXEC);
SAME(IN_NONBLOCK);
static_assert(sizeof(uapi::InotifyEvent) == sizeof(struct inotify_event));
