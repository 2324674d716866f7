#include "platform/kvm/space.h"

#include <algorithm>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/host/safe_copy.h"
#include "platform/kvm/thread.h"
#include "platform/stub/blob.h"
#include "platform/stub/inside.h"

namespace platform::kvm {
namespace {

// Pages around a touched one come with it.
constexpr uint64_t kAround = 16 * kPage;

uint64_t BitsOf(uint8_t prot) {
  // x86 can't forbid reading what may be written or executed.
  uint64_t bits = prot != kProtNone ? kPteUser : 0;
  if (prot & kProtWrite) bits |= kPteWrite;
  if (!(prot & kProtExec)) bits |= kPteNoExec;
  return bits;
}

// Whether the host has the page.
bool Try(uint8_t* at, bool write) {
  uint32_t value;
  if (!host::SafeLoad32(at, &value)) return false;
  return !write || host::SafeCas32(at, value, value, &value);
}

}  // namespace

base::Status Stub::Init() {
  RETURN_IF_ERROR(patcher_.Init(true));
  // The code file is the guests' as a file of its own, which they can't write.
  long r = host::Dup(patcher_.read_only_fd());
  if (r < 0) return base::Status::Errno("the file of patched code", static_cast<int>(-r));
  code_ = base::MakeRef<MapFile>(base::UniqueFd(static_cast<int>(r)));
  base::UniqueFd fd(static_cast<int>(host::CreateMemoryFile()));
  const std::span<const uint8_t> text = stub::Blob();
  CHECK(text.size() <= stub::kTextSize);
  const stub::StubData data{.fsgsbase = 1, .machine = 1, .clock = 0};
  if (!fd || host::Ftruncate(fd.get(), stub::kTextSize + stub::kDataSize) < 0 ||
      host::Pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<long>(text.size()) ||
      host::Pwrite(fd.get(), &data, sizeof data, stub::kTextSize) != sizeof data)
    return base::Status::Error("no memory for the stub");
  text_ = base::MakeRef<MapFile>(std::move(fd));
  return {};
}

bool Stub::ReadThunks(uint64_t addr, void* to, uint64_t n) const {
  const uint64_t offset =
      stub::InThunks(addr) ? stub::kCodeFileThunks + (addr - stub::kThunks) : addr - stub::kTable;
  return patcher_.Read(offset, to, n);
}

base::Ref<Space> Space::Make(Machine& machine, Stub* stub) {
  base::Ref<Space> s = base::MakeRef<Space>(machine, stub);
  if (s->tables_ == nullptr || (stub != nullptr && !s->InitStub())) return nullptr;
  return s;
}

bool Space::InitStub() {
  if (slots_.Make() < 0) return false;
  base::MutexLock l(mu_);
  MapLocked(stub::kTable, stub::kTableSize, stub_->code(), 0, kProtRead);
  MapLocked(stub::kThunks, stub::kMaxThunks * stub::kThunkSize, stub_->code(),
            stub::kCodeFileThunks, kProtRead | kProtExec);
  MapLocked(stub::kText, stub::kTextSize, stub_->text(), 0, kProtRead | kProtExec);
  MapLocked(stub::kData, stub::kDataSize, stub_->text(), stub::kTextSize, kProtRead);
  MapSlot(0);
  MapSlot(stub::kFirstSlot);
  // Every program touches these.
  for (uint64_t addr : {stub::kTable, stub::kThunks, stub::kText, stub::kData, stub::kSlots}) {
    if (FillLocked(addr, 0) == Fault::kNoMemory) return false;
  }
  return true;
}

void Space::MapSlot(uint32_t slot) {
  const uint64_t at = slot * stub::kSlotSize;
  MapLocked(stub::kSlots + at, stub::kSlotSize, slots_.file(), at, kProtRead | kProtWrite);
}

uint32_t Space::TakeSlot() {
  uint32_t slot;
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else {
    if (used_slots_ == stub::kMaxSlots || !slots_.Add(used_slots_)) return 0;
    slot = used_slots_++;
    MapSlot(slot);
  }
  slots_.channel(slot)->local.enabled = 0;
  return slot;
}

Space::~Space() {
  base::MutexLock l(mu_);
  if (tables_ != nullptr) machine_.ReturnTables(std::move(tables_));
  for (const auto& [id, file] : files_) machine_.files().RemoveUser(*file);
}

Space::Regions::iterator Space::Above(uint64_t addr) {
  auto it = regions_.upper_bound(addr);
  if (it != regions_.begin() && std::prev(it)->second.end > addr) --it;
  return it;
}

void Space::SplitAt(uint64_t at) {
  auto it = Above(at);
  if (it == regions_.end() || it->first >= at) return;
  Region upper = it->second;
  upper.offset += at - it->first;
  it->second.end = at;
  regions_.emplace(at, std::move(upper));
}

void Space::Carve(uint64_t start, uint64_t end) {
  SplitAt(start);
  SplitAt(end);
  regions_.erase(regions_.lower_bound(start), regions_.lower_bound(end));
  if (tables_->Clear(start, end)) Changed();
}

void Space::Map(uint64_t addr, uint64_t len, const base::Ref<MapFile>& file, uint64_t offset,
                uint8_t prot) {
  base::MutexLock l(mu_);
  prot &= static_cast<uint8_t>(~kMapHuge);
  // As on processors without protection keys, what can be executed can be read.
  if (prot & kProtExec) prot |= kProtRead;
  MapLocked(addr, len, file, offset, prot);
  if (stub_ != nullptr)
    MapCopies(code_.Map(stub_->patcher(), slots_.process_page(), addr, len, file, offset, prot));
}

void Space::MapCopies(const std::vector<stub::CodeMap::Part>& parts) {
  for (const stub::CodeMap::Part& p : parts)
    MapLocked(p.addr, p.len, stub_->code(), p.offset, kProtRead | kProtExec);
}

void Space::Trapped(uint64_t rip) {
  base::MutexLock l(mu_);
  MapCopies(code_.Trapped(stub_->patcher(), slots_.process_page(), rip));
}

uint64_t Space::CopyOf(uint64_t rip) {
  uint64_t offset;  // of rip in the code file
  {
    base::MutexLock l(mu_);
    auto it = Above(rip);
    if (it == regions_.end() || it->first > rip || it->second.file != stub_->code()) return 0;
    offset = it->second.offset + (rip - it->first);
  }
  return stub::CopyOf(rip, [&](uint64_t from, void* to, uint64_t n) {
    return from / kPage == rip / kPage ? stub_->patcher().Read(offset - (rip - from), to, n)
                                       : stub_->ReadThunks(from, to, n);
  });
}

uint64_t Space::SiteOf(uint64_t rip) {
  return stub::SiteOf(rip, slots_.process_page(), [this](uint64_t from, void* to, uint64_t n) {
    return stub_->ReadThunks(from, to, n);
  });
}

void Space::MapLocked(uint64_t addr, uint64_t len, const base::Ref<MapFile>& file, uint64_t offset,
                      uint8_t prot) {
  if (files_.try_emplace(file->id(), file).second) machine_.files().AddUser(*file);
  Carve(addr, addr + len);
  Region r{addr + len, file, offset, prot};
  // Neighbours that go on with each other are one.
  auto next = regions_.find(r.end);
  if (next != regions_.end() && next->second.file == file && next->second.prot == r.prot &&
      next->second.offset == offset + len) {
    r.end = next->second.end;
    regions_.erase(next);
  }
  auto before = regions_.lower_bound(addr);
  if (before != regions_.begin()) {
    --before;
    Region& b = before->second;
    if (b.end == addr && b.file == file && b.prot == r.prot &&
        b.offset + (addr - before->first) == offset) {
      b.end = r.end;
      return;
    }
  }
  regions_.emplace(addr, std::move(r));
}

void Space::Unmap(uint64_t addr, uint64_t len) {
  base::MutexLock l(mu_);
  code_.Cut(addr, len);
  Carve(addr, addr + len);
}

void Space::Protect(uint64_t addr, uint64_t len, uint8_t prot) {
  base::MutexLock l(mu_);
  const uint64_t end = addr + len;
  SplitAt(addr);
  SplitAt(end);
  for (auto it = regions_.lower_bound(addr); it != regions_.end() && it->first < end; ++it)
    it->second.prot = prot;
  if (tables_->Protect(addr, end, BitsOf(prot))) Changed();
}

void Space::Forget(const MapFile& file) {
  base::Ref<MapFile> last;
  base::MutexLock l(mu_);
  auto it = files_.find(file.id());
  if (it == files_.end()) return;
  last = std::move(it->second);
  files_.erase(it);
  // Nothing in the tables leads there any more. What processors remember of it the host takes
  // from them with the window.
  machine_.files().RemoveUser(file);
}

Space::Fault Space::FillClock(uint64_t page, bool write) {
  const uint64_t gpa = machine_.ClockPage(page - stub::kVdso);
  if (gpa == FileMemory::kNone) return Fault::kNotMapped;
  if (write) return Fault::kNotAllowed;
  return tables_->Set(page, gpa, kPteUser) ? Fault::kFilled : Fault::kNoMemory;
}

Space::Fault Space::Fill(uint64_t addr, uint64_t error) {
  base::MutexLock l(mu_);
  return FillLocked(addr, error);
}

Space::Fault Space::FillLocked(uint64_t addr, uint64_t error) {
  const bool write = (error & 2) != 0, fetch = (error & 16) != 0;
  const uint64_t page = addr & ~(kPage - 1);
  if (page >= stub::kVdso && page < stub::kVdso + stub::kVdsoSize) return FillClock(page, write);
  auto it = Above(addr);
  if (it == regions_.end() || it->first > addr) return Fault::kNotMapped;
  const Region& r = it->second;
  const bool allowed = write   ? (r.prot & kProtWrite) != 0
                       : fetch ? (r.prot & kProtExec) != 0
                               : r.prot != kProtNone;
  if (!allowed) return Fault::kNotAllowed;
  const uint64_t bits = BitsOf(r.prot);
  // Another thread may have brought it, or this processor remembers less than there is.
  if ((tables_->Get(page) & kPtePresent) != 0) return Fault::kPresent;
  uint64_t from = page, to = page + kPage;
  if (!distrust_) {
    const uint64_t large = addr & ~(kLargePage - 1);
    if (it->first <= large && large + kLargePage <= r.end &&
        (r.offset + (large - it->first)) % kLargePage == 0) {
      uint8_t* view;
      const uint64_t gpa = machine_.files().Find(*r.file, r.offset + (large - it->first), &view);
      if (gpa == FileMemory::kNone) return Fault::kNoMemory;
      if (!Try(view + (page - large), false)) return Fault::kBus;
      if (tables_->SetLarge(large, gpa, bits)) return Fault::kFilled;
    }
    from = std::max(addr & ~(kAround - 1), it->first);
    to = std::min((addr & ~(kAround - 1)) + kAround, r.end);
  }
  for (uint64_t va = from; va < to; va += kPage) {
    if ((tables_->Get(va) & kPtePresent) != 0) continue;
    uint8_t* view;
    uint64_t gpa = machine_.files().Find(*r.file, r.offset + (va - it->first), &view);
    if (gpa == FileMemory::kNone) return Fault::kNoMemory;
    if (va == page && !Try(view, write && distrust_)) return Fault::kBus;
    if (!tables_->Set(va, gpa, bits)) return Fault::kNoMemory;
  }
  return Fault::kFilled;
}

void Space::Distrust() {
  base::MutexLock l(mu_);
  distrust_ = true;
  tables_->Clear(0, kTaskEnd);
  Changed();
}

base::Result<std::unique_ptr<GuestThread>> Space::NewThread(GuestThread*, const Regs& regs,
                                                            const FpState& fp) {
  if (dead()) return abi::Errno::kEAGAIN;
  uint32_t slot = 0;
  if (stub_ != nullptr) {
    base::MutexLock l(mu_);
    slot = TakeSlot();
    if (slot == 0) return abi::Errno::kENOMEM;
  }
  auto t = std::make_unique<Thread>(base::Ref<Space>(this), slot, regs, fp);
  base::MutexLock l(mu_);
  threads_.push_back(t.get());
  return std::unique_ptr<GuestThread>(std::move(t));
}

void Space::Remove(Thread* thread, uint32_t slot) {
  base::MutexLock l(mu_);
  if (slot != 0) free_slots_.push_back(slot);
  threads_.erase(std::find(threads_.begin(), threads_.end(), thread));
}

void Space::Kill() {
  if (dead_.exchange(true, std::memory_order_seq_cst)) return;
  base::MutexLock l(mu_);
  for (Thread* t : threads_) t->Kick(UINT64_MAX);
}

void Space::Synchronise(const Thread& self) {
  base::MutexLock l(mu_);
  const uint64_t now = generation();
  // All are told before the first is waited for.
  for (Thread* t : threads_) {
    if (t != &self) t->Kick(now);
  }
  for (Thread* t : threads_) {
    if (t != &self) t->WaitForget(now);
  }
}

}  // namespace platform::kvm
