// Linux's system calls and the values of their flags, as data: the rows of linux.def and
// features.def. Dispatch, the handlers' accept checks, strace, the fuzzer and the compatibility
// matrix all read these, so they cannot disagree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "syscalls/abi/errno.h"

namespace syscalls {

enum class Level : uint8_t { kFull, kPartial, kStub, kRefused };

// Sys::openat is 257.
enum class Sys : uint16_t {
#define SYSCALL(name, nr, family, level, note) name = nr,
#define REFUSED(name, nr, family, err, note) name = nr,
#include "syscalls/table/linux.def"
};

struct Row {
  const char* name;
  uint16_t nr;
  const char* family;
  Level level;
  abi::Errno refusal;  // of kRefused rows
  const char* note;
};

inline constexpr Row kRows[] = {
#define SYSCALL(name, nr, family, level, note) \
  {#name, nr, #family, Level::level, abi::Errno::kOk, note},
#define REFUSED(name, nr, family, err, note) \
  {#name, nr, #family, Level::kRefused, abi::Errno::err, note},
#include "syscalls/table/linux.def"
};
inline constexpr size_t kRowCount = sizeof(kRows) / sizeof(kRows[0]);
inline constexpr uint64_t kMaxNr = kRows[kRowCount - 1].nr;

// The index into kRows, or -1. The rows are sorted, and Linux's numbers have one gap.
constexpr int RowIndex(uint64_t nr) {
  size_t lo = 0, hi = kRowCount;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (kRows[mid].nr < nr) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return lo < kRowCount && kRows[lo].nr == nr ? static_cast<int>(lo) : -1;
}
constexpr const Row* FindRow(uint64_t nr) {
  int i = RowIndex(nr);
  return i < 0 ? nullptr : &kRows[i];
}
const Row* FindRow(std::string_view name);
const char* LevelName(Level l);

// What becomes of a flag or option.
enum class Support : uint8_t {
  kFull,
  kIgnored,  // accepted without effect
  kRefused,  // the errno that Linux has for a value that it does not know
};
const char* SupportName(Support s);

enum class FlagSet : uint8_t {
#define SET(set, mask) set,
#define VALUE(set, name, support)
#define USES(call, arg, set)
#include "syscalls/table/features.def"
  kCount
};

struct Set {
  const char* name;
  uint64_t enum_mask;     // these bits hold one enumerated value; the others are flags
  uint64_t accept;        // the flags, outside enum_mask, that are kFull or kIgnored
  uint16_t first, count;  // in Features()
};
struct Feature {
  FlagSet set;
  const char* name;
  uint64_t value;
  Support support;
};
struct Use {
  Sys call;
  uint8_t arg;
  FlagSet set;
};

const Set& GetSet(FlagSet set);
// All rows of all sets; sets are contiguous.
const Feature* Features(size_t* count);
const Use* Uses(size_t* count);
// The set of an argument, or kCount.
FlagSet SetOf(Sys call, int arg);

// The support of one enumerated value or one flag; kRefused for what has no row.
Support Lookup(FlagSet set, uint64_t value);
// All flag bits (those outside the enumeration) that are kFull or kIgnored:
// `if (flags & ~AcceptMask(...)) return EINVAL`.
inline uint64_t AcceptMask(FlagSet set) { return GetSet(set).accept; }

// "O_RDONLY|O_CLOEXEC"; what has no name is printed in hexadecimal.
void AppendFlags(std::string* out, FlagSet set, uint64_t value);

}  // namespace syscalls
