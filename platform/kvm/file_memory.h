// Host files as guest-physical memory: windows of the files in the sentry's own address space,
// which the virtual machine has as its memory.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/api/platform.h"
#include "platform/base/mutex.h"

namespace platform::kvm {

// Thread-safe. Memory slots are few and large (changing one costs the host milliseconds): each is a
// reserved range of addresses, in which windows come and go by mmap, and the host's page tables of
// the machine follow.
class FileMemory {
 public:
  // Tells the host of a new slot: 0 or -errno.
  using AddSlot = long (*)(void* machine, uint32_t slot, uint64_t gpa, uint64_t size, void* at);
  // Guest-physical addresses [start, end) may be used; slots from first_slot on.
  FileMemory(AddSlot add, void* machine, uint32_t first_slot, uint64_t start, uint64_t end);
  FileMemory(const FileMemory&) = delete;
  FileMemory& operator=(const FileMemory&) = delete;
  ~FileMemory();

  // One more, or one less, address space has the file's pages in its tables. With the last one go
  // the windows: its tables must not refer to them any more.
  void AddUser(const MapFile& file);
  void RemoveUser(const MapFile& file);

  static constexpr uint64_t kNone = UINT64_MAX;
  // Where the page at offset (page multiple) of a file with users is; *view: for the sentry, to be
  // touched by fault-safe accesses only. kNone: no room.
  uint64_t Find(const MapFile& file, uint64_t offset, uint8_t** view);

  static constexpr int kSmall = 21, kLarge = 26;  // windows of 2 and 64 MiB
  static constexpr uint64_t kSlotSize = uint64_t{8} << 30;

 private:
  struct Slot {
    uint64_t gpa;
    uint8_t* at;
  };
  struct File {
    uint32_t users = 0;
    int shift;                                        // of its windows
    absl::flat_hash_map<uint64_t, uint64_t> windows;  // offset >> shift: guest-physical address
  };
  uint64_t TakeRange(int shift) REQUIRES_LOCK(mu_);
  uint8_t* ViewOf(uint64_t gpa) const REQUIRES_LOCK(mu_);

  const AddSlot add_;
  void* const machine_;
  const uint32_t first_slot_;
  const uint64_t start_, end_;
  base::Mutex<base::LockClass::kEngine> mu_;
  std::vector<Slot> slots_ GUARDED_BY(mu_);
  uint64_t next_ GUARDED_BY(mu_);  // in the last slot
  std::vector<uint64_t> free_small_ GUARDED_BY(mu_), free_large_ GUARDED_BY(mu_);
  absl::flat_hash_map<uint64_t, File> files_ GUARDED_BY(mu_);
};

}  // namespace platform::kvm
