// The host's seccomp filter on guest threads, and on the zygote, from which they inherit it.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "platform/stub/layout.h"

namespace platform::stub {

// Everything traps (SIGSYS, which the stub turns into a stop) but the calls that the stub makes,
// with pinned arguments, from the stub's text. Security does not rest on the address: a guest can
// jump to the stub's syscall instructions with any registers. So each call allowed here is harmless
// with any arguments that pass: it changes the guest process's own memory, its own descriptors
// (which are capabilities to what it may reach anyway) and its own threads. Forking, which only the
// zygote does, takes the secret.
std::vector<sock_filter> GuestFilter(const ForkSecret& secret);

}  // namespace platform::stub
