// Private to sentry/fs/gofer.
#pragma once

#include <list>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "gofer/client/entries.h"
#include "platform/base/ref.h"

namespace sentry {

// The host's device and inode number.
using GoferNumber = std::pair<uint64_t, uint64_t>;

// The names of a directory as the gofer told them, exclusive mounts only. In a complete listing a
// name that isn't there does not exist. Attributes, where they are known, are what the object has.
// Where nothing changes names stay in the host's order, and attributes stay; elsewhere they are
// forgotten with the first inode, whose changes they would miss. All under the superblock's mu.
class GoferListing : public base::RefCounted {
 public:
  explicit GoferListing(gofer::DirectoryEntries e)
      : entries_(std::move(e)), index_(0, Hash{&entries_}, Equal{&entries_}) {}

  static constexpr size_t kNone = SIZE_MAX;
  // kNone if it isn't there.
  size_t Find(std::string_view name);
  void Add(std::string_view name, uint8_t type, uint64_t ino);
  void Erase(size_t i);
  // Attributes from another telling of the same directory.
  void Learn(const gofer::DirectoryEntries& told);
  bool IsFile(size_t i) const;
  // Known to be one, with attributes.
  bool IsDirectory(size_t i) const;
  GoferNumber number(size_t i) const { return {entries_.attr(i)->dev, entries_.attr(i)->ino}; }
  bool AnyFile(size_t from, size_t to) const;

  gofer::DirectoryEntries& entries() { return entries_; }
  const gofer::DirectoryEntries& entries() const { return entries_; }

  uint64_t serial = 0;
  bool complete = false;
  size_t unknown_asked = 0;  // how often attributes were wanted that weren't known
  std::list<GoferNumber>::iterator order;

  // For opening ahead. `opened`, made on demand: entries whose files were opened or donated;
  // open_count of them, out of `files`. Behind next_open there are none, as far as they are read in
  // order.
  std::vector<bool> opened;
  size_t open_count = 0, files = 0, next_open = 0;

 private:
  void Index();

  struct Hash {
    using is_transparent = void;
    const gofer::DirectoryEntries* entries;
    size_t operator()(std::string_view s) const {
      return absl::Hash<absl::string_view>()({s.data(), s.size()});
    }
    size_t operator()(uint32_t i) const { return (*this)(entries->name(i)); }
  };
  struct Equal {
    using is_transparent = void;
    const gofer::DirectoryEntries* entries;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t a, std::string_view b) const { return entries->name(a) == b; }
    bool operator()(std::string_view a, uint32_t b) const { return entries->name(b) == a; }
  };
  gofer::DirectoryEntries entries_;
  // Made by the first look-up that goes beyond the neighbours of the last one.
  absl::flat_hash_set<uint32_t, Hash, Equal> index_;
  size_t last_found_ = 0;
};

}  // namespace sentry
