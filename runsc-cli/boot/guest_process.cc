#include "runsc-cli/boot/guest_process.h"

#include "platform/host/host.h"
#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/guest_ids.h"
#include "sentry/fs/hostfd/host_file.h"

namespace runsc {
namespace {

using base::Ref;
using base::Status;
using sentry::Creds;
using sentry::Path;
using sentry::Vfs;
using sentry::VfsContext;

constexpr int64_t kDrainNs = 1000000000;
constexpr uint64_t kFdLimit = 1 << 20;

// The file that execvp(3) would find, by the process's PATH. *status: what a shell would exit with
// if there is none.
base::Result<std::string> FindProgram(const VfsContext& ctx, const ProcessSpec& process,
                                      int* status) {
  const std::string& name = process.program.empty() ? process.args[0] : process.program;
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
  for (const std::string& e : process.env) {
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

// The place and the program of a process, found with its own rights.
struct Found {
  Ref<const Creds> creds;
  Path root, cwd;
  std::string program;
  StartFailure failure;
};

Found Find(const Place& c, const ProcessSpec& process) {
  Found f;
  base::Result<Ref<const Creds>> creds = CredsOf(c, process);
  if (!creds.ok()) {
    f.failure = {"process.user: the container's user namespace does not have the ids of uid " +
                     std::to_string(process.uid) + ", gid " + std::to_string(process.gid) +
                     " and its groups; linux.uidMappings and gidMappings say which it has",
                 kExitFailure};
    return f;
  }
  f.creds = *creds;
  f.root = c.mounts->root();
  // Changing there takes no right of the process: runc does it before it gives rights up.
  const Creds privileged = SetUpCreds(c);
  VfsContext boot{privileged, f.root, f.root, *c.mounts, 022};
  sentry::ResolveFlags directory;
  directory.directory = true;
  base::Result<Path> cwd = Vfs::Resolve(boot, nullptr, process.cwd, directory);
  if (!cwd.ok()) {
    f.failure = {"the working directory " + process.cwd + " does not exist in the sandbox (" +
                     abi::ErrnoName(cwd.error().guest_errno()) +
                     "); --cwd or process.cwd names another",
                 kExitNotFound};
    return f;
  }
  f.cwd = *cwd;
  VfsContext ctx{*f.creds, f.root, f.cwd, *c.mounts, process.umask};
  int status = 0;
  base::Result<std::string> program = FindProgram(ctx, process, &status);
  if (program.ok()) {
    f.program = *program;
    return f;
  }
  const bool missing = program.is(abi::Errno::kENOENT);
  f.failure = {
      "exec: \"" + process.args[0] + "\": " +
          (missing && process.args[0].find('/') == std::string::npos
               ? "executable file not found in $PATH"
           : missing                         ? "no such file or directory"
           : program.is(abi::Errno::kEACCES) ? "permission denied"
                                             : abi::ErrnoName(program.error().guest_errno())),
      status};
  return f;
}

}  // namespace

// hooks.startContainer: programs of the guest, one after the other, before its own begins.
StartFailure GuestProcess::RunStartHooks(const Place& c, const ProcessSpec& process,
                                         const base::UniqueFd& state) {
  for (const HookSpec& h : c.spec->hooks.start_container) {
    ProcessSpec p = process;
    p.program = h.path;
    p.args = h.args.empty() ? std::vector<std::string>{h.path} : h.args;
    p.env = h.env;
    Streams streams;
    streams.null_output = true;
    if (state.valid()) {
      host::Lseek(state.get(), 0, SEEK_SET);
      streams.stdio[0].reset(static_cast<int>(host::Dup(state.get())));
    }
    std::atomic<uint32_t> done{0};
    int32_t status = 0;
    Ref<GuestProcess> running;
    const StartFailure f = Start(
        c, p, std::move(streams), false, 0,
        [&](int32_t s) {
          status = s;
          done.store(1);
          host::FutexWake(&done, 1);
        },
        &running);
    if (f.status != 0) return f;
    while (done.load() == 0) host::FutexWait(&done, 0);
    if (status != 0) {
      return {"error running startContainer hook " + h.path + ": exit status " +
                  std::to_string(ExitCode(status)),
              kExitFailure};
    }
  }
  return {};
}

StartFailure GuestProcess::Check(const Place& c, const ProcessSpec& process) {
  return Find(c, process).failure;
}

Status GuestProcess::OpenStreams(const Place& place, const VfsContext& ctx,
                                 const ProcessSpec& process, Streams streams,
                                 sentry::FdTable& fds) {
  sentry::Console* console = nullptr;
  const Owner owner = OwnerOf(place, process.uid, process.gid);
  if (streams.console_in.valid()) {
    // The container's own devpts if it has one, else one that only the console lives in.
    Ref<sentry::Devpts> devpts = place.devpts;
    if (!devpts) devpts = sentry::Devpts::Create(kernel_, {});
    auto made = sentry::Console::Create(*devpts, std::move(streams.console_in),
                                        std::move(streams.console_out), owner.uid, owner.gid);
    if (!made.ok()) return made.status();
    auto terminal = base::MakeRef<Terminal>();
    terminal->console = std::move(made).value();
    console = terminal->console.get();
    console->SetWindowSize({streams.rows, streams.columns, 0, 0});
    base::MutexLock l(mu_);
    terminal_ = std::move(terminal);
  }
  auto install = [&](int at, Ref<sentry::File> file) -> Status {
    if (!fds.InstallAt(at, std::move(file), false, kFdLimit).ok())
      return Status::Error("descriptor " + std::to_string(at));
    return {};
  };
  auto host_file = [&](int at, base::UniqueFd fd) -> Status {
    auto file = sentry::HostFile::Create(std::move(fd), owner.uid, owner.gid);
    if (!file.ok())
      return Status::Error("descriptor " + std::to_string(at) + " of the caller can't be used");
    return install(at, *file);
  };
  for (int i = 0; i < 3; i++) {
    if (console != nullptr && streams.terminal[i]) {
      base::Result<Ref<sentry::File>> slave = console->OpenSlave();
      if (!slave.ok()) return Status::Error("the console can't be opened");
      RETURN_IF_ERROR(install(i, *slave));
    } else if (streams.stdio[i].valid()) {
      RETURN_IF_ERROR(host_file(i, std::move(streams.stdio[i])));
    } else if (i > 0 && streams.null_output) {
      sentry::OpenFlags how;
      how.flags = abi::kO_WRONLY;
      base::Result<Ref<sentry::File>> null = Vfs::Open(ctx, nullptr, "/dev/null", how);
      if (null.ok()) RETURN_IF_ERROR(install(i, *null));
    }
  }
  for (size_t i = 0; i < streams.extra.size(); i++) {
    RETURN_IF_ERROR(host_file(static_cast<int>(i) + 3, std::move(streams.extra[i])));
  }
  return {};
}

StartFailure GuestProcess::Start(const Place& c, const ProcessSpec& process, Streams streams,
                                 bool first, int32_t host_pid, std::function<void(int32_t)> on_exit,
                                 Ref<GuestProcess>* out, const base::UniqueFd& state) {
  Found found = Find(c, process);
  if (found.failure.status != 0) return found.failure;
  auto self = base::MakeRef<GuestProcess>(*c.kernel, host_pid);
  sentry::Kernel::InitProcess p;
  p.fds = base::MakeRef<sentry::FdTable>();
  const VfsContext ctx{*found.creds, found.root, found.cwd, *c.mounts, process.umask};
  Status opened = self->OpenStreams(c, ctx, process, std::move(streams), *p.fds);
  if (!opened.ok()) return {opened.text(), kExitFailure};
  p.exec.filename = found.program;
  p.exec.argv = process.args;
  p.exec.envp = process.env;
  p.creds = found.creds;
  p.mounts = c.mounts;
  p.container = c.limits;
  p.pid_ns = c.pid_ns;
  p.uts_ns = c.uts_ns;
  p.ipc_ns = c.ipc_ns;
  p.root = found.root;
  p.cwd = found.cwd;
  p.umask = process.umask;
  p.no_new_privs = process.no_new_privs;
  p.seccomp = c.spec->seccomp;
  p.personality = c.spec->personality;
  p.oom_score_adj = process.oom_score_adj.value_or(0);
  p.killable = first && process.killable;
  for (const RlimitSpec& l : process.rlimits) p.limits.Set(l.resource, {l.soft, l.hard});
  if (Ref<Terminal> t = self->terminal()) p.controlling_tty = t->console->terminal();
  StartFailure hook;
  if (first && !c.spec->hooks.start_container.empty()) {
    p.before_first = [&] {
      hook = RunStartHooks(c, process, state);
      return hook.status == 0;
    };
  }
  auto started =
      c.kernel->StartProcess(std::move(p), [self, on_exit = std::move(on_exit)](int32_t status) {
        self->Ended();
        on_exit(status);
      });
  if (hook.status != 0) return hook;
  if (!started.ok()) {
    const abi::Errno e = started.error().guest_errno();
    const char* why =
        e == abi::Errno::kENOEXEC ? "exec format error: neither an ELF program nor a script with #!"
        : e == abi::Errno::kENOENT
            ? "no such file or directory (of the program, its interpreter or its loader)"
        : e == abi::Errno::kEACCES ? "permission denied"
                                   : abi::ErrnoName(e);
    return {"exec: \"" + process.args[0] + "\": " + why,
            e == abi::Errno::kENOENT ? kExitNotFound : kExitNotExecutable};
  }
  self->group_ = *started;
  *out = std::move(self);
  return {};
}

Ref<GuestProcess::Terminal> GuestProcess::terminal() {
  base::MutexLock l(mu_);
  return terminal_;
}

void GuestProcess::Ended() {
  exited_.store(true, std::memory_order_release);
  Ref<Terminal> t = terminal();
  if (!t) return;
  t->console->Drain(kDrainNs);
  base::MutexLock l(mu_);
  // The reference outside is the last one: the console's end takes other locks.
  terminal_ = nullptr;
}

void GuestProcess::Signal(int sig) {
  if (sig <= 0 || sig > 64 || exited()) return;
  abi::SigInfo info{};
  info.signo = sig;
  info.code = abi::kSI_USER;
  (void)kernel_.SendToGroup(*group_, info, true);
}

void GuestProcess::SetWindowSize(uint16_t rows, uint16_t columns) {
  if (Ref<Terminal> t = terminal()) t->console->SetWindowSize({rows, columns, 0, 0});
}

}  // namespace runsc
