#include "sentry/fs/gofer/file.h"

#include "platform/host/host.h"
#include "sentry/mm/host_io.h"
#include "syscalls/abi/dirent.h"
#include "syscalls/abi/uio.h"

namespace sentry {

namespace wire = gofer::wire;

// --- Opening ---

bool GoferInode::stable() const {
  constexpr uint32_t kReadByAll = 0444;
  return gsb().read_only() && !gsb().shared() &&
         (mode_.load(std::memory_order_relaxed) & kReadByAll) == kReadByAll;
}

base::Ref<BackingFile> GoferInode::AnyBacking() {
  base::MutexLock lock(fd_mu_);
  return read_write_ ? read_write_ : read_only_;
}

base::Result<base::Ref<BackingFile>> GoferInode::Backing(Access access, bool truncate) {
  auto present = [&]() -> base::Ref<BackingFile> {
    base::MutexLock lock(fd_mu_);
    if (access == Access::kReadOnly) return read_only_;
    if (access == Access::kWrite || !read_only_) return read_write_;
    return read_only_;
  };
  if (!truncate) {
    if (base::Ref<BackingFile> file = present()) return file;
  }
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  if (base::Ref<BackingFile> file = present(); file && !truncate) return file;
  if (sb.immutable() && access != Access::kWrite) {
    base::Result<base::UniqueFd> fd = sb.OpenAhead(*this);
    if (fd.ok()) {
      auto file = base::MakeRef<BackingFile>(std::move(*fd), false, stable());
      base::MutexLock fds(fd_mu_);
      read_only_ = file;
      return file;
    }
    if (!fd.is(abi::Errno::kEAGAIN)) return fd.error();
  }
  gofer::Target target = TRY(TargetLocked());
  bool write = access == Access::kWrite;
  uint32_t flags = wire::kOpenRead;
  if (write) flags |= wire::kOpenWrite;
  if (truncate) flags |= wire::kOpenTruncate;
  base::MutexLock lock(mu);
  gofer::Opened opened = TRY(sb.client().Open(target, flags));
  if (opened.attr.dev != host_dev_ || opened.attr.ino != host_ino_) return abi::Errno::kESTALE;
  if (truncate || sb.shared()) Update(opened.attr);
  auto file = base::MakeRef<BackingFile>(std::move(opened.fd), write, !write && stable());
  base::Ref<BackingFile> old = file;
  base::MutexLock fds(fd_mu_);
  std::swap(write ? read_write_ : read_only_, old);
  return file;
}

void GoferInode::DonateReadOnly(base::UniqueFd fd) {
  auto file = base::MakeRef<BackingFile>(std::move(fd), false, stable());
  {
    base::MutexLock lock(fd_mu_);
    if (read_only_ || read_write_) return;
    read_only_ = std::move(file);
  }
  gsb().MarkIdle(this);
}

void GoferInode::DropBacking(bool only_if_idle) {
  base::Ref<BackingFile> a, b;
  base::MutexLock lock(fd_mu_);
  if (only_if_idle && open_count_ > 0) return;
  // Dropped behind the lock: destructors run in reverse order of declaration.
  a = std::move(read_only_);
  b = std::move(read_write_);
}

void GoferInode::Opened() {
  base::MutexLock lock(fd_mu_);
  open_count_++;
}

void GoferInode::Closed() {
  {
    base::MutexLock lock(fd_mu_);
    if (--open_count_ > 0) return;
  }
  if (unlinked_.load(std::memory_order_acquire)) {
    DropBacking(true);  // nobody can open it again
  } else {
    gsb().MarkIdle(this);
  }
}

base::Result<base::Ref<File>> GoferInode::Open(const base::Ref<Dentry>&, const OpenFlags& flags,
                                               const Creds&) {
  base::Ref<GoferInode> self(this);
  if (is_dir()) return base::Ref<File>(base::MakeRef<GoferDirFile>(Path(), self, flags.flags));
  if (!is_reg()) return abi::Errno::kENXIO;
  base::Ref<BackingFile> data = TRY(Backing(flags.writable() ? Access::kWrite : Access::kRead));
  return base::Ref<File>(
      base::MakeRef<GoferFile>(Path(), std::move(self), flags.flags, std::move(data)));
}

base::Result<void> GoferInode::Fsync(bool data_only) {
  if (base::Ref<BackingFile> file = AnyBacking()) {
    long r = data_only ? host::Fdatasync(file->fd()) : host::Fsync(file->fd());
    if (r < 0) return host::HostToGuest(r);
    return {};
  }
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  gofer::Target target = TRY(TargetLocked());
  return sb.client().Fsync(target, data_only);
}

// --- Mappings ---

base::Result<base::Ref<Mappable>> GoferInode::Mapping(bool shared_writable) {
  base::Ref<BackingFile> writable;
  if (shared_writable) writable = TRY(Backing(Access::kWrite));
  // A descriptor that can't be written, for all who only read: what a guest process holds it can
  // use.
  auto read_only = Backing(Access::kReadOnly);
  if (!read_only.ok() && !writable) return read_only.error();
  base::Ref<GoferMappable> m;
  {
    base::MutexLock lock(fd_mu_);
    if (mappable_ != nullptr && mappable_->TryIncRef()) {
      m = base::Ref<GoferMappable>::Adopt(mappable_);
    }
  }
  if (!m) {
    base::Ref<GoferMappable> made = base::MakeRef<GoferMappable>(base::Ref<GoferInode>(this));
    base::MutexLock lock(fd_mu_);
    if (mappable_ != nullptr && mappable_->TryIncRef()) {
      m = base::Ref<GoferMappable>::Adopt(mappable_);
    } else {
      mappable_ = made.get();
      m = made;
    }
  }
  m->Provide(read_only.ok() ? *read_only : nullptr, std::move(writable));
  return base::Ref<Mappable>(std::move(m));
}

GoferMappable::~GoferMappable() {
  base::MutexLock lock(inode_->fd_mu_);
  if (inode_->mappable_ == this) inode_->mappable_ = nullptr;
}

void GoferMappable::Provide(base::Ref<BackingFile> read_only, base::Ref<BackingFile> read_write) {
  base::MutexLock lock(mu_);
  // The first ones stay: mappings of one object always see the same files.
  if (!read_only_) read_only_ = std::move(read_only);
  if (!read_write_) read_write_ = std::move(read_write);
}

base::Result<Mappable::Extent> GoferMappable::Translate(uint64_t offset, uint64_t len, bool write) {
  base::MutexLock lock(mu_);
  const base::Ref<BackingFile>& file = write || !read_only_ ? read_write_ : read_only_;
  if (!file) return abi::Errno::kEACCES;
  return Extent{file, offset, len};
}

uint64_t GoferMappable::size() {
  if (inode_->gsb().shared()) {
    if (auto st = inode_->Getattr(); st.ok()) return st->size;
  }
  return inode_->size();
}

void GoferMappable::OnMap(uint64_t, bool shared_writable) {
  if (shared_writable) inode_->mapped_writable_.store(true, std::memory_order_relaxed);
}

// --- Regular files ---

GoferFile::GoferFile(Path path, base::Ref<GoferInode> inode, uint32_t flags,
                     base::Ref<BackingFile> data)
    : File(std::move(path), inode, flags), data_(std::move(data)) {
  inode->Opened();
}

GoferFile::~GoferFile() { gofer_inode().Closed(); }

base::Result<uint64_t> GoferFile::Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
  constexpr uint32_t kKnown = abi::kRWF_HIPRI | abi::kRWF_NOWAIT;
  GoferInode& inode = gofer_inode();
  // At the end already; nobody else changes the size of a file of an exclusive mount.
  if (!inode.gsb().shared() && *offset >= inode.size()) return uint64_t{0};
  const uint64_t done = TRY(ReadHostFile(data_->fd(), dst, *offset, UINT64_MAX, rwf & kKnown));
  *offset += done;
  if (done > 0) inode.Accessed(*this);
  return done;
}

base::Result<uint64_t> GoferFile::Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) {
  constexpr uint32_t kKnown = abi::kRWF_HIPRI | abi::kRWF_DSYNC | abi::kRWF_SYNC | abi::kRWF_NOWAIT;
  GoferInode& inode = gofer_inode();
  uint32_t host_flags = rwf & kKnown;
  if ((flags() & abi::kO_SYNC) == abi::kO_SYNC) {
    host_flags |= abi::kRWF_SYNC;
  } else if ((flags() & abi::kO_DSYNC) != 0) {
    host_flags |= abi::kRWF_DSYNC;
  }
  bool append = (rwf & abi::kRWF_APPEND) != 0 ||
                ((flags() & abi::kO_APPEND) != 0 && (rwf & abi::kRWF_NOAPPEND) == 0);
  // Writes of one file follow each other, as under the kernel's inode lock.
  base::MutexLock lock(inode.mu);
  if (append) {
    if (inode.gsb().shared()) inode.RefreshFrom(data_->fd());
    *offset = inode.size();
  }
  const uint64_t done = TRY(WriteHostFile(data_->fd(), src, *offset, UINT64_MAX, host_flags));
  *offset += done;
  if (done > 0) inode.Wrote(data_->fd(), *offset);
  return done;
}

base::Result<uint64_t> GoferFile::SeekExtent(uint64_t offset, bool hole, uint64_t) {
  // The position of the donated descriptor is of no use to anybody else.
  long r = host::Lseek(data_->fd(), static_cast<int64_t>(offset), hole ? SEEK_HOLE : SEEK_DATA);
  if (r < 0) return host::HostToGuest(r);
  return static_cast<uint64_t>(r);
}

base::Result<void> GoferFile::Fsync(bool data_only) { return gofer_inode().Fsync(data_only); }

base::Result<void> GoferFile::Fallocate(int mode, uint64_t offset, uint64_t len) {
  GoferInode& inode = gofer_inode();
  base::MutexLock lock(inode.mu);
  long r;
  do {
    r = host::Fallocate(data_->fd(), mode, static_cast<int64_t>(offset), static_cast<int64_t>(len));
  } while (r == -EINTR);
  if (r < 0) return host::HostToGuest(r);
  inode.RefreshFrom(data_->fd());
  return {};
}

base::Result<base::Ref<Mappable>> GoferFile::Mmap(uint64_t, uint64_t, uint8_t, bool shared) {
  // What is shared and open for writing can become writable by mprotect.
  return gofer_inode().Mapping(shared && writable());
}

// --- Directories ---

GoferDirFile::GoferDirFile(Path path, base::Ref<GoferInode> inode, uint32_t flags)
    : File(std::move(path), std::move(inode), flags) {}

base::Result<uint64_t> GoferDirFile::Seek(int64_t offset, int whence) {
  base::MutexLock lock(pos_mu);
  // dcache_dir_lseek()
  int64_t to = offset;
  if (whence == abi::kSEEK_CUR) {
    if (__builtin_add_overflow(static_cast<int64_t>(pos), offset, &to)) return abi::Errno::kEINVAL;
  } else if (whence != abi::kSEEK_SET) {
    return abi::Errno::kEINVAL;
  }
  if (to < 0) return abi::Errno::kEINVAL;
  if (to == 0) {
    listing_.reset();
    told_.Clear();
    cookie_ = 0;
    end_ = false;
    listing_serial_ = 0;
  }
  pos = static_cast<uint64_t>(to);
  return pos;
}

base::Result<void> GoferDirFile::ReadMoreLocked() NO_THREAD_SAFETY_ANALYSIS {
  GoferInode& dir = gofer_inode();
  GoferSuperblock& sb = dir.gsb();
  GoferListing* listing = nullptr;
  if (sb.immutable() && cookie_ == 0) {
    listing = sb.FindListing(dir.number());
    if (listing == nullptr || !listing->complete) {
      TRY(sb.FetchListing(dir, GoferSuperblock::Want::kReader));
      listing = sb.FindListing(dir.number());
    }
    if (listing != nullptr && listing->complete) {
      listing_ = base::Ref<GoferListing>(listing);
      end_ = true;
      return {};
    }
    listing = nullptr;
  }
  base::Ref<GoferNode> node = TRY(dir.NodeLocked());
  gofer::DirectoryBatch batch = TRY(sb.client().Readdir(node->id(), cookie_, sb.reader_flags()));
  if (!sb.shared()) {
    listing = sb.FindListing(dir.number());
    if (cookie_ == 0 && (listing == nullptr || !listing->complete)) {
      listing = sb.NewListing(dir.number());
      listing_serial_ = listing->serial;
    } else if (listing != nullptr && listing->serial != listing_serial_) {
      listing = nullptr;
    }
  }
  if (listing != nullptr && !sb.AddToListing(dir.number(), batch.entries)) listing = nullptr;
  cookie_ = batch.cookie;
  end_ = batch.end;
  told_.Append(std::move(batch.entries));
  if (listing != nullptr && end_) listing->complete = true;
  return {};
}

// The caller holds pos_mu across getdents (file.h).
base::Result<void> GoferDirFile::Iterate(DirSink& sink) NO_THREAD_SAFETY_ANALYSIS {
  if (pos == 0) {
    if (!sink.Add({".", inode()->ino(), abi::kDT_DIR, 1})) return {};
    pos = 1;
  }
  if (pos == 1) {
    uint64_t ino = inode()->ino();
    if (path().dentry) {
      if (base::Ref<Dentry> parent = path().dentry->parent()) ino = parent->inode()->ino();
    }
    if (!sink.Add({"..", ino, abi::kDT_DIR, 2})) return {};
    pos = 2;
  }
  GoferInode& dir = gofer_inode();
  GoferSuperblock& sb = dir.gsb();
  base::MutexLock tree(sb.mu);
  for (;;) {
    const uint64_t at = pos - 2;
    while (at >= entries().size()) {
      if (end_) return {};
      TRY(ReadMoreLocked());
    }
    const gofer::DirectoryEntries& e = entries();
    const wire::Attr* attr = e.attr(at);
    const GoferNumber number = attr != nullptr ? GoferNumber(attr->dev, attr->ino)
                                               : GoferNumber(dir.host_dev(), e.ino(at));
    if (!sink.Add({e.name(at), sb.InoFor(number), e.type(at), static_cast<int64_t>(pos + 1)})) {
      return {};
    }
    pos++;
  }
}

base::Result<void> GoferDirFile::Fsync(bool data_only) { return gofer_inode().Fsync(data_only); }

}  // namespace sentry
