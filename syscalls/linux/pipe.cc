// pipe(2), splice(2), tee(2), vmsplice(2).
#include "sentry/fs/pipe/pipe.h"

#include <algorithm>
#include <memory>

#include "sentry/kernel/task.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/uio.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::FileCast;
using sentry::IoBuffer;
using sentry::Pipe;
using sentry::PipeFile;

namespace {

constexpr uint32_t kSpliceFlags =
    abi::kSPLICE_F_MOVE | abi::kSPLICE_F_NONBLOCK | abi::kSPLICE_F_MORE | abi::kSPLICE_F_GIFT;

using Chunk = std::unique_ptr<uint8_t[]>;

// A file that is not a pipe, at an offset of the caller's or its own position.
base::Result<uint64_t> MoveFile(Task& task, File& f, bool write, IoBuffer& buf, uint64_t* offset,
                                bool nonblock) {
  auto op = [&](uint64_t* at) { return write ? f.Write(buf, at, 0) : f.Read(buf, at, 0); };
  if (offset != nullptr) return op(offset);
  if (f.seekable()) {
    base::MutexLock lock(f.pos_mu);
    return op(&f.pos);
  }
  uint64_t unused = 0;
  return task.BlockOn(f, write ? abi::kEPOLLOUT : abi::kEPOLLIN, nonblock || f.nonblocking(),
                      [&] { return op(&unused); });
}

base::Result<uint64_t> WaitRoom(Task& task, PipeFile& out, bool nonblock) {
  return task.BlockOn(out, abi::kEPOLLOUT, nonblock, [&] { return out.pipe().Room(); });
}

base::Result<uint64_t> PipeToPipe(Task& task, PipeFile& in, PipeFile& out, uint64_t len,
                                  bool nonblock, bool tee) {
  Chunk chunk(new uint8_t[sentry::kPipeCopyChunk]);
  uint64_t n = std::min(len, sentry::kPipeCopyChunk);
  // ipipe_prep() before opipe_prep(): an empty pipe whose writers left is the end.
  uint64_t have = TRY(
      task.BlockOn(in, abi::kEPOLLIN, nonblock, [&] { return in.pipe().Peek(chunk.get(), 1); }));
  if (have == 0) return uint64_t{0};
  uint64_t room = TRY(WaitRoom(task, out, nonblock));
  n = std::min(n, room);
  uint64_t moved = tee ? TRY(in.pipe().Peek(chunk.get(), n)) : TRY(in.pipe().Take(chunk.get(), n));
  base::Result<void> r = out.pipe().Append(chunk.get(), moved);
  if (!r.ok()) {
    if (!tee) in.pipe().PutBack(chunk.get(), moved);
    return r.error();
  }
  return moved;
}

base::Result<uint64_t> PipeToFile(Task& task, PipeFile& in, File& out, uint64_t* offset,
                                  uint64_t len, bool nonblock) {
  Chunk chunk(new uint8_t[std::min(len, sentry::kPipeCopyChunk)]);
  uint64_t done = 0;
  while (done < len) {
    uint64_t n = std::min(len - done, sentry::kPipeCopyChunk);
    base::Result<uint64_t> got = task.BlockOn(in, abi::kEPOLLIN, nonblock || done > 0,
                                              [&] { return in.pipe().Take(chunk.get(), n); });
    if (!got.ok()) {
      if (done > 0) break;
      return got.error();
    }
    if (*got == 0) break;
    IoBuffer buf = IoBuffer::Kernel(chunk.get(), *got);
    base::Result<uint64_t> put = MoveFile(task, out, true, buf, offset, nonblock || done > 0);
    uint64_t took = put.ok() ? *put : 0;
    if (took < *got) in.pipe().PutBack(chunk.get() + took, *got - took);
    done += took;
    if (!put.ok() && done == 0) return put.error();
    if (took < *got) break;
  }
  return done;
}

base::Result<uint64_t> FileToPipe(Task& task, File& in, uint64_t* offset, PipeFile& out,
                                  uint64_t len, bool nonblock) {
  Chunk chunk(new uint8_t[std::min(len, sentry::kPipeCopyChunk)]);
  uint64_t room = TRY(WaitRoom(task, out, nonblock));
  uint64_t n = std::min({len, room, sentry::kPipeCopyChunk});
  IoBuffer buf = IoBuffer::Kernel(chunk.get(), n);
  uint64_t got = TRY(MoveFile(task, in, false, buf, offset, nonblock));
  TRY(out.pipe().Append(chunk.get(), got));
  return got;
}

SyscallResult WithSigpipe(Task& task, base::Result<uint64_t> r) {
  if (r.is(abi::Errno::kEPIPE)) RaiseSigpipe(task);
  return r;
}

SyscallResult NewPipePair(Task& task, UserAddr fds, int32_t flags) {
  if (flags & ~(abi::kO_CLOEXEC | abi::kO_NONBLOCK | abi::kO_DIRECT)) return abi::Errno::kEINVAL;
  sentry::PipeEnds ends = sentry::NewPipe(flags, task.creds());
  return InstallPair(task, std::move(ends.read), std::move(ends.write),
                     (flags & abi::kO_CLOEXEC) != 0, fds);
}

}  // namespace

SyscallResult sys_pipe(Task& task, UserAddr fds) { return NewPipePair(task, fds, 0); }

SyscallResult sys_pipe2(Task& task, UserAddr fds, int32_t flags) {
  return NewPipePair(task, fds, flags);
}

// do_splice() in fs/splice.c.
SyscallResult sys_splice(Task& task, int32_t fd_in, UserInOut<int64_t> off_in, int32_t fd_out,
                         UserInOut<int64_t> off_out, uint64_t len, uint32_t flags) {
  if (len == 0) return 0;
  if (flags & ~kSpliceFlags) return abi::Errno::kEINVAL;
  base::Ref<File> in = TRY(task.fds().Get(fd_in));
  base::Ref<File> out = TRY(task.fds().Get(fd_out));
  auto* in_pipe = FileCast<PipeFile>(in.get());
  auto* out_pipe = FileCast<PipeFile>(out.get());
  if (in_pipe != nullptr && !off_in.null()) return abi::Errno::kESPIPE;
  if (out_pipe != nullptr && !off_out.null()) return abi::Errno::kESPIPE;
  int64_t at_in = 0, at_out = 0;
  if (!off_out.null()) at_out = TRY(off_out.Fetch(task.mm()));
  if (!off_in.null()) at_in = TRY(off_in.Fetch(task.mm()));
  if (!in->readable() || !out->writable()) return abi::Errno::kEBADF;
  len = std::min<uint64_t>(len, sentry::kMaxRwCount);
  bool nonblock = (flags & abi::kSPLICE_F_NONBLOCK) != 0 || out->nonblocking();

  if (in_pipe != nullptr && out_pipe != nullptr) {
    if (&in_pipe->pipe() == &out_pipe->pipe()) return abi::Errno::kEINVAL;
    return WithSigpipe(
        task, PipeToPipe(task, *in_pipe, *out_pipe, len, nonblock || in->nonblocking(), false));
  }
  if (in_pipe != nullptr) {
    if (!off_out.null() && !out->seekable()) return abi::Errno::kEINVAL;
    if (out->flags() & abi::kO_APPEND) return abi::Errno::kEINVAL;
    if (at_out < 0) return abi::Errno::kEINVAL;
    uint64_t at = static_cast<uint64_t>(at_out);
    base::Result<uint64_t> r =
        PipeToFile(task, *in_pipe, *out, off_out.null() ? nullptr : &at, len, nonblock);
    if (r.ok() && !off_out.null()) {
      TRY(off_out.Store(task.mm(), static_cast<int64_t>(at)));
    }
    return WithSigpipe(task, std::move(r));
  }
  if (out_pipe != nullptr) {
    if (in->attr_inode().is_dir()) return abi::Errno::kEINVAL;
    if (!off_in.null() && !in->seekable()) return abi::Errno::kEINVAL;
    if (at_in < 0) return abi::Errno::kEINVAL;
    uint64_t at = static_cast<uint64_t>(at_in);
    base::Result<uint64_t> r =
        FileToPipe(task, *in, off_in.null() ? nullptr : &at, *out_pipe, len, nonblock);
    if (r.ok() && !off_in.null()) {
      TRY(off_in.Store(task.mm(), static_cast<int64_t>(at)));
    }
    return WithSigpipe(task, std::move(r));
  }
  return abi::Errno::kEINVAL;
}

SyscallResult sys_tee(Task& task, int32_t fd_in, int32_t fd_out, uint64_t len, uint32_t flags) {
  if (flags & ~kSpliceFlags) return abi::Errno::kEINVAL;
  if (len == 0) return 0;
  base::Ref<File> in = TRY(task.fds().Get(fd_in));
  base::Ref<File> out = TRY(task.fds().Get(fd_out));
  if (!in->readable() || !out->writable()) return abi::Errno::kEBADF;
  auto* in_pipe = FileCast<PipeFile>(in.get());
  auto* out_pipe = FileCast<PipeFile>(out.get());
  if (in_pipe == nullptr || out_pipe == nullptr || &in_pipe->pipe() == &out_pipe->pipe()) {
    return abi::Errno::kEINVAL;
  }
  bool nonblock = (flags & abi::kSPLICE_F_NONBLOCK) != 0 || in->nonblocking() || out->nonblocking();
  return WithSigpipe(task, PipeToPipe(task, *in_pipe, *out_pipe, len, nonblock, true));
}

SyscallResult sys_vmsplice(Task& task, int32_t fd, UserAddr iov, uint64_t iovcnt, uint32_t flags) {
  if (flags & ~kSpliceFlags) return abi::Errno::kEINVAL;
  base::Ref<File> file = TRY(task.fds().Get(fd));
  UserSegments segments = TRY(ImportIovec(task, iov, iovcnt));
  auto* pipe = FileCast<PipeFile>(file.get());
  if (pipe == nullptr) return abi::Errno::kEBADF;
  IoBuffer buf = IoBuffer::UserVec(task.mm(), segments);
  if (buf.remaining() == 0) return 0;
  bool nonblock = (flags & abi::kSPLICE_F_NONBLOCK) != 0 || file->nonblocking();
  if (file->writable()) {
    return WithSigpipe(task, task.BlockOn(*file, abi::kEPOLLOUT, nonblock,
                                          [&] { return pipe->pipe().Write(buf, false); }));
  }
  return task.BlockOn(*file, abi::kEPOLLIN, nonblock, [&] { return pipe->pipe().Read(buf); });
}

}  // namespace syscalls
