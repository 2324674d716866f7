// poll(2), ppoll(2), select(2), pselect6(2).
#include "syscalls/abi/poll.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::kNoDeadline;

namespace {

class Listener : public sentry::WaitEntry {
 public:
  sentry::Parker* parker = nullptr;
  sentry::WaitQueue* queue = nullptr;
  bool OnReady(uint32_t) override {
    parker->Unpark();
    return true;
  }
};

struct Watch {
  base::Ref<File> file;
  uint32_t mask;        // events asked for, with EPOLLERR and EPOLLHUP
  uint32_t result = 0;  // those that are true
};

int Scan(std::span<Watch> watches) {
  int n = 0;
  for (Watch& w : watches) {
    w.result = w.file->Poll() & w.mask;
    n += w.result != 0;
  }
  return n;
}

// Sets result of every watch; how many are ready. deadline 0: does not wait. ERESTARTNOHAND.
base::Result<int> WaitAny(Task& task, std::span<Watch> watches, int64_t deadline) {
  int n = Scan(watches);
  if (n > 0 || deadline == 0) return n;
  std::unique_ptr<Listener[]> many;
  Listener few[4];
  Listener* listeners = few;
  if (watches.size() > 4) {
    many.reset(new Listener[watches.size()]);
    listeners = many.get();
  }
  task.parker().Reset();
  for (size_t i = 0; i < watches.size(); i++) {
    listeners[i].parker = &task.parker();
    listeners[i].queue = watches[i].file->wait_queue();
    if (listeners[i].queue == nullptr) continue;
    watches[i].file->WillWait(watches[i].mask);
    listeners[i].queue->Add(&listeners[i], watches[i].mask);
  }
  base::Result<void> r;
  for (;;) {
    n = Scan(watches);
    if (n > 0 || !r.ok()) break;
    r = task.Block(deadline);
  }
  for (size_t i = 0; i < watches.size(); i++) {
    if (listeners[i].queue != nullptr) listeners[i].queue->Remove(&listeners[i]);
  }
  if (n == 0 && !r.ok() && !r.is(abi::Errno::kETIMEDOUT)) return base::Restart::kNoHand;
  return n;
}

base::Result<int> DoPoll(Task& task, UserAddr fds, uint32_t nfds, int64_t deadline) {
  if (nfds > task.FileLimit()) return abi::Errno::kEINVAL;
  absl::InlinedVector<abi::Pollfd, 16> polled(nfds);
  TRY(task.mm().CopyIn(polled.data(), fds, nfds * sizeof(abi::Pollfd)));
  absl::InlinedVector<Watch, 8> watches;
  absl::InlinedVector<uint32_t, 8> index;
  watches.reserve(nfds);
  index.reserve(nfds);
  int bad = 0;
  for (uint32_t i = 0; i < nfds; i++) {
    polled[i].revents = 0;
    if (polled[i].fd < 0) continue;
    base::Result<base::Ref<File>> f = task.fds().Get(polled[i].fd);
    if (!f.ok()) {
      polled[i].revents = abi::kPOLLNVAL;
      bad++;
      continue;
    }
    uint32_t mask = static_cast<uint16_t>(polled[i].events);
    watches.push_back({std::move(*f), mask | abi::kEPOLLERR | abi::kEPOLLHUP});
    index.push_back(i);
  }
  base::Result<int> n = WaitAny(task, {watches.data(), watches.size()}, bad > 0 ? 0 : deadline);
  for (size_t k = 0; k < watches.size(); k++) {
    polled[index[k]].revents = static_cast<int16_t>(watches[k].result);
  }
  // Only revents is written (do_sys_poll()).
  for (uint32_t i = 0; i < nfds; i++) {
    UserAddr at = fds + i * sizeof(abi::Pollfd) + offsetof(abi::Pollfd, revents);
    TRY(task.mm().CopyOut(at, &polled[i].revents, sizeof polled[i].revents));
  }
  if (!n.ok()) return n.error();
  return *n + bad;
}

SyscallResult PollAgain(Task& task, UserAddr fds, uint32_t nfds, int64_t deadline) {
  base::Result<int> r = DoPoll(task, fds, nfds, deadline);
  if (!r.ok() && r.error() == base::Error(base::Restart::kNoHand)) {
    task.restart_block = [=](Task& t) { return PollAgain(t, fds, nfds, deadline); };
    return base::Restart::kRestartBlock;
  }
  return r;
}

// A relative time of the guest and what poll_select_finish() does with it.
struct Timeout {
  int64_t ns = -1;  // -1: none
  int64_t deadline = kNoDeadline;
  void Set(int64_t n) {
    ns = n;
    deadline = n == 0 ? 0 : DeadlineAfter(n);
  }
  int64_t Left() const {
    if (ns == 0 || deadline == 0) return 0;
    return std::max<int64_t>(deadline - sentry::HostClock().Monotonic(), 0);
  }
};

// Writes what is left back. If that fails, the call can't be restarted: it would wait anew.
template <typename Store>
SyscallResult Finish(base::Result<int> r, const Timeout& t, Store&& store) {
  if (t.ns < 0) return r;
  base::Result<void> s = store(t.Left());
  if (!s.ok() && !r.ok() && r.error() == base::Error(base::Restart::kNoHand)) {
    return abi::Errno::kEINTR;
  }
  return r;
}

constexpr uint32_t kInSet = abi::kEPOLLRDNORM | abi::kEPOLLRDBAND | abi::kEPOLLIN | abi::kEPOLLHUP |
                            abi::kEPOLLERR | abi::kEPOLLNVAL;
constexpr uint32_t kOutSet =
    abi::kEPOLLWRBAND | abi::kEPOLLWRNORM | abi::kEPOLLOUT | abi::kEPOLLERR | abi::kEPOLLNVAL;
constexpr uint32_t kExSet = abi::kEPOLLPRI | abi::kEPOLLNVAL;

// core_sys_select().
base::Result<int> DoSelect(Task& task, int32_t nfds, const UserAddr (&addr)[3], int64_t deadline) {
  if (nfds < 0) return abi::Errno::kEINVAL;
  // Linux looks at no more than its table's size.
  constexpr int32_t kMaxFds = 1 << 20;
  size_t n = static_cast<size_t>(std::min(nfds, kMaxFds));
  size_t words = (n + 63) / 64;
  absl::InlinedVector<uint64_t, 48> bits(words * 3);
  for (int s = 0; s < 3; s++) {
    if (addr[s].null()) continue;
    TRY(task.mm().CopyIn(bits.data() + s * words, addr[s], words * 8));
  }
  absl::InlinedVector<Watch, 8> watches;
  absl::InlinedVector<uint32_t, 8> fd_of;
  for (size_t w = 0; w < words; w++) {
    uint64_t in = bits[w], out = bits[words + w], ex = bits[2 * words + w];
    uint64_t all = in | out | ex;
    if (w == words - 1 && n % 64 != 0) all &= (uint64_t{1} << (n % 64)) - 1;
    for (; all != 0; all &= all - 1) {
      int b = std::countr_zero(all);
      uint64_t bit = uint64_t{1} << b;
      base::Ref<File> f = TRY(task.fds().Get(static_cast<int32_t>(w * 64 + b)));
      uint32_t mask = abi::kEPOLLERR | abi::kEPOLLHUP;
      if (in & bit) mask |= kInSet;
      if (out & bit) mask |= kOutSet;
      if (ex & bit) mask |= kExSet;
      // A hang-up counts only for readers, an error not for those who wait for exceptions.
      if ((in & bit) == 0) mask &= ~abi::kEPOLLHUP;
      if (((in | out) & bit) == 0) mask &= ~abi::kEPOLLERR;
      watches.push_back({std::move(f), mask});
      fd_of.push_back(static_cast<uint32_t>(w * 64 + b));
    }
  }
  TRY(WaitAny(task, {watches.data(), watches.size()}, deadline));
  absl::InlinedVector<uint64_t, 48> result(words * 3);
  int count = 0;
  for (size_t k = 0; k < watches.size(); k++) {
    size_t w = fd_of[k] / 64;
    uint64_t bit = uint64_t{1} << (fd_of[k] % 64);
    constexpr uint32_t kSets[3] = {kInSet, kOutSet, kExSet};
    for (int s = 0; s < 3; s++) {
      if ((bits[s * words + w] & bit) && (watches[k].result & kSets[s])) {
        result[s * words + w] |= bit;
        count++;
      }
    }
  }
  for (int s = 0; s < 3; s++) {
    if (addr[s].null()) continue;
    TRY(task.mm().CopyOut(addr[s], result.data() + s * words, words * 8));
  }
  return count;
}

}  // namespace

SyscallResult sys_poll(Task& task, UserAddr fds, uint32_t nfds, int32_t timeout_ms) {
  int64_t deadline = timeout_ms < 0    ? kNoDeadline
                     : timeout_ms == 0 ? 0
                                       : DeadlineAfter(int64_t{timeout_ms} * 1000000);
  return PollAgain(task, fds, nfds, deadline);
}

SyscallResult sys_ppoll(Task& task, UserAddr fds, uint32_t nfds, UserInOut<abi::Timespec> timeout,
                        UserIn<abi::SigSet> sigmask, uint64_t sigsetsize) {
  Timeout t;
  if (!timeout.null()) {
    abi::Timespec ts = TRY(timeout.Fetch(task.mm()));
    if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
    t.Set(TimespecToNs(ts));
  }
  TRY(SetCallMask(task, sigmask.addr, sigsetsize));
  return Finish(DoPoll(task, fds, nfds, t.deadline), t, [&](int64_t left) {
    return timeout.Store(task.mm(), {left / abi::kNsPerSec, left % abi::kNsPerSec});
  });
}

SyscallResult sys_select(Task& task, int32_t nfds, UserAddr readfds, UserAddr writefds,
                         UserAddr exceptfds, UserInOut<abi::Timeval> timeout) {
  Timeout t;
  if (!timeout.null()) {
    abi::Timeval tv = TRY(timeout.Fetch(task.mm()));
    // kern_select() carries whole seconds over before it checks.
    if (tv.usec < 0 || tv.sec < 0) return abi::Errno::kEINVAL;
    int64_t sec = tv.usec / 1000000;
    sec = tv.sec > INT64_MAX - sec ? INT64_MAX : tv.sec + sec;
    t.Set(TimespecToNs({sec, tv.usec % 1000000 * 1000}));
  }
  return Finish(
      DoSelect(task, nfds, {readfds, writefds, exceptfds}, t.deadline), t, [&](int64_t left) {
        return timeout.Store(task.mm(), {left / abi::kNsPerSec, left % abi::kNsPerSec / 1000});
      });
}

SyscallResult sys_pselect6(Task& task, int32_t nfds, UserAddr readfds, UserAddr writefds,
                           UserAddr exceptfds, UserInOut<abi::Timespec> timeout,
                           UserAddr sigmask_arg) {
  abi::SigSetArg mask{};
  if (!sigmask_arg.null()) {
    TRY(task.mm().CopyIn(&mask, sigmask_arg, sizeof mask));
  }
  Timeout t;
  if (!timeout.null()) {
    abi::Timespec ts = TRY(timeout.Fetch(task.mm()));
    if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
    t.Set(TimespecToNs(ts));
  }
  TRY(SetCallMask(task, UserAddr{mask.set}, mask.size));
  return Finish(DoSelect(task, nfds, {readfds, writefds, exceptfds}, t.deadline), t,
                [&](int64_t left) {
                  return timeout.Store(task.mm(), {left / abi::kNsPerSec, left % abi::kNsPerSec});
                });
}

}  // namespace syscalls
