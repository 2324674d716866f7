// The entries of a directory as the gofer told them, held in few allocations.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gofer/wire/messages.h"

namespace gofer {

class DirectoryEntries {
 public:
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  // Valid until the next change.
  std::string_view name(size_t i) const {
    return std::string_view(names_).substr(entries_[i].name_at, entries_[i].name_size);
  }
  uint8_t type(size_t i) const { return entries_[i].type; }  // DT_*
  uint64_t ino(size_t i) const { return entries_[i].ino; }
  // Null: not known.
  const wire::Attr* attr(size_t i) const {
    return entries_[i].attr == kNoAttr ? nullptr : &attrs_[entries_[i].attr];
  }

  // name: at most wire::kMaxName bytes.
  void Add(std::string_view name, uint8_t type, uint64_t ino);
  // The type follows from the attributes.
  void SetAttr(size_t i, const wire::Attr& attr);
  void ForgetAttr(size_t i) { entries_[i].attr = kNoAttr; }
  // The last entry takes its place.
  void Remove(size_t i);
  void Append(DirectoryEntries more);
  void Clear() { *this = {}; }

 private:
  static constexpr uint32_t kNoAttr = UINT32_MAX;
  struct Entry {
    uint64_t ino;
    uint32_t name_at;
    uint32_t attr;
    uint8_t name_size;
    uint8_t type;
  };
  std::string names_;
  std::vector<Entry> entries_;
  std::vector<wire::Attr> attrs_;
  size_t removed_ = 0;  // bytes of names_ that no entry uses
};

}  // namespace gofer
