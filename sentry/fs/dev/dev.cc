#include "sentry/fs/dev/dev.h"

#include <algorithm>
#include <string>

#include "platform/host/host.h"
#include "sentry/fs/devpts/devpts.h"
#include "sentry/kernel/task.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/ioctl.h"

namespace sentry {

namespace {

// drivers/char/mem.c: null, zero and full share their seek.
class MemoryDevice : public File {
 public:
  using File::File;
  base::Result<uint64_t> Seek(int64_t offset, int whence) override {
    base::MutexLock lock(pos_mu);
    pos = 0;
    return uint64_t{0};
  }
  base::Result<void> Fsync(bool data_only) override { return abi::Errno::kEINVAL; }
};

class NullFile : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  base::Result<uint64_t> Read(IoBuffer&, uint64_t*, uint32_t) override { return uint64_t{0}; }
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t*, uint32_t) override {
    uint64_t n = src.remaining();
    src.Consume(n);
    return n;
  }
};

class ZeroFile : public MemoryDevice {
 public:
  ZeroFile(base::Ref<Inode> inode, uint32_t flags, bool full)
      : MemoryDevice(Path{}, std::move(inode), flags), full_(full) {}
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t*, uint32_t) override {
    uint64_t want = dst.remaining();
    uint64_t n = dst.Zero(want);
    if (n == 0 && want > 0) return abi::Errno::kEFAULT;
    return n;
  }
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t*, uint32_t) override {
    if (full_) return abi::Errno::kENOSPC;
    uint64_t n = src.remaining();
    src.Consume(n);
    return n;
  }
  bool maps_zeros() const override { return !full_; }

 private:
  const bool full_;
};

class RandomFile : public File {
 public:
  RandomFile(base::Ref<Inode> inode, uint32_t flags, bool pollable)
      : File(Path{}, std::move(inode), flags), pollable_(pollable) {}
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t*, uint32_t) override {
    uint8_t chunk[1024];
    uint64_t done = 0;
    while (dst.remaining() > 0) {
      size_t n = std::min(dst.remaining(), sizeof chunk);
      host::Random(chunk, n);
      size_t put = dst.CopyTo(chunk, n);
      done += put;
      if (put < n) break;
      // get_random_bytes_user() looks for signals once per page.
      Task* t = Task::Current();
      if (done % 4096 == 0 && t != nullptr && t->interrupted()) break;
    }
    if (done == 0 && dst.faulted()) return abi::Errno::kEFAULT;
    return done;
  }
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t*, uint32_t) override {
    // Mixing input in changes nothing that a guest could see.
    uint64_t n = src.remaining();
    src.Consume(n);
    return n;
  }
  base::Result<uint64_t> Seek(int64_t offset, int whence) override {
    // noop_llseek().
    base::MutexLock lock(pos_mu);
    return pos;
  }
  WaitQueue* wait_queue() override { return pollable_ ? &queue_ : nullptr; }
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override {
    switch (cmd) {
      case abi::kRNDGETENTCNT:
        TRY(UserOut<int32_t>{arg}.Store(task.mm(), 256));
        return uint64_t{0};
      case abi::kRNDADDTOENTCNT:
      case abi::kRNDADDENTROPY:
        return abi::Errno::kEPERM;
      default:
        return abi::Errno::kEINVAL;
    }
  }

 private:
  const bool pollable_;
  WaitQueue queue_;
};

}  // namespace

base::Result<base::Ref<File>> OpenDevice(const VfsContext& ctx, const Path& p,
                                         const OpenFlags& how) {
  base::Ref<Inode> inode = p.dentry->inode();
  if (inode->type() != abi::kS_IFCHR) return abi::Errno::kENXIO;
  const uint64_t rdev = TRY(inode->Getattr()).rdev;
  const uint32_t flags =
      how.flags & ~static_cast<uint32_t>(abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY |
                                         abi::kO_TRUNC | abi::kO_CLOEXEC);
  switch (rdev) {
    case MakeDev(1, 3):
      return base::Ref<File>(base::MakeRef<NullFile>(Path{}, std::move(inode), flags));
    case MakeDev(1, 5):
      return base::Ref<File>(base::MakeRef<ZeroFile>(std::move(inode), flags, false));
    case MakeDev(1, 7):
      return base::Ref<File>(base::MakeRef<ZeroFile>(std::move(inode), flags, true));
    case MakeDev(1, 8):
      return base::Ref<File>(base::MakeRef<RandomFile>(std::move(inode), flags, true));
    case MakeDev(1, 9):
      return base::Ref<File>(base::MakeRef<RandomFile>(std::move(inode), flags, false));
    case kTtyDev:
    // The console is the terminal that the sandbox was started on, if any.
    case kConsoleDev:
      return OpenCurrentTty(ctx, p, how);
    case kPtmxDev:
      return OpenPtmx(ctx, p, how);
    default:
      if (DevMajor(rdev) >= kPtsMajor && DevMajor(rdev) < kPtsMajor + 8) {
        return OpenSlaveNode(ctx, p, how);
      }
      return abi::Errno::kENXIO;
  }
}

base::Result<void> PopulateDev(const VfsContext& ctx, std::string_view path) {
  const std::string dir(path);
  auto present_ok = [](base::Result<void> r) -> base::Result<void> {
    if (r.is(abi::Errno::kEEXIST)) return {};
    return r;
  };
  static constexpr struct {
    const char* name;
    uint32_t major, minor;
  } kNodes[] = {{"null", 1, 3}, {"zero", 1, 5},   {"full", 1, 7},
                {"tty", 5, 0},  {"random", 1, 8}, {"urandom", 1, 9}};
  for (const auto& n : kNodes) {
    TRY(present_ok(Vfs::Mknod(ctx, nullptr, dir + "/" + n.name, abi::kS_IFCHR | 0666,
                              MakeDev(n.major, n.minor))));
  }
  static constexpr struct {
    const char *name, *target;
  } kLinks[] = {{"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"},
                {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
                {"ptmx", "pts/ptmx"},          {"core", "/proc/kcore"}};
  for (const auto& l : kLinks) {
    TRY(present_ok(Vfs::Symlink(ctx, l.target, nullptr, dir + "/" + l.name)));
  }
  static constexpr struct {
    const char* name;
    uint32_t mode;
  } kDirs[] = {{"pts", 0755}, {"shm", 01777}, {"mqueue", 01777}};
  for (const auto& d : kDirs) {
    TRY(present_ok(Vfs::Mkdir(ctx, nullptr, dir + "/" + d.name, d.mode)));
  }
  return {};
}

}  // namespace sentry
