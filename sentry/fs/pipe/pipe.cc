#include "sentry/fs/pipe/pipe.h"

#include <algorithm>
#include <cstring>

#include "sentry/kernel/task.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/ioctl.h"
#include "syscalls/abi/uio.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM;
// What a File keeps of the flags of open(2).
constexpr uint32_t kKeptFlags = ~static_cast<uint32_t>(
    abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY | abi::kO_TRUNC | abi::kO_CLOEXEC);
constexpr uint64_t SlotFloor(uint64_t p) { return p & ~(kPipeSlot - 1); }
constexpr uint64_t SlotCeil(uint64_t p) { return (p + kPipeSlot - 1) & ~(kPipeSlot - 1); }
}  // namespace

uint64_t Pipe::FreeLocked() const {
  if (!packets_.empty() && packets_.size() >= limit_ / kPipeSlot) return 0;
  uint64_t used = write_pos_ - SlotFloor(read_pos_);
  return used < limit_ ? limit_ - used : 0;
}

bool Pipe::WritableLocked() const {
  if (!packets_.empty() && packets_.size() >= limit_ / kPipeSlot) return false;
  return SlotCeil(write_pos_) - SlotFloor(read_pos_) < limit_;
}

void Pipe::ReserveLocked(uint64_t size) {
  if (size <= capacity_) return;
  uint64_t cap = std::max<uint64_t>(capacity_, kPipeSlot);
  while (cap < size) cap *= 2;
  std::unique_ptr<uint8_t[]> ring(new uint8_t[cap]);
  for (uint64_t p = read_pos_; p < write_pos_;) {
    uint64_t from = p & (capacity_ - 1), to = p & (cap - 1);
    uint64_t n = std::min({write_pos_ - p, capacity_ - from, cap - to});
    memcpy(&ring[to], &ring_[from], n);
    p += n;
  }
  ring_ = std::move(ring);
  capacity_ = cap;
}

uint64_t Pipe::CopyInLocked(IoBuffer& src, uint64_t n) {
  ReserveLocked(SizeLocked() + n);
  uint64_t done = 0;
  while (done < n) {
    uint64_t at = write_pos_ & (capacity_ - 1);
    uint64_t k = std::min(n - done, capacity_ - at);
    uint64_t got = src.CopyFrom(&ring_[at], k);
    write_pos_ += got;
    done += got;
    if (got < k) break;
  }
  return done;
}

uint64_t Pipe::CopyOutLocked(IoBuffer& dst, uint64_t n) {
  uint64_t done = 0;
  while (done < n) {
    uint64_t at = (read_pos_ + done) & (capacity_ - 1);
    uint64_t k = std::min(n - done, capacity_ - at);
    uint64_t put = dst.CopyTo(&ring_[at], k);
    done += put;
    if (put < k) break;
  }
  return done;
}

void Pipe::ConsumeLocked(uint64_t n) {
  read_pos_ += n;
  while (!packets_.empty() && packets_.front().start < read_pos_) {
    Packet& p = packets_.front();
    if (p.end > read_pos_) {
      p.start = read_pos_;
      break;
    }
    packets_.pop_front();
  }
  // An empty pipe starts on a fresh buffer; a large ring is not kept for an idle pipe.
  if (read_pos_ == write_pos_) read_pos_ = write_pos_ = kStart;
}

void Pipe::WakeRoomLocked(bool was_writable) {
  if (!was_writable && WritableLocked()) queue_.Wake(kWritable);
}

base::Result<uint64_t> Pipe::Read(IoBuffer& dst) {
  if (dst.remaining() == 0) return uint64_t{0};
  base::MutexLock lock(mu_);
  if (SizeLocked() == 0) {
    if (writers_ == 0) return uint64_t{0};
    return abi::Errno::kEAGAIN;
  }
  bool was_writable = WritableLocked();
  uint64_t done = 0;
  while (dst.remaining() > 0 && SizeLocked() > 0) {
    uint64_t avail = SizeLocked();
    bool packet = false;
    if (!packets_.empty()) {
      packet = packets_.front().start == read_pos_;
      avail = (packet ? packets_.front().end : packets_.front().start) - read_pos_;
    }
    uint64_t n = std::min<uint64_t>(dst.remaining(), avail);
    uint64_t moved = CopyOutLocked(dst, n);
    done += moved;
    if (moved < n) {
      ConsumeLocked(moved);
      if (done == 0) return abi::Errno::kEFAULT;
      break;
    }
    // What a short read leaves of a packet is lost (pipe(2), O_DIRECT).
    ConsumeLocked(packet ? avail : moved);
    if (packet) break;
  }
  WakeRoomLocked(was_writable);
  return done;
}

base::Result<uint64_t> Pipe::Write(IoBuffer& src, bool packet) {
  uint64_t want = src.remaining();
  if (want == 0) return uint64_t{0};
  base::MutexLock lock(mu_);
  if (readers_ == 0) return abi::Errno::kEPIPE;
  uint64_t free = FreeLocked();
  if (want <= abi::kPIPE_BUF ? free < want : free == 0) return abi::Errno::kEAGAIN;
  uint64_t done = 0;
  if (!packet) {
    uint64_t n = std::min(want, free);
    done = CopyInLocked(src, n);
  } else {
    while (src.remaining() > 0) {
      uint64_t n = std::min<uint64_t>(src.remaining(), abi::kPIPE_BUF);
      if (FreeLocked() < n) break;
      uint64_t start = write_pos_;
      uint64_t moved = CopyInLocked(src, n);
      if (moved > 0) packets_.push_back({start, start + moved});
      done += moved;
      if (moved < n) break;
    }
    if (done == 0 && !src.faulted()) return abi::Errno::kEAGAIN;
  }
  if (done == 0) return abi::Errno::kEFAULT;
  queue_.Wake(kReadable);
  return done;
}

base::Result<uint64_t> Pipe::Peek(uint8_t* dst, uint64_t n) {
  base::MutexLock lock(mu_);
  if (SizeLocked() == 0) {
    if (writers_ == 0) return uint64_t{0};
    return abi::Errno::kEAGAIN;
  }
  IoBuffer b = IoBuffer::Kernel(dst, n);
  return CopyOutLocked(b, std::min(n, SizeLocked()));
}

base::Result<uint64_t> Pipe::Take(uint8_t* dst, uint64_t n) {
  base::MutexLock lock(mu_);
  if (SizeLocked() == 0) {
    if (writers_ == 0) return uint64_t{0};
    return abi::Errno::kEAGAIN;
  }
  bool was_writable = WritableLocked();
  IoBuffer b = IoBuffer::Kernel(dst, n);
  uint64_t moved = CopyOutLocked(b, std::min(n, SizeLocked()));
  ConsumeLocked(moved);
  WakeRoomLocked(was_writable);
  return moved;
}

void Pipe::PutBack(const uint8_t* src, uint64_t n) {
  if (n == 0) return;
  base::MutexLock lock(mu_);
  ReserveLocked(SizeLocked() + n);
  read_pos_ -= n;
  for (uint64_t i = 0; i < n;) {
    uint64_t at = (read_pos_ + i) & (capacity_ - 1);
    uint64_t k = std::min(n - i, capacity_ - at);
    memcpy(&ring_[at], src + i, k);
    i += k;
  }
  queue_.Wake(kReadable);
}

base::Result<void> Pipe::Append(const uint8_t* src, uint64_t n) {
  if (n == 0) return {};
  base::MutexLock lock(mu_);
  if (readers_ == 0) return abi::Errno::kEPIPE;
  IoBuffer b = IoBuffer::Kernel(src, n);
  CopyInLocked(b, n);
  queue_.Wake(kReadable);
  return {};
}

base::Result<uint64_t> Pipe::Room() {
  base::MutexLock lock(mu_);
  if (readers_ == 0) return abi::Errno::kEPIPE;
  if (!WritableLocked()) return abi::Errno::kEAGAIN;
  return FreeLocked();
}

uint64_t Pipe::bytes() {
  base::MutexLock lock(mu_);
  return SizeLocked();
}

uint64_t Pipe::size() {
  base::MutexLock lock(mu_);
  return limit_;
}

// pipe_set_size() and round_pipe_size().
base::Result<uint64_t> Pipe::SetSize(uint64_t n, bool privileged) {
  if (n > kPipeHardMax) return abi::Errno::kEINVAL;
  uint64_t size = kPipeSlot;
  while (size < n) size *= 2;
  base::MutexLock lock(mu_);
  if (size > limit_ && size > kPipeMaxSize && !privileged) return abi::Errno::kEPERM;
  uint64_t used = SlotCeil(write_pos_) - SlotFloor(read_pos_);
  used = std::max<uint64_t>(used, packets_.size() * kPipeSlot);
  if (used > size) return abi::Errno::kEBUSY;
  bool was_writable = WritableLocked();
  limit_ = size;
  WakeRoomLocked(was_writable);
  return size;
}

uint32_t Pipe::PollRead(uint64_t writer_generation) {
  base::MutexLock lock(mu_);
  uint32_t m = 0;
  if (SizeLocked() > 0) m |= kReadable;
  if (writers_ == 0 && writer_generation_ != writer_generation) m |= abi::kEPOLLHUP;
  return m;
}

uint32_t Pipe::PollWrite() {
  base::MutexLock lock(mu_);
  uint32_t m = 0;
  if (WritableLocked()) m |= kWritable;
  if (readers_ == 0) m |= abi::kEPOLLERR;
  return m;
}

void Pipe::OpenEnd(bool read, bool write) {
  base::MutexLock lock(mu_);
  if (read) readers_++, reader_generation_++;
  if (write) writers_++, writer_generation_++;
  queue_.Wake(kReadable | kWritable);
}

void Pipe::CloseEnd(bool read, bool write) {
  base::MutexLock lock(mu_);
  if (read) readers_--;
  if (write) writers_--;
  if (readers_ == 0 && writers_ == 0) {
    ring_.reset();
    capacity_ = 0;
    read_pos_ = write_pos_ = kStart;
    packets_.clear();
    limit_ = kPipeDefaultSize;
    return;
  }
  // pipe_release() wakes both sides without a key.
  if ((read && readers_ == 0) || (write && writers_ == 0)) {
    queue_.Wake(kReadable | kWritable | abi::kEPOLLERR | abi::kEPOLLHUP);
  }
}

uint64_t Pipe::reader_generation() {
  base::MutexLock lock(mu_);
  return reader_generation_;
}

uint64_t Pipe::writer_generation() {
  base::MutexLock lock(mu_);
  return writer_generation_;
}

int Pipe::readers() {
  base::MutexLock lock(mu_);
  return readers_;
}

int Pipe::writers() {
  base::MutexLock lock(mu_);
  return writers_;
}

PipeFile::PipeFile(base::Ref<Pipe> pipe, base::Ref<Inode> inode, uint32_t flags, bool fifo)
    : File(Path{}, std::move(inode), flags),
      pipe_(std::move(pipe)),
      fifo_(fifo),
      writer_generation_(fifo && pipe_->writers() == 0 ? pipe_->writer_generation() : 0) {}

PipeFile::~PipeFile() { pipe_->CloseEnd(readable(), writable()); }

base::Result<uint64_t> PipeFile::Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
  return pipe_->Read(dst);
}

base::Result<uint64_t> PipeFile::Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) {
  return pipe_->Write(src, (flags() & abi::kO_DIRECT) != 0);
}

uint32_t PipeFile::Poll() {
  uint32_t m = 0;
  if (readable()) m |= pipe_->PollRead(writer_generation_);
  if (writable()) m |= pipe_->PollWrite();
  return m;
}

base::Result<uint64_t> PipeFile::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  if (cmd != static_cast<uint32_t>(abi::kFIONREAD)) return abi::Errno::kENOTTY;
  TRY(UserOut<int32_t>{arg}.Store(task.mm(), static_cast<int32_t>(pipe_->bytes())));
  return uint64_t{0};
}

std::string PipeFile::description() {
  return fifo_ ? "" : "pipe:[" + std::to_string(inode()->ino()) + "]";
}

PipeEnds NewPipe(uint32_t flags, const Creds& creds) {
  base::Ref<Pipe> pipe = base::MakeRef<Pipe>();
  base::Ref<Inode> inode = Vfs::NewAnonInode(abi::kS_IFIFO | 0600, creds.fsuid, creds.fsgid);
  pipe->OpenEnd(true, true);
  flags &= abi::kO_NONBLOCK | abi::kO_DIRECT;
  return {base::MakeRef<PipeFile>(pipe, inode, abi::kO_RDONLY | flags, false),
          base::MakeRef<PipeFile>(pipe, inode, abi::kO_WRONLY | flags, false)};
}

// fifo_open().
base::Result<base::Ref<File>> PipeFile::Reopen(const OpenFlags& how) {
  // fifo_open() of a pipe's inode: both sides are there, or the end is hung up already.
  pipe_->OpenEnd(how.readable(), how.writable());
  return base::Ref<File>(base::MakeRef<PipeFile>(pipe_, inode(), how.flags & kKeptFlags, fifo_));
}

base::Result<base::Ref<File>> OpenFifo(const VfsContext& ctx, const Path& p, const OpenFlags& how) {
  base::Ref<Inode> inode = p.dentry->inode();
  base::Ref<base::RefCounted> bound = inode->bound_object();
  if (!bound) bound = inode->BindObject(base::MakeRef<Pipe>());
  auto pipe = base::StaticRefCast<Pipe>(bound);
  const bool read = how.readable(), write = how.writable();
  const bool nonblock = (how.flags & abi::kO_NONBLOCK) != 0;
  if (write && !read && nonblock && pipe->readers() == 0) return abi::Errno::kENXIO;

  uint64_t other_before = read ? pipe->writer_generation() : pipe->reader_generation();
  auto file = base::MakeRef<PipeFile>((pipe->OpenEnd(read, write), pipe), inode,
                                      how.flags & kKeptFlags, true);
  if ((read && write) || nonblock || ctx.task == nullptr) return base::Ref<File>(file);
  auto met = [&]() -> base::Result<void> {
    if (read ? pipe->writers() > 0 || pipe->writer_generation() != other_before
             : pipe->readers() > 0 || pipe->reader_generation() != other_before) {
      return {};
    }
    return abi::Errno::kEAGAIN;
  };
  if (!met().ok()) {
    TRY(ctx.task->BlockOnQueue(pipe->queue(), kReadable | kWritable, met));
  }
  return base::Ref<File>(file);
}

}  // namespace sentry
