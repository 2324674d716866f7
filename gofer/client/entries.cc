#include "gofer/client/entries.h"

namespace gofer {

namespace {
constexpr uint32_t kTypeShift = 12;  // from a mode to DT_*
constexpr uint32_t kTypeMask = 15;
}  // namespace

void DirectoryEntries::Add(std::string_view name, uint8_t type, uint64_t ino) {
  entries_.push_back({.ino = ino,
                      .name_at = static_cast<uint32_t>(names_.size()),
                      .attr = kNoAttr,
                      .name_size = static_cast<uint8_t>(name.size()),
                      .type = type});
  names_.append(name);
}

void DirectoryEntries::SetAttr(size_t i, const wire::Attr& attr) {
  Entry& e = entries_[i];
  e.type = static_cast<uint8_t>(attr.mode >> kTypeShift & kTypeMask);
  if (e.attr != kNoAttr) {
    attrs_[e.attr] = attr;
    return;
  }
  e.attr = static_cast<uint32_t>(attrs_.size());
  attrs_.push_back(attr);
}

void DirectoryEntries::Remove(size_t i) {
  removed_ += entries_[i].name_size;
  entries_[i] = entries_.back();
  entries_.pop_back();
  if (removed_ <= names_.size() / 2) return;
  std::string names;
  for (Entry& e : entries_) {
    std::string_view n = std::string_view(names_).substr(e.name_at, e.name_size);
    e.name_at = static_cast<uint32_t>(names.size());
    names.append(n);
  }
  names_ = std::move(names);
  removed_ = 0;
}

void DirectoryEntries::Append(DirectoryEntries more) {
  if (empty()) {
    *this = std::move(more);
    return;
  }
  for (size_t i = 0; i < more.size(); i++) {
    Add(more.name(i), more.type(i), more.ino(i));
    if (const wire::Attr* attr = more.attr(i)) SetAttr(size() - 1, *attr);
  }
}

}  // namespace gofer
