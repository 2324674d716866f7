// The standard streams that a process of a sandbox is started with, as descriptors of the host.
#pragma once

#include <cstdint>
#include <vector>

#include "platform/base/fd.h"

namespace runsc {

struct Streams {
  base::UniqueFd stdio[3];  // may be invalid: closed, or the terminal
  // Which of them are the guest's end of the terminal instead.
  bool terminal[3] = {false, false, false};
  // What the terminal's other end is relayed from and to: a terminal of the host in raw mode.
  base::UniqueFd console_in, console_out;
  uint16_t rows = 24, columns = 80;
  bool null_output = false;           // output that is not there goes to the guest's /dev/null
  std::vector<base::UniqueFd> extra;  // descriptors 3, 4...
};

}  // namespace runsc
