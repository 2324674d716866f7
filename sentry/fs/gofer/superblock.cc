#include "sentry/fs/gofer/superblock.h"

#include <algorithm>

#include "sentry/fs/gofer/inode.h"
#include "sentry/vfs/dentry.h"

namespace sentry {

namespace wire = gofer::wire;

base::Result<base::Ref<Inode>> MountGofer(base::Ref<gofer::Client> client, uint32_t mount_id,
                                          std::string type, std::string source) {
  gofer::Attached root = TRY(client->Attach(mount_id));
  auto sb =
      base::MakeRef<GoferSuperblock>(std::move(client), root, std::move(type), std::move(source));
  base::MutexLock lock(sb->mu);
  // The superblock holds one reference of the root's node; this is a second owner of it, so it
  // needs none of its own.
  return base::Ref<Inode>(sb->InodeFor(root.attr, root.node, nullptr, ""));
}

GoferNode::~GoferNode() {
  client_->Forget(id_, 1);
  // A deep chain of parents unwinds here instead of recursing.
  base::Ref<GoferNode> p = std::move(parent_);
  while (p && p->RefCount() == 1) p = base::Ref<GoferNode>(std::move(p->parent_));
}

void GoferNode::Learn(wire::NodeId id) {
  if (known()) {
    client_->Forget(id, 1);
  } else {
    id_ = id;
  }
}

base::Result<wire::NodeId> GoferNode::Id() {
  if (!known()) (void)TRY(Walk({}));
  return id_;
}

base::Result<gofer::WalkResult> GoferNode::Walk(std::span<const std::string_view> names,
                                                bool open) {
  absl::InlinedVector<GoferNode*, 16> unknown;  // the deepest first
  GoferNode* top = this;
  for (; !top->known(); top = top->parent_.get()) unknown.push_back(top);
  // As many as fit into a message.
  if (unknown.size() > wire::kMaxWalkNames / 2) {
    const size_t up = unknown.size() - wire::kMaxWalkNames / 2;
    top = unknown[up];
    (void)TRY(top->Id());
    unknown.resize(up);
  }
  absl::InlinedVector<std::string_view, 16> all;
  for (size_t i = unknown.size(); i > 0; i--) all.push_back(unknown[i - 1]->name_);
  all.insert(all.end(), names.begin(), names.end());
  gofer::WalkResult r = TRY(client_->Walk(top->id_, {all.data(), all.size()}, open));
  bool same = r.entries.size() >= unknown.size();
  for (size_t i = 0; i < unknown.size() && i < r.entries.size(); i++) {
    GoferNode& node = *unknown[unknown.size() - 1 - i];
    const wire::WalkEntry& e = r.entries[i];
    same = same && e.node != wire::kNoNode && node.number_ == GoferNumber(e.attr.dev, e.attr.ino);
    if (same) {
      node.Learn(e.node);
    } else {
      client_->Forget(e.node, 1);
    }
  }
  if (!same) {
    for (size_t i = unknown.size(); i < r.entries.size(); i++) {
      client_->Forget(r.entries[i].node, 1);
    }
    if (r.entries.size() < unknown.size() && r.stop == wire::WalkStop::kError) return r.error;
    return abi::Errno::kESTALE;
  }
  r.entries.erase(r.entries.begin(), r.entries.begin() + static_cast<ptrdiff_t>(unknown.size()));
  return r;
}

base::Result<GoferNode::Way> GoferNode::FindWay() {
  Way way = {};
  const GoferNode* top = this;
  for (; !top->known() && way.path.size() < wire::kMaxPathNames; top = top->parent_.get()) {
    way.path.push_back(top->name_);
  }
  if (!top->known()) {
    way.path.clear();
    way.from = TRY(Id());
    return way;
  }
  std::reverse(way.path.begin(), way.path.end());
  way.from = top->id_;
  return way;
}

GoferSuperblock::GoferSuperblock(base::Ref<gofer::Client> client, const gofer::Attached& root,
                                 std::string type, std::string source)
    : Superblock(std::move(type)),
      client_(std::move(client)),
      shared_(root.shared),
      read_only_(root.read_only),
      root_dev_(root.attr.dev),
      source_(std::move(source)),
      reader_flags_(immutable() ? 0 : uint32_t{wire::kListAttributes}) {}

GoferSuperblock::~GoferSuperblock() = default;

base::Ref<GoferNode> GoferSuperblock::NewNode(wire::NodeId id, GoferNumber number) {
  return base::MakeRef<GoferNode>(client_, id, number);
}

base::Result<FsStat> GoferSuperblock::Statfs() {
  wire::Statfs st = TRY(client_->Statfs(root_node_->id()));
  FsStat r;
  r.type = st.type;
  r.bsize = st.bsize;
  r.blocks = st.blocks;
  r.bfree = st.bfree;
  r.bavail = st.bavail;
  r.files = st.files;
  r.ffree = st.ffree;
  r.fsid = st.fsid;
  r.namelen = st.namelen;
  return r;
}

base::Result<void> GoferSuperblock::Sync() { return client_->SyncFs(root_node_->id()); }

bool GoferSuperblock::Revalidate(Dentry& d) {
  if (!shared_) return true;
  base::Ref<Dentry> parent = d.parent();
  if (!parent || d.unhashed()) return true;
  base::Ref<Inode> dir = parent->inode();
  if (&dir->sb() != this) return true;
  std::string name = d.name();
  std::string_view view = name;
  base::MutexLock lock(mu);
  auto node = static_cast<GoferInode&>(*dir).NodeLocked();
  if (!node.ok()) return false;
  auto r = client_->Walk((*node)->id(), {&view, 1});
  if (!r.ok()) return false;
  base::Ref<Inode> inode = d.inode();
  if (r->entries.empty()) return !inode && r->stop == wire::WalkStop::kMissing;
  const wire::WalkEntry& e = r->entries[0];
  client_->Forget(e.node, 1);
  if (!inode) return false;
  auto& g = static_cast<GoferInode&>(*inode);
  if (g.host_dev() != e.attr.dev || g.host_ino() != e.attr.ino) return false;
  base::MutexLock inode_lock(g.mu);
  g.Update(e.attr);
  return true;
}

uint64_t GoferSuperblock::InoFor(GoferNumber number) {
  if (number.first == root_dev_) return number.second;
  // Another host file system inside the mount: its numbers could be those of others here.
  constexpr uint64_t kForeign = uint64_t{1} << 62;
  base::MutexLock lock(table_mu_);
  uint64_t& ino = foreign_[number];
  if (ino == 0) ino = kForeign | NextIno();
  return ino;
}

base::Ref<GoferInode> GoferSuperblock::InodeFor(const Attr& attr, wire::NodeId node_id,
                                                const base::Ref<GoferNode>& dir,
                                                std::string_view name) {
  base::Ref<GoferInode> inode;
  {
    base::MutexLock lock(table_mu_);
    auto it = inodes_.find({attr.dev, attr.ino});
    if (it != inodes_.end() && it->second->TryIncRef()) {
      inode = base::Ref<GoferInode>::Adopt(it->second);
    }
  }
  if (inode && inode->type() != (attr.mode & abi::kS_IFMT)) {
    // The number was given to something else by somebody else.
    ForgetNumber(inode.get());
    inode.reset();
  }
  if (!inode) {
    inode = base::MakeRef<GoferInode>(base::Ref<GoferSuperblock>(this), attr,
                                      InoFor({attr.dev, attr.ino}));
    base::MutexLock lock(table_mu_);
    inodes_[{attr.dev, attr.ino}] = inode.get();
  } else if (shared_) {
    base::MutexLock lock(inode->mu);
    inode->Update(attr);
  }
  if (node_id != wire::kNoNode) {
    if (inode->node_) {
      inode->node_->Learn(node_id);
    } else {
      inode->node_ = NewNode(node_id, inode->number());
    }
  }
  if (dir) {
    inode->AddName(dir, name);
  } else {
    root_node_ = inode->node_;
  }
  return inode;
}

void GoferSuperblock::ForgetNumber(GoferInode* inode) {
  base::MutexLock lock(table_mu_);
  auto it = inodes_.find({inode->host_dev(), inode->host_ino()});
  if (it != inodes_.end() && it->second == inode) inodes_.erase(it);
}

void GoferSuperblock::UnlistIdle(GoferInode* i) {
  (i->idle_prev_ != nullptr ? i->idle_prev_->idle_next_ : idle_first_) = i->idle_next_;
  (i->idle_next_ != nullptr ? i->idle_next_->idle_prev_ : idle_last_) = i->idle_prev_;
  i->idle_next_ = i->idle_prev_ = nullptr;
  i->idle_listed_ = false;
  idle_count_--;
}

void GoferSuperblock::MarkIdle(GoferInode* inode) {
  base::Ref<GoferInode> victim;
  {
    base::MutexLock lock(table_mu_);
    if (inode->idle_listed_) UnlistIdle(inode);
    inode->idle_prev_ = idle_last_;
    (idle_last_ != nullptr ? idle_last_->idle_next_ : idle_first_) = inode;
    idle_last_ = inode;
    inode->idle_listed_ = true;
    idle_count_++;
    if (idle_count_ > kMaxIdle) {
      GoferInode* oldest = idle_first_;
      UnlistIdle(oldest);
      if (oldest->TryIncRef()) victim = base::Ref<GoferInode>::Adopt(oldest);
    }
  }
  if (victim) victim->DropBacking(true);
}

void GoferSuperblock::Gone(GoferInode* inode) {
  base::MutexLock lock(table_mu_);
  if (inode->idle_listed_) UnlistIdle(inode);
  auto it = inodes_.find({inode->host_dev(), inode->host_ino()});
  if (it != inodes_.end() && it->second == inode) inodes_.erase(it);
}

}  // namespace sentry
