// Listings: what is known of directories, and asking for what a walk of a tree comes to next.
#include <algorithm>

#include "sentry/fs/gofer/inode.h"

namespace sentry {

namespace wire = gofer::wire;

namespace {

bool IsFile(const GoferListing::Entry& e) { return (e.attr.mode & abi::kS_IFMT) == abi::kS_IFREG; }
bool IsDirectory(const GoferListing::Entry& e) {
  return (e.attr.mode & abi::kS_IFMT) == abi::kS_IFDIR;
}

}  // namespace

size_t GoferListing::Find(std::string_view name) const {
  auto it = index_.find(name);
  return it == index_.end() ? kNone : *it;
}

bool GoferListing::Add(Entry e) {
  if (index_.contains(std::string_view(e.name))) return false;
  entries_.push_back(std::move(e));
  index_.insert(static_cast<uint32_t>(entries_.size() - 1));
  return true;
}

void GoferListing::Erase(size_t i) {
  auto last = static_cast<uint32_t>(entries_.size() - 1);
  index_.erase(static_cast<uint32_t>(i));
  if (i != last) {
    index_.erase(last);
    entries_[i] = std::move(entries_[last]);
    index_.insert(static_cast<uint32_t>(i));
  }
  entries_.pop_back();
}

GoferListing* GoferSuperblock::FindListing(GoferNumber dir) {
  auto it = listings_.find(dir);
  if (it == listings_.end()) return nullptr;
  GoferListing* l = it->second.get();
  listing_order_.splice(listing_order_.end(), listing_order_, l->order);
  return l;
}

GoferListing* GoferSuperblock::NewListing(GoferNumber dir) {
  DropListing(dir);
  while (listings_.size() >= kMaxListings) DropListing(listing_order_.front());
  std::unique_ptr<GoferListing>& l = listings_[dir];
  l = std::make_unique<GoferListing>();
  l->serial = next_serial_++;
  l->order = listing_order_.insert(listing_order_.end(), dir);
  return l.get();
}

void GoferSuperblock::DropListing(GoferNumber dir) {
  auto it = listings_.find(dir);
  if (it == listings_.end()) return;
  listed_names_ -= it->second->entries().size();
  listing_order_.erase(it->second->order);
  listings_.erase(it);
}

bool GoferSuperblock::AddToListing(GoferNumber dir, gofer::DirectoryEntry e) {
  while (listed_names_ >= kMaxListedNames && listing_order_.front() != dir) {
    DropListing(listing_order_.front());
  }
  if (listed_names_ >= kMaxListedNames) {
    DropListing(dir);
    return false;
  }
  GoferListing* l = FindListing(dir);
  if (l == nullptr) return false;
  bool fresh = e.attr.mode != 0;
  // Attributes that can change are only worth keeping while nobody can change them: not if there is
  // an inode, nor if another name may lead to one.
  if (fresh && !immutable()) {
    base::MutexLock lock(table_mu_);
    fresh = (e.attr.nlink == 1 || (e.attr.mode & abi::kS_IFMT) == abi::kS_IFDIR) &&
            !inodes_.contains({e.attr.dev, e.attr.ino});
  }
  if (l->Add({.name = std::move(e.name), .attr = e.attr, .type = e.type, .fresh = fresh})) {
    listed_names_++;
  }
  return true;
}

void GoferSuperblock::NameAppeared(GoferNumber dir, std::string_view name) {
  if (immutable()) return;
  GoferListing* l = FindListing(dir);
  if (l == nullptr) return;
  if (size_t i = l->Find(name); i != GoferListing::kNone) {
    l->entries()[i].fresh = false;
    return;
  }
  l->Add({.name = std::string(name), .attr = {}, .type = 0, .fresh = false});
  listed_names_++;
}

void GoferSuperblock::NameVanished(GoferNumber dir, std::string_view name) {
  GoferListing* l = FindListing(dir);
  if (l == nullptr) return;
  size_t i = l->Find(name);
  if (i == GoferListing::kNone) return;
  l->Erase(i);
  listed_names_--;
}

base::Result<void> GoferSuperblock::FetchListing(GoferInode& dir, bool reader) {
  if (dir.names_.empty()) return {};
  const base::Ref<GoferNode> parent = dir.names_[0].dir;
  const std::string name = dir.names_[0].name;
  const wire::NodeId in = TRY(parent->Id());
  absl::InlinedVector<std::string_view, 16> names = {name};
  absl::InlinedVector<GoferNumber, 16> numbers = {dir.number()};
  GoferListing* above = reader ? FindListing(parent->number()) : nullptr;
  size_t most = 1;
  if (above != nullptr && above->complete) {
    most = std::min(4 * list_ahead_, wire::kMaxListed);
    for (size_t i = above->Find(name) + 1; i < above->entries().size() && names.size() < most;
         i++) {
      const GoferListing::Entry& e = above->entries()[i];
      if (!IsDirectory(e)) continue;
      if (listings_.contains({e.attr.dev, e.attr.ino})) continue;
      names.push_back(e.name);
      numbers.push_back({e.attr.dev, e.attr.ino});
    }
  }
  if (reader) list_ahead_ = most;
  std::vector<gofer::ListedDirectory> listed =
      TRY(client_->List(in, {names.data(), names.size()}, most));
  for (gofer::ListedDirectory& d : listed) {
    GoferNumber number;
    if (d.in == wire::kRequested) {
      number = numbers[d.index];
    } else {
      const wire::Attr& a = listed[d.in].entries[d.index].attr;
      number = {a.dev, a.ino};
    }
    if (listings_.contains(number)) continue;
    NewListing(number);
    bool whole = true;
    for (gofer::DirectoryEntry& e : d.entries) {
      whole = AddToListing(number, std::move(e));
      if (!whole) break;
    }
    if (whole) FindListing(number)->complete = true;
  }
  return {};
}

void GoferSuperblock::NextFiles(GoferListing& l, size_t from, size_t most, gofer::OpenGroup* group,
                                std::vector<GoferNumber>* numbers) {
  size_t i = from;
  for (; i < l.entries().size() && numbers->size() < most; i++) {
    const GoferListing::Entry& e = l.entries()[i];
    if (!IsFile(e)) continue;
    group->names.push_back(e.name);
    numbers->push_back({e.attr.dev, e.attr.ino});
  }
  l.next_open = std::max(l.next_open, i);
}

base::Result<base::UniqueFd> GoferSuperblock::OpenAhead(GoferInode& file) {
  if (auto it = donated_.find(file.number()); it != donated_.end()) {
    base::UniqueFd fd = std::move(it->second.fd);
    donated_order_.erase(it->second.order);
    donated_.erase(it);
    return fd;
  }
  if (file.names_.empty()) return abi::Errno::kEAGAIN;
  const base::Ref<GoferNode> dir = file.names_[0].dir;
  GoferListing* l = FindListing(dir->number());
  const size_t at = l != nullptr ? l->Find(file.names_[0].name) : GoferListing::kNone;
  if (at == GoferListing::kNone) return abi::Errno::kEAGAIN;
  auto no_file = [l](size_t from, size_t to) {
    return std::none_of(l->entries().begin() + from, l->entries().begin() + to, IsFile);
  };
  if (no_file(0, at)) l->next_open = 0;  // read from the beginning, perhaps once more
  const bool in_order = at >= l->next_open && no_file(l->next_open, at);
  open_ahead_ = in_order ? std::min(2 * open_ahead_, wire::kMaxDescriptors)
                         : std::max<size_t>(open_ahead_ / 2, 1);
  const size_t most = in_order ? open_ahead_ : 1;

  const base::Ref<GoferNode>& parent = dir->parent();
  const wire::NodeId in = parent ? TRY(parent->Id()) : TRY(dir->Id());
  std::vector<gofer::OpenGroup> groups(1);
  std::vector<GoferNumber> numbers;
  if (parent) groups[0].directory = dir->name();
  NextFiles(*l, at, most, &groups[0], &numbers);
  // A walk of the tree goes on with the next directory, unless there are some in this one.
  GoferListing* above = parent ? FindListing(parent->number()) : nullptr;
  size_t i = above != nullptr ? above->Find(dir->name()) : GoferListing::kNone;
  while (i != GoferListing::kNone && numbers.size() < most &&
         std::none_of(l->entries().begin(), l->entries().end(), IsDirectory)) {
    do {
      if (++i >= above->entries().size()) break;
    } while (!IsDirectory(above->entries()[i]));
    if (i >= above->entries().size()) break;
    const GoferListing::Entry& next = above->entries()[i];
    l = FindListing({next.attr.dev, next.attr.ino});
    if (l == nullptr || !l->complete) break;
    gofer::OpenGroup group;
    group.directory = next.name;
    if (l->next_open >= l->entries().size()) l->next_open = 0;
    NextFiles(*l, l->next_open, most, &group, &numbers);
    if (!group.names.empty()) groups.push_back(std::move(group));
  }

  std::vector<gofer::OpenedFile> opened = TRY(client_->OpenMany(in, groups));
  for (size_t k = 1; k < opened.size(); k++) {
    gofer::OpenedFile& f = opened[k];
    if (!f.fd.valid() || numbers[k] != GoferNumber(f.dev, f.ino)) continue;
    if (donated_.contains(numbers[k])) continue;
    auto order = donated_order_.insert(donated_order_.end(), numbers[k]);
    donated_.try_emplace(numbers[k], Donated{std::move(f.fd), order});
  }
  while (donated_order_.size() > kMaxDonated) {
    donated_.erase(donated_order_.front());
    donated_order_.pop_front();
  }
  gofer::OpenedFile& first = opened[0];
  if (!first.fd.valid()) return first.error;
  if (file.number() != GoferNumber(first.dev, first.ino)) return abi::Errno::kESTALE;
  return std::move(first.fd);
}

}  // namespace sentry
