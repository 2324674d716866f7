// quota.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/quota.h>
#include <linux/reboot.h>

#include "syscalls/abi/quota.h"
#include "syscalls/abi/verify.h"

SAME(LINUX_REBOOT_MAGIC1);
SAME(LINUX_REBOOT_MAGIC2);
SAME(LINUX_REBOOT_CMD_RESTART);
SAME(LINUX_REBOOT_CMD_HALT);
SAME(LINUX_REBOOT_CMD_POWER_OFF);
SAME(LINUX_REBOOT_CMD_CAD_ON);
SAME(LINUX_REBOOT_CMD_CAD_OFF);
SAME(Q_SYNC);
SAME(Q_QUOTAON);
SAME(Q_QUOTAOFF);
SAME(Q_GETFMT);
SAME(Q_GETINFO);
SAME(Q_SETINFO);
SAME(Q_GETQUOTA);
SAME(Q_SETQUOTA);
