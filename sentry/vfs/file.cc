#include "sentry/vfs/file.h"

#include "sentry/vfs/file_locks.h"
#include "sentry/vfs/vfs.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/inotify.h"

namespace sentry {

File::File(Path path, base::Ref<Inode> inode, uint32_t flags)
    : path_(std::move(path)), inode_(std::move(inode)), flags_(flags) {}

base::Result<void> File::DenyWrite() {
  TRY(attr_inode().DenyWriteAccess());
  access_ = WriteAccess::kDenies;
  return {};
}

void File::AllowWrite() {
  if (access_ == WriteAccess::kDenies) attr_inode().AllowWriteAccess();
  access_ = WriteAccess::kNone;
}

File::~File() {
  if (FileOwner* o = owner.load(std::memory_order_relaxed)) base::Ref<FileOwner>::Adopt(o);
  if (access_ == WriteAccess::kWrites) attr_inode().PutWriteAccess();
  AllowWrite();
  if ((flags() & abi::kO_PATH) != 0) return;
  NotifyFile(*this, writable() ? abi::kIN_CLOSE_WRITE : abi::kIN_CLOSE_NOWRITE);
  if (!inode_ && !path_.dentry) return;
  if (FileLocks* l = attr_inode().present_locks()) {
    l->ReleaseFlock(this);
    l->ReleasePosix(this);  // open file description locks
  }
}

uint32_t File::Poll() {
  return abi::kEPOLLIN | abi::kEPOLLOUT | abi::kEPOLLRDNORM | abi::kEPOLLWRNORM;
}

base::Result<uint64_t> File::Seek(int64_t offset, int whence) {
  if (!seekable()) return abi::Errno::kESPIPE;
  uint64_t size = 0;
  if (whence == abi::kSEEK_END || whence == abi::kSEEK_DATA || whence == abi::kSEEK_HOLE)
    size = TRY(attr_inode().Getattr()).size;
  base::MutexLock l(pos_mu);
  int64_t base = 0;
  switch (whence) {
    case abi::kSEEK_SET:
      break;
    case abi::kSEEK_CUR:
      base = static_cast<int64_t>(pos);
      break;
    case abi::kSEEK_END:
      base = static_cast<int64_t>(size);
      break;
    case abi::kSEEK_DATA:
    case abi::kSEEK_HOLE:
      if (offset < 0 || static_cast<uint64_t>(offset) >= size) return abi::Errno::kENXIO;
      pos = TRY(SeekExtent(static_cast<uint64_t>(offset), whence == abi::kSEEK_HOLE, size));
      return pos;
    default:
      return abi::Errno::kEINVAL;
  }
  int64_t to;
  if (__builtin_add_overflow(base, offset, &to) || to < 0) {
    // generic_file_llseek_size(): beyond the largest offset is EINVAL; lseek(2) says EOVERFLOW only
    // for results that off_t can't hold.
    return abi::Errno::kEINVAL;
  }
  pos = static_cast<uint64_t>(to);
  return pos;
}

bool NeedsAtime(const File& file, const FileTime& atime, const FileTime& mtime,
                const FileTime& ctime, const FileTime& now) {
  if ((file.flags() & abi::kO_NOATIME) != 0) return false;
  if (file.path().mount) {
    const uint32_t m = file.path().mount->flags();
    if ((m & (abi::kMS_NOATIME | abi::kMS_RDONLY)) != 0) return false;
    if ((m & abi::kMS_NODIRATIME) != 0 && file.inode()->is_dir()) return false;
    if ((m & abi::kMS_STRICTATIME) != 0) return true;
  }
  auto not_after = [](const FileTime& a, const FileTime& b) {
    return a.sec != b.sec ? a.sec < b.sec : a.nsec <= b.nsec;
  };
  return not_after(atime, mtime) || not_after(atime, ctime) || now.sec - atime.sec >= 24 * 60 * 60;
}

}  // namespace sentry
