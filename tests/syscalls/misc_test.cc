// uname, sysinfo, getrandom, host names, membarrier, seccomp, kcmp and other calls of one kind.
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

TEST(Misc, Uname) {
  COVERS("uname");
  utsname u{};
  ASSERT_OK(uname(&u));
  EXPECT_STREQ(u.sysname, "Linux");
  EXPECT_STREQ(u.machine, "x86_64");
  EXPECT_GE(atoi(u.release), 4);
  EXPECT_NE(strchr(u.release, '.'), nullptr);
  EXPECT_GT(strlen(u.nodename), 0u);
  EXPECT_ERR(syscall(SYS_uname, 8), EFAULT);
}

TEST(Misc, HostNames) {
  COVERS("sethostname", "setdomainname", "uname", "unshare");
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([] {
    CHILD_OK(unshare(CLONE_NEWUTS));
    CHILD_OK(sethostname("moat-test", 9));
    CHILD_OK(setdomainname("domain", 6));
    utsname u;
    CHILD_OK(uname(&u));
    CHILD_CHECK(std::string(u.nodename) == "moat-test");
    CHILD_CHECK(std::string(u.domainname) == "domain");
    CHILD_CHECK(ReadFile("/proc/sys/kernel/hostname") == "moat-test\n");
    CHILD_ERR(sethostname("x", 65), EINVAL);
    CHILD_ERR(sethostname("x", -1), EINVAL);
    CHILD_ERR(sethostname(reinterpret_cast<char*>(8), 5), EFAULT);
    systest::BecomeNobody();
    CHILD_ERR(sethostname("x", 1), EPERM);
  });
}

TEST(Misc, Sysinfo) {
  COVERS("sysinfo");
  struct sysinfo s {};
  ASSERT_OK(sysinfo(&s));
  EXPECT_GT(s.uptime, 0);
  EXPECT_GT(s.totalram, 0u);
  EXPECT_LE(s.freeram, s.totalram);
  EXPECT_GT(s.mem_unit, 0u);
  EXPECT_GT(s.procs, 0);
  EXPECT_ERR(syscall(SYS_sysinfo, 8), EFAULT);
}

TEST(Misc, Getrandom) {
  COVERS("getrandom");
  char a[64] = {}, b[64] = {};
  EXPECT_RET(getrandom(a, 64, 0), 64);
  EXPECT_RET(getrandom(b, 64, GRND_NONBLOCK), 64);
  EXPECT_NE(memcmp(a, b, 64), 0);
  EXPECT_RET(getrandom(a, 0, 0), 0);
  EXPECT_RET(getrandom(a, 10, GRND_RANDOM), 10);
  EXPECT_ERR(getrandom(a, 10, 0x100), EINVAL);
  EXPECT_ERR(getrandom(a, 10, 2 | 4), EINVAL);  // GRND_RANDOM with GRND_INSECURE
  EXPECT_ERR(syscall(SYS_getrandom, 8, 10, 0), EFAULT);
  std::vector<char> big(1000000);
  EXPECT_RET(getrandom(big.data(), big.size(), 0), big.size());
}

TEST(Misc, Membarrier) {
  COVERS("membarrier");
  long r = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  ASSERT_GE(r, 0);
  EXPECT_TRUE(r & MEMBARRIER_CMD_GLOBAL);
  EXPECT_TRUE(r & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  EXPECT_CHILD([] {
    CHILD_ERR(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), EPERM);
    CHILD_OK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
    CHILD_OK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    CHILD_ERR(syscall(SYS_membarrier, 1 << 30, 0, 0), EINVAL);
    CHILD_ERR(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 99, 0), EINVAL);
  });
}

TEST(Misc, SeccompStrict) {
  COVERS("seccomp", "prctl");
  pid_t pid = Spawn([] {
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, nullptr) != 0) return 1;
    syscall(SYS_exit, 4);
    return 0;
  });
  EXPECT_EXIT_STATUS(WaitFor(pid), 4);
  pid = Spawn([] {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 1;
    syscall(SYS_getpid);
    syscall(SYS_exit, 4);
    return 0;
  });
  EXPECT_KILLED_BY(WaitFor(pid), SIGKILL);
  EXPECT_ERR(syscall(SYS_seccomp, 99, 0, nullptr), EINVAL);
}

TEST(Misc, Unshare) {
  COVERS("unshare");
  EXPECT_ERR(unshare(0x1), EINVAL);
  EXPECT_OK(unshare(0));
  EXPECT_CHILD([] {
    CHILD_OK(unshare(CLONE_FILES));
    CHILD_OK(unshare(CLONE_FS));
    CHILD_OK(unshare(CLONE_SYSVSEM));
  });
}

TEST(Misc, PrivilegedCallsFail) {
  COVERS("reboot", "swapon", "swapoff", "acct", "vhangup");
  SKIP_UNLESS_ROOT();
  EXPECT_CHILD([] {
    systest::BecomeNobody();
    CHILD_ERR(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, nullptr), EPERM);
    CHILD_ERR(syscall(SYS_swapon, "/none", 0), EPERM);
    CHILD_ERR(syscall(SYS_swapoff, "/none"), EPERM);
    CHILD_ERR(syscall(SYS_acct, nullptr), EPERM);
    CHILD_ERR(syscall(SYS_vhangup), EPERM);
  });
}

TEST(Misc, RemovedCallsSayEnosys) {
  COVERS("create_module", "get_kernel_syms", "query_module", "nfsservctl", "getpmsg", "putpmsg",
         "afs_syscall", "tuxcall", "security", "vserver", "epoll_ctl_old", "epoll_wait_old",
         "set_thread_area", "get_thread_area");
  for (int nr : {SYS_create_module, SYS_get_kernel_syms, SYS_query_module, SYS_nfsservctl,
                 SYS_getpmsg, SYS_putpmsg, SYS_afs_syscall, SYS_tuxcall, SYS_security, SYS_vserver,
                 SYS_epoll_ctl_old, SYS_epoll_wait_old, SYS_set_thread_area, SYS_get_thread_area}) {
    EXPECT_ERR(syscall(nr, 0, 0, 0, 0, 0, 0), ENOSYS) << "number " << nr;
  }
}

TEST(Misc, RseqOrCleanRefusal) {
  COVERS("rseq");
  // Registered by glibc already, or not supported at all.
  static char area[64] __attribute__((aligned(32)));
  EXPECT_EQ(syscall(334, area, 32, 0, 0x1234), -1);
  EXPECT_TRUE(errno == EBUSY || errno == EINVAL || errno == ENOSYS || errno == EPERM)
      << systest::ErrnoText(errno);
  if (syscall(334, area, 32, 99, 0) == -1 && errno == ENOSYS) return;
  EXPECT_ERR(syscall(334, area, 32, 99, 0), EINVAL);
}

TEST(Misc, Kcmp) {
  COVERS("kcmp");
  Fd a(open("/dev/null", O_RDWR)), c(open("/dev/null", O_RDWR));
  Fd b(dup(a));
  EXPECT_RET(syscall(SYS_kcmp, getpid(), getpid(), 0, a.get(), b.get()), 0);
  EXPECT_GT(syscall(SYS_kcmp, getpid(), getpid(), 0, a.get(), c.get()), 0);
  EXPECT_RET(syscall(SYS_kcmp, getpid(), getpid(), 1, 0, 0), 0);
  EXPECT_ERR(syscall(SYS_kcmp, getpid(), getpid(), 0, a.get(), 9999), EBADF);
  EXPECT_ERR(syscall(SYS_kcmp, getpid(), 0x7ffffff0, 1, 0, 0), ESRCH);
  EXPECT_ERR(syscall(SYS_kcmp, getpid(), getpid(), 99, 0, 0), EINVAL);
}

TEST(Misc, GetpidFamilyIgnoresArguments) {
  COVERS("getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getpgrp");
  EXPECT_RET(syscall(SYS_getpid, 1, 2, 3, 4, 5, 6), getpid());
  EXPECT_RET(syscall(SYS_getppid, 1, 2, 3), getppid());
  EXPECT_RET(syscall(SYS_getuid), getuid());
  EXPECT_RET(syscall(SYS_geteuid), geteuid());
  EXPECT_RET(syscall(SYS_getgid), getgid());
  EXPECT_RET(syscall(SYS_getegid), getegid());
  EXPECT_RET(syscall(SYS_getpgrp), getpgrp());
}

TEST(Misc, UpperHalvesOfIntArgumentsAreIgnored) {
  COVERS("close", "dup", "umask", "lseek");
  Fd fd(open("/dev/null", O_RDWR));
  long wide = fd.get() | 0x1234'0000'0000L;
  EXPECT_RET(syscall(SYS_fcntl, wide, F_GETFD, 0), 0);
  long d = syscall(SYS_dup, wide);
  EXPECT_OK(d);
  EXPECT_OK(syscall(SYS_close, d | 0x5555'0000'0000L));
}

TEST(Misc, ManyThreadsOneAfterTheOther) {
  COVERS("clone", "futex");
  for (int i = 0; i < 500; i++) std::thread([] {}).join();
}

TEST(Misc, ManyChildrenAtOnce) {
  COVERS("fork", "wait4");
  std::vector<pid_t> pids;
  for (int i = 0; i < 100; i++) {
    pids.push_back(Spawn([i] { return i; }));
    ASSERT_GT(pids.back(), 0);
  }
  for (int i = 0; i < 100; i++) EXPECT_EXIT_STATUS(WaitFor(pids[i]), i);
}

}  // namespace
