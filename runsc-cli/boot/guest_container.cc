#include "runsc-cli/boot/guest_container.h"

#include <sys/ioctl.h>

#include "platform/host/host.h"
#include "runsc-cli/boot/control.h"
#include "runsc-cli/oci/config.h"
#include "sentry/fs/proc/proc.h"

namespace runsc {

using base::Ref;

GuestContainer::GuestContainer(Options o)
    : id_(std::move(o.id)),
      spec_(std::move(o.spec)),
      place_(std::move(o.place)),
      machine_(o.machine),
      resources_(place_.spec->resources),
      listen_(std::move(o.listen)),
      resized_(std::move(o.resized)),
      streams_(std::move(o.streams)) {
  if (resized_.valid()) terminal_.reset(static_cast<int>(host::Dup(streams_.console_in.get())));
}

StartFailure GuestContainer::Start(OnExit on_exit, const base::UniqueFd& state) {
  // The process lets go of the callback, and of this object, when it has run.
  return GuestProcess::Start(
      place_, place_.spec->process, std::move(streams_), true, 0,
      [self = Ref<GuestContainer>(this), on_exit = std::move(on_exit)](int32_t status) {
        on_exit(*self, status);
      },
      &first_, state);
}

void GuestContainer::AddWaiter(Ref<Connection> c) {
  int32_t wait_status;
  {
    base::MutexLock l(mu_);
    if (!told()) return waiters_.push_back(std::move(c));
    wait_status = wait_status_;
  }
  SendControl(c->fd.get(), Control::kExit, wait_status);
}

void GuestContainer::RemoveWaiter(const Connection& c) {
  base::MutexLock l(mu_);
  for (auto* list : {&waiters_, &watchers_})
    std::erase_if(*list, [&](const Ref<Connection>& w) { return w.get() == &c; });
}

void GuestContainer::AddWatcher(Ref<Connection> c) {
  {
    base::MutexLock l(mu_);
    // What was before is nothing new.
    if (watchers_.empty()) ooms_told_ = place_.limits->oom_kills.load();
    watchers_.push_back(c);
  }
  AddWaiter(std::move(c));
}

bool GuestContainer::watched() const {
  base::MutexLock l(mu_);
  return !watchers_.empty();
}

void GuestContainer::TellOoms() {
  std::vector<Ref<Connection>> watchers;
  uint32_t news;
  {
    base::MutexLock l(mu_);
    const uint32_t kills = place_.limits->oom_kills.load();
    news = kills - std::exchange(ooms_told_, kills);
    if (news != 0) watchers = watchers_;
  }
  for (const Ref<Connection>& c : watchers) {
    for (uint32_t i = 0; i < news; i++) SendControl(c->fd.get(), Control::kOom);
  }
}

void GuestContainer::TellExit(int32_t wait_status) {
  TellOoms();
  std::vector<Ref<Connection>> waiters;
  {
    base::MutexLock l(mu_);
    if (told()) return;
    wait_status_ = wait_status;
    told_.store(true, std::memory_order_release);
    waiters.swap(waiters_);
  }
  for (const Ref<Connection>& c : waiters) SendControl(c->fd.get(), Control::kExit, wait_status);
}

void GuestContainer::Update(const Resources& changed) {
  Merge(changed, &resources_);
  const Share share = ShareOf(resources_, machine_);
  place_.limits->cpu_count = share.cpus;
  place_.limits->memory_bytes = share.memory_bytes;
  place_.limits->max_tasks = share.tasks;
  place_.cgroup->Set(LimitsOf(resources_));
}

void GuestContainer::SignalAll(int sig) {
  sentry::Kernel& kernel = *place_.kernel;
  std::vector<Ref<sentry::ThreadGroup>> groups;
  {
    base::MutexLock l(kernel.tree_mu);
    for (sentry::ThreadGroup* g : kernel.root_pid_ns()->Groups()) {
      if (&g->container() == place_.limits.get()) groups.emplace_back(g);
    }
  }
  abi::SigInfo info{};
  info.signo = sig;
  info.code = abi::kSI_USER;
  for (const Ref<sentry::ThreadGroup>& g : groups) (void)kernel.SendToGroup(*g, info, true);
}

void GuestContainer::Resized() {
  uint8_t info[128];  // struct signalfd_siginfo
  host::Read(resized_.get(), info, sizeof info);
  abi::Winsize w{};
  if (host::Ioctl(terminal_.get(), TIOCGWINSZ, &w) == 0 && first_)
    first_->SetWindowSize(w.row, w.col);
}

std::string GuestContainer::Processes(
    const std::vector<std::pair<const sentry::ThreadGroup*, int32_t>>& host_pids) const {
  sentry::Kernel& kernel = *place_.kernel;
  struct Row {
    Ref<sentry::Task> leader;
    int32_t host_pid, pid, parent;
    int64_t cpu_seconds;
  };
  std::vector<Row> rows;
  {
    base::MutexLock l(kernel.tree_mu);
    const sentry::PidNamespace& ns = *place_.pid_ns;
    for (sentry::ThreadGroup* g : ns.Groups()) {
      if (g->zombie || g->leader == nullptr || &g->container() != place_.limits.get()) continue;
      Row row{Ref<sentry::Task>(g->leader), 0, ns.IdOf(*g),
              g->parent != nullptr ? ns.IdOf(*g->parent) : 0, 0};
      if (first_ && g == first_->group()) row.host_pid = -1;
      for (const auto& [group, pid] : host_pids) {
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
