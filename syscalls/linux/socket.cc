// socket(2) and the calls on sockets (net/socket.c); messages are in sendmsg.cc.
#include "sentry/socket/socket.h"

#include <algorithm>

#include "syscalls/abi/epoll.h"
#include "syscalls/abi/socket.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/socket_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::FileCast;
using sentry::SockAddr;
using sentry::Socket;

base::Result<SocketRef> GetSocket(Task& task, int32_t fd) {
  base::Ref<File> f = TRY(task.fds().Get(fd));
  auto* s = FileCast<Socket>(f.get());
  if (s == nullptr) return abi::Errno::kENOTSOCK;
  return SocketRef(s);
}

// move_addr_to_kernel().
base::Result<SockAddr> FetchAddr(Task& task, UserAddr addr, int32_t len) {
  if (len < 0 || static_cast<size_t>(len) > sizeof(abi::SockaddrStorage)) {
    return abi::Errno::kEINVAL;
  }
  SockAddr a;
  a.len = static_cast<uint32_t>(len);
  if (len > 0) TRY(task.mm().CopyIn(a.bytes.data(), addr, a.len));
  return a;
}

// move_addr_to_user().
base::Result<void> StoreAddr(Task& task, const SockAddr& a, UserAddr addr,
                             UserInOut<int32_t> addrlen) {
  int32_t room = TRY(addrlen.Fetch(task.mm()));
  if (room < 0) return abi::Errno::kEINVAL;
  uint32_t n = std::min(static_cast<uint32_t>(room), a.len);
  if (n > 0) TRY(task.mm().CopyOut(addr, a.bytes.data(), n));
  return addrlen.Store(task.mm(), static_cast<int32_t>(a.len));
}

namespace {

constexpr int32_t kTypeFlags = abi::kSOCK_CLOEXEC | abi::kSOCK_NONBLOCK;
static_assert(abi::kSOCK_NONBLOCK == abi::kO_NONBLOCK && abi::kSOCK_CLOEXEC == abi::kO_CLOEXEC);

base::Result<const sentry::SocketFamily*> CheckKind(int32_t domain, int32_t type) {
  if (domain < 0 || domain >= abi::kAF_MAX) return abi::Errno::kEAFNOSUPPORT;
  if (type < 0 || type > abi::kSOCK_PACKET) return abi::Errno::kEINVAL;
  const sentry::SocketFamily* f = sentry::FindSocketFamily(domain);
  if (f == nullptr) return abi::Errno::kEAFNOSUPPORT;
  return f;
}

SyscallResult Accept(Task& task, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen,
                     int32_t flags) {
  if (flags & ~kTypeFlags) return abi::Errno::kEINVAL;
  SocketRef s = TRY(GetSocket(task, fd));
  base::Result<base::Ref<Socket>> got = task.BlockOn(
      *s, abi::kEPOLLIN, s->nonblocking(), [&] { return s->Accept(static_cast<uint32_t>(flags)); },
      s->WaitDeadline(false));
  base::Ref<Socket> made = TRY(std::move(got));
  if (!addr.null()) {
    base::Result<SockAddr> peer = made->PeerName();
    if (!peer.ok()) return abi::Errno::kECONNABORTED;
    TRY(StoreAddr(task, *peer, addr, addrlen));
  }
  return InstallFile(task, std::move(made), (flags & abi::kSOCK_CLOEXEC) != 0);
}

// sk_get_filter(): lengths are instructions, not bytes.
SyscallResult GetFilter(Task& task, const sentry::Socket& s, UserAddr out, int32_t room,
                        UserInOut<int32_t> length) {
  const base::Ref<sentry::SocketFilter> filter = s.filter();
  const size_t n = filter ? filter->program().size() : 0;
  if (n != 0 && room != 0) {
    if (static_cast<size_t>(room) < n) return abi::Errno::kEINVAL;
    TRY(task.mm().CopyOut(out, filter->program().data(), n * sizeof(abi::SockFilter)));
  }
  TRY(length.Store(task.mm(), static_cast<int32_t>(n)));
  return 0;
}

}  // namespace

SyscallResult sys_socket(Task& task, int32_t domain, int32_t type, int32_t protocol) {
  if ((type & ~abi::kSOCK_TYPE_MASK) & ~kTypeFlags) return abi::Errno::kEINVAL;
  const int32_t kind = type & abi::kSOCK_TYPE_MASK;
  const sentry::SocketFamily* f = TRY(CheckKind(domain, kind));
  base::Ref<Socket> s = TRY(f->create(task, kind, protocol, static_cast<uint32_t>(type)));
  return InstallFile(task, std::move(s), (type & abi::kSOCK_CLOEXEC) != 0);
}

SyscallResult sys_socketpair(Task& task, int32_t domain, int32_t type, int32_t protocol,
                             UserAddr sv) {
  if ((type & ~abi::kSOCK_TYPE_MASK) & ~kTypeFlags) return abi::Errno::kEINVAL;
  const int32_t kind = type & abi::kSOCK_TYPE_MASK;
  const sentry::SocketFamily* f = TRY(CheckKind(domain, kind));
  if (f->pair == nullptr) return abi::Errno::kEOPNOTSUPP;
  sentry::SocketFamily::Pair p = TRY(f->pair(task, kind, protocol, static_cast<uint32_t>(type)));
  return InstallPair(task, std::move(p.a), std::move(p.b), (type & abi::kSOCK_CLOEXEC) != 0, sv);
}

SyscallResult sys_bind(Task& task, int32_t fd, UserAddr addr, int32_t addrlen) {
  SocketRef s = TRY(GetSocket(task, fd));
  SockAddr a = TRY(FetchAddr(task, addr, addrlen));
  return s->Bind(task, a);
}

SyscallResult sys_listen(Task& task, int32_t fd, int32_t backlog) {
  SocketRef s = TRY(GetSocket(task, fd));
  return s->Listen(task, backlog);
}

SyscallResult sys_accept(Task& task, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen) {
  return Accept(task, fd, addr, addrlen, 0);
}

SyscallResult sys_accept4(Task& task, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen,
                          int32_t flags) {
  return Accept(task, fd, addr, addrlen, flags);
}

SyscallResult sys_connect(Task& task, int32_t fd, UserAddr addr, int32_t addrlen) {
  SocketRef s = TRY(GetSocket(task, fd));
  SockAddr a = TRY(FetchAddr(task, addr, addrlen));
  return s->Connect(task, a);
}

SyscallResult sys_shutdown(Task& task, int32_t fd, int32_t how) {
  SocketRef s = TRY(GetSocket(task, fd));
  return s->Shutdown(how);
}

SyscallResult sys_getsockname(Task& task, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen) {
  SocketRef s = TRY(GetSocket(task, fd));
  return StoreAddr(task, TRY(s->LocalName()), addr, addrlen);
}

SyscallResult sys_getpeername(Task& task, int32_t fd, UserAddr addr, UserInOut<int32_t> addrlen) {
  SocketRef s = TRY(GetSocket(task, fd));
  return StoreAddr(task, TRY(s->PeerName()), addr, addrlen);
}

SyscallResult sys_setsockopt(Task& task, int32_t fd, int32_t level, int32_t optname,
                             UserAddr optval, int32_t optlen) {
  if (optlen < 0) return abi::Errno::kEINVAL;
  SocketRef s = TRY(GetSocket(task, fd));
  uint8_t value[256] = {};
  uint32_t n = std::min<uint32_t>(static_cast<uint32_t>(optlen), sizeof value);
  TRY(task.mm().CopyIn(value, optval, n));
  return s->SetOption(task, level, optname, {value, n});
}

SyscallResult sys_getsockopt(Task& task, int32_t fd, int32_t level, int32_t optname,
                             UserAddr optval, UserInOut<int32_t> optlen) {
  SocketRef s = TRY(GetSocket(task, fd));
  int32_t room = TRY(optlen.Fetch(task.mm()));
  if (room < 0) return abi::Errno::kEINVAL;
  if (level == abi::kSOL_SOCKET && optname == abi::kSO_GET_FILTER) {
    return GetFilter(task, *s, optval, room, optlen);
  }
  uint8_t value[256] = {};
  uint32_t n =
      TRY(s->GetOption(task, level, optname,
                       {value, std::min<uint32_t>(static_cast<uint32_t>(room), sizeof value)}));
  TRY(task.mm().CopyOut(optval, value, n));
  TRY(optlen.Store(task.mm(), static_cast<int32_t>(n)));
  return 0;
}

}  // namespace syscalls
