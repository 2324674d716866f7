#include "sentry/fs/proc/proc.h"

#include <cstdarg>
#include <cstdio>

#include "sentry/kernel/pidfd.h"
#include "syscalls/abi/capability.h"

namespace sentry {
namespace proc {

uint64_t InoFor(int32_t id, uint32_t kind, uint32_t sub) {
  return (uint64_t{1} << 60) | static_cast<uint64_t>(static_cast<uint32_t>(id)) << 28 |
         static_cast<uint64_t>(kind) << 20 | (sub & 0xfffff);
}

std::string Format(const char* format, ...) {
  char buf[1024];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(buf, sizeof buf, format, args);
  va_end(args);
  return std::string(buf, n < 0 ? 0 : std::min<size_t>(n, sizeof buf - 1));
}

bool MayRead(const Task& target) {
  Task* self = Task::Current();
  if (self == nullptr || &self->group() == &target.group()) return true;
  base::Ref<const Creds> mine = self->creds_ref(), theirs = target.creds_ref();
  const bool same = mine->fsuid == theirs->euid && mine->fsuid == theirs->suid &&
                    mine->fsuid == theirs->uid && mine->fsgid == theirs->egid &&
                    mine->fsgid == theirs->sgid && mine->fsgid == theirs->gid;
  if (mine->HasIn(*theirs->user_ns, abi::kCAP_SYS_PTRACE)) return true;
  if (!same) return false;
  base::Ref<MemoryManager> mm = target.mm_ref();
  return !mm || mm->dumpable.load(std::memory_order_relaxed);
}

namespace {

std::vector<ProcEntry>& Entries() {
  static std::vector<ProcEntry>* entries = new std::vector<ProcEntry>();
  return *entries;
}

bool ParsePid(std::string_view name, int32_t* pid) {
  if (name.empty() || name.size() > 9 || name[0] == '0') return false;
  int32_t v = 0;
  for (char c : name) {
    if (c < '0' || c > '9') return false;
    v = v * 10 + (c - '0');
  }
  *pid = v;
  return true;
}

class ProcRoot final : public SynthDir {
 public:
  explicit ProcRoot(base::Ref<Instance> sb) : SynthDir(sb, 0555, 1), instance_(sb) {
    fixed_ = base::MakeRef<SynthStaticDir>(sb, 0555, 1);
    AddGlobalFiles(sb->kernel, *fixed_);
    AddSysctls(sb->kernel, *fixed_);
    base::Ref<PidNamespace> ns = sb->ns;
    fixed_->Add("self",
                base::MakeRef<SynthLink>(sb, sb->NextIno(), [ns]() -> base::Result<std::string> {
                  Task* t = Task::Current();
                  if (t == nullptr) return abi::Errno::kENOENT;
                  base::MutexLock lock(t->kernel().tree_mu);
                  int32_t id = ns->IdOf(t->group());
                  if (id == 0) return abi::Errno::kENOENT;
                  return std::to_string(id);
                }));
    fixed_->Add("thread-self",
                base::MakeRef<SynthLink>(sb, sb->NextIno(), [ns]() -> base::Result<std::string> {
                  Task* t = Task::Current();
                  if (t == nullptr) return abi::Errno::kENOENT;
                  base::MutexLock lock(t->kernel().tree_mu);
                  int32_t id = ns->IdOf(t->group()), tid = ns->IdOf(*t);
                  if (id == 0 || tid == 0) return abi::Errno::kENOENT;
                  return std::to_string(id) + "/task/" + std::to_string(tid);
                }));
    sb->net = base::MakeRef<SynthStaticDir>(sb, 0555, sb->NextIno());
    for (const ProcEntry& e : Entries()) AddEntry(e);
  }

  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override {
    int32_t pid;
    if (ParsePid(name, &pid)) {
      base::Ref<Task> task;
      {
        base::MutexLock lock(instance_->kernel.tree_mu);
        // A thread's id finds its directory too, though only leaders are listed.
        Task* t = instance_->ns->FindTask(pid);
        if (t == nullptr || !t->TryIncRef()) return abi::Errno::kENOENT;
        task = base::Ref<Task>::Adopt(t);
      }
      return NewTaskDir(instance_, std::move(task), false);
    }
    return fixed_->Lookup(creds, name);
  }

  base::Result<void> List(int64_t after, std::vector<Entry>* out) override {
    // Cookies: fixed entries below 1 << 20, then 1 << 20 plus the pid.
    constexpr int64_t kPids = 1 << 20;
    if (after < kPids) TRY(fixed_->List(after, out));
    base::MutexLock lock(instance_->kernel.tree_mu);
    for (ThreadGroup* g : instance_->ns->Groups()) {
      int32_t id = instance_->ns->IdOf(*g);
      if (id != 0 && kPids + id > after) {
        out->push_back({std::to_string(id), InoFor(id, 0), abi::kDT_DIR, kPids + id});
      }
    }
    return {};
  }

 private:
  void AddEntry(const ProcEntry& e) {
    constexpr std::string_view kNet = "net/";
    const bool net = e.path.starts_with(kNet);
    base::Ref<SynthStaticDir> dir = net ? instance_->net : fixed_;
    size_t at = net ? kNet.size() : 0;
    static const Creds* kNobody = new Creds();
    for (size_t slash; (slash = e.path.find('/', at)) != std::string::npos; at = slash + 1) {
      std::string name = e.path.substr(at, slash - at);
      base::Result<base::Ref<Inode>> child = dir->Lookup(*kNobody, name);
      dir = child.ok() ? base::StaticRefCast<SynthStaticDir>(*child) : dir->AddDir(name);
    }
    dir->AddFile(e.path.substr(at), e.mode, e.read, e.write);
  }

  const base::Ref<Instance> instance_;
  base::Ref<SynthStaticDir> fixed_;
};

// tgid_pidfd_to_pid().
base::Ref<ThreadGroup> ProcessShownBy(File& f) {
  Inode* inode = f.inode().get();
  if (inode == nullptr || !inode->is_dir() || inode->sb().type_name() != "proc") {
    return nullptr;
  }
  // All directories of proc are SynthDirs.
  Task* task = static_cast<SynthDir*>(inode)->shown_process();
  return task == nullptr ? nullptr : task->group_ref();
}

}  // namespace
}  // namespace proc

void RegisterProcEntry(ProcEntry e) { proc::Entries().push_back(std::move(e)); }

base::Ref<Inode> NewProcFs(Kernel& kernel, base::Ref<PidNamespace> ns) {
  SetProcessOfDirectory(proc::ProcessShownBy);
  return base::MakeRef<proc::ProcRoot>(base::MakeRef<proc::Instance>(kernel, std::move(ns)));
}

}  // namespace sentry
