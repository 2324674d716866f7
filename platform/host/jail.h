// The second wall: what the sentry and the gofer give up before they touch anything untrusted.
// Order in a child of the command:
//
//   platform::stub::LocateVdso()  in the command, while /proc is in sight
//   ForkIntoNamespaces()          in the command; the rest in the child
//   LimitThreads()                sentry
//   MakeEmptyRoot()               an own tmpfs is all it sees (the gofer: gofer/server)
//   (what still needs rights)
//   DropRights()                  no capabilities, no_new_privs, an unprivileged id, not dumpable
//   engine creation               guest processes inherit what is left
//   InstallFilter()               filter.h
#pragma once

#include <cstdint>
#include <functional>

#include "platform/base/fd.h"
#include "platform/base/status.h"

namespace host {

// Which ids the new user namespace knows.
enum class Ids {
  kNobody,  // one, called 0 inside: nobody if the caller is root, else the caller's own
  kCaller,  // for the gofer: all ids as they are if the caller is root, else only the caller's own
};

struct ForkOptions {
  int namespaces = 0;  // CLONE_NEW*, without CLONE_NEWUSER, which is always tried
  Ids ids = Ids::kNobody;
  bool outlive = false;  // the child lives on when the calling thread ends
  // Root's child stays in the caller's user namespace: what DropRights() leaves it then counts
  // outside too. Others can't have namespaces without a user namespace.
  bool keep_user_namespace = false;
  // One table of descriptors for both, as long as one of them lives: what the child makes can be
  // ended by the caller when the child was killed. Not with `outlive`.
  bool share_files = false;
  // Gives the child's user namespace its ids instead, in the calling process.
  std::function<base::Status(int pid)> map_ids;
};

// Forks this (single-threaded) process into new namespaces; 0 in the child, whose ids are mapped
// and who has all capabilities over its namespaces, but none outside. Unless it shall outlive it,
// the child is killed when the calling thread ends. With CLONE_NEWPID the child is process 1: all
// that it creates dies with it. Where user namespaces are forbidden: root goes on without one;
// others get a sentence that says what to change.
base::StatusOr<int> ForkIntoNamespaces(const ForkOptions& options);

// The host threads that a sandbox may have, its sentry's and its guests', counting what a hostile
// guest makes in spite of the sentry: at most half of what the whole host can have, as far as that
// can be seen. In the command, since a new pid namespace sees other limits: newer kernels' (6.14)
// say 4194304 there, whatever the host's is, which is 32768 where nobody raised it.
constexpr uint64_t kMaxHostThreads = 16384;
uint64_t ThreadsForSandbox();
// In the sentry, before there are guests. Counted per id in a user namespace (without one: of all
// sandboxes together).
base::Status LimitThreads(uint64_t most);
// Of those, what guests leave to the sentry, with their processes (zygote.cc) and with the threads
// of its own that drive them (LimitThreads()): its timers must run when a guest has taken all that
// it can get.
constexpr uint64_t kSpareHostThreads = 64;

struct EmptyRoot {
  base::UniqueFd dir;       // the root directory of the tmpfs: SetMemoryDir()
  bool huge_pages = false;  // the tmpfs takes madvise(MADV_HUGEPAGE)
};
// Replaces the mount namespace's root by an empty tmpfs of its own (size in bytes, 0: the host's
// default, half its memory).
base::StatusOr<EmptyRoot> MakeEmptyRoot(uint64_t size);

struct RightsOptions {
  uint64_t capabilities =
      0;  // what stays (bits of CAP_*): 0 but for a gofer that serves files of several ids
  Ids ids = Ids::kNobody;  // as at the fork
  bool outlive = false;    // likewise
};
base::Status DropRights(const RightsOptions& options);

// After a start: this program's code and constants that were needed so far are no longer mapped.
// What is needed again comes back from the host's page cache.
void ForgetCode();

}  // namespace host
