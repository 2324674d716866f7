// The other end of the security tests, a static program:
//   attacker list                the acts: name, flags, the errno that means "reached"
//   attacker victim NAME         listens on the abstract socket NAME and on a port, says "PID
//   PORT", waits attacker native ACT FOLDER   tries an act as it is: natively, or in a guest
//   attacker stub ACT            in a guest: by the system call instruction of the stub
//   attacker threads [stub]      in a guest: as many threads as it can get; says how many, and ends
//   attacker corrupt SEED        in a guest: overwrites the stub's memory (corrupt.h)
//   attacker escaped             the proof of an execve
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <ucontext.h>
#include <unistd.h>

#include "platform/host/host.h"
#include "platform/stub/layout.h"
#include "tests/security/acts.h"
#include "tests/security/corrupt.h"

namespace security {
namespace {

long Plain(long nr, long a, long b, long c, long d, long e, long f) {
  return host::RawCall(nr, static_cast<uint64_t>(a), static_cast<uint64_t>(b),
                       static_cast<uint64_t>(c), static_cast<uint64_t>(d), static_cast<uint64_t>(e),
                       static_cast<uint64_t>(f));
}

// "syscall; int3" in the stub: the trap's handler goes back to where the call came from.
long Stub(long nr, long a, long b, long c, long d, long e, long f) {
  long ret;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  register uint64_t r15 __asm__("r15") = platform::stub::kText + platform::stub::kSyscallOffset;
  // Below the red zone.
  __asm__ volatile("sub $256, %%rsp\n call *%%r15\n add $256, %%rsp"
                   : "=a"(ret)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), "r"(r15)
                   : "rcx", "r11", "memory", "cc");
  return ret;
}
void OnTrap(int, siginfo_t*, void* context) {
  greg_t* r = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  r[REG_RIP] = *reinterpret_cast<greg_t*>(r[REG_RSP]);
  r[REG_RSP] += 8;
}
void InstallTrap() {
  struct sigaction sa {};
  sa.sa_sigaction = OnTrap;
  sa.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &sa, nullptr);
}

int Victim(const char* name) {
  // Same user, but no descendant: where the host restricts tracing to those.
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  memcpy(un.sun_path + 1, name, strlen(name));
  int in = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t n = sizeof a;
  if (bind(s, reinterpret_cast<sockaddr*>(&un),
           static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + strlen(name))) != 0 ||
      listen(s, 100) != 0 || bind(in, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 ||
      listen(in, 100) != 0 || getsockname(in, reinterpret_cast<sockaddr*>(&a), &n) != 0) {
    return 1;
  }
  printf("%d %d\n", getpid(), ntohs(a.sin_port));
  fflush(stdout);
  for (;;) pause();
}

int Try(const Act& act, const char* folder, Syscall call) {
  Target t = ParseTarget(getenv("MOAT_TARGET"));
  if (folder) t.root = open(folder, O_PATH | O_DIRECTORY);
  printf("begin\n");
  fflush(stdout);
  long r = act.run(t, call);
  printf("returned %ld\n", r);
  fflush(stdout);
  _exit(0);
}

// Says how many there are; and that time goes on.
[[noreturn]] void Count(int n) {
  printf("%d\n", n);
  fflush(stdout);
  signal(SIGALRM, [](int) {
    if (write(1, "timer\n", 6) == 6) _exit(0);
  });
  itimerval soon{{0, 0}, {0, 10000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
  sleep(20);
  _exit(1);
}

void* Wait(void*) {
  for (;;) pause();
}

// Threads as a program makes them.
[[noreturn]] void OrdinaryThreads() {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 16384);
  int n = 0;
  pthread_t id;
  while (n < 200000 && pthread_create(&id, &attr, Wait, nullptr) == 0) n++;
  Count(n);
}

// Threads behind the sentry's back, by the clone that the stub may make. Each comes to the int3,
// and then waits in the stub's handler on memory of ours that the handler takes for its slot.
[[noreturn]] void HostThreads() {
  constexpr uint64_t kSlot = platform::stub::kSlotSize, kMost = 65536;
  uint32_t id;
  void* memory = mmap(nullptr, (kMost + 1) * kSlot, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uint64_t slots = (reinterpret_cast<uint64_t>(memory) + kSlot - 1) & ~(kSlot - 1);
  int n = 0;
  for (uint64_t i = 0; i < kMost; i++, n++) {
    constexpr long kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                            CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    if (Stub(SYS_clone, kFlags, static_cast<long>(slots + (i + 1) * kSlot - 256),
             reinterpret_cast<long>(&id), reinterpret_cast<long>(&id), 0, 0) < 0) {
      break;
    }
  }
  Count(n);
}

// Wakes the net gofer up, and waits for what it says.
int UseNetwork() {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = htonl(0xc0000201);  // 192.0.2.1, nobody's
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  return connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "escaped") == 0) return kEscaped;
  if (strcmp(what, "list") == 0) {
    for (const Act& a : Acts()) printf("%s %u %d\n", a.name, a.flags, a.reached);
    return 0;
  }
  if (strcmp(what, "network") == 0) return UseNetwork();
  if (strcmp(what, "threads") == 0) {
    if (argc > 2) {
      InstallTrap();
      HostThreads();
    }
    OrdinaryThreads();
  }
  if (strcmp(what, "corrupt") == 0 && argc > 2) {
    return Corrupt(static_cast<unsigned>(strtoul(argv[2], nullptr, 10)));
  }
  const Act* act = argc > 2 ? FindAct(argv[2]) : nullptr;
  if (strcmp(what, "victim") == 0 && argc > 2) return Victim(argv[2]);
  if (strcmp(what, "native") == 0 && act) return Try(*act, argc > 3 ? argv[3] : nullptr, Plain);
  if (strcmp(what, "stub") == 0 && act) {
    InstallTrap();
    return Try(*act, nullptr, Stub);
  }
  fprintf(stderr, "attacker: unknown words\n");
  return 2;
}

}  // namespace
}  // namespace security

int main(int argc, char** argv) { return security::Main(argc, argv); }
