#include "platform/host/filter.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "platform/host/host.h"
#include "platform/host/thread.h"

namespace host {
namespace {

// Runs f in a child under the filter; its wait status.
int Under(uint32_t roles, Violation violation, const std::function<void()>& f) {
  pid_t pid = fork();
  if (pid == 0) {
    if (!InstallFilter(roles, violation).ok()) _exit(99);
    f();
    ExitGroup(7);
  }
  int status;
  waitpid(pid, &status, 0);
  return status;
}
int Exited(int code) { return code << 8; }

TEST(Filter, BudgetsHold) {
#ifndef MOAT_SANITIZE
  EXPECT_LT(AllowedCalls(kSentry), 60);
  EXPECT_LT(AllowedCalls(kGofer), 40);
  EXPECT_LT(AllowedCalls(kNetGofer | kNetRaw), 40);
#endif
  printf("sentry %d, gofer %d, sentry with ptrace %d\n", AllowedCalls(kSentry),
         AllowedCalls(kGofer), AllowedCalls(kSentry | kPtrace));
  EXPECT_NE(DescribeHostCalls().find("sentry: "), std::string::npos);
}

TEST(Filter, AllowsWhatIsListed) {
  EXPECT_EQ(Under(kSentry, Violation::kKill,
                  [] {
                    void* p = malloc(10 << 20);
                    if (!p) ExitGroup(1);
                    free(p);
                    Thread t;
                    static bool ran = false;
                    if (t.Start([](void*) { ran = true; }, nullptr) != 0) ExitGroup(2);
                    t.Join();
                    if (!ran) ExitGroup(3);
                    if (Mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) < 0)
                      ExitGroup(4);
                  }),
            Exited(7));
  EXPECT_EQ(Under(kSentry, Violation::kKill, [] { abort(); }) & 0x7f, SIGABRT);
  EXPECT_EQ(Under(kGofer, Violation::kKill, [] { abort(); }) & 0x7f, SIGABRT);
}

TEST(Filter, KillsTheRest) {
  auto killed = [](uint32_t roles, const std::function<void()>& f) {
    int status = Under(roles, Violation::kKill, f);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
  };
  for (uint32_t role :
       {uint32_t{kSentry}, uint32_t{kGofer}, uint32_t{kNetGofer}, uint32_t{kSentry | kPtrace}}) {
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_execve, 0, 0, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_socket, AF_INET, SOCK_RAW, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_socket, AF_PACKET, SOCK_DGRAM, 0); }));
    if (role != kNetGofer) {
      EXPECT_TRUE(killed(role, [] { RawCall(SYS_socket, AF_INET, SOCK_STREAM, 0); }));
    }
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_socketpair, AF_INET, SOCK_STREAM, 0, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_kill, 1, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_unshare, CLONE_NEWUSER); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_process_vm_readv, 1, 0, 0, 0, 0, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_mount, 0, 0, 0, 0, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_bpf, 0, 0, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_io_uring_setup, 1, 0); }));
    EXPECT_TRUE(killed(role, [] { RawCall(SYS_keyctl, 0, 0); }));
    EXPECT_TRUE(killed(role, [] {
      RawCall(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0);
    }));
  }
  EXPECT_TRUE(killed(kSentry, [] { RawCall(SYS_ptrace, 0, 0, 0, 0); }));
  EXPECT_TRUE(killed(kGofer, [] { RawCall(SYS_ptrace, 0, 0, 0, 0); }));
  EXPECT_TRUE(killed(kSentry, [] { RawCall(SYS_sendmsg, 0, 0, MSG_FASTOPEN); }));
  EXPECT_TRUE(killed(kNetGofer, [] { RawCall(SYS_openat, 0, 0, 0); }));
  EXPECT_TRUE(killed(kSentry, [] { RawCall(SYS_openat2, 0, 0, 0, 0); }));
  EXPECT_TRUE(killed(kSentry, [] { RawCall(SYS_ioctl, 0, TIOCSTI, 0); }));
  EXPECT_TRUE(killed(kSentry, [] { RawCall(SYS_fcntl, 0, F_SETOWN, 0); }));
}

TEST(Filter, ReportsInTestMode) {
  EXPECT_EQ(
      Under(kSentry, Violation::kReport, [] { RawCall(SYS_socket, AF_INET, SOCK_STREAM, 0); }) &
          0x7f,
      SIGABRT);
}

TEST(Filter, LoadsQuickly) {
  int64_t best = INT64_MAX;
  for (int i = 0; i < 5; i++) {
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
      int64_t start = ClockNow(CLOCK_MONOTONIC);
      if (!InstallFilter(kSentry, Violation::kKill).ok()) ExitGroup(1);
      int64_t ns = ClockNow(CLOCK_MONOTONIC) - start;
      Write(pipe_fds[1], &ns, sizeof ns);
      ExitGroup(0);
    }
    int64_t ns = 0;
    EXPECT_EQ(read(pipe_fds[0], &ns, sizeof ns), static_cast<ssize_t>(sizeof ns));
    if (ns < best) best = ns;
    waitpid(pid, nullptr, 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
  }
  printf("filter loaded in %ld us\n", static_cast<long>(best / 1000));
}

}  // namespace
}  // namespace host
