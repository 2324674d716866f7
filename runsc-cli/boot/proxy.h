// The process of the host that stands for a process of a sandbox: signals to it are the guest's,
// its end is the guest process's, and its exit status too.
#pragma once

#include <sys/types.h>

#include <string>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/boot/control.h"

namespace runsc {

struct ProxyRequest {
  Control kind;  // kExec, kJoin
  std::string body;
  std::vector<int> fds;  // that go with it
  // The terminal of the guest process, whose sizes the proxy passes on; -1: none.
  int terminal = -1;
  // A process whose network, IPC and UTS namespaces it shows as its own; 0: it keeps the caller's.
  pid_t namespaces_of = 0;
};

class Proxy {
 public:
  // Forks it. It asks nothing before Ask() is called, and ends if the caller does before that.
  base::Status Start(int connection, ProxyRequest request);
  pid_t pid() const { return pid_; }
  // Lets it send the request, and waits for the answer. *warnings: what the sandbox said with it.
  base::Status Ask(std::string* warnings = nullptr);

 private:
  pid_t pid_ = 0;
  base::UniqueFd go_, answer_;
};

}  // namespace runsc
