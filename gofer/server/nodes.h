// NodeTable: the directories (and pinned files) that the client holds references of. Descriptors
// are O_PATH and bounded: those of directories that were not used for long are closed, and opened
// again from the parent when needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "gofer/wire/messages.h"
#include "platform/base/fd.h"

namespace gofer {

struct ServedMount {
  uint32_t id = 0;
  // O_PATH of the root directory; if file_name is set, of the directory that holds the one file
  // that is served.
  base::UniqueFd root;
  std::string file_name;
  bool read_only = false;
  bool shared = false;  // others change it too
};

struct Node {
  wire::NodeId id = wire::kNoNode;
  ServedMount* mount = nullptr;
  // O_PATH descriptor of the object, or -1 while evicted. For the root of a mount of one file: of
  // the directory around it.
  base::UniqueFd fd;
  Node* parent = nullptr;  // null for roots and pinned nodes
  std::string name;        // in parent; of a file root: the file
  uint64_t dev = 0, ino = 0;
  uint64_t references = 0;  // the client's
  uint64_t children = 0;    // nodes whose parent this is
  bool directory = false;
  bool evictable = false;
  Node* newer = nullptr;  // evictable nodes with a descriptor form a list
  Node* older = nullptr;
};

class NodeTable {
 public:
  // max_fds: evictable descriptors held at a time. max_nodes: nodes.
  NodeTable(size_t max_fds, size_t max_nodes);

  // Null if there is none.
  Node* Find(wire::NodeId id);
  // The directory (dev, ino) as reached through this mount; another mount of the same directory has
  // its own node and rights.
  Node* FindObject(const ServedMount* mount, uint64_t dev, uint64_t ino);

  // A new node with one reference; null when the table is full. A directory with a parent is
  // evictable. FindObject finds directories only.
  Node* Add(ServedMount* mount, base::UniqueFd fd, bool directory, uint64_t dev, uint64_t ino,
            Node* parent, std::string_view name);
  // The descriptor, opened again if need be, or -errno (-ESTALE: somebody put something else in its
  // place). Valid until the next but one call of Fd.
  int Fd(Node* node);
  // Takes references back; a node without any, and without children, is gone. False: more than were
  // given out.
  bool Drop(Node* node, uint64_t references);
  // The object was removed from its directory: it lives by its descriptor from now on. The
  // descriptor must be open.
  void Pin(Node* node);
  void Moved(Node* node, Node* parent, std::string_view name);
  // Closes up to n descriptors that can be had again; false if there were none.
  bool Evict(size_t n);
  size_t size() const { return nodes_.size(); }
  size_t open_fds() const { return open_fds_; }

 private:
  void Detach(Node* node);
  void Attach(Node* node);

  void MaybeFree(Node* node);

  const size_t max_fds_;
  const size_t max_nodes_;
  wire::NodeId next_id_ = 1;
  size_t open_fds_ = 0;  // of evictable nodes
  absl::flat_hash_map<wire::NodeId, std::unique_ptr<Node>> nodes_;
  absl::flat_hash_map<std::tuple<const ServedMount*, uint64_t, uint64_t>, Node*> objects_;
  Node* newest_ = nullptr;
  Node* oldest_ = nullptr;
};

}  // namespace gofer
