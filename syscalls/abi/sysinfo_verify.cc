// sysinfo.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/sysinfo.h>

#include "syscalls/abi/sysinfo.h"
#include "syscalls/abi/verify.h"

SIZE(Sysinfo, struct sysinfo);
FIELD(Sysinfo, procs, struct sysinfo, procs);
FIELD(Sysinfo, mem_unit, struct sysinfo, mem_unit);
