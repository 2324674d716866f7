#include "sentry/fs/overlay/overlay.h"

#include <algorithm>
#include <memory>

#include "syscalls/abi/dirent.h"
#include "syscalls/abi/fcntl.h"

namespace sentry {
namespace {

// Objects without a lower one have numbers that no lower file system uses.
// Below 2^53, since some programs keep them in a double.
constexpr uint64_t kUpperIno = uint64_t{1} << 51;
constexpr uint64_t kCopyChunk = 256 << 10;
constexpr OpenFlags kOpenDirectory = {abi::kO_RDONLY | abi::kO_DIRECTORY, 0};

// The overlay works for itself: copy-up is not bound by the caller's permissions.
const Creds& Nobody() {
  static const Creds* c = new Creds;
  return *c;
}

// A lower directory's entries, whose inode numbers are those of the overlay but for "..".
class Forward final : public DirSink {
 public:
  Forward(DirSink& to, uint64_t up) : to_(to), up_(up) {}
  bool Add(const DirEntry& e) override {
    return to_.Add({e.name, e.name == ".." ? up_ : e.ino, e.type, e.next});
  }

 private:
  DirSink& to_;
  const uint64_t up_;
};

class DirFile : public File {
 public:
  DirFile(base::Ref<OverlayDir> dir, uint32_t flags) : File(Path{}, dir, flags), dir_(*dir) {}
  base::Result<uint64_t> Read(IoBuffer&, uint64_t*, uint32_t) override {
    return abi::Errno::kEISDIR;
  }
  base::Result<void> Fsync(bool) override { return {}; }
  base::Result<void> Iterate(DirSink& sink) override NO_THREAD_SAFETY_ANALYSIS {
    // A rewind lists anew; offsets count the entries of one listing.
    if (pos == 0 || !listed_) {
      unchanged_ = TRY(dir_.OpenUnchanged());
      if (!unchanged_) entries_ = TRY(dir_.ListAll(creds() ? *creds() : Nobody()));
      listed_ = true;
    }
    uint64_t up = inode()->ino();
    if (pos <= 1 && path().dentry) {
      if (base::Ref<Dentry> p = path().dentry->parent()) up = p->inode()->ino();
    }
    if (unchanged_) {
      Forward to(sink, up);
      unchanged_->pos = pos;
      base::Result<void> r = unchanged_->Iterate(to);
      pos = unchanged_->pos;
      return r;
    }
    if (pos == 0) {
      if (!sink.Add({".", inode()->ino(), abi::kDT_DIR, 1})) return {};
      pos = 1;
    }
    if (pos == 1) {
      if (!sink.Add({"..", up, abi::kDT_DIR, 2})) return {};
      pos = 2;
    }
    while (pos - 2 < entries_.size()) {
      const OverlayDir::Listed& e = entries_[pos - 2];
      if (!sink.Add({e.name, e.ino, e.type, static_cast<int64_t>(pos + 1)})) return {};
      pos++;
    }
    return {};
  }

 private:
  OverlayDir& dir_;
  bool listed_ = false;
  base::Ref<File> unchanged_;  // what is listed, or null and entries_
  std::vector<OverlayDir::Listed> entries_;
};

class Collect final : public DirSink {
 public:
  bool Add(const DirEntry& e) override {
    if (e.name != "." && e.name != "..") out.push_back({std::string(e.name), e.ino, e.type});
    return true;
  }
  std::vector<OverlayDir::Listed> out;
};

}  // namespace

OverlaySuperblock::OverlaySuperblock(base::Ref<Inode> lower_root, uint64_t upper_limit)
    : Superblock("overlay"), upper_root_([&] {
        struct TmpfsSuperblock::Options o;
        o.size_limit = upper_limit;
        return TmpfsSuperblock::NewRoot(std::move(o));
      }()) {}

base::Ref<Inode> OverlaySuperblock::NewRoot(base::Ref<Inode> lower_root, uint64_t upper_limit) {
  base::Ref<OverlaySuperblock> sb = base::MakeRef<OverlaySuperblock>(lower_root, upper_limit);
  base::Ref<OverlayInode> root = sb->ForLower(std::move(lower_root));
  sb->Retain(root.get());
  return root;
}

base::Result<FsStat> OverlaySuperblock::Statfs() {
  FsStat st = TRY(upper().Statfs());
  st.type = abi::kOVERLAYFS_SUPER_MAGIC;
  st.fsid = dev();
  return st;
}

base::Ref<OverlayInode> OverlaySuperblock::ForLower(base::Ref<Inode> lower) {
  {
    base::MutexLock l(table_mu_);
    auto it = by_lower_.find(lower.get());
    if (it != by_lower_.end() && it->second->TryIncRef())
      return base::Ref<OverlayInode>::Adopt(it->second);
  }
  base::Ref<OverlaySuperblock> self(this);
  const uint32_t type = lower->type();
  const uint64_t ino = lower->ino();
  const Inode* key = lower.get();
  base::Ref<OverlayInode> made;
  if (type == abi::kS_IFDIR) {
    made = base::MakeRef<OverlayDir>(self, type, ino, std::move(lower), nullptr);
  } else {
    made = base::MakeRef<OverlayInode>(self, type, ino, std::move(lower), nullptr);
  }
  base::Ref<OverlayInode> other;
  {
    base::MutexLock l(table_mu_);
    OverlayInode*& slot = by_lower_[key];
    if (slot != nullptr && slot->TryIncRef()) {
      other = base::Ref<OverlayInode>::Adopt(slot);
    } else {
      slot = made.get();
    }
  }
  return other ? other : made;
}

base::Ref<OverlayInode> OverlaySuperblock::NewUpper(base::Ref<TmpfsInode> upper) {
  base::Ref<OverlaySuperblock> self(this);
  const uint32_t type = upper->type();
  const uint64_t ino = kUpperIno | upper->ino();
  if (type == abi::kS_IFDIR)
    return base::MakeRef<OverlayDir>(self, type, ino, nullptr, std::move(upper));
  return base::MakeRef<OverlayInode>(self, type, ino, nullptr, std::move(upper));
}

void OverlaySuperblock::Retain(OverlayInode* i) {
  if (!i->has_lower()) return;
  base::Ref<OverlayInode> ref(i);
  base::MutexLock l(table_mu_);
  retained_.try_emplace(i, std::move(ref));
}

void OverlaySuperblock::Forget(OverlayInode* i) {
  base::Ref<OverlayInode> dropped;
  base::MutexLock l(table_mu_);
  auto it = retained_.find(i);
  if (it == retained_.end()) return;
  dropped = std::move(it->second);
  retained_.erase(it);
}

void OverlaySuperblock::Died(const Inode* lower, OverlayInode* i) {
  base::MutexLock l(table_mu_);
  auto it = by_lower_.find(lower);
  if (it != by_lower_.end() && it->second == i) by_lower_.erase(it);
}

OverlayInode::OverlayInode(base::Ref<OverlaySuperblock> sb, uint32_t mode, uint64_t ino,
                           base::Ref<Inode> lower, base::Ref<TmpfsInode> upper)
    : Inode(std::move(sb), mode, ino), lower_(std::move(lower)) {
  base::MutexLock l(copy_mu_);
  upper_ = std::move(upper);
  upper_ptr_.store(upper_.get(), std::memory_order_release);
}

OverlayInode::~OverlayInode() {
  if (lower_) osb().Died(lower_.get(), this);
}

base::Result<Kstat> OverlayInode::Getattr() {
  Kstat st = TRY(top().Getattr());
  int32_t base = 0;
  if (lower_) {
    base = lower_links_.load(std::memory_order_acquire);
    if (base < 0) base = static_cast<int32_t>(st.nlink);
  }
  const int32_t n = base + links_.load(std::memory_order_relaxed);
  // As overlayfs: a merged directory's links are not counted.
  st.nlink = is_dir() && lower_ && n > 0 ? 1 : static_cast<uint32_t>(std::max(n, 0));
  st.dev = sb().dev();
  st.ino = ino();
  return st;
}

void OverlayInode::AddLinks(int32_t n) {
  links_.fetch_add(n, std::memory_order_relaxed);
  if (TmpfsInode* u = upper_ptr_.load(std::memory_order_acquire)) {
    u->AddLinks(0);  // ctime
  } else {
    osb().Retain(this);
  }
}

base::Result<base::Ref<TmpfsInode>> OverlayInode::CopyUp(uint64_t max_data) {
  base::MutexLock l(copy_mu_);
  if (upper_) return upper_;
  Kstat st = TRY(lower_->Getattr());
  std::string target;
  if (is_symlink()) target = TRY(lower_->Readlink(Nobody()));
  const CreateArgs a{Nobody(), st.mode, st.uid, st.gid, st.rdev};
  base::Ref<TmpfsInode> up = osb().upper().NewInode(a, target);
  if (is_reg() && max_data != 0 && st.size != 0) {
    TmpfsData& data = *static_cast<TmpfsFile&>(*up).data();
    base::Ref<File> from = TRY(lower_->Open(nullptr, OpenFlags{abi::kO_RDONLY, 0}, Nobody()));
    const uint64_t end = std::min(st.size, max_data);
    std::unique_ptr<uint8_t[]> chunk(new uint8_t[std::min(end, kCopyChunk)]);
    uint64_t at = 0;
    while (at < end) {
      IoBuffer dst = IoBuffer::Kernel(chunk.get(), std::min(end - at, kCopyChunk));
      uint64_t read_at = at;
      const uint64_t n = TRY(from->Read(dst, &read_at, 0));
      if (n == 0) break;
      IoBuffer src = IoBuffer::Kernel(static_cast<const void*>(chunk.get()), n);
      if (TRY(data.Write(src, &at, false)) != n) return abi::Errno::kENOSPC;
    }
    if (at < end) TRY(data.Truncate(end));
  }
  up->SetTimes(st.atime, st.mtime, st.ctime, st.btime);
  lower_links_.store(static_cast<int32_t>(st.nlink), std::memory_order_release);
  upper_ = up;
  upper_ptr_.store(up.get(), std::memory_order_release);
  osb().Retain(this);
  return up;
}

base::Result<base::Ref<TmpfsInode>> OverlayInode::CopyUpXattrs() {
  base::Ref<TmpfsInode> up = TRY(CopyUp());
  base::MutexLock l(copy_mu_);
  if (!lower_ || own_xattrs_.load(std::memory_order_relaxed)) return up;
  base::Result<std::vector<std::string>> names = lower_->Listxattr();
  if (names.ok()) {
    for (const std::string& n : *names) {
      base::Result<std::string> v = lower_->Getxattr(n);
      if (v.ok()) TRY(up->Setxattr(n, *v, 0));
    }
  }
  own_xattrs_.store(true, std::memory_order_release);
  return up;
}

base::Result<void> OverlayInode::Setattr(const Creds& creds, const SetAttr& a) {
  base::Ref<TmpfsInode> up = TRY(CopyUp((a.mask & SetAttr::kSize) != 0 ? a.size : UINT64_MAX));
  return up->Setattr(creds, a);
}

base::Result<void> OverlayInode::Setxattr(std::string_view name, std::string_view value,
                                          int flags) {
  return TRY(CopyUpXattrs())->Setxattr(name, value, flags);
}

base::Result<void> OverlayInode::Removexattr(std::string_view name) {
  TRY(Getxattr(name));
  return TRY(CopyUpXattrs())->Removexattr(name);
}

base::Result<base::Ref<File>> OverlayInode::Open(const base::Ref<Dentry>& dentry,
                                                 const OpenFlags& flags, const Creds& creds) {
  const bool truncate = (flags.flags & abi::kO_TRUNC) != 0;
  if (flags.writable() || truncate) {
    base::Ref<TmpfsInode> up = TRY(CopyUp(truncate ? 0 : UINT64_MAX));
    return up->Open(dentry, flags, creds);
  }
  return top().Open(dentry, flags, creds);
}

// --- Directories ---

base::Result<Kstat> OverlayDir::Getattr() {
  Kstat st = TRY(OverlayInode::Getattr());
  if (changed()) {
    // What a directory of tmpfs with these names and whiteouts would show.
    base::MutexLock l(names_mu_);
    st.size = (names_.size() + 2) * TmpfsDir::kDirentSize;
  }
  return st;
}

base::Result<base::Ref<Inode>> OverlayDir::LookupAhead(const Creds& creds, std::string_view name,
                                                       const LookupHint& hint) {
  {
    base::MutexLock l(names_mu_);
    auto it = names_.find(name);
    if (it != names_.end()) {
      if (!it->second) return abi::Errno::kENOENT;
      return base::Ref<Inode>(it->second);
    }
  }
  if (!has_lower()) return abi::Errno::kENOENT;
  return base::Ref<Inode>(osb().ForLower(TRY(lower()->LookupAhead(creds, name, hint))));
}

void OverlayDir::HideLocked(std::string_view name) {
  const bool below = has_lower() && lower()->Lookup(Nobody(), name).ok();
  if (below) {
    names_.insert_or_assign(std::string(name), base::Ref<OverlayInode>());
  } else {
    names_.erase(name);
  }
}

void OverlayDir::PutLocked(std::string_view name, base::Ref<OverlayInode> i) {
  names_.insert_or_assign(std::string(name), std::move(i));
}

void OverlayDir::Touch() {
  osb().Retain(this);
  base::Result<base::Ref<TmpfsInode>> up = CopyUp();
  if (up.ok()) (*up)->TouchModified();
}

base::Result<base::Ref<Inode>> OverlayDir::Make(std::string_view name, const CreateArgs& a,
                                                std::string_view target) {
  base::Ref<OverlayInode> made = osb().NewUpper(osb().upper().NewInode(a, target));
  const bool dir = made->is_dir();
  made->AddLinks(dir ? 2 : 1);
  {
    base::MutexLock l(names_mu_);
    PutLocked(name, made);
  }
  if (dir) AddLinks(1);
  Touch();
  return base::Ref<Inode>(std::move(made));
}

base::Result<base::Ref<Inode>> OverlayDir::Tmpfile(const CreateArgs& a) {
  base::Ref<OverlayInode> made = osb().NewUpper(osb().upper().NewInode(a));
  made->linkable_tmpfile = !a.unlinkable;
  return base::Ref<Inode>(std::move(made));
}

base::Result<void> OverlayDir::Link(std::string_view name, Inode& target) {
  OverlayInode& t = static_cast<OverlayInode&>(target);
  if (!t.linkable_tmpfile && TRY(t.Getattr()).nlink == 0) return abi::Errno::kENOENT;
  t.AddLinks(1);
  {
    base::MutexLock l(names_mu_);
    PutLocked(name, base::Ref<OverlayInode>(&t));
  }
  Touch();
  return {};
}

base::Result<void> OverlayDir::Unlink(std::string_view name, Inode& victim) {
  OverlayInode& v = static_cast<OverlayInode&>(victim);
  base::Ref<OverlayInode> keep(&v);
  {
    base::MutexLock l(names_mu_);
    HideLocked(name);
  }
  v.AddLinks(-1);
  base::Result<Kstat> st = v.Getattr();
  if (st.ok() && st->nlink == 0) osb().Forget(&v);
  Touch();
  return {};
}

base::Result<void> OverlayDir::Kill() {
  if (!TRY(ListAll(Nobody())).empty()) return abi::Errno::kENOTEMPTY;
  return {};
}

base::Result<void> OverlayDir::Rmdir(std::string_view name, Inode& victim) {
  OverlayDir& v = static_cast<OverlayDir&>(victim);
  TRY(v.Kill());
  base::Ref<OverlayInode> keep(&v);
  {
    base::MutexLock l(names_mu_);
    HideLocked(name);
  }
  v.AddLinks(-(1 << 20));  // gone, however many it had
  osb().Forget(&v);
  AddLinks(-1);
  Touch();
  return {};
}

base::Result<void> OverlayDir::Rename(std::string_view old_name, Inode& moved, Inode& new_dir,
                                      std::string_view new_name, Inode* replaced, uint32_t flags) {
  OverlayDir& to = static_cast<OverlayDir&>(new_dir);
  const bool exchange = (flags & abi::kRENAME_EXCHANGE) != 0;
  base::Ref<OverlayInode> a(static_cast<OverlayInode*>(&moved));
  base::Ref<OverlayInode> b(static_cast<OverlayInode*>(replaced));
  if (b && b->is_dir() && !exchange) TRY(static_cast<OverlayDir&>(*b).Kill());
  // Their names differ from the lower ones from now on, so the objects must stay.
  osb().Retain(a.get());
  {
    base::MutexLock2 l(names_mu_, to.names_mu_);
    auto change = [&]() NO_THREAD_SAFETY_ANALYSIS {
      if (exchange) {
        PutLocked(old_name, b);
      } else {
        HideLocked(old_name);
      }
      to.PutLocked(new_name, a);
    };
    change();
  }
  const int a_dir = a->is_dir() ? 1 : 0, b_dir = b && b->is_dir() ? 1 : 0;
  if (exchange) {
    AddLinks(b_dir - a_dir);
    to.AddLinks(a_dir - b_dir);
  } else {
    AddLinks(-a_dir);
    to.AddLinks(a_dir - b_dir);
    if (b) {
      b->AddLinks(b_dir != 0 ? -(1 << 20) : -1);
      base::Result<Kstat> st = b->Getattr();
      if (st.ok() && st->nlink == 0) osb().Forget(b.get());
    }
  }
  Touch();
  if (&to != this) to.Touch();
  return {};
}

base::Result<base::Ref<File>> OverlayDir::Open(const base::Ref<Dentry>&, const OpenFlags& flags,
                                               const Creds&) {
  return base::Ref<File>(base::MakeRef<DirFile>(base::Ref<OverlayDir>(this), flags.flags));
}

base::Result<base::Ref<File>> OverlayDir::OpenUnchanged() {
  {
    base::MutexLock l(names_mu_);
    if (!has_lower() || !names_.empty()) return base::Ref<File>();
  }
  return lower()->Open(nullptr, kOpenDirectory, Nobody());
}

base::Result<std::vector<OverlayDir::Listed>> OverlayDir::ListAll(const Creds& creds) {
  Collect below;
  if (has_lower()) {
    base::Ref<File> f = TRY(lower()->Open(nullptr, kOpenDirectory, Nobody()));
    TRY(f->Iterate(below));
  }
  std::vector<Listed> out;
  base::MutexLock l(names_mu_);
  out.reserve(below.out.size() + names_.size());
  for (Listed& e : below.out) {
    if (!names_.contains(e.name)) out.push_back(std::move(e));
  }
  for (const auto& [name, i] : names_) {
    if (i) out.push_back({name, i->ino(), abi::DtFromMode(i->type())});
  }
  return out;
}

}  // namespace sentry
