// The whole second wall with the engine behind it: namespaces, empty root, no rights, filter; and
// guests that still run.
#include "platform/host/jail.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "platform/api/platform.h"
#include "platform/host/filter.h"
#include "platform/host/host.h"
#include "platform/host/safe_copy.h"
#include "platform/ptrace/ptrace.h"
#include "platform/stub/host_vdso.h"
#include "platform/systrap/systrap.h"

namespace platform {
namespace {

// mov $39, %eax; syscall; jmp back
constexpr uint8_t kLoop[] = {0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7};

[[noreturn]] void Fail(const char* what, const base::Status& status = {}) {
  fprintf(stderr, "in the jail: %s: %s\n", what, status.text().c_str());
  _exit(1);
}

using Factory = base::StatusOr<std::unique_ptr<Platform>> (*)(const Options&);

[[noreturn]] void Jailed(Factory create, uint32_t roles) {
  auto root = host::MakeEmptyRoot(0);
  if (!root.ok()) Fail("root", root.status());
  host::SetMemoryDir(root->dir.get());
  if (auto s = host::DropRights({}); !s.ok()) Fail("rights", s);
  auto engine = create({});
  if (!engine.ok()) Fail("engine", engine.status());
  host::InstallFaultHandler();
  if (auto s = host::InstallFilter(roles, host::Violation::kReport); !s.ok()) Fail("filter", s);
  if (host::Getpid() != 1) Fail("not process 1");
  if (host::Call<SYS_openat>(AT_FDCWD, "/proc/self/maps", O_RDONLY, 0) >= 0)
    Fail("the host's /proc is visible");
  if (host::Call<SYS_openat>(AT_FDCWD, "/../etc/passwd", O_RDONLY, 0) >= 0)
    Fail("the host's files are visible");
  if (host::Call<SYS_tgkill>(2, 2, 0) == 0 && host::Call<SYS_tgkill>(400, 400, 0) == 0)
    Fail("host processes visible");
  base::UniqueFd ro;
  base::UniqueFd file(static_cast<int>(host::CreateMemoryFile(&ro)));
  if (!file || !ro) Fail("memory file");
  host::Ftruncate(file.get(), 1 << 20);
  if (host::Write(ro.get(), "x", 1) >= 0) Fail("the read-only view is writable");
  host::Pwrite(file.get(), kLoop, sizeof kLoop, 0);
  auto map_file = base::MakeRef<MapFile>(std::move(file));
  for (int i = 0; i < 20; i++) {
    auto as = (*engine)->NewAddressSpace();
    if (!as.ok()) Fail("address space");
    (*as)->Map(0x400000, 4096, map_file, 0, kProtRead | kProtExec);
    Regs r{};
    r.rip = 0x400000;
    auto t = (*as)->NewThread(nullptr, r, {});
    if (!t.ok()) Fail("thread");
    for (int n = 0; n < 100; n++) {
      if ((*t)->Run().kind != Stop::Kind::kSyscall) Fail("run");
      (*t)->SetReturn(0);
    }
    auto t2 = (*as)->NewThread(t->get(), r, {});
    if (!t2.ok() || (*t2)->Run().kind != Stop::Kind::kSyscall) Fail("second thread");
  }
  (*engine)->Shutdown();
  fflush(nullptr);
  host::ExitGroup(42);
}

void RunJailed(Factory create, uint32_t roles) {
  stub::LocateVdso();
  auto pid = host::ForkIntoNamespaces(
      {.namespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET});
  ASSERT_TRUE(pid.ok()) << pid.status().text();
  if (*pid == 0) Jailed(create, roles);
  int status;
  ASSERT_EQ(waitpid(*pid, &status, 0), *pid);
  EXPECT_EQ(status, 42 << 8);
}

TEST(Jail, GuestsRunBehindTheSecondWall) { RunJailed(&systrap::Create, host::kSentry); }
TEST(Jail, WithPtrace) { RunJailed(&ptrace::Create, host::kSentry | host::kPtrace); }

TEST(Jail, UnprivilegedToo) {
  pid_t pid = fork();
  if (pid == 0) {
    if (setresgid(12345, 12345, 12345) != 0 || setresuid(12345, 12345, 12345) != 0) _exit(77);
    host::Call<SYS_prctl>(4 /* PR_SET_DUMPABLE */, 1);
    auto child = host::ForkIntoNamespaces(
        {.namespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET});
    if (!child.ok()) Fail("fork", child.status());
    if (*child == 0) Jailed(&systrap::Create, host::kSentry);
    int status;
    waitpid(*child, &status, 0);
    _exit(status >> 8);
  }
  int status;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  if (status == 77 << 8) GTEST_SKIP() << "needs root to become somebody else";
  EXPECT_EQ(status, 42 << 8);
}

}  // namespace
}  // namespace platform
