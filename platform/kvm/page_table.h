// Page tables of a guest address space, as the processor reads them.
#pragma once

#include <cstdint>
#include <vector>

#include "platform/base/mutex.h"
#include "platform/kvm/layout.h"

namespace platform::kvm {

// Pages of the sentry's own that are guest-physical memory: page tables and vCPUs' pages. One
// mapping, whose first byte has guest-physical address 0. Thread-safe.
class KernelMemory {
 public:
  KernelMemory() = default;
  KernelMemory(const KernelMemory&) = delete;
  KernelMemory& operator=(const KernelMemory&) = delete;
  ~KernelMemory();
  // Reserves size bytes of addresses; memory is taken as pages are. 0 or -errno.
  long Init(uint64_t size);
  uint8_t* base() const { return base_; }
  uint64_t size() const { return size_; }

  static constexpr uint64_t kNone = UINT64_MAX;
  // A zeroed page's guest-physical address, or kNone.
  uint64_t Allocate();
  // Only page tables come back, and are page tables again: a processor may still walk them
  // speculatively, and mark what it takes for entries as accessed.
  uint64_t AllocateTable();
  void FreeTable(uint64_t gpa);
  uint64_t* At(uint64_t gpa) const { return reinterpret_cast<uint64_t*>(base_ + gpa); }

 private:
  uint8_t* base_ = nullptr;
  uint64_t size_ = 0;
  base::Mutex<base::LockClass::kLeaf> mu_;
  uint64_t next_ GUARDED_BY(mu_) = 0;
  std::vector<uint64_t> free_ GUARDED_BY(mu_);
};

// Bits of an entry.
constexpr uint64_t kPtePresent = 1, kPteWrite = 2, kPteUser = 4, kPteNoExec = uint64_t{1} << 63;
constexpr uint64_t kPteLarge = 128;  // no table: kLargePage
constexpr uint64_t kLargePage = 2 << 20;
constexpr uint64_t kPteAddress = 0x000ffffffffff000;

// Not thread-safe; vCPUs may walk it at any time.
class PageTable {
 public:
  explicit PageTable(KernelMemory& memory) : memory_(memory) {}
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;
  // Nothing may run on it any more.
  ~PageTable();
  // False: no memory.
  bool Init();

  // Guest-physical address of the top level: cr3.
  uint64_t root() const { return root_; }
  // The upper half is another one's from now on; it is not freed with this.
  void ShareUpperHalf(const PageTable& other);

  // Maps a page. False: no memory for tables.
  bool Set(uint64_t va, uint64_t gpa, uint64_t bits);
  // Maps a large page, to where nothing is. False: there is, or was, something, or no memory for
  // tables.
  bool SetLarge(uint64_t va, uint64_t gpa, uint64_t bits);
  // The page's entry, 0 if there is none.
  uint64_t Get(uint64_t va) const;
  // Of present pages in [start, end): forgets them, or gives them other bits. True if there was
  // any that changed. A large page that is in the range in part is forgotten.
  bool Clear(uint64_t start, uint64_t end);
  bool Protect(uint64_t start, uint64_t end, uint64_t bits);
  // Forgets the lower half and frees its tables. Nothing may run on it any more.
  void FreeLowerHalf();

 private:
  // The entry of the last level, or of a large page; with make, at that level.
  uint64_t* Entry(uint64_t va, bool make, int last = 1);
  void FreeTree(uint64_t entry, int level);
  // f(entry, whole) for the present entries in the range; whole: all that it maps is.
  template <typename F>
  void ForEach(uint64_t start, uint64_t end, F f);

  KernelMemory& memory_;
  uint64_t root_ = KernelMemory::kNone;
};

}  // namespace platform::kvm
