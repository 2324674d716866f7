// Users, groups, capabilities, no_new_privs. Needs root throughout.
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tests/syscalls/test_util.h"

namespace {

struct Caps {
  uint64_t effective = 0, permitted = 0, inheritable = 0;
};

Caps GetCaps() {
  __user_cap_header_struct h{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct d[2]{};
  if (syscall(SYS_capget, &h, d) != 0) return {};
  return {d[0].effective | uint64_t{d[1].effective} << 32,
          d[0].permitted | uint64_t{d[1].permitted} << 32,
          d[0].inheritable | uint64_t{d[1].inheritable} << 32};
}

long SetCaps(const Caps& c) {
  __user_cap_header_struct h{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct d[2] = {
      {static_cast<uint32_t>(c.effective), static_cast<uint32_t>(c.permitted),
       static_cast<uint32_t>(c.inheritable)},
      {static_cast<uint32_t>(c.effective >> 32), static_cast<uint32_t>(c.permitted >> 32),
       static_cast<uint32_t>(c.inheritable >> 32)}};
  return syscall(SYS_capset, &h, d);
}

void ExpectIds(uid_t r, uid_t e, uid_t s) {
  uid_t a, b, c;
  CHILD_OK(getresuid(&a, &b, &c));
  CHILD_EQ(a, r);
  CHILD_EQ(b, e);
  CHILD_EQ(c, s);
}

class Cred : public ::testing::Test {
 protected:
  void SetUp() override { SKIP_UNLESS_ROOT(); }
};

TEST_F(Cred, SetuidAsRootSetsAll) {
  COVERS("setuid", "getresuid", "getuid", "geteuid");
  EXPECT_CHILD([] {
    CHILD_OK(syscall(SYS_setuid, 1000));
    ExpectIds(1000, 1000, 1000);
    CHILD_EQ(getuid(), 1000);
    CHILD_EQ(geteuid(), 1000);
    CHILD_ERR(syscall(SYS_setuid, 0), EPERM);
    CHILD_OK(syscall(SYS_setuid, 1000));
    CHILD_ERR(syscall(SYS_setuid, -1), EINVAL);
  });
}

TEST_F(Cred, SetreuidRules) {
  COVERS("setreuid", "getresuid");
  EXPECT_CHILD([] {
    CHILD_OK(syscall(SYS_setreuid, 1000, 2000));
    ExpectIds(1000, 2000, 2000);
    CHILD_OK(syscall(SYS_setreuid, 2000, 1000));  // swap
    // The saved id follows the effective one when the real one was set, or e differs from old r.
    ExpectIds(2000, 1000, 1000);
    CHILD_ERR(syscall(SYS_setreuid, 0, -1), EPERM);
    CHILD_OK(syscall(SYS_setreuid, -1, -1));
  });
}

TEST_F(Cred, SetresuidRules) {
  COVERS("setresuid", "getresuid");
  EXPECT_CHILD([] {
    CHILD_OK(syscall(SYS_setresuid, 1, 2, 3));
    ExpectIds(1, 2, 3);
    CHILD_OK(syscall(SYS_setresuid, 3, 1, 2));
    ExpectIds(3, 1, 2);
    CHILD_OK(syscall(SYS_setresuid, -1, 2, -1));
    ExpectIds(3, 2, 2);
    CHILD_ERR(syscall(SYS_setresuid, -1, 1, -1), EPERM);
    CHILD_ERR(syscall(SYS_setresuid, 0, 0, 0), EPERM);
  });
  uid_t a;
  EXPECT_ERR(syscall(SYS_getresuid, &a, &a, 8), EFAULT);
}

TEST_F(Cred, GroupIds) {
  COVERS("setgid", "setregid", "setresgid", "getresgid", "getgid", "getegid");
  EXPECT_CHILD([] {
    CHILD_OK(syscall(SYS_setresgid, 1, 2, 3));
    gid_t a, b, c;
    CHILD_OK(getresgid(&a, &b, &c));
    CHILD_CHECK(a == 1 && b == 2 && c == 3);
    CHILD_EQ(getgid(), 1);
    CHILD_EQ(getegid(), 2);
    CHILD_OK(syscall(SYS_setregid, 4, 5));
    CHILD_OK(getresgid(&a, &b, &c));
    CHILD_CHECK(a == 4 && b == 5 && c == 5);
    CHILD_OK(syscall(SYS_setgid, 6));
    CHILD_OK(getresgid(&a, &b, &c));
    CHILD_CHECK(a == 6 && b == 6 && c == 6);
    CHILD_OK(syscall(SYS_setuid, 1000));
    CHILD_ERR(syscall(SYS_setgid, 0), EPERM);
    CHILD_ERR(syscall(SYS_setregid, 0, -1), EPERM);
    CHILD_OK(syscall(SYS_setgid, 6));
  });
}

TEST_F(Cred, SupplementaryGroups) {
  COVERS("setgroups", "getgroups");
  EXPECT_CHILD([] {
    gid_t in[3] = {30, 10, 20}, out[3] = {};
    CHILD_OK(syscall(SYS_setgroups, 3, in));
    CHILD_RET(getgroups(0, nullptr), 3);
    CHILD_RET(getgroups(3, out), 3);
    CHILD_CHECK(out[0] == 10 && out[1] == 20 && out[2] == 30);  // the kernel sorts them
    CHILD_ERR(getgroups(2, out), EINVAL);
    CHILD_ERR(getgroups(-1, out), EINVAL);
    CHILD_ERR(syscall(SYS_getgroups, 3, 8), EFAULT);
    CHILD_ERR(syscall(SYS_setgroups, 65537, in), EINVAL);
    CHILD_ERR(syscall(SYS_setgroups, 3, 8), EFAULT);
    CHILD_OK(syscall(SYS_setuid, 1000));
    CHILD_ERR(syscall(SYS_setgroups, 0, nullptr), EPERM);
    CHILD_RET(getgroups(0, nullptr), 3);
  });
}

TEST_F(Cred, FileSystemIds) {
  COVERS("setfsuid", "setfsgid");
  TempDir dir;
  EXPECT_CHILD([&] {
    CHILD_EQ(setfsuid(-1), 0);
    CHILD_EQ(setfsuid(1000), 0);
    CHILD_EQ(setfsuid(-1), 1000);
    CHILD_EQ(setfsgid(1000), 0);
    CHILD_EQ(setfsgid(-1), 1000);
    CHILD_EQ(geteuid(), 0);
    CHILD_ERR(open((dir / "x").c_str(), O_CREAT | O_RDWR, 0600), EACCES);
    CHILD_OK(syscall(SYS_setresuid, -1, 0, -1));
    CHILD_EQ(setfsuid(-1), 0);  // follows the effective one
  });
}

TEST_F(Cred, LosingRootLosesCapabilities) {
  COVERS("capget", "setresuid", "prctl");
  EXPECT_CHILD([] {
    Caps full = GetCaps();
    CHILD_CHECK(full.effective != 0);
    // The effective set follows the effective id; the permitted one survives until no id is 0.
    CHILD_OK(syscall(SYS_setresuid, 0, 1000, 0));
    Caps c = GetCaps();
    CHILD_EQ(c.effective, 0);
    CHILD_EQ(c.permitted, full.permitted);
    CHILD_OK(syscall(SYS_setresuid, -1, 0, -1));
    CHILD_EQ(GetCaps().effective, full.effective);
    CHILD_OK(syscall(SYS_setresuid, 1000, 1000, 1000));
    c = GetCaps();
    CHILD_EQ(c.effective, 0);
    CHILD_EQ(c.permitted, 0);
  });
  EXPECT_CHILD([] {
    Caps full = GetCaps();
    CHILD_OK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    CHILD_RET(prctl(PR_GET_KEEPCAPS), 1);
    CHILD_OK(syscall(SYS_setresuid, 1000, 1000, 1000));
    Caps c = GetCaps();
    CHILD_EQ(c.effective, 0);
    CHILD_EQ(c.permitted, full.permitted);
  });
}

TEST_F(Cred, CapsetRules) {
  COVERS("capset", "capget");
  EXPECT_CHILD([] {
    Caps c = GetCaps(), less = c;
    less.effective &= ~(1ull << CAP_KILL);
    CHILD_OK(SetCaps(less));
    CHILD_EQ(GetCaps().effective, less.effective);
    CHILD_OK(SetCaps(c));  // still permitted
    less.permitted &= ~(1ull << CAP_KILL);
    CHILD_OK(SetCaps(less));
    CHILD_ERR(SetCaps(c), EPERM);
    less.effective |= 1ull << CAP_KILL;  // effective must be within permitted
    CHILD_ERR(SetCaps(less), EPERM);
  });
  __user_cap_header_struct h{0x1234, 0};
  EXPECT_OK(syscall(SYS_capget, &h, nullptr));  // asks for the version
  EXPECT_EQ(h.version, unsigned{_LINUX_CAPABILITY_VERSION_3});
  EXPECT_ERR(syscall(SYS_capget, 8, nullptr), EFAULT);
  h = {_LINUX_CAPABILITY_VERSION_3, -1};
  __user_cap_data_struct d[2];
  EXPECT_ERR(syscall(SYS_capget, &h, d), EINVAL);
  h = {0x1234, 0};
  EXPECT_ERR(syscall(SYS_capget, &h, d), EINVAL);
  h.pid = 0x7ffffff0;
  EXPECT_ERR(syscall(SYS_capget, &h, d), ESRCH);
  h.pid = getpid() == 1 ? 2 : 1;
  EXPECT_ERR(syscall(SYS_capset, &h, d), EPERM);
}

TEST_F(Cred, CapabilitiesAllowPieces) {
  COVERS("capset", "chown", "kill", "setuid");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "f", "", 0600));
  auto without = [&](int cap) {
    Caps c = GetCaps();
    c.effective &= ~(1ull << cap);
    CHILD_OK(SetCaps(c));
  };
  EXPECT_CHILD([&] {
    without(CAP_CHOWN);
    CHILD_ERR(chown((dir / "f").c_str(), 5, 5), EPERM);
  });
  ASSERT_OK(chown((dir / "f").c_str(), 1000, 1000));
  EXPECT_CHILD([&] {
    without(CAP_DAC_OVERRIDE);
    CHILD_ERR(open((dir / "f").c_str(), O_RDWR), EACCES);
    CHILD_OK(open((dir / "f").c_str(), O_RDONLY));  // CAP_DAC_READ_SEARCH
    without(CAP_DAC_READ_SEARCH);
    CHILD_ERR(open((dir / "f").c_str(), O_RDONLY), EACCES);
  });
  EXPECT_CHILD([&] {
    without(CAP_FOWNER);
    CHILD_ERR(chmod((dir / "f").c_str(), 0777), EPERM);
  });
  EXPECT_CHILD([&] {
    without(CAP_SETUID);
    CHILD_ERR(syscall(SYS_setuid, 1000), EPERM);
    without(CAP_SETGID);
    CHILD_ERR(syscall(SYS_setgid, 1000), EPERM);
    CHILD_ERR(syscall(SYS_setgroups, 0, nullptr), EPERM);
  });
  EXPECT_CHILD([&] {
    without(CAP_SYS_CHROOT);
    CHILD_ERR(chroot("/"), EPERM);
    without(CAP_MKNOD);
    CHILD_ERR(mknod((dir / "n").c_str(), S_IFCHR | 0600, 0x103), EPERM);
    without(CAP_SYS_ADMIN);
    CHILD_ERR(sethostname("x", 1), EPERM);
    without(CAP_SYS_NICE);
    CHILD_ERR(setpriority(PRIO_PROCESS, 0, -5), EACCES);
  });
}

TEST_F(Cred, BoundingSetAndExec) {
  COVERS("prctl", "execve");
  EXPECT_RET(prctl(PR_CAPBSET_READ, CAP_CHOWN), 1);
  EXPECT_ERR(prctl(PR_CAPBSET_READ, 99), EINVAL);
  EXPECT_CHILD([] {
    CHILD_OK(prctl(PR_CAPBSET_DROP, CAP_KILL));
    CHILD_RET(prctl(PR_CAPBSET_READ, CAP_KILL), 0);
    CHILD_CHECK(GetCaps().permitted & 1ull << CAP_KILL);  // until the next exec
    int p[2];
    CHILD_OK(pipe(p));
    pid_t pid = fork();
    if (pid == 0) {
      dup2(p[1], 1);
      execl("/bin/cat", "cat", "/proc/self/status", nullptr);
      _exit(1);
    }
    close(p[1]);
    std::string s = ReadAllFd(p[0]);
    WaitFor(pid);
    size_t at = s.find("CapPrm:\t");
    CHILD_CHECK(at != std::string::npos);
    uint64_t v = strtoull(s.c_str() + at + 8, nullptr, 16);
    CHILD_CHECK(v != 0 && !(v & 1ull << CAP_KILL));
  });
  EXPECT_CHILD([] {
    systest::BecomeNobody();
    CHILD_ERR(prctl(PR_CAPBSET_DROP, CAP_KILL), EPERM);
  });
}

TEST_F(Cred, ExecAsUserDropsUnlessAmbient) {
  COVERS("prctl", "execve", "capset");
  auto effective_after_exec = [](bool ambient) {
    int p[2];
    EXPECT_OK(pipe(p));
    pid_t pid = Spawn([&] {
      prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
      if (syscall(SYS_setresuid, 1000, 1000, 1000) != 0) return 1;
      Caps c = GetCaps();
      c.effective = c.permitted;
      c.inheritable = 1ull << CAP_KILL;
      if (SetCaps(c) != 0) return 2;
      if (ambient && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) != 0) return 3;
      dup2(p[1], 1);
      execl("/bin/cat", "cat", "/proc/self/status", nullptr);
      return 4;
    });
    close(p[1]);
    std::string s = ReadAllFd(Fd(p[0]));
    EXPECT_EXIT_STATUS(WaitFor(pid), 0);
    size_t at = s.find("CapEff:\t");
    return at == std::string::npos ? ~0ull : strtoull(s.c_str() + at + 8, nullptr, 16);
  };
  EXPECT_EQ(effective_after_exec(false), 0u);
  EXPECT_EQ(effective_after_exec(true), 1ull << CAP_KILL);
}

TEST_F(Cred, SecureBits) {
  COVERS("prctl");
  EXPECT_CHILD([] {
    CHILD_RET(prctl(PR_GET_SECUREBITS), 0);
    CHILD_OK(prctl(PR_SET_SECUREBITS, 4));  // NO_SETUID_FIXUP
    Caps before = GetCaps();
    CHILD_OK(syscall(SYS_setresuid, 1000, 1000, 1000));
    CHILD_EQ(GetCaps().effective, before.effective);
    CHILD_ERR(prctl(PR_SET_SECUREBITS, 1 << 20), EPERM);
  });
}

TEST_F(Cred, NoNewPrivs) {
  COVERS("prctl", "fork");
  EXPECT_CHILD([] {
    CHILD_RET(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    CHILD_ERR(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    CHILD_ERR(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
    CHILD_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHILD_RET(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    pid_t pid = fork();
    if (pid == 0) _exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    CHILD_EQ(WaitFor(pid), 1 << 8);
  });
}

TEST_F(Cred, SignalPermissions) {
  COVERS("kill", "setresuid");
  // Allowed when the sender's real or effective id is the target's real or saved one.
  EXPECT_CHILD([] {
    int p[2];
    CHILD_OK(pipe(p));
    pid_t target = fork();
    if (target == 0) {
      CHILD_OK(syscall(SYS_setresuid, 1000, 2000, 3000));
      (void)!write(p[1], "x", 1);
      pause();
      _exit(0);
    }
    char c;
    CHILD_RET(read(p[0], &c, 1), 1);
    auto may = [&](uid_t r, uid_t e) {
      pid_t pid = fork();
      if (pid == 0) {
        CHILD_OK(syscall(SYS_setresuid, r, e, e));
        _exit(kill(target, 0) == 0 ? 1 : 0);
      }
      return WEXITSTATUS(WaitFor(pid));
    };
    CHILD_EQ(may(1000, 5), 1);
    CHILD_EQ(may(5, 1000), 1);
    CHILD_EQ(may(3000, 5), 1);
    CHILD_EQ(may(5, 3000), 1);
    CHILD_EQ(may(2000, 2000), 0);
    CHILD_EQ(may(5, 5), 0);
    CHILD_OK(kill(target, SIGKILL));
    WaitFor(target);
  });
}

TEST_F(Cred, NewProcessKeepsIdsNewFileTakesThem) {
  COVERS("fork", "openat");
  TempDir dir;
  ASSERT_OK(chmod(dir.path().c_str(), 0777));
  EXPECT_CHILD([&] {
    CHILD_OK(syscall(SYS_setresgid, 7, 8, 9));
    CHILD_OK(syscall(SYS_setresuid, 4, 5, 6));
    pid_t pid = fork();
    if (pid == 0) {
      ExpectIds(4, 5, 6);
      CHILD_OK(open((dir / "f").c_str(), O_CREAT | O_RDWR, 0600));
      _exit(0);
    }
    CHILD_EQ(WaitFor(pid), 0);
  });
  struct stat st {};
  ASSERT_OK(stat((dir / "f").c_str(), &st));
  EXPECT_EQ(st.st_uid, 5u);
  EXPECT_EQ(st.st_gid, 8u);
}

}  // namespace
