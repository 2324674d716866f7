#include "platform/stub/process.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "platform/base/before_sleep.h"
#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/stub/fp_state.h"
#include "platform/stub/turn.h"

namespace platform::stub {
namespace {

// How long a guest process may take to carry out a batch, or to stop after an interrupt. Only a
// hostile one, or a machine that is stopped for as long, doesn't make it.
constexpr int64_t kPatienceNs = 10'000'000'000;
constexpr int64_t kSliceNs = 1'000'000'000;
constexpr int kSpinLimit = 3000;
constexpr int kPatientSpin = 300;
constexpr int kWokenSpin = 1200;

static_assert(kGuestEflags == platform::kUserEflags && kFixedEflags == platform::kFixedEflags &&
              kCs == platform::kUserCs && kSs == platform::kUserSs);

uint32_t LoadWord(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

}  // namespace

void RegsFromFrame(const UContext& uc, platform::Regs* r) {
  r->r15 = uc.r15;
  r->r14 = uc.r14;
  r->r13 = uc.r13;
  r->r12 = uc.r12;
  r->rbp = uc.rbp;
  r->rbx = uc.rbx;
  r->r11 = uc.r11;
  r->r10 = uc.r10;
  r->r9 = uc.r9;
  r->r8 = uc.r8;
  r->rax = uc.rax;
  r->rcx = uc.rcx;
  r->rdx = uc.rdx;
  r->rsi = uc.rsi;
  r->rdi = uc.rdi;
  r->rip = uc.rip;
  r->cs = platform::kUserCs;
  r->eflags = (uc.eflags & platform::kUserEflags) | platform::kFixedEflags;
  r->rsp = uc.rsp;
  r->ss = platform::kUserSs;
  r->ds = r->es = r->fs = r->gs = 0;
}

void RegsToFrame(const platform::Regs& r, UContext* uc) {
  uc->flags = kUcFlags;
  uc->r15 = r.r15;
  uc->r14 = r.r14;
  uc->r13 = r.r13;
  uc->r12 = r.r12;
  uc->rbp = r.rbp;
  uc->rbx = r.rbx;
  uc->r11 = r.r11;
  uc->r10 = r.r10;
  uc->r9 = r.r9;
  uc->r8 = r.r8;
  uc->rax = r.rax;
  uc->rcx = r.rcx;
  uc->rdx = r.rdx;
  uc->rsi = r.rsi;
  uc->rdi = r.rdi;
  uc->rip = r.rip;
  uc->cs = platform::kUserCs;
  uc->ss = platform::kUserSs;
  uc->gs = uc->fs = 0;
  uc->eflags = (r.eflags & platform::kUserEflags) | platform::kFixedEflags;
  uc->rsp = r.rsp;
}

// --- HostProcess ---

HostProcess& HostProcess::operator=(HostProcess&& o) noexcept {
  std::swap(pid, o.pid);
  std::swap(slots, o.slots);
  std::swap(socket, o.socket);
  return *this;
}

long HostProcess::Prepare(base::UniqueFd* guest_end) {
  long r = slots.Make();
  if (r < 0) return r;
  Channel* c = slots.channel(kFirstSlot);
  c->frame = InitialFrame();
  c->state = kReady;
  int pair[2];
  r = host::Socketpair(SOCK_SEQPACKET, pair);
  if (r < 0) return r;
  socket.reset(pair[0]);
  guest_end->reset(pair[1]);
  return 0;
}

// --- Space ---

Space::~Space() {
  Kill();
  base::MutexLock lock(engine_->mu_);
  auto it = engine_->processes_.find(pid());
  // The reaper puts away what is left once the process is dead: nobody waits for that.
  if (it == engine_->processes_.end() || it->second.space != this) return;
  it->second.space = nullptr;
  it->second.remains = std::move(process_);
}

void Space::PushLocked(uint32_t kind, uint64_t addr, uint64_t len, uint64_t offset, uint8_t prot,
                       int fd, base::Ref<platform::MapFile> file) {
  CHECK(kind > kOpProtect || (len <= kBase && addr <= kBase - len));
  uint32_t kind_prot = kind | static_cast<uint32_t>(prot) << 8;
  // What a later change of the same range makes pointless, or continues, is no change of its own.
  while (!queue_.empty()) {
    Op& last = queue_.back().op;
    uint32_t last_kind = last.kind_prot & 0xff;
    if ((kind == kOpMap || kind == kOpUnmap) && last_kind <= kOpProtect && last.addr >= addr &&
        last.addr + last.len <= addr + len) {
      queue_.pop_back();
      continue;
    }
    if (kind <= kOpProtect && last.kind_prot == kind_prot && last.addr + last.len == addr &&
        (kind != kOpMap || (last.fd == fd && last.offset + last.len == offset))) {
      last.len += len;
      return;
    }
    break;
  }
  queue_.push_back({Op{addr, len, offset, kind_prot, fd}, std::move(file)});
  UpdatePendingLocked();
}

void Space::UpdatePendingLocked() {
  pending_.store(!queue_.empty() || owner_ >= 0 ? 1 : 0, std::memory_order_release);
}

void Space::Map(uint64_t addr, uint64_t len, const base::Ref<platform::MapFile>& file,
                uint64_t offset, uint8_t prot) {
  if (len == 0) return;
  base::MutexLock lock(mu_);
  auto [it, fresh] = fds_.try_emplace(file->id(), -1);
  if (fresh) {
    // The guest process's kernel gives the lowest free number, and so do we: changes take effect in
    // queue order.
    size_t n = 0;
    while (n < fd_used_.size() && fd_used_[n]) n++;
    if (n == fd_used_.size()) fd_used_.push_back(false);
    fd_used_[n] = true;
    it->second = static_cast<int>(n);
    PushLocked(kOpReceive, 0, 0, 0, 0, it->second, file);
  }
  // As on processors without protection keys, what can be executed can be read.
  if (prot & platform::kProtExec) prot |= platform::kProtRead;
  static_assert(kOpHuge == platform::kMapHuge << 8);
  PushLocked(kOpMap, addr, len, offset, prot, it->second);
  if (!engine_->patching_) return;
  MapCopiesLocked(
      code_.Map(engine_->patcher_, process_.slots.process_page(), addr, len, file, offset, prot));
}

void Space::Unmap(uint64_t addr, uint64_t len) {
  if (len == 0) return;
  base::MutexLock lock(mu_);
  code_.Cut(addr, len);
  PushLocked(kOpUnmap, addr, len, 0, 0, -1);
}

void Space::Protect(uint64_t addr, uint64_t len, uint8_t prot) {
  if (len == 0) return;
  base::MutexLock lock(mu_);
  if (prot & platform::kProtExec) prot |= platform::kProtRead;
  PushLocked(kOpProtect, addr, len, 0, prot, -1);
}

void Space::Forget(const platform::MapFile& file) {
  base::MutexLock lock(mu_);
  auto it = fds_.find(file.id());
  if (it == fds_.end()) return;
  fd_used_[it->second] = false;
  PushLocked(kOpClose, 0, 0, 0, 0, it->second);
  fds_.erase(it);
}

void Space::WakeLocal(uint64_t addr, uint32_t count) {
  base::MutexLock lock(mu_);
  PushLocked(kOpWake, addr, std::min(count, kMaxSlots), 0, 0, -1);
}

void Space::MoveLocal(uint64_t addr, uint32_t count, uint64_t to, uint32_t moved) {
  base::MutexLock lock(mu_);
  __atomic_fetch_or(
      &process_.slots.process_page().local.futex_sleepers[platform::LocalSpace::BucketOf(to)],
      platform::LocalSpace::kMoved, __ATOMIC_SEQ_CST);
  PushLocked(kOpMove, addr, std::min(count, kMaxSlots), to, 0,
             static_cast<int>(std::min(moved, kMaxSlots)));
}

void Space::MapCopiesLocked(const std::vector<CodeMap::Part>& parts) {
  for (const CodeMap::Part& p : parts) {
    PushLocked(kOpMap, p.addr, p.len, p.offset, platform::kProtRead | platform::kProtExec, kCodeFd);
  }
}

void Space::OnTrap(uint64_t rip) {
  if (!engine_->patching_) return;
  base::MutexLock lock(mu_);
  MapCopiesLocked(code_.Trapped(engine_->patcher_, process_.slots.process_page(), rip));
}

Space::Hand Space::HandOver(uint32_t slot) {
  int64_t give_up = 0;
  mu_.Lock();
  while (owner_ >= 0) {
    uint32_t* word = &ChannelOf(static_cast<uint32_t>(owner_))->ops_state;
    uint32_t v = kOpsPending;
    __atomic_compare_exchange_n(word, &v, kOpsWaited, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    if (v == kOpsDone) {
      owner_ = -1;
      break;
    }
    mu_.Unlock();
    int64_t now = host::ClockNow(CLOCK_MONOTONIC);
    if (give_up == 0) give_up = now + kPatienceNs;
    if (dead() || now > give_up) {
      Kill();
      return Hand::kDead;
    }
    timespec deadline = host::ToTimespec(now + kSliceNs);
    host::FutexWait(word, kOpsWaited, &deadline, true);
    mu_.Lock();
  }
  if (queue_.empty()) {
    UpdatePendingLocked();
    mu_.Unlock();
    return Hand::kNothing;
  }
  Channel* c = ChannelOf(slot);
  uint32_t n = 0;
  bool sent = true;
  // Descriptors go in one message up to the next close, which changes what numbers are free.
  Op* receive = nullptr;
  absl::InlinedVector<base::Ref<platform::MapFile>, kMaxReceive> files;
  auto send = [&] {
    if (receive == nullptr) return;
    receive->len = files.size();
    int fds[kMaxReceive];
    for (size_t i = 0; i < files.size(); i++) fds[i] = files[i]->fd();
    char byte = 0;
    // Never waits: a guest process that doesn't take its descriptors is hostile.
    sent = sent && host::SendWithFds(process_.socket.get(), &byte, 1, {fds, files.size()},
                                     MSG_DONTWAIT) == 1;
    receive = nullptr;
    files.clear();
  };
  for (; n < kMaxOps && !queue_.empty(); queue_.pop_front()) {
    Pending& p = queue_.front();
    if (!p.file) {
      if ((p.op.kind_prot & 0xff) == kOpClose) send();
      c->ops[n++] = p.op;
      continue;
    }
    if (receive == nullptr) {
      receive = &c->ops[n++];
      *receive = p.op;
    }
    receive->fd = p.op.fd;
    files.push_back(std::move(p.file));
    if (files.size() == kMaxReceive) send();
  }
  send();
  c->ops_count = n;
  __atomic_store_n(&c->ops_state, kOpsPending, __ATOMIC_RELEASE);
  owner_ = slot;
  UpdatePendingLocked();
  bool more = !queue_.empty();
  mu_.Unlock();
  if (!sent) {
    Kill();
    return Hand::kDead;
  }
  return more ? Hand::kMore : Hand::kLast;
}

base::Result<uint32_t> Space::AllocateSlot() {
  base::MutexLock lock(mu_);
  for (size_t i = free_slots_.size(); i-- > 0;) {
    uint32_t slot = free_slots_[i];
    // The kernel clears the state when the old thread is gone.
    if (LoadWord(&ChannelOf(slot)->state) != kDead) continue;
    free_slots_.erase(free_slots_.begin() + static_cast<ptrdiff_t>(i));
    return slot;
  }
  if (used_slots_ == kMaxSlots) return abi::Errno::kEAGAIN;
  if (!process_.slots.Add(used_slots_)) return abi::Errno::kENOMEM;
  return used_slots_++;
}

void Space::ReleaseSlot(uint32_t slot) {
  base::MutexLock lock(mu_);
  free_slots_.push_back(slot);
}

bool Space::Park(uint32_t slot, int tid) {
  constexpr size_t kMaxParked = 8;
  base::MutexLock lock(mu_);
  if (dead() || parked_.size() == kMaxParked) return false;
  parked_.push_back({slot, tid});
  return true;
}

base::Result<std::unique_ptr<platform::GuestThread>> Space::NewThread(
    platform::GuestThread* creator, const platform::Regs& regs, const platform::FpState& fp) {
  if (dead()) return abi::Errno::kEAGAIN;
  uint32_t slot = kFirstSlot;
  int tid = pid();
  bool fresh = false;  // the host has no thread for it yet
  if (creator) {
    fresh = true;
    base::MutexLock lock(mu_);
    if (!parked_.empty()) {
      slot = parked_.back().slot;
      tid = parked_.back().tid;
      parked_.pop_back();
      fresh = false;
    }
  } else {
    base::MutexLock lock(mu_);
    CHECK(!first_taken_);
    first_taken_ = true;
  }
  if (fresh) slot = TRY(AllocateSlot());
  Channel* c = ChannelOf(slot);
  uint8_t* base = reinterpret_cast<uint8_t*>(c);
  auto* uc = reinterpret_cast<UContext*>(base + InitialFrame());
  memset(uc, 0, sizeof *uc);
  RegsToFrame(regs, uc);
  uc->fpstate = kSlots + slot * kSlotSize + InitialFp();
  const FpLayout& layout = GetFpLayout();
  if (!NormaliseFp(layout, fp, base + InitialFp())) NormaliseFp(layout, {}, base + InitialFp());
  c->fs_base = regs.fs_base < kTaskEnd ? regs.fs_base : 0;
  c->gs_base = regs.gs_base < kTaskEnd ? regs.gs_base : 0;
  __atomic_store_n(&c->frame, InitialFrame(), __ATOMIC_RELAXED);
  if (fresh) {
    c->tid = 0;
    c->clone_result = -EAGAIN;
    c->ops_state = kOpsDone;
    __atomic_store_n(&c->state, kReady, __ATOMIC_RELEASE);
    {
      base::MutexLock lock(mu_);
      PushLocked(kOpClone, 0, 0, 0, 0, static_cast<int>(slot));
    }
    if (!creator->Commit()) return abi::Errno::kEAGAIN;
    tid = __atomic_load_n(&c->clone_result, __ATOMIC_ACQUIRE);
    if (tid <= 0) {
      __atomic_store_n(&c->state, kDead, __ATOMIC_RELEASE);
      ReleaseSlot(slot);
      return abi::Errno::kEAGAIN;
    }
  }
  return std::unique_ptr<platform::GuestThread>(
      engine_->MakeThread(base::Ref<Space>(this), slot, tid, regs));
}

uint32_t Space::Asleep() const {
  uint32_t n = 0;
  for (const uint16_t& count : process_.slots.process_page().local.futex_sleepers)
    n += __atomic_load_n(&count, __ATOMIC_RELAXED) & (platform::LocalSpace::kMoved - 1);
  return std::min(n, kMaxSlots);
}

platform::LocalSpace* Space::local() {
  return engine_->patching() ? &process_.slots.process_page().local : nullptr;
}

void Space::Kill() {
  base::MutexLock lock(engine_->mu_);
  if (pid() > 0 && !dead() && !killed_.exchange(true, std::memory_order_relaxed))
    host::Tgkill(pid(), pid(), SIGKILL);
}

void Space::Signal(int tid, int signo) {
  base::MutexLock lock(engine_->mu_);
  if (!dead()) host::Tgkill(pid(), tid, signo);
}

void Space::OnDeath() {
  base::MutexLock lock(mu_);
  for (uint32_t i = kFirstSlot; i < used_slots_; i++) {
    Channel* c = ChannelOf(i);
    __atomic_store_n(&c->state, kDead, __ATOMIC_RELEASE);
    host::FutexWake(&c->state, 1, true);
    if (owner_ == i) host::FutexWake(&c->ops_state, 1 << 30, true);
  }
}

// --- Thread ---

Thread::Thread(base::Ref<Space> space, uint32_t slot, int tid, const platform::Regs& regs)
    : space_(std::move(space)), channel_(space_->ChannelOf(slot)), slot_(slot), tid_(tid) {}

Thread::~Thread() {
  if (parked_) return;
  if (!exiting_) Command(kRunning | kExit);
  space_->ReleaseSlot(slot_);
}

platform::Stop Thread::Dead() {
  space_->Kill();
  return {.kind = platform::Stop::Kind::kDead};
}

bool Thread::Command(uint32_t command) {
  __atomic_store_n(&channel_->awake, 0, __ATOMIC_RELAXED);
  uint32_t old = __atomic_exchange_n(&channel_->state, command, __ATOMIC_ACQ_REL);
  if ((old & kKindMask) == kDead) {
    // The thread is gone: the word must say so again, since nobody else will.
    __atomic_store_n(&channel_->state, kDead, __ATOMIC_RELEASE);
    return false;
  }
  woken_ = (old & kSleeping) != 0;
  if (woken_) {
    host::FutexWake(&channel_->state, 1, true);
    slept_ = true;
  }
  return true;
}

uint32_t Thread::WaitStop(uint32_t command, bool spin) {
  uint32_t* word = &channel_->state;
  if (spin) {
    // A guest that was asleep needs some time to come.
    int patience = woken_ ? kWokenSpin : kPatientSpin;
    for (int i = 0; i < kSpinLimit; i++) {
      uint32_t s = LoadWord(word);
      if (s != command) return s & kKindMask;
      // The guest computes: what was put off need not wait for it.
      if (i == kPatientSpin) base::WakeLate();
      if (woken_ && __atomic_load_n(&channel_->awake, __ATOMIC_RELAXED) != 0) {
        woken_ = false;
        patience = std::min(patience, i + kPatientSpin);
      }
      // Others wait for a turn. What comes sooner is worth waiting for even so: a sleep and a
      // wake-up take longer.
      if (i >= patience && Turn::wanted()) break;
      __builtin_ia32_pause();
    }
  }
  uint32_t asleep = command | kSleeping;
  uint32_t s = command;
  if (!__atomic_compare_exchange_n(word, &s, asleep, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return s & kKindMask;
  slept_ = true;
  int64_t give_up = 0;
  for (;;) {
    if (space_->dead()) return kDead;
    if (interrupt_.load(std::memory_order_acquire) && running_.load(std::memory_order_relaxed)) {
      int64_t now = host::ClockNow(CLOCK_MONOTONIC);
      if (give_up == 0) give_up = now + kPatienceNs;
      if (now > give_up) return kDead;
      timespec deadline = host::ToTimespec(now + kSliceNs);
      host::FutexWait(word, asleep, &deadline, true);
    } else {
      host::FutexWait(word, asleep, nullptr, true);
    }
    s = LoadWord(word);
    if (s != asleep) return s & kKindMask;
  }
}

}  // namespace platform::stub
