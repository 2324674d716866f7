// fcntl(2), flock(2).
#include "sentry/fs/pipe/pipe.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/kernel/async_io.h"
#include "sentry/vfs/file_locks.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::AsyncOwner;
using sentry::File;
using sentry::FileLocks;
using sentry::LockRange;

// fasync_helper(): changes only what differs.
base::Result<void> SetAsync(int32_t fd, File& f, bool on) {
  if (!f.signals_io() || on == ((f.flags() & abi::kFASYNC) != 0)) return {};
  return AsyncOwner::Of(f).Listen(f, fd, on);
}

// f_setown() and f_getown(): below 0, a process group.
base::Result<void> SetOwner(Task& task, File& f, int32_t who) {
  if (who == INT32_MIN) return abi::Errno::kEINVAL;
  return AsyncOwner::Of(f).SetOwner(task, who < 0 ? abi::kF_OWNER_PGRP : abi::kF_OWNER_PID,
                                    who < 0 ? -who : who);
}

int64_t GetOwner(Task& task, File& f) {
  AsyncOwner* present = AsyncOwner::Present(f);
  if (present == nullptr) return 0;
  const abi::FOwnerEx o = present->Owner(task);
  return o.type == abi::kF_OWNER_PGRP ? -int64_t{o.pid} : o.pid;
}

namespace {

// What F_SETFL may change (SETFL_MASK).
constexpr uint32_t kSettable =
    abi::kO_APPEND | abi::kO_NONBLOCK | abi::kFASYNC | abi::kO_DIRECT | abi::kO_NOATIME;

base::Result<uint64_t> SetFlags(Task& task, int32_t fd, File& f, uint32_t arg) {
  const uint32_t old = f.flags();
  if ((arg & abi::kO_NOATIME) != 0 && (old & abi::kO_NOATIME) == 0 &&
      !OwnerOrCapable(task.creds(), f.attr_inode().perm())) {
    return abi::Errno::kEPERM;
  }
  const uint32_t flags = (old & ~kSettable) | (arg & kSettable);
  TRY(f.CheckFlags(flags));
  TRY(SetAsync(fd, f, (flags & abi::kFASYNC) != 0));
  f.set_flags(flags);
  return uint64_t{0};
}

// flock_to_posix_lock().
base::Result<LockRange> ToRange(File& f, const abi::Flock& l) {
  int64_t start = 0;
  switch (l.whence) {
    case abi::kSEEK_SET:
      break;
    case abi::kSEEK_CUR: {
      base::MutexLock lock(f.pos_mu);
      start = static_cast<int64_t>(f.pos);
      break;
    }
    case abi::kSEEK_END:
      start = static_cast<int64_t>(TRY(f.attr_inode().Getattr()).size);
      break;
    default:
      return abi::Errno::kEINVAL;
  }
  if (__builtin_add_overflow(start, l.start, &start)) return abi::Errno::kEOVERFLOW;
  if (start < 0) return abi::Errno::kEINVAL;
  LockRange r;
  if (l.len > 0) {
    int64_t end;
    if (__builtin_add_overflow(start, l.len - 1, &end)) return abi::Errno::kEOVERFLOW;
    r.end = static_cast<uint64_t>(end);
    if (end == INT64_MAX) r.end = UINT64_MAX;
  } else if (l.len < 0) {
    if (start < 1 || start + l.len < 0) return abi::Errno::kEINVAL;
    r.end = static_cast<uint64_t>(start - 1);
    start += l.len;
  }
  r.start = static_cast<uint64_t>(start);
  return r;
}

base::Result<FileLocks::Type> ToType(int16_t type) {
  switch (type) {
    case abi::kF_RDLCK:
      return FileLocks::Type::kRead;
    case abi::kF_WRLCK:
      return FileLocks::Type::kWrite;
    case abi::kF_UNLCK:
      return FileLocks::Type::kUnlock;
    default:
      return abi::Errno::kEINVAL;
  }
}

base::Result<uint64_t> GetLock(Task& task, File& f, bool ofd, UserAddr arg) {
  abi::Flock l;
  TRY(task.mm().CopyIn(&l, arg, sizeof l));
  // OFD locks may ask about F_UNLCK.
  FileLocks::Type type = TRY(ToType(l.type));
  if (type == FileLocks::Type::kUnlock && !ofd) return abi::Errno::kEINVAL;
  LockRange range = TRY(ToRange(f, l));
  if (ofd && l.pid != 0) return abi::Errno::kEINVAL;
  const void* owner = ofd ? static_cast<const void*>(&f) : &task.fds();
  FileLocks::Record c;
  FileLocks* locks = f.attr_inode().present_locks();
  if (locks == nullptr || type == FileLocks::Type::kUnlock ||
      !locks->TestPosix(owner, type, range, &c)) {
    l.type = abi::kF_UNLCK;
  } else {
    l.type =
        static_cast<int16_t>(c.type == FileLocks::Type::kWrite ? abi::kF_WRLCK : abi::kF_RDLCK);
    l.whence = abi::kSEEK_SET;
    l.start = static_cast<int64_t>(c.range.start);
    l.len = c.range.end == UINT64_MAX ? 0 : static_cast<int64_t>(c.range.end - c.range.start + 1);
    l.pid = c.pid;
  }
  TRY(task.mm().CopyOut(arg, &l, sizeof l));
  return uint64_t{0};
}

base::Result<uint64_t> SetLock(Task& task, File& f, bool ofd, bool wait, UserAddr arg) {
  abi::Flock l;
  TRY(task.mm().CopyIn(&l, arg, sizeof l));
  LockRange range = TRY(ToRange(f, l));
  FileLocks::Type type = TRY(ToType(l.type));
  if ((type == FileLocks::Type::kRead && !f.readable()) ||
      (type == FileLocks::Type::kWrite && !f.writable())) {
    return abi::Errno::kEBADF;
  }
  if (ofd && l.pid != 0) return abi::Errno::kEINVAL;
  const void* owner = ofd ? static_cast<const void*>(&f) : &task.fds();
  if (type == FileLocks::Type::kUnlock && f.attr_inode().present_locks() == nullptr)
    return uint64_t{0};
  FileLocks& locks = f.attr_inode().locks();
  const int32_t pid = ofd ? -1 : task.tgid();
  if (!wait) {
    if (!locks.SetPosix(owner, pid, type, range)) return abi::Errno::kEAGAIN;
    return uint64_t{0};
  }
  base::Result<void> r =
      task.BlockOnQueue(locks.queue(), abi::kEPOLLIN, [&]() -> base::Result<void> {
        if (locks.SetPosix(owner, pid, type, range)) return {};
        if (!ofd && !locks.BeginWait(owner, type, range)) return abi::Errno::kEDEADLK;
        return abi::Errno::kEAGAIN;
      });
  if (!ofd) FileLocks::EndWait(owner);
  if (!r.ok()) return r.error();
  return uint64_t{0};
}

base::Result<uint64_t> PipeSize(Task& task, File& f, bool set, uint64_t arg) {
  sentry::PipeFile* p = sentry::FileCast<sentry::PipeFile>(&f);
  if (p == nullptr) return abi::Errno::kEBADF;
  if (!set) return p->pipe().size();
  return p->pipe().SetSize(static_cast<uint32_t>(arg), task.creds().Has(abi::kCAP_SYS_RESOURCE));
}

base::Result<uint64_t> Seals(File& f, bool add, uint32_t arg) {
  // A file of a stacked file system has no seals, whatever it is stored in.
  sentry::TmpfsData* d = &f.attr_inode() == f.inode().get() ? sentry::TmpfsDataOf(f) : nullptr;
  if (d == nullptr) return abi::Errno::kEINVAL;
  if (!add) return uint64_t{d->seals()};
  constexpr uint32_t kAll = abi::kF_SEAL_SEAL | abi::kF_SEAL_SHRINK | abi::kF_SEAL_GROW |
                            abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE | abi::kF_SEAL_EXEC;
  if (!f.writable()) return abi::Errno::kEPERM;
  if ((arg & ~kAll) != 0) return abi::Errno::kEINVAL;
  TRY(d->AddSeals(arg));
  return uint64_t{0};
}

base::Result<uint64_t> Duplicate(Task& task, base::Ref<File> f, uint64_t arg, bool cloexec) {
  const uint64_t limit = task.FileLimit();
  if (arg >= limit) return abi::Errno::kEINVAL;
  return static_cast<uint64_t>(
      TRY(task.fds().Install(std::move(f), cloexec, limit, static_cast<int32_t>(arg))));
}

base::Result<uint64_t> DoFcntl(Task& task, int32_t fd, int32_t cmd, uint64_t arg) {
  base::Ref<File> file = TRY(task.fds().GetAny(fd));
  File& f = *file;
  if ((f.flags() & abi::kO_PATH) != 0) {
    // check_fcntl_cmd().
    switch (cmd) {
      case abi::kF_DUPFD:
      case abi::kF_DUPFD_CLOEXEC:
      case abi::kF_DUPFD_QUERY:
      case abi::kF_GETFD:
      case abi::kF_SETFD:
      case abi::kF_GETFL:
      case abi::kF_CREATED_QUERY:
        break;
      default:
        return abi::Errno::kEBADF;
    }
  }
  const UserAddr ptr{arg};
  switch (cmd) {
    case abi::kF_DUPFD:
      return Duplicate(task, std::move(file), static_cast<uint32_t>(arg), false);
    case abi::kF_DUPFD_CLOEXEC:
      return Duplicate(task, std::move(file), static_cast<uint32_t>(arg), true);
    case abi::kF_DUPFD_QUERY: {
      base::Ref<File> other = TRY(task.fds().GetAny(static_cast<int32_t>(arg)));
      return uint64_t{other == file ? 1u : 0u};
    }
    case abi::kF_GETFD:
      return uint64_t{TRY(task.fds().cloexec(fd)) ? 1u : 0u};
    case abi::kF_SETFD:
      TRY(task.fds().set_cloexec(fd, (arg & abi::kFD_CLOEXEC) != 0));
      return uint64_t{0};
    case abi::kF_GETFL:
      return uint64_t{f.flags()};
    case abi::kF_SETFL:
      return SetFlags(task, fd, f, static_cast<uint32_t>(arg));
    case abi::kF_GETLK:
      return GetLock(task, f, false, ptr);
    case abi::kF_OFD_GETLK:
      return GetLock(task, f, true, ptr);
    case abi::kF_SETLK:
      return SetLock(task, f, false, false, ptr);
    case abi::kF_SETLKW:
      return SetLock(task, f, false, true, ptr);
    case abi::kF_OFD_SETLK:
      return SetLock(task, f, true, false, ptr);
    case abi::kF_OFD_SETLKW:
      return SetLock(task, f, true, true, ptr);
    case abi::kF_GETOWN:
      return static_cast<uint64_t>(GetOwner(task, f));
    case abi::kF_SETOWN:
      TRY(SetOwner(task, f, static_cast<int32_t>(arg)));
      return uint64_t{0};
    case abi::kF_GETOWN_EX: {
      abi::FOwnerEx o{};
      if (AsyncOwner* present = AsyncOwner::Present(f)) o = present->Owner(task);
      TRY(task.mm().CopyOut(ptr, &o, sizeof o));
      return uint64_t{0};
    }
    case abi::kF_SETOWN_EX: {
      abi::FOwnerEx o;
      TRY(task.mm().CopyIn(&o, ptr, sizeof o));
      if (o.type < abi::kF_OWNER_TID || o.type > abi::kF_OWNER_PGRP) return abi::Errno::kEINVAL;
      TRY(AsyncOwner::Of(f).SetOwner(task, o.type, o.pid));
      return uint64_t{0};
    }
    case abi::kF_GETOWNER_UIDS: {
      std::array<uint32_t, 2> ids{};
      if (AsyncOwner* present = AsyncOwner::Present(f)) ids = present->Uids();
      for (uint32_t& id : ids) id = UidToUser(task, id);
      TRY(task.mm().CopyOut(ptr, ids.data(), sizeof ids));
      return uint64_t{0};
    }
    case abi::kF_GETSIG: {
      AsyncOwner* present = AsyncOwner::Present(f);
      return static_cast<uint64_t>(present != nullptr ? present->signal() : 0);
    }
    case abi::kF_SETSIG:
      if (arg > 64) return abi::Errno::kEINVAL;
      AsyncOwner::Of(f).SetSignal(static_cast<int32_t>(arg));
      return uint64_t{0};
    case abi::kF_GETLEASE:
      return uint64_t{abi::kF_UNLCK};
    case abi::kF_SETPIPE_SZ:
      return PipeSize(task, f, true, arg);
    case abi::kF_GETPIPE_SZ:
      return PipeSize(task, f, false, arg);
    case abi::kF_ADD_SEALS:
      return Seals(f, true, static_cast<uint32_t>(arg));
    case abi::kF_GET_SEALS:
      return Seals(f, false, 0);
    case abi::kF_GET_RW_HINT:
    case abi::kF_GET_FILE_RW_HINT: {
      const uint64_t none = abi::kRWH_WRITE_LIFE_NOT_SET;
      TRY(task.mm().CopyOut(ptr, &none, sizeof none));
      return uint64_t{0};
    }
    case abi::kF_SET_RW_HINT:
    case abi::kF_SET_FILE_RW_HINT: {
      uint64_t hint;
      TRY(task.mm().CopyIn(&hint, ptr, sizeof hint));
      if (hint > abi::kRWH_WRITE_LIFE_EXTREME) return abi::Errno::kEINVAL;
      return uint64_t{0};
    }
    default:
      TrackGap(Sys::fcntl, static_cast<uint32_t>(cmd));
      return abi::Errno::kEINVAL;
  }
}

}  // namespace

SyscallResult sys_fcntl(Task& task, int32_t fd, int32_t cmd, uint64_t arg) {
  return DoFcntl(task, fd, cmd, arg);
}

SyscallResult sys_flock(Task& task, int32_t fd, int32_t operation) {
  const bool wait = (operation & abi::kLOCK_NB) == 0;
  FileLocks::Type type;
  switch (operation & ~abi::kLOCK_NB) {
    case abi::kLOCK_SH:
      type = FileLocks::Type::kRead;
      break;
    case abi::kLOCK_EX:
      type = FileLocks::Type::kWrite;
      break;
    case abi::kLOCK_UN:
      type = FileLocks::Type::kUnlock;
      break;
    default:
      // LOCK_MAND: accepted without effect since Linux 5.18.
      if ((operation & abi::kLOCK_MAND) != 0) return 0;
      return abi::Errno::kEINVAL;
  }
  base::Result<base::Ref<File>> r = task.fds().Get(fd);
  if (!r.ok()) return r.error();
  File& f = **r;
  if (type != FileLocks::Type::kUnlock && !f.readable() && !f.writable()) return abi::Errno::kEBADF;
  FileLocks& locks = f.attr_inode().locks();
  auto op = [&]() -> base::Result<void> {
    if (locks.SetFlock(&f, task.tgid(), type)) return {};
    return abi::Errno::kEAGAIN;
  };
  if (!wait) return op();
  return task.BlockOnQueue(locks.queue(), abi::kEPOLLIN, op);
}

}  // namespace syscalls
