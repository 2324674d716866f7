// Listings: what is known of directories.
#include "sentry/fs/gofer/listing.h"

#include "sentry/fs/gofer/inode.h"
#include "syscalls/abi/dirent.h"

namespace sentry {

void GoferListing::Index() {
  if (index_.size() == entries_.size()) return;
  index_.reserve(entries_.size());
  for (size_t i = 0; i < entries_.size(); i++) index_.insert(static_cast<uint32_t>(i));
}

size_t GoferListing::Find(std::string_view name) {
  // Who walks a tree looks names up in the order in which they were told.
  constexpr size_t kNear = 4;
  for (size_t i = last_found_; i < entries_.size() && i < last_found_ + kNear; i++) {
    if (entries_.name(i) == name) return last_found_ = i;
  }
  Index();
  auto it = index_.find(name);
  return it == index_.end() ? kNone : last_found_ = *it;
}

void GoferListing::Add(std::string_view name, uint8_t type, uint64_t ino) {
  const bool indexed = !index_.empty();
  entries_.Add(name, type, ino);
  if (indexed) index_.insert(static_cast<uint32_t>(entries_.size() - 1));
}

void GoferListing::Erase(size_t i) {
  auto last = static_cast<uint32_t>(entries_.size() - 1);
  Index();
  index_.erase(static_cast<uint32_t>(i));
  if (i != last) index_.erase(last);
  entries_.Remove(i);
  if (i != last) index_.insert(static_cast<uint32_t>(i));
}

void GoferListing::Learn(const gofer::DirectoryEntries& told) {
  for (size_t i = 0; i < told.size(); i++) {
    if (told.attr(i) == nullptr) continue;
    if (size_t at = Find(told.name(i)); at != kNone) entries_.SetAttr(at, *told.attr(i));
  }
}

bool GoferListing::IsFile(size_t i) const { return entries_.type(i) == abi::kDT_REG; }

bool GoferListing::IsDirectory(size_t i) const {
  return entries_.type(i) == abi::kDT_DIR && entries_.attr(i) != nullptr;
}

bool GoferListing::AnyFile(size_t from, size_t to) const {
  for (size_t i = from; i < to; i++) {
    if (IsFile(i)) return true;
  }
  return false;
}

GoferListing* GoferSuperblock::FindListing(GoferNumber dir) {
  auto it = listings_.find(dir);
  if (it == listings_.end()) return nullptr;
  GoferListing* l = it->second.get();
  listing_order_.splice(listing_order_.end(), listing_order_, l->order);
  return l;
}

GoferListing* GoferSuperblock::NewListing(GoferNumber dir, gofer::DirectoryEntries entries) {
  DropListing(dir);
  if (entries.size() > kMaxListedNames) return nullptr;
  while (!listings_.empty() &&
         (listings_.size() >= kMaxListings || listed_names_ + entries.size() > kMaxListedNames)) {
    DropListing(listing_order_.front());
  }
  listed_names_ += entries.size();
  base::Ref<GoferListing>& l = listings_[dir];
  l = base::MakeRef<GoferListing>(std::move(entries));
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

bool GoferSuperblock::AddToListing(GoferNumber dir, const gofer::DirectoryEntries& entries) {
  while (listed_names_ + entries.size() > kMaxListedNames && !listing_order_.empty() &&
         listing_order_.front() != dir) {
    DropListing(listing_order_.front());
  }
  if (listed_names_ + entries.size() > kMaxListedNames) {
    DropListing(dir);
    return false;
  }
  GoferListing* l = FindListing(dir);
  if (l == nullptr) return false;
  for (size_t i = 0; i < entries.size(); i++) {
    if (l->Find(entries.name(i)) != GoferListing::kNone) continue;
    l->Add(entries.name(i), entries.type(i), entries.ino(i));
    listed_names_++;
    const Attr* attr = entries.attr(i);
    if (attr == nullptr) continue;
    // Attributes that can change are only worth keeping while nobody can change them: not if there
    // is an inode, nor if another name may lead to one.
    if (!immutable()) {
      if (attr->nlink != 1 && (attr->mode & abi::kS_IFMT) != abi::kS_IFDIR) continue;
      base::MutexLock lock(table_mu_);
      if (inodes_.contains({attr->dev, attr->ino})) continue;
    }
    l->entries().SetAttr(l->entries().size() - 1, *attr);
  }
  return true;
}

void GoferSuperblock::NameAppeared(GoferNumber dir, std::string_view name) {
  if (immutable()) return;
  GoferListing* l = FindListing(dir);
  if (l == nullptr) return;
  if (size_t i = l->Find(name); i != GoferListing::kNone) {
    l->entries().ForgetAttr(i);
    return;
  }
  l->Add(name, abi::kDT_UNKNOWN, 0);
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

}  // namespace sentry
