#include "syscalls/table/table.h"

#include <array>

#include "syscalls/abi/epoll.h"
#include "syscalls/abi/eventfd.h"
#include "syscalls/abi/fcntl.h"
#include "syscalls/abi/futex.h"
#include "syscalls/abi/inotify.h"
#include "syscalls/abi/ioctl.h"
#include "syscalls/abi/ipc.h"
#include "syscalls/abi/mman.h"
#include "syscalls/abi/mount.h"
#include "syscalls/abi/personality.h"
#include "syscalls/abi/prctl.h"
#include "syscalls/abi/quota.h"
#include "syscalls/abi/random.h"
#include "syscalls/abi/resource.h"
#include "syscalls/abi/sched.h"
#include "syscalls/abi/seccomp.h"
#include "syscalls/abi/signal.h"
#include "syscalls/abi/socket.h"
#include "syscalls/abi/stat.h"
#include "syscalls/abi/termios.h"
#include "syscalls/abi/time.h"
#include "syscalls/abi/uio.h"
#include "syscalls/abi/wait.h"
#include "syscalls/abi/xattr.h"

namespace syscalls {
namespace {

constexpr uint64_t kEnum = ~uint64_t{0};

// Signed constants keep their sign (AT_FDCWD), unsigned ones get no high bits.
template <typename T>
constexpr uint64_t Widen(T v) {
  return static_cast<uint64_t>(static_cast<int64_t>(v));
}

constexpr Feature kFeatures[] = {
#define SET(set, mask)
#define VALUE(set, name, support) {FlagSet::set, #name, Widen(abi::k##name), Support::support},
#define USES(call, arg, set)
#include "syscalls/table/features.def"
};
constexpr size_t kFeatureCount = sizeof(kFeatures) / sizeof(kFeatures[0]);

constexpr Use kUses[] = {
#define SET(set, mask)
#define VALUE(set, name, support)
#define USES(call, arg, set) {Sys::call, arg, FlagSet::set},
#include "syscalls/table/features.def"
};

constexpr bool IsEnumerated(const Set& s, uint64_t value) { return (value & ~s.enum_mask) == 0; }

constexpr size_t kSetCount = static_cast<size_t>(FlagSet::kCount);

constexpr auto MakeSets() {
  std::array<Set, kSetCount> sets{{
#define SET(set, mask) {#set, mask, 0, 0, 0},
#define VALUE(set, name, support)
#define USES(call, arg, set)
#include "syscalls/table/features.def"
  }};
  for (size_t i = 0; i < kFeatureCount; ++i) {
    Set& s = sets[static_cast<size_t>(kFeatures[i].set)];
    if (s.count++ == 0) s.first = i;
    if (kFeatures[i].support != Support::kRefused && !IsEnumerated(s, kFeatures[i].value)) {
      s.accept |= kFeatures[i].value;
    }
  }
  return sets;
}
constexpr auto kSets = MakeSets();

constexpr bool SetsAreContiguous() {
  for (size_t s = 0; s < kSetCount; ++s) {
    for (size_t i = 0; i < kSets[s].count; ++i) {
      if (static_cast<size_t>(kFeatures[kSets[s].first + i].set) != s) return false;
    }
  }
  return true;
}
static_assert(SetsAreContiguous());

constexpr bool RowsAreSorted() {
  for (size_t i = 1; i < kRowCount; ++i) {
    if (kRows[i - 1].nr >= kRows[i].nr) return false;
  }
  return true;
}
static_assert(RowsAreSorted());

void AppendHex(std::string* out, uint64_t v) {
  static constexpr char kDigits[] = "0123456789abcdef";
  char buf[18];
  int i = sizeof buf;
  do {
    buf[--i] = kDigits[v & 15];
    v >>= 4;
  } while (v != 0);
  buf[--i] = 'x';
  buf[--i] = '0';
  out->append(buf + i, sizeof buf - i);
}

}  // namespace

const Row* FindRow(std::string_view name) {
  for (const Row& r : kRows) {
    if (name == r.name) return &r;
  }
  return nullptr;
}

const char* LevelName(Level l) {
  switch (l) {
    case Level::kFull:
      return "full";
    case Level::kPartial:
      return "partial";
    case Level::kStub:
      return "stub";
    case Level::kRefused:
      return "refused";
  }
  return "?";
}

const char* SupportName(Support s) {
  switch (s) {
    case Support::kFull:
      return "full";
    case Support::kIgnored:
      return "ignored";
    case Support::kRefused:
      return "refused";
  }
  return "?";
}

const Set& GetSet(FlagSet set) { return kSets[static_cast<size_t>(set)]; }

const Feature* Features(size_t* count) {
  *count = kFeatureCount;
  return kFeatures;
}

const Use* Uses(size_t* count) {
  *count = sizeof(kUses) / sizeof(kUses[0]);
  return kUses;
}

FlagSet SetOf(Sys call, int arg) {
  for (const Use& u : kUses) {
    if (u.call == call && u.arg == arg) return u.set;
  }
  return FlagSet::kCount;
}

Support Lookup(FlagSet set, uint64_t value) {
  const Set& s = GetSet(set);
  for (size_t i = 0; i < s.count; ++i) {
    const Feature& f = kFeatures[s.first + i];
    if (f.value == value) return f.support;
  }
  return Support::kRefused;
}

void AppendFlags(std::string* out, FlagSet set, uint64_t value) {
  const Set& s = GetSet(set);
  const size_t start = out->size();
  uint64_t rest = value & ~s.enum_mask;
  const uint64_t enumerated = value & s.enum_mask;
  bool named = false;
  for (size_t i = 0; i < s.count && !named; ++i) {
    const Feature& f = kFeatures[s.first + i];
    if (!IsEnumerated(s, f.value) || f.value != enumerated) continue;
    // A zero of a mixed set is worth its name only if it stands for something (O_RDONLY), or alone.
    if (s.enum_mask == 0 && rest != 0) continue;
    *out += f.name;
    named = true;
  }
  if (!named && (enumerated != 0 || s.enum_mask == kEnum)) AppendHex(out, enumerated);
  for (size_t i = 0; i < s.count && rest != 0; ++i) {
    const Feature& f = kFeatures[s.first + i];
    if (IsEnumerated(s, f.value) || (rest & f.value) != f.value) continue;
    if (out->size() != start) *out += '|';
    *out += f.name;
    rest &= ~f.value;
  }
  if (rest != 0) {
    if (out->size() != start) *out += '|';
    AppendHex(out, rest);
  }
  if (out->size() == start) *out += '0';
}

}  // namespace syscalls
