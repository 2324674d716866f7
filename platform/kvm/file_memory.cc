#include "platform/kvm/file_memory.h"

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/kvm/layout.h"

namespace platform::kvm {

FileMemory::FileMemory(AddSlot add, void* machine, uint32_t first_slot, uint64_t start,
                       uint64_t end)
    : add_(add), machine_(machine), first_slot_(first_slot), start_(start), end_(end), next_(0) {}

FileMemory::~FileMemory() {
  base::MutexLock l(mu_);
  for (const Slot& s : slots_) host::Munmap(s.at, kSlotSize);
}

void FileMemory::AddUser(const MapFile& file) {
  base::MutexLock l(mu_);
  auto [it, fresh] = files_.try_emplace(file.id());
  if (fresh) {
    // Most files are small, and never larger later. One that grows gets more small windows.
    struct stat st {};
    long r = host::Fstat(file.fd(), &st);
    it->second.shift = r == 0 && st.st_size <= (1 << kSmall) ? kSmall : kLarge;
  }
  it->second.users++;
}

void FileMemory::RemoveUser(const MapFile& file) {
  base::MutexLock l(mu_);
  auto it = files_.find(file.id());
  if (it == files_.end() || --it->second.users != 0) return;
  const int shift = it->second.shift;
  for (const auto& [index, gpa] : it->second.windows) {
    // The range stays reserved; the machine sees nothing there.
    long r = host::Mmap(ViewOf(gpa), uint64_t{1} << shift, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    CHECK(!host::IsError(r));
    (shift == kSmall ? free_small_ : free_large_).push_back(gpa);
  }
  files_.erase(it);
}

uint8_t* FileMemory::ViewOf(uint64_t gpa) const {
  const Slot& s = slots_[(gpa - start_) / kSlotSize];
  return s.at + (gpa - s.gpa);
}

uint64_t FileMemory::TakeRange(int shift) {
  std::vector<uint64_t>& free = shift == kSmall ? free_small_ : free_large_;
  if (!free.empty()) {
    uint64_t gpa = free.back();
    free.pop_back();
    return gpa;
  }
  const uint64_t size = uint64_t{1} << shift;
  next_ = (next_ + size - 1) & ~(size - 1);
  if (slots_.empty() || next_ + size > kSlotSize) {
    const uint64_t gpa = start_ + slots_.size() * kSlotSize;
    if (gpa + kSlotSize > end_) return kNone;
    // Aligned as guest-physical addresses are, so that the host can use huge pages.
    long r = host::Mmap(nullptr, kSlotSize + (1 << kSmall), PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (host::IsError(r)) return kNone;
    const uint64_t raw = static_cast<uint64_t>(r);
    const uint64_t at = (raw + (1 << kSmall) - 1) & ~uint64_t{(1 << kSmall) - 1};
    if (at != raw) host::Munmap(reinterpret_cast<void*>(raw), at - raw);
    const uint64_t tail = raw + (1 << kSmall) - at;
    if (tail != 0) host::Munmap(reinterpret_cast<void*>(at + kSlotSize), tail);
    r = add_(machine_, first_slot_ + static_cast<uint32_t>(slots_.size()), gpa, kSlotSize,
             reinterpret_cast<void*>(at));
    if (r < 0) {
      host::Munmap(reinterpret_cast<void*>(at), kSlotSize);
      LOG_WARNING("kvm: no memory slot (%ld)", r);
      return kNone;
    }
    slots_.push_back({gpa, reinterpret_cast<uint8_t*>(at)});
    next_ = 0;
  }
  const uint64_t gpa = slots_.back().gpa + next_;
  next_ += size;
  return gpa;
}

uint64_t FileMemory::Find(const MapFile& file, uint64_t offset, uint8_t** view) {
  base::MutexLock l(mu_);
  auto it = files_.find(file.id());
  CHECK(it != files_.end());
  File& f = it->second;
  const uint64_t size = uint64_t{1} << f.shift;
  auto [window, fresh] = f.windows.try_emplace(offset >> f.shift, kNone);
  if (fresh) {
    uint64_t gpa = TakeRange(f.shift);
    if (gpa != kNone) {
      const int access = static_cast<int>(host::GetFlags(file.fd())) & O_ACCMODE;
      long r =
          host::Mmap(ViewOf(gpa), size, access == O_RDWR ? PROT_READ | PROT_WRITE : PROT_READ,
                     MAP_SHARED | MAP_FIXED, file.fd(), static_cast<int64_t>(offset & ~(size - 1)));
      if (host::IsError(r)) {
        // What was there is there still, or nothing.
        (f.shift == kSmall ? free_small_ : free_large_).push_back(gpa);
        gpa = kNone;
      }
    }
    if (gpa == kNone) {
      f.windows.erase(window);
      return kNone;
    }
    window->second = gpa;
  }
  const uint64_t gpa = window->second + (offset & (size - 1));
  *view = ViewOf(gpa);
  return gpa;
}

}  // namespace platform::kvm
