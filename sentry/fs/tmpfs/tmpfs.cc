#include "sentry/fs/tmpfs/tmpfs.h"

#include <algorithm>

#include "syscalls/abi/dirent.h"
#include "syscalls/abi/fcntl.h"
#include "syscalls/abi/mman.h"
#include "syscalls/abi/uio.h"
#include "syscalls/abi/xattr.h"

namespace sentry {
namespace {

constexpr uint64_t kPage = 4096;
constexpr size_t kMaxXattrs = 1024;

// strtoull with a k, m, g suffix or a percentage of nothing in particular (memparse()).
bool ParseSize(std::string_view s, uint64_t* out) {
  uint64_t v = 0;
  size_t i = 0;
  if (s.empty()) return false;
  for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; i++) {
    if (__builtin_mul_overflow(v, 10, &v) ||
        __builtin_add_overflow(v, static_cast<uint64_t>(s[i] - '0'), &v)) {
      return false;
    }
  }
  int shift = 0;
  if (i < s.size()) {
    switch (s[i] | 0x20) {
      case 'k':
        shift = 10;
        break;
      case 'm':
        shift = 20;
        break;
      case 'g':
        shift = 30;
        break;
      default:
        // "50%": half of a memory whose size does not matter here.
        if (s[i] != '%') return false;
        *out = 0;
        return i + 1 == s.size();
    }
    i++;
  }
  if (i != s.size() || v > UINT64_MAX >> shift) return false;
  *out = v << shift;
  return true;
}

bool ParseNumber(std::string_view s, int base, uint32_t* out) {
  if (s.empty()) return false;
  uint64_t v = 0;
  for (char c : s) {
    if (c < '0' || c >= '0' + base) return false;
    v = v * static_cast<uint64_t>(base) + static_cast<uint64_t>(c - '0');
    if (v > UINT32_MAX) return false;
  }
  *out = static_cast<uint32_t>(v);
  return true;
}

class RegFile : public File {
 public:
  static constexpr char kKind = 0;
  RegFile(base::Ref<TmpfsInode> inode, base::Ref<TmpfsData> data, uint32_t flags)
      : File(Path{}, inode, flags), tmpfs_(*inode), data_(std::move(data)) {}
  const void* kind() const override { return &kKind; }
  TmpfsData& data() { return *data_; }

  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t) override {
    uint64_t n = TRY(data_->Read(dst, offset));
    tmpfs_.TouchAccessed(*this);
    return n;
  }
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) override {
    bool append = (flags() & abi::kO_APPEND) != 0 || (rwf & abi::kRWF_APPEND) != 0;
    if ((rwf & abi::kRWF_NOAPPEND) != 0) append = false;
    uint64_t n = TRY(data_->Write(src, offset, append));
    if (n != 0) tmpfs_.TouchModified();
    return n;
  }
  base::Result<uint64_t> SeekExtent(uint64_t offset, bool hole, uint64_t size) override {
    return data_->SeekExtent(offset, hole, size);
  }
  base::Result<void> Fsync(bool) override { return {}; }
  base::Result<void> Fallocate(int mode, uint64_t offset, uint64_t len) override {
    TRY(data_->Fallocate(mode, offset, len));
    tmpfs_.TouchModified();
    return {};
  }
  base::Result<base::Ref<Mappable>> Mmap(uint64_t, uint64_t, uint8_t prot, bool shared) override {
    TRY(data_->PrepareMap(shared, prot));
    return base::Ref<Mappable>(data_);
  }
  std::string description() override { return description_; }
  void set_description(std::string d) { description_ = std::move(d); }

 private:
  TmpfsInode& tmpfs_;
  const base::Ref<TmpfsData> data_;
  std::string description_;
};

class DirFile : public File {
 public:
  DirFile(base::Ref<TmpfsDir> dir, uint32_t flags) : File(Path{}, dir, flags), dir_(*dir) {}
  base::Result<uint64_t> Read(IoBuffer&, uint64_t*, uint32_t) override {
    return abi::Errno::kEISDIR;
  }
  base::Result<void> Fsync(bool) override { return {}; }
  base::Result<void> Iterate(DirSink& sink) override NO_THREAD_SAFETY_ANALYSIS {
    int64_t at = static_cast<int64_t>(pos);
    if (at == 0) {
      if (!sink.Add({".", inode()->ino(), abi::kDT_DIR, 1})) return {};
      pos = static_cast<uint64_t>(at = 1);
    }
    if (at == 1) {
      uint64_t up = inode()->ino();
      if (path().dentry) {
        if (base::Ref<Dentry> p = path().dentry->parent()) up = p->inode()->ino();
      }
      if (!sink.Add({"..", up, abi::kDT_DIR, 2})) return {};
      pos = static_cast<uint64_t>(at = 2);
    }
    pos = static_cast<uint64_t>(dir_.ListFrom(at, sink));
    dir_.TouchAccessed(*this);
    return {};
  }

 private:
  TmpfsDir& dir_;
};

}  // namespace

TmpfsSuperblock::TmpfsSuperblock(struct Options o)
    : Superblock(o.type_name),
      options_(std::move(o)),
      limit_(base::MakeRef<StorageLimit>(options_.size_limit)) {}

base::Ref<TmpfsDir> TmpfsSuperblock::NewRoot(struct Options o) {
  base::Ref<TmpfsSuperblock> sb = base::MakeRef<TmpfsSuperblock>(std::move(o));
  const Creds none;
  CreateArgs a{none, abi::kS_IFDIR | sb->options_.mode, sb->options_.uid, sb->options_.gid, 0};
  base::Ref<TmpfsInode> root = sb->NewInode(a);
  root->AddLinks(1);
  return base::StaticRefCast<TmpfsDir>(root);
}

base::Result<base::Ref<Inode>> TmpfsSuperblock::Mount(const Creds& creds, std::string_view data) {
  struct Options o;
  o.uid = creds.fsuid;
  o.gid = creds.fsgid;
  o.show_mode = true;
  while (!data.empty()) {
    const size_t comma = data.find(',');
    std::string_view item = data.substr(0, comma);
    data = comma == std::string_view::npos ? std::string_view() : data.substr(comma + 1);
    const size_t eq = item.find('=');
    std::string_view key = item.substr(0, eq);
    std::string_view value =
        eq == std::string_view::npos ? std::string_view() : item.substr(eq + 1);
    uint32_t n = 0;
    uint64_t big = 0;
    bool ok = true;
    if (key.empty()) {
      continue;
    } else if (key == "size") {
      ok = ParseSize(value, &o.size_limit);
    } else if (key == "nr_blocks") {
      ok = ParseSize(value, &big) && big < UINT64_MAX / kPage;
      if (ok) o.size_limit = big * kPage;
    } else if (key == "nr_inodes") {
      ok = ParseSize(value, &big);
    } else if (key == "mode") {
      ok = ParseNumber(value, 8, &n);
      o.mode = n & 07777;
    } else if (key == "uid") {
      ok = ParseNumber(value, 10, &n);
      if (creds.user_ns) n = creds.user_ns->UidToGlobal(n);
      ok = ok && n != UINT32_MAX;
      o.uid = n;
    } else if (key == "gid") {
      ok = ParseNumber(value, 10, &n);
      if (creds.user_ns) n = creds.user_ns->GidToGlobal(n);
      ok = ok && n != UINT32_MAX;
      o.gid = n;
    } else {
      ok =
          key == "huge" || key == "mpol" || key == "inode32" || key == "inode64" || key == "noswap";
    }
    if (!ok) return abi::Errno::kEINVAL;
  }
  return base::Ref<Inode>(NewRoot(std::move(o)));
}

base::Ref<TmpfsInode> TmpfsSuperblock::NewInode(const CreateArgs& a, std::string_view target) {
  base::Ref<Superblock> sb(this);
  switch (a.mode & abi::kS_IFMT) {
    case abi::kS_IFDIR: {
      base::Ref<TmpfsInode> d = base::MakeRef<TmpfsDir>(std::move(sb), a);
      d->AddLinks(1);
      return d;
    }
    case abi::kS_IFREG:
      return base::MakeRef<TmpfsFile>(std::move(sb), a, limit_);
    default:
      return base::MakeRef<TmpfsInode>(std::move(sb), a, target);
  }
}

base::Result<FsStat> TmpfsSuperblock::Statfs() {
  FsStat st;
  st.type = options_.magic;
  st.fsid = dev();
  if (options_.magic != abi::kTMPFS_MAGIC) return st;
  if (limit_->limit() != 0) {
    st.blocks = (limit_->limit() + kPage - 1) / kPage;
    const uint64_t used = limit_->used() / kPage;
    st.bfree = st.bavail = st.blocks > used ? st.blocks - used : 0;
  } else {
    // No limit but the host's: shown as a large one.
    st.blocks = uint64_t{1} << 28;
    st.bfree = st.bavail = st.blocks - std::min(st.blocks, limit_->used() / kPage);
  }
  st.files = uint64_t{1} << 24;
  st.ffree = st.files - std::min(st.files, inodes_.load(std::memory_order_relaxed));
  return st;
}

std::string TmpfsSuperblock::Options() const {
  std::string out;
  if (limit_->limit() != 0) out += ",size=" + std::to_string(limit_->limit() / 1024) + "k";
  if (options_.show_mode && options_.mode != 01777) {
    char mode[16];
    snprintf(mode, sizeof mode, ",mode=%o", options_.mode);
    out += mode;
  }
  return out.empty() ? out : out.substr(1);
}

TmpfsInode::TmpfsInode(base::Ref<Superblock> sb, const CreateArgs& a, std::string_view target)
    : Inode(sb, a.mode, sb->NextIno()),
      mode_(a.mode),
      uid_(a.uid),
      gid_(a.gid),
      rdev_(a.rdev),
      target_(target) {
  static_cast<TmpfsSuperblock&>(*sb).inodes_.fetch_add(1, std::memory_order_relaxed);
  const FileTime now = Now();
  base::MutexLock l(attr_mu_);
  atime_ = mtime_ = ctime_ = btime_ = now;
}

TmpfsInode::~TmpfsInode() {
  static_cast<TmpfsSuperblock&>(sb()).inodes_.fetch_sub(1, std::memory_order_relaxed);
}

base::Result<Kstat> TmpfsInode::Getattr() {
  Kstat st;
  st.dev = sb().dev();
  st.ino = ino();
  st.mode = mode_.load(std::memory_order_relaxed);
  st.nlink = links();
  st.uid = uid_.load(std::memory_order_relaxed);
  st.gid = gid_.load(std::memory_order_relaxed);
  st.rdev = rdev_;
  st.size = Size();
  st.blocks = Blocks();
  base::MutexLock l(attr_mu_);
  st.atime = atime_;
  st.mtime = mtime_;
  st.ctime = ctime_;
  st.btime = btime_;
  return st;
}

base::Result<void> TmpfsInode::Setattr(const Creds&, const SetAttr& a) {
  if ((a.mask & SetAttr::kSize) != 0) TRY(Resize(a.size));
  const FileTime now = Now();
  base::MutexLock l(attr_mu_);
  if ((a.mask & SetAttr::kMode) != 0) mode_.store(type() | (a.mode & 07777));
  if ((a.mask & SetAttr::kUid) != 0) uid_.store(a.uid);
  if ((a.mask & SetAttr::kGid) != 0) gid_.store(a.gid);
  if ((a.mask & SetAttr::kAtime) != 0) atime_ = a.atime;
  if ((a.mask & SetAttr::kMtime) != 0) mtime_ = a.mtime;
  if ((a.mask & SetAttr::kAtimeNow) != 0) atime_ = now;
  if ((a.mask & (SetAttr::kMtimeNow | SetAttr::kSize)) != 0) mtime_ = now;
  ctime_ = now;
  return {};
}

base::Result<std::string> TmpfsInode::Readlink(const Creds&) {
  if (!is_symlink()) return abi::Errno::kEINVAL;
  return std::string(target_);
}

base::Result<std::string> TmpfsInode::Getxattr(std::string_view name) {
  base::MutexLock l(attr_mu_);
  if (!xattrs_) return abi::Errno::kENODATA;
  auto it = xattrs_->find(std::string(name));
  if (it == xattrs_->end()) return abi::Errno::kENODATA;
  return std::string(it->second);
}

base::Result<void> TmpfsInode::Setxattr(std::string_view name, std::string_view value, int flags) {
  const FileTime now = Now();
  base::MutexLock l(attr_mu_);
  if (!xattrs_) xattrs_ = std::make_unique<absl::btree_map<std::string, std::string>>();
  auto it = xattrs_->find(std::string(name));
  if (it == xattrs_->end()) {
    if ((flags & abi::kXATTR_REPLACE) != 0) return abi::Errno::kENODATA;
    if (xattrs_->size() >= kMaxXattrs) return abi::Errno::kENOSPC;
    xattrs_->emplace(std::string(name), std::string(value));
  } else {
    if ((flags & abi::kXATTR_CREATE) != 0) return abi::Errno::kEEXIST;
    it->second = std::string(value);
  }
  ctime_ = now;
  return {};
}

base::Result<std::vector<std::string>> TmpfsInode::Listxattr() {
  std::vector<std::string> out;
  base::MutexLock l(attr_mu_);
  if (xattrs_) {
    for (const auto& [name, value] : *xattrs_) out.push_back(name);
  }
  return out;
}

base::Result<void> TmpfsInode::Removexattr(std::string_view name) {
  const FileTime now = Now();
  base::MutexLock l(attr_mu_);
  if (!xattrs_ || xattrs_->erase(std::string(name)) == 0) return abi::Errno::kENODATA;
  ctime_ = now;
  return {};
}

void TmpfsInode::AddLinks(int32_t n) {
  nlink_.fetch_add(static_cast<uint32_t>(n), std::memory_order_relaxed);
  const FileTime now = Now();
  base::MutexLock l(attr_mu_);
  ctime_ = now;
}

void TmpfsInode::TouchModified() {
  const FileTime now = Now();
  base::MutexLock l(attr_mu_);
  mtime_ = ctime_ = now;
}

void TmpfsInode::TouchAccessed(const File& f) {
  const FileTime now = Now();
  base::MutexLock l(attr_mu_);
  if (NeedsAtime(f, atime_, mtime_, ctime_, now)) atime_ = now;
}

void TmpfsInode::SetTimes(const FileTime& atime, const FileTime& mtime, const FileTime& ctime,
                          const FileTime& btime) {
  base::MutexLock l(attr_mu_);
  atime_ = atime;
  mtime_ = mtime;
  ctime_ = ctime;
  btime_ = btime;
}

TmpfsFile::TmpfsFile(base::Ref<Superblock> sb, const CreateArgs& a, base::Ref<StorageLimit> limit)
    : TmpfsInode(std::move(sb), a, {}), data_(base::MakeRef<TmpfsData>(std::move(limit))) {
  // Only memfds can be sealed.
  data_->init_seals(abi::kF_SEAL_SEAL);
}

base::Result<base::Ref<File>> TmpfsFile::Open(const base::Ref<Dentry>&, const OpenFlags& flags,
                                              const Creds&) {
  return base::Ref<File>(base::MakeRef<RegFile>(base::Ref<TmpfsInode>(this), data_, flags.flags));
}

TmpfsDir::TmpfsDir(base::Ref<Superblock> sb, const CreateArgs& a)
    : TmpfsInode(std::move(sb), a, {}) {}

TmpfsDir::~TmpfsDir() {
  // A deep tree is taken apart here level by level instead of by recursion.
  std::vector<base::Ref<Inode>> todo;
  auto take = [&todo](TmpfsDir& d) {
    NameMap<Entry> entries;  // destroyed without the lock: files take their own
    {
      base::MutexLock l(d.mu_);
      entries.swap(d.entries_);
    }
    for (auto& [name, e] : entries) {
      if (e.inode->is_dir()) todo.push_back(std::move(e.inode));
    }
  };
  take(*this);
  while (!todo.empty()) {
    base::Ref<Inode> i = std::move(todo.back());
    todo.pop_back();
    if (i->RefCount() != 1 || i->kind() != &TmpfsInode::kKind) continue;
    take(static_cast<TmpfsDir&>(*i));
  }
}

uint64_t TmpfsDir::Size() {
  base::MutexLock l(mu_);
  return (entries_.size() + 2) * kDirentSize;
}

base::Ref<Inode> TmpfsDir::Find(std::string_view name) {
  base::MutexLock l(mu_);
  auto it = entries_.find(name);
  return it == entries_.end() ? base::Ref<Inode>() : it->second.inode;
}

base::Result<base::Ref<Inode>> TmpfsDir::Lookup(const Creds&, std::string_view name) {
  base::Ref<Inode> i = Find(name);
  if (!i) return abi::Errno::kENOENT;
  return i;
}

void TmpfsDir::PutLocked(std::string_view name, base::Ref<Inode> inode) {
  const int64_t pos = next_pos_++;
  entries_.insert_or_assign(std::string(name), Entry{std::move(inode), pos});
  order_.emplace(pos, std::string(name));
}

base::Ref<Inode> TmpfsDir::TakeLocked(std::string_view name) {
  auto it = entries_.find(name);
  if (it == entries_.end()) return nullptr;
  base::Ref<Inode> i = std::move(it->second.inode);
  order_.erase(it->second.pos);
  entries_.erase(it);
  return i;
}

bool TmpfsDir::Kill() {
  base::MutexLock l(mu_);
  if (!entries_.empty()) return false;
  dead_ = true;
  return true;
}

base::Result<void> TmpfsDir::AddEntry(std::string_view name, base::Ref<Inode> inode) {
  TmpfsInode* t = InodeCast<TmpfsInode>(inode.get());
  const bool dir = inode->is_dir();
  {
    base::MutexLock l(mu_);
    if (dead_) return abi::Errno::kENOENT;
    if (entries_.contains(name)) return abi::Errno::kEEXIST;
    PutLocked(name, inode);
  }
  if (t != nullptr) t->AddLinks(1);
  if (dir) AddLinks(1);
  TouchModified();
  return {};
}

base::Result<void> TmpfsDir::RemoveEntry(std::string_view name) {
  base::Ref<Inode> gone;
  {
    base::MutexLock l(mu_);
    gone = TakeLocked(name);
  }
  if (!gone) return abi::Errno::kENOENT;
  if (TmpfsInode* t = InodeCast<TmpfsInode>(gone.get())) t->AddLinks(t->is_dir() ? -2 : -1);
  if (gone->is_dir()) AddLinks(-1);
  TouchModified();
  return {};
}

base::Ref<TmpfsDir> TmpfsDir::EnsureDir(std::string_view name, uint32_t mode) {
  base::Ref<Inode> i = Find(name);
  if (!i) {
    const Creds none;
    base::Result<base::Ref<Inode>> made =
        Make(name, CreateArgs{none, abi::kS_IFDIR | mode, 0, 0, 0}, {});
    if (!made.ok()) return nullptr;
    i = std::move(*made);
  }
  if (!i->is_dir() || i->kind() != &TmpfsInode::kKind) return nullptr;
  return base::StaticRefCast<TmpfsDir>(i);
}

base::Result<base::Ref<Inode>> TmpfsDir::Make(std::string_view name, const CreateArgs& a,
                                              std::string_view target) {
  base::Ref<Inode> i = static_cast<TmpfsSuperblock&>(sb()).NewInode(a, target);
  TRY(AddEntry(name, i));
  return i;
}

base::Result<base::Ref<Inode>> TmpfsDir::Tmpfile(const CreateArgs& a) {
  base::Ref<TmpfsInode> i = static_cast<TmpfsSuperblock&>(sb()).NewInode(a);
  if (!a.unlinkable) i->set_tmpfile_linkable();
  return base::Ref<Inode>(std::move(i));
}

base::Result<void> TmpfsDir::Link(std::string_view name, Inode& target) {
  TmpfsInode* t = InodeCast<TmpfsInode>(&target);
  if (t == nullptr) return abi::Errno::kEPERM;
  if (!t->linkable()) return abi::Errno::kENOENT;
  return AddEntry(name, base::Ref<Inode>(&target));
}

base::Result<void> TmpfsDir::Unlink(std::string_view name, Inode& victim) {
  return RemoveEntry(name);
}

base::Result<void> TmpfsDir::Rmdir(std::string_view name, Inode& victim) {
  if (victim.kind() == &TmpfsInode::kKind) {
    if (!static_cast<TmpfsDir&>(victim).Kill()) return abi::Errno::kENOTEMPTY;
  } else {
    return abi::Errno::kEPERM;
  }
  return RemoveEntry(name);
}

base::Result<void> TmpfsDir::Rename(std::string_view old_name, Inode& moved, Inode& new_dir,
                                    std::string_view new_name, Inode* replaced, uint32_t flags) {
  if (new_dir.kind() != &TmpfsInode::kKind) return abi::Errno::kEXDEV;
  TmpfsDir& to = static_cast<TmpfsDir&>(new_dir);
  const bool exchange = (flags & abi::kRENAME_EXCHANGE) != 0;
  if (replaced != nullptr && replaced->is_dir() && !exchange) {
    if (replaced->kind() != &TmpfsInode::kKind) return abi::Errno::kEPERM;
    if (!static_cast<TmpfsDir&>(*replaced).Kill()) return abi::Errno::kENOTEMPTY;
  }
  base::Ref<Inode> a, b;
  {
    base::MutexLock2 l(mu_, to.mu_);
    auto change = [&]() NO_THREAD_SAFETY_ANALYSIS {
      a = TakeLocked(old_name);
      if (!a) return;
      b = to.TakeLocked(new_name);
      to.PutLocked(new_name, a);
      if (exchange && b) PutLocked(old_name, b);
    };
    change();
  }
  if (!a) return abi::Errno::kENOENT;
  // Links from ".." of moved and removed directories.
  const int a_dir = a->is_dir() ? 1 : 0, b_dir = b && b->is_dir() ? 1 : 0;
  if (exchange) {
    AddLinks(b_dir - a_dir);
    to.AddLinks(a_dir - b_dir);
  } else {
    AddLinks(-a_dir);
    to.AddLinks(a_dir - b_dir);
    if (b) {
      if (TmpfsInode* t = InodeCast<TmpfsInode>(b.get())) t->AddLinks(b_dir != 0 ? -2 : -1);
    }
  }
  TouchModified();
  if (&to != this) to.TouchModified();
  if (TmpfsInode* t = InodeCast<TmpfsInode>(a.get())) t->AddLinks(0);
  return {};
}

base::Result<base::Ref<File>> TmpfsDir::Open(const base::Ref<Dentry>&, const OpenFlags& flags,
                                             const Creds&) {
  return base::Ref<File>(base::MakeRef<DirFile>(base::Ref<TmpfsDir>(this), flags.flags));
}

int64_t TmpfsDir::ListFrom(int64_t pos, DirSink& sink) {
  base::MutexLock l(mu_);
  for (auto it = order_.lower_bound(pos); it != order_.end(); ++it) {
    const Entry& e = entries_.find(it->second)->second;
    if (!sink.Add({it->second, e.inode->ino(), abi::DtFromMode(e.inode->type()), it->first + 1}))
      return pos;
    pos = it->first + 1;
  }
  return pos;
}

base::Ref<File> NewMemfd(std::string_view name, uint32_t flags, const Creds& creds) {
  static const base::Ref<TmpfsDir>* root = [] {
    struct TmpfsSuperblock::Options o;
    return new base::Ref<TmpfsDir>(TmpfsSuperblock::NewRoot(std::move(o)));
  }();
  TmpfsSuperblock& sb = static_cast<TmpfsSuperblock&>((*root)->sb());
  const bool noexec = (flags & abi::kMFD_NOEXEC_SEAL) != 0;
  CreateArgs a{creds, abi::kS_IFREG | (noexec ? 0666u : 0777u), creds.fsuid, creds.fsgid, 0};
  base::Ref<TmpfsInode> inode = sb.NewInode(a);
  base::Ref<TmpfsData> data = static_cast<TmpfsFile&>(*inode).data();
  if (noexec) {
    data->init_seals(abi::kF_SEAL_EXEC);
  } else if ((flags & abi::kMFD_ALLOW_SEALING) != 0) {
    data->init_seals(0);
  }
  base::Ref<RegFile> f = base::MakeRef<RegFile>(std::move(inode), std::move(data), abi::kO_RDWR);
  f->set_description("/memfd:" + std::string(name) + " (deleted)");
  f->set_creds(base::Ref<const Creds>(&creds));
  return f;
}

TmpfsData* TmpfsDataOf(File& f) {
  RegFile* r = FileCast<RegFile>(&f);
  return r == nullptr ? nullptr : &r->data();
}

}  // namespace sentry
