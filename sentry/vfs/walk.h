// The path walk (fs/namei.c): internal to sentry/vfs.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "sentry/vfs/vfs.h"

namespace sentry {

// One step below dir: the cached dentry or what the file system says; possibly negative.
base::Result<base::Ref<Dentry>> LookupChild(const Creds& creds, const base::Ref<Dentry>& dir,
                                            std::string_view name, const LookupHint& hint = {});
// The same for a caller that holds dir->dir_mu.
base::Result<base::Ref<Dentry>> LookupChildLocked(const Creds& creds, const base::Ref<Dentry>& dir,
                                                  std::string_view name,
                                                  const LookupHint& hint = {})
    REQUIRES_LOCK(dir->dir_mu);

class Walker {
 public:
  Walker(const VfsContext& ctx, StartAt start, std::string_view path, ResolveFlags flags);

  // Everything but the last component: then at() is a directory that may be searched and last() the
  // component, or last() is empty and at() is the place itself ("/", or the end of a magic link).
  base::Result<void> ToParent();
  // The last component behind ToParent(), following links as the flags say. A missing name is
  // ENOENT.
  base::Result<void> Finish();
  // Puts the link in front of what remains; ToParent() goes on from there. last() was the link.
  base::Result<void> FollowLink(const base::Ref<Dentry>& link);
  // FollowLink() of the last component (may_follow_link()). EACCES.
  base::Result<void> FollowLast(const base::Ref<Dentry>& link);
  // What last() names below at(); possibly negative. EAGAIN: RESOLVE_CACHED, and it is not known.
  base::Result<base::Ref<Dentry>> Child();
  // Steps to "." or "..".
  base::Result<void> DotDot();
  // Moves to child of at(), into what is mounted there.
  base::Result<void> Enter(base::Ref<Dentry> child);

  // What the path leads to will be opened for reading: a hint for file systems.
  void set_open_read(bool on) { open_read_ = on; }
  LookupHint hint() const { return {rest_, open_read_ && outer_.empty()}; }

  Path& at() { return at_; }
  std::string_view last() const { return last_; }
  bool last_is_dot() const { return last_ == "." || last_ == ".."; }
  // A slash behind the last component: it must be a directory.
  bool trailing_slash() const { return trailing_; }
  bool must_be_dir() const { return must_dir_ || trailing_; }
  bool follow() const { return flags_.follow || trailing_; }
  ResolveFlags& flags() { return flags_; }

 private:
  base::Result<void> Begin();
  const VfsContext& ctx_;
  ResolveFlags flags_;
  const Path* start_;
  const Path* root_;
  Path at_;
  bool begun_ = false, trailing_ = false, must_dir_ = false, open_read_ = false;
  int links_ = 0;
  std::string_view rest_, last_;
  // What follows the links being walked, outermost first, and the texts of those links.
  absl::InlinedVector<std::string_view, 4> outer_;
  absl::InlinedVector<std::unique_ptr<std::string>, 2> texts_;
};

}  // namespace sentry
