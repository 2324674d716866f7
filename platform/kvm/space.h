// An address space as page tables.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "platform/api/platform.h"
#include "platform/base/mutex.h"
#include "platform/kvm/machine.h"
#include "platform/stub/code_map.h"
#include "platform/stub/patch.h"
#include "platform/stub/slots.h"

namespace platform::kvm {

class Thread;

// What all spaces of an engine have in them that serves patched call sites.
class Stub {
 public:
  base::Status Init();
  stub::Patcher& patcher() { return patcher_; }
  // The stub's text, behind it the page of StubData.
  const base::Ref<MapFile>& text() const { return text_; }
  const base::Ref<MapFile>& code() const { return code_; }
  // What guests have in the table and the thunks.
  bool ReadThunks(uint64_t addr, void* to, uint64_t n) const;

 private:
  stub::Patcher patcher_;
  base::Ref<MapFile> text_, code_;
};

// Changes take effect in the tables at once. Pages come into the tables when they are touched.
// Other processors that run the space may go on with what they remember of the tables until
// Synchronise().
class Space final : public AddressSpace {
 public:
  // nullptr: no memory. stub: nullptr where call sites aren't patched. Machine and stub outlive it.
  static base::Ref<Space> Make(Machine& machine, Stub* stub);

  void Map(uint64_t addr, uint64_t len, const base::Ref<MapFile>& file, uint64_t offset,
           uint8_t prot) override;
  void Unmap(uint64_t addr, uint64_t len) override;
  void Protect(uint64_t addr, uint64_t len, uint8_t prot) override;
  void Forget(const MapFile& file) override;
  base::Result<std::unique_ptr<GuestThread>> NewThread(GuestThread* creator, const Regs& regs,
                                                       const FpState& fp) override;
  LocalSpace* local() override { return stub_ == nullptr ? nullptr : &slots_.process_page().local; }
  void Kill() override;

  Machine& machine() const { return machine_; }
  bool dead() const { return dead_.load(std::memory_order_seq_cst); }
  uint64_t root() const { return tables_->root(); }
  // Counts the changes after which processors must forget what they remember.
  uint64_t generation() const { return generation_.load(std::memory_order_seq_cst); }
  // No other thread of this space runs with what it remembers from before now.
  void Synchronise(const Thread& self);

  // kPresent: it was there already.
  enum class Fault { kFilled, kPresent, kNotMapped, kNotAllowed, kBus, kNoMemory };
  // Brings a page that is touched into the tables. error: the processor's.
  Fault Fill(uint64_t addr, uint64_t error);
  // The host could not give a page of a file when the guest touched it, and didn't say which:
  // from now on every page is tried before it comes into the tables.
  void Distrust();

  // slot: the thread's, or 0.
  void Remove(Thread* thread, uint32_t slot);

  // A guest thread made a call that may be local, not by a patched site: behind rip.
  void Trapped(uint64_t rip);
  // Where a guest is to the guest: stub/inside.h.
  uint64_t CopyOf(uint64_t rip);
  uint64_t SiteOf(uint64_t rip);
  stub::Channel* channel(uint32_t slot) const { return slots_.channel(slot); }

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  Space(Machine& machine, Stub* stub)
      : machine_(machine), stub_(stub), tables_(machine.TakeTables()) {}
  ~Space() override;
  // Maps the stub. False: no memory.
  bool InitStub();

  struct Region {
    uint64_t end;
    base::Ref<MapFile> file;
    uint64_t offset;
    uint8_t prot;
  };
  using Regions = absl::btree_map<uint64_t, Region>;
  // Makes [start, end) free of regions and of pages.
  void Carve(uint64_t start, uint64_t end) REQUIRES_LOCK(mu_);
  // A region begins at `at` if one is there.
  void SplitAt(uint64_t at) REQUIRES_LOCK(mu_);
  void MapLocked(uint64_t addr, uint64_t len, const base::Ref<MapFile>& file, uint64_t offset,
                 uint8_t prot) REQUIRES_LOCK(mu_);
  void MapSlot(uint32_t slot) REQUIRES_LOCK(mu_);
  void MapCopies(const std::vector<stub::CodeMap::Part>& parts) REQUIRES_LOCK(mu_);
  // A slot for a thread, 0 if there is no memory.
  uint32_t TakeSlot() REQUIRES_LOCK(mu_);
  Fault FillLocked(uint64_t addr, uint64_t error) REQUIRES_LOCK(mu_);
  // Fill() for the host's vDSO.
  Fault FillClock(uint64_t page, bool write) REQUIRES_LOCK(mu_);
  // The first region that ends above addr.
  Regions::iterator Above(uint64_t addr) REQUIRES_LOCK(mu_);
  void Changed() REQUIRES_LOCK(mu_) { generation_.fetch_add(1, std::memory_order_seq_cst); }

  Machine& machine_;
  Stub* const stub_;
  stub::Slots slots_;  // with a stub; never changed but by TakeSlot()
  std::atomic<bool> dead_{false};
  std::atomic<uint64_t> generation_{1};
  base::Mutex<base::LockClass::kEngineOps> mu_;
  std::unique_ptr<PageTable> tables_;  // set while this lives
  bool distrust_ GUARDED_BY(mu_) = false;
  Regions regions_ GUARDED_BY(mu_);
  // Those whose windows are in use here.
  absl::flat_hash_map<uint64_t, base::Ref<MapFile>> files_ GUARDED_BY(mu_);
  std::vector<Thread*> threads_ GUARDED_BY(mu_);
  stub::CodeMap code_ GUARDED_BY(mu_);
  uint32_t used_slots_ GUARDED_BY(mu_) = stub::kFirstSlot + 1;
  std::vector<uint32_t> free_slots_ GUARDED_BY(mu_) = {stub::kFirstSlot};
};

}  // namespace platform::kvm
