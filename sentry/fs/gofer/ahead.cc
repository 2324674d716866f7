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
  const GoferNode::Way way = TRY(parent->FindWay());
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
      TRY(client_->List(way.place(), {names.data(), names.size()}, most, flags));
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

// Lives while the superblock's mu is held.
class GoferSuperblock::OpenRequest {
 public:
  struct File {
    GoferListing* listing;
    size_t at;
  };
  OpenRequest(GoferSuperblock& sb, GoferNode& dir, GoferListing& l,
              size_t at) NO_THREAD_SAFETY_ANALYSIS : sb_(sb),
                                                     top_(&dir) {
    levels_.push_back({&l, at, {}});
    for (; top_->parent() && levels_.size() <= wire::kMaxPathNames; top_ = top_->parent().get()) {
      levels_.back().name = top_->name();
      GoferListing* above = sb.FindListing(top_->parent()->number());
      size_t i = above != nullptr ? above->Find(top_->name()) : GoferListing::kNone;
      levels_.push_back({i != GoferListing::kNone ? above : nullptr, i, {}});
    }
    std::reverse(levels_.begin(), levels_.end());
    Take();
  }

  // The node that all paths start at.
  GoferNode& top() const { return *top_; }
  const std::vector<gofer::OpenGroup>& groups() const { return groups_; }
  const std::vector<File>& files() const { return files_; }

  // The files that a walk of the tree comes to next, until there are `most` in all.
  void AddNext(size_t most) {
    while (files_.size() < most && bytes_ < kMaxBytes && Next()) Take();
  }
  // All files of the directory that were not opened yet.
  void AddDirectory(size_t most) {
    Level& here = levels_.back();
    const size_t n = here.listing->entries().size();
    for (size_t k = 1; k < n && files_.size() < most && bytes_ < kMaxBytes; k++) {
      here.at = here.at + 1 == n ? 0 : here.at + 1;
      if (here.listing->IsFile(here.at) && !here.listing->opened[here.at]) Take();
    }
  }

 private:
  static constexpr size_t kMaxBytes = wire::kMaxMessage / 2;
  // A directory on the way to where the walk is, and the position in it.
  struct Level {
    GoferListing* listing;  // null: not known
    size_t at;
    std::string_view name;
  };

  void Take() {
    const Level& here = levels_.back();
    if (!same_directory_) {
      gofer::OpenGroup& g = groups_.emplace_back();
      for (size_t i = 1; i < levels_.size(); i++) {
        g.path.push_back(levels_[i].name);
        bytes_ += levels_[i].name.size();
      }
      same_directory_ = true;
    }
    groups_.back().names.push_back(here.listing->entries().name(here.at));
    bytes_ += groups_.back().names.back().size();
    files_.push_back({here.listing, here.at});
    if (!here.listing->opened[here.at]) here.listing->open_count++;
    here.listing->opened[here.at] = true;
    here.listing->next_open = std::max(here.listing->next_open, here.at + 1);
  }

  // False: what comes next is not known.
  bool Next() NO_THREAD_SAFETY_ANALYSIS {
    for (;;) {
      Level& here = levels_.back();
      GoferListing& l = *here.listing;
      if (++here.at >= l.entries().size()) {
        l.next_open = l.entries().size();
        levels_.pop_back();
        same_directory_ = false;
        if (levels_.empty() || levels_.back().listing == nullptr) return false;
        CountFiles(levels_.back().listing);
        continue;
      }
      if (l.IsFile(here.at) && !l.opened[here.at]) return true;
      if (l.entries().type(here.at) != abi::kDT_DIR) continue;
      if (!l.IsDirectory(here.at) || levels_.size() > wire::kMaxPathNames) return false;
      GoferListing* below = sb_.FindListing(l.number(here.at));
      if (below == nullptr || !below->complete) return false;
      CountFiles(below);
      if (below->next_open >= below->entries().size()) StartOver(below);
      levels_.push_back({below, SIZE_MAX, l.entries().name(here.at)});
      same_directory_ = false;
    }
  }

  GoferSuperblock& sb_;
  GoferNode* top_;
  std::vector<Level> levels_;  // the first is that of top_
  std::vector<gofer::OpenGroup> groups_;
  std::vector<File> files_;
  bool same_directory_ = false;  // as that of the last group
  size_t bytes_ = 0;             // of names
};

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

  OpenRequest r(*this, *dir, l, at);
  if (in_order) {
    r.AddNext(open_ahead_);
  } else if (most_wanted) {
    r.AddDirectory(wire::kMaxDescriptors);
  }
  const wire::NodeId top = TRY(r.top().Id());
  std::vector<gofer::OpenedFile> opened = TRY(client_->OpenMany(top, r.groups()));
  for (size_t k = 0; k < opened.size(); k++) {
    gofer::OpenedFile& f = opened[k];
    if (!f.fd.valid()) continue;
    gofer::DirectoryEntries& entries = r.files()[k].listing->entries();
    const GoferNumber number(f.attr.dev, f.attr.ino);
    if (entries.attr(r.files()[k].at) == nullptr) entries.SetAttr(r.files()[k].at, f.attr);
    if (k != 0 && number == r.files()[k].listing->number(r.files()[k].at)) {
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
