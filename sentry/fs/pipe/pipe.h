// Pipes and FIFOs (pipe(7), fifo(7); fs/pipe.c): a ring of bytes and the ends that are open on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>

#include "platform/base/mutex.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/vfs.h"

namespace sentry {

constexpr uint64_t kPipeSlot = 4096;              // what one pipe buffer of Linux holds
constexpr uint64_t kPipeDefaultSize = 64 * 1024;  // 16 buffers
constexpr uint64_t kPipeMaxSize = 1024 * 1024;    // /proc/sys/fs/pipe-max-size
constexpr uint64_t kPipeHardMax = 1u << 31;       // F_SETPIPE_SZ of privileged callers
constexpr uint64_t kPipeCopyChunk = 64 * 1024;    // splice moves at most this much at a time

class Pipe : public base::RefCounted {
 public:
  Pipe() = default;

  // All: bytes moved; EAGAIN, EPIPE (write without readers), EFAULT.
  base::Result<uint64_t> Read(IoBuffer& dst);
  // packet: O_DIRECT, each piece of at most PIPE_BUF bytes is read by one read.
  base::Result<uint64_t> Write(IoBuffer& src, bool packet);
  // For splice and tee, in sentry memory. Peek copies without consuming; 0 with writers gone,
  // EAGAIN with writers and no data.
  base::Result<uint64_t> Peek(uint8_t* dst, uint64_t n);
  base::Result<uint64_t> Take(uint8_t* dst, uint64_t n);
  // Gives bytes back that Take returned and nobody took.
  void PutBack(const uint8_t* src, uint64_t n);
  // Appends whatever space is left; for data that has been taken from elsewhere already.
  base::Result<void> Append(const uint8_t* src, uint64_t n);
  // Free room: EAGAIN when full, EPIPE without readers.
  base::Result<uint64_t> Room();

  uint64_t bytes();
  uint64_t size();
  // F_SETPIPE_SZ: the new size. EBUSY, EPERM (beyond kPipeMaxSize without CAP_SYS_RESOURCE),
  // EINVAL.
  base::Result<uint64_t> SetSize(uint64_t n, bool privileged);

  // EPOLL* bits. writer_seen: false for a FIFO reader that no writer has joined yet (no HUP).
  uint32_t PollRead(uint64_t writer_generation);
  uint32_t PollWrite();

  // Ends. Open wakes FIFO openers that wait for the other side.
  void OpenEnd(bool read, bool write);
  void CloseEnd(bool read, bool write);
  // How often a reader or writer was ever opened; FIFO opens wait for a change.
  uint64_t reader_generation();
  uint64_t writer_generation();
  int readers();
  int writers();

  WaitQueue& queue() { return queue_; }

 private:
  struct Packet {
    uint64_t start, end;
  };
  uint64_t SizeLocked() const REQUIRES_LOCK(mu_) { return write_pos_ - read_pos_; }
  // Linux counts whole buffers: a page is free again when its last byte was read.
  uint64_t FreeLocked() const REQUIRES_LOCK(mu_);
  bool WritableLocked() const REQUIRES_LOCK(mu_);
  void ReserveLocked(uint64_t size) REQUIRES_LOCK(mu_);
  uint64_t CopyInLocked(IoBuffer& src, uint64_t n) REQUIRES_LOCK(mu_);
  uint64_t CopyOutLocked(IoBuffer& dst, uint64_t n) REQUIRES_LOCK(mu_);
  void ConsumeLocked(uint64_t n) REQUIRES_LOCK(mu_);
  void WakeRoomLocked(bool was_writable) REQUIRES_LOCK(mu_);

  base::Mutex<base::LockClass::kPipe> mu_;
  std::unique_ptr<uint8_t[]> ring_ GUARDED_BY(mu_);
  uint64_t capacity_ GUARDED_BY(mu_) = 0;  // of ring_: a power of two, grown on demand
  uint64_t limit_ GUARDED_BY(mu_) = kPipeDefaultSize;
  // Stream positions; the byte at p is ring_[p & (capacity_ - 1)]. They start high so that data can
  // be put back in front.
  uint64_t read_pos_ GUARDED_BY(mu_) = kStart;
  uint64_t write_pos_ GUARDED_BY(mu_) = kStart;
  std::deque<Packet> packets_ GUARDED_BY(mu_);
  int readers_ GUARDED_BY(mu_) = 0, writers_ GUARDED_BY(mu_) = 0;
  uint64_t reader_generation_ GUARDED_BY(mu_) = 0, writer_generation_ GUARDED_BY(mu_) = 0;
  WaitQueue queue_;

  static constexpr uint64_t kStart = uint64_t{1} << 40;
};

// One open end, or both (a FIFO opened O_RDWR).
class PipeFile : public File {
 public:
  static constexpr char kKind = 0;
  // Takes the place of an end that the caller opened with pipe->OpenEnd().
  PipeFile(base::Ref<Pipe> pipe, base::Ref<Inode> inode, uint32_t flags, bool fifo);
  ~PipeFile() override;

  Pipe& pipe() const { return *pipe_; }
  bool seekable() const override { return false; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &pipe_->queue(); }
  bool signals_io() const override { return true; }
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;
  std::string description() override;
  base::Result<base::Ref<File>> Reopen(const OpenFlags& how) override;
  const void* kind() const override { return &kKind; }

 private:
  const base::Ref<Pipe> pipe_;
  const bool fifo_;
  // For PollRead: the writers that had come when a FIFO's reader opened; 0 for pipes.
  const uint64_t writer_generation_;
};

// pipe2(2): the read end and the write end. flags: O_NONBLOCK, O_DIRECT.
struct PipeEnds {
  base::Ref<PipeFile> read, write;
};
PipeEnds NewPipe(uint32_t flags, const Creds& creds);

// Vfs's opener of FIFO inodes: waits for the other side as fifo(7) says (ERESTARTSYS); ENXIO.
base::Result<base::Ref<File>> OpenFifo(const VfsContext& ctx, const Path& p, const OpenFlags& how);

}  // namespace sentry
