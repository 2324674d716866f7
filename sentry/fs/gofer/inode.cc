#include "sentry/fs/gofer/inode.h"

#include <algorithm>
#include <cstring>

#include "platform/host/host.h"
#include "sentry/fs/gofer/file.h"
#include "syscalls/abi/xattr.h"

namespace sentry {

namespace wire = gofer::wire;

namespace {

constexpr uint32_t kPermissions = 07777;

// The kernel stamps files with its coarse clock; a finer one here would let times run backwards
// against the host's.
FileTime HostNow() {
  int64_t ns = host::ClockNow(CLOCK_REALTIME_COARSE);
  return {ns / 1'000'000'000, static_cast<uint32_t>(ns % 1'000'000'000)};
}

uint64_t GuestRdev(uint64_t wire_dev) {
  return abi::MakeDev(static_cast<uint32_t>(wire_dev >> 32), static_cast<uint32_t>(wire_dev));
}

constexpr size_t kMaxAhead = 16;
// A directory of so many bytes is listed with attributes at once.
constexpr uint64_t kSmallDirectory = 4096;

// The components of rest that can be walked in the same message.
template <typename Names>
void AheadNames(std::string_view rest, Names* names) {
  while (names->size() < kMaxAhead) {
    size_t begin = rest.find_first_not_of('/');
    if (begin == rest.npos) return;
    rest.remove_prefix(begin);
    std::string_view name = rest.substr(0, rest.find('/'));
    if (name == "." || name == ".." || name.size() > wire::kMaxName) return;
    names->push_back(name);
    rest.remove_prefix(name.size());
  }
}

// The last component of a path without a slash at its end; "" if it has one.
std::string_view LastOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

wire::OwnerMode OwnerOf(const CreateArgs& a) {
  return {.mode = a.mode & kPermissions, .uid = a.uid, .gid = a.gid};
}

}  // namespace

GoferInode::GoferInode(base::Ref<GoferSuperblock> sb, const Attr& attr, uint64_t ino)
    : Inode(std::move(sb), attr.mode, ino),
      host_dev_(attr.dev),
      host_ino_(attr.ino),
      state_{.attr = attr, .link = {}, .link_known = false},
      mode_(attr.mode),
      uid_(attr.uid),
      gid_(attr.gid),
      size_(attr.size) {}

GoferInode::~GoferInode() { gsb().Gone(this); }

// --- Names and nodes ---

base::Result<gofer::Target> GoferInode::TargetLocked() {
  if (node_) return gofer::Target{.node = TRY(node_->Id()), .name = {}};
  if (names_.empty()) return abi::Errno::kESTALE;
  return gofer::Target{.node = TRY(names_[0].dir->Id()), .name = names_[0].name};
}

base::Result<base::Ref<GoferNode>> GoferInode::PlaceLocked() {
  if (node_) return node_;
  if (!is_dir()) return abi::Errno::kENOTDIR;
  if (names_.empty()) return abi::Errno::kENOENT;
  auto node = base::MakeRef<GoferNode>(base::Ref<gofer::Client>(&gsb().client()), names_[0].dir,
                                       names_[0].name, number());
  if (!gsb().immutable()) TRY(node->Id());
  node_ = node;
  return node;
}

base::Result<base::Ref<GoferNode>> GoferInode::NodeLocked() {
  base::Ref<GoferNode> node = TRY(PlaceLocked());
  TRY(node->Id());
  return node;
}

void GoferInode::AddName(const base::Ref<GoferNode>& dir, std::string_view name) {
  // A directory has one name, and it is where it was seen last.
  if (is_dir()) names_.clear();
  for (const Name& n : names_) {
    if (n.dir->number() == dir->number() && n.name == name) return;
  }
  if (names_.size() == kMaxNames) return;
  names_.push_back({.dir = dir, .name = std::string(name)});
}

void GoferInode::DropName(const base::Ref<GoferNode>& dir, std::string_view name) {
  for (auto it = names_.begin(); it != names_.end(); ++it) {
    if (it->dir->number() == dir->number() && it->name == name) {
      names_.erase(it);
      return;
    }
  }
}

bool GoferInode::NeedsPin() {
  if (is_dir() || names_.size() > 1) return false;
  bool linked;
  {
    base::MutexLock lock(mu);
    linked = state_.attr.nlink > 1;
  }
  base::MutexLock lock(fd_mu_);
  return linked || open_count_ > 0;
}

void GoferInode::NameRemoved(const base::Ref<GoferNode>& dir, std::string_view name,
                             wire::NodeId pinned) NO_THREAD_SAFETY_ANALYSIS {
  GoferSuperblock& sb = gsb();
  sb.NameVanished(dir->number(), name);
  DropName(dir, name);
  if (pinned != wire::kNoNode) {
    base::Ref<GoferNode> node = sb.NewNode(pinned, number());
    if (names_.empty()) node_ = std::move(node);
  }
  bool last;
  {
    base::MutexLock lock(mu);
    uint32_t& nlink = state_.attr.nlink;
    nlink = is_dir() ? 0 : nlink - (nlink > 0);
    last = nlink == 0;
    FileTime now = HostNow();
    state_.attr.ctime_sec = now.sec;
    state_.attr.ctime_nsec = now.nsec;
    // Without a way to reach it what we know is all there is.
    stale_.store(!is_dir() && (node_ || !names_.empty()), std::memory_order_relaxed);
  }
  if (!last) return;
  unlinked_.store(true, std::memory_order_release);
  sb.ForgetNumber(this);
  if (is_dir()) sb.DropListing(number());
  DropBacking(true);
}

base::Result<base::Ref<Inode>> GoferInode::Made(const base::Ref<GoferNode>& dir,
                                                std::string_view name, const Attr& attr,
                                                wire::NodeId node) NO_THREAD_SAFETY_ANALYSIS {
  stale_.store(true, std::memory_order_relaxed);
  gsb().NameAppeared(dir->number(), name);
  return base::Ref<Inode>(gsb().InodeFor(attr, node, dir, name));
}

// --- Attributes ---

void GoferInode::Update(const Attr& attr) {
  state_.attr = attr;
  mode_.store(attr.mode, std::memory_order_relaxed);
  uid_.store(attr.uid, std::memory_order_relaxed);
  gid_.store(attr.gid, std::memory_order_relaxed);
  size_.store(attr.size, std::memory_order_release);
}

void GoferInode::RefreshFrom(int fd) {
  struct stat st;
  if (host::Fstat(fd, &st) < 0) return;
  Attr a = state_.attr;
  a.size = static_cast<uint64_t>(st.st_size);
  a.blocks = static_cast<uint64_t>(st.st_blocks);
  a.atime_sec = st.st_atim.tv_sec;
  a.atime_nsec = static_cast<uint32_t>(st.st_atim.tv_nsec);
  a.mtime_sec = st.st_mtim.tv_sec;
  a.mtime_nsec = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  a.ctime_sec = st.st_ctim.tv_sec;
  a.ctime_nsec = static_cast<uint32_t>(st.st_ctim.tv_nsec);
  a.mode = st.st_mode;
  a.nlink = static_cast<uint32_t>(st.st_nlink);
  // Not the owners: the sentry's user namespace doesn't know their ids. What it does with a
  // descriptor leaves them.
  stale_.store(false, std::memory_order_relaxed);
  Update(a);
}

Kstat GoferInode::ToKstat() const {
  const Attr& a = state_.attr;
  Kstat k;
  k.dev = sb().dev();
  k.ino = ino();
  k.mode = a.mode;
  k.nlink = a.nlink;
  k.uid = a.uid;
  k.gid = a.gid;
  k.rdev = GuestRdev(a.rdev);
  k.size = a.size;
  k.blocks = a.blocks;
  k.blksize = a.blksize;
  k.atime = {a.atime_sec, a.atime_nsec};
  k.mtime = {a.mtime_sec, a.mtime_nsec};
  k.ctime = {a.ctime_sec, a.ctime_nsec};
  if (a.has_btime != 0) k.btime = {a.btime_sec, a.btime_nsec};
  return k;
}

base::Result<Kstat> GoferInode::Getattr() {
  bool ask = gsb().shared() || stale_.load(std::memory_order_relaxed) ||
             mapped_writable_.load(std::memory_order_relaxed);
  if (!ask) {
    base::MutexLock lock(mu);
    return ToKstat();
  }
  if (base::Ref<BackingFile> file = AnyBacking()) {
    base::MutexLock lock(mu);
    RefreshFrom(file->fd());
    return ToKstat();
  }
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  auto target = TargetLocked();
  base::MutexLock lock(mu);
  if (!target.ok()) return ToKstat();
  // Cleared first: a change behind the answer marks it again.
  stale_.store(false, std::memory_order_relaxed);
  auto attr = sb.client().Getattr(*target);
  if (!attr.ok()) {
    stale_.store(true, std::memory_order_relaxed);
    return attr.error();
  }
  if (attr->dev != host_dev_ || attr->ino != host_ino_) return abi::Errno::kESTALE;
  Update(*attr);
  return ToKstat();
}

base::Result<void> GoferInode::Setattr(const Creds&, const SetAttr& a) {
  GoferSuperblock& sb = gsb();
  if (sb.read_only()) return abi::Errno::kEROFS;
  uint32_t mask = a.mask & ~static_cast<uint32_t>(SetAttr::kTruncateOpen);
  if ((mask & SetAttr::kSize) != 0) {
    if (!is_reg()) return is_dir() ? abi::Errno::kEISDIR : abi::Errno::kEINVAL;
    // Through a descriptor that is there already, or, to open a file anyway, through the one that
    // the guest is about to need.
    base::Ref<BackingFile> file;
    {
      base::MutexLock lock(fd_mu_);
      file = read_write_;
    }
    if (!file && (a.mask & SetAttr::kTruncateOpen) != 0 && a.size == 0) {
      file = TRY(Backing(Access::kWrite, true));
      sb.MarkIdle(this);
      mask &= ~static_cast<uint32_t>(SetAttr::kSize);
    }
    if (file && (mask & SetAttr::kSize) != 0) {
      base::MutexLock lock(mu);
      long r = host::Ftruncate(file->fd(), static_cast<int64_t>(a.size));
      if (r < 0) return host::HostToGuest(r);
      RefreshFrom(file->fd());
      mask &= ~static_cast<uint32_t>(SetAttr::kSize);
    }
  }
  if (mask == 0) return {};
  wire::SetattrArgs args = {};
  if ((mask & SetAttr::kMode) != 0) {
    args.valid |= wire::kSetMode;
    args.mode = a.mode & kPermissions;
  }
  if ((mask & SetAttr::kUid) != 0) {
    args.valid |= wire::kSetUid;
    args.uid = a.uid;
  }
  if ((mask & SetAttr::kGid) != 0) {
    args.valid |= wire::kSetGid;
    args.gid = a.gid;
  }
  if ((mask & SetAttr::kSize) != 0) {
    args.valid |= wire::kSetSize;
    args.size = a.size;
  }
  FileTime now = HostNow();
  if ((mask & (SetAttr::kAtime | SetAttr::kAtimeNow)) != 0) {
    const FileTime& t = (mask & SetAttr::kAtimeNow) != 0 ? now : a.atime;
    args.valid |= wire::kSetAtime;
    args.atime_sec = t.sec;
    args.atime_nsec = t.nsec;
  }
  if ((mask & (SetAttr::kMtime | SetAttr::kMtimeNow)) != 0) {
    const FileTime& t = (mask & SetAttr::kMtimeNow) != 0 ? now : a.mtime;
    args.valid |= wire::kSetMtime;
    args.mtime_sec = t.sec;
    args.mtime_nsec = t.nsec;
  }
  base::MutexLock tree(sb.mu);
  gofer::Target target = TRY(TargetLocked());
  base::MutexLock lock(mu);
  auto r = sb.client().Setattr(target, args);
  if (!r.ok()) {
    // Some of it may have been done.
    stale_.store(true, std::memory_order_relaxed);
    return r.error();
  }
  stale_.store(false, std::memory_order_relaxed);
  Update(*r);
  return {};
}

void GoferInode::Accessed(const File& file) {
  // The host keeps the access time of what it serves itself; a read-only mount has none to keep.
  if (gsb().shared() || gsb().read_only()) return;
  // Not worth waiting for a writer.
  if (!mu.TryLock()) return;
  Attr& a = state_.attr;
  FileTime now = HostNow();
  if (NeedsAtime(file, {a.atime_sec, a.atime_nsec}, {a.mtime_sec, a.mtime_nsec},
                 {a.ctime_sec, a.ctime_nsec}, now)) {
    a.atime_sec = now.sec;
    a.atime_nsec = now.nsec;
  }
  mu.Unlock();
}

void GoferInode::Wrote(int fd, uint64_t end) {
  if (end > state_.attr.size) {
    state_.attr.size = end;
    size_.store(end, std::memory_order_release);
  }
  // Times and blocks are asked for when somebody wants them. But the host took the set-id bits
  // away, and that counts at once.
  if ((state_.attr.mode & (abi::kS_ISUID | abi::kS_ISGID)) != 0) {
    RefreshFrom(fd);
  } else {
    stale_.store(true, std::memory_order_relaxed);
  }
}

// --- The tree ---

base::Result<base::Ref<Inode>> GoferInode::Lookup(const Creds& creds, std::string_view name) {
  return LookupAhead(creds, name, {});
}

uint64_t GoferInode::WorthListing() const {
  // A listing costs about as much as half a message for each of the directory's blocks.
  constexpr uint64_t kBytesPerMessage = 8192, kLeast = 2, kMost = 16;
  return std::clamp(size() / kBytesPerMessage, kLeast, kMost);
}

base::Result<base::Ref<Inode>> GoferInode::LookupAhead(const Creds&, std::string_view name,
                                                       const LookupHint& hint) {
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> dir = TRY(PlaceLocked());
  if (ahead_ && ahead_->name == name) {
    base::Ref<GoferInode> inode = std::move(ahead_->inode);
    ahead_.reset();
    if (!inode) return abi::Errno::kENOENT;
    return base::Ref<Inode>(std::move(inode));
  }
  GoferListing* l = sb.FindListing(number());
  if (l == nullptr && sb.immutable() && ++asked_ == WorthListing()) {
    using Want = GoferSuperblock::Want;
    TRY(sb.FetchListing(*this, size() <= kSmallDirectory ? Want::kAttributes : Want::kNames));
    l = sb.FindListing(number());
  }
  size_t at = GoferListing::kNone;
  if (l != nullptr) {
    at = l->Find(name);
    if (at == GoferListing::kNone && l->complete) return abi::Errno::kENOENT;
  }
  if (at != GoferListing::kNone) {
    gofer::DirectoryEntries& entries = l->entries();
    base::UniqueFd fd;
    if (entries.attr(at) != nullptr) {
      // Who opens a file gets them with the descriptor.
      if (!l->IsDirectory(at) && !hint.open_read) sb.UsedAttr();
    } else if (sb.immutable()) {
      fd = sb.LearnAttr(dir, *l, at, hint.open_read && hint.rest.empty());
    }
    if (const Attr* attr = entries.attr(at)) {
      base::Ref<GoferInode> inode = sb.InodeFor(*attr, wire::kNoNode, dir, name);
      if (!sb.immutable()) entries.ForgetAttr(at);
      if (fd.valid() && inode->is_reg()) inode->DonateReadOnly(std::move(fd));
      return base::Ref<Inode>(std::move(inode));
    }
  }
  absl::InlinedVector<std::string_view, kMaxAhead> names = {name};
  if (!sb.shared()) AheadNames(hint.rest, &names);
  bool last = names.size() == 1 ? hint.rest.empty() : LastOf(hint.rest) == names.back();
  gofer::WalkResult r = TRY(dir->Walk({names.data(), names.size()}, hint.open_read && last));
  if (r.entries.empty()) {
    if (r.stop == wire::WalkStop::kError) return r.error;
    return abi::Errno::kENOENT;
  }
  if (at != GoferListing::kNone && sb.immutable()) l->entries().SetAttr(at, r.entries[0].attr);
  base::Ref<GoferInode> first, parent;
  base::Ref<GoferNode> in = dir;
  for (size_t i = 0; i < r.entries.size(); i++) {
    base::Ref<GoferInode> inode = sb.InodeFor(r.entries[i].attr, r.entries[i].node, in, names[i]);
    sb.NameAppeared(in->number(), names[i]);
    if (i == 0) {
      first = inode;
    } else {
      parent->ahead_ = Ahead{std::string(names[i]), inode};
    }
    in = inode->node_;
    parent = std::move(inode);
    if (!in) break;
  }
  const Attr& end = r.entries.back().attr;
  if (parent->host_dev() != end.dev || parent->host_ino() != end.ino) {
    return base::Ref<Inode>(std::move(first));
  }
  if (r.stop == wire::WalkStop::kMissing && in) {
    parent->ahead_ = Ahead{std::string(names[r.entries.size()]), nullptr};
  }
  if (r.stop == wire::WalkStop::kSymlink && !sb.shared()) {
    base::MutexLock lock(parent->mu);
    parent->state_.link = std::move(r.link_target);
    parent->state_.link_known = true;
  }
  if (r.fd.valid() && parent->is_reg()) parent->DonateReadOnly(std::move(r.fd));
  return base::Ref<Inode>(std::move(first));
}

base::Result<base::Ref<Inode>> GoferInode::Create(std::string_view name, const CreateArgs& a) {
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> dir = TRY(NodeLocked());
  ahead_.reset();
  gofer::Opened r =
      TRY(sb.client().Create(dir->id(), name,
                             {.flags = wire::kOpenRead | wire::kOpenWrite | wire::kOpenExclusive,
                              .mode = a.mode & kPermissions,
                              .uid = a.uid,
                              .gid = a.gid}));
  base::Ref<Inode> made = TRY(Made(dir, name, r.attr, wire::kNoNode));
  GoferInode& inode = Of(*made);
  auto file = base::MakeRef<BackingFile>(std::move(r.fd), true);
  {
    base::MutexLock lock(inode.fd_mu_);
    if (!inode.read_write_) inode.read_write_ = std::move(file);
  }
  sb.MarkIdle(&inode);
  return made;
}

base::Result<base::Ref<Inode>> GoferInode::Mkdir(std::string_view name, const CreateArgs& a) {
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> dir = TRY(NodeLocked());
  ahead_.reset();
  wire::WalkEntry e = TRY(sb.client().Mkdir(dir->id(), name, OwnerOf(a)));
  base::Ref<Inode> made = TRY(Made(dir, name, e.attr, e.node));
  if (!sb.shared()) sb.NewListing({e.attr.dev, e.attr.ino})->complete = true;  // an empty one
  return made;
}

base::Result<base::Ref<Inode>> GoferInode::Mknod(std::string_view name, const CreateArgs& a) {
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> dir = TRY(NodeLocked());
  ahead_.reset();
  wire::OwnerMode args = OwnerOf(a);
  args.mode |= a.mode & abi::kS_IFMT;
  Attr attr = TRY(sb.client().Mknod(dir->id(), name, args));
  return Made(dir, name, attr, wire::kNoNode);
}

base::Result<base::Ref<Inode>> GoferInode::Symlink(std::string_view name, std::string_view target,
                                                   const CreateArgs& a) {
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> dir = TRY(NodeLocked());
  ahead_.reset();
  Attr attr = TRY(sb.client().Symlink(dir->id(), name, OwnerOf(a), target));
  base::Ref<Inode> made = TRY(Made(dir, name, attr, wire::kNoNode));
  if (!sb.shared()) {
    GoferInode& link = Of(*made);
    base::MutexLock lock(link.mu);
    link.state_.link = std::string(target);
    link.state_.link_known = true;
  }
  return made;
}

base::Result<void> GoferInode::Link(std::string_view name, Inode& target_inode) {
  GoferSuperblock& sb = gsb();
  GoferInode& target = Of(target_inode);
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> dir = TRY(NodeLocked());
  ahead_.reset();
  gofer::Target from = TRY(target.TargetLocked());
  Attr attr = TRY(sb.client().Link(from, dir->id(), name));
  target.AddName(dir, name);
  sb.NameAppeared(dir->number(), name);
  stale_.store(true, std::memory_order_relaxed);
  base::MutexLock lock(target.mu);
  target.Update(attr);
  return {};
}

base::Result<void> GoferInode::Unlink(std::string_view name, Inode& victim_inode) {
  GoferSuperblock& sb = gsb();
  GoferInode& victim = Of(victim_inode);
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> dir = TRY(NodeLocked());
  ahead_.reset();
  uint32_t flags = 0;
  if (victim.NeedsPin()) flags |= wire::kUnlinkPin;
  wire::NodeId pinned = TRY(sb.client().Unlink(dir->id(), name, flags));
  stale_.store(true, std::memory_order_relaxed);
  victim.NameRemoved(dir, name, pinned);
  return {};
}

base::Result<void> GoferInode::Rmdir(std::string_view name, Inode& victim_inode) {
  GoferSuperblock& sb = gsb();
  GoferInode& victim = Of(victim_inode);
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> dir = TRY(NodeLocked());
  ahead_.reset();
  (void)TRY(sb.client().Unlink(dir->id(), name, wire::kUnlinkDirectory));
  stale_.store(true, std::memory_order_relaxed);
  victim.NameRemoved(dir, name, wire::kNoNode);
  return {};
}

base::Result<void> GoferInode::Rename(std::string_view old_name, Inode& moved_inode,
                                      Inode& new_dir_inode, std::string_view new_name,
                                      Inode* replaced_inode, uint32_t flags) {
  constexpr uint32_t kExchange = 2;  // RENAME_EXCHANGE, as the wire has it
  GoferSuperblock& sb = gsb();
  GoferInode& moved = Of(moved_inode);
  GoferInode& new_dir = Of(new_dir_inode);
  GoferInode* replaced = replaced_inode != nullptr ? &Of(*replaced_inode) : nullptr;
  base::MutexLock tree(sb.mu);
  base::Ref<GoferNode> from = TRY(NodeLocked());
  base::Ref<GoferNode> to = TRY(new_dir.NodeLocked());
  ahead_.reset();
  new_dir.ahead_.reset();
  bool exchange = (flags & kExchange) != 0;
  bool pin = !exchange && replaced != nullptr && replaced->NeedsPin();
  wire::NodeId pinned =
      TRY(sb.client().Rename(from->id(), old_name, to->id(), new_name, flags & kExchange, pin));
  stale_.store(true, std::memory_order_relaxed);
  new_dir.stale_.store(true, std::memory_order_relaxed);
  if (!exchange) {
    if (replaced != nullptr) {
      replaced->NameRemoved(to, new_name, pinned);
    } else if (pinned != wire::kNoNode) {
      sb.client().Forget(pinned, 1);
    }
    sb.NameVanished(from->number(), old_name);
  } else {
    if (replaced != nullptr) {
      replaced->DropName(to, new_name);
      replaced->AddName(from, old_name);
      replaced->stale_.store(true, std::memory_order_relaxed);
    }
    sb.NameAppeared(from->number(), old_name);
  }
  moved.DropName(from, old_name);
  moved.AddName(to, new_name);
  moved.stale_.store(true, std::memory_order_relaxed);
  sb.NameAppeared(to->number(), new_name);
  return {};
}

base::Result<std::string> GoferInode::Readlink(const Creds&) {
  if (!is_symlink()) return abi::Errno::kEINVAL;
  GoferSuperblock& sb = gsb();
  {
    base::MutexLock lock(mu);
    if (state_.link_known) return state_.link;
  }
  base::MutexLock tree(sb.mu);
  gofer::Target target = TRY(TargetLocked());
  std::string link = TRY(sb.client().Readlink(target));
  if (!sb.shared()) {
    base::MutexLock lock(mu);
    state_.link = link;
    state_.link_known = true;
  }
  return link;
}

// --- Extended attributes ---

base::Result<std::string> GoferInode::Getxattr(std::string_view name) {
  constexpr std::string_view kCapability = "security.capability";
  if (!is_reg() && !is_dir()) return abi::Errno::kENODATA;
  if (name == kCapability && no_capabilities_.load(std::memory_order_relaxed)) {
    return abi::Errno::kENODATA;
  }
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  gofer::Target target = TRY(TargetLocked());
  auto r = sb.client().GetXattr(target, name);
  if (!r.ok()) {
    // No guest can give it one through the gofer.
    if (name == kCapability && !sb.shared() &&
        (r.is(abi::Errno::kENODATA) || r.is(abi::Errno::kEOPNOTSUPP))) {
      no_capabilities_.store(true, std::memory_order_relaxed);
      return abi::Errno::kENODATA;
    }
    return r.error();
  }
  return std::string(r->begin(), r->end());
}

base::Result<void> GoferInode::Setxattr(std::string_view name, std::string_view value, int flags) {
  if (!is_reg() && !is_dir()) return abi::Errno::kEPERM;
  if (value.size() > wire::kMaxXattrValue) return abi::Errno::kE2BIG;
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  gofer::Target target = TRY(TargetLocked());
  stale_.store(true, std::memory_order_relaxed);
  return sb.client().SetXattr(target, name,
                              {reinterpret_cast<const uint8_t*>(value.data()), value.size()},
                              static_cast<uint32_t>(flags));
}

base::Result<std::vector<std::string>> GoferInode::Listxattr() {
  std::vector<std::string> names;
  if (!is_reg() && !is_dir()) return names;
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  gofer::Target target = TRY(TargetLocked());
  std::string all = TRY(sb.client().ListXattr(target));
  for (size_t at = 0; at < all.size();) {
    size_t end = all.find('\0', at);
    if (end == all.npos) end = all.size();
    if (end > at) names.push_back(all.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

base::Result<void> GoferInode::Removexattr(std::string_view name) {
  if (!is_reg() && !is_dir()) return abi::Errno::kEPERM;
  GoferSuperblock& sb = gsb();
  base::MutexLock tree(sb.mu);
  gofer::Target target = TRY(TargetLocked());
  stale_.store(true, std::memory_order_relaxed);
  return sb.client().RemoveXattr(target, name);
}

}  // namespace sentry
