// send(2), recv(2) and their relatives (net/socket.c, net/core/scm.c).
#include <algorithm>
#include <vector>

#include "sentry/socket/socket.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/socket.h"
#include "syscalls/abi/time.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/socket_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::Ancillary;
using sentry::File;
using sentry::IoBuffer;
using sentry::kNoDeadline;
using sentry::SockAddr;
using sentry::Socket;

namespace {

constexpr uint32_t kMaxControl = 20480;  // net.core.optmem_max

// __scm_send().
base::Result<void> ParseControl(Task& task, Socket& s, UserAddr control, uint64_t len,
                                Ancillary* out) {
  if (len > kMaxControl) return abi::Errno::kENOBUFS;
  std::vector<uint8_t> bytes(len);
  TRY(task.mm().CopyIn(bytes.data(), control, len));
  for (uint64_t at = 0; at + sizeof(abi::Cmsghdr) <= len;) {
    abi::Cmsghdr h;
    memcpy(&h, &bytes[at], sizeof h);
    if (h.len < sizeof h || h.len > len - at) return abi::Errno::kEINVAL;
    const uint8_t* data = bytes.data() + at + sizeof h;  // may be the end
    uint64_t n = h.len - sizeof h;
    at += abi::CmsgAlign(h.len);
    if (h.level != abi::kSOL_SOCKET) {
      out->controls.push_back({h.level, h.type, {data, data + n}});
      continue;
    }
    // __sock_cmsg_send(): these are nothing to the internet's protocols.
    const bool inet = s.family() == abi::kAF_INET || s.family() == abi::kAF_INET6;
    if (inet && (h.type == abi::kSCM_RIGHTS || h.type == abi::kSCM_CREDENTIALS)) continue;
    switch (h.type) {
      case abi::kSCM_RIGHTS: {
        if (s.family() != abi::kAF_UNIX) return abi::Errno::kEINVAL;
        uint64_t count = n / sizeof(int32_t);
        if (count + out->files.size() > abi::kSCM_MAX_FD) return abi::Errno::kEINVAL;
        for (uint64_t i = 0; i < count; i++) {
          int32_t fd;
          memcpy(&fd, data + i * sizeof fd, sizeof fd);
          out->files.push_back(TRY(task.fds().GetAny(fd)));
        }
        break;
      }
      case abi::kSCM_CREDENTIALS: {
        if (n != sizeof(abi::Ucred)) return abi::Errno::kEINVAL;
        abi::Ucred c;
        memcpy(&c, data, sizeof c);
        // scm_check_creds().
        const sentry::Creds& own = task.creds();
        uint32_t uid = own.user_ns->UidToGlobal(c.uid), gid = own.user_ns->GidToGlobal(c.gid);
        if (uid == UINT32_MAX || gid == UINT32_MAX) return abi::Errno::kEINVAL;
        bool pid_ok = c.pid == task.tgid() || own.Has(abi::kCAP_SYS_ADMIN);
        bool uid_ok =
            uid == own.uid || uid == own.euid || uid == own.suid || own.Has(abi::kCAP_SETUID);
        bool gid_ok =
            gid == own.gid || gid == own.egid || gid == own.sgid || own.Has(abi::kCAP_SETGID);
        if (!pid_ok || !uid_ok || !gid_ok) return abi::Errno::kEPERM;
        out->has_creds = true;
        out->creds = {c.pid, uid, gid};
        break;
      }
      case abi::kSO_MARK:
      case abi::kSO_TIMESTAMPING:
      case abi::kSO_TXTIME:
        // __sock_cmsg_send(): of no consequence here.
        if (s.family() == abi::kAF_UNIX || n != (h.type == abi::kSO_TXTIME ? 8 : 4)) {
          return abi::Errno::kEINVAL;
        }
        if (h.type == abi::kSO_MARK && !task.creds().Has(abi::kCAP_NET_ADMIN)) {
          return abi::Errno::kEPERM;
        }
        break;
      default:
        return abi::Errno::kEINVAL;
    }
  }
  return {};
}

// sock_intr_errno(): a wait with a time limit is not restarted.
base::Error InterruptedWait(base::Error e, int64_t deadline) {
  if (e == base::Error(base::Restart::kSys) && deadline != kNoDeadline) return abi::Errno::kEINTR;
  return e;
}

// Sends all of src, waiting as the socket's mode and flags say.
SyscallResult SendAll(Task& task, Socket& s, IoBuffer& src, Socket::SendArgs& args) {
  const bool nonblock = s.nonblocking() || (args.flags & abi::kMSG_DONTWAIT) != 0;
  const int64_t deadline = nonblock ? 0 : s.WaitDeadline(true);
  auto op = [&] { return s.Send(&task, src, args); };
  uint64_t done = 0;
  base::Result<uint64_t> r = uint64_t{0};
  do {
    r = op();
    if (r.is(abi::Errno::kEAGAIN) && !nonblock) {
      sentry::WaitQueue* queue = nullptr;
      base::Ref<base::RefCounted> keep = s.SendQueue(task, args, &queue);
      r = task.BlockOnQueue(*queue, abi::kEPOLLOUT, op, deadline);
    }
    if (!r.ok()) break;
    done += *r;
  } while (s.type() == abi::kSOCK_STREAM && src.remaining() > 0 && *r > 0 && !src.faulted());
  if (r.is(abi::Errno::kEPIPE) && (args.flags & abi::kMSG_NOSIGNAL) == 0 &&
      s.type() != abi::kSOCK_DGRAM) {
    RaiseSigpipe(task);
  }
  if (!r.ok() && done == 0) return InterruptedWait(r.error(), deadline);
  return done;
}

base::Result<uint64_t> ReceiveSome(Task& task, Socket& s, IoBuffer& dst, Socket::RecvArgs& args) {
  // Urgent data and the error queue are never waited for.
  constexpr uint32_t kNoWait = abi::kMSG_DONTWAIT | abi::kMSG_OOB | abi::kMSG_ERRQUEUE;
  const bool nonblock = s.nonblocking() || (args.flags & kNoWait) != 0;
  if (nonblock) args.flags |= abi::kMSG_DONTWAIT;
  const int64_t deadline = nonblock ? 0 : s.WaitDeadline(false);
  auto op = [&] { return s.Receive(&task, dst, args); };
  base::Result<uint64_t> r = task.BlockOn(s, abi::kEPOLLIN, nonblock, op, deadline);
  if (!r.ok() && !nonblock && s.type() == abi::kSOCK_STREAM) {
    // A wait for SO_RCVLOWAT bytes that ends early gives what there is.
    args.flags |= abi::kMSG_DONTWAIT;
    base::Result<uint64_t> rest = op();
    if (rest.ok() && *rest > 0) return rest;
  }
  if (!r.ok()) return InterruptedWait(r.error(), deadline);
  if (s.type() != abi::kSOCK_STREAM || (args.flags & abi::kMSG_PEEK) != 0) return r;
  // MSG_WAITALL goes on until the buffer is full; without it a stream gives what is there.
  uint64_t done = *r;
  while (dst.remaining() > 0 && *r > 0 && !args.boundary && !dst.faulted()) {
    Socket::RecvArgs more;
    more.flags = args.flags;
    auto again = [&] { return s.Receive(&task, dst, more); };
    const bool wait = (args.flags & abi::kMSG_WAITALL) != 0 && !nonblock;
    if (!wait) break;
    r = task.BlockOn(s, abi::kEPOLLIN, false, again, deadline);
    if (!r.ok()) break;
    done += *r;
    if (more.boundary || !more.ancillary.files.empty()) {
      args.ancillary = std::move(more.ancillary);
      break;
    }
  }
  return done;
}

base::Result<abi::Msghdr> FetchMsghdr(Task& task, UserAddr msg) {
  abi::Msghdr h;
  TRY(task.mm().CopyIn(&h, msg, sizeof h));
  if (static_cast<int32_t>(h.namelen) < 0) return abi::Errno::kEINVAL;
  h.namelen = std::min<uint32_t>(h.namelen, sizeof(abi::SockaddrStorage));
  if (h.name == 0) h.namelen = 0;
  if (h.iovlen > abi::kUIO_MAXIOV) return abi::Errno::kEMSGSIZE;
  return h;
}

SyscallResult SendOne(Task& task, Socket& s, const abi::Msghdr& h, uint32_t flags) {
  SockAddr to;
  Socket::SendArgs args;
  if (h.namelen > 0) {
    to = TRY(FetchAddr(task, UserAddr{h.name}, static_cast<int32_t>(h.namelen)));
    args.to = &to;
  }
  UserSegments segments = TRY(ImportIovec(task, UserAddr{h.iov}, h.iovlen));
  Ancillary ancillary;
  if (h.control != 0 && h.controllen > 0) {
    TRY(ParseControl(task, s, UserAddr{h.control}, h.controllen, &ancillary));
    args.ancillary = &ancillary;
  }
  args.flags = flags;
  IoBuffer src = IoBuffer::UserVec(task.mm(), segments);
  return SendAll(task, s, src, args);
}

// Builds the control data that a receiver gets.
class ControlWriter {
 public:
  ControlWriter(Task& task, UserAddr at, uint64_t room) : task_(task), at_(at), room_(room) {}
  uint64_t used() const { return used_; }
  bool truncated() const { return truncated_; }

  // put_cmsg(): cut if it does not fit.
  base::Result<void> Put(int32_t level, int32_t type, const void* data, uint64_t n) {
    if (room_ - used_ < sizeof(abi::Cmsghdr)) {
      truncated_ = true;
      return {};
    }
    uint64_t len = abi::CmsgLen(n);
    if (len > room_ - used_) {
      truncated_ = true;
      len = room_ - used_;
    }
    abi::Cmsghdr h{len, level, type};
    TRY(task_.mm().CopyOut(at_ + used_, &h, sizeof h));
    TRY(task_.mm().CopyOut(at_ + used_ + sizeof h, data, len - sizeof h));
    used_ += std::min(abi::CmsgAlign(len), room_ - used_);
    return {};
  }
  // How many descriptors fit.
  uint64_t FilesThatFit() const {
    if (room_ - used_ < sizeof(abi::Cmsghdr)) return 0;
    return (room_ - used_ - sizeof(abi::Cmsghdr)) / sizeof(int32_t);
  }
  void set_truncated() { truncated_ = true; }

 private:
  Task& task_;
  const UserAddr at_;
  const uint64_t room_;
  uint64_t used_ = 0;
  bool truncated_ = false;
};

// scm_recv().
base::Result<void> DeliverControl(Task& task, Socket& s, Ancillary& a, bool cloexec,
                                  ControlWriter& out) {
  if (s.pass_creds()) {
    abi::Ucred c{0, sentry::kOverflowId, sentry::kOverflowId};
    if (a.has_creds) {
      const sentry::UserNamespace& ns = *task.creds().user_ns;
      c = {a.creds.pid, ns.UidFromGlobal(a.creds.uid), ns.GidFromGlobal(a.creds.gid)};
      if (c.uid == UINT32_MAX) c.uid = sentry::kOverflowId;
      if (c.gid == UINT32_MAX) c.gid = sentry::kOverflowId;
    }
    TRY(out.Put(abi::kSOL_SOCKET, abi::kSCM_CREDENTIALS, &c, sizeof c));
  }
  if (a.stamp != 0 && s.flag(abi::kSO_TIMESTAMP)) {
    abi::Timeval tv{a.stamp / abi::kNsPerSec, a.stamp % abi::kNsPerSec / 1000};
    TRY(out.Put(abi::kSOL_SOCKET, abi::kSCM_TIMESTAMP, &tv, sizeof tv));
  } else if (a.stamp != 0 && s.flag(abi::kSO_TIMESTAMPNS)) {
    abi::Timespec ts{a.stamp / abi::kNsPerSec, a.stamp % abi::kNsPerSec};
    TRY(out.Put(abi::kSOL_SOCKET, abi::kSCM_TIMESTAMPNS, &ts, sizeof ts));
  }
  for (const sentry::ControlMessage& m : a.controls) {
    TRY(out.Put(m.level, m.type, m.data.data(), m.data.size()));
  }
  if (a.files.empty()) return {};
  // scm_detach_fds(): as many as fit in the buffer and in the table; the rest is closed.
  std::vector<int32_t> fds;
  uint64_t fit = std::min<uint64_t>(out.FilesThatFit(), a.files.size());
  for (uint64_t i = 0; i < fit; i++) {
    base::Result<int32_t> fd = InstallFile(task, a.files[i], cloexec);
    if (!fd.ok()) break;
    fds.push_back(*fd);
  }
  if (fds.size() < a.files.size()) out.set_truncated();
  if (fds.empty()) return {};
  return out.Put(abi::kSOL_SOCKET, abi::kSCM_RIGHTS, fds.data(), fds.size() * sizeof(int32_t));
}

SyscallResult ReceiveOne(Task& task, Socket& s, UserAddr msg, uint32_t flags) {
  abi::Msghdr h = TRY(FetchMsghdr(task, msg));
  UserSegments segments = TRY(ImportIovec(task, UserAddr{h.iov}, h.iovlen));
  IoBuffer dst = IoBuffer::UserVec(task.mm(), segments);
  Socket::RecvArgs args;
  args.flags = flags;
  uint64_t got = TRY(ReceiveSome(task, s, dst, args));
  if ((flags & abi::kMSG_TRUNC) && s.type() != abi::kSOCK_STREAM) got = args.full_length;
  uint64_t room = h.control != 0 ? h.controllen : 0;
  ControlWriter control(task, UserAddr{h.control}, room);
  TRY(DeliverControl(task, s, args.ancillary, (flags & abi::kMSG_CMSG_CLOEXEC) != 0, control));
  h.flags = args.msg_flags;
  if (control.truncated()) h.flags |= abi::kMSG_CTRUNC;
  if (flags & abi::kMSG_CMSG_CLOEXEC) h.flags |= abi::kMSG_CMSG_CLOEXEC;
  if (h.name != 0) {
    uint32_t n = std::min(h.namelen, args.from.len);
    if (n > 0) TRY(task.mm().CopyOut(UserAddr{h.name}, args.from.bytes.data(), n));
    TRY(task.mm().CopyOut(msg + offsetof(abi::Msghdr, namelen), &args.from.len,
                          sizeof args.from.len));
  }
  TRY(task.mm().CopyOut(msg + offsetof(abi::Msghdr, flags), &h.flags, sizeof h.flags));
  uint64_t used = control.used();
  TRY(task.mm().CopyOut(msg + offsetof(abi::Msghdr, controllen), &used, sizeof used));
  return got;
}

}  // namespace

SyscallResult sys_sendto(Task& task, int32_t fd, UserAddr buf, uint64_t len, uint32_t flags,
                         UserAddr addr, int32_t addrlen) {
  IoBuffer src = IoBuffer::User(task.mm(), buf, std::min(len, sentry::kMaxRwCount));
  SocketRef s = TRY(GetSocket(task, fd));
  SockAddr to;
  Socket::SendArgs args;
  if (!addr.null()) {
    to = TRY(FetchAddr(task, addr, addrlen));
    if (to.len > 0) args.to = &to;
  }
  args.flags = flags;
  return SendAll(task, *s, src, args);
}

SyscallResult sys_recvfrom(Task& task, int32_t fd, UserAddr buf, uint64_t len, uint32_t flags,
                           UserAddr addr, UserInOut<int32_t> addrlen) {
  IoBuffer dst = IoBuffer::User(task.mm(), buf, std::min(len, sentry::kMaxRwCount));
  SocketRef s = TRY(GetSocket(task, fd));
  Socket::RecvArgs args;
  args.flags = flags;
  uint64_t got = TRY(ReceiveSome(task, *s, dst, args));
  if ((flags & abi::kMSG_TRUNC) && s->type() != abi::kSOCK_STREAM) got = args.full_length;
  if (!addr.null()) {
    TRY(StoreAddr(task, args.from, addr, addrlen));
  }
  return got;
}

SyscallResult sys_sendmsg(Task& task, int32_t fd, UserAddr msg, uint32_t flags) {
  SocketRef s = TRY(GetSocket(task, fd));
  abi::Msghdr h = TRY(FetchMsghdr(task, msg));
  return SendOne(task, *s, h, flags);
}

SyscallResult sys_recvmsg(Task& task, int32_t fd, UserAddr msg, uint32_t flags) {
  SocketRef s = TRY(GetSocket(task, fd));
  return ReceiveOne(task, *s, msg, flags);
}

SyscallResult sys_sendmmsg(Task& task, int32_t fd, UserAddr mmsg, uint32_t vlen, uint32_t flags) {
  SocketRef s = TRY(GetSocket(task, fd));
  vlen = std::min(vlen, abi::kUIO_MAXIOV);
  uint32_t n = 0;
  for (; n < vlen; n++) {
    UserAddr at = mmsg + uint64_t{n} * sizeof(abi::Mmsghdr);
    base::Result<abi::Msghdr> h = FetchMsghdr(task, at);
    SyscallResult r = h.ok() ? SendOne(task, *s, *h, flags) : SyscallResult(h.error());
    if (r.ok()) {
      uint32_t len = static_cast<uint32_t>(r.value());
      base::Result<void> put =
          task.mm().CopyOut(at + offsetof(abi::Mmsghdr, len), &len, sizeof len);
      if (!put.ok()) r = put.error();
    }
    if (!r.ok()) {
      if (n == 0) return r;
      break;
    }
    if (task.interrupted()) {
      n++;
      break;
    }
  }
  return n;
}

// do_recvmmsg().
SyscallResult sys_recvmmsg(Task& task, int32_t fd, UserAddr mmsg, uint32_t vlen, uint32_t flags,
                           UserInOut<abi::Timespec> timeout) {
  int64_t deadline = kNoDeadline;
  if (!timeout.null()) {
    abi::Timespec ts = TRY(timeout.Fetch(task.mm()));
    if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
    deadline = DeadlineAfter(TimespecToNs(ts));
  }
  SocketRef s = TRY(GetSocket(task, fd));
  vlen = std::min(vlen, abi::kUIO_MAXIOV);
  uint32_t n = 0;
  SyscallResult last = 0;
  while (n < vlen) {
    UserAddr at = mmsg + uint64_t{n} * sizeof(abi::Mmsghdr);
    last = ReceiveOne(task, *s, at, flags & ~abi::kMSG_WAITFORONE);
    if (!last.ok()) break;
    uint32_t len = static_cast<uint32_t>(last.value());
    base::Result<void> put = task.mm().CopyOut(at + offsetof(abi::Mmsghdr, len), &len, sizeof len);
    if (!put.ok()) {
      last = put.error();
      break;
    }
    n++;
    if (flags & abi::kMSG_WAITFORONE) flags |= abi::kMSG_DONTWAIT;
    // The timeout is looked at only after a message came (recvmmsg(2), BUGS).
    if (!timeout.null() && DeadlineAfter(0) >= deadline) break;
  }
  if (!timeout.null()) {
    int64_t left = std::max<int64_t>(deadline - DeadlineAfter(0), 0);
    TRY(timeout.Store(task.mm(), {left / abi::kNsPerSec, left % abi::kNsPerSec}));
  }
  if (n == 0) return last;
  return n;
}

}  // namespace syscalls
