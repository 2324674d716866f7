// Resource limits, priorities, scheduling, prctl, personality, usage.
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

TEST(Rlimit, GetAndSet) {
  COVERS("getrlimit", "setrlimit", "prlimit64");
  EXPECT_CHILD([] {
    rlimit r{50, 60}, old;
    CHILD_OK(syscall(SYS_setrlimit, RLIMIT_NOFILE, &r));
    CHILD_OK(syscall(SYS_getrlimit, RLIMIT_NOFILE, &old));
    CHILD_EQ(old.rlim_cur, 50);
    CHILD_EQ(old.rlim_max, 60);
    r = {60, 60};
    CHILD_OK(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &r, &old));
    CHILD_EQ(old.rlim_cur, 50);
    r = {70, 60};
    CHILD_ERR(setrlimit(RLIMIT_NOFILE, &r), EINVAL);
    pid_t pid = fork();
    if (pid == 0) {
      CHILD_OK(getrlimit(RLIMIT_NOFILE, &old));
      _exit(static_cast<int>(old.rlim_cur));
    }
    CHILD_EQ(WEXITSTATUS(WaitFor(pid)), 60);
  });
}

TEST(Rlimit, Errors) {
  COVERS("getrlimit", "setrlimit", "prlimit64");
  rlimit r{};
  EXPECT_ERR(syscall(SYS_getrlimit, 16, &r), EINVAL);
  EXPECT_ERR(syscall(SYS_setrlimit, -1, &r), EINVAL);
  EXPECT_ERR(syscall(SYS_getrlimit, RLIMIT_NOFILE, 8), EFAULT);
  EXPECT_ERR(syscall(SYS_setrlimit, RLIMIT_NOFILE, 8), EFAULT);
  EXPECT_ERR(syscall(SYS_prlimit64, 0x7ffffff0, RLIMIT_NOFILE, nullptr, &r), ESRCH);
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([] {
    systest::BecomeNobody();
    rlimit r{10, 10};
    CHILD_OK(setrlimit(RLIMIT_NOFILE, &r));
    r = {10, 11};
    CHILD_ERR(setrlimit(RLIMIT_NOFILE, &r), EPERM);
    CHILD_ERR(syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, nullptr, &r), EPERM);
  });
}

TEST(Rlimit, CpuTime) {
  COVERS("setrlimit");
  pid_t pid = Spawn([] {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    rlimit r{1, 2};
    setrlimit(RLIMIT_CPU, &r);
    for (;;) {
    }
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGXCPU);
}

TEST(Rlimit, Processes) {
  COVERS("setrlimit", "fork");
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([] {
    CHILD_OK(setresgid(45678, 45678, 45678));
    CHILD_OK(setresuid(45678, 45678, 45678));
    rlimit r{1, 1};
    CHILD_OK(setrlimit(RLIMIT_NPROC, &r));
    CHILD_ERR(fork(), EAGAIN);
  });
}

TEST(Priority, Nice) {
  COVERS("getpriority", "setpriority");
  EXPECT_CHILD([] {
    CHILD_RET(syscall(SYS_getpriority, PRIO_PROCESS, 0), 20);  // 20 - nice
    CHILD_OK(setpriority(PRIO_PROCESS, 0, 5));
    CHILD_RET(syscall(SYS_getpriority, PRIO_PROCESS, 0), 15);
    CHILD_OK(setpriority(PRIO_PROCESS, 0, 100));  // clamped
    CHILD_RET(syscall(SYS_getpriority, PRIO_PROCESS, 0), 1);
    pid_t pid = fork();
    if (pid == 0) _exit(static_cast<int>(syscall(SYS_getpriority, PRIO_PROCESS, 0)));
    CHILD_EQ(WaitFor(pid), 1 << 8);
    CHILD_ERR(syscall(SYS_getpriority, 9, 0), EINVAL);
    CHILD_ERR(setpriority(9, 0, 0), EINVAL);
    CHILD_ERR(syscall(SYS_getpriority, PRIO_PROCESS, 0x7ffffff0), ESRCH);
    CHILD_ERR(setpriority(PRIO_PROCESS, 0x7ffffff0, 0), ESRCH);
  });
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([] {
    systest::BecomeNobody();
    CHILD_ERR(setpriority(PRIO_PROCESS, 0, -1), EACCES);
    CHILD_OK(setpriority(PRIO_PROCESS, 0, 1));
    CHILD_ERR(setpriority(PRIO_PROCESS, 0, 0), EACCES);
    CHILD_ERR(setpriority(PRIO_PROCESS, getppid(), 5), EPERM);
  });
}

TEST(Sched, Affinity) {
  COVERS("sched_getaffinity", "sched_setaffinity", "getcpu");
  EXPECT_CHILD([] {
    cpu_set_t set;
    CPU_ZERO(&set);
    long n = syscall(SYS_sched_getaffinity, 0, sizeof set, &set);
    CHILD_CHECK(n >= 8 && n % 8 == 0);
    CHILD_EQ(CPU_COUNT(&set), sysconf(_SC_NPROCESSORS_ONLN));
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    CHILD_OK(sched_setaffinity(0, sizeof one, &one));
    CHILD_OK(sched_getaffinity(0, sizeof set, &set));
    CHILD_EQ(CPU_COUNT(&set), 1);
    unsigned cpu = 99, node = 99;
    CHILD_OK(syscall(SYS_getcpu, &cpu, &node, nullptr));
    CHILD_EQ(cpu, 0);
    CHILD_OK(sched_getcpu());
    CPU_ZERO(&one);
    CHILD_ERR(sched_setaffinity(0, sizeof one, &one), EINVAL);
    CHILD_ERR(syscall(SYS_sched_getaffinity, 0, 1, &set), EINVAL);
    CHILD_ERR(sched_getaffinity(0x7ffffff0, sizeof set, &set), ESRCH);
    CHILD_ERR(sched_getaffinity(-1, sizeof set, &set), ESRCH);
    CHILD_ERR(syscall(SYS_sched_getaffinity, 0, 128, 8), EFAULT);
  });
}

TEST(Sched, Policies) {
  COVERS("sched_getscheduler", "sched_setscheduler", "sched_getparam", "sched_setparam",
         "sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval",
         "sched_yield");
  EXPECT_RET(sched_getscheduler(0), SCHED_OTHER);
  sched_param p{1};
  EXPECT_OK(sched_getparam(0, &p));
  EXPECT_EQ(p.sched_priority, 0);
  EXPECT_RET(sched_get_priority_max(SCHED_FIFO), 99);
  EXPECT_RET(sched_get_priority_min(SCHED_FIFO), 1);
  EXPECT_RET(sched_get_priority_max(SCHED_OTHER), 0);
  EXPECT_ERR(sched_get_priority_max(99), EINVAL);
  EXPECT_ERR(sched_getscheduler(-1), EINVAL);
  EXPECT_ERR(sched_getscheduler(0x7ffffff0), ESRCH);
  EXPECT_ERR(sched_setscheduler(0, 99, &p), EINVAL);
  p.sched_priority = 5;
  EXPECT_ERR(sched_setscheduler(0, SCHED_OTHER, &p), EINVAL);
  EXPECT_ERR(sched_setparam(0, nullptr), EINVAL);
  timespec ts{};
  EXPECT_OK(sched_rr_get_interval(0, &ts));
  EXPECT_OK(sched_yield());
  EXPECT_CHILD([] {
    sched_param z{0};
    CHILD_OK(sched_setscheduler(0, SCHED_BATCH, &z));
    CHILD_RET(sched_getscheduler(0), SCHED_BATCH);
    CHILD_OK(sched_setscheduler(0, SCHED_IDLE, &z));
    CHILD_RET(sched_getscheduler(0), SCHED_IDLE);
  });
}

TEST(Prctl, NamesAndFlags) {
  COVERS("prctl");
  EXPECT_CHILD([] {
    char name[16];
    CHILD_OK(prctl(PR_SET_NAME, "short"));
    CHILD_OK(prctl(PR_GET_NAME, name));
    CHILD_CHECK(std::string(name) == "short");
    CHILD_ERR(prctl(PR_SET_NAME, 8), EFAULT);
    CHILD_ERR(prctl(PR_GET_NAME, 8), EFAULT);
    CHILD_RET(prctl(PR_GET_DUMPABLE), 1);
    CHILD_OK(prctl(PR_SET_DUMPABLE, 0));
    CHILD_RET(prctl(PR_GET_DUMPABLE), 0);
    CHILD_ERR(prctl(PR_SET_DUMPABLE, 2), EINVAL);
    CHILD_ERR(prctl(PR_SET_PDEATHSIG, 65), EINVAL);
    CHILD_OK(prctl(PR_SET_TIMERSLACK, 100000));
    CHILD_RET(prctl(PR_GET_TIMERSLACK), 100000);
    int tid = 0;
    CHILD_RET(prctl(PR_GET_TSC, &tid), 0);
    CHILD_EQ(tid, PR_TSC_ENABLE);
    CHILD_ERR(prctl(99999), EINVAL);
    CHILD_RET(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 0);
    CHILD_RET(prctl(PR_GET_SECCOMP), 0);
  });
}

TEST(Prctl, ThreadNamesAreTheirOwn) {
  COVERS("prctl");
  EXPECT_CHILD([] {
    prctl(PR_SET_NAME, "main");
    std::thread([] { prctl(PR_SET_NAME, "other"); }).join();
    char name[16];
    prctl(PR_GET_NAME, name);
    CHILD_CHECK(std::string(name) == "main");
  });
}

TEST(Personality, ReadAndSet) {
  COVERS("personality");
  EXPECT_CHILD([] {
    CHILD_RET(personality(0xffffffff), 0);
    CHILD_RET(personality(ADDR_NO_RANDOMIZE), 0);
    CHILD_RET(personality(0xffffffff), ADDR_NO_RANDOMIZE);
  });
}

TEST(Usage, Getrusage) {
  COVERS("getrusage");
  rusage u{};
  EXPECT_OK(getrusage(RUSAGE_SELF, &u));
  EXPECT_GT(u.ru_maxrss, 100);
  EXPECT_OK(getrusage(RUSAGE_CHILDREN, &u));
  EXPECT_OK(getrusage(RUSAGE_THREAD, &u));
  EXPECT_ERR(getrusage(static_cast<__rusage_who>(77), &u), EINVAL);
  EXPECT_ERR(syscall(SYS_getrusage, RUSAGE_SELF, 8), EFAULT);
}

TEST(IoPriority, GetAndSet) {
  COVERS("ioprio_get", "ioprio_set");
  EXPECT_CHILD([] {
    CHILD_OK(syscall(SYS_ioprio_get, 1, 0));
    CHILD_OK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
    CHILD_RET(syscall(SYS_ioprio_get, 1, 0), 2 << 13 | 6);
    CHILD_ERR(syscall(SYS_ioprio_get, 9, 0), EINVAL);
    CHILD_ERR(syscall(SYS_ioprio_set, 1, 0, 7 << 13), EINVAL);
  });
}

}  // namespace
