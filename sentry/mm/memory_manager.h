// MemoryManager: one guest address space (the kernel's mm_struct): which ranges exist (VMAs), what
// backs them (PMAs), and the engine's AddressSpace that mirrors them. See ARCHITECTURE.md, "The
// life of a page fault".
//
// VMA: what the guest asked for. PMA: a piece of a BackingFile that backs a page range now. Private
// memory's PMAs lie in MemoryFiles: the current one is writable and of this address space alone;
// after fork both sides' PMAs refer to frozen files until written. Whole private anonymous VMAs get
// their PMA at mmap time, so that the host fills pages in without the sentry.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
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
  bool ipc_lock = false;  // CAP_IPC_LOCK: locked without limit
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

// vm.max_map_count.
constexpr size_t kMaxMapCount = 65530;

class MemoryManager : public UserMemory {
 public:
  // What the sandbox's guests may count on (MemTotal): one mapping of more is refused, as the
  // kernel's heuristic overcommit does. Set at boot.
  static inline std::atomic<uint64_t> memory_bytes{UINT64_MAX};

  static base::Result<base::Ref<MemoryManager>> Create(platform::Platform& platform);
  ~MemoryManager() override;

  platform::AddressSpace& address_space() { return *as_; }

  // fork(2): a copy that shares all private pages with this one until either writes. current: the
  // calling, stopped guest thread, through which this side's pages are made read-only: before the
  // copy exists if there are others, else before it runs on.
  base::Result<base::Ref<MemoryManager>> Fork(platform::GuestThread& current);

  // The calls; errors as in the man pages.
  base::Result<uint64_t> Mmap(const MmapArgs& args);
  base::Result<void> Munmap(uint64_t addr, uint64_t len);
  base::Result<void> Mprotect(uint64_t addr, uint64_t len, uint8_t prot, bool grows_down = false);
  base::Result<uint64_t> Mremap(uint64_t old_addr, uint64_t old_len, uint64_t new_len,
                                uint32_t flags, uint64_t new_addr);
  // remap_file_pages(2), emulated: the range of a shared mapping shows its object from offset on.
  base::Result<void> RemapFilePages(uint64_t addr, uint64_t len, uint64_t offset);
  base::Result<void> Madvise(uint64_t addr, uint64_t len, int32_t advice);
  base::Result<void> Msync(uint64_t addr, uint64_t len, uint32_t flags);
  // addr and len: page multiples. One byte per page.
  base::Result<void> Mincore(uint64_t addr, uint64_t len, std::vector<uint8_t>* out);
  // privileged: CAP_IPC_LOCK, no limit. MlockAll(0) is munlockall(2).
  base::Result<void> Mlock(uint64_t addr, uint64_t len, bool lock_it, bool on_fault,
                           bool privileged = false);
  base::Result<void> MlockAll(uint32_t flags, bool privileged = false);
  // Where mappings without an address are placed: downwards from top (loader).
  void SetMmapBase(uint64_t top);
  // Sets the break's start once (loader); then brk(2).
  void InitBrk(uint64_t start);
  uint64_t Brk(uint64_t addr);
  base::Result<void> SetAnonName(uint64_t addr, uint64_t len, std::string name);

  struct FaultError {
    uint8_t signo;
    int32_t code;
    bool no_memory = false;  // the sandbox's memory is used up: no mistake of the guest's
  };
  // A page fault of the guest at addr. access: platform::Prot bits wanted. True: mapped, run on.
  // False: *err says which signal. bus: the host said SIGBUS.
  bool HandleFault(uint64_t addr, uint8_t access, FaultError* err, bool bus = false);

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
  // The end of the last task: what others can see of its mappings goes, files above all. The
  // memory goes with the object.
  void DropFiles();
  // As usage().resident, cheaper and not exact: memory that fork shares counts for all of its file.
  uint64_t ResidentAtEnd();

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
  // Commands that membarrier(2) registered (MEMBARRIER_CMD_REGISTER_*).
  std::atomic<uint32_t> membarrier{0};
  // How many tasks use it: vfork and CLONE_VM know by it whether exec or exit leaves others behind.
  std::atomic<uint32_t> users{1};
  // What io_setup(2) made; on demand, by the handlers.
  base::Mutex<base::LockClass::kLeaf> aio_mu;
  base::Ref<base::RefCounted> aio GUARDED_BY(aio_mu);

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  MemoryManager(platform::Platform& platform, base::Ref<platform::AddressSpace> as);

  // What backs a page range, and who may write it.
  enum class Kind : uint8_t {
    kOwned,    // private memory in a file of this address space alone: written in place, punched
               // out when unmapped
    kFrozen,   // private memory in a file shared with another address space: copied before a write
    kFileCow,  // a page of a private file mapping: copied before a write
    kShared,   // a shared mapping's object: written in place
  };
  struct Pma {
    uint64_t end = 0;
    base::Ref<BackingFile> file;
    uint64_t offset = 0;
    Kind kind = Kind::kOwned;
    bool pristine = false;  // never accessible since it was allocated: surely all zero
    bool huge = false;      // kOwned: the host may use huge pages
    bool cow() const { return kind == Kind::kFrozen || kind == Kind::kFileCow; }
    bool memory() const { return kind == Kind::kOwned || kind == Kind::kFrozen; }
  };
  struct FileUse {
    base::Ref<BackingFile> file;
    uint64_t bytes = 0;
    bool memory = false;
  };
  // An address range whose private pages, once they exist, lie at fixed offsets of current_: so
  // that pages which come one by one (brk, stack, copies) become one host mapping.
  struct Reservation {
    uint64_t end = 0, offset = 0;
  };
  // References that must not be dropped under the lock: their destructors take other locks.
  struct Garbage {
    std::vector<base::Ref<base::RefCounted>> refs;
    void Take(Vma& v) {
      if (v.mappable) refs.push_back(std::move(v.mappable));
      if (v.file) refs.push_back(std::move(v.file));
    }
  };
  // Where one side of a fork wrote while it shared memory with the other: the next fork copies
  // these pages at once, since a fault costs more than a copy. Learnt anew now and then.
  class ForkHabit : public base::RefCounted {
   public:
    using Pages = absl::InlinedVector<uint64_t, 12>;
    void Note(uint64_t addr);
    // For the fork that begins.
    Pages Next();

   private:
    base::Mutex<base::LockClass::kLeaf> mu_;
    Pages pages_ GUARDED_BY(mu_);
    uint32_t forks_ GUARDED_BY(mu_) = 0;
  };
  using VmaMap = std::map<uint64_t, Vma>;
  using PmaMap = std::map<uint64_t, Pma>;
  struct Window {
    uint64_t start = 0, end = 0;
    uint8_t* p = nullptr;
    BackingFile* file = nullptr;
    uint64_t generation = 0;
    bool read = false, write = false;
  };

  // --- memory_manager.cc: VMAs ---
  VmaMap::iterator FindVma(uint64_t addr) REQUIRES_LOCK(mu_);  // the first that ends above addr
  bool Covered(uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);
  void SplitVma(uint64_t at) REQUIRES_LOCK(mu_);
  bool SplitsOk(uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);
  VmaMap::iterator InsertVma(Vma v) REQUIRES_LOCK(mu_);
  // Joins equal neighbours in and around the range.
  void MergeVmas(uint64_t start, uint64_t end, Garbage* g) REQUIRES_LOCK(mu_);
  void Account(const Vma& v, uint64_t bytes, bool add) REQUIRES_LOCK(mu_);
  bool MayExpand(const Vma& v, uint64_t grow) REQUIRES_LOCK(mu_);
  base::Result<uint64_t> FindArea(uint64_t hint, uint64_t len, bool below_4g, bool grows_down)
      REQUIRES_LOCK(mu_);
  uint64_t HighestGap(uint64_t len, uint64_t low, uint64_t high) REQUIRES_LOCK(mu_);
  uint64_t StartGap(const Vma& v) const;
  void RemoveRange(uint64_t start, uint64_t end, bool engine, Garbage* g) REQUIRES_LOCK(mu_);
  base::Result<uint64_t> MmapLocked(const MmapArgs& a, Garbage* g) REQUIRES_LOCK(mu_);
  base::Result<void> FixedOk(uint64_t addr, uint64_t len) const;
  bool GrowStack(VmaMap::iterator it, uint64_t addr) REQUIRES_LOCK(mu_);
  // The VMA at addr, after growing a stack down to it if need be.
  Vma* VmaAt(uint64_t addr) REQUIRES_LOCK(mu_);
  void Changed() REQUIRES_LOCK(mu_) { generation_++; }

  // --- memory_manager_pma.cc: what backs them ---
  PmaMap::iterator FindPma(uint64_t addr) REQUIRES_LOCK(mu_);
  void SplitPma(uint64_t at) REQUIRES_LOCK(mu_);
  void AddPma(uint64_t start, Pma p) REQUIRES_LOCK(mu_);
  void PlacePma(uint64_t start, Pma p) REQUIRES_LOCK(mu_);  // AddPma without counting the use
  void Use(const Pma& p, uint64_t bytes) REQUIRES_LOCK(mu_);
  void Unuse(const Pma& p, uint64_t bytes, Garbage* g) REQUIRES_LOCK(mu_);
  void RemovePmas(uint64_t start, uint64_t end, Garbage* g) REQUIRES_LOCK(mu_);
  void FreePma(const Pma& p, uint64_t len) REQUIRES_LOCK(mu_);
  bool EnsureCurrent(uint64_t len) REQUIRES_LOCK(mu_);
  // An offset in current_; kNoSpace when the host refuses.
  uint64_t AllocateFor(uint64_t addr, uint64_t len) REQUIRES_LOCK(mu_);
  uint64_t AllocateIn(uint64_t addr, uint64_t len, uint64_t region_start, uint64_t region_end)
      REQUIRES_LOCK(mu_);
  void DropReservations(uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);
  bool AddAnon(const Vma& v, uint64_t start, uint64_t end, bool huge = false) REQUIRES_LOCK(mu_);
  // Whether a new mapping is to get huge pages; and what the end of one tells about that.
  bool WantsHuge(const MmapArgs& a, uint64_t len) REQUIRES_LOCK(mu_);
  void LearnDensity(uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);
  void SetHuge(uint64_t start, uint64_t end, bool huge) REQUIRES_LOCK(mu_);
  // Backs the uncovered parts of a range of v.
  bool FillAnon(const Vma& v, uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);
  base::Result<void> FillFile(const Vma& v, uint64_t start, uint64_t end, Garbage* g)
      REQUIRES_LOCK(mu_);
  bool CopyEagerly(const Vma& v, uint64_t start, uint64_t end, Garbage* g) REQUIRES_LOCK(mu_);
  bool BreakCow(const Vma& v, uint64_t addr, Garbage* g) REQUIRES_LOCK(mu_);
  // Copies the aligned chunk around a page that must not be written in place, as far as it is one
  // piece; *start and *end: its range.
  bool CopyChunk(const Vma& v, uint64_t addr, uint64_t chunk, uint64_t* start, uint64_t* end,
                 Garbage* g) REQUIRES_LOCK(mu_);
  void Thaw(MemoryFile* f, Garbage* g) REQUIRES_LOCK(mu_);
  // Makes the page at addr of v present, writable if asked. False: *err.
  bool Populate(Vma& v, uint64_t addr, bool write, FaultError* err, Garbage* g) REQUIRES_LOCK(mu_);
  uint8_t EngineProt(const Vma& v, const Pma& p) const;
  base::Ref<platform::MapFile> EngineFile(const Vma& v, const Pma& p) const;
  // Queues the present truth about a range to the engine: what is mapped there. What is not, stays.
  void MapEngine(uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);
  uint64_t Resident(uint64_t start, const Pma& p) REQUIRES_LOCK(mu_);

  // --- memory_manager_fork.cc ---
  // Makes private memory in place shareable; the ranges whose mappings must change.
  std::vector<std::pair<uint64_t, uint64_t>> Freeze(Garbage* g) REQUIRES_LOCK(mu_);
  void CopyAhead(const ForkHabit::Pages& pages, Garbage* g) REQUIRES_LOCK(mu_);

  // --- memory_manager_copy.cc ---
  // A sentry pointer to the guest byte at addr and in *len (at most what it was) the bytes
  // contiguous there.
  uint8_t* Translate(uint64_t addr, uint64_t* len, bool write, bool force, BackingFile** file,
                     Garbage* g) REQUIRES_LOCK(mu_);
  template <typename F>
  size_t Each(uint64_t addr, size_t n, bool write, bool force, F&& f);

  // --- memory_manager_advise.cc ---
  base::Result<void> ProtectVma(VmaMap::iterator it, uint64_t start, uint64_t end, uint8_t prot,
                                Garbage* g) REQUIRES_LOCK(mu_);
  void ClearPristine(uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);
  void DontNeed(const Vma& v, uint64_t start, uint64_t end, Garbage* g) REQUIRES_LOCK(mu_);
  base::Result<uint64_t> MremapLocked(uint64_t old_addr, uint64_t old_len, uint64_t new_len,
                                      uint32_t flags, uint64_t new_addr, Garbage* g)
      REQUIRES_LOCK(mu_);
  base::Result<uint64_t> MoveVma(uint64_t old_addr, uint64_t old_len, uint64_t new_len, uint64_t to,
                                 bool keep, Garbage* g) REQUIRES_LOCK(mu_);
  void PopulateRange(uint64_t start, uint64_t end, bool write, Garbage* g) REQUIRES_LOCK(mu_);

  platform::Platform& platform_;
  const base::Ref<platform::AddressSpace> as_;
  const platform::UserRange range_;
  base::Mutex<base::LockClass::kMm> mu_;
  VmaMap vmas_ GUARDED_BY(mu_);
  PmaMap pmas_ GUARDED_BY(mu_);
  absl::flat_hash_map<BackingFile*, FileUse> uses_ GUARDED_BY(mu_);
  base::Ref<MemoryFile> current_ GUARDED_BY(mu_);
  // Of this side after its forks, of its children, and the one of them that is noted in now.
  base::Ref<ForkHabit> own_habit_ GUARDED_BY(mu_),
      children_habit_ GUARDED_BY(mu_), habit_ GUARDED_BY(mu_);
  std::map<uint64_t, Reservation> reservations_ GUARDED_BY(mu_);
  // The last large mapping without huge pages was full in the end; how many large ones there were.
  bool dense_ GUARDED_BY(mu_) = false;
  uint32_t large_maps_ GUARDED_BY(mu_) = 0;
  // Cached translations, valid while generation_ stands still.
  std::array<Window, 32> windows_ GUARDED_BY(mu_);
  uint64_t generation_ GUARDED_BY(mu_) = 1;
  uint64_t brk_start_ GUARDED_BY(mu_) = 0, brk_ GUARDED_BY(mu_) = 0;
  uint64_t mmap_top_ GUARDED_BY(mu_) = 0;
  // No gap of more than search_skipped_ bytes lies between search_from_ and mmap_top_.
  uint64_t search_from_ GUARDED_BY(mu_) = 0, search_skipped_ GUARDED_BY(mu_) = 0;
  // Bytes.
  uint64_t total_ GUARDED_BY(mu_) = 0, data_ GUARDED_BY(mu_) = 0, stack_ GUARDED_BY(mu_) = 0,
                  text_ GUARDED_BY(mu_) = 0, locked_ GUARDED_BY(mu_) = 0, peak_ GUARDED_BY(mu_) = 0;
  bool lock_future_ GUARDED_BY(mu_) = false;
  Layout layout_ GUARDED_BY(mu_);
  base::Ref<base::RefCounted> exe_ GUARDED_BY(mu_);
};

}  // namespace sentry
