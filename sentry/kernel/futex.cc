#include "sentry/kernel/futex.h"

#include <algorithm>
#include <array>

#include "absl/container/inlined_vector.h"
#include "sentry/kernel/kernel.h"

namespace sentry {
namespace {

struct Bucket;

// One sleeping task at one word. Lives on the sleeper's stack; listed in its bucket until it is
// woken or gives up.
struct Waiter {
  FutexKey key;
  uint32_t bitset = abi::kFUTEX_BITSET_MATCH_ANY;
  Task* task = nullptr;
  bool pi = false;
  // Of the engine's stub, which answers wakes that find nobody; null for shared futexes.
  uint16_t* local = nullptr;
  std::atomic<bool> woken{false};
  // Where it is listed; changes with a requeue, under both buckets' locks. Null: nowhere.
  std::atomic<Bucket*> bucket{nullptr};
  Waiter* prev = nullptr;
  Waiter* next = nullptr;
};

struct alignas(64) Bucket {
  base::Mutex<base::LockClass::kFutex> mu;
  // In order of arrival. Only under mu, but count: a waiter enters itself before it looks at the
  // word, so 0 tells a waker, which changed the word before, that nobody waits.
  Waiter* head = nullptr;
  Waiter* tail = nullptr;
  std::atomic<uint32_t> count{0};

  void Add(Waiter* w) {
    w->bucket.store(this, std::memory_order_relaxed);
    w->next = nullptr;
    w->prev = tail;
    (tail ? tail->next : head) = w;
    tail = w;
  }
  void Unlink(Waiter* w) {
    (w->prev ? w->prev->next : head) = w->next;
    (w->next ? w->next->prev : tail) = w->prev;
    Leave(w);
  }
  void Enter(Waiter* w) {
    count.fetch_add(1, std::memory_order_seq_cst);
    if (w->local != nullptr) __atomic_fetch_add(w->local, 1, __ATOMIC_SEQ_CST);
  }
  void Leave(Waiter* w) {
    count.fetch_sub(1, std::memory_order_relaxed);
    if (w->local != nullptr) __atomic_fetch_sub(w->local, 1, __ATOMIC_RELAXED);
  }
};

constexpr size_t kBuckets = 256;
std::array<Bucket, kBuckets> buckets;
// Tasks that wait for PI locks: usually none, and then an ending task need not look.
std::atomic<uint32_t> pi_waiters{0};

Bucket& BucketOf(const FutexKey& key) {
  uint64_t h = reinterpret_cast<uint64_t>(key.object.get()) / 64 + key.offset / 4;
  h *= 0x9e3779b97f4a7c15;
  return buckets[h >> 56];
}

uint16_t* LocalCount(Task& t, uint64_t addr, bool is_private) {
  platform::LocalSpace* local = is_private ? t.mm().address_space().local() : nullptr;
  return local == nullptr ? nullptr : &local->futex_waiters[platform::LocalSpace::BucketOf(addr)];
}

// How many may sleep in the engine's stub, or kMoved for how many nobody knows.
int32_t LocalSleepers(Task& t, uint64_t addr, bool is_private) {
  platform::LocalSpace* local = is_private ? t.mm().address_space().local() : nullptr;
  if (local == nullptr) return 0;
  return __atomic_load_n(&local->futex_sleepers[platform::LocalSpace::BucketOf(addr)],
                         __ATOMIC_SEQ_CST);
}

// Wakes up to count of them, before the task goes back to the guest: how many, as far as the sentry
// knows.
int32_t WakeLocal(Task& t, uint64_t addr, bool is_private, int32_t count) {
  const int32_t n = count > 0 ? LocalSleepers(t, addr, is_private) : 0;
  if (n == 0) return 0;
  t.mm().address_space().WakeLocal(addr, static_cast<uint32_t>(count));
  return std::min(n & (platform::LocalSpace::kMoved - 1), count);
}

// Tasks to wake once the bucket is unlocked. The references keep their parkers alive.
using WakeList = absl::InlinedVector<base::Ref<Task>, 8>;

void TakeOut(Bucket& b, Waiter* w, WakeList* wake) {
  b.Unlink(w);
  w->bucket.store(nullptr, std::memory_order_relaxed);
  wake->push_back(base::Ref<Task>(w->task));
  // From here on the waiter may be gone.
  w->woken.store(true, std::memory_order_release);
}

void Wake(WakeList& list) {
  for (base::Ref<Task>& t : list) t->parker().Unpark();
}

int32_t WakeIn(Bucket& b, const FutexKey& key, int32_t count, uint32_t bitset, WakeList* wake) {
  int32_t n = 0;
  for (Waiter* w = b.head; w != nullptr;) {
    Waiter* next = w->next;
    if (!w->pi && w->key == key && (w->bitset & bitset) != 0) {
      TakeOut(b, w, wake);
      if (++n >= count) break;
    }
    w = next;
  }
  return n;
}

// Takes a waiter that gives up off its list. True: it had been woken meanwhile.
bool GiveUp(Waiter* w) {
  for (;;) {
    Bucket* b = w->bucket.load(std::memory_order_acquire);
    if (b == nullptr) {
      // A waker has it in hand and touches it for the last time by setting the flag.
      while (!w->woken.load(std::memory_order_acquire)) __builtin_ia32_pause();
      return true;
    }
    base::MutexLock lock(b->mu);
    if (w->bucket.load(std::memory_order_relaxed) != b) continue;
    b->Unlink(w);
    w->bucket.store(nullptr, std::memory_order_relaxed);
    return false;
  }
}

base::Result<void> Sleep(Task& t, Waiter* w, int64_t deadline) {
  while (!w->woken.load(std::memory_order_acquire)) {
    base::Result<void> r = t.Block(deadline);
    if (w->woken.load(std::memory_order_acquire)) break;
    if (!r.ok()) {
      if (GiveUp(w)) return {};
      return r;
    }
  }
  return {};
}

uint32_t Tid(const Task& t) { return static_cast<uint32_t>(t.tid()) & abi::kFUTEX_TID_MASK; }

}  // namespace

base::Result<FutexKey> GetFutexKey(Task& t, UserAddr addr, bool is_private) {
  if (addr.value % 4 != 0) return abi::Errno::kEINVAL;
  if (is_private) {
    // access_ok().
    if (addr.value >= t.kernel().platform().user_range().max) return abi::Errno::kEFAULT;
    return FutexKey{base::Ref<base::RefCounted>(&t.mm()), addr.value};
  }
  return t.mm().SharedFutexKey(addr);
}

base::Result<void> FutexWait(Task& t, UserAddr addr, bool is_private, uint32_t value,
                             uint32_t bitset, int64_t deadline) {
  if (bitset == 0) return abi::Errno::kEINVAL;
  Waiter w;
  w.key = TRY(GetFutexKey(t, addr, is_private));
  w.bitset = bitset;
  w.task = &t;
  w.local = LocalCount(t, addr.value, is_private);
  t.parker().Reset();
  Bucket& b = BucketOf(w.key);
  {
    base::MutexLock lock(b.mu);
    b.Enter(&w);
    auto now = t.mm().Load32(addr);
    if (!now.ok() || *now != value) {
      b.Leave(&w);
      if (!now.ok()) return now.error();
      return abi::Errno::kEAGAIN;
    }
    b.Add(&w);
  }
  return Sleep(t, &w, deadline);
}

base::Result<uint32_t> FutexWaitMany(Task& t, std::span<const FutexWaitOne> futexes,
                                     int64_t deadline) {
  std::vector<Waiter> waiters(futexes.size());
  t.parker().Reset();
  for (size_t i = 0; i < futexes.size(); i++) {
    waiters[i].key = TRY(GetFutexKey(t, futexes[i].addr, futexes[i].is_private));
    waiters[i].task = &t;
    waiters[i].local = LocalCount(t, futexes[i].addr.value, futexes[i].is_private);
  }
  size_t listed = 0;
  base::Result<void> result;
  // Gives up all that are listed; the first that was woken.
  auto unlist = [&]() -> int64_t {
    int64_t woken = -1;
    for (size_t i = 0; i < listed; i++) {
      if (GiveUp(&waiters[i]) && woken < 0) woken = static_cast<int64_t>(i);
    }
    return woken;
  };
  for (; listed < futexes.size(); listed++) {
    Waiter& w = waiters[listed];
    Bucket& b = BucketOf(w.key);
    base::MutexLock lock(b.mu);
    b.Enter(&w);
    auto now = t.mm().Load32(futexes[listed].addr);
    if (!now.ok() || *now != futexes[listed].value) {
      b.Leave(&w);
      result = now.ok() ? base::Error(abi::Errno::kEAGAIN) : now.error();
      break;
    }
    b.Add(&w);
  }
  while (result.ok()) {
    bool woken = false;
    for (Waiter& w : waiters) woken |= w.woken.load(std::memory_order_acquire);
    if (woken) break;
    result = t.Block(deadline);
  }
  int64_t index = unlist();
  if (index >= 0) return static_cast<uint32_t>(index);
  return result.error();
}

base::Result<int32_t> FutexWake(Task& t, UserAddr addr, bool is_private, int32_t count,
                                uint32_t bitset) {
  if (bitset == 0) return abi::Errno::kEINVAL;
  FutexKey key = TRY(GetFutexKey(t, addr, is_private));
  Bucket& b = BucketOf(key);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  int32_t n = 0;
  if (b.count.load(std::memory_order_relaxed) != 0) {
    WakeList wake;
    {
      base::MutexLock lock(b.mu);
      n = WakeIn(b, key, count, bitset, &wake);
    }
    Wake(wake);
  }
  // At least one, as WakeIn(). Those in the stub wait for any bit.
  return n + WakeLocal(t, addr.value, is_private, std::max(count, 1) - n);
}

base::Result<int32_t> FutexRequeue(Task& t, UserAddr from, bool from_private, UserAddr to,
                                   bool to_private, int32_t wake_count, int32_t move,
                                   const uint32_t* expected) {
  if (wake_count < 0 || move < 0) return abi::Errno::kEINVAL;
  FutexKey key1 = TRY(GetFutexKey(t, from, from_private));
  FutexKey key2 = TRY(GetFutexKey(t, to, to_private));
  Bucket& b1 = BucketOf(key1);
  Bucket& b2 = BucketOf(key2);
  WakeList wake;
  uint16_t* local2 = LocalCount(t, to.value, to_private);
  std::vector<FutexKey> old_keys;  // die after the locks
  int32_t woken = 0, moved = 0;
  {
    base::MutexLock2 lock(b1.mu, b2.mu);
    if (expected != nullptr) {
      uint32_t now = TRY(t.mm().Load32(from));
      if (now != *expected) return abi::Errno::kEAGAIN;
    }
    for (Waiter* w = b1.head; w != nullptr && (woken < wake_count || moved < move);) {
      Waiter* next = w->next;
      if (w->key == key1 && !w->pi) {
        if (woken < wake_count) {
          TakeOut(b1, w, &wake);
          woken++;
        } else if (key1 == key2) {
          moved++;
        } else {
          b1.Unlink(w);
          old_keys.push_back(std::exchange(w->key, key2));
          w->local = local2;
          b2.Enter(w);
          b2.Add(w);
          moved++;
        }
      }
      w = next;
    }
  }
  Wake(wake);
  wake_count -= woken, move -= moved;
  const int32_t sleepers =
      (wake_count | move) != 0 ? LocalSleepers(t, from.value, from_private) : 0;
  if (sleepers > 0) {
    // A shared futex they can't be moved to: they wake up, and look again.
    const int32_t known = sleepers & (platform::LocalSpace::kMoved - 1);
    const int32_t wake_now = std::min(wake_count, known);
    const int32_t move_now = std::min(move, known - wake_now);
    if (to_private) {
      t.mm().address_space().MoveLocal(from.value, static_cast<uint32_t>(wake_count), to.value,
                                       static_cast<uint32_t>(move));
    } else {
      t.mm().address_space().WakeLocal(from.value, UINT32_MAX);
    }
    woken += wake_now, moved += move_now;
  }
  return woken + moved;
}

base::Result<int32_t> FutexWakeOp(Task& t, UserAddr addr, UserAddr addr2, bool is_private,
                                  int32_t wake_count, int32_t wake2, uint32_t encoded) {
  // futex_atomic_op_inuser().
  uint32_t op = encoded >> 28 & 7, cmp = encoded >> 24 & 15;
  auto sign12 = [](uint32_t v) { return static_cast<int32_t>(v << 20) >> 20; };
  int32_t arg = sign12(encoded >> 12), cmp_arg = sign12(encoded);
  if (encoded >> 28 & abi::kFUTEX_OP_OPARG_SHIFT) {
    arg = static_cast<int32_t>(uint32_t{1} << (static_cast<uint32_t>(arg) & 31));
  }
  FutexKey key1 = TRY(GetFutexKey(t, addr, is_private));
  FutexKey key2 = TRY(GetFutexKey(t, addr2, is_private));
  Bucket& b1 = BucketOf(key1);
  Bucket& b2 = BucketOf(key2);
  WakeList wake;
  int32_t n, n2 = 0;
  bool second;
  {
    base::MutexLock2 lock(b1.mu, b2.mu);
    if (op > abi::kFUTEX_OP_XOR) return abi::Errno::kENOSYS;
    uint32_t old = TRY(t.mm().Load32(addr2));
    for (;;) {
      uint32_t a = static_cast<uint32_t>(arg), v;
      switch (op) {
        case abi::kFUTEX_OP_SET:
          v = a;
          break;
        case abi::kFUTEX_OP_ADD:
          v = old + a;
          break;
        case abi::kFUTEX_OP_OR:
          v = old | a;
          break;
        case abi::kFUTEX_OP_ANDN:
          v = old & ~a;
          break;
        default:
          v = old ^ a;
          break;
      }
      uint32_t seen = TRY(t.mm().CompareExchange32(addr2, old, v));
      if (seen == old) break;
      old = seen;
    }
    int32_t value = static_cast<int32_t>(old);
    switch (cmp) {
      case abi::kFUTEX_OP_CMP_EQ:
        second = value == cmp_arg;
        break;
      case abi::kFUTEX_OP_CMP_NE:
        second = value != cmp_arg;
        break;
      case abi::kFUTEX_OP_CMP_LT:
        second = value < cmp_arg;
        break;
      case abi::kFUTEX_OP_CMP_LE:
        second = value <= cmp_arg;
        break;
      case abi::kFUTEX_OP_CMP_GT:
        second = value > cmp_arg;
        break;
      case abi::kFUTEX_OP_CMP_GE:
        second = value >= cmp_arg;
        break;
      default:
        return abi::Errno::kENOSYS;
    }
    n = WakeIn(b1, key1, wake_count, abi::kFUTEX_BITSET_MATCH_ANY, &wake);
    if (second) n2 = WakeIn(b2, key2, wake2, abi::kFUTEX_BITSET_MATCH_ANY, &wake);
  }
  Wake(wake);
  n += WakeLocal(t, addr.value, is_private, std::max(wake_count, 1) - n);
  if (second) n2 += WakeLocal(t, addr2.value, is_private, std::max(wake2, 1) - n2);
  return n + n2;
}

// --- priority inheritance locks ---

namespace {

// Stores a word's new value, whatever it was: the bucket's lock keeps other lockers away, and the
// guest itself changes only words without FUTEX_WAITERS.
base::Result<void> SetWord(MemoryManager& mm, UserAddr addr, uint32_t value) {
  return mm.Store32(addr, value);
}

// The next owner of a PI lock, if somebody waits, taken off the list; *more: others remain.
Waiter* NextOwner(Bucket& b, const FutexKey& key, bool* more) {
  Waiter* first = nullptr;
  *more = false;
  for (Waiter* w = b.head; w != nullptr; w = w->next) {
    if (!w->pi || !(w->key == key)) continue;
    if (first == nullptr) {
      first = w;
    } else {
      *more = true;
      break;
    }
  }
  return first;
}

}  // namespace

base::Result<void> FutexLockPi(Task& t, UserAddr addr, bool is_private, bool try_only,
                               int64_t deadline) {
  Waiter w;
  w.key = TRY(GetFutexKey(t, addr, is_private));
  w.task = &t;
  w.local = LocalCount(t, addr.value, is_private);
  w.pi = true;
  const uint32_t tid = Tid(t);
  Bucket& b = BucketOf(w.key);
  MemoryManager& mm = t.mm();
  t.parker().Reset();
  {
    base::MutexLock lock(b.mu);
    // futex_lock_pi_atomic().
    uint32_t word = TRY(mm.Load32(addr));
    for (;;) {
      uint32_t owner = word & abi::kFUTEX_TID_MASK;
      if (owner == tid) return abi::Errno::kEDEADLK;
      if (owner == 0) {
        // Free, or its owner died: the bits about waiters and death stay.
        uint32_t taken = tid | (word & (abi::kFUTEX_WAITERS | abi::kFUTEX_OWNER_DIED));
        uint32_t seen = TRY(mm.CompareExchange32(addr, word, taken));
        if (seen == word) return {};
        word = seen;
        continue;
      }
      if (try_only) return abi::Errno::kEAGAIN;
      {
        base::MutexLock tree(t.kernel().tree_mu);
        if (t.pid_ns()->FindTask(static_cast<int32_t>(owner)) == nullptr) return abi::Errno::kESRCH;
      }
      uint32_t seen = TRY(mm.CompareExchange32(addr, word, word | abi::kFUTEX_WAITERS));
      if (seen == word) break;
      word = seen;
    }
    b.Enter(&w);
    b.Add(&w);
    pi_waiters.fetch_add(1);
  }
  base::Result<void> r = Sleep(t, &w, deadline);
  pi_waiters.fetch_sub(1);
  // Whoever unlocked made this task the owner in the word already. Linux restarts after a signal.
  if (!r.ok() && r.error().is_restart()) return base::Restart::kNoIntr;
  return r;
}

base::Result<void> FutexUnlockPi(Task& t, UserAddr addr, bool is_private) {
  FutexKey key = TRY(GetFutexKey(t, addr, is_private));
  Bucket& b = BucketOf(key);
  WakeList wake;
  {
    base::MutexLock lock(b.mu);
    uint32_t word = TRY(t.mm().Load32(addr));
    for (;;) {
      if ((word & abi::kFUTEX_TID_MASK) != Tid(t)) return abi::Errno::kEPERM;
      bool more;
      Waiter* next = NextOwner(b, key, &more);
      uint32_t value = next ? Tid(*next->task) | (more ? abi::kFUTEX_WAITERS : 0) : 0;
      uint32_t seen = TRY(t.mm().CompareExchange32(addr, word, value));
      if (seen == word) {
        if (next) TakeOut(b, next, &wake);
        break;
      }
      word = seen;
    }
  }
  Wake(wake);
  return {};
}

// --- the end of a task ---

void FutexWakeAddr(Task& t, UserAddr addr, int32_t count) {
  (void)FutexWake(t, addr, false, count, abi::kFUTEX_BITSET_MATCH_ANY);
}

namespace {

// handle_futex_death(). False: the list is not worth following.
bool MarkDead(Task& t, uint64_t addr, bool pi, bool pending) {
  if (addr % 4 != 0) return false;
  MemoryManager& mm = t.mm();
  auto loaded = mm.Load32(UserAddr{addr});
  if (!loaded.ok()) return false;
  uint32_t word = *loaded;
  if (pending && !pi && word == 0) {
    // The unlocker died between the store and the wake-up.
    FutexWakeAddr(t, UserAddr{addr}, 1);
    return true;
  }
  for (;;) {
    if ((word & abi::kFUTEX_TID_MASK) != Tid(t)) return true;
    uint32_t dead = (word & abi::kFUTEX_WAITERS) | abi::kFUTEX_OWNER_DIED;
    auto seen = mm.CompareExchange32(UserAddr{addr}, word, dead);
    if (!seen.ok()) return false;
    if (*seen == word) break;
    word = *seen;
  }
  if (word & abi::kFUTEX_WAITERS) {
    if (!pi) {
      FutexWakeAddr(t, UserAddr{addr}, 1);
      return true;
    }
    auto key = GetFutexKey(t, UserAddr{addr}, false);
    if (!key.ok()) return true;
    Bucket& b = BucketOf(*key);
    WakeList wake;
    {
      base::MutexLock lock(b.mu);
      bool more;
      if (Waiter* next = NextOwner(b, *key, &more)) {
        uint32_t value =
            Tid(*next->task) | abi::kFUTEX_OWNER_DIED | (more ? abi::kFUTEX_WAITERS : 0);
        if (SetWord(mm, UserAddr{addr}, value).ok()) TakeOut(b, next, &wake);
      }
    }
    Wake(wake);
  }
  return true;
}

}  // namespace

void ExitRobustList(Task& t) {
  // exit_robust_list(): everything may be nonsense.
  uint64_t head_addr = t.RobustList();
  t.SetRobustList(0);
  auto head = UserIn<abi::RobustListHead>{UserAddr{head_addr}}.Fetch(t.mm());
  if (!head.ok()) return;
  uint64_t offset = static_cast<uint64_t>(head->futex_offset);
  uint64_t pending = head->list_op_pending & ~uint64_t{1};
  uint64_t entry = head->list.next;
  for (int i = 0; i < abi::kROBUST_LIST_LIMIT; i++) {
    uint64_t at = entry & ~uint64_t{1};
    if (at == head_addr) break;
    bool pi = (entry & 1) != 0;
    auto next = UserIn<uint64_t>{UserAddr{at}}.Fetch(t.mm());
    // The lock may be freed by whoever gets it: read on first.
    if (at != pending && !MarkDead(t, at + offset, pi, false)) return;
    if (!next.ok()) return;
    entry = *next;
  }
  if (pending != 0) MarkDead(t, pending + offset, (head->list_op_pending & 1) != 0, true);
}

void ExitPiFutexes(Task& t) {
  if (pi_waiters.load() == 0) return;
  for (Bucket& b : buckets) {
    if (b.count.load(std::memory_order_relaxed) == 0) continue;
    WakeList wake;
    {
      base::MutexLock lock(b.mu);
      for (Waiter* w = b.head; w != nullptr;) {
        Waiter* following = w->next;
        // Waiters of this address space know the word by this task's own addresses.
        if (w->pi && w->key.object.get() == &t.mm()) {
          UserAddr addr{w->key.offset};
          auto word = t.mm().Load32(addr);
          bool more;
          if (word.ok() && (*word & abi::kFUTEX_TID_MASK) == Tid(t) &&
              NextOwner(b, w->key, &more) == w) {
            uint32_t value =
                Tid(*w->task) | abi::kFUTEX_OWNER_DIED | (more ? abi::kFUTEX_WAITERS : 0);
            if (SetWord(t.mm(), addr, value).ok()) TakeOut(b, w, &wake);
          }
        }
        w = following;
      }
    }
    Wake(wake);
  }
}

}  // namespace sentry
