#include "gofer/server/nodes.h"

#include <fcntl.h>
#include <linux/stat.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "platform/base/log.h"
#include "platform/host/file_calls.h"

namespace gofer {

namespace {
uint64_t DeviceOf(const struct statx& st) {
  return uint64_t{st.stx_dev_major} << 32 | st.stx_dev_minor;
}
}  // namespace

NodeTable::NodeTable(size_t max_fds, size_t max_nodes)
    : max_fds_(std::max<size_t>(max_fds, 4)), max_nodes_(max_nodes) {}

Node* NodeTable::Find(wire::NodeId id) {
  auto it = nodes_.find(id);
  // A node that lives for its children only is none of the client's any more.
  if (it == nodes_.end() || it->second->references == 0) return nullptr;
  return it->second.get();
}

Node* NodeTable::FindObject(const ServedMount* mount, uint64_t dev, uint64_t ino) {
  auto it = objects_.find({mount, dev, ino});
  return it == objects_.end() ? nullptr : it->second;
}

Node* NodeTable::Add(ServedMount* mount, base::UniqueFd fd, bool directory, uint64_t dev,
                     uint64_t ino, Node* parent, std::string_view name) {
  if (nodes_.size() >= max_nodes_) return nullptr;
  auto owned = std::make_unique<Node>();
  Node* n = owned.get();
  n->id = next_id_++;
  n->mount = mount;
  n->fd = std::move(fd);
  n->parent = parent;
  n->name = name;
  n->dev = dev;
  n->ino = ino;
  n->references = 1;
  n->directory = directory;
  n->evictable = directory && parent != nullptr;
  if (parent != nullptr) parent->children++;
  nodes_.emplace(n->id, std::move(owned));
  if (directory) objects_[{mount, dev, ino}] = n;
  if (n->evictable && n->fd) {
    Attach(n);
    if (open_fds_ > max_fds_) Evict(1);
  }
  return n;
}

void NodeTable::Attach(Node* n) {
  n->older = newest_;
  n->newer = nullptr;
  if (newest_ != nullptr) newest_->newer = n;
  newest_ = n;
  if (oldest_ == nullptr) oldest_ = n;
  open_fds_++;
}

void NodeTable::Detach(Node* n) {
  (n->older != nullptr ? n->older->newer : oldest_) = n->newer;
  (n->newer != nullptr ? n->newer->older : newest_) = n->older;
  n->newer = n->older = nullptr;
  open_fds_--;
}

bool NodeTable::Evict(size_t n) {
  bool any = false;
  // The two newest may be in use by the request at hand.
  while (n-- > 0 && open_fds_ > 2) {
    Node* victim = oldest_;
    Detach(victim);
    victim->fd.reset();
    any = true;
  }
  return any;
}

int NodeTable::Fd(Node* node) {
  if (node->fd) {
    if (node->evictable && newest_ != node) {
      Detach(node);
      Attach(node);
    }
    return node->fd.get();
  }
  // Down from the nearest ancestor that is open. Those in between are opened for the moment only:
  // caching them could close what the caller was given before.
  std::vector<Node*> chain;
  Node* top = node;
  while (!top->fd) {
    chain.push_back(top);
    top = top->parent;
    CHECK(top != nullptr);
  }
  base::UniqueFd held;
  int at = top->fd.get();
  while (!chain.empty()) {
    Node* n = chain.back();
    chain.pop_back();
    int opened = host::OpenBeneath(at, n->name.c_str(), O_PATH | O_DIRECTORY, 0);
    if (opened < 0) return opened == -ENOENT || opened == -ENOTDIR ? -ESTALE : opened;
    base::UniqueFd fd(opened);
    struct statx st;
    if (int r = host::Statx(fd.get(), "", &st); r < 0) return r;
    if (DeviceOf(st) != n->dev || st.stx_ino != n->ino) return -ESTALE;
    held = std::move(fd);
    at = held.get();
  }
  if (open_fds_ >= max_fds_) Evict(1);
  node->fd = std::move(held);
  Attach(node);
  return node->fd.get();
}

bool NodeTable::Drop(Node* node, uint64_t references) {
  if (references > node->references) return false;
  node->references -= references;
  MaybeFree(node);
  return true;
}

void NodeTable::MaybeFree(Node* node) {
  while (node != nullptr && node->references == 0 && node->children == 0) {
    Node* parent = node->parent;
    if (parent != nullptr) parent->children--;
    if (node->evictable && node->fd) Detach(node);
    if (auto it = objects_.find({node->mount, node->dev, node->ino});
        it != objects_.end() && it->second == node) {
      objects_.erase(it);
    }
    nodes_.erase(node->id);
    node = parent;
  }
}

void NodeTable::Pin(Node* node) {
  CHECK(node->fd.valid());
  if (node->evictable) {
    Detach(node);
    node->evictable = false;
  }
  Node* parent = std::exchange(node->parent, nullptr);
  if (parent != nullptr) {
    parent->children--;
    MaybeFree(parent);
  }
}

void NodeTable::Moved(Node* node, Node* parent, std::string_view name) {
  if (node->parent == nullptr) return;
  // What others moved about in a shared mount must not make a circle of what we believe; the node
  // then just stays where it was.
  for (Node* n = parent; n != nullptr; n = n->parent) {
    if (n == node) return;
  }
  node->name = name;
  if (node->parent == parent) return;
  Node* old = std::exchange(node->parent, parent);
  parent->children++;
  old->children--;
  MaybeFree(old);
}

}  // namespace gofer
