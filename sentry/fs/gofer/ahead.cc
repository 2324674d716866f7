// Asking for what comes next: directories, attributes and files before somebody wants them. Only
// where nothing changes.
#include <algorithm>

#include "sentry/fs/gofer/inode.h"
#include "syscalls/abi/dirent.h"

namespace sentry {

namespace wire = gofer::wire;

base::Result<void> GoferSuperblock::FetchListing(GoferInode& dir, Want want) {
  if (dir.names_.empty()) return {};
  const base::Ref<GoferNode> parent = dir.names_[0].dir;
  const std::string name = dir.names_[0].name;
  const wire::NodeId in = TRY(parent->Id());
  absl::InlinedVector<std::string_view, 16> names = {name};
  absl::InlinedVector<GoferNumber, 16> numbers = {dir.number()};
  uint32_t flags = want == Want::kAttributes ? uint32_t{wire::kListAttributes} : 0;
  size_t most = 1;
  if (want == Want::kReader) {
    GoferListing* above = FindListing(parent->number());
    if (above != nullptr && above->complete) {
      most = std::min(4 * list_ahead_, wire::kMaxListed);
      const size_t n = above->entries().size();
      for (size_t i = above->Find(name) + 1; i < n && names.size() < most; i++) {
        if (!above->IsDirectory(i) || listings_.contains(above->number(i))) continue;
        names.push_back(above->entries().name(i));
        numbers.push_back(above->number(i));
      }
    }
    list_ahead_ = most;
    flags = reader_flags_ =
        std::exchange(attributes_used_, false) ? uint32_t{wire::kListAttributes} : 0;
  }
  std::vector<gofer::ListedDirectory> listed =
      TRY(client_->List(in, {names.data(), names.size()}, most, flags));
  std::vector<GoferNumber> listed_numbers;
  for (const gofer::ListedDirectory& d : listed) {
    if (d.in == wire::kRequested) {
      listed_numbers.push_back(numbers[d.index]);
    } else {
      const wire::Attr& a = *listed[d.in].entries.attr(d.index);
      listed_numbers.push_back({a.dev, a.ino});
    }
  }
  for (size_t i = 0; i < listed.size(); i++) {
    if (listings_.contains(listed_numbers[i])) continue;
    GoferListing* l = NewListing(listed_numbers[i], std::move(listed[i].entries));
    if (l != nullptr) l->complete = true;
  }
  return {};
}

base::UniqueFd GoferSuperblock::LearnAttr(const base::Ref<GoferNode>& dir, GoferListing& l,
                                          size_t at, bool open) {
  if (open && l.IsFile(at)) {
    base::Result<base::UniqueFd> fd = OpenEntry(dir, l, at);
    return fd.ok() ? std::move(*fd) : base::UniqueFd();
  }
  // All of them cost about as much as asking one by one for so many.
  constexpr size_t kAttrsPerMessage = 32;
  UsedAttr();
  if (++l.unknown_asked != std::max<size_t>(l.entries().size() / kAttrsPerMessage, 2)) return {};
  base::Result<wire::NodeId> node = dir->Id();
  uint64_t cookie = 0;
  for (bool end = !node.ok(); !end;) {
    auto batch = client_->Readdir(*node, cookie, wire::kListAttributes);
    if (!batch.ok()) break;
    l.Learn(batch->entries);
    cookie = batch->cookie;
    end = batch->end;
  }
  return {};
}

struct GoferSuperblock::OpenRequest {
  struct File {
    GoferListing* listing;
    size_t at;
  };
  std::vector<gofer::OpenGroup> groups;
  std::vector<File> files;

  void Add(GoferListing& l, size_t i) {
    groups.back().names.push_back(l.entries().name(i));
    files.push_back({&l, i});
    if (!l.opened[i]) l.open_count++;
    l.opened[i] = true;
    l.next_open = std::max(l.next_open, i + 1);
  }
  // Files of [from, to) that were not opened yet, until there are `most` in all.
  void AddUnopened(GoferListing& l, size_t from, size_t to, size_t most) {
    for (size_t i = from; i < to && files.size() < most; i++) {
      if (l.IsFile(i) && !l.opened[i]) Add(l, i);
    }
  }
};

namespace {

// Before its `opened` is used.
void CountFiles(GoferListing* l) {
  if (!l->opened.empty()) return;
  l->opened.resize(l->entries().size());
  for (size_t i = 0; i < l->entries().size(); i++) l->files += l->IsFile(i);
}

// Read from the beginning, perhaps once more.
void StartOver(GoferListing* l) {
  l->opened.assign(l->entries().size(), false);
  l->open_count = l->next_open = 0;
}

}  // namespace

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
  base::UniqueFd fd = TRY(OpenEntry(dir, *l, at));
  if (file.number() != l->number(at)) return abi::Errno::kESTALE;
  return fd;
}

// A walk of the tree goes on with the next directory, unless there are some in this one.
void GoferSuperblock::OpenNextDirectories(const base::Ref<GoferNode>& dir, size_t most,
                                          OpenRequest* r) {
  const base::Ref<GoferNode>& parent = dir->parent();
  GoferListing* above = parent ? FindListing(parent->number()) : nullptr;
  size_t i = above != nullptr ? above->Find(dir->name()) : GoferListing::kNone;
  if (i == GoferListing::kNone) return;
  const GoferListing* l = r->files[0].listing;
  while (r->files.size() < most) {
    for (size_t k = 0; k < l->entries().size(); k++) {
      if (l->entries().type(k) == abi::kDT_DIR) return;
    }
    do {
      if (++i >= above->entries().size()) return;
    } while (!above->IsDirectory(i));
    GoferListing* next = FindListing(above->number(i));
    if (next == nullptr || !next->complete) return;
    CountFiles(next);
    if (next->next_open >= next->entries().size()) StartOver(next);
    const size_t before = r->files.size();
    r->groups.push_back({.directory = above->entries().name(i), .names = {}});
    r->AddUnopened(*next, next->next_open, next->entries().size(), most);
    if (r->files.size() == before) r->groups.pop_back();
    l = next;
  }
}

base::Result<base::UniqueFd> GoferSuperblock::OpenEntry(const base::Ref<GoferNode>& dir,
                                                        GoferListing& l, size_t at) {
  CountFiles(&l);
  if (!l.AnyFile(0, at)) StartOver(&l);
  const bool in_order = at >= l.next_open && !l.AnyFile(l.next_open, at);
  open_ahead_ = in_order ? std::min(2 * open_ahead_, wire::kMaxDescriptors)
                         : std::max<size_t>(open_ahead_ / 2, 1);
  // A file more in a message costs an eighth of a message more.
  constexpr size_t kFilesPerMessage = 8;
  const bool most_wanted = kFilesPerMessage * l.open_count >= l.files;

  const base::Ref<GoferNode>& parent = dir->parent();
  const wire::NodeId in = parent ? TRY(parent->Id()) : TRY(dir->Id());
  OpenRequest r;
  r.groups.push_back({.directory = parent ? std::string_view(dir->name()) : "", .names = {}});
  const size_t end = l.entries().size();
  r.Add(l, at);
  if (in_order) {
    r.AddUnopened(l, at, end, open_ahead_);
    if (r.files.size() < open_ahead_) l.next_open = end;
    OpenNextDirectories(dir, open_ahead_, &r);
  } else if (most_wanted) {
    r.AddUnopened(l, at, end, wire::kMaxDescriptors);
    r.AddUnopened(l, 0, at, wire::kMaxDescriptors);
  }

  std::vector<gofer::OpenedFile> opened = TRY(client_->OpenMany(in, r.groups));
  for (size_t k = 0; k < opened.size(); k++) {
    gofer::OpenedFile& f = opened[k];
    if (!f.fd.valid()) continue;
    gofer::DirectoryEntries& entries = r.files[k].listing->entries();
    const GoferNumber number(f.attr.dev, f.attr.ino);
    if (entries.attr(r.files[k].at) == nullptr) entries.SetAttr(r.files[k].at, f.attr);
    if (k != 0 && number == r.files[k].listing->number(r.files[k].at)) {
      Donate(number, std::move(f.fd));
    }
  }
  if (!opened[0].fd.valid()) return opened[0].error;
  return std::move(opened[0].fd);
}

void GoferSuperblock::Donate(GoferNumber number, base::UniqueFd fd) {
  if (donated_.contains(number)) return;
  auto order = donated_order_.insert(donated_order_.end(), number);
  donated_.try_emplace(number, Donated{std::move(fd), order});
  if (donated_order_.size() <= kMaxDonated) return;
  donated_.erase(donated_order_.front());
  donated_order_.pop_front();
}

}  // namespace sentry
