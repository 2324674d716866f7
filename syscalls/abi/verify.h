// For the *_verify.cc files only: compares ours with the system headers at compile time.
#pragma once

#include <cstddef>
#include <type_traits>

// SAME(O_CLOEXEC): uapi::kO_CLOEXEC has the value of O_CLOEXEC. Compared as 64 bits without sign,
// since the headers' types vary.
#define SAME(name)                                                                  \
  static_assert((static_cast<unsigned long long>(uapi::k##name) & 0xffffffffull) == \
                    (static_cast<unsigned long long>(name) & 0xffffffffull) &&      \
                static_cast<unsigned long long>(uapi::k##name) >> 32 ==             \
                    (uapi::k##name < 0 || sizeof(uapi::k##name) < 8                 \
                         ? static_cast<unsigned long long>(uapi::k##name) >> 32     \
                         : static_cast<unsigned long long>(name) >> 32))

// SIZE(Stat, struct stat); FIELD(Stat, dev, struct stat, st_dev): same size and no padding; same
// offset and size of the field.
#define SIZE(ours, theirs)                             \
  static_assert(sizeof(uapi::ours) == sizeof(theirs)); \
  static_assert(std::has_unique_object_representations_v<uapi::ours>)
#define FIELD(ours, field, theirs, their_field)                                 \
  static_assert(offsetof(uapi::ours, field) == offsetof(theirs, their_field) && \
                sizeof(uapi::ours::field) == sizeof(((theirs*)nullptr)->their_field))
