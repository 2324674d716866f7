#include "sentry/vfs/dentry.h"

#include <vector>

#include "sentry/vfs/watches.h"
#include "syscalls/abi/inotify.h"

namespace sentry {
namespace {

// All dentries of the sandbox. Beyond kMaxDentries whoever adds one drops those that were not used
// since the last pass.
std::atomic<uint64_t> dentry_count{0};
std::atomic<bool> shrinking{false};
constexpr uint64_t kMaxDentries = 32768;

}  // namespace

Dentry::Dentry(base::Ref<Dentry> parent, std::string name, base::Ref<Inode> inode)
    : inode_(std::move(inode)), parent_(std::move(parent)), name_(std::move(name)) {
  dentry_count.fetch_add(1, std::memory_order_relaxed);
}

Dentry::~Dentry() {
  dentry_count.fetch_sub(1, std::memory_order_relaxed);
  if (inode_ && unhashed() && inode_->watches() != nullptr) {
    // dentry_unlink_inode(): the last name's last user is gone.
    base::Result<Kstat> st = inode_->Getattr();
    if (!st.ok() || st->nlink == 0 || inode_->is_dir())
      inode_->watches()->FireGone(abi::kIN_DELETE_SELF);
  }
  // A deep chain of parents unwinds here instead of recursing.
  base::Ref<Dentry> p;
  {
    base::MutexLock l(mu_);
    p = std::move(parent_);
  }
  while (p && p->RefCount() == 1) {
    base::Ref<Dentry> next;
    {
      base::MutexLock l(p->mu_);
      next = std::move(p->parent_);
    }
    p = std::move(next);
  }
}

base::Ref<Dentry> Dentry::NewUnhashed(base::Ref<Dentry> parent, std::string name,
                                      base::Ref<Inode> inode) {
  base::Ref<Dentry> d = base::MakeRef<Dentry>(std::move(parent), std::move(name), std::move(inode));
  d->unhashed_.store(true, std::memory_order_release);
  return d;
}

base::Ref<Dentry> Dentry::parent() const {
  base::MutexLock l(mu_);
  return parent_;
}

std::string Dentry::name() const {
  base::MutexLock l(mu_);
  return name_;
}

base::Ref<Dentry> Dentry::FindChild(std::string_view name) {
  base::MutexLock l(mu_);
  auto it = children_.find(name);
  if (it == children_.end()) return nullptr;
  Dentry* d = it->second.get();
  if (!d->used_.load(std::memory_order_relaxed)) d->used_.store(true, std::memory_order_relaxed);
  return it->second;
}

base::Ref<Dentry> Dentry::AddChild(std::string_view name, base::Ref<Inode> inode) {
  base::Ref<Dentry> made =
      base::MakeRef<Dentry>(base::Ref<Dentry>(this), std::string(name), std::move(inode));
  const bool cached = inode_->sb().cache_dentries();
  base::Ref<Dentry> old;  // dropped without the lock
  {
    base::MutexLock l(mu_);
    auto it = children_.find(name);
    if (it != children_.end()) {
      if (!it->second->negative() || made->negative()) return it->second;
      old = std::move(it->second);
      old->unhashed_.store(true, std::memory_order_release);
      it->second = made;
    } else if (cached) {
      children_.emplace(std::string(name), made);
    }
  }
  if (dentry_count.load(std::memory_order_relaxed) > kMaxDentries &&
      !shrinking.exchange(true, std::memory_order_acquire)) {
    base::Ref<Dentry> top(this);
    while (base::Ref<Dentry> p = top->parent()) top = std::move(p);
    top->Shrink();
    shrinking.store(false, std::memory_order_release);
  }
  return made;
}

void Dentry::Erase(std::string_view name, base::Ref<Dentry>* dropped) {
  base::MutexLock l(mu_);
  auto it = children_.find(name);
  if (it == children_.end()) return;
  *dropped = std::move(it->second);
  children_.erase(it);
}

void Dentry::DropChild(std::string_view name) {
  base::Ref<Dentry> old;
  Erase(name, &old);
  if (old) old->unhashed_.store(true, std::memory_order_release);
}

void Dentry::Pin(const base::Ref<Dentry>& child) {
  std::string name = child->name();
  base::MutexLock l(mu_);
  children_.try_emplace(std::move(name), child);
}

void Dentry::Shrink(bool all) {
  // Depth first without recursion: a directory's children are dropped before itself, since they
  // hold it.
  struct Level {
    base::Ref<Dentry> dir;
    std::vector<base::Ref<Dentry>> todo;
  };
  std::vector<Level> stack;
  auto enter = [&stack](base::Ref<Dentry> d) {
    Level lv{std::move(d), {}};
    {
      base::MutexLock l(lv.dir->mu_);
      for (auto& [name, c] : lv.dir->children_) {
        if (c->inode_ && c->inode_->is_dir()) lv.todo.push_back(c);
      }
    }
    stack.push_back(std::move(lv));
  };
  enter(base::Ref<Dentry>(this));
  while (!stack.empty()) {
    Level& lv = stack.back();
    if (!lv.todo.empty()) {
      base::Ref<Dentry> next = std::move(lv.todo.back());
      lv.todo.pop_back();
      enter(std::move(next));
      continue;
    }
    std::vector<base::Ref<Dentry>> dropped;
    {
      base::MutexLock l(lv.dir->mu_);
      for (auto it = lv.dir->children_.begin(); it != lv.dir->children_.end();) {
        Dentry* c = it->second.get();
        const bool used = c->used_.exchange(false, std::memory_order_relaxed);
        if (c->RefCount() == 1 && (all || !used) && !(c->inode_ && c->inode_->pinned())) {
          dropped.push_back(std::move(it->second));
          lv.dir->children_.erase(it++);
        } else {
          ++it;
        }
      }
    }
    stack.pop_back();
  }
}

void Dentry::Move(const base::Ref<Dentry>& child, const base::Ref<Dentry>& from,
                  std::string_view old_name, const base::Ref<Dentry>& to,
                  std::string_view new_name) {
  base::Ref<Dentry> self, replaced, old_parent;
  from->Erase(old_name, &self);
  to->Erase(new_name, &replaced);
  if (replaced) replaced->unhashed_.store(true, std::memory_order_release);
  {
    base::MutexLock l(child->mu_);
    old_parent = std::move(child->parent_);
    child->parent_ = to;
    child->name_ = std::string(new_name);
  }
  if (self) to->Pin(child);
}

void Dentry::Exchange(const base::Ref<Dentry>& a, const base::Ref<Dentry>& a_dir,
                      std::string_view a_name, const base::Ref<Dentry>& b,
                      const base::Ref<Dentry>& b_dir, std::string_view b_name) {
  base::Ref<Dentry> x, y;
  a_dir->Erase(a_name, &x);
  b_dir->Erase(b_name, &y);
  auto place = [](Dentry& d, const base::Ref<Dentry>& dir, std::string_view name) {
    base::Ref<Dentry> old = dir;
    base::MutexLock l(d.mu_);
    std::swap(d.parent_, old);
    d.name_ = std::string(name);
  };
  place(*a, b_dir, b_name);
  place(*b, a_dir, a_name);
  b_dir->Pin(a);
  a_dir->Pin(b);
}

}  // namespace sentry
