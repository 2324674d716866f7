#include "platform/kvm/space.h"

#include <algorithm>

#include "platform/base/log.h"
#include "platform/host/safe_copy.h"
#include "platform/kvm/thread.h"
#include "platform/stub/layout.h"

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

base::Ref<Space> Space::Make(Machine& machine) {
  base::Ref<Space> s = base::MakeRef<Space>(machine);
  return s->tables_ != nullptr ? s : nullptr;
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
  if (files_.try_emplace(file->id(), file).second) machine_.files().AddUser(*file);
  Carve(addr, addr + len);
  Region r{addr + len, file, offset, static_cast<uint8_t>(prot & ~kMapHuge)};
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
  const bool write = (error & 2) != 0, fetch = (error & 16) != 0;
  const uint64_t page = addr & ~(kPage - 1);
  base::MutexLock l(mu_);
  if (page >= stub::kVdso) return FillClock(page, write);
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
  auto t = std::make_unique<Thread>(base::Ref<Space>(this), regs, fp);
  base::MutexLock l(mu_);
  threads_.push_back(t.get());
  return std::unique_ptr<GuestThread>(std::move(t));
}

void Space::Remove(Thread* thread) {
  base::MutexLock l(mu_);
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
