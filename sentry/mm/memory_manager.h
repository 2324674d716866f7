// MemoryManager: one guest address space (the kernel's mm_struct): which ranges exist (VMAs), what
// backs them (PMAs), and the engine's AddressSpace that mirrors them. See ARCHITECTURE.md, "The
// life of a page fault".
//
// VMA: what the guest asked for. PMA: a piece of a BackingFile that backs a page range now. Private
// memory's PMAs lie in MemoryFiles: the current one is writable and of this address space alone;
// after fork both sides' PMAs refer to frozen files until written. Whole private anonymous VMAs get
// their PMA at mmap time, so that the host fills pages in without the sentry.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "platform/api/platform.h"
#include "sentry/memory/memory_file.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/user.h"

namespace sentry {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t PageDown(uint64_t v) { return v & ~(kPageSize - 1); }
constexpr uint64_t PageUp(uint64_t v) { return (v + kPageSize - 1) & ~(kPageSize - 1); }

struct Vma {
  uint64_t start = 0, end = 0;
  uint8_t prot = 0, max_prot = 7;  // platform::Prot bits; max_prot: what mprotect may ask for
  bool shared = false;
  bool grows_down = false;
  bool locked = false;
  bool dont_fork = false, wipe_on_fork = false, dont_dump = false;
  bool noreserve = false;
  // File mappings, and shared anonymous memory: offset is that of start.
  base::Ref<Mappable> mappable;
  uint64_t offset = 0;
  // The File it was mapped from, opaque at this layer, for /proc/[pid]/maps; keeps the file open.
  base::Ref<base::RefCounted> file;
  const char* special_name = nullptr;  // "[heap]", "[stack]", "[vdso]", "[vvar]"
  std::string anon_name;               // PR_SET_VMA_ANON_NAME
};

struct MmapArgs {
  uint64_t addr = 0, len = 0;
  uint8_t prot = 0;
  uint8_t max_prot = 7;
  bool fixed = false, fixed_noreplace = false, shared = false, grows_down = false, populate = false,
       locked = false;
  bool noreserve = false, below_4g = false;
  base::Ref<Mappable> mappable;  // null: anonymous
  uint64_t offset = 0;
  base::Ref<base::RefCounted> file;
  const char* special_name = nullptr;
};

// Per-process limits that the address space enforces; kept up to date by setrlimit.
struct MmLimits {
  std::atomic<uint64_t> as{UINT64_MAX}, data{UINT64_MAX}, stack{8 << 20}, memlock{8 << 20};
};

class MemoryManager : public UserMemory {
 public:
  static base::Result<base::Ref<MemoryManager>> Create(platform::Platform& platform);
  ~MemoryManager() override;

  platform::AddressSpace& address_space() { return *as_; }

  // fork(2): a copy that shares all private pages with this one until either writes. current: the
  // calling, stopped guest thread, through which this side's pages are made read-only before the
  // copy exists.
  base::Result<base::Ref<MemoryManager>> Fork(platform::GuestThread& current);

  // The calls; errors as in the man pages.
  base::Result<uint64_t> Mmap(const MmapArgs& args);
  base::Result<void> Munmap(uint64_t addr, uint64_t len);
  base::Result<void> Mprotect(uint64_t addr, uint64_t len, uint8_t prot, bool grows_down = false);
  base::Result<uint64_t> Mremap(uint64_t old_addr, uint64_t old_len, uint64_t new_len,
                                uint32_t flags, uint64_t new_addr);
  base::Result<void> Madvise(uint64_t addr, uint64_t len, int32_t advice);
  base::Result<void> Msync(uint64_t addr, uint64_t len, uint32_t flags);
  base::Result<void> Mincore(uint64_t addr, uint64_t len, std::vector<uint8_t>* out);
  base::Result<void> Mlock(uint64_t addr, uint64_t len, bool lock, bool on_fault);
  base::Result<void> MlockAll(uint32_t flags);
  // Sets the break's start once (loader); then brk(2).
  void InitBrk(uint64_t start);
  uint64_t Brk(uint64_t addr);
  base::Result<void> SetAnonName(uint64_t addr, uint64_t len, std::string name);

  struct FaultError {
    uint8_t signo;
    int32_t code;
  };
  // A page fault of the guest at addr. access: platform::Prot bits wanted. True: mapped, run on.
  // False: *err says which signal.
  bool HandleFault(uint64_t addr, uint8_t access, FaultError* err);

  // UserMemory.
  size_t CopyInPartial(void* dst, UserAddr src, size_t n) override;
  size_t CopyOutPartial(UserAddr dst, const void* src, size_t n) override;
  size_t ZeroPartial(UserAddr dst, size_t n) override;
  size_t Blocks(UserAddr addr, size_t n, bool write, HostIov* out, size_t max,
                std::vector<base::Ref<base::RefCounted>>* pins) override;
  base::Result<uint32_t> Load32(UserAddr addr) override;
  base::Result<void> Store32(UserAddr addr, uint32_t value) override;
  base::Result<uint32_t> CompareExchange32(UserAddr addr, uint32_t expected,
                                           uint32_t desired) override;
  // As the copies, ignoring page protections (ptrace, /proc/[pid]/mem): FOLL_FORCE.
  size_t CopyForced(UserAddr addr, void* buf, size_t n, bool write);

  // A name for a futex word that is equal in every address space that shares the memory: (object,
  // offset) for shared mappings, (this, addr) for private ones. EFAULT. The object is held by the
  // key.
  struct FutexKey {
    base::Ref<base::RefCounted> object;
    uint64_t offset = 0;
    friend bool operator==(const FutexKey&, const FutexKey&) = default;
  };
  base::Result<FutexKey> SharedFutexKey(UserAddr addr);

  // For /proc. Snapshot of the VMAs in order.
  std::vector<Vma> Vmas();
  struct Usage {
    uint64_t total = 0, resident = 0, shared = 0, text = 0, data = 0, stack = 0, locked = 0,
             peak_total = 0;
  };  // bytes
  Usage usage();

  // Set by exec, read by /proc and prctl(PR_SET_MM); guarded by the mm lock through the accessors.
  struct Layout {
    uint64_t start_code = 0, end_code = 0, start_data = 0, end_data = 0, start_stack = 0;
    uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
    uint64_t vdso = 0;  // base of the vDSO; 0: none
    std::vector<uint64_t> auxv;
  };
  Layout layout();
  void set_layout(Layout l);
  // The executable's File (opaque here).
  base::Ref<base::RefCounted> exe();
  void set_exe(base::Ref<base::RefCounted> file);
  std::atomic<bool> dumpable{true};
  MmLimits limits;
  // How many tasks use it: vfork and CLONE_VM know by it whether exec or exit leaves others behind.
  std::atomic<uint32_t> users{1};

 private:
  struct Pma {
    uint64_t end = 0;
    base::Ref<BackingFile> file;
    uint64_t offset = 0;
    bool owned = false;  // in current_: written in place, freed when unmapped
    bool cow = false;    // shared with another address space or a page of a private file mapping:
                         // copy before a write
    uint8_t mapped = 0;  // protection it is mapped with in the engine; 0 with in_engine false
    bool in_engine = false;
  };
  // Implementation: memory_manager*.cc, which may reshape this part freely.
  explicit MemoryManager(base::Ref<platform::AddressSpace> as, platform::UserRange range);

  const base::Ref<platform::AddressSpace> as_;
  const platform::UserRange range_;
  base::Mutex<base::LockClass::kMm> mu_;
  absl::btree_map<uint64_t, Vma> vmas_ GUARDED_BY(mu_);
  absl::btree_map<uint64_t, Pma> pmas_ GUARDED_BY(mu_);
  base::Ref<MemoryFile> current_ GUARDED_BY(mu_);
  uint64_t brk_start_ GUARDED_BY(mu_) = 0, brk_ GUARDED_BY(mu_) = 0;
  uint64_t mmap_top_ GUARDED_BY(mu_) = 0;
  Layout layout_ GUARDED_BY(mu_);
  base::Ref<base::RefCounted> exe_ GUARDED_BY(mu_);
};

}  // namespace sentry
