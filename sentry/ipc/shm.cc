#include "sentry/ipc/shm.h"

#include <cstdio>
#include <vector>

#include "sentry/kernel/kernel.h"
#include "sentry/vfs/vfs.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/stat.h"

namespace sentry {

namespace {

// The file behind an attachment, for /proc/[pid]/maps.
class ShmFile : public File {
 public:
  static constexpr char kKind = 0;
  ShmFile(int32_t key, base::Ref<Inode> inode)
      : File(Path{}, std::move(inode), abi::kO_RDWR), key_(key) {}
  const void* kind() const override { return &kKind; }
  std::string description() override {
    char name[32];
    snprintf(name, sizeof name, "/SYSV%08x (deleted)", static_cast<uint32_t>(key_));
    return name;
  }

 private:
  const int32_t key_;
};

constexpr uint32_t kRead = 0444, kWrite = 0222, kExec = 0111;

int32_t CurrentTgid() {
  Task* t = Task::Current();
  return t == nullptr ? 0 : t->root_tgid();
}

}  // namespace

void ShmSegment::OnMap(uint64_t len, bool) {
  base::MutexLock l(table_->mu_);
  mapped_bytes += len;
  atime = IpcNow();
  lpid = CurrentTgid();
}

void ShmSegment::OnUnmap(uint64_t len, bool) {
  base::Ref<ShmSegment> dropped;  // the mapping holds the segment too, so this is not the last
  base::MutexLock l(table_->mu_);
  mapped_bytes -= len;
  dtime = IpcNow();
  lpid = CurrentTgid();
  table_->MaybeDestroy(*this, &dropped);
}

uint64_t ShmSegment::ResidentBytes() {
  base::Result<Extent> e = memory_->Translate(0, size(), false);
  if (!e.ok()) return 0;
  auto* f = static_cast<MemoryFile*>(e->file.get());
  uint64_t total = 0, end = size();
  for (uint64_t at = f->NextData(0, end); at < end;) {
    uint64_t hole = f->NextHole(at, end);
    total += hole - at;
    at = hole < end ? f->NextData(hole, end) : end;
  }
  return total;
}

void ShmTable::MaybeDestroy(ShmSegment& s, base::Ref<ShmSegment>* dropped) {
  if (!s.destroy || s.mapped_bytes != 0 || s.pins != 0 || s.perm.removed) return;
  *dropped = base::Ref<ShmSegment>(&s);
  pages_ -= s.pages();
  ids_.Remove(s);
}

base::Result<int32_t> ShmTable::Get(Task& t, int32_t key, uint64_t size, int32_t flags) {
  // ipcget(). The memory is made without the lock, then the key is looked up again.
  base::Ref<ShmSegment> made;
  for (;;) {
    base::Ref<SharedAnon> memory;
    {
      base::MutexLock l(mu_);
      ShmSegment* s = key == abi::kIPC_PRIVATE ? nullptr : ids_.FindKey(key);
      if (s != nullptr) {
        if ((flags & abi::kIPC_CREAT) != 0 && (flags & abi::kIPC_EXCL) != 0) {
          return abi::Errno::kEEXIST;
        }
        if (s->segsz < size) return abi::Errno::kEINVAL;
        TRY(s->perm.Check(t.creds(), *owner_, static_cast<uint32_t>(flags)));
        return s->perm.id;
      }
      if (key != abi::kIPC_PRIVATE && (flags & abi::kIPC_CREAT) == 0) return abi::Errno::kENOENT;
      // newseg().
      if (size < abi::kSHMMIN || size > abi::kSHMMAX) return abi::Errno::kEINVAL;
      if (PageUp(size) < size) return abi::Errno::kENOSPC;
      uint64_t pages = PageUp(size) / kPageSize;
      if (pages_ + pages < pages || pages_ + pages > abi::kSHMALL) return abi::Errno::kENOSPC;
      if ((flags & abi::kSHM_HUGETLB) != 0) return abi::Errno::kEINVAL;  // no CONFIG_HUGETLBFS
      if (made) {
        made->perm.Init(t.creds(), key, flags);
        made->cpid = t.root_tgid();
        made->ctime = IpcNow();
        if (static_cast<uint64_t>(ids_.size()) >= abi::kSHMMNI || !ids_.Add(made)) {
          return abi::Errno::kENOSPC;
        }
        pages_ += pages;
        return made->perm.id;
      }
      if (static_cast<uint64_t>(ids_.size()) >= abi::kSHMMNI) return abi::Errno::kENOSPC;
    }
    // The kernel's heuristic overcommit: what can never fit is refused.
    uint64_t limit = MemoryManager::memory_bytes.load(std::memory_order_relaxed);
    if ((flags & abi::kSHM_NORESERVE) == 0 && size > limit) return abi::Errno::kENOMEM;
    memory = TRY(SharedAnon::Create(PageUp(size)));
    made = base::MakeRef<ShmSegment>(base::Ref<ShmTable>(this), std::move(memory), size);
    made->file = base::MakeRef<ShmFile>(
        key, Vfs::NewAnonInode(abi::kS_IFREG | (flags & 0777), t.creds().euid, t.creds().egid));
  }
}

base::Result<uint64_t> ShmTable::Attach(Task& t, int32_t id, uint64_t addr, int32_t flags) {
  // do_shmat().
  MmapArgs a;
  if (id < 0) return abi::Errno::kEINVAL;
  bool remap = (flags & abi::kSHM_REMAP) != 0;
  if (addr != 0) {
    if ((addr & (kPageSize - 1)) != 0) {
      if ((flags & abi::kSHM_RND) == 0) return abi::Errno::kEINVAL;
      addr = PageDown(addr);
      if (addr == 0 && remap) return abi::Errno::kEINVAL;
    }
    a.fixed = remap;
    a.fixed_noreplace = !remap;
  } else if (remap) {
    return abi::Errno::kEINVAL;
  }
  uint32_t access = kRead;
  a.prot = platform::kProtRead;
  if ((flags & abi::kSHM_RDONLY) == 0) {
    a.prot |= platform::kProtWrite;
    access |= kWrite;
  } else {
    a.max_prot = platform::kProtRead | platform::kProtExec;
  }
  if ((flags & abi::kSHM_EXEC) != 0) {
    a.prot |= platform::kProtExec;
    access |= kExec;
  }
  base::Ref<ShmSegment> s;
  {
    base::MutexLock l(mu_);
    s = TRY(ids_.Find(id));
    TRY(s->perm.Check(t.creds(), *owner_, access));
    s->pins++;
  }
  a.addr = addr;
  a.len = s->size();
  a.shared = true;
  a.mappable = s;
  a.file = s->file;
  auto r = a.fixed_noreplace && addr + a.len < addr ? base::Result<uint64_t>(abi::Errno::kEINVAL)
                                                    : t.mm().Mmap(a);
  base::Ref<ShmSegment> dropped;
  {
    base::MutexLock l(mu_);
    s->pins--;
    MaybeDestroy(*s, &dropped);
  }
  if (r.is(abi::Errno::kEEXIST)) return abi::Errno::kEINVAL;
  return r;
}

base::Result<void> ShmTable::Detach(Task& t, uint64_t addr) {
  if ((addr & (kPageSize - 1)) != 0) return abi::Errno::kEINVAL;
  // ksys_shmdt(): the first piece of an attachment that was made at addr, and all other pieces of
  // it.
  const File* file = nullptr;
  uint64_t end = 0;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const Vma& v : t.mm().Vmas()) {
    if (v.end <= addr) continue;
    if (file != nullptr && v.start >= end) break;
    auto* f = FileCast<ShmFile>(static_cast<File*>(v.file.get()));
    if (f == nullptr || v.start < addr || v.start - addr != v.offset) continue;
    if (file == nullptr) {
      file = f;
      end = addr + PageUp(static_cast<ShmSegment*>(v.mappable.get())->segsz);
    } else if (file != f) {
      continue;
    }
    ranges.push_back({v.start, v.end - v.start});
  }
  if (file == nullptr) return abi::Errno::kEINVAL;
  for (auto [start, len] : ranges) TRY(t.mm().Munmap(start, len));
  return {};
}

base::Result<int32_t> ShmTable::Stat(Task& t, int32_t id, int32_t cmd, abi::ShmidDs* out) {
  base::Ref<ShmSegment> s;
  int32_t cpid, lpid, result;
  {
    base::MutexLock l(mu_);
    s = cmd == abi::kIPC_STAT ? TRY(ids_.Find(id)) : TRY(ids_.At(id));
    if (cmd != abi::kSHM_STAT_ANY) TRY(s->perm.Check(t.creds(), *owner_, kRead));
    out->perm = s->perm.Show(t.creds());
    if (s->destroy) out->perm.mode |= abi::kSHM_DEST;
    if (s->locked) out->perm.mode |= abi::kSHM_LOCKED;
    out->segsz = s->segsz;
    out->atime = s->atime;
    out->dtime = s->dtime;
    out->ctime = s->ctime;
    out->nattch = s->attached();
    cpid = s->cpid;
    lpid = s->lpid;
    result = cmd == abi::kIPC_STAT ? 0 : s->perm.id;
  }
  out->cpid = ShowPid(t, cpid);
  out->lpid = ShowPid(t, lpid);
  return result;
}

base::Result<void> ShmTable::Set(Task& t, int32_t id, const abi::ShmidDs& in) {
  base::MutexLock l(mu_);
  base::Ref<ShmSegment> s = TRY(ids_.Find(id));
  TRY(s->perm.CheckOwner(t.creds(), *owner_));
  TRY(s->perm.Update(t.creds(), in.perm));
  s->ctime = IpcNow();
  return {};
}

base::Result<void> ShmTable::Remove(Task& t, int32_t id) {
  base::Ref<ShmSegment> s, dropped;
  base::MutexLock l(mu_);
  s = TRY(ids_.Find(id));
  TRY(s->perm.CheckOwner(t.creds(), *owner_));
  s->destroy = true;
  ids_.DropKey(*s);
  MaybeDestroy(*s, &dropped);
  return {};
}

base::Result<void> ShmTable::LockMemory(Task& t, int32_t id, bool lock) {
  base::MutexLock l(mu_);
  base::Ref<ShmSegment> s = TRY(ids_.Find(id));
  const Creds& c = t.creds();
  if (!c.HasIn(*owner_, abi::kCAP_IPC_LOCK)) {
    if (c.euid != s->perm.uid && c.euid != s->perm.cuid) return abi::Errno::kEPERM;
    if (lock && t.group().limits.Get(abi::kRLIMIT_MEMLOCK).cur == 0) return abi::Errno::kEPERM;
  }
  s->locked = lock;
  return {};
}

int32_t ShmTable::Limits(abi::Shminfo* out) {
  base::MutexLock l(mu_);
  out->shmmax = abi::kSHMMAX;
  out->shmmin = abi::kSHMMIN;
  out->shmmni = abi::kSHMMNI;
  out->shmseg = abi::kSHMSEG;
  out->shmall = abi::kSHMALL;
  return ids_.highest();
}

int32_t ShmTable::Usage(abi::ShmInfo* out) {
  base::MutexLock l(mu_);
  out->used_ids = ids_.size();
  out->shm_tot = pages_;
  for (auto& [index, s] : ids_.all()) out->shm_rss += s->ResidentBytes() / kPageSize;
  return ids_.highest();
}

std::string ShmTable::ProcText(const Task& reader) {
  std::string text =
      "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
      "      atime      dtime      ctime                   rss                  swap\n";
  std::vector<base::Ref<ShmSegment>> all;
  {
    base::MutexLock l(mu_);
    for (auto& [index, s] : ids_.all()) all.push_back(s);
  }
  for (auto& s : all) {
    abi::ShmidDs d{};
    int32_t id;
    {
      base::MutexLock l(mu_);
      d.perm = s->perm.Show(*reader.creds_ref());
      if (s->destroy) d.perm.mode |= abi::kSHM_DEST;
      if (s->locked) d.perm.mode |= abi::kSHM_LOCKED;
      d.cpid = s->cpid, d.lpid = s->lpid, d.nattch = s->attached();
      d.atime = s->atime, d.dtime = s->dtime, d.ctime = s->ctime;
      id = s->perm.id;
    }
    char line[320];
    snprintf(line, sizeof line,
             "%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10lu %10lu %10lu %21lu %21lu\n",
             d.perm.key, id, d.perm.mode, s->segsz, static_cast<uint32_t>(ShowPid(reader, d.cpid)),
             static_cast<uint32_t>(ShowPid(reader, d.lpid)), d.nattch, d.perm.uid, d.perm.gid,
             d.perm.cuid, d.perm.cgid, static_cast<uint64_t>(d.atime),
             static_cast<uint64_t>(d.dtime), static_cast<uint64_t>(d.ctime), s->ResidentBytes(),
             uint64_t{0});
    text += line;
  }
  return text;
}

void ShmTable::Clear() {
  std::vector<base::Ref<ShmSegment>> all;
  base::MutexLock l(mu_);
  for (auto& [index, s] : ids_.all()) all.push_back(s);
  for (auto& s : all) ids_.Remove(*s);
  pages_ = 0;
}

}  // namespace sentry
