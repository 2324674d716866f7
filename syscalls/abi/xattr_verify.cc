// xattr.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/limits.h>
#include <linux/xattr.h>

#include "syscalls/abi/verify.h"
#include "syscalls/abi/xattr.h"

SAME(XATTR_CREATE);
SAME(XATTR_REPLACE);
SAME(XATTR_NAME_MAX);
SAME(XATTR_SIZE_MAX);
SAME(XATTR_LIST_MAX);
