#include "runsc-cli/boot/control_server.h"

#include <poll.h>

#include <algorithm>

#include "platform/host/host.h"
#include "platform/host/thread.h"
#include "sentry/fs/proc/proc.h"

namespace runsc {

using base::Ref;
using base::Status;

namespace {

// What a signal does to the container's process before it has become a program.
bool Terminates(int sig) {
  switch (sig) {
    case abi::kSIGCHLD:
    case abi::kSIGCONT:
    case abi::kSIGURG:
    case abi::kSIGWINCH:
    case abi::kSIGSTOP:
    case abi::kSIGTSTP:
    case abi::kSIGTTIN:
    case abi::kSIGTTOU:
      return false;
    default:
      return sig > 0 && sig <= 64;
  }
}

}  // namespace

ControlServer::ControlServer(Options o)
    : container_(std::move(o.container)),
      streams_(std::move(o.streams)),
      owner_(base::MakeRef<Connection>(std::move(o.owner))),
      listen_(std::move(o.listen)),
      resized_(std::move(o.resized)) {
  owner_->owner = true;
  connections_.push_back(owner_);
  waiters_.push_back(owner_);
  if (resized_.valid()) terminal_.reset(static_cast<int>(host::Dup(streams_.console_in.get())));
}

StartFailure ControlServer::StartFirst(const base::UniqueFd& state) {
  StartFailure f = GuestProcess::Start(
      container_, container_.spec->process, std::move(streams_), true, 0,
      [this](int32_t status) { exit_status_.store(status); }, &first_, state);
  if (f.status != 0) return f;
  started_.store(1, std::memory_order_release);
  host::FutexWake(&started_, 1);
  return f;
}

void ControlServer::Ready() { SendControl(owner_->fd.get(), Control::kReady); }

void ControlServer::Report(const std::string& text) {
  SendControl(owner_->fd.get(), Control::kReport, 0, text);
}

void ControlServer::Fail(const StartFailure& f) {
  SendControl(owner_->fd.get(), Control::kFailed, f.status, f.text);
}

Status ControlServer::Serve() {
  if (host::Thread::StartDetached(&ThreadMain, this) != 0)
    return Status::Error("no thread for the command's messages");
  return {};
}

int32_t ControlServer::Wait() {
  while (started_.load(std::memory_order_acquire) == 0) host::FutexWait(&started_, 0);
  container_.kernel->WaitAll();
  return exit_status_.load();
}

void ControlServer::Ended() {
  std::vector<Ref<Connection>> waiters;
  {
    base::MutexLock l(mu_);
    waiters.swap(waiters_);
  }
  for (const Ref<Connection>& c : waiters)
    SendControl(c->fd.get(), Control::kExit, exit_status_.load());
}

void ControlServer::Loop() {
  std::vector<pollfd> fds;
  for (;;) {
    fds.clear();
    fds.push_back({listen_.get(), POLLIN, 0});
    fds.push_back({resized_.get(), POLLIN, 0});
    for (const Ref<Connection>& c : connections_) fds.push_back({c->fd.get(), POLLIN, 0});
    if (host::Poll(fds.data(), fds.size(), nullptr) <= 0) continue;
    for (size_t i = fds.size() - 1; i >= 2; i--) {
      if (fds[i].revents == 0) continue;
      // Its own reference: the list changes while it is served.
      Ref<Connection> c = connections_[i - 2];
      if (Handle(c)) continue;
      Closed(*c);
      connections_.erase(connections_.begin() + static_cast<long>(i) - 2);
    }
    if (fds[1].revents != 0) Resized();
    if (fds[0].revents != 0) Accept();
  }
}

void ControlServer::Accept() {
  long fd = host::Accept(listen_.get());
  if (fd < 0) return;
  connections_.push_back(base::MakeRef<Connection>(base::UniqueFd(static_cast<int>(fd))));
}

void ControlServer::Resized() {
  uint8_t info[128];  // struct signalfd_siginfo
  host::Read(resized_.get(), info, sizeof info);
  abi::Winsize w{};
  if (host::Ioctl(terminal_.get(), TIOCGWINSZ, &w) == 0 && first_)
    first_->SetWindowSize(w.row, w.col);
}

void ControlServer::Closed(Connection& c) {
  // The command is gone, and with it whoever wanted this sandbox.
  if (c.owner && !c.detached) host::ExitGroup(0);
  // The death of what stands for a process is that of the process.
  if (c.process) c.process->Signal(abi::kSIGKILL);
  base::MutexLock l(mu_);
  std::erase_if(waiters_, [&](const Ref<Connection>& w) { return w.get() == &c; });
}

bool ControlServer::Handle(const Ref<Connection>& c) {
  ControlMessage m;
  if (!ReceiveControl(c->fd.get(), &m)) return false;
  const int fd = c->fd.get();
  GuestProcess* process = c->process ? c->process.get() : c->owner ? first_.get() : nullptr;
  switch (m.kind) {
    case Control::kSignal:
      if (process != nullptr) process->Signal(m.value);
      return true;
    case Control::kWindowSize:
      if (process != nullptr) {
        process->SetWindowSize(static_cast<uint16_t>(m.value >> 16),
                               static_cast<uint16_t>(m.value));
      }
      return true;
    case Control::kStart: {
      if (first_) return SendControl(fd, Control::kFailed, 1, "the container is already running");
      StartFailure f = StartFirst(m.fds.empty() ? base::UniqueFd() : std::move(m.fds[0]));
      if (f.status == 0) return SendControl(fd, Control::kDone);
      SendControl(fd, Control::kFailed, f.status, f.text);
      // There is nothing left that the sandbox could do.
      host::ExitGroup(f.status);
    }
    case Control::kDetach:
      c->detached = true;
      return SendControl(fd, Control::kDone);
    case Control::kExec:
      Exec(c, std::move(m));
      return true;
    case Control::kKill:
    case Control::kKillAll:
      Kill(*c, m.value, m.kind == Control::kKillAll);
      return true;
    case Control::kProcesses:
      return SendControl(fd, Control::kReply, 0, Processes());
    case Control::kIsStarted:
      return SendControl(fd, Control::kReply, first_ ? 1 : 0);
    case Control::kWait: {
      base::MutexLock l(mu_);
      waiters_.push_back(c);
      return true;
    }
    default:
      return false;
  }
}

void ControlServer::Exec(const Ref<Connection>& c, ControlMessage&& m) {
  ProcessSpec process;
  Streams streams;
  const int32_t host_pid = m.value;
  StartFailure f{"the container is not running", kExitFailure};
  if (!DecodeExec(std::move(m), &process, &streams)) {
    f.text = "the request makes no sense";
  } else if (first_ && !first_->exited()) {
    // No cycle: the process lets go of the callback when it has run.
    f = GuestProcess::Start(
        container_, process, std::move(streams), false, host_pid,
        [c](int32_t status) { SendControl(c->fd.get(), Control::kExit, status); }, &c->process);
  }
  if (f.status == 0) {
    SendControl(c->fd.get(), Control::kDone);
  } else {
    SendControl(c->fd.get(), Control::kFailed, f.status, f.text);
  }
}

void ControlServer::Kill(Connection& c, int sig, bool all) {
  if (!first_) {
    SendControl(c.fd.get(), Control::kDone);
    if (Terminates(sig)) host::ExitGroup(128 + sig);
    return;
  }
  if (!all) {
    first_->Signal(sig);
  } else {
    sentry::Kernel& kernel = *container_.kernel;
    std::vector<Ref<sentry::ThreadGroup>> groups;
    {
      base::MutexLock l(kernel.tree_mu);
      for (sentry::ThreadGroup* g : kernel.root_pid_ns()->Groups()) groups.emplace_back(g);
    }
    abi::SigInfo info{};
    info.signo = sig;
    info.code = abi::kSI_USER;
    for (const Ref<sentry::ThreadGroup>& g : groups) (void)kernel.SendToGroup(*g, info, true);
  }
  SendControl(c.fd.get(), Control::kDone);
}

std::string ControlServer::Processes() {
  sentry::Kernel& kernel = *container_.kernel;
  std::vector<std::pair<const sentry::ThreadGroup*, int32_t>> known;
  for (const Ref<Connection>& c : connections_) {
    if (c->process) known.emplace_back(c->process->group(), c->process->host_pid());
  }
  struct Row {
    Ref<sentry::Task> leader;
    int32_t host_pid, pid, parent;
    int64_t cpu_seconds;
  };
  std::vector<Row> rows;
  {
    base::MutexLock l(kernel.tree_mu);
    const sentry::PidNamespace& ns = *kernel.root_pid_ns();
    for (sentry::ThreadGroup* g : ns.Groups()) {
      if (g->zombie || g->leader == nullptr) continue;
      Row row{Ref<sentry::Task>(g->leader), 0, ns.IdOf(*g),
              g->parent != nullptr ? ns.IdOf(*g->parent) : 0, 0};
      if (first_ && g == first_->group()) row.host_pid = -1;
      for (const auto& [group, pid] : known) {
        if (group == g) row.host_pid = pid;
      }
      const abi::Rusage usage = g->Usage();
      row.cpu_seconds = usage.utime.sec + usage.stime.sec;
      rows.push_back(std::move(row));
    }
  }
  const int64_t boot = kernel.clock().Realtime() - kernel.clock().BootTime();
  std::string out;
  for (const Row& row : rows) {
    base::Result<std::string> command = sentry::proc::CommandLine(*row.leader);
    std::string text =
        command.ok() && !command->empty() ? *command : "[" + row.leader->comm() + "]";
    while (!text.empty() && text.back() == '\0') text.pop_back();
    for (char& ch : text) {
      if (static_cast<unsigned char>(ch) < ' ') ch = ' ';
    }
    out +=
        sentry::proc::Format("%d %d %d %u %lld %lld ", row.host_pid, row.pid, row.parent,
                             row.leader->creds_ref()->uid,
                             static_cast<long long>((boot + row.leader->start_time) / 1000000000),
                             static_cast<long long>(row.cpu_seconds)) +
        text + "\n";
  }
  return out;
}

}  // namespace runsc
