#include "sentry/kernel/signal.h"

namespace sentry {
namespace {

constexpr SignalSet kSynchronous = SignalBit(abi::kSIGSEGV) | SignalBit(abi::kSIGBUS) |
                                   SignalBit(abi::kSIGILL) | SignalBit(abi::kSIGTRAP) |
                                   SignalBit(abi::kSIGFPE) | SignalBit(abi::kSIGSYS);

}  // namespace

void PendingSignals::Queue(const abi::SigInfo& info) {
  if (info.signo < abi::kSIGRTMIN && Has(info.signo)) return;
  Node* n = new Node{nullptr, info};
  if (tail_ != nullptr) {
    tail_->next = n;
  } else {
    head_ = n;
  }
  tail_ = n;
  queued_++;
  pending_ |= SignalBit(info.signo);
}

abi::SigInfo PendingSignals::Collect(int sig) {
  abi::SigInfo info = MakeSigInfo(sig, abi::kSI_USER);
  bool found = false, more = false;
  Node* prev = nullptr;
  for (Node* n = head_; n != nullptr;) {
    Node* next = n->next;
    if (n->info.signo == sig) {
      if (found) {
        more = true;
        break;
      }
      found = true;
      info = n->info;
      (prev != nullptr ? prev->next : head_) = next;
      if (tail_ == n) tail_ = prev;
      delete n;
      queued_--;
      if (sig < abi::kSIGRTMIN) break;
    } else {
      prev = n;
    }
    n = next;
  }
  if (!more) pending_ &= ~SignalBit(sig);
  return info;
}

abi::SigInfo PendingSignals::Dequeue(SignalSet blocked) {
  SignalSet ready = pending_ & ~blocked;
  if (ready == 0) return MakeSigInfo(0, 0);
  if ((ready & kSynchronous) != 0) ready &= kSynchronous;
  return Collect(__builtin_ctzll(ready) + 1);
}

abi::SigInfo PendingSignals::DequeueSynchronous(SignalSet blocked) {
  SignalSet ready = pending_ & ~blocked & kSynchronous;
  if (ready == 0) return MakeSigInfo(0, 0);
  for (Node* n = head_; n != nullptr; n = n->next) {
    int sig = n->info.signo;
    if (sig < abi::kSIGRTMIN && (ready & SignalBit(sig)) != 0 && n->info.code > abi::kSI_USER) {
      return Collect(sig);
    }
  }
  return MakeSigInfo(0, 0);
}

void PendingSignals::Discard(SignalSet set) {
  pending_ &= ~set;
  Node* prev = nullptr;
  for (Node* n = head_; n != nullptr;) {
    Node* next = n->next;
    if ((set & SignalBit(n->info.signo)) != 0) {
      (prev != nullptr ? prev->next : head_) = next;
      if (tail_ == n) tail_ = prev;
      delete n;
      queued_--;
    } else {
      prev = n;
    }
    n = next;
  }
}

abi::SigAction SignalHandlers::Get(int sig) {
  base::MutexLock l(mu_);
  return actions_[sig];
}

abi::SigAction SignalHandlers::Set(int sig, const abi::SigAction& a) {
  base::MutexLock l(mu_);
  abi::SigAction old = actions_[sig];
  actions_[sig] = a;
  return old;
}

base::Ref<SignalHandlers> SignalHandlers::Clone() {
  auto c = base::MakeRef<SignalHandlers>();
  base::MutexLock l(mu_);
  // Nobody else sees c yet; both locks are of one class, so its own is not taken.
  [&]() NO_THREAD_SAFETY_ANALYSIS { c->actions_ = actions_; }();
  return c;
}

void SignalHandlers::ResetForExec() {
  base::MutexLock l(mu_);
  for (abi::SigAction& a : actions_) {
    bool ignored = a.handler == abi::kSIG_IGN;
    a = abi::SigAction{};
    if (ignored) a.handler = abi::kSIG_IGN;
  }
}

void SignalHandlers::Sets(SignalSet* caught, SignalSet* ignored) {
  *caught = *ignored = 0;
  base::MutexLock l(mu_);
  for (int sig = 1; sig <= abi::kNSIG; sig++) {
    if (actions_[sig].handler == abi::kSIG_IGN) {
      *ignored |= SignalBit(sig);
    } else if (actions_[sig].handler != abi::kSIG_DFL) {
      *caught |= SignalBit(sig);
    }
  }
}

DefaultAction DefaultActionOf(int sig) {
  switch (sig) {
    case abi::kSIGCHLD:
    case abi::kSIGURG:
    case abi::kSIGWINCH:
      return DefaultAction::kIgnore;
    case abi::kSIGCONT:
      return DefaultAction::kContinue;
    case abi::kSIGSTOP:
    case abi::kSIGTSTP:
    case abi::kSIGTTIN:
    case abi::kSIGTTOU:
      return DefaultAction::kStop;
    case abi::kSIGQUIT:
    case abi::kSIGILL:
    case abi::kSIGTRAP:
    case abi::kSIGABRT:
    case abi::kSIGFPE:
    case abi::kSIGSEGV:
    case abi::kSIGBUS:
    case abi::kSIGSYS:
    case abi::kSIGXCPU:
    case abi::kSIGXFSZ:
      return DefaultAction::kCore;
    default:
      return DefaultAction::kTerminate;
  }
}

abi::SigInfo MakeSigInfo(int sig, int32_t code, int32_t pid, uint32_t uid) {
  abi::SigInfo info{};
  __builtin_memset(&info, 0, sizeof info);
  info.signo = sig;
  info.code = code;
  info.f.kill.pid = pid;
  info.f.kill.uid = uid;
  return info;
}

}  // namespace sentry
