// getdents64(2), getdents(2).
#include <algorithm>
#include <cstring>
#include <vector>

#include "syscalls/abi/dirent.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::DirEntry;
using sentry::File;

namespace {

// Guests may offer any size; one call fills no more than this.
constexpr uint32_t kMaxFill = 64 << 10;

class Filler final : public sentry::DirSink {
 public:
  Filler(uint32_t size, bool wide) : size_(size), wide_(wide) {
    buf_.reserve(std::min<uint32_t>(size, 4096));
  }
  bool Add(const DirEntry& e) override {
    const size_t head = wide_ ? sizeof(abi::Dirent64Head) : sizeof(abi::DirentHead);
    // The old record's type stands in its last byte.
    const size_t len = (head + e.name.size() + (wide_ ? 1 : 2) + 7) & ~size_t{7};
    if (buf_.size() + len > size_) {
      too_small_ = buf_.empty();
      return false;
    }
    const size_t at = buf_.size();
    buf_.resize(at + len);
    uint8_t* p = buf_.data() + at;
    if (wide_) {
      const abi::Dirent64Head h{e.ino, e.next, static_cast<uint16_t>(len), e.type};
      memcpy(p, &h, sizeof h);
    } else {
      const abi::DirentHead h{e.ino, static_cast<uint64_t>(e.next), static_cast<uint16_t>(len)};
      memcpy(p, &h, sizeof h);
      p[len - 1] = e.type;
    }
    memcpy(p + head, e.name.data(), e.name.size());
    return true;
  }
  const std::vector<uint8_t>& bytes() const { return buf_; }
  bool too_small() const { return too_small_; }

 private:
  const uint32_t size_;
  const bool wide_;
  bool too_small_ = false;
  std::vector<uint8_t> buf_;
};

base::Result<uint64_t> List(Task& task, int32_t fd, UserAddr dirp, uint32_t count, bool wide) {
  base::Ref<File> f = TRY(task.fds().Get(fd));
  if (!f->attr_inode().is_dir()) return abi::Errno::kENOTDIR;
  if (f->path().dentry && f->path().dentry->unhashed()) return abi::Errno::kENOENT;
  Filler fill(std::min(count, kMaxFill), wide);
  base::MutexLock l(f->pos_mu);
  const uint64_t before = f->pos;
  TRY(f->Iterate(fill));
  if (fill.too_small()) return abi::Errno::kEINVAL;
  const std::vector<uint8_t>& b = fill.bytes();
  if (base::Result<void> r = task.mm().CopyOut(dirp, b.data(), b.size()); !r.ok()) {
    f->pos = before;
    return r.error();
  }
  return uint64_t{b.size()};
}

}  // namespace

SyscallResult sys_getdents64(Task& task, int32_t fd, UserAddr dirp, uint32_t count) {
  return List(task, fd, dirp, count, true);
}
SyscallResult sys_getdents(Task& task, int32_t fd, UserAddr dirp, uint32_t count) {
  return List(task, fd, dirp, count, false);
}

}  // namespace syscalls
