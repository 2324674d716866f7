// Private to sentry/fs/gofer.
#pragma once

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "gofer/client/client.h"
#include "sentry/fs/gofer/gofer_fs.h"
#include "sentry/vfs/inode.h"

namespace sentry {

class GoferInode;

// A reference of one of the gofer's nodes, given back with the object.
class GoferNode : public base::RefCounted {
 public:
  GoferNode(base::Ref<gofer::Client> client, gofer::wire::NodeId id)
      : client_(std::move(client)), id_(id) {}
  ~GoferNode() override { client_->Forget(id_); }
  gofer::wire::NodeId id() const { return id_; }

 private:
  const base::Ref<gofer::Client> client_;
  const gofer::wire::NodeId id_;
};

class GoferSuperblock : public Superblock {
 public:
  using Attr = gofer::wire::Attr;

  GoferSuperblock(base::Ref<gofer::Client> client, const gofer::Attached& root, std::string type,
                  std::string source);
  ~GoferSuperblock() override;

  base::Result<FsStat> Statfs() override;
  base::Result<void> Sync() override;
  std::string Source() const override { return source_; }
  bool Revalidate(Dentry& d) override;

  gofer::Client& client() { return *client_; }
  bool shared() const { return shared_; }
  bool read_only() const { return read_only_; }

  // The tree: the names and nodes of all inodes, and every message that goes by a name, so that no
  // name changes its object between look-up and use.
  base::Mutex<base::LockClass::kSuperblock> mu;

  // The inode of an object that the gofer has told about, found or made. node: a reference of its
  // node that the caller owns, or kNoNode. dir may be null (the root).
  base::Ref<GoferInode> InodeFor(const Attr& attr, gofer::wire::NodeId node,
                                 const base::Ref<GoferNode>& dir, std::string_view name)
      REQUIRES_LOCK(mu);
  base::Ref<GoferNode> NewNode(gofer::wire::NodeId id);
  // The inode number that the guest sees.
  uint64_t InoFor(const Attr& attr);

  // Names of a directory as a listing told them, exclusive mounts only: a name without attributes
  // exists, but its inode was made already, and may be gone again; in a complete listing a name
  // that isn't there does not exist.
  struct Listing {
    absl::flat_hash_map<std::string, std::optional<Attr>> names;
    uint64_t serial;
    bool complete = false;
  };
  // Null if there is none.
  Listing* FindListing(gofer::wire::NodeId dir) REQUIRES_LOCK(mu);
  Listing* NewListing(gofer::wire::NodeId dir) REQUIRES_LOCK(mu);
  void DropListing(gofer::wire::NodeId dir) REQUIRES_LOCK(mu);
  // False: too much is remembered already; the listing is dropped.
  bool AddToListing(gofer::wire::NodeId dir, const gofer::DirectoryEntry& e) REQUIRES_LOCK(mu);
  void NameAppeared(gofer::wire::NodeId dir, std::string_view name) REQUIRES_LOCK(mu);
  void NameVanished(gofer::wire::NodeId dir, std::string_view name) REQUIRES_LOCK(mu);

  // The object has no name left: its number may come again.
  void ForgetNumber(GoferInode* inode);
  // The inode holds descriptors, but nobody has it open: keeps the last few of those for the next
  // open.
  void MarkIdle(GoferInode* inode);
  // From the inode's destructor.
  void Gone(GoferInode* inode);

 private:
  static constexpr size_t kMaxIdle = 128;
  static constexpr size_t kMaxListedNames = 32768;
  static constexpr size_t kMaxListings = 256;

  void UnlistIdle(GoferInode* inode) REQUIRES_LOCK(table_mu_);

  const base::Ref<gofer::Client> client_;
  const bool shared_;
  const bool read_only_;
  const uint64_t root_dev_;
  const std::string source_;
  base::Ref<GoferNode> root_node_;

  absl::flat_hash_map<gofer::wire::NodeId, Listing> listings_ GUARDED_BY(mu);
  std::list<gofer::wire::NodeId> listing_order_ GUARDED_BY(mu);  // the oldest first
  size_t listed_names_ GUARDED_BY(mu) = 0;
  uint64_t next_serial_ GUARDED_BY(mu) = 1;

  // Destructors take it, so it is a leaf; no reference is dropped under it.
  base::Mutex<base::LockClass::kLeaf> table_mu_;
  using Number = std::pair<uint64_t, uint64_t>;  // the host's device and inode number
  absl::flat_hash_map<Number, GoferInode*> inodes_ GUARDED_BY(table_mu_);
  absl::flat_hash_map<Number, uint64_t> foreign_ GUARDED_BY(table_mu_);  // of other devices
  GoferInode* idle_first_ GUARDED_BY(table_mu_) = nullptr;
  GoferInode* idle_last_ GUARDED_BY(table_mu_) = nullptr;
  size_t idle_count_ GUARDED_BY(table_mu_) = 0;
};

}  // namespace sentry
