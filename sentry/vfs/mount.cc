// Mount namespaces (fs/namespace.c) and path names (fs/d_path.c). Propagation between peers does
// not exist: every mount is private.
#include "syscalls/abi/mount.h"

#include <algorithm>

#include "sentry/vfs/vfs.h"
#include "sentry/vfs/watches.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/inotify.h"

namespace sentry {
namespace {
std::atomic<uint64_t> next_mount_id{1};
}  // namespace

base::Ref<Mount> MountNamespace::NewMount(base::Ref<Superblock> sb, base::Ref<Dentry> root,
                                          uint32_t flags, std::string source) {
  base::Ref<Mount> m = base::MakeRef<Mount>(next_mount_id.fetch_add(1, std::memory_order_relaxed),
                                            std::move(sb), std::move(root), flags);
  m->source_ = std::move(source);
  return m;
}

MountNamespace::MountNamespace(base::Ref<Superblock> root_sb, base::Ref<Inode> root_inode,
                               uint32_t flags, base::Ref<UserNamespace> owner)
    : owner_(std::move(owner)) {
  std::string source = root_sb->Source();
  base::Ref<Mount> m =
      NewMount(std::move(root_sb), base::MakeRef<Dentry>(nullptr, "", std::move(root_inode)), flags,
               std::move(source));
  // Without the lock: nobody else has it yet, and Clone() holds its original's.
  root_ = m;
  mounts_.push_back(std::move(m));
}

MountNamespace::~MountNamespace() {
  base::MutexLock l(mu_);
  for (const base::Ref<Mount>& m : mounts_) {
    if (m->mountpoint_) m->mountpoint_->mounts_.fetch_sub(1, std::memory_order_release);
    m->parent_.reset();
    m->mountpoint_.reset();
  }
}

Path MountNamespace::root() {
  base::MutexLock l(mu_);
  Path p{root_, root_->root()};
  TopLocked(&p);
  return p;
}

base::Ref<Mount> MountNamespace::TopLocked(Path* p) {
  base::Ref<Mount> top;
  for (;;) {
    auto it = at_.find(Place(p->mount.get(), p->dentry.get()));
    if (it == at_.end()) return top;
    top = base::Ref<Mount>(it->second);
    *p = Path{top, top->root()};
  }
}

Path MountNamespace::FollowMounts(Path p) {
  base::MutexLock l(mu_);
  TopLocked(&p);
  return p;
}

bool MountNamespace::FollowUp(Path* p) {
  Path up;
  {
    base::MutexLock l(mu_);
    if (!p->mount->parent_) return false;
    up = Path{p->mount->parent_, p->mount->mountpoint_};
  }
  *p = std::move(up);
  return true;
}

void MountNamespace::Hang(const base::Ref<Mount>& m, const Path& at) {
  m->parent_ = at.mount;
  m->mountpoint_ = at.dentry;
  at_[Place(at.mount.get(), at.dentry.get())] = m.get();
  at.dentry->mounts_.fetch_add(1, std::memory_order_release);
  if (base::Ref<Dentry> parent = at.dentry->parent()) parent->Pin(at.dentry);
}

void MountNamespace::Unhang(const base::Ref<Mount>& m) {
  at_.erase(Place(m->parent_.get(), m->mountpoint_.get()));
  m->mountpoint_->mounts_.fetch_sub(1, std::memory_order_release);
}

bool MountNamespace::Below(const Mount* m, const Mount* top) {
  for (; m != nullptr; m = m->parent_.get()) {
    if (m == top) return true;
  }
  return false;
}

bool MountNamespace::KnownLocked(const base::Ref<Mount>& mount) {
  return std::any_of(mounts_.begin(), mounts_.end(),
                     [&](const base::Ref<Mount>& m) { return m == mount; });
}

base::Result<void> MountNamespace::CheckPlace(const Path& at, const Dentry& root) {
  if (!KnownLocked(at.mount)) return abi::Errno::kEINVAL;
  if (at.dentry->unhashed()) return abi::Errno::kENOENT;
  if (at.dentry->inode()->is_dir() != root.inode()->is_dir()) return abi::Errno::kENOTDIR;
  return {};
}

base::Result<base::Ref<Mount>> MountNamespace::Attach(base::Ref<Superblock> sb,
                                                      base::Ref<Dentry> root, const Path& at,
                                                      uint32_t flags, std::string source) {
  base::Ref<Mount> m = NewMount(std::move(sb), std::move(root), flags, std::move(source));
  {
    base::MutexLock l(mu_);
    Path p = at;
    TopLocked(&p);
    TRY(CheckPlace(p, *m->root()));
    Hang(m, p);
    mounts_.push_back(m);
  }
  changes_.Wake(abi::kEPOLLERR | abi::kEPOLLPRI);
  return m;
}

base::Result<void> MountNamespace::Bind(const Path& from, const Path& at, bool recursive) {
  {
    base::MutexLock l(mu_);
    Path p = at;
    TopLocked(&p);
    base::Ref<Mount> copy =
        NewMount(from.mount->sb_, from.dentry, from.mount->flags(), from.mount->source_);
    TRY(CheckPlace(p, *from.dentry));
    std::vector<std::pair<base::Ref<Mount>, base::Ref<Mount>>> made{{from.mount, copy}};
    if (recursive) {
      auto below = [](const Dentry& top, base::Ref<Dentry> d) {
        for (; d; d = d->parent()) {
          if (d.get() == &top) return true;
        }
        return false;
      };
      // Parents stand before children in mounts_.
      const std::vector<base::Ref<Mount>> all = mounts_;
      for (const base::Ref<Mount>& m : all) {
        for (size_t i = 0; i < made.size(); i++) {
          if (!(m->parent_ == made[i].first)) continue;
          if (i == 0 && !below(*from.dentry, m->mountpoint_)) break;
          base::Ref<Mount> c = NewMount(m->sb_, m->root(), m->flags(), m->source_);
          Hang(c, Path{made[i].second, m->mountpoint_});
          mounts_.push_back(c);
          made.emplace_back(m, std::move(c));
          break;
        }
      }
    }
    Hang(copy, p);
    mounts_.push_back(std::move(copy));
  }
  changes_.Wake(abi::kEPOLLERR | abi::kEPOLLPRI);
  return {};
}

base::Result<void> MountNamespace::Move(const Path& from, const Path& at) {
  {
    base::MutexLock l(mu_);
    if (!(from.dentry == from.mount->root()) || !from.mount->parent_) return abi::Errno::kEINVAL;
    Path p = at;
    TopLocked(&p);
    TRY(CheckPlace(p, *from.dentry));
    if (Below(p.mount.get(), from.mount.get())) return abi::Errno::kELOOP;
    Unhang(from.mount);
    Hang(from.mount, p);
  }
  changes_.Wake(abi::kEPOLLERR | abi::kEPOLLPRI);
  return {};
}

base::Result<void> MountNamespace::Remount(const Path& at, uint32_t flags) {
  {
    base::MutexLock l(mu_);
    if (!(at.dentry == at.mount->root())) return abi::Errno::kEINVAL;
    at.mount->set_flags(flags);
  }
  changes_.Wake(abi::kEPOLLERR | abi::kEPOLLPRI);
  return {};
}

base::Result<void> MountNamespace::Unmount(const Path& p, uint32_t flags) {
  std::vector<base::Ref<Mount>> gone;  // dropped without the lock
  std::vector<base::Ref<base::RefCounted>> more;
  {
    base::MutexLock l(mu_);
    if (!(p.dentry == p.mount->root())) return abi::Errno::kEINVAL;
    if (!KnownLocked(p.mount)) return abi::Errno::kEINVAL;
    if (p.mount == root_)
      return (flags & abi::kMNT_DETACH) != 0 ? abi::Errno::kEINVAL : abi::Errno::kEBUSY;
    const bool has_children =
        std::any_of(mounts_.begin(), mounts_.end(),
                    [&](const base::Ref<Mount>& m) { return m->parent_ == p.mount; });
    if ((flags & abi::kMNT_DETACH) == 0) {
      // One reference is the table's, one the caller's path.
      if (has_children || p.mount->RefCount() > 2) return abi::Errno::kEBUSY;
      if ((flags & abi::kMNT_EXPIRE) != 0 && !p.mount->expiry_mark_) {
        p.mount->expiry_mark_ = true;
        return abi::Errno::kEAGAIN;
      }
    }
    auto keep = mounts_.begin();
    for (auto it = mounts_.begin(); it != mounts_.end(); ++it) {
      if (Below(it->get(), p.mount.get())) {
        gone.push_back(*it);
      } else {
        *keep++ = *it;
      }
    }
    mounts_.erase(keep, mounts_.end());
    for (const base::Ref<Mount>& m : gone) Unhang(m);
    for (const base::Ref<Mount>& m : gone) {
      more.push_back(std::move(m->parent_));
      more.push_back(std::move(m->mountpoint_));
    }
  }
  changes_.Wake(abi::kEPOLLERR | abi::kEPOLLPRI);
  if (InotifyWatches* w = p.dentry->inode()->watches()) w->FireGone(abi::kIN_UNMOUNT);
  return {};
}

base::Result<void> MountNamespace::PivotRoot(const Path& root, const Path& new_root,
                                             const Path& put_old) {
  {
    base::MutexLock l(mu_);
    const base::Ref<Mount> old = root.mount, fresh = new_root.mount;
    if (!KnownLocked(old) || !KnownLocked(fresh) || !KnownLocked(put_old.mount))
      return abi::Errno::kEINVAL;
    if (new_root.dentry->unhashed() || put_old.dentry->unhashed()) return abi::Errno::kENOENT;
    if (fresh == old || put_old.mount == old) return abi::Errno::kEBUSY;
    if (!(root.dentry == old->root())) return abi::Errno::kEINVAL;
    if (!(new_root.dentry == fresh->root()) || !fresh->parent_) return abi::Errno::kEINVAL;
    if (!Below(put_old.mount.get(), fresh.get()) || !Below(fresh.get(), old.get()))
      return abi::Errno::kEINVAL;
    Unhang(fresh);
    if (old->parent_) {
      const Path place{old->parent_, old->mountpoint_};
      Unhang(old);
      Hang(fresh, place);
    } else {
      fresh->parent_.reset();
      fresh->mountpoint_.reset();
      root_ = fresh;
    }
    Path p = put_old;
    TopLocked(&p);
    Hang(old, p);
  }
  changes_.Wake(abi::kEPOLLERR | abi::kEPOLLPRI);
  return {};
}

base::Ref<MountNamespace> MountNamespace::Clone(base::Ref<UserNamespace> owner,
                                                std::span<Path*> translate) {
  base::MutexLock l(mu_);
  base::Ref<MountNamespace> ns = base::MakeRef<MountNamespace>(root_->sb_, root_->root()->inode(),
                                                               root_->flags(), std::move(owner));
  auto fill = [&]() NO_THREAD_SAFETY_ANALYSIS {
    absl::flat_hash_map<const Mount*, base::Ref<Mount>> twin;
    ns->mounts_.clear();
    for (const base::Ref<Mount>& m : mounts_) {
      base::Ref<Mount> c = NewMount(m->sb_, m->root(), m->flags(), m->source_);
      twin[m.get()] = c;
      ns->mounts_.push_back(std::move(c));
    }
    for (const base::Ref<Mount>& m : mounts_) {
      if (m->parent_) ns->Hang(twin[m.get()], Path{twin[m->parent_.get()], m->mountpoint_});
    }
    ns->root_ = twin[root_.get()];
    for (Path* p : translate) {
      auto it = twin.find(p->mount.get());
      if (it != twin.end()) p->mount = it->second;
    }
  };
  fill();
  return ns;
}

std::vector<base::Ref<Mount>> MountNamespace::Mounts() {
  base::MutexLock l(mu_);
  return mounts_;
}

std::vector<MountNamespace::Info> MountNamespace::List(const Path& root) {
  std::vector<base::Ref<Mount>> all;
  std::vector<Path> places;
  {
    base::MutexLock l(mu_);
    all = mounts_;
    for (const base::Ref<Mount>& m : all) places.push_back(Path{m->parent_, m->mountpoint_});
  }
  std::vector<Info> out;
  for (size_t i = 0; i < all.size(); i++) {
    const Mount& m = *all[i];
    std::string at = Vfs::PathName(*this, root, Path{all[i], m.root()});
    if (at.substr(0, 13) == "(unreachable)") continue;
    Info info;
    info.id = m.id();
    info.parent_id = places[i].mount ? places[i].mount->id() : 0;
    info.mountpoint = std::move(at);
    // The path of the mount's root within its file system.
    for (base::Ref<Dentry> d = m.root(); d;) {
      base::Ref<Dentry> up = d->parent();
      if (up) info.root = "/" + d->name() + info.root;
      d = std::move(up);
    }
    if (info.root.empty()) info.root = "/";
    info.source = m.source_.empty() ? m.sb_->Source() : m.source_;
    info.type = m.sb_->type_name();
    info.sb_options = m.sb_->Options();
    info.dev = m.sb_->dev();
    info.flags = m.flags();
    const uint32_t f = info.flags;
    info.options = (f & abi::kMS_RDONLY) != 0 ? "ro" : "rw";
    if ((f & abi::kMS_NOSUID) != 0) info.options += ",nosuid";
    if ((f & abi::kMS_NODEV) != 0) info.options += ",nodev";
    if ((f & abi::kMS_NOEXEC) != 0) info.options += ",noexec";
    if ((f & abi::kMS_NOATIME) != 0) info.options += ",noatime";
    if ((f & abi::kMS_NODIRATIME) != 0) info.options += ",nodiratime";
    if ((f & (abi::kMS_NOATIME | abi::kMS_STRICTATIME)) == 0) info.options += ",relatime";
    if ((f & abi::kMS_NOSYMFOLLOW) != 0) info.options += ",nosymfollow";
    out.push_back(std::move(info));
  }
  return out;
}

namespace {

// prepend_path(): the name of p from root, and whether root was met.
std::string NameFrom(MountNamespace& ns, const Path& root, Path p, bool* reached) {
  std::vector<std::string> parts;
  size_t len = 0;
  *reached = true;
  while (!(p == root)) {
    if (p.dentry == p.mount->root()) {
      if (!ns.FollowUp(&p)) {
        *reached = false;
        break;
      }
      continue;
    }
    base::Ref<Dentry> up = p.dentry->parent();
    if (!up) {
      *reached = false;
      break;
    }
    parts.push_back(p.dentry->name());
    len += parts.back().size() + 1;
    p.dentry = std::move(up);
  }
  if (parts.empty()) return "/";
  std::string out;
  out.reserve(len);
  for (auto it = parts.rbegin(); it != parts.rend(); ++it) {
    out += '/';
    out += *it;
  }
  return out;
}

}  // namespace

std::string Vfs::PathName(MountNamespace& ns, const Path& root, const Path& p) {
  bool reached;
  std::string name = NameFrom(ns, root, p, &reached);
  if (!reached) name = "(unreachable)" + name;
  if (p.dentry->unhashed()) name += " (deleted)";
  return name;
}

bool Vfs::Reachable(MountNamespace& ns, const Path& root, const Path& p) {
  bool reached;
  NameFrom(ns, root, p, &reached);
  return reached;
}

}  // namespace sentry
