#include "sentry/fs/devpts/devpts.h"

#include <charconv>
#include <cstdio>

#include "sentry/kernel/task.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/dirent.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {

constexpr uint64_t kDevptsMagic = 0x1cd1;
constexpr uint64_t kRootIno = 1, kPtmxIno = 2, kFirstSlaveIno = 3;

base::Mutex<base::LockClass::kLeaf> default_mu;
Devpts* default_instance GUARDED_BY(default_mu) = nullptr;  // owns a reference

FileTime RealtimeNow() {
  int64_t ns = HostClock().Realtime();
  return {ns / 1000000000, static_cast<uint32_t>(ns % 1000000000)};
}

Devpts& Of(const Inode& i) { return static_cast<Devpts&>(i.sb()); }

// The node of a slave: its attributes live in the superblock while the terminal does.
class SlaveInode : public Inode {
 public:
  SlaveInode(base::Ref<Superblock> sb, uint32_t index)
      : Inode(std::move(sb), abi::kS_IFCHR, kFirstSlaveIno + index), index_(index) {}
  uint32_t index() const { return index_; }
  Perm perm() override {
    base::Result<Kstat> k = Getattr();
    if (!k.ok()) return {abi::kS_IFCHR, 0, 0};
    return {k->mode, k->uid, k->gid};
  }
  base::Result<Kstat> Getattr() override {
    base::Result<Kstat> k = Of(*this).NodeAttr(index_);
    // A file that outlives its node keeps a stat(2).
    if (!k.ok()) {
      Kstat gone;
      gone.mode = abi::kS_IFCHR | 0600;
      gone.nlink = 0;
      gone.rdev = MakeDev(kPtsMajor, index_);
      gone.dev = sb().dev();
      gone.ino = ino();
      return gone;
    }
    return k;
  }
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override {
    return Of(*this).SetNodeAttr(index_, a);
  }

 private:
  const uint32_t index_;
};

class PtmxInode : public Inode {
 public:
  explicit PtmxInode(base::Ref<Superblock> sb, uint32_t mode)
      : Inode(std::move(sb), abi::kS_IFCHR, kPtmxIno), mode_(mode), time_(RealtimeNow()) {}
  Perm perm() override { return {abi::kS_IFCHR | mode_.load(), 0, 0}; }
  base::Result<Kstat> Getattr() override {
    Kstat k;
    k.dev = sb().dev();
    k.ino = ino();
    k.mode = abi::kS_IFCHR | mode_.load();
    k.rdev = kPtmxDev;
    k.atime = k.mtime = k.ctime = time_;
    return k;
  }
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override {
    if (a.mask & SetAttr::kMode) mode_.store(a.mode & 07777);
    return {};
  }

 private:
  std::atomic<uint32_t> mode_;
  const FileTime time_;
};

class RootInode : public Inode {
 public:
  explicit RootInode(base::Ref<Superblock> sb)
      : Inode(std::move(sb), abi::kS_IFDIR, kRootIno), time_(RealtimeNow()) {}
  Perm perm() override {
    const Devpts::Config& o = Of(*this).options();
    return {abi::kS_IFDIR | 0755, o.root_uid, o.root_gid};
  }
  base::Result<Kstat> Getattr() override {
    Kstat k;
    k.dev = sb().dev();
    k.ino = ino();
    k.mode = abi::kS_IFDIR | 0755;
    k.uid = Of(*this).options().root_uid;
    k.gid = Of(*this).options().root_gid;
    k.nlink = 2;
    k.blksize = 1024;
    k.atime = k.mtime = k.ctime = time_;
    return k;
  }
  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override {
    if (name == "ptmx") {
      return base::Ref<Inode>(
          base::MakeRef<PtmxInode>(base::Ref<Superblock>(&sb()), Of(*this).options().ptmx_mode));
    }
    uint32_t index;
    auto [end, err] = std::from_chars(name.data(), name.data() + name.size(), index);
    if (err != std::errc() || end != name.data() + name.size() ||
        (name.size() > 1 && name[0] == '0') || !Of(*this).Find(index)) {
      return abi::Errno::kENOENT;
    }
    return base::Ref<Inode>(base::MakeRef<SlaveInode>(base::Ref<Superblock>(&sb()), index));
  }
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;

 private:
  const FileTime time_;
};

class RootFile : public File {
 public:
  RootFile(base::Ref<Inode> inode, uint32_t flags) : File(Path{}, std::move(inode), flags) {}
  base::Result<uint64_t> Read(IoBuffer&, uint64_t*, uint32_t) override {
    return abi::Errno::kEISDIR;
  }
  base::Result<uint64_t> Seek(int64_t offset, int whence) override {
    base::MutexLock lock(pos_mu);
    if (whence == abi::kSEEK_CUR) offset += static_cast<int64_t>(pos);
    if (offset < 0 || (whence != abi::kSEEK_SET && whence != abi::kSEEK_CUR)) {
      return abi::Errno::kEINVAL;
    }
    pos = static_cast<uint64_t>(offset);
    return pos;
  }
  // Called with pos_mu held.
  base::Result<void> Iterate(DirSink& sink) override NO_THREAD_SAFETY_ANALYSIS {
    // Positions: 0 ".", 1 "..", 2 "ptmx", 3 + N terminal N.
    if (pos == 0 && !sink.Add({".", kRootIno, abi::kDT_DIR, 1})) return {};
    if (pos < 1) pos = 1;
    if (pos == 1 && !sink.Add({"..", kRootIno, abi::kDT_DIR, 2})) return {};
    if (pos < 2) pos = 2;
    if (pos == 2 && !sink.Add({"ptmx", kPtmxIno, abi::kDT_CHR, 3})) return {};
    if (pos < 3) pos = 3;
    for (uint32_t n : Of(*inode()).List()) {
      if (n + 3 < pos) continue;
      std::string name = std::to_string(n);
      if (!sink.Add({name, kFirstSlaveIno + n, abi::kDT_CHR, static_cast<int64_t>(n) + 4})) {
        return {};
      }
      pos = n + 4;
    }
    return {};
  }
};

base::Result<base::Ref<File>> RootInode::Open(const base::Ref<Dentry>& dentry,
                                              const OpenFlags& flags, const Creds& creds) {
  return base::Ref<File>(base::MakeRef<RootFile>(base::Ref<Inode>(this), flags.flags));
}

}  // namespace

Devpts::Devpts(Kernel& kernel, const Config& options)
    : Superblock("devpts"), kernel_(kernel), options_(options) {}

base::Ref<Devpts> Devpts::Create(Kernel& kernel, const Config& options) {
  auto sb = base::Ref<Devpts>::Adopt(new Devpts(kernel, options));
  // The root holds the superblock and the other way round: an instance lives as long as the
  // sandbox, as its terminals may.
  sb->root_ = base::MakeRef<RootInode>(base::Ref<Superblock>(sb));
  kernel.session_leader_exit = &Terminal::LeaderExit;
  kernel.terminal_attached = &Terminal::Attached;
  base::MutexLock lock(default_mu);
  if (default_instance == nullptr) {
    default_instance = sb.get();
    sb->IncRef();
  }
  return sb;
}

base::Ref<Devpts> Devpts::Default() {
  base::MutexLock lock(default_mu);
  return base::Ref<Devpts>(default_instance);
}

base::Result<base::Ref<Terminal>> Devpts::NewTerminal(uint32_t uid, uint32_t gid) {
  base::MutexLock lock(mu_);
  uint32_t i = 0;
  while (i < slots_.size() && slots_[i].terminal != nullptr) i++;
  if (i >= options_.max) return abi::Errno::kENOSPC;
  if (i == slots_.size()) slots_.emplace_back();
  auto t = base::MakeRef<Terminal>(kernel_, base::Ref<Devpts>(this), i);
  Slot& s = slots_[i];
  s.terminal = t.get();
  s.uid = options_.set_uid ? options_.uid : uid;
  s.gid = options_.set_gid ? options_.gid : gid;
  s.mode = options_.mode;
  s.time = RealtimeNow();
  return t;
}

base::Ref<Terminal> Devpts::Find(uint32_t index) {
  base::MutexLock lock(mu_);
  if (index >= slots_.size() || slots_[index].terminal == nullptr) return nullptr;
  Terminal* t = slots_[index].terminal;
  if (!t->TryIncRef()) return nullptr;
  return base::Ref<Terminal>::Adopt(t);
}

void Devpts::Forget(uint32_t index) {
  base::MutexLock lock(mu_);
  if (index < slots_.size()) slots_[index].terminal = nullptr;
}

std::vector<uint32_t> Devpts::List() {
  base::MutexLock lock(mu_);
  std::vector<uint32_t> out;
  for (uint32_t i = 0; i < slots_.size(); i++) {
    if (slots_[i].terminal != nullptr) out.push_back(i);
  }
  return out;
}

base::Result<Kstat> Devpts::NodeAttr(uint32_t index) {
  base::MutexLock lock(mu_);
  if (index >= slots_.size() || slots_[index].terminal == nullptr) return abi::Errno::kENOENT;
  const Slot& s = slots_[index];
  Kstat k;
  k.dev = dev();
  k.ino = kFirstSlaveIno + index;
  k.mode = abi::kS_IFCHR | s.mode;
  k.uid = s.uid;
  k.gid = s.gid;
  k.rdev = MakeDev(kPtsMajor, index);
  k.blksize = 1024;
  k.atime = k.mtime = k.ctime = s.time;
  return k;
}

base::Result<void> Devpts::SetNodeAttr(uint32_t index, const SetAttr& a) {
  base::MutexLock lock(mu_);
  if (index >= slots_.size() || slots_[index].terminal == nullptr) return abi::Errno::kEIO;
  Slot& s = slots_[index];
  if (a.mask & SetAttr::kMode) s.mode = a.mode & 07777;
  if (a.mask & SetAttr::kUid) s.uid = a.uid;
  if (a.mask & SetAttr::kGid) s.gid = a.gid;
  s.time = RealtimeNow();
  return {};
}

base::Ref<File> Devpts::NewSlaveFile(base::Ref<Terminal> t, uint32_t flags) {
  auto inode = base::MakeRef<SlaveInode>(base::Ref<Superblock>(this), t->index());
  return base::MakeRef<TtyFile>(std::move(t), std::move(inode), flags, false);
}

base::Result<FsStat> Devpts::Statfs() {
  FsStat s;
  s.type = kDevptsMagic;
  return s;
}

std::string Devpts::Options() const {
  char text[96];
  int n = 0;
  if (options_.set_uid) n += snprintf(text + n, sizeof text - n, "uid=%u,", options_.uid);
  if (options_.set_gid) n += snprintf(text + n, sizeof text - n, "gid=%u,", options_.gid);
  n += snprintf(text + n, sizeof text - n, "mode=%03o,ptmxmode=%03o", options_.mode,
                options_.ptmx_mode);
  return std::string(text, n);
}

base::Result<Devpts::Config> ParseDevptsOptions(std::string_view data) {
  Devpts::Config o;
  while (!data.empty()) {
    size_t comma = data.find(',');
    std::string_view item = data.substr(0, comma);
    data = comma == std::string_view::npos ? std::string_view() : data.substr(comma + 1);
    if (item.empty() || item == "newinstance") continue;
    size_t eq = item.find('=');
    if (eq == std::string_view::npos) return abi::Errno::kEINVAL;
    std::string_view key = item.substr(0, eq), value = item.substr(eq + 1);
    uint32_t v;
    int radix = key == "mode" || key == "ptmxmode" ? 8 : 10;
    auto [end, err] = std::from_chars(value.data(), value.data() + value.size(), v, radix);
    if (err != std::errc() || end != value.data() + value.size()) return abi::Errno::kEINVAL;
    if (key == "mode") {
      o.mode = v & 07777;
    } else if (key == "ptmxmode") {
      o.ptmx_mode = v & 07777;
    } else if (key == "uid") {
      o.uid = v;
      o.set_uid = true;
    } else if (key == "gid") {
      o.gid = v;
      o.set_gid = true;
    } else if (key == "max") {
      if (v > Devpts::kMaxTerminals) return abi::Errno::kEINVAL;
      o.max = v;
    } else {
      return abi::Errno::kEINVAL;
    }
  }
  return o;
}

base::Result<base::Ref<Inode>> MountDevpts(Kernel& kernel, const Creds& creds,
                                           std::string_view source, std::string_view data) {
  Devpts::Config o = TRY(ParseDevptsOptions(data));
  if (creds.user_ns) {
    if (o.set_uid) o.uid = creds.user_ns->UidToGlobal(o.uid);
    if (o.set_gid) o.gid = creds.user_ns->GidToGlobal(o.gid);
  }
  if ((o.set_uid && o.uid == UINT32_MAX) || (o.set_gid && o.gid == UINT32_MAX))
    return abi::Errno::kEINVAL;
  o.root_uid = creds.fsuid;
  o.root_gid = creds.fsgid;
  return Devpts::Create(kernel, o)->root();
}

base::Result<base::Ref<File>> OpenPtmx(const VfsContext& ctx, const Path& p, const OpenFlags& how) {
  base::Ref<Inode> inode = p.dentry->inode();
  base::Ref<Devpts> devpts =
      inode->sb().type_name() == "devpts" ? base::Ref<Devpts>(&Of(*inode)) : Devpts::Default();
  if (!devpts) return abi::Errno::kENODEV;
  base::Ref<Terminal> t = TRY(devpts->NewTerminal(ctx.creds.fsuid, ctx.creds.fsgid));
  return base::Ref<File>(base::MakeRef<TtyFile>(std::move(t), std::move(inode), how.flags, true));
}

namespace {

base::Result<base::Ref<File>> OpenSlaveOf(const VfsContext& ctx, base::Ref<Terminal> t,
                                          base::Ref<Inode> inode, const OpenFlags& how) {
  TRY(t->OpenSlave(ctx.creds.Has(abi::kCAP_SYS_ADMIN)));
  auto file = base::MakeRef<TtyFile>(t, std::move(inode), how.flags, false);
  if ((how.flags & abi::kO_NOCTTY) == 0 && ctx.task != nullptr) {
    t->MaybeSetControlling(*ctx.task, how.readable());
  }
  return base::Ref<File>(file);
}

}  // namespace

base::Result<base::Ref<File>> OpenCurrentTty(const VfsContext& ctx, const Path& p,
                                             const OpenFlags& how) {
  if (ctx.task == nullptr) return abi::Errno::kENXIO;
  base::Ref<Terminal> t = Terminal::OfTask(*ctx.task);
  if (!t) return abi::Errno::kENXIO;
  OpenFlags no_ctty = how;
  no_ctty.flags |= abi::kO_NOCTTY;
  return OpenSlaveOf(ctx, std::move(t), p.dentry->inode(), no_ctty);
}

base::Result<base::Ref<File>> OpenSlaveNode(const VfsContext& ctx, const Path& p,
                                            const OpenFlags& how) {
  base::Ref<Inode> inode = p.dentry->inode();
  if (inode->sb().type_name() != "devpts") return abi::Errno::kENXIO;
  base::Ref<Terminal> t = Of(*inode).Find(static_cast<SlaveInode&>(*inode).index());
  if (!t) return abi::Errno::kEIO;
  return OpenSlaveOf(ctx, std::move(t), std::move(inode), how);
}

TtyFile::TtyFile(base::Ref<Terminal> t, base::Ref<Inode> inode, uint32_t flags, bool master)
    : File(Path{}, std::move(inode),
           flags & ~static_cast<uint32_t>(abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY |
                                          abi::kO_TRUNC | abi::kO_CLOEXEC)),
      terminal_(std::move(t)),
      master_(master) {}

TtyFile::~TtyFile() {
  if (master_) {
    terminal_->CloseMaster();
  } else {
    terminal_->CloseSlave();
  }
}

base::Result<uint64_t> TtyFile::Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
  return master_ ? terminal_->MasterRead(dst)
                 : terminal_->SlaveRead(dst, nonblocking(), &read_deadline_);
}

base::Result<uint64_t> TtyFile::Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) {
  return master_ ? terminal_->MasterWrite(src) : terminal_->SlaveWrite(src);
}

uint32_t TtyFile::Poll() { return master_ ? terminal_->MasterPoll() : terminal_->SlavePoll(); }

WaitQueue* TtyFile::wait_queue() {
  return master_ ? &terminal_->master_queue() : &terminal_->slave_queue();
}

base::Result<uint64_t> TtyFile::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  return terminal_->Ioctl(task, master_, *this, cmd, arg);
}

std::string TtyFile::Fdinfo() {
  if (!master_) return "";
  return "tty-index:\t" + std::to_string(terminal_->index()) + "\n";
}

std::string TtyFile::description() {
  return master_ ? "/dev/ptmx" : "/dev/pts/" + std::to_string(terminal_->index());
}

}  // namespace sentry
