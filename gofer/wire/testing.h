// For tests: a gofer's server on a thread of the test.
#pragma once

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>
#include <utility>

#include "platform/base/fd.h"

namespace gofer::testing {

// Runs main(options), which serves options.socket; it ends when the other end is closed (or is
// never taken).
template <typename Options, int (*main)(Options)>
class ServerThreadOf {
 public:
  // own_table: its descriptors aren't the test's.
  explicit ServerThreadOf(Options options, bool own_table = false) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) abort();
    client_.reset(fds[0]);
    options.socket.reset(fds[1]);
    thread_ = std::thread(
        [this, own_table, clients = fds[0]](Options o) {
          if (own_table && (unshare(CLONE_FILES) != 0 || close(clients) != 0)) abort();
          exit_code_ = main(std::move(o));
        },
        std::move(options));
  }
  ~ServerThreadOf() { Join(); }
  base::UniqueFd TakeClientSocket() { return std::move(client_); }
  // Only after the client's end was closed.
  int Join() {
    client_.reset();
    if (thread_.joinable()) thread_.join();
    return exit_code_;
  }

 private:
  base::UniqueFd client_;
  int exit_code_ = -1;
  std::thread thread_;
};

}  // namespace gofer::testing
