#include "sentry/fs/anon/epoll.h"

#include <algorithm>
#include <cstdio>

#include "absl/container/inlined_vector.h"
#include "platform/base/log.h"
#include "sentry/fs/anon/anon_inode.h"

namespace sentry {

namespace {
constexpr uint32_t kPrivateBits =
    abi::kEPOLLWAKEUP | abi::kEPOLLONESHOT | abi::kEPOLLET | abi::kEPOLLEXCLUSIVE;
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr int kMaxNests = 4;  // EP_MAX_NESTS
}  // namespace

struct Epoll::Item : public WaitEntry {
  Item(Epoll& o, File& f, int32_t d) : owner(o), file(f), fd(d) {}
  ~Item() override = default;

  // ep_poll_callback().
  bool OnReady(uint32_t ready) override {
    bool exclusive;
    {
      base::MutexLock lock(owner.ready_mu_);
      uint32_t ev = events.load(std::memory_order_relaxed);
      exclusive = (ev & abi::kEPOLLEXCLUSIVE) != 0;
      // A one-shot item that has fired, or an event that nobody asked for.
      if ((ev & ~kPrivateBits) == 0 || (ready & ev) == 0) return false;
      owner.PushReadyLocked(this);
    }
    bool waiters = !owner.queue_.empty();
    if (waiters) owner.queue_.WakeNested(kReadable);
    return !exclusive || waiters;
  }

  Epoll& owner;
  File& file;
  const int32_t fd;
  WaitQueue* queue = nullptr;
  // Written under both locks, read under either.
  std::atomic<uint32_t> events{0};
  uint64_t data = 0;
  // Guarded by ready_mu_.
  bool on_ready = false;
  Item* prev = nullptr;
  Item* next = nullptr;
};

// Which items watch a file. Epoll instances are reached from files, and from instances that
// they are nested in, without locks of theirs.
struct EpollGraph {
  base::Mutex<base::LockClass::kLeaf> mu;
  absl::flat_hash_map<const File*, std::vector<Epoll::Item*>> watchers GUARDED_BY(mu);
  // Serialises additions of one instance to another, so that the search for loops holds.
  base::Mutex<base::LockClass::kEpollNest> nest_mu;

  static EpollGraph& Get() {
    static auto* g = [] {
      File::epoll_release_hook = &Release;
      return new EpollGraph;
    }();
    return *g;
  }
  void Link(Epoll::Item* item) {
    base::MutexLock lock(mu);
    watchers[&item->file].push_back(item);
  }
  void Unlink(Epoll::Item* item) {
    base::MutexLock lock(mu);
    auto it = watchers.find(&item->file);
    if (it == watchers.end()) return;
    auto& v = it->second;
    v.erase(std::remove(v.begin(), v.end(), item), v.end());
    if (v.empty()) watchers.erase(it);
  }
  // An item in the table keeps its instance alive: EpollFile clears before it drops the instance.
  base::Ref<Epoll> AnyWatcher(const File* f) {
    base::MutexLock lock(mu);
    auto it = watchers.find(f);
    if (it == watchers.end()) return nullptr;
    return base::Ref<Epoll>(&it->second.front()->owner);
  }
  // The descriptors under which owner watches f.
  absl::InlinedVector<int32_t, 4> FdsOf(const File* f, const Epoll* owner) {
    absl::InlinedVector<int32_t, 4> fds;
    base::MutexLock lock(mu);
    auto it = watchers.find(f);
    if (it == watchers.end()) return fds;
    for (const Epoll::Item* i : it->second) {
      if (&i->owner == owner) fds.push_back(i->fd);
    }
    return fds;
  }
  // Visits left: a guest can build a graph with very many paths.
  int budget GUARDED_BY(mu) = 0;
  // How many instances are stacked on the one behind f; kMaxNests + 1 for more than allowed.
  // ep_get_upwards_depth_proc().
  int DepthAbove(const Epoll* e, int depth) REQUIRES_LOCK(mu) {
    if (depth > kMaxNests || budget-- <= 0) return kMaxNests + 1;
    int max = depth;
    for (const auto& [f, items] : watchers) {
      if (f->kind() != &EpollFile::kKind) continue;
      if (&static_cast<const EpollFile*>(f)->epoll() != e) continue;
      for (Epoll::Item* i : items) max = std::max(max, DepthAbove(&i->owner, depth + 1));
    }
    return max;
  }
  // The longest chain below f's instance; kMaxNests + 1 if it holds target or is too long.
  int DepthBelow(const Epoll* e, const Epoll* target, int depth) REQUIRES_LOCK(mu) {
    if (e == target || depth > kMaxNests || budget-- <= 0) return kMaxNests + 1;
    int max = depth;
    for (const auto& [f, items] : watchers) {
      if (f->kind() != &EpollFile::kKind) continue;
      for (Epoll::Item* i : items) {
        if (&i->owner != e) continue;
        max = std::max(max,
                       DepthBelow(&static_cast<const EpollFile*>(f)->epoll(), target, depth + 1));
      }
    }
    return max;
  }

  static void Release(const File* f) {
    while (base::Ref<Epoll> e = Get().AnyWatcher(f)) e->RemoveFile(f);
  }
};

// How many instances the calling thread has locked.
static thread_local int epoll_lock_depth = 0;

class SCOPED_CAPABILITY Epoll::Lock {
 public:
  explicit Lock(Epoll& e) ACQUIRE_LOCK(e.mu_) : e_(e) { e_.mu_.Lock(epoll_lock_depth++ > 0); }
  ~Lock() RELEASE_LOCK() { e_.mu_.Unlock(--epoll_lock_depth > 0); }

 private:
  Epoll& e_;
};

bool Epoll::PushReadyLocked(Item* item) {
  if (item->on_ready) return false;
  item->on_ready = true;
  item->prev = ready_tail_;
  item->next = nullptr;
  (ready_tail_ != nullptr ? ready_tail_->next : ready_head_) = item;
  ready_tail_ = item;
  ready_count_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void Epoll::UnlinkReadyLocked(Item* item) {
  if (!item->on_ready) return;
  item->on_ready = false;
  (item->prev != nullptr ? item->prev->next : ready_head_) = item->next;
  (item->next != nullptr ? item->next->prev : ready_tail_) = item->prev;
  item->prev = item->next = nullptr;
  ready_count_.fetch_sub(1, std::memory_order_relaxed);
}

void Epoll::PushReady(Item* item) {
  base::MutexLock lock(ready_mu_);
  PushReadyLocked(item);
}

Epoll::Item* Epoll::PopReady() {
  base::MutexLock lock(ready_mu_);
  Item* i = ready_head_;
  if (i != nullptr) UnlinkReadyLocked(i);
  return i;
}

bool Epoll::maybe_ready() { return ready_count_.load(std::memory_order_acquire) != 0; }

void Epoll::PassOn() {
  if (maybe_ready()) queue_.Wake(kReadable);
}

base::Result<void> Epoll::Add(EpollFile& self, int32_t fd, File& file, const abi::EpollEvent& ev) {
  WaitQueue* q = file.wait_queue();
  if (q == nullptr) return abi::Errno::kEPERM;
  EpollGraph& graph = EpollGraph::Get();

  auto add = [&]() -> base::Result<void> {
    bool announce = false;
    {
      Lock lock(*this);
      if (items_.size() >= kMaxItems) return abi::Errno::kENOSPC;
      auto [it, fresh] = items_.try_emplace(Key{&file, fd});
      if (!fresh) return abi::Errno::kEEXIST;
      it->second = std::make_unique<Item>(*this, file, fd);
      Item* item = it->second.get();
      item->queue = q;
      item->data = ev.data;
      item->events.store(ev.events | abi::kEPOLLERR | abi::kEPOLLHUP, std::memory_order_relaxed);
      file.epoll_watched.store(true, std::memory_order_release);
      graph.Link(item);
      // OnReady filters by the item's events, which EPOLL_CTL_MOD changes.
      q->Add(item, ~uint32_t{0}, (ev.events & abi::kEPOLLEXCLUSIVE) != 0);
      file.WillWait(ev.events);
      if (file.Poll() & item->events.load(std::memory_order_relaxed)) {
        PushReady(item);
        announce = true;
      }
    }
    if (announce) queue_.Wake(kReadable);
    return {};
  };

  if (auto* inner = FileCast<EpollFile>(&file)) {
    base::MutexLock nest(graph.nest_mu);
    {
      base::MutexLock lock(graph.mu);
      graph.budget = 1000;
      int below = graph.DepthBelow(&inner->epoll(), this, 1);
      if (below > kMaxNests) return abi::Errno::kELOOP;
      if (below + graph.DepthAbove(this, 0) > kMaxNests) return abi::Errno::kELOOP;
    }
    return add();
  }
  return add();
}

base::Result<void> Epoll::Modify(int32_t fd, File& file, const abi::EpollEvent& ev) {
  bool announce = false;
  {
    Lock lock(*this);
    auto it = items_.find(Key{&file, fd});
    if (it == items_.end()) return abi::Errno::kENOENT;
    Item* item = it->second.get();
    if (item->events.load(std::memory_order_relaxed) & abi::kEPOLLEXCLUSIVE) {
      return abi::Errno::kEINVAL;
    }
    {
      base::MutexLock ready(ready_mu_);
      item->data = ev.data;
      item->events.store(ev.events | abi::kEPOLLERR | abi::kEPOLLHUP, std::memory_order_relaxed);
    }
    file.WillWait(ev.events);
    if (file.Poll() & item->events.load(std::memory_order_relaxed)) {
      PushReady(item);
      announce = true;
    }
  }
  if (announce) queue_.Wake(kReadable);
  return {};
}

void Epoll::DestroyItem(std::unique_ptr<Item> item) {
  item->queue->Remove(item.get());
  {
    base::MutexLock lock(ready_mu_);
    UnlinkReadyLocked(item.get());
  }
  // Last: from here on the file may go.
  EpollGraph::Get().Unlink(item.get());
}

base::Result<void> Epoll::Delete(int32_t fd, File& file) {
  Lock lock(*this);
  auto it = items_.find(Key{&file, fd});
  if (it == items_.end()) return abi::Errno::kENOENT;
  std::unique_ptr<Item> item = std::move(it->second);
  items_.erase(it);
  DestroyItem(std::move(item));
  return {};
}

void Epoll::RemoveFile(const File* file) {
  Lock lock(*this);
  // By way of the file's own items: an instance may watch very many files.
  for (int32_t fd : EpollGraph::Get().FdsOf(file, this)) {
    auto it = items_.find(Key{file, fd});
    if (it == items_.end()) continue;
    std::unique_ptr<Item> item = std::move(it->second);
    items_.erase(it);
    DestroyItem(std::move(item));
  }
}

void Epoll::Clear() {
  Lock lock(*this);
  // Not begin() again and again: it walks over the slots that are empty already.
  for (auto& [key, item] : items_) DestroyItem(std::move(item));
  items_.clear();
}

// ep_send_events().
std::vector<abi::EpollEvent> Epoll::Take(size_t max) {
  std::vector<abi::EpollEvent> out;
  if (!maybe_ready()) return out;
  bool rest;
  {
    Lock lock(*this);
    absl::InlinedVector<Item*, 16> again;
    // Items that callbacks add meanwhile wait for the next call.
    size_t n = ready_count_.load(std::memory_order_acquire);
    out.reserve(std::min(n, max));
    for (; n > 0 && out.size() < max; n--) {
      Item* item = PopReady();
      if (item == nullptr) break;
      uint32_t events = item->events.load(std::memory_order_relaxed);
      uint32_t mask = item->file.Poll() & events;
      if ((mask & ~kPrivateBits) == 0) continue;
      out.push_back({mask, item->data});
      if (events & abi::kEPOLLONESHOT) {
        base::MutexLock ready(ready_mu_);
        item->events.store(events & kPrivateBits, std::memory_order_relaxed);
      } else if ((events & abi::kEPOLLET) == 0) {
        // Level-triggered: looked at again by the next call.
        again.push_back(item);
      }
    }
    for (Item* i : again) PushReady(i);
    rest = maybe_ready();
  }
  if (rest && !queue_.empty()) queue_.Wake(kReadable);
  return out;
}

// ep_eventpoll_poll(): ready only if a watched file is.
uint32_t Epoll::Poll() {
  if (!maybe_ready()) return 0;
  Lock lock(*this);
  for (size_t n = ready_count_.load(std::memory_order_acquire); n > 0; n--) {
    Item* item = PopReady();
    if (item == nullptr) break;
    uint32_t events = item->events.load(std::memory_order_relaxed);
    if ((item->file.Poll() & events & ~kPrivateBits) != 0) {
      PushReady(item);
      return kReadable;
    }
  }
  return 0;
}

std::string Epoll::Fdinfo() {
  Lock lock(*this);
  std::string out;
  for (const auto& [key, item] : items_) {
    char line[160];
    int n = snprintf(
        line, sizeof line, "tfd: %8d events: %8x data: %16llx  pos:0 ino:%llx sdev:0\n", item->fd,
        item->events.load(std::memory_order_relaxed), static_cast<unsigned long long>(item->data),
        static_cast<unsigned long long>(item->file.inode()->ino()));
    out.append(line, n);
  }
  return out;
}

EpollFile::EpollFile() : File(Path{}, AnonInode(), abi::kO_RDWR), epoll_(base::MakeRef<Epoll>()) {}

EpollFile::~EpollFile() { epoll_->Clear(); }

uint32_t EpollFile::Poll() { return epoll_->Poll(); }

WaitQueue* EpollFile::wait_queue() { return &epoll_->queue(); }

std::string EpollFile::Fdinfo() { return epoll_->Fdinfo(); }

}  // namespace sentry
