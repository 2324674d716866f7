#include "tests/bench/guest.h"

#include <atomic>
#include <vector>

#include "platform/base/log.h"
#include "platform/systrap/systrap.h"
#include "sentry/kernel/kernel.h"
#include "syscalls/abi/capability.h"
#include "syscalls/linux/dispatch.h"

namespace bench {
namespace {

using sentry::Kernel;
using sentry::UserAddr;

constexpr uint64_t kCode = 0x400000, kDataSize = 1 << 20;
constexpr uint64_t kCallback = 1000;  // no system call of Linux

std::span<const uint8_t> guest_code;
uint64_t guest_count;
const std::function<void(sentry::Task&)>* callback;

base::Result<Kernel::LoadedImage> Load(Kernel& k, const sentry::TaskVfs&, const sentry::ExecArgs&,
                                       const sentry::Creds&, bool, const sentry::Limits&) {
  Kernel::LoadedImage im;
  im.mm = TRY(sentry::MemoryManager::Create(k.platform()));
  sentry::MmapArgs m;
  m.fixed = true;
  m.addr = kCode;
  m.len = sentry::kPageSize;
  m.prot = platform::kProtRead | platform::kProtWrite | platform::kProtExec;
  TRY(im.mm->Mmap(m));
  TRY(im.mm->CopyOut(UserAddr{kCode}, guest_code.data(), guest_code.size()));
  m.addr = kData;
  m.len = kDataSize;
  m.prot = platform::kProtRead | platform::kProtWrite;
  TRY(im.mm->Mmap(m));
  im.regs = {};
  im.regs.rip = kCode;
  im.regs.rsp = kData + kDataSize;
  im.regs.rbx = guest_count;
  im.regs.eflags = platform::kFixedEflags;
  im.regs.cs = platform::kUserCs;
  im.regs.ss = platform::kUserSs;
  im.regs.orig_rax = UINT64_MAX;
  im.comm = "guest";
  return im;
}

sentry::SyscallResult Callback(sentry::Task& task, const sentry::SyscallArgs&) {
  (*callback)(task);
  return 0;
}

GUEST_CODE(call_back, R"(
  mov $1000, %eax
  syscall
  xor %edi, %edi
  mov $231, %eax  # exit_group
  syscall
)");

}  // namespace

void RunGuest(std::span<const uint8_t> code, uint64_t count) {
  guest_code = code;
  guest_count = count;
  auto platform = platform::systrap::Create({});
  CHECK(platform.ok());
  const sentry::SyscallTable& table = syscalls::LinuxTable();
  std::vector<sentry::SyscallFn> fn(table.fn.begin(), table.fn.end());
  fn.resize(kCallback, table.unknown);
  fn.push_back(Callback);

  sentry::KernelOptions o{};
  o.platform = platform.value().get();
  o.syscalls = {fn, table.unknown};
  std::atomic<int32_t> status{-1};
  {
    Kernel kernel(o);
    kernel.set_loader(Load);
    Kernel::InitProcess p;
    p.exec.filename = "guest";
    auto creds = base::MakeRef<sentry::Creds>();
    creds->permitted = creds->effective = creds->bounding = uapi::kCapFullSet;
    p.creds = creds;
    p.fds = base::MakeRef<sentry::FdTable>();
    CHECK(kernel.StartProcess(std::move(p), [&](int32_t s) { status = s; }).ok());
    kernel.WaitAll();
  }
  platform.value()->Shutdown();
  CHECK(status == 0);
}

void RunInTask(const std::function<void(sentry::Task&)>& f) {
  callback = &f;
  RunGuest(call_back, 1);
}

}  // namespace bench
