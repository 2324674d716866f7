// ioctl.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <asm/ioctl.h>
#include <asm/ioctls.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <linux/sockios.h>

#include "syscalls/abi/ioctl.h"
#include "syscalls/abi/verify.h"

SAME(FIOCLEX);
SAME(FIONCLEX);
SAME(FIOASYNC);
SAME(FIONBIO);
SAME(FIONREAD);
SAME(FIOQSIZE);
SAME(FIBMAP);
SAME(FIGETBSZ);
SAME(FIFREEZE);
SAME(FITHAW);
SAME(FITRIM);
SAME(FICLONE);
SAME(FICLONERANGE);
SAME(FIDEDUPERANGE);
SAME(FS_IOC_GETFLAGS);
SAME(FS_IOC_SETFLAGS);
SAME(FS_IOC_GETVERSION);
SAME(FS_IOC_FSGETXATTR);
SAME(FS_IOC_FSSETXATTR);
SAME(FS_IOC_GETFSLABEL);
SAME(RNDGETENTCNT);
SAME(RNDADDTOENTCNT);
SAME(RNDADDENTROPY);
SAME(BLKGETSIZE);
SAME(BLKGETSIZE64);
SAME(BLKSSZGET);
