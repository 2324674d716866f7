#include "sentry/ipc/mqueue.h"

#include <algorithm>
#include <cstdio>

#include "absl/container/flat_hash_map.h"
#include "sentry/ipc/ids.h"
#include "sentry/ipc/ipc.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/dirent.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {

constexpr uint64_t kMagic = 0x19800202;  // MQUEUE_MAGIC
constexpr uint64_t kQueueSize = 80;      // FILENT_SIZE: st_size of a queue
constexpr uint64_t kEntrySize = 20;      // DIRENT_SIZE

// RLIMIT_MSGQUEUE counts per user.
struct Accounts {
  base::Mutex<base::LockClass::kLeaf> mu;
  absl::flat_hash_map<uint32_t, uint64_t> bytes GUARDED_BY(mu);
};
Accounts& TheAccounts() {
  static auto* a = new Accounts;
  return *a;
}

class MqueueDirFile : public File {
 public:
  MqueueDirFile(base::Ref<MqueueDir> dir, Path p, uint32_t flags)
      : File(std::move(p), dir, flags), dir_(*dir) {}
  base::Result<uint64_t> Read(IoBuffer&, uint64_t*, uint32_t) override {
    return abi::Errno::kEISDIR;
  }
  base::Result<void> Iterate(DirSink& sink) override NO_THREAD_SAFETY_ANALYSIS {
    int64_t at = static_cast<int64_t>(pos);
    if (at == 0) {
      if (!sink.Add({".", inode()->ino(), abi::kDT_DIR, 1})) return {};
      pos = static_cast<uint64_t>(at = 1);
    }
    if (at == 1) {
      if (!sink.Add({"..", inode()->ino(), abi::kDT_DIR, 2})) return {};
      pos = static_cast<uint64_t>(at = 2);
    }
    pos = static_cast<uint64_t>(dir_.ListFrom(at, sink));
    return {};
  }

 private:
  MqueueDir& dir_;
};

}  // namespace

base::Result<FsStat> MqueueSuperblock::Statfs() {
  FsStat s;
  s.type = kMagic;
  return s;
}

MqueueInode::MqueueInode(base::Ref<Superblock> sb, uint32_t mode, uint32_t uid, uint32_t gid)
    : Inode(sb, mode, sb->NextIno()), mode_(mode), uid_(uid), gid_(gid) {
  atime_ = mtime_ = ctime_ = Now();
}

Inode::Perm MqueueInode::perm() {
  base::MutexLock l(attr_mu_);
  return {mode_, uid_, gid_};
}

base::Result<Kstat> MqueueInode::Getattr() {
  Kstat k;
  k.dev = sb().dev();
  k.ino = ino();
  k.nlink = links.load(std::memory_order_relaxed);
  k.size = size_.load(std::memory_order_relaxed);
  base::MutexLock l(attr_mu_);
  k.mode = mode_;
  k.uid = uid_;
  k.gid = gid_;
  k.atime = atime_;
  k.mtime = mtime_;
  k.ctime = k.btime = ctime_;
  return k;
}

base::Result<void> MqueueInode::Setattr(const Creds&, const SetAttr& a) {
  FileTime now = Now();
  base::MutexLock l(attr_mu_);
  if ((a.mask & SetAttr::kMode) != 0) mode_ = type() | (a.mode & 07777);
  if ((a.mask & SetAttr::kUid) != 0) uid_ = a.uid;
  if ((a.mask & SetAttr::kGid) != 0) gid_ = a.gid;
  if ((a.mask & SetAttr::kAtime) != 0) atime_ = a.atime;
  if ((a.mask & SetAttr::kMtime) != 0) mtime_ = a.mtime;
  if ((a.mask & SetAttr::kAtimeNow) != 0) atime_ = now;
  if ((a.mask & SetAttr::kMtimeNow) != 0) mtime_ = now;
  ctime_ = now;
  return {};
}

void MqueueInode::Touch(bool atime, bool mtime) {
  FileTime now = Now();
  base::MutexLock l(attr_mu_);
  if (atime) atime_ = now;
  if (mtime) mtime_ = now;
  ctime_ = now;
}

Mqueue::Mqueue(base::Ref<Superblock> sb, uint32_t mode, uint32_t uid, uint32_t gid,
               const abi::MqAttr& attr, uint32_t payer, uint64_t charged)
    : MqueueInode(std::move(sb), abi::kS_IFREG | mode, uid, gid),
      attr_(attr),
      payer_(payer),
      charged_(charged) {
  size_.store(kQueueSize, std::memory_order_relaxed);
}

Mqueue::~Mqueue() {
  Accounts& a = TheAccounts();
  base::MutexLock l(a.mu);
  auto it = a.bytes.find(payer_);
  if (it != a.bytes.end() && (it->second -= charged_) == 0) a.bytes.erase(it);
}

base::Result<base::Ref<File>> Mqueue::Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                           const Creds&) {
  return base::Ref<File>(base::MakeRef<MqueueFile>(base::Ref<Mqueue>(this),
                                                   dentry ? dentry->name() : "", flags.flags));
}

base::Result<void> Mqueue::Send(Task& t, std::string* text, uint32_t prio) {
  base::Ref<ThreadGroup> owner;
  base::Ref<PidNamespace> ns;
  base::Ref<UserNamespace> user_ns;
  abi::SigEvent ev{};
  {
    base::MutexLock l(mu_);
    if (count_ == attr_.maxmsg) return abi::Errno::kEAGAIN;
    bytes_ += text->size();
    messages_[prio].push_back(std::move(*text));
    // __do_notify(): only for a message into an empty queue that nobody waits for.
    if (++count_ == 1 && receivers_.load(std::memory_order_relaxed) == 0 && notify_owner_) {
      owner = std::move(notify_owner_);
      ns = std::move(notify_ns_);
      user_ns = std::move(notify_user_ns_);
      ev = notify_;
    }
  }
  Touch(false, true);
  queue_.Wake(abi::kEPOLLIN | abi::kEPOLLRDNORM);
  if (owner && ev.notify == abi::kSIGEV_SIGNAL && ev.signo != 0) {
    abi::SigInfo info{};
    info.signo = ev.signo;
    info.code = abi::kSI_MESGQ;
    {
      base::MutexLock l(t.kernel().tree_mu);
      info.f.rt.pid = ns->IdOf(t.group());
    }
    uint32_t uid = user_ns->UidFromGlobal(t.creds().uid);
    info.f.rt.uid = uid == UINT32_MAX ? kOverflowId : uid;
    info.f.rt.value = ev.value;
    (void)t.kernel().SendToGroup(*owner, info);
  }
  return {};
}

base::Result<Mqueue::Received> Mqueue::Receive() {
  Received r;
  {
    base::MutexLock l(mu_);
    if (count_ == 0) return abi::Errno::kEAGAIN;
    auto it = messages_.begin();
    r.prio = it->first;
    r.text = std::move(it->second.front());
    it->second.pop_front();
    if (it->second.empty()) messages_.erase(it);
    count_--;
    bytes_ -= r.text.size();
  }
  Touch(true, false);
  queue_.Wake(abi::kEPOLLOUT | abi::kEPOLLWRNORM);
  return r;
}

base::Result<void> Mqueue::Notify(Task& t, const abi::SigEvent& ev) {
  {
    base::MutexLock l(mu_);
    if (notify_owner_) return abi::Errno::kEBUSY;
    notify_owner_ = t.group_ref();
    notify_ns_ = t.pid_ns();
    notify_user_ns_ = t.creds().user_ns;
    notify_ = ev;
  }
  Touch(true, false);
  return {};
}

void Mqueue::Unregister(const ThreadGroup& g) {
  base::Ref<ThreadGroup> owner;
  base::Ref<PidNamespace> ns;
  base::Ref<UserNamespace> user_ns;
  base::MutexLock l(mu_);
  if (notify_owner_ != &g) return;
  owner = std::move(notify_owner_);
  ns = std::move(notify_ns_);
  user_ns = std::move(notify_user_ns_);
}

abi::MqAttr Mqueue::attr() {
  abi::MqAttr a{};
  a.maxmsg = attr_.maxmsg;
  a.msgsize = attr_.msgsize;
  base::MutexLock l(mu_);
  a.curmsgs = count_;
  return a;
}

uint32_t Mqueue::Poll() {
  base::MutexLock l(mu_);
  uint32_t m = 0;
  if (count_ != 0) m |= abi::kEPOLLIN | abi::kEPOLLRDNORM;
  if (count_ < attr_.maxmsg) m |= abi::kEPOLLOUT | abi::kEPOLLWRNORM;
  return m;
}

std::string Mqueue::Status(const Task& reader) {
  base::Ref<ThreadGroup> owner;
  uint64_t bytes;
  abi::SigEvent ev{};
  {
    base::MutexLock l(mu_);
    owner = notify_owner_;
    bytes = bytes_;
    if (owner) ev = notify_;
  }
  int32_t pid = 0;
  if (owner) {
    base::MutexLock l(reader.kernel().tree_mu);
    pid = reader.pid_ns()->IdOf(*owner);
  }
  char line[128];
  snprintf(line, sizeof line, "QSIZE:%-10lu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", bytes,
           owner ? ev.notify : 0, owner && ev.notify == abi::kSIGEV_SIGNAL ? ev.signo : 0, pid);
  return line;
}

base::Result<uint64_t> MqueueFile::Read(IoBuffer& dst, uint64_t* offset, uint32_t) {
  Task* t = Task::Current();
  std::string s = t == nullptr ? "" : queue_->Status(*t);
  if (*offset >= s.size()) return 0;
  uint64_t want = std::min<uint64_t>(dst.remaining(), s.size() - *offset);
  uint64_t n = dst.CopyTo(s.data() + *offset, want);
  if (n == 0 && want != 0) return abi::Errno::kEFAULT;
  *offset += n;
  return n;
}

base::Result<void> MqueueFile::Flush() {
  if (Task* t = Task::Current()) queue_->Unregister(t->group());
  return {};
}

MqueueDir::MqueueDir(base::Ref<Superblock> sb, base::Ref<UserNamespace> owner)
    : MqueueInode(std::move(sb), abi::kS_IFDIR | 01777, 0, 0), owner_(std::move(owner)) {
  links.store(2, std::memory_order_relaxed);
}

base::Result<base::Ref<Inode>> MqueueDir::Lookup(const Creds&, std::string_view name) {
  base::MutexLock l(mu_);
  auto it = entries_.find(name);
  if (it == entries_.end()) return abi::Errno::kENOENT;
  return base::Ref<Inode>(it->second.queue);
}

base::Result<base::Ref<Mqueue>> MqueueDir::Make(std::string_view name, const Creds& creds,
                                                uint32_t mode, const abi::MqAttr* attr) {
  // mqueue_create_attr() and mqueue_get_inode().
  bool privileged = creds.Has(abi::kCAP_SYS_RESOURCE);
  if (static_cast<int64_t>(entries_.size()) >= kMqQueuesMax && !privileged) {
    return abi::Errno::kENOSPC;
  }
  abi::MqAttr a{};
  a.maxmsg = kMqMsgMax;
  a.msgsize = kMqMsgSizeMax;
  if (attr != nullptr) {
    a.maxmsg = attr->maxmsg;
    a.msgsize = attr->msgsize;
    if (a.maxmsg <= 0 || a.msgsize <= 0) return abi::Errno::kEINVAL;
    bool hard = creds.HasIn(*owner_, abi::kCAP_SYS_RESOURCE);
    if (a.maxmsg > (hard ? kMqHardMsgMax : kMqMsgMax) ||
        a.msgsize > (hard ? kMqHardMsgSizeMax : kMqMsgSizeMax)) {
      return abi::Errno::kEINVAL;
    }
  }
  // struct msg_msg and struct posix_msg_tree_node are 48 bytes each.
  constexpr int64_t kPerMessage = 48;
  uint64_t charge =
      static_cast<uint64_t>(a.maxmsg * (a.msgsize + kPerMessage) +
                            std::min<int64_t>(a.maxmsg, abi::kMQ_PRIO_MAX) * kPerMessage);
  Task* t = Task::Current();
  uint64_t limit = t == nullptr ? UINT64_MAX : t->group().limits.Get(abi::kRLIMIT_MSGQUEUE).cur;
  {
    Accounts& accounts = TheAccounts();
    base::MutexLock l(accounts.mu);
    uint64_t& used = accounts.bytes[creds.uid];
    if (used + charge < used || used + charge > limit) {
      if (used == 0) accounts.bytes.erase(creds.uid);
      return abi::Errno::kEMFILE;
    }
    used += charge;
  }
  auto q = base::MakeRef<Mqueue>(base::Ref<Superblock>(&sb()), mode & 07777, creds.fsuid,
                                 creds.fsgid, a, creds.uid, charge);
  int64_t cookie = next_cookie_++;
  entries_.emplace(std::string(name), Entry{q, cookie});
  order_.emplace(cookie, std::string(name));
  size_.fetch_add(kEntrySize, std::memory_order_relaxed);
  return q;
}

void MqueueDir::Erase(std::string_view name) {
  auto it = entries_.find(name);
  it->second.queue->links.store(0, std::memory_order_relaxed);
  order_.erase(it->second.cookie);
  entries_.erase(it);
  size_.fetch_sub(kEntrySize, std::memory_order_relaxed);
}

base::Result<base::Ref<Inode>> MqueueDir::Create(std::string_view name, const CreateArgs& a) {
  base::Ref<Mqueue> made;
  {
    base::MutexLock l(mu_);
    if (entries_.contains(name)) return abi::Errno::kEEXIST;
    made = TRY(Make(name, a.creds, a.mode, nullptr));
  }
  Touch(false, true);
  return base::Ref<Inode>(made);
}

base::Result<void> MqueueDir::Unlink(std::string_view name, Inode& victim) {
  base::Ref<Mqueue> dropped;
  {
    base::MutexLock l(mu_);
    auto it = entries_.find(name);
    if (it == entries_.end() || it->second.queue.get() != &victim) return abi::Errno::kENOENT;
    dropped = it->second.queue;
    Erase(name);
  }
  Touch(true, true);
  return {};
}

base::Result<base::Ref<File>> MqueueDir::Open(const base::Ref<Dentry>& dentry,
                                              const OpenFlags& flags, const Creds&) {
  return base::Ref<File>(
      base::MakeRef<MqueueDirFile>(base::Ref<MqueueDir>(this), Path{}, flags.flags));
}

int64_t MqueueDir::ListFrom(int64_t at, DirSink& sink) {
  base::MutexLock l(mu_);
  for (auto it = order_.lower_bound(at); it != order_.end(); ++it) {
    auto e = entries_.find(it->second);
    if (!sink.Add({it->second, e->second.queue->ino(), abi::kDT_REG, it->first + 1})) break;
    at = it->first + 1;
  }
  return at;
}

base::Result<base::Ref<File>> MqueueDir::OpenQueue(Task& t, const std::string& name, uint32_t flags,
                                                   uint32_t mode, const abi::MqAttr* attr) {
  const Creds& creds = t.creds();
  // lookup_one_len() in the root, and prepare_open().
  if (name == "." || name == ".." || name.find('/') != std::string::npos) {
    return abi::Errno::kEACCES;
  }
  if (name.size() > 255) return abi::Errno::kENAMETOOLONG;
  TRY(Permission(creds, kMayExec));
  base::Ref<Mqueue> q;
  bool made = false;
  {
    base::MutexLock l(mu_);
    auto it = entries_.find(name);
    if (it != entries_.end()) {
      q = it->second.queue;
    } else {
      if ((flags & abi::kO_CREAT) == 0) return abi::Errno::kENOENT;
      TRY(Permission(creds, kMayExec | kMayWrite));
      q = TRY(Make(name, creds, mode & ~t.fs().umask() & 0777, attr));
      made = true;
    }
  }
  if (made) {
    Touch(false, true);
  } else {
    if ((flags & abi::kO_CREAT) != 0 && (flags & abi::kO_EXCL) != 0) return abi::Errno::kEEXIST;
    uint32_t acc = flags & abi::kO_ACCMODE;
    if (acc == abi::kO_ACCMODE) return abi::Errno::kEINVAL;
    TRY(q->Permission(creds, acc == abi::kO_RDONLY   ? kMayRead
                             : acc == abi::kO_WRONLY ? kMayWrite
                                                     : kMayRead | kMayWrite));
  }
  constexpr uint32_t kKept = abi::kO_ACCMODE | abi::kO_NONBLOCK;
  auto file = base::MakeRef<MqueueFile>(std::move(q), name, flags & kKept);
  file->set_creds(t.creds_ref());
  return base::Ref<File>(std::move(file));
}

base::Result<void> MqueueDir::UnlinkQueue(const Creds& creds, const std::string& name) {
  if (name == "." || name == ".." || name.find('/') != std::string::npos) {
    return abi::Errno::kEACCES;
  }
  if (name.size() > 255) return abi::Errno::kENAMETOOLONG;
  TRY(Permission(creds, kMayExec));
  base::Ref<Inode> q = TRY(Lookup(creds, name));
  // may_delete().
  TRY(Permission(creds, kMayExec | kMayWrite));
  Perm dir = perm(), victim = q->perm();
  if ((dir.mode & abi::kS_ISVTX) != 0 && victim.uid != creds.fsuid && dir.uid != creds.fsuid &&
      !CapableOver(creds, victim, abi::kCAP_FOWNER)) {
    return abi::Errno::kEPERM;
  }
  return Unlink(name, *q);
}

base::Result<base::Ref<Inode>> MountMqueue(Kernel&, const Creds&, std::string_view,
                                           std::string_view) {
  Task* t = Task::Current();
  if (t == nullptr) return abi::Errno::kEINVAL;
  return base::Ref<Inode>(IpcObjects::Of(*t)->mqueues);
}

}  // namespace sentry
