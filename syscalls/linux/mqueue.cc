// POSIX message queues: mq_open(2) and its family.
#include "sentry/ipc/mqueue.h"

#include "sentry/ipc/ipc.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::FileCast;
using sentry::IpcObjects;
using sentry::Mqueue;
using sentry::MqueueFile;

namespace {

base::Result<std::string> Name(Task& task, UserCString name) {
  std::string s = TRY(name.Fetch(task.mm()));
  if (s.empty()) return abi::Errno::kENOENT;
  return s;
}

struct Target {
  base::Ref<File> file;
  Mqueue* queue;
};
base::Result<Target> Get(Task& task, int32_t fd) {
  Target t;
  t.file = TRY(task.fds().Get(fd));
  auto* f = FileCast<MqueueFile>(t.file.get());
  if (f == nullptr) return abi::Errno::kEBADF;
  t.queue = &f->mqueue();
  return t;
}

// prepare_timeout(): an absolute CLOCK_REALTIME time as a deadline.
base::Result<int64_t> Deadline(Task& task, UserIn<abi::Timespec> timeout) {
  if (timeout.null()) return sentry::kNoDeadline;
  abi::Timespec ts = TRY(timeout.Fetch(task.mm()));
  if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
  int64_t left = TimespecToNs(ts) - sentry::HostClock().Realtime();
  return DeadlineAfter(std::max<int64_t>(left, 0));
}

}  // namespace

SyscallResult sys_mq_open(Task& task, UserCString name, int32_t flags, uint32_t mode,
                          UserIn<abi::MqAttr> attr) {
  abi::MqAttr a{};
  if (!attr.null()) a = TRY(attr.Fetch(task.mm()));
  std::string s = TRY(Name(task, name));
  base::Ref<File> file = TRY(IpcObjects::Of(task)->mqueues->OpenQueue(
      task, s, static_cast<uint32_t>(flags), mode, attr.null() ? nullptr : &a));
  return InstallFile(task, std::move(file), true);
}

SyscallResult sys_mq_unlink(Task& task, UserCString name) {
  std::string s = TRY(Name(task, name));
  return IpcObjects::Of(task)->mqueues->UnlinkQueue(task.creds(), s);
}

SyscallResult sys_mq_timedsend(Task& task, int32_t mqdes, UserAddr msg, uint64_t len, uint32_t prio,
                               UserIn<abi::Timespec> timeout) {
  int64_t deadline = TRY(Deadline(task, timeout));
  if (prio >= static_cast<uint32_t>(abi::kMQ_PRIO_MAX)) return abi::Errno::kEINVAL;
  Target t = TRY(Get(task, mqdes));
  if (!t.file->writable()) return abi::Errno::kEBADF;
  if (len > t.queue->max_message()) return abi::Errno::kEMSGSIZE;
  std::string text(len, '\0');
  TRY(task.mm().CopyIn(text.data(), msg, len));
  base::Result<void> r = task.BlockOn(
      *t.file, abi::kEPOLLOUT, t.file->nonblocking(),
      [&] { return t.queue->Send(task, &text, prio); }, deadline);
  if (r.is(abi::Errno::kEAGAIN) && !t.file->nonblocking()) return abi::Errno::kETIMEDOUT;
  return r;
}

SyscallResult sys_mq_timedreceive(Task& task, int32_t mqdes, UserAddr msg, uint64_t len,
                                  UserOut<uint32_t> prio, UserIn<abi::Timespec> timeout) {
  int64_t deadline = TRY(Deadline(task, timeout));
  Target t = TRY(Get(task, mqdes));
  if (!t.file->readable()) return abi::Errno::kEBADF;
  if (len < t.queue->max_message()) return abi::Errno::kEMSGSIZE;
  base::Result<Mqueue::Received> r = t.queue->Receive();
  if (r.is(abi::Errno::kEAGAIN)) {
    if (t.file->nonblocking()) return abi::Errno::kEAGAIN;
    t.queue->AddReceiver(1);
    r = task.BlockOn(
        *t.file, abi::kEPOLLIN, false, [&] { return t.queue->Receive(); }, deadline);
    t.queue->AddReceiver(-1);
    if (r.is(abi::Errno::kEAGAIN)) return abi::Errno::kETIMEDOUT;
  }
  if (!r.ok()) return r.error();
  if (!prio.null()) TRY(prio.Store(task.mm(), r->prio));
  TRY(task.mm().CopyOut(msg, r->text.data(), r->text.size()));
  return r->text.size();
}

SyscallResult sys_mq_notify(Task& task, int32_t mqdes, UserIn<abi::SigEvent> sevp) {
  abi::SigEvent ev{};
  if (!sevp.null()) {
    ev = TRY(sevp.Fetch(task.mm()));
    if (ev.notify != abi::kSIGEV_NONE && ev.notify != abi::kSIGEV_SIGNAL &&
        ev.notify != abi::kSIGEV_THREAD) {
      return abi::Errno::kEINVAL;
    }
    if (ev.notify == abi::kSIGEV_SIGNAL && (ev.signo < 0 || ev.signo > 64)) {
      return abi::Errno::kEINVAL;
    }
    if (ev.notify == abi::kSIGEV_THREAD) {
      // The C library's own protocol over a netlink socket, which Moat has none of.
      char cookie[32];
      TRY(task.mm().CopyIn(cookie, UserAddr{ev.value}, sizeof cookie));
      TRY(task.fds().Get(ev.signo));
      return abi::Errno::kEINVAL;
    }
  }
  Target t = TRY(Get(task, mqdes));
  if (sevp.null()) {
    t.queue->Unregister(task.group());
    return 0;
  }
  return t.queue->Notify(task, ev);
}

SyscallResult sys_mq_getsetattr(Task& task, int32_t mqdes, UserIn<abi::MqAttr> newattr,
                                UserOut<abi::MqAttr> oldattr) {
  abi::MqAttr in{};
  if (!newattr.null()) {
    in = TRY(newattr.Fetch(task.mm()));
    if ((in.flags & ~static_cast<int64_t>(abi::kO_NONBLOCK)) != 0) return abi::Errno::kEINVAL;
  }
  Target t = TRY(Get(task, mqdes));
  abi::MqAttr old = t.queue->attr();
  old.flags = t.file->flags() & abi::kO_NONBLOCK;
  if (!newattr.null()) {
    t.file->set_flags((t.file->flags() & ~static_cast<uint32_t>(abi::kO_NONBLOCK)) |
                      static_cast<uint32_t>(in.flags));
    t.queue->Touch(true, false);
  }
  if (!oldattr.null()) TRY(oldattr.Store(task.mm(), old));
  return 0;
}

}  // namespace syscalls
