#include "runsc-cli/boot/sentry_main.h"

#include <sys/socket.h>

#include <cstring>
#include <memory>

#include "gofer/client/client.h"
#include "platform/base/log.h"
#include "platform/host/filter.h"
#include "platform/host/host.h"
#include "platform/host/jail.h"
#include "platform/host/safe_copy.h"
#include "platform/host/thread.h"
#include "platform/ptrace/ptrace.h"
#include "platform/stub/zygote.h"
#include "platform/systrap/systrap.h"
#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/mounts.h"
#include "sentry/fs/devpts/console.h"
#include "sentry/fs/hostfd/host_file.h"
#include "sentry/kernel/kernel.h"
#include "sentry/loader/loader.h"
#include "sentry/socket/inet/inet.h"
#include "syscalls/linux/dispatch.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/strace.h"

namespace runsc {
namespace {

using base::Ref;
using base::Status;
using sentry::Creds;
using sentry::Kernel;
using sentry::Path;
using sentry::Vfs;

struct EngineRow {
  const char* name;
  base::StatusOr<std::unique_ptr<platform::Platform>> (*create)(const platform::Options&);
  uint32_t roles;
};
constexpr EngineRow kEngines[] = {
    {"systrap", platform::systrap::Create, host::kSentry},
    {"ptrace", platform::ptrace::Create, host::kSentry | host::kPtrace},
};

int log_fd = -1;

void WriteTrace(std::string_view line) { host::Write(log_fd, line.data(), line.size()); }

class Boot {
 public:
  explicit Boot(SentryArgs args) : args_(std::move(args)), spec_(*args_.spec) {}
  Status Run();

 private:
  Status Confine();
  Status StartInit();
  // The file that execvp(3) would find, by the container's PATH. *status: what a shell would exit
  // with if there is none.
  base::Result<std::string> FindProgram(const sentry::VfsContext& ctx, int* status);
  Status OpenStdio();
  void Fail(const std::string& text, int status);
  void Send(ControlMessage::Kind kind, int32_t value, std::string_view text = {});
  static void ControlThread(void* self) { static_cast<Boot*>(self)->ControlLoop(); }
  void ControlLoop();

  SentryArgs args_;
  const Spec& spec_;
  std::unique_ptr<platform::Platform> platform_;
  std::unique_ptr<Kernel> kernel_;
  Ref<gofer::Client> gofer_;
  Ref<const Creds> creds_;
  Ref<sentry::MountNamespace> mounts_;
  Ref<sentry::FdTable> fds_;
  std::unique_ptr<sentry::Console> console_;
  Ref<sentry::ThreadGroup> init_;
  int32_t exit_status_ = 0;
  bool failed_ = false;
};

void Boot::Send(ControlMessage::Kind kind, int32_t value, std::string_view text) {
  ControlMessage m;
  m.kind = kind;
  m.value = value;
  m.text_len = static_cast<uint32_t>(std::min<size_t>(text.size(), ControlMessage::kMaxText));
  memcpy(m.text, text.data(), m.text_len);
  iovec v{&m, kControlHeader + m.text_len};
  host::SendWithFds(args_.control.get(), std::span<const iovec>(&v, 1), {}, 0);
}

void Boot::Fail(const std::string& text, int status) {
  failed_ = true;
  Send(ControlMessage::kFailed, status, text);
}

Status Boot::Confine() {
  const EngineRow* engine = nullptr;
  for (const EngineRow& e : kEngines) {
    if (args_.settings->platform == e.name) engine = &e;
  }
  // While /proc is in sight: the guests' clocks run without a system call.
  platform::stub::LocateVdso();
  RETURN_IF_ERROR(host::LimitThreads(args_.host_threads));
  auto root = host::MakeEmptyRoot(args_.memory_bytes);
  if (!root.ok()) return root.status();
  host::SetMemoryDir(root->dir.Release());
  host::InstallFaultHandler();
  auto platform = engine->create({.patch = !args_.settings->no_patch});
  if (!platform.ok()) return platform.status();
  platform_ = std::move(platform).value();
  RETURN_IF_ERROR(host::DropRights({}));
  return host::InstallFilter(
      engine->roles, args_.settings->debug ? host::Violation::kReport : host::Violation::kKill);
}

Status Boot::OpenStdio() {
  fds_ = base::MakeRef<sentry::FdTable>();
  if (args_.console_in >= 0) {
    // The container's own devpts if it has one, else one that only the console lives in.
    Ref<sentry::Devpts> devpts = sentry::Devpts::Default();
    if (!devpts) devpts = sentry::Devpts::Create(*kernel_, {});
    auto dup = [&](int i) {
      return base::UniqueFd(static_cast<int>(host::Dup(args_.stdio[i].get())));
    };
    auto console = sentry::Console::Create(*devpts, dup(args_.console_in), dup(args_.console_out),
                                           spec_.uid, spec_.gid);
    if (!console.ok()) return console.status();
    console_ = std::move(console).value();
    console_->SetWindowSize({args_.rows, args_.columns, 0, 0});
  }
  for (int i = 0; i < 3; i++) {
    if (!args_.stdio[i].valid()) continue;
    Ref<sentry::File> file;
    if (console_ && args_.tty[i]) {
      base::Result<Ref<sentry::File>> slave = console_->OpenSlave();
      if (!slave.ok()) return Status::Error("the console can't be opened");
      file = *slave;
    } else {
      // The console's relay keeps its own descriptor.
      base::UniqueFd fd(static_cast<int>(host::Dup(args_.stdio[i].get())));
      auto host_file = sentry::HostFile::Create(std::move(fd), spec_.uid, spec_.gid);
      if (!host_file.ok())
        return Status::Error("descriptor " + std::to_string(i) + " of the caller can't be used");
      file = *host_file;
    }
    auto at = fds_->InstallAt(i, std::move(file), false, 1024);
    if (!at.ok()) return Status::Error("descriptor " + std::to_string(i));
  }
  return {};
}

base::Result<std::string> Boot::FindProgram(const sentry::VfsContext& ctx, int* status) {
  const std::string& name = spec_.args[0];
  *status = kExitNotFound;
  auto check = [&](const std::string& path) -> base::Result<void> {
    Path p = TRY(Vfs::Resolve(ctx, nullptr, path, {}));
    if (p.dentry->inode()->is_dir()) return abi::Errno::kEACCES;
    return Vfs::CheckAccess(ctx, p, sentry::kMayExec);
  };
  base::Result<void> best = abi::Errno::kENOENT;
  auto attempt = [&](const std::string& path) {
    base::Result<void> r = check(path);
    if (r.is(abi::Errno::kEACCES)) {
      best = r;
      *status = kExitNotExecutable;
    } else if (!r.ok() && best.is(abi::Errno::kENOENT)) {
      best = r;
    }
    return r.ok();
  };
  if (name.find('/') != std::string::npos) {
    if (attempt(name)) return name;
    return best.error();
  }
  std::string path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& e : spec_.env) {
    if (e.compare(0, 5, "PATH=") == 0) path = e.substr(5);
  }
  for (size_t at = 0; at <= path.size() && !name.empty();) {
    size_t colon = std::min(path.find(':', at), path.size());
    std::string dir = path.substr(at, colon - at);
    if (attempt((dir.empty() ? "." : dir) + "/" + name))
      return (dir.empty() ? "." : dir) + "/" + name;
    at = colon + 1;
  }
  return best.error();
}

Status Boot::StartInit() {
  auto creds = base::MakeRef<Creds>();
  creds->uid = creds->euid = creds->suid = creds->fsuid = spec_.uid;
  creds->gid = creds->egid = creds->sgid = creds->fsgid = spec_.gid;
  creds->groups = spec_.groups;
  creds->bounding = spec_.caps_bounding;
  creds->permitted = spec_.caps_permitted;
  creds->effective = spec_.caps_effective;
  creds->inheritable = spec_.caps_inheritable;
  creds->ambient = spec_.caps_ambient;
  creds->user_ns = kernel_->root_user_ns();
  creds_ = creds;

  auto boot_creds = base::MakeRef<Creds>();
  boot_creds->bounding = boot_creds->permitted = boot_creds->effective = kAllCaps;
  boot_creds->user_ns = kernel_->root_user_ns();
  InstallFileSystems();
  sentry::StartNetwork(*kernel_);
  auto mounts = MakeMounts(*kernel_, args_, gofer_, *boot_creds);
  if (!mounts.ok()) return mounts.status();
  mounts_ = std::move(mounts).value();

  const Path root = mounts_->root();
  sentry::VfsContext boot_ctx{*boot_creds, root, root, *mounts_, 022};
  sentry::ResolveFlags directory;
  directory.directory = true;
  base::Result<Path> cwd = Vfs::Resolve(boot_ctx, nullptr, spec_.cwd, directory);
  if (!cwd.ok()) {
    Fail("the working directory " + spec_.cwd + " does not exist in the sandbox (" +
             abi::ErrnoName(cwd.error().guest_errno()) + "); --cwd or process.cwd names another",
         kExitFailure + 2);
    return {};
  }
  RETURN_IF_ERROR(OpenStdio());

  Kernel::InitProcess p;
  sentry::VfsContext ctx{*creds_, root, *cwd, *mounts_, spec_.umask};
  int status = 0;
  base::Result<std::string> program = FindProgram(ctx, &status);
  if (!program.ok()) {
    const bool missing = program.is(abi::Errno::kENOENT);
    Fail("exec: \"" + spec_.args[0] + "\": " +
             (missing && spec_.args[0].find('/') == std::string::npos
                  ? "executable file not found in $PATH"
              : missing                         ? "no such file or directory"
              : program.is(abi::Errno::kEACCES) ? "permission denied"
                                                : abi::ErrnoName(program.error().guest_errno())),
         status);
    return {};
  }
  p.exec.filename = *program;
  p.exec.argv = spec_.args;
  p.exec.envp = spec_.env;
  p.creds = creds_;
  p.mounts = mounts_;
  p.root = root;
  p.cwd = *cwd;
  p.fds = fds_;
  p.umask = spec_.umask;
  p.no_new_privs = spec_.no_new_privs;
  p.killable = spec_.killable;
  for (const RlimitSpec& l : spec_.rlimits) p.limits.Set(l.resource, {l.soft, l.hard});
  if (console_) p.controlling_tty = console_->terminal();
  auto started = kernel_->StartProcess(std::move(p), [this](int32_t s) { exit_status_ = s; });
  if (!started.ok()) {
    const abi::Errno e = started.error().guest_errno();
    const char* why =
        e == abi::Errno::kENOEXEC ? "exec format error: neither an ELF program nor a script with #!"
        : e == abi::Errno::kENOENT
            ? "no such file or directory (of the program, its interpreter or its loader)"
        : e == abi::Errno::kEACCES ? "permission denied"
                                   : abi::ErrnoName(e);
    Fail("exec: \"" + spec_.args[0] + "\": " + why,
         e == abi::Errno::kENOENT ? kExitNotFound : kExitNotExecutable);
    return {};
  }
  init_ = *started;
  return {};
}

void Boot::ControlLoop() {
  for (;;) {
    ControlMessage m;
    size_t n_fds = 0;
    long n = host::RecvWithFds(args_.control.get(), &m, sizeof m, {}, &n_fds, 0);
    // The command is gone, and with it whoever wanted this sandbox.
    if (n < static_cast<long>(kControlHeader)) host::ExitGroup(0);
    if (m.kind == ControlMessage::kSignal && m.value > 0 && m.value <= 64) {
      abi::SigInfo info{};
      info.signo = m.value;
      info.code = abi::kSI_USER;
      (void)kernel_->SendToGroup(*init_, info, true);
    } else if (m.kind == ControlMessage::kWindowSize && console_) {
      console_->SetWindowSize(
          {static_cast<uint16_t>(m.value >> 16), static_cast<uint16_t>(m.value), 0, 0});
    }
  }
}

Status Boot::Run() {
  log_fd = args_.log.get();
  base::SetLog(log_fd, args_.settings->debug ? base::LogLevel::kDebug : base::LogLevel::kWarning);
  RETURN_IF_ERROR(Confine());
  gofer_ = base::MakeRef<gofer::Client>(std::move(args_.gofer));

  sentry::KernelOptions o;
  o.platform = platform_.get();
  o.syscalls = syscalls::LinuxTable();
  if (args_.settings->strace) o.hooks = syscalls::StraceHooks(&WriteTrace);
  o.cpu_count = args_.cpu_count;
  o.memory_bytes = args_.memory_bytes;
  o.hostname = spec_.hostname;
  kernel_ = std::make_unique<Kernel>(o);
  kernel_->set_loader(&sentry::LoadProgram);
  RETURN_IF_ERROR(StartInit());
  if (failed_) return {};
  host::ForgetCode();
  if (host::Thread::StartDetached(&ControlThread, this) != 0)
    return Status::Error("no thread for the command's messages");
  kernel_->WaitAll();
  if (console_) console_->Drain(1000000000);
  if (args_.settings->gaps) Send(ControlMessage::kReport, 0, syscalls::GapsAsJson() + "\n");
  Send(ControlMessage::kExit, exit_status_);
  return {};
}

}  // namespace

Status SentryMain(SentryArgs args) {
  // Never destroyed: the process ends, and its threads may still look at it.
  Boot* boot = new Boot(std::move(args));
  return boot->Run();
}

}  // namespace runsc
