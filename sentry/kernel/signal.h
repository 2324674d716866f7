// Signals: sets, queues, dispositions (signal(7); kernel/signal.c).
#pragma once

#include <array>
#include <cstdint>
#include <deque>

#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "sentry/wait/wait_queue.h"
#include "syscalls/abi/signal.h"

namespace sentry {

using SignalSet = uint64_t;  // bit n-1 is signal n
constexpr SignalSet SignalBit(int sig) { return SignalSet{1} << (sig - 1); }
constexpr SignalSet kUnblockable =
    (SignalSet{1} << (9 - 1)) | (SignalSet{1} << (19 - 1));  // SIGKILL, SIGSTOP

// Pending signals of a task or a thread group. Not thread-safe: guarded by the thread group's
// signal lock.
class PendingSignals {
 public:
  // Standard signals are kept once; real-time ones queue (false: RLIMIT_SIGPENDING reached; the
  // caller accounts).
  bool Queue(const abi::SigInfo& info);
  // Takes the next signal not in blocked: lowest number first, synchronous ones before
  // (next_signal()). signo 0: none.
  abi::SigInfo Dequeue(SignalSet blocked);
  void Discard(SignalSet set);
  SignalSet pending() const { return pending_; }
  uint32_t queued() const { return queued_; }

 private:
  SignalSet pending_ = 0;
  uint32_t queued_ = 0;
  std::array<std::deque<abi::SigInfo>, 64> queues_;
};

// Dispositions, shared by tasks cloned with CLONE_SIGHAND. Guarded by its own lock.
class SignalHandlers : public base::RefCounted {
 public:
  abi::SigAction Get(int sig);
  abi::SigAction Set(int sig, const abi::SigAction& a);
  base::Ref<SignalHandlers> Clone();
  // exec: handlers become default, ignored ones stay.
  void ResetForExec();

 private:
  base::Mutex<base::LockClass::kLeaf> mu_;
  std::array<abi::SigAction, 65> actions_ GUARDED_BY(mu_){};
};

// What a signal does when it is not caught.
enum class DefaultAction : uint8_t { kTerminate, kCore, kStop, kIgnore, kContinue };
DefaultAction DefaultActionOf(int sig);

}  // namespace sentry
