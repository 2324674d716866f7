// Private to sentry/fs/gofer.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "gofer/client/client.h"
#include "sentry/fs/gofer/gofer_fs.h"
#include "sentry/fs/gofer/listing.h"
#include "sentry/vfs/inode.h"

namespace sentry {

class GoferInode;

// A directory (or an object that lost its name) as the gofer knows it; holds a reference of its
// node, given back with the object. Where names never change the node is asked for when a message
// needs it. All but the constructor under the superblock's mu.
class GoferNode : public base::RefCounted {
 public:
  GoferNode(base::Ref<gofer::Client> client, gofer::wire::NodeId id, GoferNumber number)
      : client_(std::move(client)), number_(number), id_(id) {}
  GoferNode(base::Ref<gofer::Client> client, base::Ref<GoferNode> parent, std::string_view name,
            GoferNumber number)
      : client_(std::move(client)), number_(number), parent_(std::move(parent)), name_(name) {}
  ~GoferNode() override;
  base::Result<gofer::wire::NodeId> Id();
  // Walks names from here; the nodes on the way here are asked for with it. At most
  // wire::kMaxWalkNames / 2 names.
  base::Result<gofer::WalkResult> Walk(std::span<const std::string_view> names, bool open = false);
  // How to name this directory to the gofer. Views of this node and of those above.
  struct Way {
    gofer::wire::NodeId from;
    absl::InlinedVector<std::string_view, 8> path;
    gofer::Place place() const { return {from, {path.data(), path.size()}}; }
  };
  base::Result<Way> FindWay();
  // Only behind Id().
  gofer::wire::NodeId id() const { return id_; }
  bool known() const { return id_ != gofer::wire::kNoNode; }
  // Takes over a reference.
  void Learn(gofer::wire::NodeId id);
  const GoferNumber& number() const { return number_; }
  // Of one that was not asked for at first; else null.
  const base::Ref<GoferNode>& parent() const { return parent_; }
  const std::string& name() const { return name_; }

 private:
  const base::Ref<gofer::Client> client_;
  const GoferNumber number_;
  base::Ref<GoferNode> parent_;
  const std::string name_;
  gofer::wire::NodeId id_ = gofer::wire::kNoNode;
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
  // Nobody changes it, neither here nor elsewhere.
  bool immutable() const { return read_only_ && !shared_; }

  // The tree: the names and nodes of all inodes, and every message that goes by a name, so that no
  // name changes its object between look-up and use.
  base::Mutex<base::LockClass::kSuperblock> mu;

  // The inode of an object that the gofer has told about, found or made. node: a reference of its
  // node that the caller owns, or kNoNode. dir may be null (the root).
  base::Ref<GoferInode> InodeFor(const Attr& attr, gofer::wire::NodeId node,
                                 const base::Ref<GoferNode>& dir, std::string_view name)
      REQUIRES_LOCK(mu);
  base::Ref<GoferNode> NewNode(gofer::wire::NodeId id, GoferNumber number);
  // The inode number that the guest sees.
  uint64_t InoFor(GoferNumber number);

  // Null if there is none.
  GoferListing* FindListing(GoferNumber dir) REQUIRES_LOCK(mu);
  // With these entries so far; null if they are too many to remember.
  GoferListing* NewListing(GoferNumber dir, gofer::DirectoryEntries entries = {}) REQUIRES_LOCK(mu);
  void DropListing(GoferNumber dir) REQUIRES_LOCK(mu);
  // False: too much is remembered already; the listing is dropped.
  bool AddToListing(GoferNumber dir, const gofer::DirectoryEntries& entries) REQUIRES_LOCK(mu);
  void NameAppeared(GoferNumber dir, std::string_view name) REQUIRES_LOCK(mu);
  void NameVanished(GoferNumber dir, std::string_view name) REQUIRES_LOCK(mu);

  // Immutable mounts only, down to OpenAhead. Asks for the listing of a directory; a reader of
  // directories gets those that a walk of the whole tree comes to next as well, if this looks like
  // one, and attributes if those of the last ones were of use. It may be too large: then there is
  // none.
  enum class Want { kNames, kAttributes, kReader };
  base::Result<void> FetchListing(GoferInode& dir, Want want) REQUIRES_LOCK(mu);
  // What a reader of directories asks for, as wire::ListFlags.
  uint32_t reader_flags() const REQUIRES_LOCK(mu) { return reader_flags_; }
  // Entry `at` of a directory that is looked at has no attributes: perhaps asks for those of the
  // whole directory, or, if it is to be opened, for the file and those that probably come next.
  base::UniqueFd LearnAttr(const base::Ref<GoferNode>& dir, GoferListing& l, size_t at, bool open)
      REQUIRES_LOCK(mu);
  // Those of a file were of use.
  void UsedAttr() REQUIRES_LOCK(mu) { attributes_used_ = true; }
  // Opens a file for reading, together with those that probably come next: those behind it and in
  // directories beside it, if files are being opened in order, or all others of a directory, if
  // many of them were opened. EAGAIN: to be opened by itself.
  base::Result<base::UniqueFd> OpenAhead(GoferInode& file) REQUIRES_LOCK(mu);

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
  static constexpr size_t kMaxListings = 8192;
  static constexpr size_t kMaxDonated = 4 * gofer::wire::kMaxDescriptors;

  void UnlistIdle(GoferInode* inode) REQUIRES_LOCK(table_mu_);
  // Files that one message asks for, in the order of a walk of the tree.
  class OpenRequest;
  base::Result<base::UniqueFd> OpenEntry(const base::Ref<GoferNode>& dir, GoferListing& l,
                                         size_t at) REQUIRES_LOCK(mu);
  void Donate(GoferNumber number, base::UniqueFd fd) REQUIRES_LOCK(mu);

  const base::Ref<gofer::Client> client_;
  const bool shared_;
  const bool read_only_;
  const uint64_t root_dev_;
  const std::string source_;
  base::Ref<GoferNode> root_node_;

  absl::flat_hash_map<GoferNumber, base::Ref<GoferListing>> listings_ GUARDED_BY(mu);
  std::list<GoferNumber> listing_order_ GUARDED_BY(mu);  // the least used first
  size_t listed_names_ GUARDED_BY(mu) = 0;
  uint64_t next_serial_ GUARDED_BY(mu) = 1;
  // How many directories or files a message asks for: grows while the guess is right.
  size_t list_ahead_ GUARDED_BY(mu) = 1;
  size_t open_ahead_ GUARDED_BY(mu) = 1;
  // Since a reader of directories was last told some: attributes of files were asked for.
  bool attributes_used_ GUARDED_BY(mu) = false;
  uint32_t reader_flags_ GUARDED_BY(mu);
  // Opened ahead and not wanted yet, the oldest first.
  struct Donated {
    base::UniqueFd fd;
    std::list<GoferNumber>::iterator order;
  };
  absl::flat_hash_map<GoferNumber, Donated> donated_ GUARDED_BY(mu);
  std::list<GoferNumber> donated_order_ GUARDED_BY(mu);

  // Destructors take it, so it is a leaf; no reference is dropped under it.
  base::Mutex<base::LockClass::kLeaf> table_mu_;
  absl::flat_hash_map<GoferNumber, GoferInode*> inodes_ GUARDED_BY(table_mu_);
  absl::flat_hash_map<GoferNumber, uint64_t> foreign_ GUARDED_BY(table_mu_);  // of other devices
  GoferInode* idle_first_ GUARDED_BY(table_mu_) = nullptr;
  GoferInode* idle_last_ GUARDED_BY(table_mu_) = nullptr;
  size_t idle_count_ GUARDED_BY(table_mu_) = 0;
};

}  // namespace sentry
