// What the children of a command have in common that become parts of a sandbox.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "platform/base/status.h"
#include "runsc-cli/boot/launch.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

constexpr int kSandboxNamespaces =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;

// A child never returns into the command's code, nor runs its destructors.
template <typename F>
[[noreturn]] void ChildMain(F&& main) {
  // What could be done to it by signals happens through descriptors.
  sigset_t mask;
  sigfillset(&mask);
  for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP}) sigdelset(&mask, s);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  setsid();
  umask(0);
  _exit(main());
}

// For a child that can't go on: the text reaches the command.
inline int ChildFailed(int error, const base::Status& s) {
  if (write(error, s.text().data(), s.text().size()) < 0) return kExitFailure + 1;
  return kExitFailure;
}

// Closes all but those and the log, which becomes standard error: what the C library says when it
// aborts goes there, not to whatever gets that number.
inline void KeepOnly(std::vector<int> keep, int log) {
  keep.push_back(log);
  CloseOthers(std::move(keep));
  dup2(log, 2);
}

}  // namespace runsc
