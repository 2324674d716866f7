#include "sentry/fs/proc/task_dir.h"

#include <algorithm>
#include <cstdlib>

#include "sentry/kernel/ns_file.h"
#include "sentry/vfs/fd_table.h"

namespace sentry {
namespace proc {
namespace {

using TextFn = Text (*)(Instance&, Task&, bool);
using WriteTaskFn = base::Result<void> (*)(Task&, std::string_view);

// A process shown by proc belongs to its effective ids, to root if it may not be dumped
// (task_dump_owner()).
struct Owner {
  uint32_t uid = 0, gid = 0;
};
Owner OwnerOf(const Task& t) {
  base::Ref<MemoryManager> mm = t.mm_ref();
  if (mm && !mm->dumpable.load(std::memory_order_relaxed)) return {};
  base::Ref<const Creds> c = t.creds_ref();
  return {c->euid, c->egid};
}

// Reaped: it has no number any more.
bool Gone(const Instance& i, const Task& t) {
  if (!t.exiting()) return false;
  base::MutexLock lock(i.kernel.tree_mu);
  return i.ns->FindTask(i.ns->IdOf(t)) != &t;
}

Kstat LinkStat(Inode& link, uint64_t size) {
  Kstat k;
  const Inode::Perm p = link.perm();
  k.dev = link.sb().dev();
  k.ino = link.ino();
  k.mode = p.mode;
  k.uid = p.uid;
  k.gid = p.gid;
  k.size = size;
  k.blksize = 1024;
  k.atime = k.mtime = k.ctime = Now();
  return k;
}

// A place of its own, outside every tree, for an object without a name.
Path PlaceOf(std::string name, base::Ref<Inode> inode) {
  base::Ref<Superblock> sb(&inode->sb());
  auto root = base::MakeRef<Dentry>(nullptr, std::move(name), std::move(inode));
  return Path{base::MakeRef<Mount>(0, std::move(sb), root, 0), root};
}

// exe, cwd, root.
class TaskLink final : public MagicLink {
 public:
  using PathFn = std::function<base::Result<Path>(Task&)>;
  TaskLink(base::Ref<Superblock> sb, uint64_t ino, base::Ref<Task> task, PathFn path)
      : MagicLink(std::move(sb), abi::kS_IFLNK | 0777, ino),
        task_(std::move(task)),
        path_(std::move(path)) {}
  Perm perm() override {
    Owner o = OwnerOf(*task_);
    return {abi::kS_IFLNK | 0777, o.uid, o.gid};
  }
  base::Result<Kstat> Getattr() override { return LinkStat(*this, 0); }
  base::Result<std::string> Readlink(const Creds&) override { return PathForReader(TRY(Get())); }
  base::Result<Path> Target(const VfsContext&) override { return Get(); }

 private:
  base::Result<Path> Get() {
    if (!MayRead(*task_)) return abi::Errno::kEACCES;
    return path_(*task_);
  }
  const base::Ref<Task> task_;
  const PathFn path_;
};

class FdLink final : public MagicLink {
 public:
  FdLink(base::Ref<Superblock> sb, uint64_t ino, base::Ref<Task> task, int32_t fd, uint32_t mode)
      : MagicLink(std::move(sb), abi::kS_IFLNK | mode, ino),
        task_(std::move(task)),
        fd_(fd),
        mode_(mode) {}
  Perm perm() override {
    Owner o = OwnerOf(*task_);
    return {abi::kS_IFLNK | mode_, o.uid, o.gid};
  }
  base::Result<Kstat> Getattr() override { return LinkStat(*this, 64); }
  base::Result<std::string> Readlink(const Creds&) override {
    base::Ref<File> f = TRY(Get());
    std::string d = f->description();
    return d.empty() ? PathForReader(f->path()) : d;
  }
  base::Result<Path> Target(const VfsContext&) override {
    base::Ref<File> f = TRY(Get());
    if (f->path()) return f->path();
    // An object without a name still has attributes to ask for.
    return PlaceOf(f->description(), f->inode());
  }
  base::Result<base::Ref<File>> Reopen(const VfsContext&, const OpenFlags& flags) override {
    base::Ref<File> f = TRY(Get());
    // What has a place in the tree is opened there, permissions and all.
    if (f->path()) return abi::Errno::kENXIO;
    return f->Reopen(flags);
  }

 private:
  base::Result<base::Ref<File>> Get() {
    if (!MayRead(*task_)) return abi::Errno::kEACCES;
    base::Ref<FdTable> fds = task_->fds_ref();
    if (!fds) return abi::Errno::kENOENT;
    base::Result<base::Ref<File>> f = fds->GetAny(fd_);
    if (!f.ok()) return abi::Errno::kENOENT;
    return f;
  }
  const base::Ref<Task> task_;
  const int32_t fd_;
  const uint32_t mode_;
};

class FdDir final : public SynthDir {
 public:
  FdDir(base::Ref<Instance> sb, base::Ref<Task> task, bool info, Owner o)
      : SynthDir(sb, info ? 0555 : 0500, InoFor(task->root_tid(), info ? 3 : 2), o.uid, o.gid),
        instance_(sb),
        task_(std::move(task)),
        info_(info) {}
  base::Result<void> Permission(const Creds& creds, uint32_t mask) override {
    if (&Task::Current()->group() == &task_->group()) return {};
    return SynthDir::Permission(creds, mask);
  }
  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override {
    if (name.empty() || name.size() > 9) return abi::Errno::kENOENT;
    int32_t fd = 0;
    for (char c : name) {
      if (c < '0' || c > '9' || (name.size() > 1 && name[0] == '0')) return abi::Errno::kENOENT;
      fd = fd * 10 + (c - '0');
    }
    if (!MayRead(*task_)) return abi::Errno::kENOENT;
    base::Ref<FdTable> fds = task_->fds_ref();
    if (!fds) return abi::Errno::kENOENT;
    base::Result<base::Ref<File>> f = fds->GetAny(fd);
    if (!f.ok()) return abi::Errno::kENOENT;
    base::Ref<Superblock> sb(&this->sb());
    if (!info_) {
      OpenFlags access{(*f)->flags(), 0};
      uint32_t mode = (access.readable() ? 0500 : 0) | (access.writable() ? 0300 : 0);
      return base::Ref<Inode>(
          base::MakeRef<FdLink>(sb, InoFor(task_->root_tid(), 4, fd), task_, fd, mode));
    }
    base::Ref<Task> task = task_;
    Owner o = OwnerOf(*task_);
    return base::Ref<Inode>(base::MakeRef<SynthFile>(
        sb, 0400, InoFor(task_->root_tid(), 5, fd),
        [task, fd]() -> Text { return Info(*task, fd); }, nullptr, o.uid, o.gid));
  }
  base::Result<void> List(int64_t after, std::vector<Entry>* out) override {
    if (!MayRead(*task_)) return abi::Errno::kEACCES;
    base::Ref<FdTable> fds = task_->fds_ref();
    if (!fds) return {};
    for (int32_t fd : fds->List()) {
      if (fd + 3 <= after) continue;
      out->push_back({std::to_string(fd), InoFor(task_->root_tid(), info_ ? 5 : 4, fd),
                      static_cast<uint8_t>(info_ ? abi::kDT_REG : abi::kDT_LNK), fd + int64_t{3}});
    }
    return {};
  }

 private:
  // As seq_show() of fs/proc/fd.c, without the lock: the reader holds that of its own file, which
  // may be this one.
  static uint64_t PositionOf(const File& f) NO_THREAD_SAFETY_ANALYSIS {
    return __atomic_load_n(&f.pos, __ATOMIC_RELAXED);
  }
  static Text Info(Task& t, int32_t fd) {
    base::Ref<FdTable> fds = t.fds_ref();
    if (!fds) return abi::Errno::kENOENT;
    base::Result<base::Ref<File>> r = fds->GetAny(fd);
    if (!r.ok()) return abi::Errno::kENOENT;
    File& f = **r;
    const uint64_t pos = PositionOf(f);
    base::Result<bool> cloexec = fds->cloexec(fd);
    uint32_t flags = f.flags() | (cloexec.ok() && *cloexec ? abi::kO_CLOEXEC : 0);
    std::string text = Format("pos:\t%lu\nflags:\t0%o\nmnt_id:\t%lu\nino:\t%lu\n", pos, flags,
                              f.path().mount ? f.path().mount->id() : 0, f.attr_inode().ino());
    return text + f.Fdinfo();
  }

  const base::Ref<Instance> instance_;
  const base::Ref<Task> task_;
  const bool info_;
};

// /proc/[pid]/mem: the process's memory at the file's offset.
class MemInode final : public SynthInode {
 public:
  MemInode(base::Ref<Superblock> sb, uint64_t ino, base::Ref<Task> task, Owner o)
      : SynthInode(std::move(sb), abi::kS_IFREG | 0600, ino, o.uid, o.gid),
        task_(std::move(task)) {}
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>&, const OpenFlags& flags,
                                     const Creds&) override {
    if (!MayRead(*task_)) return abi::Errno::kEACCES;
    base::Ref<MemoryManager> mm = task_->mm_ref();
    if (!mm) return abi::Errno::kESRCH;
    return base::Ref<File>(
        base::MakeRef<MemFile>(base::Ref<Inode>(this), flags.flags, std::move(mm)));
  }

 private:
  class MemFile final : public File {
   public:
    MemFile(base::Ref<Inode> inode, uint32_t flags, base::Ref<MemoryManager> mm)
        : File({}, std::move(inode), flags), mm_(std::move(mm)) {}
    base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t) override {
      return Move(dst, offset, false);
    }
    base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t) override {
      return Move(src, offset, true);
    }
    // mem_lseek(): any position.
    base::Result<uint64_t> Seek(int64_t offset, int whence) override {
      base::MutexLock lock(pos_mu);
      if (whence == 0) {
        pos = static_cast<uint64_t>(offset);
      } else if (whence == 1) {
        pos += static_cast<uint64_t>(offset);
      } else {
        return abi::Errno::kEINVAL;
      }
      return pos;
    }

   private:
    base::Result<uint64_t> Move(IoBuffer& buf, uint64_t* offset, bool write) {
      char page[kPageSize];
      uint64_t done = 0;
      while (buf.remaining() != 0) {
        size_t n = std::min<size_t>(buf.remaining(), kPageSize - *offset % kPageSize);
        if (write) n = buf.PeekFrom(page, n);
        size_t moved = n == 0 ? 0 : mm_->CopyForced(UserAddr{*offset}, page, n, write);
        if (write) {
          buf.Consume(moved);
        } else {
          moved = buf.CopyTo(page, moved);
        }
        done += moved;
        *offset += moved;
        if (moved < n || n == 0) break;
      }
      if (done == 0 && buf.remaining() != 0)
        return buf.faulted() ? abi::Errno::kEFAULT : abi::Errno::kEIO;
      return done;
    }
    const base::Ref<MemoryManager> mm_;
  };
  const base::Ref<Task> task_;
};

// /proc/[pid]/ns/NAME.
class NsLink final : public MagicLink {
 public:
  NsLink(base::Ref<Superblock> sb, uint64_t ino, base::Ref<Task> task,
         const NamespaceFile::Kind& kind)
      : MagicLink(std::move(sb), abi::kS_IFLNK | 0777, ino), task_(std::move(task)), kind_(kind) {}
  Perm perm() override {
    const Owner o = OwnerOf(*task_);
    return {abi::kS_IFLNK | 0777, o.uid, o.gid};
  }
  base::Result<Kstat> Getattr() override { return LinkStat(*this, 0); }
  base::Result<std::string> Readlink(const Creds&) override { return TRY(Get()).text(); }
  base::Result<Path> Target(const VfsContext&) override {
    const NamespaceFile::Ns ns = TRY(Get());
    return PlaceOf(ns.text(), NamespaceFile::NewInode(ns));
  }
  base::Result<base::Ref<File>> Reopen(const VfsContext&, const OpenFlags& flags) override {
    if (flags.writable()) return abi::Errno::kEPERM;
    return base::Ref<File>(NamespaceFile::Make(TRY(Get()), flags.flags));
  }

 private:
  base::Result<NamespaceFile::Ns> Get() {
    if (!MayRead(*task_)) return abi::Errno::kEACCES;
    NamespaceFile::Ns ns = NamespaceFile::Of(*task_, kind_);
    if (!ns.object) return abi::Errno::kENOENT;
    return ns;
  }
  const base::Ref<Task> task_;
  const NamespaceFile::Kind kind_;
};

base::Ref<Inode> NewNsDir(base::Ref<Instance> sb, base::Ref<Task> task) {
  auto dir = base::MakeRef<SynthStaticDir>(sb, 0511, InoFor(task->root_tid(), 6));
  for (const NamespaceFile::Kind& k : NamespaceFile::Kinds())
    dir->Add(k.name, base::MakeRef<NsLink>(sb, sb->NextIno(), task, k));
  return dir;
}

class ThreadsDir final : public SynthDir {
 public:
  ThreadsDir(base::Ref<Instance> sb, base::Ref<Task> task, Owner o)
      : SynthDir(sb, 0555, InoFor(task->root_tid(), 1), o.uid, o.gid),
        instance_(sb),
        task_(std::move(task)) {}
  base::Result<base::Ref<Inode>> Lookup(const Creds&, std::string_view name) override {
    base::Ref<Task> found;
    {
      base::MutexLock lock(instance_->kernel.tree_mu);
      for (Task* t : task_->group().tasks) {
        if (std::to_string(instance_->ns->IdOf(*t)) == name && t->TryIncRef())
          found = base::Ref<Task>::Adopt(t);
      }
    }
    if (!found) return abi::Errno::kENOENT;
    return NewTaskDir(instance_, std::move(found), true);
  }
  base::Result<void> List(int64_t after, std::vector<Entry>* out) override {
    {
      base::MutexLock lock(instance_->kernel.tree_mu);
      for (Task* t : task_->group().tasks) {
        int32_t id = instance_->ns->IdOf(*t);
        if (id + 3 > after)
          out->push_back({std::to_string(id), InoFor(id, 7), abi::kDT_DIR, id + int64_t{3}});
      }
    }
    std::sort(out->begin(), out->end(),
              [](const Entry& a, const Entry& b) { return a.cookie < b.cookie; });
    return {};
  }

 private:
  const base::Ref<Instance> instance_;
  const base::Ref<Task> task_;
};

struct Row {
  const char* name;
  uint32_t mode;
  TextFn read;
  WriteTaskFn write = nullptr;
  bool only_owner = false;  // ptrace_may_access needed at read
};

Text Simple(const char* s) { return std::string(s); }

constexpr Row kRows[] = {
    {"auxv", 0400, TaskAuxv, nullptr, true},
    {"cgroup", 0444, TaskCgroup},
    {"cmdline", 0444, TaskCmdline},
    {"comm", 0644, TaskComm, WriteComm},
    {"environ", 0400, TaskEnviron, nullptr, true},
    {"gid_map", 0644, TaskGidMap,
     [](Task& t, std::string_view s) { return WriteIdMap(t, s, true); }},
    {"io", 0400, TaskIo, nullptr, true},
    {"limits", 0444, TaskLimits},
    {"loginuid", 0644, [](Instance&, Task&, bool) { return Simple("4294967295"); }},
    {"maps", 0444, TaskMaps, nullptr, true},
    {"mountinfo", 0444, TaskMountinfo},
    {"mounts", 0444, TaskMounts},
    {"mountstats", 0400, TaskMountstats},
    {"oom_adj", 0644,
     [](Instance&, Task& t, bool) -> Text {
       return Format("%d\n", t.group().oom_score_adj.load() * 17 / 1000);
     }},
    {"oom_score", 0444, [](Instance&, Task&, bool) { return Simple("0\n"); }},
    {"oom_score_adj", 0644,
     [](Instance&, Task& t, bool) -> Text {
       return Format("%d\n", t.group().oom_score_adj.load());
     },
     WriteOomScoreAdj},
    {"personality", 0400, [](Instance&, Task&, bool) { return Simple("00000000\n"); }, nullptr,
     true},
    {"sessionid", 0444, [](Instance&, Task&, bool) { return Simple("4294967295"); }},
    {"setgroups", 0644, TaskSetgroups, WriteSetgroups},
    {"smaps", 0444, TaskSmaps, nullptr, true},
    {"smaps_rollup", 0444, TaskSmapsRollup, nullptr, true},
    {"stat", 0444, TaskStat},
    {"statm", 0444, TaskStatm},
    {"status", 0444, TaskStatus},
    {"timerslack_ns", 0666,
     [](Instance&, Task& t, bool) -> Text { return Format("%lu\n", t.timer_slack.load()); }},
    {"uid_map", 0644, TaskUidMap,
     [](Task& t, std::string_view s) { return WriteIdMap(t, s, false); }},
    {"wchan", 0444, [](Instance&, Task&, bool) { return Simple("0"); }},
};

// Names that are no text files.
constexpr const char* kSpecials[] = {"cwd", "exe", "fd",   "fdinfo", "mem",
                                     "net", "ns",  "root", "task"};
constexpr uint8_t kSpecialTypes[] = {10, 10, 4, 4, 8, 4, 4, 10, 4};

class TaskDir final : public SynthDir {
 public:
  TaskDir(base::Ref<Instance> sb, base::Ref<Task> task, bool thread, Owner o)
      : SynthDir(sb, 0555, InoFor(task->root_tid(), thread ? 7 : 0), o.uid, o.gid),
        instance_(sb),
        task_(std::move(task)),
        thread_(thread) {}

  Task* shown_process() override { return thread_ ? nullptr : task_.get(); }

  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override {
    if (Gone(*instance_, *task_)) return abi::Errno::kESRCH;
    const Owner o = OwnerOf(*task_);
    base::Ref<Instance> i = instance_;
    base::Ref<Task> t = task_;
    for (size_t r = 0; r < std::size(kRows); r++) {
      const Row* row = &kRows[r];
      if (name != row->name) continue;
      const bool thread = thread_;
      SynthFile::WriteFn write;
      if (row->write != nullptr) {
        write = [i, t, row](std::string_view s) -> base::Result<void> {
          if (Gone(*i, *t)) return abi::Errno::kESRCH;
          return row->write(*t, s);
        };
      }
      return base::Ref<Inode>(base::MakeRef<SynthFile>(
          i, row->mode, InoFor(t->root_tid(), (thread ? 40 : 8), static_cast<uint32_t>(r)),
          [i, t, row, thread]() -> Text {
            if (Gone(*i, *t)) return abi::Errno::kESRCH;
            if (row->only_owner && !MayRead(*t)) return abi::Errno::kEACCES;
            return row->read(*i, *t, thread);
          },
          std::move(write), o.uid, o.gid));
    }
    const int32_t id = t->root_tid();
    if (name == "fd") return NewFdDir(i, t, false);
    if (name == "fdinfo") return NewFdDir(i, t, true);
    if (name == "task" && !thread_) return base::Ref<Inode>(base::MakeRef<ThreadsDir>(i, t, o));
    if (name == "ns") return NewNsDir(i, t);
    if (name == "mem") return base::Ref<Inode>(base::MakeRef<MemInode>(i, InoFor(id, 9), t, o));
    if (name == "net") return base::Ref<Inode>(i->net);
    if (name == "exe") {
      return base::Ref<Inode>(
          base::MakeRef<TaskLink>(i, InoFor(id, 11), t, [](Task& t) -> base::Result<Path> {
            base::Ref<MemoryManager> mm = t.mm_ref();
            base::Ref<base::RefCounted> exe = mm ? mm->exe() : nullptr;
            if (!exe) return abi::Errno::kENOENT;
            return static_cast<File*>(exe.get())->path();
          }));
    }
    if (name == "cwd" || name == "root") {
      const bool cwd = name == "cwd";
      return base::Ref<Inode>(base::MakeRef<TaskLink>(i, InoFor(id, cwd ? 12 : 13), t,
                                                      [cwd](Task& t) -> base::Result<Path> {
                                                        base::Ref<FsContext> fs = t.fs_ref();
                                                        if (!fs) return abi::Errno::kENOENT;
                                                        return cwd ? fs->cwd() : fs->root();
                                                      }));
    }
    return abi::Errno::kENOENT;
  }

  base::Result<void> List(int64_t after, std::vector<Entry>* out) override {
    int64_t cookie = 3;
    for (size_t r = 0; r < std::size(kRows); r++, cookie++) {
      if (cookie <= after) continue;
      out->push_back({kRows[r].name,
                      InoFor(task_->root_tid(), thread_ ? 40 : 8, static_cast<uint32_t>(r)),
                      abi::kDT_REG, cookie});
    }
    for (size_t s = 0; s < std::size(kSpecials); s++, cookie++) {
      if (cookie <= after || (thread_ && std::string_view(kSpecials[s]) == "task")) continue;
      out->push_back({kSpecials[s], InoFor(task_->root_tid(), 20 + static_cast<uint32_t>(s)),
                      kSpecialTypes[s], cookie});
    }
    return {};
  }

 private:
  const base::Ref<Instance> instance_;
  const base::Ref<Task> task_;
  const bool thread_;
};

}  // namespace

std::string PathForReader(const Path& p) {
  Task* t = Task::Current();
  if (t == nullptr || !p) return "";
  TaskVfs v = t->vfs();
  return Vfs::PathName(*v.mounts, v.root, p);
}

base::Ref<Inode> NewFdDir(base::Ref<Instance> sb, base::Ref<Task> task, bool info) {
  Owner o = OwnerOf(*task);
  return base::MakeRef<FdDir>(std::move(sb), std::move(task), info, o);
}

base::Ref<Inode> NewTaskDir(base::Ref<Instance> sb, base::Ref<Task> task, bool thread) {
  Owner o = OwnerOf(*task);
  return base::MakeRef<TaskDir>(std::move(sb), std::move(task), thread, o);
}

}  // namespace proc
}  // namespace sentry
