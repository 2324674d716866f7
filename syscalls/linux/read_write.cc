// read(2), write(2) and their relatives, lseek(2), sendfile(2), copy_file_range(2)
// (fs/read_write.c).
#include <algorithm>
#include <memory>

#include "syscalls/abi/epoll.h"
#include "syscalls/abi/inotify.h"
#include "syscalls/abi/resource.h"
#include "syscalls/abi/uio.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::IoBuffer;
using sentry::kMaxRwCount;
using sentry::Vfs;

namespace {

constexpr uint64_t kUserEnd = (uint64_t{1} << 47) - sentry::kPageSize;  // TASK_SIZE_MAX

}  // namespace

base::Result<uint64_t> ReadFile(Task& task, File& f, IoBuffer& dst, At at, uint32_t rwf) {
  auto op = [&]() -> base::Result<uint64_t> {
    if (at.own && f.seekable()) {
      base::MutexLock l(f.pos_mu);
      return f.Read(dst, &f.pos, rwf);
    }
    return f.Read(dst, &at.offset, rwf);
  };
  const bool nonblock = f.nonblocking() || (rwf & abi::kRWF_NOWAIT) != 0;
  base::Result<uint64_t> r =
      task.BlockOn(f, abi::kEPOLLIN, nonblock, op, nonblock ? 0 : f.WaitDeadline(false));
  if (r.ok() && *r > 0) NotifyFile(f, abi::kIN_ACCESS);
  if (r.is(abi::Errno::kEINVAL) && f.attr_inode().is_dir()) return abi::Errno::kEISDIR;
  return r;
}

namespace {

base::Result<uint64_t> WriteRegular(Task& task, File& f, IoBuffer& src, At& at,
                                    uint32_t rwf) NO_THREAD_SAFETY_ANALYSIS {
  TRY(Vfs::RemovePrivs(task.creds(), f));
  const bool lock = at.own;
  if (lock) f.pos_mu.Lock();
  uint64_t* pos = at.own ? &f.pos : &at.offset;
  uint64_t where = *pos;
  const bool append = ((f.flags() & abi::kO_APPEND) != 0 || (rwf & abi::kRWF_APPEND) != 0) &&
                      (rwf & abi::kRWF_NOAPPEND) == 0;
  base::Result<uint64_t> r = uint64_t{0};
  if (append && task.group().limits.Get(abi::kRLIMIT_FSIZE).cur != abi::kRLIM_INFINITY) {
    base::Result<sentry::Kstat> st = f.attr_inode().Getattr();
    if (st.ok()) where = st->size;
  }
  base::Result<uint64_t> room = CheckFileSizeLimit(task, where, src.remaining());
  if (!room.ok()) {
    r = room.error();
  } else {
    src.Truncate(*room);
    r = f.Write(src, pos, rwf);
  }
  if (lock) f.pos_mu.Unlock();
  if (r.ok() && *r > 0 &&
      ((f.flags() & abi::kO_DSYNC) != 0 || (rwf & (abi::kRWF_DSYNC | abi::kRWF_SYNC)) != 0)) {
    base::Result<void> s =
        f.Fsync((f.flags() & abi::kO_SYNC) != abi::kO_SYNC && (rwf & abi::kRWF_SYNC) == 0);
    if (!s.ok() && !s.is(abi::Errno::kEINVAL)) return s.error();
  }
  return r;
}

}  // namespace

base::Result<uint64_t> WriteFile(Task& task, File& f, IoBuffer& src, At at, uint32_t rwf) {
  base::Result<uint64_t> r = uint64_t{0};
  const uint32_t type = f.inode() ? f.attr_inode().type() : 0;
  if (type == abi::kS_IFREG && f.seekable()) {
    r = WriteRegular(task, f, src, at, rwf);
  } else {
    auto op = [&]() -> base::Result<uint64_t> {
      if (at.own && f.seekable()) {
        base::MutexLock l(f.pos_mu);
        return f.Write(src, &f.pos, rwf);
      }
      return f.Write(src, &at.offset, rwf);
    };
    const bool nonblock = f.nonblocking() || (rwf & abi::kRWF_NOWAIT) != 0;
    const int64_t deadline = nonblock ? 0 : f.WaitDeadline(true);
    r = task.BlockOn(f, abi::kEPOLLOUT, nonblock, op, deadline);
    // A blocking write to a stream goes on until all is taken or a signal comes.
    const bool stream = type == abi::kS_IFIFO || type == abi::kS_IFSOCK || type == abi::kS_IFCHR;
    if (stream && !nonblock && r.ok()) {
      while (*r > 0 && src.remaining() > 0 && !src.faulted()) {
        base::Result<uint64_t> more = task.BlockOn(f, abi::kEPOLLOUT, false, op, deadline);
        if (more.is(abi::Errno::kEPIPE)) RaiseSigpipe(task);
        if (!more.ok() || *more == 0) break;
        *r += *more;
      }
    }
  }
  if (r.is(abi::Errno::kEPIPE)) RaiseSigpipe(task);
  if (r.ok() && *r > 0) NotifyFile(f, abi::kIN_MODIFY);
  return r;
}

namespace {

base::Result<base::Ref<File>> ForRead(Task& task, int32_t fd) {
  base::Ref<File> f = TRY(task.fds().Get(fd));
  if (!f->readable()) return abi::Errno::kEBADF;
  return f;
}

base::Result<base::Ref<File>> ForWrite(Task& task, int32_t fd) {
  base::Ref<File> f = TRY(task.fds().Get(fd));
  if (!f->writable()) return abi::Errno::kEBADF;
  return f;
}

base::Result<uint64_t> Transfer(Task& task, bool write, int32_t fd, UserAddr buf, uint64_t count,
                                bool positioned, int64_t offset) {
  if (positioned && offset < 0) return abi::Errno::kEINVAL;
  base::Ref<File> f = TRY(write ? ForWrite(task, fd) : ForRead(task, fd));
  if (positioned && !f->seekable()) return abi::Errno::kESPIPE;
  // access_ok() of the whole range comes before everything about the count.
  uint64_t end;
  if (__builtin_add_overflow(buf.value, count, &end) || end > kUserEnd) return abi::Errno::kEFAULT;
  IoBuffer b = IoBuffer::User(task.mm(), buf, std::min(count, kMaxRwCount));
  const At at{!positioned, static_cast<uint64_t>(offset)};
  return write ? WriteFile(task, *f, b, at, 0) : ReadFile(task, *f, b, at, 0);
}

base::Result<uint64_t> TransferVec(Task& task, bool write, int32_t fd, UserAddr iov, uint64_t count,
                                   bool positioned, int64_t offset, uint32_t rwf) {
  if (positioned && offset < 0) return abi::Errno::kEINVAL;
  base::Ref<File> f = TRY(write ? ForWrite(task, fd) : ForRead(task, fd));
  if (positioned && !f->seekable()) return abi::Errno::kESPIPE;
  UserSegments segs = TRY(ImportIovec(task, iov, count));
  if ((rwf & ~kRwfKnown) != 0) return abi::Errno::kEOPNOTSUPP;
  if ((rwf & abi::kRWF_APPEND) != 0 && (rwf & abi::kRWF_NOAPPEND) != 0) return abi::Errno::kEINVAL;
  IoBuffer b = IoBuffer::UserVec(task.mm(), segs);
  if (b.remaining() == 0) return uint64_t{0};
  const At at{!positioned, static_cast<uint64_t>(offset)};
  return write ? WriteFile(task, *f, b, at, rwf) : ReadFile(task, *f, b, at, rwf);
}

}  // namespace

SyscallResult sys_read(Task& task, int32_t fd, UserAddr buf, uint64_t count) {
  return Transfer(task, false, fd, buf, count, false, 0);
}
SyscallResult sys_write(Task& task, int32_t fd, UserAddr buf, uint64_t count) {
  return Transfer(task, true, fd, buf, count, false, 0);
}
SyscallResult sys_pread64(Task& task, int32_t fd, UserAddr buf, uint64_t count, int64_t offset) {
  return Transfer(task, false, fd, buf, count, true, offset);
}
SyscallResult sys_pwrite64(Task& task, int32_t fd, UserAddr buf, uint64_t count, int64_t offset) {
  return Transfer(task, true, fd, buf, count, true, offset);
}
SyscallResult sys_readv(Task& task, int32_t fd, UserAddr iov, uint64_t iovcnt) {
  return TransferVec(task, false, fd, iov, iovcnt, false, 0, 0);
}
SyscallResult sys_writev(Task& task, int32_t fd, UserAddr iov, uint64_t iovcnt) {
  return TransferVec(task, true, fd, iov, iovcnt, false, 0, 0);
}
// pos_h is ignored on 64-bit machines (pos_from_hilo()).
SyscallResult sys_preadv(Task& task, int32_t fd, UserAddr iov, uint64_t iovcnt, uint64_t pos_l,
                         uint64_t) {
  return TransferVec(task, false, fd, iov, iovcnt, true, static_cast<int64_t>(pos_l), 0);
}
SyscallResult sys_pwritev(Task& task, int32_t fd, UserAddr iov, uint64_t iovcnt, uint64_t pos_l,
                          uint64_t) {
  return TransferVec(task, true, fd, iov, iovcnt, true, static_cast<int64_t>(pos_l), 0);
}
SyscallResult sys_preadv2(Task& task, int32_t fd, UserAddr iov, uint64_t iovcnt, uint64_t pos_l,
                          uint64_t, int32_t flags) {
  const int64_t pos = static_cast<int64_t>(pos_l);
  return TransferVec(task, false, fd, iov, iovcnt, pos != -1, pos, static_cast<uint32_t>(flags));
}
SyscallResult sys_pwritev2(Task& task, int32_t fd, UserAddr iov, uint64_t iovcnt, uint64_t pos_l,
                           uint64_t, int32_t flags) {
  const int64_t pos = static_cast<int64_t>(pos_l);
  return TransferVec(task, true, fd, iov, iovcnt, pos != -1, pos, static_cast<uint32_t>(flags));
}

SyscallResult sys_lseek(Task& task, int32_t fd, int64_t offset, int32_t whence) {
  base::Result<base::Ref<File>> f = task.fds().Get(fd);
  if (!f.ok()) return f.error();
  if (static_cast<uint32_t>(whence) > static_cast<uint32_t>(abi::kSEEK_HOLE))
    return abi::Errno::kEINVAL;
  return (*f)->Seek(offset, whence);
}

namespace {

constexpr uint64_t kChunk = 128 << 10;

// Moves up to count bytes from in at *from to out: its own position, or *to. Advances both by what
// arrived. blocking: out may wait.
base::Result<uint64_t> CopyData(Task& task, File& in, uint64_t* from, File& out, uint64_t* to,
                                uint64_t count) {
  std::unique_ptr<uint8_t[]> chunk(new uint8_t[std::min(count, kChunk)]);
  uint64_t done = 0;
  while (done < count) {
    // Where nothing can be written, a byte tells whether there would be something.
    const bool full = (out.flags() & abi::kO_NONBLOCK) != 0 && (out.Poll() & abi::kEPOLLOUT) == 0;
    if (full && done > 0) break;
    const uint64_t want = full ? 1 : std::min(count - done, kChunk);
    uint64_t pos = *from;
    IoBuffer dst = IoBuffer::Kernel(chunk.get(), want);
    base::Result<uint64_t> got = ReadFile(task, in, dst, At{false, pos}, 0);
    if (!got.ok()) {
      if (done > 0) break;
      return got.error();
    }
    if (*got == 0) break;
    if (full) return abi::Errno::kEAGAIN;
    IoBuffer src = IoBuffer::Kernel(static_cast<const void*>(chunk.get()), *got);
    base::Result<uint64_t> put =
        WriteFile(task, out, src, to != nullptr ? At{false, *to} : At{}, 0);
    if (!put.ok()) {
      if (done > 0) break;
      return put.error();
    }
    *from += *put;
    if (to != nullptr) *to += *put;
    done += *put;
    if (*put < *got || task.interrupted()) break;
  }
  return done;
}

uint64_t Position(File& f) {
  base::MutexLock l(f.pos_mu);
  return f.pos;
}
void SetPosition(File& f, uint64_t pos) {
  base::MutexLock l(f.pos_mu);
  f.pos = pos;
}

}  // namespace

SyscallResult sys_sendfile(Task& task, int32_t out_fd, int32_t in_fd, UserInOut<int64_t> offset,
                           uint64_t count) {
  auto run = [&]() -> base::Result<uint64_t> {
    int64_t from = 0;
    if (!offset.null()) from = TRY(offset.Fetch(task.mm()));
    // do_sendfile().
    base::Ref<File> in = TRY(ForRead(task, in_fd));
    if (!offset.null() && !in->seekable()) return abi::Errno::kESPIPE;
    if (!offset.null() && from < 0) return abi::Errno::kEINVAL;
    base::Ref<File> out = TRY(ForWrite(task, out_fd));
    if (!in->seekable()) return abi::Errno::kEINVAL;
    if (static_cast<int64_t>(count) < 0) return abi::Errno::kEINVAL;
    if ((out->flags() & abi::kO_APPEND) != 0) return abi::Errno::kEINVAL;
    uint64_t at = offset.null() ? Position(*in) : static_cast<uint64_t>(from);
    base::Result<uint64_t> n =
        CopyData(task, *in, &at, *out, nullptr, std::min(count, kMaxRwCount));
    if (!n.ok()) return n;
    if (offset.null()) {
      SetPosition(*in, at);
    } else {
      TRY(offset.Store(task.mm(), static_cast<int64_t>(at)));
    }
    return n;
  };
  return run();
}

SyscallResult sys_copy_file_range(Task& task, int32_t fd_in, UserInOut<int64_t> off_in,
                                  int32_t fd_out, UserInOut<int64_t> off_out, uint64_t len,
                                  uint32_t flags) {
  auto run = [&]() -> base::Result<uint64_t> {
    base::Ref<File> in = TRY(task.fds().Get(fd_in));
    base::Ref<File> out = TRY(task.fds().Get(fd_out));
    int64_t from =
        off_in.null() ? static_cast<int64_t>(Position(*in)) : TRY(off_in.Fetch(task.mm()));
    int64_t to =
        off_out.null() ? static_cast<int64_t>(Position(*out)) : TRY(off_out.Fetch(task.mm()));
    if (flags != 0) return abi::Errno::kEINVAL;
    // generic_copy_file_checks().
    if (in->attr_inode().is_dir() || out->attr_inode().is_dir()) return abi::Errno::kEISDIR;
    if (!in->attr_inode().is_reg() || !out->attr_inode().is_reg()) return abi::Errno::kEINVAL;
    if (!in->readable() || !out->writable() || (out->flags() & abi::kO_APPEND) != 0)
      return abi::Errno::kEBADF;
    if (from < 0 || to < 0) return abi::Errno::kEINVAL;
    const uint64_t a = static_cast<uint64_t>(from), b = static_cast<uint64_t>(to);
    if (a + len < a || b + len < b) return abi::Errno::kEOVERFLOW;
    const uint64_t size = TRY(in->attr_inode().Getattr()).size;
    uint64_t count = a >= size ? 0 : std::min(len, size - a);
    count = std::min(count, kMaxRwCount);
    if (&in->attr_inode() == &out->attr_inode() && b + count > a && b < a + count)
      return abi::Errno::kEINVAL;
    if (count == 0) return uint64_t{0};
    uint64_t p = a, q = b;
    uint64_t n = TRY(CopyData(task, *in, &p, *out, &q, count));
    if (off_in.null()) {
      SetPosition(*in, p);
    } else {
      TRY(off_in.Store(task.mm(), static_cast<int64_t>(p)));
    }
    if (off_out.null()) {
      SetPosition(*out, q);
    } else {
      TRY(off_out.Store(task.mm(), static_cast<int64_t>(q)));
    }
    return n;
  };
  return run();
}

}  // namespace syscalls
