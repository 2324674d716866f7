// What moat_compromised has and moat hasn't: the linker sends every call of host::InstallFilter
// here (--wrap), the last thing that the sentry and the gofer do before they meet anything
// untrusted. $MOAT_COMPROMISED:
//   attack:ROLE:ACT      the process of that role (sentry, gofer), confined, tries an act (acts.h)
//   unfiltered:ROLE:ACT  the same without the filter: what namespaces and rights stop alone
//   observe              every host call of both is matched with the rows of host_calls.def; the
//                        first use of each row is logged
//   rows                 prints the rows
// Says what happens in the log (--debug-log).
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <iterator>
#include <new>

#include "platform/base/log.h"
#include "platform/base/status.h"
#include "platform/host/filter.h"
#include "platform/host/filter_rows.h"
#include "platform/host/host.h"
#include "tests/security/acts.h"

namespace security {

base::Status RealInstallFilter(uint32_t roles, host::Violation violation) __asm__(
    "__real__ZN4host13InstallFilterEjNS_9ViolationE");
base::Status WrappedInstallFilter(uint32_t roles, host::Violation violation) __asm__(
    "__wrap__ZN4host13InstallFilterEjNS_9ViolationE");

namespace {

const char* Mode() {
  const char* mode = getenv("MOAT_COMPROMISED");
  return mode ? mode : "";
}

const char* RoleName(uint32_t roles) {
  return (roles & host::kNetGofer) != 0 ? "netgofer"
         : (roles & host::kGofer) != 0  ? "gofer"
                                        : "sentry";
}

long Plain(long nr, long a, long b, long c, long d, long e, long f) {
  return host::RawCall(nr, static_cast<uint64_t>(a), static_cast<uint64_t>(b),
                       static_cast<uint64_t>(c), static_cast<uint64_t>(d), static_cast<uint64_t>(e),
                       static_cast<uint64_t>(f));
}

// A mistake of the test must not look like the filter's work.
void OnCrash(int sig) {
  LOG_WARNING("crashed with signal %d", sig);
  host::ExitGroup(3);
}

// The gofer's first folder: there is nothing else that it could serve.
int FindFolder() {
  for (int fd = 0; fd < 1000; fd++) {
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) return fd;
  }
  return -1;
}

[[noreturn]] void Attack(const Act& act, bool filtered, uint32_t roles, host::Violation violation) {
  for (int sig : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) signal(sig, OnCrash);
  Target t = ParseTarget(getenv("MOAT_TARGET"));
  t.root = FindFolder();
  if (filtered) {
    if (base::Status s = RealInstallFilter(roles, violation); !s.ok()) {
      LOG_WARNING("no filter: %s", s.text().c_str());
      host::ExitGroup(3);
    }
  }
  LOG_WARNING("begin");
  long r = act.run(t, Plain);
  LOG_WARNING("returned %ld", r);
  host::ExitGroup(0);
}

// Attack() in a child, whose end the parent tells: it has the same rights, and the parent isn't
// confined yet.
[[noreturn]] void WatchAttack(const Act& act, bool filtered, uint32_t roles,
                              host::Violation violation) {
  pid_t pid = fork();
  if (pid == 0) Attack(act, filtered, roles, violation);
  int status = 0;
  waitpid(pid, &status, 0);
  LOG_WARNING("ended: %d", WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
  _exit(0);
}

// The rows that allow (or refuse) the call.
bool Matches(const host::Row& row, const seccomp_data& call) {
  if (row.nr != call.nr) return false;
  for (int i = 0; i < row.n_conditions; i++) {
    const host::Condition& c = row.conditions[i];
    if ((call.args[c.arg] & c.mask) != (c.value & c.mask)) return false;
  }
  return true;
}

// Answers each call's notification with "go on". A process of its own, in the observed one's pid
// namespace and with its descriptors. number: the listener's, once there is one.
[[noreturn]] void Supervise(const std::atomic<int>& number, uint32_t roles) {
  static bool seen[std::size(host::kRows)];
  int listener;
  while ((listener = number.load(std::memory_order_acquire)) < 0) usleep(100);
  for (;;) {
    seccomp_notif call{};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
      usleep(100);  // the caller has died
      continue;
    }
    for (size_t i = 0; i < std::size(host::kRows); i++) {
      const host::Row& row = host::kRows[i];
      if (seen[i] || (row.roles & roles) == 0 || !Matches(row, call.data)) continue;
      seen[i] = true;
      LOG_WARNING("used %s %zu", RoleName(roles), i);
    }
    seccomp_notif_resp answer{};
    answer.id = call.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

// A filter over the real one's: what that allows is told to the supervisor first.
void Observe(uint32_t roles) {
  // The only way to tell the supervisor without a call, which would wait for it.
  void* shared = mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) _exit(3);
  auto* listener = new (shared) std::atomic<int>(-1);
  long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) Supervise(*listener, roles);
  sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)};
  struct {
    unsigned short len;
    sock_filter* filter;
  } program{1, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (pid < 0) _exit(3);
  long r =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  if (r < 0) {
    LOG_WARNING("no observer: %ld", r);
    _exit(3);
  }
  listener->store(static_cast<int>(r), std::memory_order_release);
}

__attribute__((constructor)) void PrintRows() {
  if (strcmp(Mode(), "rows") != 0) return;
  int index = 0;
  for (const host::Row& row : host::kRows) {
    // A refusal is made before the observer is asked.
    if (row.refuse == 0) printf("%d\t%u\t%s\t%s\n", index, row.roles, row.name, row.reason);
    index++;
  }
  exit(0);
}

}  // namespace

base::Status WrappedInstallFilter(uint32_t roles, host::Violation violation) {
  char mode[256];
  snprintf(mode, sizeof mode, "%s", Mode());
  char* rest = mode;
  const char* what = strsep(&rest, ":");
  if (strcmp(what, "observe") == 0) Observe(roles);
  const char* role = rest ? strsep(&rest, ":") : "";
  const Act* act = rest ? FindAct(rest) : nullptr;
  if (act != nullptr && strcmp(role, RoleName(roles)) == 0) {
    WatchAttack(*act, strcmp(what, "attack") == 0, roles, violation);
  }
  return RealInstallFilter(roles, violation);
}

}  // namespace security
