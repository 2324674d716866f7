// The table of guest processes: making them, some ahead of need, and putting them away.
#include <errno.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/stub/fp_state.h"
#include "platform/stub/process.h"

namespace platform::stub {

// A command of a shell takes two: one is forked, one executed.
constexpr size_t kMaxSpares = 2;

Engine::~Engine() { Shutdown(); }

std::span<const uint8_t> Engine::initial_fp() const { return GetFpLayout().initial; }

base::Status Engine::Start(bool for_ptrace, bool patch) {
  GetFpLayout();
  if (!for_ptrace) platform::busy_processors = host::UsableCpus();
  // Descriptors: one per memory file and process, on both sides.
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  for_ptrace_ = for_ptrace;
  patching_ = patch && HostFsgsbase();
  RETURN_IF_ERROR(patcher_.Init(false));
  if (base::Status s = zygote_.Start(for_ptrace, patcher_.read_only_fd()); !s.ok() || !for_ptrace)
    return s;
  epoll_.reset(static_cast<int>(host::EpollCreate()));
  base::MutexLock lock(mu_);
  return WatchLocked(zygote_.pid());
}

base::Result<base::Ref<platform::AddressSpace>> Engine::NewAddressSpace() {
  auto space = base::Ref<Space>::Adopt(new Space(this));
  long r = TakeProcess(space.get());
  if (r < 0) {
    LOG_WARNING("new guest process: errno %ld", -r);
    return r == -ENOMEM || r == -ENOSPC ? abi::Errno::kENOMEM : abi::Errno::kEAGAIN;
  }
  return base::Ref<platform::AddressSpace>(std::move(space));
}

// --- Processes, ahead of need ---

bool Engine::TakeSpare(Space* space) {
  base::MutexLock lock(mu_);
  if (spares_.empty()) return false;
  space->process_ = std::move(spares_.back());
  spares_.pop_back();
  processes_[space->pid()].space = space;
  return true;
}

long Engine::TakeProcess(Space* space) {
  bool ready = TakeSpare(space);
  if (!ready) {
    base::MutexLock spawn(spawn_mu_);
    // One may have been made while this waited.
    if (!TakeSpare(space)) {
      if (long r = MakeProcess(space); r < 0) return r;
    }
  }
  {
    base::MutexLock lock(mu_);
    // The first is the sandbox's first program, which may stay the only one.
    if (!std::exchange(one_taken_, true)) return 0;
    if (!ready && spares_wanted_ < kMaxSpares) spares_wanted_++;
    if (!spawning_) spawning_ = spawner_.Start(&Engine::SpawnerMain, this) == 0;
  }
  demand_.fetch_add(1, std::memory_order_release);
  host::FutexWake(&demand_, 1);
  return 0;
}

long Engine::MakeProcess(Space* space) {
  {
    base::MutexLock lock(mu_);
    if (shut_down_) return -EAGAIN;
  }
  HostProcess process;
  base::UniqueFd guest_end;
  if (long r = process.Prepare(&guest_end); r < 0) return r;
  long r = zygote_.Spawn(process.slots.file()->fd(), kSlotsRange, guest_end.get());
  if (r < 0) return r;
  process.pid = static_cast<int>(r);
  base::MutexLock lock(mu_);
  Entry& entry = processes_[process.pid];
  entry.space = space;
  (space ? space->process_ : entry.remains) = std::move(process);
  if (for_ptrace_) {
    if (base::Status watched = WatchLocked(static_cast<int>(r)); !watched.ok()) return -EAGAIN;
  }
  if (!reaping_) {
    if (long started = reaper_.Start(&Engine::ReaperMain, this); started < 0) return started;
    reaping_ = true;
  }
  if (!space) spares_.push_back(std::move(entry.remains));
  return 0;
}

void Engine::SpawnAhead() {
  for (;;) {
    uint32_t seen = demand_.load(std::memory_order_acquire);
    for (;;) {
      base::MutexLock spawn(spawn_mu_);
      {
        base::MutexLock lock(mu_);
        if (shut_down_) return;
        if (spares_.size() >= spares_wanted_) break;
      }
      if (MakeProcess(nullptr) < 0) break;
    }
    host::FutexWait(&demand_, seen);
  }
}

void Engine::Shutdown() {
  bool reaping, spawning;
  {
    base::MutexLock spawn(spawn_mu_);
    base::MutexLock lock(mu_);
    if (shut_down_) return;
    shut_down_ = true;
    for (auto& [pid, entry] : processes_) host::Tgkill(pid, pid, SIGKILL);
    reaping = reaping_;
    spawning = spawning_;
  }
  demand_.fetch_add(1, std::memory_order_release);
  host::FutexWake(&demand_, 1);
  if (spawning) SpawnerJoin();
  zygote_.Stop();
  if (reaping) {
    ReaperJoin();
  } else if (zygote_.pid() > 0) {
    siginfo_t info;
    host::Waitid(P_PID, zygote_.pid(), &info, WEXITED | __WALL);
  }
}

void Engine::ReaperJoin() NO_THREAD_SAFETY_ANALYSIS { reaper_.Join(); }
void Engine::SpawnerJoin() NO_THREAD_SAFETY_ANALYSIS { spawner_.Join(); }

void Engine::CountAsleep() {
  if (!patching_) return;
  int n = 0;
  base::MutexLock lock(mu_);
  for (auto& [pid, entry] : processes_) {
    if (entry.space) n += static_cast<int>(entry.space->Asleep());
  }
  // A guest that lies about its own can't hide others'.
  const int most = std::max(platform::active.load(std::memory_order_relaxed) - 1, 0);
  platform::asleep.store(std::min(n, most), std::memory_order_relaxed);
}

// --- Death ---

void Engine::ReaperMain(void* self) { static_cast<Engine*>(self)->Reap(); }

void Engine::Reap() {
  if (for_ptrace_) return ReapTraced();
  for (;;) {
    siginfo_t info{};
    long r = host::Waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | __WALL);
    if (r == -EINTR) continue;
    if (r < 0) return;  // no children: the zygote is gone, and all others
    ReapOne(info.si_pid);
  }
}

base::Status Engine::WatchLocked(int pid) {
  base::UniqueFd fd(static_cast<int>(host::Call<SYS_pidfd_open>(pid, 0)));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<uint64_t>(pid);
  if (!fd || host::EpollCtl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) < 0) {
    return base::Status::Error("watching a guest process");
  }
  pidfds_[pid] = std::move(fd);
  return {};
}

void Engine::ReapTraced() {
  for (;;) {
    epoll_event events[16];
    long n = host::EpollWait(epoll_.get(), events, 16, -1);
    if (n < 0 && n != -EINTR) return;
    for (long i = 0; i < n; i++) {
      auto pid = static_cast<int>(events[i].data.u64);
      ReapOne(pid);
      base::MutexLock lock(mu_);
      pidfds_.erase(pid);
      if (pidfds_.empty()) return;
    }
  }
}

bool Engine::TakeDead(int pid, base::Ref<Space>* space, HostProcess* remains) {
  base::MutexLock lock(mu_);
  auto it = processes_.find(pid);
  if (it == processes_.end()) return false;
  if (Space* s = it->second.space) {
    s->dead_.store(true, std::memory_order_release);
    if (s->TryIncRef()) *space = base::Ref<Space>::Adopt(s);
  } else {
    *remains = std::move(it->second.remains);
    auto spare =
        std::find_if(spares_.begin(), spares_.end(), [&](auto& p) { return p.pid == pid; });
    if (spare != spares_.end()) {
      *remains = std::move(*spare);
      spares_.erase(spare);
    }
  }
  processes_.erase(it);
  return true;
}

void Engine::ReapOne(int pid) {
  base::Ref<Space> space;
  HostProcess remains;
  if (!TakeDead(pid, &space, &remains)) {
    // The zygote, or a new process that isn't in the table yet.
    { base::MutexLock spawn(spawn_mu_); }
    if (!TakeDead(pid, &space, &remains) && pid == zygote_.pid()) {
      base::MutexLock lock(mu_);
      if (!shut_down_) LOG_WARNING("the process that guest processes are made from has died");
    }
  }
  siginfo_t info;
  host::Waitid(P_PID, pid, &info, WEXITED | __WALL);
  if (space) space->OnDeath();
}

}  // namespace platform::stub
