// random.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/random.h>

#include "syscalls/abi/random.h"
#include "syscalls/abi/verify.h"

SAME(GRND_NONBLOCK);
SAME(GRND_RANDOM);
SAME(GRND_INSECURE);
