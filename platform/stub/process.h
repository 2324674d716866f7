// The sentry's side of the stub, common to the engines that keep a host process per guest address
// space: creation, the queue of mapping changes, slots, registers in signal frames, death. An
// engine derives Thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/api/platform.h"
#include "platform/base/mutex.h"
#include "platform/host/thread.h"
#include "platform/stub/code_map.h"
#include "platform/stub/layout.h"
#include "platform/stub/patch.h"
#include "platform/stub/slots.h"
#include "platform/stub/zygote.h"

namespace platform::stub {

class Engine;
class Thread;

// What the host has of a guest process: made ahead of need by an engine, then an address space's,
// and in the end the reaper's.
class HostProcess {
 public:
  HostProcess() = default;
  HostProcess(HostProcess&& o) noexcept { *this = std::move(o); }
  HostProcess& operator=(HostProcess&& o) noexcept;
  // Makes its slots and its socket, of which *guest_end is for the process. 0 or -errno.
  long Prepare(base::UniqueFd* guest_end);

  int pid = -1;
  Slots slots;
  base::UniqueFd socket;
};

// One guest process.
class Space final : public platform::AddressSpace {
 public:
  void Map(uint64_t addr, uint64_t len, const base::Ref<platform::MapFile>& file, uint64_t offset,
           uint8_t prot) override;
  void Unmap(uint64_t addr, uint64_t len) override;
  void Protect(uint64_t addr, uint64_t len, uint8_t prot) override;
  void Forget(const platform::MapFile& file) override;
  void WakeLocal(uint64_t addr, uint32_t count) override;
  void MoveLocal(uint64_t addr, uint32_t count, uint64_t to, uint32_t moved) override;
  base::Result<std::unique_ptr<platform::GuestThread>> NewThread(
      platform::GuestThread* creator, const platform::Regs& regs,
      const platform::FpState& fp) override;
  platform::LocalSpace* local() override;
  void Kill() override;

  // A host signal for one of its threads; nothing happens when the process is gone.
  void Signal(int tid, int signo);

  int pid() const { return process_.pid; }
  bool dead() const { return dead_.load(std::memory_order_acquire); }
  Engine* engine() const { return engine_; }
  Channel* ChannelOf(uint32_t slot) const { return process_.slots.channel(slot); }

  // Whether mapping changes are queued or under way.
  bool HasOps() const { return pending_.load(std::memory_order_acquire) != 0; }
  enum class Hand { kNothing, kLast, kMore, kDead };
  // Puts the next batch into a slot once the batch before it is done. kLast: this is all that was
  // queued; kMore: the thread must carry it out and come back for the rest. kDead: the process was
  // killed.
  Hand HandOver(uint32_t slot);

  // A guest thread trapped at the system call instruction before rip: mapping changes may be queued
  // that have it jump the next time.
  void OnTrap(uint64_t rip);

  // A slot whose thread has ended, or is about to.
  void ReleaseSlot(uint32_t slot);
  // Keeps the host thread of a guest thread that has ended, stopped in the stub, for the next one.
  // False: there are enough.
  bool Park(uint32_t slot, int tid);

 private:
  friend class Engine;
  struct Pending {
    Op op;
    base::Ref<platform::MapFile> file;  // kOpReceive
  };
  explicit Space(Engine* engine) : engine_(engine) {}
  ~Space() override;
  base::Result<uint32_t> AllocateSlot();
  void PushLocked(uint32_t kind, uint64_t addr, uint64_t len, uint64_t offset, uint8_t prot, int fd,
                  base::Ref<platform::MapFile> file = {}) REQUIRES_LOCK(mu_);
  void UpdatePendingLocked() REQUIRES_LOCK(mu_);
  // How many of its threads sleep in the stub, by its own account.
  uint32_t Asleep() const;
  void OnDeath();
  void MapCopiesLocked(const std::vector<CodeMap::Part>& parts) REQUIRES_LOCK(mu_);

  Engine* const engine_;
  std::atomic<bool> dead_{false};
  std::atomic<uint32_t> pending_{0};
  HostProcess process_;  // written by the engine once
  std::atomic<bool> killed_{false};

  base::Mutex<base::LockClass::kEngineOps> mu_;
  std::deque<Pending> queue_ GUARDED_BY(mu_);
  int64_t owner_ GUARDED_BY(mu_) = -1;  // the slot whose batch is the last one handed over
  absl::flat_hash_map<uint64_t, int> fds_ GUARDED_BY(mu_);
  static_assert(kCodeFd == 1 && kSocketFd == 3);
  std::vector<bool> fd_used_ GUARDED_BY(mu_) = {false, true, false, true};
  uint32_t used_slots_ GUARDED_BY(mu_) = kFirstSlot + 1;
  std::vector<uint32_t> free_slots_ GUARDED_BY(mu_);
  struct Parked {
    uint32_t slot;
    int tid;
  };
  std::vector<Parked> parked_ GUARDED_BY(mu_);
  bool first_taken_ GUARDED_BY(mu_) = false;
  CodeMap code_ GUARDED_BY(mu_);
};

// What the engines' threads share: the registers in the slot's signal frame.
class Thread : public platform::GuestThread {
 public:
  Thread(base::Ref<Space> space, uint32_t slot, int tid, const platform::Regs& regs);
  ~Thread() override;
  const platform::SyscallRegs& syscall() const override { return syscall_; }

 protected:
  friend class Space;
  Channel* channel() const { return channel_; }
  // The end of everything: the process is killed.
  platform::Stop Dead();
  // Waits until the state is no longer command; the state without kSleeping, kDead if the thread or
  // process is gone. Once interrupted() holds, a guest that doesn't stop within a bounded time is
  // killed.
  uint32_t WaitStop(uint32_t command, bool spin);
  // Gives a command; false when the thread is dead.
  bool Command(uint32_t command);

  const base::Ref<Space> space_;
  Channel* const channel_;
  const uint32_t slot_;
  const int tid_;
  std::atomic<bool> interrupt_{
      false};  // partner: Interrupt() stores before it loads running_, Run() the other way round
  std::atomic<bool> running_{false};
  // Spinning pays while the other side is quick: each failure doubles the number of trips without
  // it.
  uint32_t spin_pause_ = 0;  // trips to go without spinning
  uint32_t spin_backoff_ = 1;
  bool slept_ = false;    // whether the last wait, or the stub's, ended in sleep
  bool woken_ = false;    // by the last command
  bool exiting_ = false;  // the host's thread is on its way out already
  bool parked_ = false;   // the host's thread and the slot are kept for another guest thread
  platform::SyscallRegs syscall_{};
};

class Engine : public platform::Platform {
 public:
  ~Engine() override;
  platform::UserRange user_range() const override { return {kGuestMin, kBase}; }
  base::Result<base::Ref<platform::AddressSpace>> NewAddressSpace() override;
  std::span<const uint8_t> initial_fp() const override;
  uint64_t guest_clock_gettime() const override { return zygote_.clock_gettime(); }
  void Shutdown() override;
  bool patching() const { return patching_; }
  // platform::asleep, which takes a while.
  void CountAsleep();

 protected:
  friend class Space;
  Engine() = default;
  base::Status Start(bool for_ptrace, bool patch);
  // The engine's thread object for a slot that is ready.
  virtual std::unique_ptr<Thread> MakeThread(base::Ref<Space> space, uint32_t slot, int tid,
                                             const platform::Regs& regs) = 0;

 private:
  struct Entry {
    Space* space = nullptr;  // null: a spare, or its space is gone
    HostProcess remains;     // of the latter
  };
  // A process for a space: a spare, or a new one. 0 or -errno.
  long TakeProcess(Space* space);
  bool TakeSpare(Space* space);
  // A new process, for a space or as a spare. 0 or -errno.
  long MakeProcess(Space* space) REQUIRES_LOCK(spawn_mu_);
  static void SpawnerMain(void* self) { static_cast<Engine*>(self)->SpawnAhead(); }
  void SpawnAhead();
  static void ReaperMain(void* self);
  void Reap();
  void ReapTraced();
  // Tells a dead process's space; reaps it.
  void ReapOne(int pid);
  bool TakeDead(int pid, base::Ref<Space>* space, HostProcess* remains);
  base::Status WatchLocked(int pid) REQUIRES_LOCK(mu_);
  void ReaperJoin();
  void SpawnerJoin();

  Zygote zygote_;
  Patcher patcher_;
  bool patching_ = false;
  // Held until a new process is in the table: the reaper waits for it when it doesn't find a pid.
  base::Mutex<base::LockClass::kEngineSpawn> spawn_mu_;
  // Held while a pid is used, so that it is not reused meanwhile.
  base::Mutex<base::LockClass::kEngine> mu_;
  absl::flat_hash_map<int, Entry> processes_ GUARDED_BY(mu_);
  host::Thread reaper_ GUARDED_BY(mu_);
  bool reaping_ GUARDED_BY(mu_) = false;
  bool shut_down_ GUARDED_BY(mu_) = false;
  // Processes made ahead, by a thread of its own, once a sandbox turns out to need more than one.
  std::vector<HostProcess> spares_ GUARDED_BY(mu_);
  size_t spares_wanted_ GUARDED_BY(mu_) = 1;
  bool one_taken_ GUARDED_BY(mu_) = false;
  host::Thread spawner_ GUARDED_BY(mu_);
  bool spawning_ GUARDED_BY(mu_) = false;
  std::atomic<uint32_t> demand_{0};  // a futex: changes when the spawner has something to do
  // The ptrace engine: waiting for any child would show (and take) other threads' stops, so
  // processes are watched by descriptor.
  bool for_ptrace_ = false;
  base::UniqueFd epoll_;
  absl::flat_hash_map<int, base::UniqueFd> pidfds_ GUARDED_BY(mu_);
};

// Registers of a frame, and back. orig_rax, fs_base, gs_base and segments are not in it.
void RegsFromFrame(const UContext& uc, platform::Regs* regs);
void RegsToFrame(const platform::Regs& regs, UContext* uc);

}  // namespace platform::stub
