#include "runsc-cli/boot/sentry_main.h"

#include <malloc.h>

#include <algorithm>
#include <memory>

#include "gofer/client/client.h"
#include "platform/base/log.h"
#include "platform/host/filter.h"
#include "platform/host/host.h"
#include "platform/host/jail.h"
#include "platform/host/safe_copy.h"
#include "platform/stub/host_vdso.h"
#include "runsc-cli/boot/control_server.h"
#include "runsc-cli/boot/guest_ids.h"
#include "runsc-cli/boot/mounts.h"
#include "sentry/kernel/kernel.h"
#include "sentry/loader/loader.h"
#include "sentry/socket/inet/inet.h"
#include "sentry/socket/netgofer/outside.h"
#include "syscalls/linux/dispatch.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/strace.h"

namespace runsc {
namespace {

using base::Status;

int log_fd = -1;

void WriteTrace(std::string_view line) { host::Write(log_fd, line.data(), line.size()); }

// All arenas but the first grow by a page and a system call at a time (glibc's grow_heap()): what
// is learnt of a large tree would take thousands. So threads share the first, unless so many run at
// once that they would wait for each other.
void LimitArenas() {
  constexpr int kCpusPerArena = 4;
  mallopt(M_ARENA_MAX, std::max(host::UsableCpus() / kCpusPerArena, 1));
}

// Until there is nothing left to prepare, the sandbox's rights shrink; what is left then is what
// untrusted code may attack.
base::StatusOr<std::unique_ptr<platform::Platform>> Confine(SentryArgs& args) {
  const uint32_t roles = EngineRoles(args.engine);
  // While /proc is in sight: the guests' clocks run without a system call.
  platform::stub::LocateVdso();
  RETURN_IF_ERROR(host::LimitThreads(args.host_threads));
  auto root = host::MakeEmptyRoot(GuestMemory(args.spec->resources, args.machine));
  if (!root.ok()) return root.status();
  host::SetMemoryDir(root->dir.Release());
  host::InstallFaultHandler();
  auto platform = MakeEngine(std::move(args.engine), {.patch = !args.settings->no_patch});
  if (!platform.ok()) return platform.status();
  RETURN_IF_ERROR(host::DropRights({.outlive = args.outlive}));
  RETURN_IF_ERROR(host::InstallFilter(
      roles, args.settings->debug ? host::Violation::kReport : host::Violation::kKill));
  return platform;
}

}  // namespace

Status SentryMain(SentryArgs args, int* exit_status) {
  LimitArenas();
  const Settings& settings = *args.settings;
  log_fd = args.log.get();
  base::SetLog(log_fd, settings.debug ? base::LogLevel::kDebug : base::LogLevel::kWarning);
  const EngineRow& engine = *args.engine.row;
  auto platform = Confine(args);
  if (!platform.ok()) return platform.status();
  auto gofer = base::MakeRef<gofer::Client>(std::move(args.gofer));

  sentry::KernelOptions o;
  // Nothing here is ever destroyed: the process ends, and its threads may still look at it.
  o.platform = std::move(platform).value().release();
  o.syscalls = syscalls::LinuxTable();
  if (settings.strace) o.hooks = syscalls::StraceHooks(&WriteTrace);
  const Share share = ShareOf(args.spec->resources, args.machine);
  o.cpu_count = share.cpus;
  o.memory_bytes = share.memory_bytes;
  o.max_tasks = share.tasks;
  o.hostname = args.spec->hostname;
  if (!args.spec->domainname.empty()) o.domainname = args.spec->domainname;
  // The heuristic is about the machine, whatever a control group allows.
  sentry::MemoryManager::memory_bytes.store(args.machine.memory_bytes);
  o.user_ns = MakeUserNamespace(base::MakeRef<sentry::UserNamespace>(), *args.spec);
  auto* kernel = new sentry::Kernel(o);
  kernel->set_loader(&sentry::LoadProgram);
  InstallFileSystems(*kernel);
  sentry::StartNetwork(*kernel, settings.network.raw);
  if (args.network) sentry::NetGoferOutside::Attach(*kernel, std::move(args.network));
  std::string warnings;
  Place place{.kernel = kernel,
              .spec = args.spec,
              .limits = kernel->root_container(),
              .cgroup = base::MakeRef<sentry::CgroupView>(*kernel, kernel->root_container(),
                                                          kernel->root_pid_ns()),
              .user_ns = o.user_ns,
              .pid_ns = kernel->root_pid_ns(),
              .ipc_ns = kernel->root_ipc_ns()};
  place.cgroup->Set(LimitsOf(args.spec->resources));
  RETURN_IF_ERROR(MakeMounts(
      {.overlay = settings.overlay != "none", .gofer_mounts = args.gofer_mounts, .client = gofer},
      &place, &warnings));

  auto first = base::MakeRef<GuestContainer>(
      GuestContainer::Options{.id = args.spec->id,
                              .place = std::move(place),
                              .spec = nullptr,  // lives as long as the process
                              .machine = args.machine,
                              .streams = std::move(args.streams),
                              .listen = std::move(args.listen),
                              .resized = std::move(args.resized)});
  auto* server = new ControlServer(std::move(first), std::move(gofer), std::move(args.control));
  if (!warnings.empty()) server->Report(warnings);
  const StartFailure failure = args.start_at_once ? server->StartFirst() : server->Check();
  if (failure.status != 0) {
    server->Fail(failure);
    return {};
  }
  if (!args.start_at_once) server->Ready();
  RETURN_IF_ERROR(server->Serve());
  const int32_t wait_status = server->Wait();
  if (settings.gaps) server->Report(syscalls::GapsAsJson() + "\n");
  if (settings.stats) server->Report(EngineStats(engine, *o.platform));
  server->Ended();
  *exit_status = ExitCode(wait_status);
  return {};
}

}  // namespace runsc
