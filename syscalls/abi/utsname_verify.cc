// utsname.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/utsname.h>

#include "syscalls/abi/utsname.h"
#include "syscalls/abi/verify.h"

SIZE(Utsname, struct new_utsname);
