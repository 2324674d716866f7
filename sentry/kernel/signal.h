// Signals: sets, queues, dispositions (signal(7); kernel/signal.c).
#pragma once

#include <array>
#include <cstdint>

#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "sentry/wait/wait_queue.h"
#include "syscalls/abi/signal.h"

namespace sentry {

using SignalSet = uint64_t;  // bit n-1 is signal n
constexpr SignalSet SignalBit(int sig) { return SignalSet{1} << (sig - 1); }
constexpr SignalSet kUnblockable =
    (SignalSet{1} << (9 - 1)) | (SignalSet{1} << (19 - 1));  // SIGKILL, SIGSTOP
constexpr SignalSet kStopSignals =
    SignalBit(19) | SignalBit(20) | SignalBit(21) | SignalBit(22);  // STOP, TSTP, TTIN, TTOU
constexpr bool ValidSignal(uint64_t sig) { return sig <= 64; }      // 0 is valid: a mere check

// Pending signals of a task or a thread group. Not thread-safe: guarded by the thread group's
// signal lock.
class PendingSignals {
 public:
  PendingSignals() = default;
  ~PendingSignals() { Discard(~SignalSet{0}); }
  PendingSignals(const PendingSignals&) = delete;
  PendingSignals& operator=(const PendingSignals&) = delete;
  // Standard signals are kept once (true, nothing done if pending already); real-time ones queue.
  // The caller accounts for RLIMIT_SIGPENDING.
  void Queue(const abi::SigInfo& info);
  // Makes it pending without a siginfo (the queue limit was reached).
  void Mark(int sig) { pending_ |= SignalBit(sig); }
  bool Has(int sig) const { return (pending_ & SignalBit(sig)) != 0; }
  // Takes the next signal not in blocked: lowest number first, synchronous ones before
  // (next_signal()). signo 0: none.
  abi::SigInfo Dequeue(SignalSet blocked);
  // Only a signal that the task's own action raised (dequeue_synchronous_signal()).
  abi::SigInfo DequeueSynchronous(SignalSet blocked);
  void Discard(SignalSet set);
  SignalSet pending() const { return pending_; }
  uint32_t queued() const { return queued_; }

 private:
  struct Node {
    Node* next;
    abi::SigInfo info;
  };
  abi::SigInfo Collect(int sig);

  SignalSet pending_ = 0;
  uint32_t queued_ = 0;
  Node* head_ = nullptr;
  Node* tail_ = nullptr;
};

// Dispositions, shared by tasks cloned with CLONE_SIGHAND. Guarded by its own lock.
class SignalHandlers : public base::RefCounted {
 public:
  abi::SigAction Get(int sig);
  abi::SigAction Set(int sig, const abi::SigAction& a);
  base::Ref<SignalHandlers> Clone();
  // exec and CLONE_CLEAR_SIGHAND: handlers become default, ignored ones stay.
  void ResetForExec();
  // The sets of caught and of ignored signals, for /proc/[pid]/status.
  void Sets(SignalSet* caught, SignalSet* ignored);

 private:
  base::Mutex<base::LockClass::kLeaf> mu_;
  std::array<abi::SigAction, 65> actions_ GUARDED_BY(mu_){};
};

// What a signal does when it is not caught.
enum class DefaultAction : uint8_t { kTerminate, kCore, kStop, kIgnore, kContinue };
DefaultAction DefaultActionOf(int sig);

// A siginfo for kill(2)-like signals: all other bytes zero. pid: in the namespace of the receiver.
abi::SigInfo MakeSigInfo(int sig, int32_t code, int32_t pid = 0, uint32_t uid = 0);
// As sent by the sentry itself (SEND_SIG_PRIV): code SI_KERNEL.
inline abi::SigInfo KernelSigInfo(int sig) { return MakeSigInfo(sig, abi::kSI_KERNEL); }

}  // namespace sentry
