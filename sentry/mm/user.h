// Guest memory as the rest of the sentry sees it: addresses that can't be dereferenced, copies that
// stop at the first bad byte. There is no "verify" function on purpose: copy once, check the copy,
// use the copy.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "platform/base/ref.h"
#include "platform/base/result.h"

namespace sentry {

struct UserAddr {
  uint64_t value = 0;
  bool null() const { return value == 0; }
  // May wrap: every copy checks its whole range.
  UserAddr operator+(uint64_t n) const { return UserAddr{value + n}; }
  friend bool operator==(UserAddr, UserAddr) = default;
};

// A type whose bytes may cross the boundary: no padding, so nothing of the sentry leaks.
template <typename T>
concept AbiType = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> &&
    (std::has_unique_object_representations_v<T> || std::is_floating_point_v<T>);

struct HostIov {
  void* base;
  size_t len;
};

// One guest address space, for copying. Implemented by MemoryManager. Copies respect the guest's
// page protections, break copy-on-write, and fault in what is missing. Callers hold no lock after
// kMm in the lock order.
class UserMemory : public base::RefCounted {
 public:
  // Bytes copied; fewer than n means that the next byte is not accessible (EFAULT).
  virtual size_t CopyInPartial(void* dst, UserAddr src, size_t n) = 0;
  virtual size_t CopyOutPartial(UserAddr dst, const void* src, size_t n) = 0;
  virtual size_t ZeroPartial(UserAddr dst, size_t n) = 0;
  // Sentry pointers to the guest bytes at addr, for host calls that copy themselves (preadv,
  // pwritev); at most max pieces of at most n bytes together; returns how many pieces. write: the
  // guest bytes will be written. Each piece's memory stays mapped as long as *pins is held. The
  // content is shared with running guest threads.
  virtual size_t Blocks(UserAddr addr, size_t n, bool write, HostIov* out, size_t max,
                        std::vector<base::Ref<base::RefCounted>>* pins) = 0;
  // Atomic operations on an aligned word; EFAULT.
  virtual base::Result<uint32_t> Load32(UserAddr addr) = 0;
  virtual base::Result<void> Store32(UserAddr addr, uint32_t value) = 0;
  // The old value; the swap happened if it equals expected.
  virtual base::Result<uint32_t> CompareExchange32(UserAddr addr, uint32_t expected,
                                                   uint32_t desired) = 0;

  base::Result<void> CopyIn(void* dst, UserAddr src, size_t n) {
    if (CopyInPartial(dst, src, n) != n) return abi::Errno::kEFAULT;
    return {};
  }
  base::Result<void> CopyOut(UserAddr dst, const void* src, size_t n) {
    if (CopyOutPartial(dst, src, n) != n) return abi::Errno::kEFAULT;
    return {};
  }
  // A NUL-terminated string of fewer than max bytes (NUL included in max). ENAMETOOLONG when no NUL
  // is found; EFAULT.
  base::Result<std::string> CopyInString(UserAddr src, size_t max);
};

constexpr size_t kPathMax = 4096;

// Typed pointers. Fetch/Store cost one copy each; words that are meant to be re-read use
// UserMemory's atomics.
template <typename T>
struct UserIn {
  UserAddr addr;
  bool null() const { return addr.null(); }
  base::Result<T> Fetch(UserMemory& mm) const requires AbiType<T> {
    T v;
    TRY(mm.CopyIn(&v, addr, sizeof v));
    return v;
  }
};

template <typename T>
struct UserOut {
  UserAddr addr;
  bool null() const { return addr.null(); }
  base::Result<void> Store(UserMemory& mm, const T& v) const requires AbiType<T> {
    return mm.CopyOut(addr, &v, sizeof v);
  }
};

template <typename T>
struct UserInOut {
  UserAddr addr;
  bool null() const { return addr.null(); }
  base::Result<T> Fetch(UserMemory& mm) const { return UserIn<T>{addr}.Fetch(mm); }
  base::Result<void> Store(UserMemory& mm, const T& v) const {
    return UserOut<T>{addr}.Store(mm, v);
  }
};

// A path or name argument. Fetch: EFAULT, ENAMETOOLONG.
struct UserCString {
  UserAddr addr;
  bool null() const { return addr.null(); }
  base::Result<std::string> Fetch(UserMemory& mm, size_t max = kPathMax) const {
    return mm.CopyInString(addr, max);
  }
};

}  // namespace sentry
