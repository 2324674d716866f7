#include "sentry/kernel/async_io.h"

#include "platform/host/thread.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

struct IoEvent {
  IoEvent* next;
  base::Ref<AsyncOwner> owner;
  int32_t reason;  // POLL_*

  // Sends a list whose newest event is first, and frees it.
  static void SendAll(IoEvent* newest) {
    IoEvent* list = nullptr;
    while (newest != nullptr) {
      IoEvent* next = std::exchange(newest->next, list);
      list = std::exchange(newest, next);
    }
    while (list != nullptr) {
      list->owner->Send(list->reason);
      delete std::exchange(list, list->next);
    }
  }
};

// Sends what happens on the sentry's own threads, and what exiting tasks cause.
class AsyncOwner::Dispatcher {
 public:
  static Dispatcher& Get() {
    // Never destroyed: its thread ends with the process.
    static auto* d = new Dispatcher;
    return *d;
  }
  bool Start() {
    base::MutexLock l(mu_);
    if (!started_) started_ = host::Thread::StartDetached(&Run, this) == 0;
    return started_;
  }
  void Push(IoEvent* e) {
    {
      base::MutexLock l(mu_);
      e->next = std::exchange(events_, e);
    }
    parker_.Unpark();
  }

 private:
  static void Run(void* self) {
    auto& d = *static_cast<Dispatcher*>(self);
    for (;;) {
      d.parker_.Park();
      IoEvent* list;
      {
        base::MutexLock l(d.mu_);
        list = std::exchange(d.events_, nullptr);
      }
      IoEvent::SendAll(list);
    }
  }

  base::Mutex<base::LockClass::kLeaf> mu_;
  bool started_ GUARDED_BY(mu_) = false;
  IoEvent* events_ GUARDED_BY(mu_) = nullptr;
  Parker parker_;
};

bool AsyncOwner::Listener::OnReady(uint32_t ready) {
  int32_t reason = abi::kPOLL_OUT;
  if ((ready & abi::kEPOLLHUP) != 0) {
    reason = abi::kPOLL_HUP;
  } else if ((ready & (abi::kEPOLLIN | abi::kEPOLLRDNORM)) != 0) {
    reason = abi::kPOLL_IN;
  } else if ((ready & abi::kEPOLLPRI) != 0) {
    reason = abi::kPOLL_PRI;
  } else if ((ready & abi::kEPOLLERR) != 0) {
    reason = abi::kPOLL_ERR;
  }
  auto* e = new IoEvent{nullptr, base::Ref<AsyncOwner>(&owner_), reason};
  Task* t = Task::Current();
  if (t == nullptr || t->exiting()) {
    Dispatcher::Get().Push(e);
  } else {
    e->next = std::exchange(t->io_events, e);
    t->Interrupt();
  }
  return false;
}

AsyncOwner& AsyncOwner::Of(File& f) {
  if (AsyncOwner* o = Present(f)) return *o;
  auto made = base::MakeRef<AsyncOwner>();
  FileOwner* present = nullptr;
  if (f.owner.compare_exchange_strong(present, made.get(), std::memory_order_acq_rel)) {
    return *made.Release();
  }
  return *static_cast<AsyncOwner*>(present);
}

base::Result<void> AsyncOwner::SetOwner(const Task& t, int32_t type, int32_t id) {
  base::Ref<base::RefCounted> who;
  if (id != 0) {
    base::MutexLock l(t.kernel().tree_mu);
    const PidNamespace& ns = *t.pid_ns();
    Task* task = ns.FindTask(id);
    ProcessGroup* pgrp = ns.FindPgrp(id);
    // find_vpid(): a number in use, whatever for.
    if (task == nullptr && pgrp == nullptr && ns.FindSession(id) == nullptr)
      return abi::Errno::kESRCH;
    if (type == abi::kF_OWNER_TID) {
      who = base::Ref<Task>(task);
    } else if (type == abi::kF_OWNER_PID) {
      who = base::Ref<ThreadGroup>(ns.FindGroup(id));
    } else {
      who = base::Ref<ProcessGroup>(pgrp);
    }
  }
  base::MutexLock l(mu_);
  std::swap(who_, who);
  type_ = type;
  uid_ = t.creds().uid;
  euid_ = t.creds().euid;
  kernel_ = &t.kernel();
  return {};
}

abi::FOwnerEx AsyncOwner::Owner(const Task& t) const {
  base::Ref<base::RefCounted> who;
  abi::FOwnerEx o{};
  {
    base::MutexLock l(mu_);
    who = who_;
    o.type = type_;
  }
  if (!who) return o;
  base::MutexLock l(t.kernel().tree_mu);
  const PidNamespace& ns = *t.pid_ns();
  if (o.type == abi::kF_OWNER_TID) {
    o.pid = ns.IdOf(static_cast<const Task&>(*who));
  } else if (o.type == abi::kF_OWNER_PID) {
    const auto& g = static_cast<const ThreadGroup&>(*who);
    if (!g.reaped) o.pid = ns.IdOf(g);
  } else {
    const auto& p = static_cast<const ProcessGroup&>(*who);
    if (!p.members.empty()) o.pid = ns.IdOf(p);
  }
  return o;
}

std::array<uint32_t, 2> AsyncOwner::Uids() const {
  base::MutexLock l(mu_);
  return {uid_, euid_};
}

void AsyncOwner::SetSignal(int32_t sig) {
  base::MutexLock l(mu_);
  signal_ = sig;
}

int32_t AsyncOwner::signal() const {
  base::MutexLock l(mu_);
  return signal_;
}

base::Result<void> AsyncOwner::Listen(File& f, int32_t fd, bool on) {
  if (!on) {
    Stop();
    return {};
  }
  if (!Dispatcher::Get().Start()) return abi::Errno::kENOMEM;
  {
    base::MutexLock l(mu_);
    fd_ = fd;
  }
  constexpr uint32_t kEvents =
      abi::kEPOLLIN | abi::kEPOLLRDNORM | abi::kEPOLLOUT | abi::kEPOLLWRNORM | abi::kEPOLLPRI;
  {
    base::MutexLock l(listen_mu_);
    if (queue_ != nullptr) return {};
    queue_ = f.wait_queue();
    if (queue_ == nullptr) return {};
    queue_->Add(&listener_, kEvents);
  }
  f.WillWait(kEvents);
  return {};
}

void AsyncOwner::Stop() {
  base::MutexLock l(listen_mu_);
  if (queue_ != nullptr) queue_->Remove(&listener_);
  queue_ = nullptr;
}

bool AsyncOwner::MaySignal(uint32_t uid, uint32_t euid, Task& to) {
  base::Ref<const Creds> c = to.creds_ref();
  return euid == 0 || euid == c->suid || euid == c->uid || uid == c->suid || uid == c->uid;
}

// send_sigio().
void AsyncOwner::Send(int32_t reason) {
  static constexpr int64_t kBands[] = {
      abi::kEPOLLIN | abi::kEPOLLRDNORM,
      abi::kEPOLLOUT | abi::kEPOLLWRNORM | abi::kEPOLLWRBAND,
      abi::kEPOLLIN | abi::kEPOLLRDNORM | abi::kEPOLLMSG,
      abi::kEPOLLERR,
      abi::kEPOLLPRI | abi::kEPOLLRDBAND,
      abi::kEPOLLHUP | abi::kEPOLLERR,
  };
  int32_t sig, fd;
  {
    base::MutexLock l(mu_);
    sig = signal_;
    fd = fd_;
  }
  abi::SigInfo info = KernelSigInfo(abi::kSIGIO);
  if (sig != 0) {
    // Signals whose codes mean something of their own get one that says nothing else
    // (sig_specific_sicodes()).
    constexpr SignalSet kOwnCodes = SignalBit(abi::kSIGILL) | SignalBit(abi::kSIGFPE) |
                                    SignalBit(abi::kSIGSEGV) | SignalBit(abi::kSIGBUS) |
                                    SignalBit(abi::kSIGTRAP) | SignalBit(abi::kSIGCHLD) |
                                    SignalBit(abi::kSIGSYS);
    info = MakeSigInfo(sig, (kOwnCodes & SignalBit(sig)) != 0 ? abi::kSI_SIGIO : reason);
    info.f.poll.band = kBands[reason - abi::kPOLL_IN];
    info.f.poll.fd = fd;
  }
  SendInfo(info);
}

void AsyncOwner::SendInfo(const abi::SigInfo& info) {
  base::Ref<base::RefCounted> who;
  Kernel* kernel;
  int32_t type;
  uint32_t uid, euid;
  {
    base::MutexLock l(mu_);
    who = who_;
    kernel = kernel_;
    type = type_;
    uid = uid_;
    euid = euid_;
  }
  if (!who) return;
  auto tell = [&](auto&& send) {
    // The queue is full: the plain signal instead.
    if (!send(info).ok()) (void)send(KernelSigInfo(abi::kSIGIO));
  };
  auto tell_group = [&](ThreadGroup& g) {
    if (g.leader == nullptr || !MaySignal(uid, euid, *g.leader)) return;
    tell([&](const abi::SigInfo& i) { return kernel->SendToGroup(g, i); });
  };
  base::MutexLock l(kernel->tree_mu);
  switch (type) {
    case abi::kF_OWNER_TID: {
      auto& t = static_cast<Task&>(*who);
      if (!MaySignal(uid, euid, t)) return;
      tell([&](const abi::SigInfo& i) { return t.SendSignal(i); });
      return;
    }
    case abi::kF_OWNER_PID:
      if (!static_cast<ThreadGroup&>(*who).reaped) tell_group(static_cast<ThreadGroup&>(*who));
      return;
    default:
      for (ThreadGroup* g : static_cast<ProcessGroup&>(*who).members) tell_group(*g);
  }
}

void AsyncOwner::Deliver(Task& t) { IoEvent::SendAll(std::exchange(t.io_events, nullptr)); }

}  // namespace sentry
