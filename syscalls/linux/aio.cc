// io_setup(2), io_submit(2), io_getevents(2) and their relatives (fs/aio.c). Requests are carried
// out by io_submit itself, as Linux does for most files without O_DIRECT.
#include "syscalls/abi/aio.h"

#include <deque>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "sentry/fs/anon/eventfd.h"
#include "sentry/kernel/kernel.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/uio.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::EventFd;
using sentry::File;
using sentry::IoBuffer;
using sentry::kPageSize;

namespace {

constexpr uint32_t kMaxEvents = 65536;  // fs.aio-max-nr

std::atomic<uint64_t> reserved_events{0};  // of all contexts of the sandbox: fs.aio-nr

// One io_setup().
struct Context : public base::RefCounted {
  // Owns a share of reserved_events.
  explicit Context(uint32_t n) : limit(n) {}
  ~Context() override { reserved_events.fetch_sub(limit, std::memory_order_relaxed); }
  const uint32_t limit;
  base::Mutex<base::LockClass::kLeaf> mu;
  uint32_t taken GUARDED_BY(mu) = 0;  // requests that run, and events that nobody has fetched
  bool destroyed GUARDED_BY(mu) = false;
  std::deque<abi::IoEvent> events GUARDED_BY(mu);
  sentry::WaitQueue queue;
};

// Those of an address space, by id: the address of a page which stands for the ring that Linux maps
// there. It lacks the ring's magic number, so that libraries don't read events from it.
struct Contexts : public base::RefCounted {
  base::Mutex<base::LockClass::kLeaf> mu;
  absl::flat_hash_map<uint64_t, base::Ref<Context>> by_id GUARDED_BY(mu);
};

base::Ref<Contexts> ContextsOf(Task& task) {
  sentry::MemoryManager& mm = task.mm();
  base::MutexLock l(mm.aio_mu);
  if (!mm.aio) mm.aio = base::MakeRef<Contexts>();
  return base::StaticRefCast<Contexts>(mm.aio);
}

base::Result<base::Ref<Context>> Find(Task& task, uint64_t id) {
  base::Ref<Contexts> all = ContextsOf(task);
  base::MutexLock l(all->mu);
  auto it = all->by_id.find(id);
  if (it == all->by_id.end()) return abi::Errno::kEINVAL;
  return it->second;
}

base::Result<uint64_t> Transfer(Task& task, const abi::Iocb& cb, File& f, bool write, bool vector) {
  UserSegments segments;
  if (vector) segments = TRY(ImportIovec(task, UserAddr{cb.buf}, cb.nbytes));
  IoBuffer buf = vector ? IoBuffer::UserVec(task.mm(), segments)
                        : IoBuffer::User(task.mm(), UserAddr{cb.buf},
                                         std::min(cb.nbytes, sentry::kMaxRwCount));
  const At at{!f.seekable(), static_cast<uint64_t>(cb.offset)};
  const auto flags = static_cast<uint32_t>(cb.rw_flags);
  if ((flags & ~kRwfKnown) != 0) return abi::Errno::kEOPNOTSUPP;
  return write ? WriteFile(task, f, buf, at, flags) : ReadFile(task, f, buf, at, flags);
}

// io_submit_one() behind the checks: what goes into the event, or why there will be none.
base::Result<int64_t> Perform(Task& task, const abi::Iocb& cb, File& f) {
  base::Result<uint64_t> r = uint64_t{0};
  switch (cb.opcode) {
    case abi::kIOCB_CMD_PREAD:
    case abi::kIOCB_CMD_PREADV:
      if (!f.readable()) return abi::Errno::kEBADF;
      if (f.seekable() && cb.offset < 0) return abi::Errno::kEINVAL;
      r = Transfer(task, cb, f, false, cb.opcode == abi::kIOCB_CMD_PREADV);
      break;
    case abi::kIOCB_CMD_PWRITE:
    case abi::kIOCB_CMD_PWRITEV:
      if (!f.writable()) return abi::Errno::kEBADF;
      if (f.seekable() && cb.offset < 0) return abi::Errno::kEINVAL;
      r = Transfer(task, cb, f, true, cb.opcode == abi::kIOCB_CMD_PWRITEV);
      break;
    case abi::kIOCB_CMD_FSYNC:
    case abi::kIOCB_CMD_FDSYNC: {
      if (cb.buf != 0 || cb.offset != 0 || cb.nbytes != 0 || cb.rw_flags != 0)
        return abi::Errno::kEINVAL;
      base::Result<void> s = f.Fsync(cb.opcode == abi::kIOCB_CMD_FDSYNC);
      if (!s.ok()) r = s.error();
      break;
    }
    default:
      TrackGap(Sys::io_submit, cb.opcode);
      return abi::Errno::kEINVAL;
  }
  if (r.ok()) return static_cast<int64_t>(*r);
  // aio_complete_rw(): nothing restarts a request.
  const int64_t e = r.error().is_restart() ? static_cast<int64_t>(abi::Errno::kEINTR)
                                           : static_cast<int64_t>(r.error().code());
  return -e;
}

base::Result<void> SubmitOne(Task& task, Context& ctx, uint64_t address) {
  abi::Iocb cb;
  TRY(task.mm().CopyIn(&cb, UserAddr{address}, sizeof cb));
  constexpr uint32_t kKnown = abi::kIOCB_FLAG_RESFD | abi::kIOCB_FLAG_IOPRIO;
  if (cb.reserved2 != 0 || static_cast<int64_t>(cb.nbytes) < 0 || (cb.flags & ~kKnown) != 0)
    return abi::Errno::kEINVAL;
  {
    base::MutexLock l(ctx.mu);
    if (ctx.destroyed) return abi::Errno::kEINVAL;
    if (ctx.taken >= ctx.limit) return abi::Errno::kEAGAIN;
    ctx.taken++;
  }
  auto run = [&]() -> base::Result<int64_t> {
    base::Ref<File> f = TRY(task.fds().Get(static_cast<int32_t>(cb.fildes)));
    base::Ref<File> notify;
    if ((cb.flags & abi::kIOCB_FLAG_RESFD) != 0) {
      notify = TRY(task.fds().Get(static_cast<int32_t>(cb.resfd)));
      if (sentry::FileCast<EventFd>(notify.get()) == nullptr) return abi::Errno::kEINVAL;
    }
    const uint32_t key = 0;  // KIOCB_KEY
    TRY(task.mm().CopyOut(UserAddr{address + offsetof(abi::Iocb, key)}, &key, sizeof key));
    const int64_t result = TRY(Perform(task, cb, *f));
    {
      base::MutexLock l(ctx.mu);
      ctx.events.push_back({cb.data, address, result, 0});
    }
    ctx.queue.Wake(abi::kEPOLLIN);
    if (notify) sentry::FileCast<EventFd>(notify.get())->Signal(1);
    return result;
  };
  base::Result<int64_t> r = run();
  if (r.ok()) return {};
  base::MutexLock l(ctx.mu);
  ctx.taken--;
  return r.error();
}

// do_io_getevents().
base::Result<uint64_t> GetEvents(Task& task, uint64_t id, int64_t min_nr, int64_t nr,
                                 UserAddr events, UserIn<abi::Timespec> timeout) {
  int64_t deadline = sentry::kNoDeadline;
  if (!timeout.null()) {
    const abi::Timespec ts = TRY(timeout.Fetch(task.mm()));
    deadline = ts.sec == 0 && ts.nsec == 0 ? 0 : DeadlineAfter(TimespecToNs(ts));
  }
  base::Ref<Context> ctx = TRY(Find(task, id));
  if (min_nr < 0 || min_nr > nr) return abi::Errno::kEINVAL;
  uint64_t got = 0;
  auto take = [&]() -> base::Result<uint64_t> {
    while (got < static_cast<uint64_t>(nr)) {
      abi::IoEvent e;
      {
        base::MutexLock l(ctx->mu);
        if (ctx->destroyed) return got;
        if (ctx->events.empty()) break;
        e = ctx->events.front();
        ctx->events.pop_front();
        ctx->taken--;
      }
      TRY(task.mm().CopyOut(UserAddr{events.value + got * sizeof e}, &e, sizeof e));
      got++;
    }
    if (got < static_cast<uint64_t>(min_nr)) return abi::Errno::kEAGAIN;
    return got;
  };
  base::Result<uint64_t> r =
      deadline == 0 ? take() : task.BlockOnQueue(ctx->queue, abi::kEPOLLIN, take, deadline);
  if (got > 0 || r.is(abi::Errno::kEAGAIN)) return got;
  if (!r.ok() && r.error().is_restart()) return abi::Errno::kEINTR;
  return r;
}

}  // namespace

SyscallResult sys_io_setup(Task& task, uint32_t nr_events, UserInOut<uint64_t> ctx_idp) {
  if (TRY(ctx_idp.Fetch(task.mm())) != 0 || nr_events == 0) return abi::Errno::kEINVAL;
  if (reserved_events.fetch_add(nr_events, std::memory_order_relaxed) + nr_events > kMaxEvents) {
    reserved_events.fetch_sub(nr_events, std::memory_order_relaxed);
    return abi::Errno::kEAGAIN;
  }
  base::Ref<Context> ctx = base::MakeRef<Context>(nr_events);
  sentry::MmapArgs page;
  page.len = kPageSize;
  page.prot = platform::kProtRead | platform::kProtWrite;
  const uint64_t id = TRY(task.mm().Mmap(page));
  if (base::Result<void> r = ctx_idp.Store(task.mm(), id); !r.ok()) {
    (void)task.mm().Munmap(id, kPageSize);
    return r;
  }
  base::Ref<Contexts> all = ContextsOf(task);
  base::MutexLock l(all->mu);
  all->by_id[id] = std::move(ctx);
  return 0;
}

SyscallResult sys_io_destroy(Task& task, uint64_t ctx_id) {
  base::Ref<Context> ctx = TRY(Find(task, ctx_id));
  {
    base::Ref<Contexts> all = ContextsOf(task);
    base::MutexLock l(all->mu);
    if (all->by_id.erase(ctx_id) == 0) return abi::Errno::kEINVAL;
  }
  {
    base::MutexLock l(ctx->mu);
    ctx->destroyed = true;
  }
  ctx->queue.Wake(abi::kEPOLLIN | abi::kEPOLLHUP);
  return task.mm().Munmap(ctx_id, kPageSize);
}

SyscallResult sys_io_submit(Task& task, uint64_t ctx_id, int64_t nr, UserAddr iocbpp) {
  if (nr < 0) return abi::Errno::kEINVAL;
  base::Ref<Context> ctx = TRY(Find(task, ctx_id));
  nr = std::min<int64_t>(nr, ctx->limit);
  int64_t done = 0;
  for (; done < nr; done++) {
    uint64_t address;
    base::Result<void> r = task.mm().CopyIn(
        &address, UserAddr{iocbpp.value + static_cast<uint64_t>(done) * 8}, sizeof address);
    if (r.ok()) r = SubmitOne(task, *ctx, address);
    if (r.ok()) continue;
    if (done == 0) return r;
    break;
  }
  return static_cast<uint64_t>(done);
}

SyscallResult sys_io_cancel(Task& task, uint64_t ctx_id, UserAddr iocb, UserAddr) {
  uint32_t key;
  TRY(task.mm().CopyIn(&key, UserAddr{iocb.value + offsetof(abi::Iocb, key)}, sizeof key));
  // What was submitted is done: nothing is left to cancel.
  return abi::Errno::kEINVAL;
}

SyscallResult sys_io_getevents(Task& task, uint64_t ctx_id, int64_t min_nr, int64_t nr,
                               UserAddr events, UserIn<abi::Timespec> timeout) {
  return GetEvents(task, ctx_id, min_nr, nr, events, timeout);
}

SyscallResult sys_io_pgetevents(Task& task, uint64_t ctx_id, int64_t min_nr, int64_t nr,
                                UserAddr events, UserIn<abi::Timespec> timeout, UserAddr usig) {
  if (!usig.null()) {
    uint64_t mask_and_size[2];  // struct __aio_sigset
    TRY(task.mm().CopyIn(mask_and_size, usig, sizeof mask_and_size));
    TRY(SetCallMask(task, UserAddr{mask_and_size[0]}, mask_and_size[1]));
  }
  return GetEvents(task, ctx_id, min_nr, nr, events, timeout);
}

}  // namespace syscalls
