// The process that guest processes are forked from: the sentry's forked child, emptied of
// everything but the stub.
#pragma once

#include <cstdint>

#include "platform/base/fd.h"
#include "platform/base/status.h"

namespace platform::stub {

class Zygote {
 public:
  // Forks it. Only from the thread that lives as long as the sentry (guest processes die with their
  // parent thread).
  // code_fd: the code file (layout.h), read-only.
  base::Status Start(bool for_ptrace, int code_fd);
  // A new guest process with descriptor 0 = socket and slots_size bytes of slots mapped; its pid or
  // -errno. Serialised by the caller.
  long Spawn(int slots, uint64_t slots_size, int socket);
  void Stop() { socket_.reset(); }
  // Address of __vdso_clock_gettime in guest processes, or 0.
  uint64_t clock_gettime() const { return clock_gettime_; }
  int pid() const { return pid_; }

 private:
  base::UniqueFd socket_;
  int pid_ = -1;
  uint64_t clock_gettime_ = 0;
};

// Whether user code may use RDFSBASE and friends on this host.
bool HostFsgsbase();

}  // namespace platform::stub
