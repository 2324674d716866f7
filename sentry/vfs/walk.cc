#include "sentry/vfs/walk.h"

namespace sentry {
namespace {

constexpr int kMaxLinks = 40;
constexpr size_t kNameMax = 255;

std::string_view SkipSlashes(std::string_view s) {
  size_t i = 0;
  while (i < s.size() && s[i] == '/') i++;
  return s.substr(i);
}

}  // namespace

base::Result<base::Ref<Dentry>> LookupChildLocked(const Creds& creds, const base::Ref<Dentry>& dir,
                                                  std::string_view name, const LookupHint& hint) {
  Superblock& sb = dir->inode()->sb();
  if (base::Ref<Dentry> c = dir->FindChild(name)) {
    if (sb.Revalidate(*c)) return c;
    dir->DropChild(name);
  }
  if (name.size() > kNameMax) return abi::Errno::kENAMETOOLONG;
  if (dir->unhashed()) return abi::Errno::kENOENT;  // IS_DEADDIR
  base::Result<base::Ref<Inode>> r = dir->inode()->LookupAhead(creds, name, hint);
  if (r.ok()) return dir->AddChild(name, std::move(*r));
  if (r.is(abi::Errno::kENOENT) && sb.has_negatives()) return dir->AddChild(name, nullptr);
  return r.error();
}

base::Result<base::Ref<Dentry>> LookupChild(const Creds& creds, const base::Ref<Dentry>& dir,
                                            std::string_view name, const LookupHint& hint) {
  if (base::Ref<Dentry> c = dir->FindChild(name)) {
    if (dir->inode()->sb().Revalidate(*c)) return c;
  }
  base::MutexLock l(dir->dir_mu);
  return LookupChildLocked(creds, dir, name, hint);
}

Walker::Walker(const VfsContext& ctx, StartAt start, std::string_view path, ResolveFlags flags)
    : ctx_(ctx),
      flags_(flags),
      start_(start != nullptr ? start : &ctx.cwd),
      root_(&ctx.root),
      rest_(path) {
  if (flags_.beneath || flags_.in_root) root_ = start_;
}

base::Result<void> Walker::Begin() {
  begun_ = true;
  if (rest_.empty()) {
    if (!flags_.empty_path) return abi::Errno::kENOENT;
    at_ = *start_;
    return {};
  }
  if (rest_.size() >= kPathMax) return abi::Errno::kENAMETOOLONG;
  if (rest_[0] == '/') {
    if (flags_.beneath) return abi::Errno::kEXDEV;
    at_ = *root_;
    return {};
  }
  at_ = *start_;
  if (!at_.dentry->inode()->is_dir()) return abi::Errno::kENOTDIR;
  return {};
}

base::Result<base::Ref<Dentry>> Walker::Child() {
  if (flags_.cached) {
    base::Ref<Dentry> c = at_.dentry->FindChild(last_);
    if (!c || c->negative() || !c->inode()->sb().Revalidate(*c)) return abi::Errno::kEAGAIN;
    return c;
  }
  return LookupChild(ctx_.creds, at_.dentry, last_, hint());
}

base::Result<void> Walker::Enter(base::Ref<Dentry> child) {
  at_.dentry = std::move(child);
  if (at_.dentry->mounted()) {
    Path p = ctx_.mounts.FollowMounts(at_);
    if (flags_.no_xdev && !(p.mount == at_.mount)) return abi::Errno::kEXDEV;
    at_ = std::move(p);
  }
  return {};
}

base::Result<void> Walker::DotDot() {
  for (;;) {
    if (at_ == *root_) return flags_.beneath ? abi::Errno::kEXDEV : abi::Errno::kOk;
    if (!(at_.dentry == at_.mount->root())) break;
    if (!ctx_.mounts.FollowUp(&at_)) return {};
    if (flags_.no_xdev) return abi::Errno::kEXDEV;
  }
  base::Ref<Dentry> parent = at_.dentry->parent();
  if (!parent) return {};
  return Enter(std::move(parent));
}

base::Result<void> Walker::FollowLink(const base::Ref<Dentry>& link) {
  if (++links_ > kMaxLinks || flags_.no_symlinks) return abi::Errno::kELOOP;
  if ((at_.mount->flags() & abi::kMS_NOSYMFOLLOW) != 0) return abi::Errno::kELOOP;
  if (trailing_) must_dir_ = true;
  trailing_ = false;
  Inode& inode = *link->inode();
  if (MagicLink::Is(inode)) {
    if (flags_.no_magiclinks) return abi::Errno::kELOOP;
    // nd_jump_link(): a jump out of the tree would defeat the scoped lookups.
    if (flags_.beneath || flags_.in_root) return abi::Errno::kEXDEV;
    Path to = TRY(static_cast<MagicLink&>(inode).Target(ctx_));
    if (flags_.no_xdev && !(to.mount == at_.mount)) return abi::Errno::kEXDEV;
    at_ = std::move(to);
    last_ = {};
    return {};
  }
  auto text = std::make_unique<std::string>(TRY(inode.Readlink(ctx_.creds)));
  if (text->empty()) return abi::Errno::kENOENT;
  std::string_view after = SkipSlashes(rest_);
  if (!after.empty()) outer_.push_back(after);
  rest_ = *text;
  texts_.push_back(std::move(text));
  if (rest_[0] == '/') {
    if (flags_.beneath) return abi::Errno::kEXDEV;
    if (flags_.no_xdev && !(root_->mount == at_.mount)) return abi::Errno::kEXDEV;
    at_ = *root_;
  }
  return {};
}

base::Result<void> Walker::FollowLast(const base::Ref<Dentry>& link) {
  const uint32_t owner = link->inode()->perm().uid;
  if (owner != ctx_.creds.fsuid && Vfs::protected_symlinks.load(std::memory_order_relaxed) != 0) {
    constexpr uint32_t kShared = abi::kS_ISVTX | abi::kS_IWOTH;
    const Inode::Perm dir = at_.dentry->inode()->perm();
    if ((dir.mode & kShared) == kShared && dir.uid != owner) return abi::Errno::kEACCES;
  }
  return FollowLink(link);
}

base::Result<void> Walker::ToParent() {
  if (!begun_) TRY(Begin());
  for (;;) {
    rest_ = SkipSlashes(rest_);
    if (rest_.empty()) {
      if (outer_.empty()) {
        last_ = {};
        return {};
      }
      rest_ = outer_.back();
      outer_.pop_back();
      continue;
    }
    // may_lookup().
    Inode& dir = *at_.dentry->inode();
    if (!dir.is_dir()) return abi::Errno::kENOTDIR;
    TRY(dir.Permission(ctx_.creds, kMayExec));
    size_t slash = rest_.find('/');
    last_ = rest_.substr(0, slash);
    rest_ = slash == std::string_view::npos ? std::string_view() : rest_.substr(slash);
    if (SkipSlashes(rest_).empty() && outer_.empty()) {
      trailing_ = !rest_.empty();
      rest_ = {};
      return {};
    }
    if (last_ == ".") continue;
    if (last_ == "..") {
      TRY(DotDot());
      continue;
    }
    base::Ref<Dentry> child = TRY(Child());
    if (child->negative()) return abi::Errno::kENOENT;
    if (child->inode()->is_symlink() && !child->mounted()) {
      TRY(FollowLink(child));
    } else {
      TRY(Enter(std::move(child)));
    }
  }
}

base::Result<void> Walker::Finish() {
  for (;;) {
    if (last_.empty() || last_ == ".") break;
    if (last_ == "..") {
      TRY(DotDot());
      break;
    }
    base::Ref<Dentry> child = TRY(Child());
    if (child->negative()) return abi::Errno::kENOENT;
    if (!child->inode()->is_symlink() || child->mounted() || !follow()) {
      TRY(Enter(std::move(child)));
      break;
    }
    TRY(FollowLast(child));
    TRY(ToParent());
  }
  if ((must_be_dir() || flags_.directory) && !at_.dentry->inode()->is_dir())
    return abi::Errno::kENOTDIR;
  return {};
}

base::Result<Path> Vfs::Resolve(const VfsContext& ctx, StartAt start, std::string_view path,
                                ResolveFlags flags) {
  Walker w(ctx, start, path, flags);
  TRY(w.ToParent());
  TRY(w.Finish());
  return std::move(w.at());
}

base::Result<Vfs::Parent> Vfs::ResolveParent(const VfsContext& ctx, StartAt start,
                                             std::string_view path, ResolveFlags flags) {
  Walker w(ctx, start, path, flags);
  TRY(w.ToParent());
  return Parent{w.at(), std::string(w.last()), w.trailing_slash()};
}

}  // namespace sentry
