#include "sentry/ipc/msg.h"

#include <cstdio>
#include <vector>

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {

constexpr uint32_t kRead = 0444, kWrite = 0222;

// find_msg(): which message a receiver takes; the deque's size if none. type as given to msgrcv.
size_t Choose(const MsgQueue& q, int64_t type, int32_t flags) {
  size_t none = q.messages.size(), best = none;
  if ((flags & abi::kMSG_COPY) != 0) {
    return type >= 0 && static_cast<uint64_t>(type) < none ? static_cast<size_t>(type) : none;
  }
  int64_t limit = type == INT64_MIN ? INT64_MAX : -type;
  for (size_t i = 0; i < none; i++) {
    int64_t m = q.messages[i].type;
    if (type == 0) return i;
    if (type > 0) {
      if ((m == type) != ((flags & abi::kMSG_EXCEPT) != 0)) return i;
    } else if (m <= limit) {
      // The first of the lowest type.
      best = i;
      if (m == 1) break;
      limit = m - 1;
    }
  }
  return best;
}

base::Error Interrupted(base::Error e) {
  return e == base::Error(base::Restart::kSys) ? base::Error(base::Restart::kNoHand) : e;
}

}  // namespace

base::Result<int32_t> MsgTable::Get(Task& t, int32_t key, int32_t flags) {
  base::MutexLock l(mu_);
  MsgQueue* q = key == abi::kIPC_PRIVATE ? nullptr : ids_.FindKey(key);
  if (q != nullptr) {
    if ((flags & abi::kIPC_CREAT) != 0 && (flags & abi::kIPC_EXCL) != 0) return abi::Errno::kEEXIST;
    TRY(q->perm.Check(t.creds(), *owner_, static_cast<uint32_t>(flags)));
    return q->perm.id;
  }
  if (key != abi::kIPC_PRIVATE && (flags & abi::kIPC_CREAT) == 0) return abi::Errno::kENOENT;
  if (ids_.size() >= abi::kMSGMNI) return abi::Errno::kENOSPC;
  auto made = base::MakeRef<MsgQueue>();
  made->perm.Init(t.creds(), key, flags);
  made->ctime = IpcNow();
  if (!ids_.Add(made)) return abi::Errno::kENOSPC;
  return made->perm.id;
}

base::Result<void> MsgTable::Send(Task& t, int32_t id, Message m, int32_t flags) {
  base::Ref<MsgQueue> q;
  {
    base::MutexLock l(mu_);
    q = TRY(ids_.Find(id));
  }
  auto op = [&]() -> base::Result<void> {
    {
      base::MutexLock l(mu_);
      if (q->perm.removed) return abi::Errno::kEIDRM;
      TRY(q->perm.Check(t.creds(), *owner_, kWrite));
      // msg_fits_inqueue().
      uint64_t size = m.text.size();
      if (size + q->bytes > q->max_bytes || q->messages.size() + 1 > q->max_bytes) {
        return abi::Errno::kEAGAIN;
      }
      q->bytes += size;
      bytes_ += size;
      count_++;
      q->messages.push_back(std::move(m));
      q->lspid = t.root_tgid();
      q->stime = IpcNow();
    }
    q->queue.Wake(abi::kEPOLLIN);
    return {};
  };
  if ((flags & abi::kIPC_NOWAIT) != 0) return op();
  base::Result<void> r = op();
  if (r.is(abi::Errno::kEAGAIN)) r = t.BlockOnQueue(q->queue, abi::kEPOLLOUT, op);
  if (!r.ok()) return Interrupted(r.error());
  return {};
}

base::Result<Message> MsgTable::Receive(Task& t, int32_t id, uint64_t size, int64_t type,
                                        int32_t flags) {
  base::Ref<MsgQueue> q;
  {
    base::MutexLock l(mu_);
    q = TRY(ids_.Find(id));
  }
  auto op = [&]() -> base::Result<Message> {
    Message m;
    {
      base::MutexLock l(mu_);
      // do_msgrcv() checks permission before it looks whether the queue is still there.
      TRY(q->perm.Check(t.creds(), *owner_, kRead));
      if (q->perm.removed) return abi::Errno::kEIDRM;
      size_t i = Choose(*q, type, flags);
      if (i == q->messages.size()) return abi::Errno::kEAGAIN;
      if (q->messages[i].text.size() > size && (flags & abi::kMSG_NOERROR) == 0) {
        return abi::Errno::kE2BIG;
      }
      if ((flags & abi::kMSG_COPY) != 0) return Message(q->messages[i]);
      m = std::move(q->messages[i]);
      q->messages.erase(q->messages.begin() + static_cast<ptrdiff_t>(i));
      q->bytes -= m.text.size();
      bytes_ -= m.text.size();
      count_--;
      q->lrpid = t.root_tgid();
      q->rtime = IpcNow();
    }
    q->queue.Wake(abi::kEPOLLOUT);
    return m;
  };
  base::Result<Message> r = op();
  if (r.is(abi::Errno::kEAGAIN)) {
    if ((flags & (abi::kIPC_NOWAIT | abi::kMSG_COPY)) != 0) return abi::Errno::kENOMSG;
    r = t.BlockOnQueue(q->queue, abi::kEPOLLIN, op);
  }
  if (!r.ok()) return Interrupted(r.error());
  return r;
}

base::Result<int32_t> MsgTable::Stat(Task& t, int32_t id, int32_t cmd, abi::MsqidDs* out) {
  int32_t lspid, lrpid, result;
  {
    base::MutexLock l(mu_);
    base::Ref<MsgQueue> q = cmd == abi::kIPC_STAT ? TRY(ids_.Find(id)) : TRY(ids_.At(id));
    if (cmd != abi::kMSG_STAT_ANY) TRY(q->perm.Check(t.creds(), *owner_, kRead));
    out->perm = q->perm.Show(t.creds());
    out->stime = q->stime;
    out->rtime = q->rtime;
    out->ctime = q->ctime;
    out->cbytes = q->bytes;
    out->qnum = q->messages.size();
    out->qbytes = q->max_bytes;
    lspid = q->lspid;
    lrpid = q->lrpid;
    result = cmd == abi::kIPC_STAT ? 0 : q->perm.id;
  }
  out->lspid = ShowPid(t, lspid);
  out->lrpid = ShowPid(t, lrpid);
  return result;
}

base::Result<void> MsgTable::Set(Task& t, int32_t id, const abi::MsqidDs& in) {
  base::Ref<MsgQueue> q;
  {
    base::MutexLock l(mu_);
    q = TRY(ids_.Find(id));
    TRY(q->perm.CheckOwner(t.creds(), *owner_));
    if (in.qbytes > static_cast<uint64_t>(abi::kMSGMNB) &&
        !t.creds().HasIn(*owner_, abi::kCAP_SYS_RESOURCE)) {
      return abi::Errno::kEPERM;
    }
    TRY(q->perm.Update(t.creds(), in.perm));
    q->max_bytes = in.qbytes;
    q->ctime = IpcNow();
  }
  // Permission may be gone, or room be there.
  q->queue.Wake(abi::kEPOLLIN | abi::kEPOLLOUT);
  return {};
}

base::Result<void> MsgTable::Remove(Task& t, int32_t id) {
  base::Ref<MsgQueue> q;
  {
    base::MutexLock l(mu_);
    q = TRY(ids_.Find(id));
    TRY(q->perm.CheckOwner(t.creds(), *owner_));
    bytes_ -= q->bytes;
    count_ -= q->messages.size();
    ids_.Remove(*q);
  }
  q->queue.Wake(abi::kEPOLLIN | abi::kEPOLLOUT);
  return {};
}

int32_t MsgTable::Info(int32_t cmd, abi::Msginfo* out) {
  base::MutexLock l(mu_);
  bool usage = cmd == abi::kMSG_INFO;
  out->msgmni = abi::kMSGMNI;
  out->msgmax = abi::kMSGMAX;
  out->msgmnb = abi::kMSGMNB;
  out->msgssz = 16;      // MSGSSZ
  out->msgseg = 0xffff;  // MSGSEG
  out->msgpool = usage ? ids_.size() : abi::kMSGMNI * (abi::kMSGMNB / 1024);
  out->msgmap = usage ? static_cast<int32_t>(count_) : abi::kMSGMNB;
  out->msgtql = usage ? static_cast<int32_t>(bytes_) : abi::kMSGMNB;
  return ids_.highest();
}

std::string MsgTable::ProcText(const Task& reader) {
  std::string text =
      "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      "
      "stime      rtime      ctime\n";
  struct Row {
    abi::MsqidDs d;
    int32_t id;
  };
  std::vector<Row> rows;
  base::Ref<const Creds> creds = reader.creds_ref();
  {
    base::MutexLock l(mu_);
    for (auto& [index, q] : ids_.all()) {
      Row r{};
      r.id = q->perm.id;
      r.d.perm = q->perm.Show(*creds);
      r.d.stime = q->stime, r.d.rtime = q->rtime, r.d.ctime = q->ctime;
      r.d.cbytes = q->bytes, r.d.qnum = q->messages.size();
      r.d.lspid = q->lspid, r.d.lrpid = q->lrpid;
      rows.push_back(r);
    }
  }
  for (const Row& r : rows) {
    const abi::IpcPerm& p = r.d.perm;
    char line[256];
    snprintf(line, sizeof line,
             "%10d %10d  %4o  %10lu %10lu %5u %5u %5u %5u %5u %5u %10lu %10lu %10lu\n", p.key, r.id,
             p.mode, r.d.cbytes, r.d.qnum, static_cast<uint32_t>(ShowPid(reader, r.d.lspid)),
             static_cast<uint32_t>(ShowPid(reader, r.d.lrpid)), p.uid, p.gid, p.cuid, p.cgid,
             static_cast<uint64_t>(r.d.stime), static_cast<uint64_t>(r.d.rtime),
             static_cast<uint64_t>(r.d.ctime));
    text += line;
  }
  return text;
}

void MsgTable::Clear() {
  std::vector<base::Ref<MsgQueue>> all;
  base::MutexLock l(mu_);
  for (auto& [index, q] : ids_.all()) all.push_back(q);
  for (auto& q : all) ids_.Remove(*q);
  bytes_ = count_ = 0;
}

}  // namespace sentry
