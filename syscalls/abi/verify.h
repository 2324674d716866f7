// For the *_verify.cc files only: compares ours with the system headers at compile time.
#pragma once

#include <cstddef>

// SAME(O_CLOEXEC): abi::kO_CLOEXEC has the value of O_CLOEXEC. Compared as 64 bits without sign,
// since the headers' types vary.
#define SAME(name)                                                                 \
  static_assert((static_cast<unsigned long long>(abi::k##name) & 0xffffffffull) == \
                    (static_cast<unsigned long long>(name) & 0xffffffffull) &&     \
                static_cast<unsigned long long>(abi::k##name) >> 32 ==             \
                    (abi::k##name < 0 || sizeof(abi::k##name) < 8                  \
                         ? static_cast<unsigned long long>(abi::k##name) >> 32     \
                         : static_cast<unsigned long long>(name) >> 32))

// SIZE(Stat, struct stat); FIELD(Stat, dev, struct stat, st_dev): same size; same offset and size
// of the field.
#define SIZE(ours, theirs) static_assert(sizeof(abi::ours) == sizeof(theirs))
#define FIELD(ours, field, theirs, their_field)                                \
  static_assert(offsetof(abi::ours, field) == offsetof(theirs, their_field) && \
                sizeof(abi::ours::field) == sizeof(((theirs*)nullptr)->their_field))
