#include "sentry/vfs/fd_table.h"

#include <algorithm>

#include "sentry/vfs/file_locks.h"

namespace sentry {

FdTable::~FdTable() {
  std::vector<base::Ref<File>> files = RemoveRange(0, UINT32_MAX);
  for (base::Ref<File>& f : files) {
    (void)f->Flush();
    if (FileLocks* l = f->attr_inode().present_locks()) l->ReleasePosix(this);
  }
}

base::Ref<FdTable> FdTable::Clone(uint32_t limit) {
  base::Ref<FdTable> t = base::MakeRef<FdTable>();
  base::MutexLock2 l(mu_, t->mu_);
  auto copy = [&]() NO_THREAD_SAFETY_ANALYSIS {
    t->slots_.assign(slots_.begin(), slots_.begin() + static_cast<ptrdiff_t>(
                                                          std::min<size_t>(limit, slots_.size())));
    t->next_free_ = std::min<uint32_t>(next_free_, static_cast<uint32_t>(t->slots_.size()));
  };
  copy();
  return t;
}

base::Result<base::Ref<File>> FdTable::GetAny(int32_t fd) {
  base::MutexLock l(mu_);
  const uint32_t i = static_cast<uint32_t>(fd);
  if (i >= slots_.size() || !slots_[i].file) return abi::Errno::kEBADF;
  return slots_[i].file;
}

base::Result<base::Ref<File>> FdTable::Get(int32_t fd) {
  base::MutexLock l(mu_);
  const uint32_t i = static_cast<uint32_t>(fd);
  if (i >= slots_.size() || !slots_[i].file || (slots_[i].file->flags() & abi::kO_PATH) != 0)
    return abi::Errno::kEBADF;
  return slots_[i].file;
}

base::Result<int32_t> FdTable::PlaceLocked(base::Ref<File> file, bool cloexec, uint64_t limit,
                                           uint32_t min) {
  uint32_t i = std::max(min, next_free_);
  while (i < slots_.size() && slots_[i].file) i++;
  if (i >= limit || i >= kMaxFds) return abi::Errno::kEMFILE;
  if (i >= slots_.size()) slots_.resize(i + 1);
  slots_[i] = Slot{std::move(file), cloexec};
  if (min <= next_free_) next_free_ = i + 1;
  return static_cast<int32_t>(i);
}

base::Result<int32_t> FdTable::Install(base::Ref<File> file, bool cloexec, uint64_t limit,
                                       int32_t min) {
  if (min < 0 || (min != 0 && static_cast<uint64_t>(min) >= limit)) return abi::Errno::kEINVAL;
  base::MutexLock l(mu_);
  return PlaceLocked(std::move(file), cloexec, limit, static_cast<uint32_t>(min));
}

base::Result<void> FdTable::InstallTwo(base::Ref<File> a, base::Ref<File> b, bool cloexec,
                                       uint64_t limit, int32_t out[2]) {
  base::Ref<File> undone;
  base::MutexLock l(mu_);
  out[0] = TRY(PlaceLocked(std::move(a), cloexec, limit, 0));
  base::Result<int32_t> second = PlaceLocked(std::move(b), cloexec, limit, 0);
  if (!second.ok()) {
    const uint32_t i = static_cast<uint32_t>(out[0]);
    undone = std::move(slots_[i].file);
    slots_[i] = Slot{};
    next_free_ = std::min(next_free_, i);
    return second.error();
  }
  out[1] = *second;
  return {};
}

base::Result<base::Ref<File>> FdTable::InstallAt(int32_t fd, base::Ref<File> file, bool cloexec,
                                                 uint64_t limit) {
  const uint32_t i = static_cast<uint32_t>(fd);
  if (fd < 0 || i >= limit || i >= kMaxFds) return abi::Errno::kEBADF;
  base::MutexLock l(mu_);
  if (i >= slots_.size()) slots_.resize(i + 1);
  base::Ref<File> old = std::move(slots_[i].file);
  slots_[i] = Slot{std::move(file), cloexec};
  return old;
}

base::Result<base::Ref<File>> FdTable::Remove(int32_t fd) {
  base::MutexLock l(mu_);
  const uint32_t i = static_cast<uint32_t>(fd);
  if (i >= slots_.size() || !slots_[i].file) return abi::Errno::kEBADF;
  base::Ref<File> f = std::move(slots_[i].file);
  slots_[i] = Slot{};
  next_free_ = std::min(next_free_, i);
  return f;
}

std::vector<base::Ref<File>> FdTable::RemoveRange(uint32_t first, uint32_t last) {
  std::vector<base::Ref<File>> out;
  base::MutexLock l(mu_);
  for (uint32_t i = first; i < slots_.size() && i <= last; i++) {
    if (!slots_[i].file) continue;
    out.push_back(std::move(slots_[i].file));
    slots_[i] = Slot{};
    next_free_ = std::min(next_free_, i);
  }
  return out;
}

std::vector<base::Ref<File>> FdTable::RemoveCloexec() {
  std::vector<base::Ref<File>> out;
  base::MutexLock l(mu_);
  for (uint32_t i = 0; i < slots_.size(); i++) {
    if (!slots_[i].file || !slots_[i].cloexec) continue;
    out.push_back(std::move(slots_[i].file));
    slots_[i] = Slot{};
    next_free_ = std::min(next_free_, i);
  }
  return out;
}

void FdTable::SetCloexecRange(uint32_t first, uint32_t last) {
  base::MutexLock l(mu_);
  for (uint32_t i = first; i < slots_.size() && i <= last; i++) {
    if (slots_[i].file) slots_[i].cloexec = true;
  }
}

base::Result<bool> FdTable::cloexec(int32_t fd) {
  base::MutexLock l(mu_);
  const uint32_t i = static_cast<uint32_t>(fd);
  if (i >= slots_.size() || !slots_[i].file) return abi::Errno::kEBADF;
  return slots_[i].cloexec;
}

base::Result<void> FdTable::set_cloexec(int32_t fd, bool on) {
  base::MutexLock l(mu_);
  const uint32_t i = static_cast<uint32_t>(fd);
  if (i >= slots_.size() || !slots_[i].file) return abi::Errno::kEBADF;
  slots_[i].cloexec = on;
  return {};
}

std::vector<int32_t> FdTable::List() {
  std::vector<int32_t> out;
  base::MutexLock l(mu_);
  for (uint32_t i = 0; i < slots_.size(); i++) {
    if (slots_[i].file) out.push_back(static_cast<int32_t>(i));
  }
  return out;
}

uint32_t FdTable::size() {
  base::MutexLock l(mu_);
  return static_cast<uint32_t>(slots_.size());
}

}  // namespace sentry
