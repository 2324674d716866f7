#include "platform/base/fd.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace base {

void CloseFd(int fd) {
  int saved = errno;
  syscall(SYS_close, fd);
  errno = saved;
}

}  // namespace base
