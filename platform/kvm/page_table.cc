#include "platform/kvm/page_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "platform/host/host.h"

namespace platform::kvm {
namespace {

constexpr int kLevels = 4;
constexpr uint64_t kEntries = 512;
// What the levels above the last one allow: everything.
constexpr uint64_t kTableBits = kPtePresent | kPteWrite | kPteUser;
// The part of an address that a level's entry stands for.
constexpr int Shift(int level) { return 12 + 9 * (level - 1); }

void Store(uint64_t* entry, uint64_t value) { __atomic_store_n(entry, value, __ATOMIC_RELEASE); }
uint64_t Load(const uint64_t* entry) { return __atomic_load_n(entry, __ATOMIC_RELAXED); }
bool IsLarge(uint64_t value) {
  return (value & (kPtePresent | kPteLarge)) == (kPtePresent | kPteLarge);
}

}  // namespace

KernelMemory::~KernelMemory() {
  if (base_ != nullptr) host::Munmap(base_, size_);
}

long KernelMemory::Init(uint64_t size) {
  long r = host::Mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (host::IsError(r)) return r;
  base_ = reinterpret_cast<uint8_t*>(r);
  size_ = size;
  return 0;
}

uint64_t KernelMemory::AllocateTable() {
  {
    base::MutexLock l(mu_);
    if (!free_.empty()) {
      uint64_t gpa = free_.back();
      free_.pop_back();
      memset(base_ + gpa, 0, kPage);
      return gpa;
    }
  }
  return Allocate();
}

uint64_t KernelMemory::Allocate() {
  base::MutexLock l(mu_);
  if (next_ == size_) return kNone;
  return std::exchange(next_, next_ + kPage);
}

void KernelMemory::FreeTable(uint64_t gpa) {
  base::MutexLock l(mu_);
  free_.push_back(gpa);
}

bool PageTable::Init() {
  root_ = memory_.AllocateTable();
  return root_ != KernelMemory::kNone;
}

PageTable::~PageTable() {
  if (root_ == KernelMemory::kNone) return;
  FreeLowerHalf();
  memory_.FreeTable(root_);
}

void PageTable::ShareUpperHalf(const PageTable& other) {
  memcpy(memory_.At(root_) + kEntries / 2, memory_.At(other.root_) + kEntries / 2, kPage / 2);
}

uint64_t* PageTable::Entry(uint64_t va, bool make, int last) {
  uint64_t table = root_;
  for (int level = kLevels;; level--) {
    uint64_t* entry = memory_.At(table) + (va >> Shift(level) & (kEntries - 1));
    if (level == last) return entry;
    uint64_t value = Load(entry);
    if (IsLarge(value)) return make ? nullptr : entry;
    if ((value & kPtePresent) == 0) {
      if (!make) return nullptr;
      uint64_t fresh = memory_.AllocateTable();
      if (fresh == KernelMemory::kNone) return nullptr;
      value = fresh | kTableBits;
      Store(entry, value);
    }
    table = value & kPteAddress;
  }
}

bool PageTable::Set(uint64_t va, uint64_t gpa, uint64_t bits) {
  uint64_t* entry = Entry(va, true);
  if (entry == nullptr) return false;
  Store(entry, gpa | bits | kPtePresent);
  return true;
}

bool PageTable::SetLarge(uint64_t va, uint64_t gpa, uint64_t bits) {
  uint64_t* entry = Entry(va, true, 2);
  if (entry == nullptr || Load(entry) != 0) return false;
  Store(entry, gpa | bits | kPtePresent | kPteLarge);
  return true;
}

uint64_t PageTable::Get(uint64_t va) const {
  uint64_t* entry = const_cast<PageTable*>(this)->Entry(va, false);
  return entry == nullptr ? 0 : Load(entry);
}

template <typename F>
void PageTable::ForEach(uint64_t start, uint64_t end, F f) {
  for (uint64_t va = start; va < end;) {
    uint64_t table = root_;
    int level = kLevels;
    for (; level > 1; level--) {
      uint64_t value = Load(memory_.At(table) + (va >> Shift(level) & (kEntries - 1)));
      if ((value & kPtePresent) == 0) break;
      if (IsLarge(value)) {
        const uint64_t first = va & ~(kLargePage - 1);
        f(memory_.At(table) + (va >> Shift(level) & (kEntries - 1)),
          start <= first && first + kLargePage <= end);
        break;
      }
      table = value & kPteAddress;
    }
    const uint64_t next = ((va >> Shift(level)) + 1) << Shift(level);
    if (level > 1) {
      va = next;
      continue;
    }
    const uint64_t table_end = std::min(end, ((va >> Shift(2)) + 1) << Shift(2));
    for (; va < table_end; va += kPage) {
      uint64_t* entry = memory_.At(table) + (va >> Shift(1) & (kEntries - 1));
      if ((Load(entry) & kPtePresent) != 0) f(entry, true);
    }
  }
}

bool PageTable::Clear(uint64_t start, uint64_t end) {
  bool any = false;
  ForEach(start, end, [&](uint64_t* entry, bool) {
    Store(entry, 0);
    any = true;
  });
  return any;
}

bool PageTable::Protect(uint64_t start, uint64_t end, uint64_t bits) {
  bool any = false;
  ForEach(start, end, [&](uint64_t* entry, bool whole) {
    uint64_t value = (Load(entry) & (kPteAddress | kPteLarge)) | bits | kPtePresent;
    // Accessed and dirty bits mean nothing to anybody.
    if (((Load(entry) ^ value) & (kPteWrite | kPteUser | kPteNoExec)) == 0) return;
    if (!whole) value = 0;
    Store(entry, value);
    any = true;
  });
  return any;
}

void PageTable::FreeTree(uint64_t entry, int level) {
  if ((entry & kPtePresent) == 0 || IsLarge(entry)) return;
  const uint64_t table = entry & kPteAddress;
  if (level > 1) {
    for (uint64_t i = 0; i < kEntries; i++) FreeTree(memory_.At(table)[i], level - 1);
  }
  memory_.FreeTable(table);
}

void PageTable::FreeLowerHalf() {
  uint64_t* top = memory_.At(root_);
  for (uint64_t i = 0; i < kEntries / 2; i++) {
    uint64_t entry = Load(&top[i]);
    Store(&top[i], 0);
    FreeTree(entry, kLevels - 1);
  }
}

}  // namespace platform::kvm
