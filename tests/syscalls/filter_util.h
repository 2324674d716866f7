// Classic BPF programs on sockets.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "tests/syscalls/inet_util.h"

using Program = std::vector<sock_filter>;

// option: SO_ATTACH_*.
inline int AttachProgram(int fd, int option, Program p) {
  sock_fprog f{static_cast<unsigned short>(p.size()), p.data()};
  return setsockopt(fd, SOL_SOCKET, option, &f, sizeof f);
}
