#include "runsc-cli/boot/control_server.h"

#include <poll.h>

#include <algorithm>

#include "platform/host/host.h"
#include "platform/host/jail.h"
#include "platform/host/thread.h"
#include "runsc-cli/boot/guest_ids.h"
#include "runsc-cli/boot/mounts.h"
#include "runsc-cli/oci/config.h"

namespace runsc {

using base::Ref;
using base::Status;

namespace {

constexpr int64_t kLookNs = 100000000;     // how often watched containers are looked at
constexpr int64_t kSettleNs = 1000000000;  // how long a start may take

// What a signal does to a container's process before it has become a program.
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

ControlServer::ControlServer(Ref<GuestContainer> first, Ref<gofer::Client> gofer,
                             base::UniqueFd owner)
    : main_(std::move(first)), owner_(base::MakeRef<Caller>(std::move(owner), main_)) {
  owner_->owner = true;
  containers_.push_back(main_);
  SettleLater(std::move(gofer));
  callers_.push_back(owner_);
  main_->AddWaiter(owner_);
}

StartFailure ControlServer::StartFirst(const base::UniqueFd& state) {
  StartFailure f =
      main_->Start([this](GuestContainer&, int32_t status) { exit_status_.store(status); }, state);
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
  main_->place().kernel->WaitAll();
  return exit_status_.load();
}

void ControlServer::Loop() {
  std::vector<pollfd> fds;
  for (;;) {
    std::erase_if(containers_, [this](const Ref<GuestContainer>& c) {
      return c->told() && c.get() != main_.get();
    });
    fds.clear();
    for (const Ref<GuestContainer>& c : containers_) {
      fds.push_back({c->listen(), POLLIN, 0});
      fds.push_back({c->resized(), POLLIN, 0});
    }
    const size_t first_caller = fds.size();
    for (const Ref<Caller>& c : callers_) fds.push_back({c->fd.get(), POLLIN, 0});
    // Nobody calls for those who died for want of memory: they are counted while somebody asks.
    const bool watched = std::any_of(containers_.begin(), containers_.end(),
                                     [](const auto& c) { return c->watched(); });
    int64_t wait = watched ? kLookNs : INT64_MAX;
    if (!unsettled_.empty())
      wait = std::clamp<int64_t>(settle_at_ - host::ClockNow(CLOCK_MONOTONIC), 0, wait);
    timespec look = host::ToTimespec(wait);
    const long ready = host::Poll(fds.data(), fds.size(), wait != INT64_MAX ? &look : nullptr);
    if (!unsettled_.empty() && host::ClockNow(CLOCK_MONOTONIC) >= settle_at_) Settle();
    if (watched) {
      for (const Ref<GuestContainer>& c : containers_) c->TellOoms();
    }
    if (ready <= 0) continue;
    // Before the callers', who may add to both lists: the indices are those of the last turn.
    for (size_t i = 0; i < first_caller; i += 2) {
      if (fds[i + 1].revents != 0) containers_[i / 2]->Resized();
    }
    const size_t containers = containers_.size();
    for (size_t i = fds.size() - 1; i >= first_caller; i--) {
      if (fds[i].revents == 0) continue;
      // Its own reference: the list changes while it is served.
      Ref<Caller> c = callers_[i - first_caller];
      if (Handle(c)) continue;
      Closed(*c);
      callers_.erase(callers_.begin() + static_cast<long>(i - first_caller));
    }
    for (size_t i = 0; i < containers; i++) {
      if (fds[2 * i].revents != 0) Accept(containers_[i]);
    }
  }
}

void ControlServer::SettleLater(Ref<gofer::Client> gofer) {
  unsettled_.push_back(std::move(gofer));
  settle_at_ = host::ClockNow(CLOCK_MONOTONIC) + kSettleNs;
}

void ControlServer::Settle() {
  host::ForgetCode();
  std::erase_if(unsettled_, [](const Ref<gofer::Client>& gofer) { return gofer->Settle(); });
  settle_at_ = host::ClockNow(CLOCK_MONOTONIC) + kSettleNs;
}

void ControlServer::Accept(const Ref<GuestContainer>& container) {
  long fd = host::Accept(container->listen());
  if (fd < 0) return;
  callers_.push_back(base::MakeRef<Caller>(base::UniqueFd(static_cast<int>(fd)), container));
}

void ControlServer::Closed(Caller& c) {
  if (c.owner && !c.detached) {
    // The command is gone, and with it whoever wanted this sandbox.
    if (c.container == main_) host::ExitGroup(0);
    End(*c.container, abi::kSIGKILL);
  }
  // The death of what stands for a process is that of the process.
  if (c.process) c.process->Signal(abi::kSIGKILL);
  c.container->RemoveWaiter(c);
}

void ControlServer::End(GuestContainer& container, int32_t wait_status) {
  if (container.first() == nullptr) return container.TellExit(wait_status);
  container.SignalAll(abi::kSIGKILL);
}

bool ControlServer::Handle(const Ref<Caller>& c) {
  ControlMessage m;
  if (!ReceiveControl(c->fd.get(), &m)) return false;
  const int fd = c->fd.get();
  GuestContainer& container = *c->container;
  GuestProcess* process = c->process ? c->process.get() : c->owner ? container.first() : nullptr;
  switch (m.kind) {
    case Control::kSignal:
      if (process != nullptr) {
        process->Signal(m.value);
      } else if (c->owner && c->container != main_) {
        KillCreated(container, m.value);
      }
      return true;
    case Control::kWindowSize:
      if (process != nullptr) {
        process->SetWindowSize(static_cast<uint16_t>(m.value >> 16),
                               static_cast<uint16_t>(m.value));
      }
      return true;
    case Control::kStart:
      Start(*c, m.fds.empty() ? base::UniqueFd() : std::move(m.fds[0]));
      return true;
    case Control::kDetach:
      c->detached = true;
      return SendControl(fd, Control::kDone);
    case Control::kExec:
      Exec(c, std::move(m));
      return true;
    case Control::kJoin:
      Join(c, std::move(m));
      return true;
    case Control::kKill:
    case Control::kKillAll:
      return Kill(*c, m.value, m.kind == Control::kKillAll);
    case Control::kProcesses:
      return SendControl(fd, Control::kReply, 0, Processes(container));
    case Control::kIsStarted:
      return SendControl(fd, Control::kReply,
                         container.place().limits->frozen.load() ? 2
                         : container.first() != nullptr          ? 1
                                                                 : 0);
    case Control::kFreeze:
      container.place().kernel->SetFrozen(*container.place().limits, m.value != 0);
      return SendControl(fd, Control::kDone);
    case Control::kUpdate: {
      Resources changed;
      if (!DecodeResources(m.body, &changed)) return false;
      container.Update(changed);
      return SendControl(fd, Control::kDone);
    }
    case Control::kWait:
      container.AddWaiter(c);
      return true;
    case Control::kWatch:
      container.AddWatcher(c);
      return true;
    default:
      return false;
  }
}

void ControlServer::Start(Caller& c, const base::UniqueFd& state) {
  GuestContainer& container = *c.container;
  if (container.first() != nullptr) {
    SendControl(c.fd.get(), Control::kFailed, 1, "the container is already running");
    return;
  }
  const bool main = c.container == main_;
  StartFailure f = main ? StartFirst(state)
                        : container.Start(
                              [](GuestContainer& ended, int32_t status) {
                                // What shares its pid namespace with others goes with it too.
                                ended.SignalAll(abi::kSIGKILL);
                                ended.TellExit(status);
                              },
                              state);
  if (f.status == 0) {
    SendControl(c.fd.get(), Control::kDone);
    return;
  }
  SendControl(c.fd.get(), Control::kFailed, f.status, f.text);
  // There is nothing left that it could do.
  if (main) host::ExitGroup(f.status);
  End(container, (f.status & 0xff) << 8);
}

void ControlServer::Exec(const Ref<Caller>& c, ControlMessage&& m) {
  ProcessSpec process;
  Streams streams;
  const int32_t host_pid = m.value;
  StartFailure f{"the container is not running", kExitFailure};
  if (!DecodeExec(std::move(m), &process, &streams)) {
    f.text = "the request makes no sense";
  } else if (c->container->running()) {
    // No cycle: the process lets go of the callback when it has run.
    f = GuestProcess::Start(
        c->container->place(), process, std::move(streams), false, host_pid,
        [c](int32_t status) { SendControl(c->fd.get(), Control::kExit, status); }, &c->process);
  }
  if (f.status == 0) {
    SendControl(c->fd.get(), Control::kDone);
  } else {
    SendControl(c->fd.get(), Control::kFailed, f.status, f.text);
  }
}

void ControlServer::Join(const Ref<Caller>& c, ControlMessage&& m) {
  JoinRequest request;
  Ref<GuestContainer> container;
  std::string warnings;
  Status s = Status::Error("the request makes no sense");
  if (DecodeJoin(std::move(m), &request)) s = Take(std::move(request), &container, &warnings);
  StartFailure f;
  if (s.ok()) f = container->Check();
  if (!s.ok() || f.status != 0) {
    SendControl(c->fd.get(), Control::kFailed, s.ok() ? f.status : kExitFailure,
                s.ok() ? f.text : s.text());
    return;
  }
  containers_.push_back(container);
  c->container = std::move(container);
  c->owner = true;
  c->container->AddWaiter(c);
  SendControl(c->fd.get(), Control::kDone, 0, warnings);
}

Status ControlServer::Take(JoinRequest&& q, Ref<GuestContainer>* out, std::string* warnings) {
  auto spec = std::make_unique<Spec>();
  spec->id = q.id;
  spec->hostname = q.hostname;
  std::vector<std::string> known;  // the command has shown these
  RETURN_IF_ERROR(ParseConfig(q.config, q.bundle, spec.get(), &known));
  spec->seccomp = std::move(q.seccomp);
  const auto binds = std::count_if(spec->mounts.begin(), spec->mounts.end(),
                                   [](const MountSpec& m) { return m.type == "bind"; });
  if (q.mounts.size() != static_cast<size_t>(binds) + 1)
    return Status::Error("the request makes no sense");

  sentry::Kernel& kernel = *main_->place().kernel;
  Place place{.kernel = &kernel, .spec = spec.get()};
  const Share share = ShareOf(spec->resources, q.machine);
  place.limits = base::MakeRef<sentry::Container>(share.cpus, share.memory_bytes, share.tasks);
  auto shared = [&](const std::string& id, const Place** from) -> Status {
    *from = nullptr;
    if (id.empty()) return {};
    const GuestContainer* other = Find(id);
    if (other == nullptr)
      return Status::Error("the container " + id + ", whose namespace is to be joined, has ended");
    *from = &other->place();
    return {};
  };
  const Place* from;
  RETURN_IF_ERROR(shared(q.user_of, &from));
  place.user_ns = from != nullptr ? from->user_ns : MakeUserNamespace(kernel.root_user_ns(), *spec);
  RETURN_IF_ERROR(shared(q.pid_of, &from));
  place.pid_ns = from != nullptr
                     ? from->pid_ns
                     : base::MakeRef<sentry::PidNamespace>(kernel.root_pid_ns(), place.user_ns);
  place.cgroup = base::MakeRef<sentry::CgroupView>(kernel, place.limits, place.pid_ns);
  place.cgroup->Set(LimitsOf(spec->resources));
  RETURN_IF_ERROR(shared(q.ipc_of, &from));
  place.ipc_ns =
      from != nullptr ? from->ipc_ns : base::MakeRef<sentry::IpcNamespace>(place.user_ns);
  RETURN_IF_ERROR(shared(q.uts_of, &from));
  if (from != nullptr) {
    place.uts_ns = from->uts_ns;
  } else {
    place.uts_ns = base::MakeRef<sentry::UtsNamespace>();
    place.uts_ns->owner = place.user_ns;
    base::MutexLock l(place.uts_ns->mu);
    place.uts_ns->nodename = spec->hostname;
    if (!spec->domainname.empty()) place.uts_ns->domainname = spec->domainname;
  }
  const auto gofer = base::MakeRef<gofer::Client>(std::move(q.gofer));
  RETURN_IF_ERROR(MakeMounts({.overlay = q.overlay, .gofer_mounts = q.mounts, .client = gofer},
                             &place, warnings));
  *out = base::MakeRef<GuestContainer>(GuestContainer::Options{.id = std::move(q.id),
                                                               .place = std::move(place),
                                                               .spec = std::move(spec),
                                                               .machine = q.machine,
                                                               .streams = std::move(q.streams),
                                                               .listen = std::move(q.listen),
                                                               .resized = {}});
  SettleLater(gofer);
  return {};
}

const GuestContainer* ControlServer::Find(const std::string& id) const {
  for (const Ref<GuestContainer>& c : containers_) {
    if (c->id() == id) return c.get();
  }
  return nullptr;
}

bool ControlServer::Kill(Caller& c, int sig, bool all) {
  GuestContainer& container = *c.container;
  if (container.first() == nullptr) {
    // First the answer: it may be the sandbox's end.
    SendControl(c.fd.get(), Control::kDone);
    KillCreated(container, sig);
    return true;
  }
  if (all) {
    container.SignalAll(sig);
  } else {
    container.first()->Signal(sig);
  }
  return SendControl(c.fd.get(), Control::kDone);
}

void ControlServer::KillCreated(GuestContainer& container, int sig) {
  if (!Terminates(sig)) return;
  if (&container == main_.get()) host::ExitGroup(128 + sig);
  container.TellExit(sig);
}

std::string ControlServer::Processes(const GuestContainer& container) const {
  std::vector<std::pair<const sentry::ThreadGroup*, int32_t>> host_pids;
  for (const Ref<Caller>& c : callers_) {
    if (c->process) host_pids.emplace_back(c->process->group(), c->process->host_pid());
  }
  return container.Processes(host_pids);
}

}  // namespace runsc
