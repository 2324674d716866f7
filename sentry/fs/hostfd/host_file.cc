#include "sentry/fs/hostfd/host_file.h"

#include <algorithm>

#include "platform/host/host.h"
#include "sentry/kernel/task.h"
#include "sentry/memory/backing_file.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/ioctl.h"
#include "syscalls/abi/termios.h"

namespace sentry {

namespace {

constexpr size_t kMaxPieces = 16;
// A write that poll(2) announced takes at least this much without blocking (PIPE_BUF).
constexpr size_t kSafeWrite = 4096;

class HostSuperblock : public Superblock {
 public:
  HostSuperblock() : Superblock("hostfd") {}
  base::Result<FsStat> Statfs() override { return FsStat{}; }
};

const base::Ref<Superblock>& TheHostSuperblock() {
  static const auto* sb = new base::Ref<Superblock>(base::MakeRef<HostSuperblock>());
  return *sb;
}

class HostInode : public Inode {
 public:
  HostInode(int fd, uint32_t mode, uint32_t uid, uint32_t gid)
      : Inode(TheHostSuperblock(), mode, TheHostSuperblock()->NextIno()),
        fd_(fd),
        mode_(mode),
        uid_(uid),
        gid_(gid) {}
  // The descriptor went with the file; attributes stay askable through other names of the inode.
  void Detach() { fd_.store(-1, std::memory_order_release); }

  Perm perm() override { return {mode_, uid_, gid_}; }
  base::Result<Kstat> Getattr() override {
    Kstat k;
    k.dev = sb().dev();
    k.ino = ino();
    k.mode = mode_;
    k.uid = uid_;
    k.gid = gid_;
    struct stat st;
    int fd = fd_.load(std::memory_order_acquire);
    if (fd < 0 || host::Fstat(fd, &st) < 0) return k;
    k.rdev = type() == abi::kS_IFCHR || type() == abi::kS_IFBLK ? st.st_rdev : 0;
    k.size = static_cast<uint64_t>(st.st_size);
    k.blocks = static_cast<uint64_t>(st.st_blocks);
    k.blksize = static_cast<uint32_t>(st.st_blksize);
    auto time = [](const timespec& t) {
      return FileTime{t.tv_sec, static_cast<uint32_t>(t.tv_nsec)};
    };
    k.atime = time(st.st_atim);
    k.mtime = time(st.st_mtim);
    k.ctime = time(st.st_ctim);
    return k;
  }
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override {
    if (a.mask & SetAttr::kSize) {
      int fd = fd_.load(std::memory_order_acquire);
      if (!is_reg() || fd < 0) return abi::Errno::kEINVAL;
      TRY(host::ToResult(host::Ftruncate(fd, static_cast<int64_t>(a.size))));
    }
    // The outside's owner and mode are not the guest's to change; what it sees stays the same.
    return {};
  }

 private:
  std::atomic<int> fd_;
  const uint32_t mode_, uid_, gid_;
};

uint32_t TypeFlags(uint32_t host_flags) {
  return host_flags & (abi::kO_ACCMODE | abi::kO_APPEND | abi::kO_NONBLOCK);
}

}  // namespace

// What guests map of a regular file.
class HostFile::Storage : public Mappable {
 public:
  Storage(base::Ref<BackingFile> file) : file_(std::move(file)) {}
  base::Result<Extent> Translate(uint64_t offset, uint64_t len, bool write) override {
    if (write && !file_->writable()) return abi::Errno::kEACCES;
    return Extent{file_, offset, len};
  }
  uint64_t size() override {
    struct stat st;
    if (host::Fstat(file_->fd(), &st) < 0) return 0;
    return static_cast<uint64_t>(st.st_size);
  }

 private:
  const base::Ref<BackingFile> file_;
};

base::Result<base::Ref<HostFile>> HostFile::Create(base::UniqueFd fd, uint32_t uid, uint32_t gid) {
  struct stat st;
  TRY(host::ToResult(host::Fstat(fd.get(), &st)));
  uint64_t flags = TRY(host::ToResult(host::GetFlags(fd.get())));
  // drivers/char/mem.c: null, zero, full have no poll operation.
  bool memory_device = S_ISCHR(st.st_mode) && (st.st_rdev >> 8 & 0xfff) == 1 &&
                       (st.st_rdev & 0xff) != 8 && (st.st_rdev & 0xff) != 9;
  bool pollable =
      !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISBLK(st.st_mode) && !memory_device;
  auto inode = base::MakeRef<HostInode>(fd.get(), st.st_mode, uid, gid);
  // A broken pipe outside is an errno here, not a signal.
  static const bool ignored = [] {
    struct sigaction sa {};
    sa.sa_handler = SIG_IGN;
    host::Sigaction(SIGPIPE, &sa, nullptr);
    return true;
  }();
  (void)ignored;
  return base::Ref<HostFile>::Adopt(new HostFile(std::move(inode), std::move(fd),
                                                 TypeFlags(static_cast<uint32_t>(flags)),
                                                 st.st_mode & S_IFMT, pollable));
}

HostFile::HostFile(base::Ref<Inode> inode, base::UniqueFd fd, uint32_t flags, uint32_t type,
                   bool pollable)
    : File(Path{}, std::move(inode), flags & ~static_cast<uint32_t>(abi::kO_NONBLOCK)),
      fd_(std::move(fd)),
      seekable_(type == abi::kS_IFREG || type == abi::kS_IFBLK),
      pollable_(pollable) {}

HostFile::~HostFile() {
  uint64_t id;
  {
    base::MutexLock lock(notify_mu_);
    id = notify_id_;
  }
  if (id != 0) HostNotifier::Get().Remove(id, fd_.get());
  static_cast<HostInode&>(*inode()).Detach();
}

void HostFile::OnHostReady(uint32_t ready) {
  if (ready & EPOLLIN) ready |= abi::kEPOLLRDNORM;
  if (ready & EPOLLOUT) ready |= abi::kEPOLLWRNORM;
  queue_.Wake(ready);
}

void HostFile::WillWait(uint32_t mask) {
  if (!pollable_ || notified_.load(std::memory_order_acquire)) return;
  base::MutexLock lock(notify_mu_);
  if (notify_id_ == 0) notify_id_ = HostNotifier::Get().Add(fd_.get(), this);
  notified_.store(true, std::memory_order_release);
}

uint32_t HostFile::HostPoll(uint32_t events) const {
  pollfd p{fd_.get(), static_cast<short>(events), 0};
  timespec zero{};
  return host::Poll(&p, 1, &zero) > 0 ? static_cast<uint16_t>(p.revents) : 0;
}

uint32_t HostFile::Poll() {
  if (!pollable_) return File::Poll();
  return HostPoll(POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM | POLLRDHUP);
}

base::Result<uint64_t> HostFile::Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
  if (dst.remaining() == 0) return uint64_t{0};
  if (inode()->is_dir()) return abi::Errno::kEISDIR;
  HostIov pieces[kMaxPieces];
  IoBuffer::Mark start = dst.mark();
  size_t n = dst.HostVec(true, pieces, kMaxPieces);
  if (n == 0) return abi::Errno::kEFAULT;
  iovec iov[kMaxPieces];
  for (size_t i = 0; i < n; i++) iov[i] = {pieces[i].base, pieces[i].len};
  long r;
  if (seekable_) {
    // The position of read(2) is the description's own, which the outside shares.
    int64_t at = offset == &pos ? -1 : static_cast<int64_t>(*offset);
    r = host::Preadv(fd_.get(), iov, static_cast<int>(n), at);
    if (r > 0) *offset += static_cast<uint64_t>(r);
  } else if (!pollable_) {
    r = host::Readv(fd_.get(), iov, static_cast<int>(n));
  } else {
    r = -EOPNOTSUPP;
    if (nowait_.load(std::memory_order_relaxed)) {
      r = host::Preadv(fd_.get(), iov, static_cast<int>(n), -1, RWF_NOWAIT);
      if (r == -EOPNOTSUPP) nowait_.store(false, std::memory_order_relaxed);
    }
    if (r == -EOPNOTSUPP) {
      if ((HostPoll(POLLIN) & (POLLIN | POLLHUP | POLLERR)) == 0) return abi::Errno::kEAGAIN;
      r = host::Readv(fd_.get(), iov, static_cast<int>(n));
    }
  }
  if (r < 0) {
    dst.Rewind(start);
    // A signal for the sentry's thread is not one for the guest.
    if (r == -EINTR) return abi::Errno::kEAGAIN;
    return host::HostToGuest(r);
  }
  dst.Consume(static_cast<size_t>(r));
  return static_cast<uint64_t>(r);
}

base::Result<uint64_t> HostFile::Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) {
  if (src.remaining() == 0) return uint64_t{0};
  HostIov pieces[kMaxPieces];
  size_t n = src.HostVec(false, pieces, kMaxPieces);
  if (n == 0) return abi::Errno::kEFAULT;
  iovec iov[kMaxPieces];
  for (size_t i = 0; i < n; i++) iov[i] = {pieces[i].base, pieces[i].len};
  long r;
  if (seekable_) {
    int64_t at = offset == &pos ? -1 : static_cast<int64_t>(*offset);
    r = host::Pwritev(fd_.get(), iov, static_cast<int>(n), at);
    if (r > 0) *offset += static_cast<uint64_t>(r);
  } else if (!pollable_) {
    r = host::Writev(fd_.get(), iov, static_cast<int>(n));
  } else {
    r = -EOPNOTSUPP;
    if (nowait_.load(std::memory_order_relaxed)) {
      r = host::Pwritev(fd_.get(), iov, static_cast<int>(n), -1, RWF_NOWAIT);
      if (r == -EOPNOTSUPP) nowait_.store(false, std::memory_order_relaxed);
    }
    if (r == -EOPNOTSUPP) {
      if ((HostPoll(POLLOUT) & (POLLOUT | POLLHUP | POLLERR)) == 0) return abi::Errno::kEAGAIN;
      size_t left = kSafeWrite, k = 0;
      for (; k < n && left > 0; k++) {
        iov[k].iov_len = std::min(iov[k].iov_len, left);
        left -= iov[k].iov_len;
      }
      r = host::Writev(fd_.get(), iov, static_cast<int>(k));
    }
  }
  if (r == -EINTR) return abi::Errno::kEAGAIN;
  if (r < 0) return host::HostToGuest(r);
  src.Consume(static_cast<size_t>(r));
  return static_cast<uint64_t>(r);
}

base::Result<uint64_t> HostFile::Seek(int64_t offset, int whence) {
  if (!seekable_) return abi::Errno::kESPIPE;
  base::MutexLock lock(pos_mu);
  uint64_t at = TRY(host::ToResult(host::Lseek(fd_.get(), offset, whence)));
  pos = at;
  return at;
}

base::Result<void> HostFile::Fsync(bool data_only) {
  if (!seekable_) return abi::Errno::kEINVAL;
  TRY(host::ToResult(data_only ? host::Fdatasync(fd_.get()) : host::Fsync(fd_.get())));
  return {};
}

base::Result<void> HostFile::Fallocate(int mode, uint64_t offset, uint64_t len) {
  if (!seekable_) return abi::Errno::kESPIPE;
  TRY(host::ToResult(
      host::Fallocate(fd_.get(), mode, static_cast<int64_t>(offset), static_cast<int64_t>(len))));
  return {};
}

base::Result<uint64_t> HostFile::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  auto in = [&](auto* v) { return task.mm().CopyIn(v, arg, sizeof *v); };
  auto out = [&](const auto& v) { return task.mm().CopyOut(arg, &v, sizeof v); };
  switch (cmd) {
    case abi::kFIONREAD: {
      int32_t n = 0;
      TRY(host::ToResult(host::Ioctl(fd_.get(), FIONREAD, &n)));
      TRY(out(n));
      return uint64_t{0};
    }
    case abi::kTCGETS: {
      abi::Termios t{};
      TRY(host::ToResult(host::Ioctl(fd_.get(), TCGETS, &t)));
      TRY(out(t));
      return uint64_t{0};
    }
    case abi::kTCSETS:
    case abi::kTCSETSW:
    case abi::kTCSETSF: {
      abi::Termios t;
      TRY(in(&t));
      TRY(host::ToResult(host::Ioctl(fd_.get(), cmd, &t)));
      return uint64_t{0};
    }
    case abi::kTIOCGWINSZ: {
      abi::Winsize w{};
      TRY(host::ToResult(host::Ioctl(fd_.get(), TIOCGWINSZ, &w)));
      TRY(out(w));
      return uint64_t{0};
    }
    case abi::kTIOCSWINSZ: {
      abi::Winsize w;
      TRY(in(&w));
      TRY(host::ToResult(host::Ioctl(fd_.get(), TIOCSWINSZ, &w)));
      return uint64_t{0};
    }
    default:
      return abi::Errno::kENOTTY;
  }
}

base::Result<base::Ref<Mappable>> HostFile::Mmap(uint64_t offset, uint64_t len, uint8_t prot,
                                                 bool shared) {
  if (!inode()->is_reg() || !readable()) return abi::Errno::kENODEV;
  long fd = host::Dup(fd_.get());
  if (fd < 0) return abi::Errno::kENOMEM;
  return base::Ref<Mappable>(base::MakeRef<Storage>(
      base::MakeRef<BackingFile>(base::UniqueFd(static_cast<int>(fd)), writable())));
}

std::string HostFile::description() {
  const char* what = "host";
  if (inode()->type() == abi::kS_IFIFO) what = "pipe";
  if (inode()->type() == abi::kS_IFSOCK) what = "socket";
  return std::string(what) + ":[" + std::to_string(inode()->ino()) + "]";
}

base::Result<base::Ref<File>> HostFile::Reopen(const OpenFlags& how) {
  if ((how.readable() && !readable()) || (how.writable() && !writable())) {
    return abi::Errno::kEACCES;
  }
  return base::Ref<File>(this);
}

}  // namespace sentry
