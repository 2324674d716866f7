#include "sentry/socket/inet/host_end.h"

#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "platform/base/byte_order.h"
#include "platform/host/socket_calls.h"
#include "sentry/kernel/task.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {
constexpr size_t kMaxPieces = 16, kMaxControls = 512;

// What poll(2) tells beside how much there is to read and to write.
constexpr uint32_t kSpecial = POLLPRI | POLLRDHUP | POLLHUP | POLLERR;

// Who waits for the outside, which may answer when nobody does any more.
struct Answer : public base::RefCounted {
  base::Mutex<base::LockClass::kLeaf> mu;
  std::optional<base::Result<base::Ref<HostEnd>>> result GUARDED_BY(mu);
  WaitQueue queue;
};

Endpoint FromHost(const sockaddr_storage& a) {
  Endpoint e;
  if (a.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(a);
    e.addr = IpAddress::V4(ntohl(in.sin_addr.s_addr));
    e.port = ntohs(in.sin_port);
  } else if (a.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(a);
    memcpy(e.addr.b.data(), &in.sin6_addr, e.addr.b.size());
    e.port = ntohs(in.sin6_port);
    if (e.addr.is_link_local()) e.scope_id = in.sin6_scope_id;
  } else {
    // A relay knows no addresses.
    e.addr = IpAddress::V4(abi::kINADDR_LOOPBACK);
  }
  return e;
}

socklen_t ToHost(const Endpoint& e, bool ipv6, sockaddr_storage* out) {
  *out = {};
  if (!ipv6) {
    auto& in = reinterpret_cast<sockaddr_in&>(*out);
    in.sin_family = AF_INET;
    in.sin_port = htons(e.port);
    in.sin_addr.s_addr = htonl(e.addr.v4());
    return sizeof in;
  }
  auto& in = reinterpret_cast<sockaddr_in6&>(*out);
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(e.port);
  memcpy(&in.sin6_addr, e.addr.b.data(), e.addr.b.size());
  in.sin6_scope_id = e.scope_id;
  return sizeof in;
}

// Control messages are the host's, which are the guest's: the same structures.
size_t PutControls(std::span<const ControlMessage> controls, uint8_t* room) {
  size_t used = 0;
  for (const ControlMessage& c : controls) {
    const size_t space = CMSG_SPACE(c.data.size());
    if (space > kMaxControls - used) break;
    cmsghdr h{};
    h.cmsg_len = CMSG_LEN(c.data.size());
    h.cmsg_level = c.level;
    h.cmsg_type = c.type;
    memset(room + used, 0, space);
    memcpy(room + used, &h, sizeof h);
    memcpy(room + used + CMSG_LEN(0), c.data.data(), c.data.size());
    used += space;
  }
  return used;
}

std::vector<ControlMessage> TakeControls(msghdr* m) {
  std::vector<ControlMessage> out;
  for (cmsghdr* c = CMSG_FIRSTHDR(m); c != nullptr; c = CMSG_NXTHDR(m, c)) {
    const uint8_t* data = CMSG_DATA(c);
    out.push_back({c->cmsg_level, c->cmsg_type, {data, data + (c->cmsg_len - CMSG_LEN(0))}});
  }
  return out;
}

// Of a relayed datagram's head and control messages, those of the family that its peer has.
NetOutside::RelayHead HeadOf(std::span<const ControlMessage> controls) {
  NetOutside::RelayHead head{};
  for (const ControlMessage& c : controls) {
    int32_t v = -1;
    if (c.data.size() == sizeof v) memcpy(&v, c.data.data(), sizeof v);
    if (c.data.size() == 1) v = c.data[0];
    if (v < 0) continue;
    const bool v6 = c.level == abi::kSOL_IPV6;
    if (c.type == (v6 ? abi::kIPV6_TCLASS : abi::kIP_TOS)) {
      head.marks |= NetOutside::RelayHead::kTos;
      head.tos = static_cast<uint8_t>(v);
    } else if (c.type == (v6 ? abi::kIPV6_HOPLIMIT : abi::kIP_TTL)) {
      head.marks |= NetOutside::RelayHead::kTtl;
      head.ttl = static_cast<uint8_t>(v);
    }
  }
  return head;
}

std::vector<ControlMessage> ControlsOf(const NetOutside::RelayHead& head, bool v4) {
  std::vector<ControlMessage> out;
  if (head.marks & NetOutside::RelayHead::kTtl) {
    out.push_back(v4 ? ControlMessage::Of(abi::kSOL_IP, abi::kIP_TTL, int32_t{head.ttl})
                     : ControlMessage::Of(abi::kSOL_IPV6, abi::kIPV6_HOPLIMIT, int32_t{head.ttl}));
  }
  if (head.marks & NetOutside::RelayHead::kTos) {
    out.push_back(v4 ? ControlMessage::Of(abi::kSOL_IP, abi::kIP_TOS, head.tos)
                     : ControlMessage::Of(abi::kSOL_IPV6, abi::kIPV6_TCLASS, int32_t{head.tos}));
  }
  return out;
}

// Options that the sentry sets itself: those of setsockopt's rows in host_calls.def.
bool IsOwn(const NetOutside::Option& o) {
  if (o.level == abi::kIPPROTO_TCP) {
    switch (o.name) {
      case abi::kTCP_NODELAY:
      case abi::kTCP_CORK:
      case abi::kTCP_KEEPIDLE:
      case abi::kTCP_KEEPINTVL:
      case abi::kTCP_KEEPCNT:
      case abi::kTCP_QUICKACK:
      case abi::kTCP_USER_TIMEOUT:
      case abi::kTCP_NOTSENT_LOWAT:
        return o.value.size() == sizeof(int32_t);
      default:
        return false;
    }
  }
  if (o.level != abi::kSOL_SOCKET) return false;
  switch (o.name) {
    case abi::kSO_KEEPALIVE:
    case abi::kSO_SNDBUF:
    case abi::kSO_RCVBUF:
    case abi::kSO_OOBINLINE:
      return o.value.size() == sizeof(int32_t);
    case abi::kSO_LINGER: {
      // A close that resets doesn't wait; one that waits would stop the sentry's thread.
      abi::Linger l;
      if (o.value.size() != sizeof l) return false;
      memcpy(&l, o.value.data(), sizeof l);
      return l.onoff == 0 || l.linger == 0;
    }
    default:
      return false;
  }
}

// All host ends.
class Registry {
 public:
  static Registry& Get() {
    static auto* registry = new Registry;
    return *registry;
  }
  void Add(HostEnd* e) {
    base::MutexLock lock(mu_);
    all_.insert(e);
  }
  void Remove(HostEnd* e) {
    base::MutexLock lock(mu_);
    all_.erase(e);
  }
  std::vector<base::Ref<HostEnd>> All() {
    std::vector<base::Ref<HostEnd>> out;
    base::MutexLock lock(mu_);
    for (HostEnd* e : all_) {
      if (e->TryIncRef()) out.push_back(base::Ref<HostEnd>::Adopt(e));
    }
    return out;
  }

 private:
  base::Mutex<base::LockClass::kLeaf> mu_;
  absl::flat_hash_set<HostEnd*> all_ GUARDED_BY(mu_);
};
}  // namespace

HostEnd::HostEnd(base::Ref<NetOutside> outside, NetOutside::HostSocket s)
    : outside_(std::move(outside)), socket_(std::move(s)) {
  Registry::Get().Add(this);
}

HostEnd::~HostEnd() {
  Registry::Get().Remove(this);
  Detach();
  // The descriptor goes first: the outside keeps one of its own until it hears of this.
  const uint64_t id = socket_.id;
  socket_.fd.reset();
  if (id != 0) outside_->Closed(id);
}

base::Result<base::Ref<HostEnd>> HostEnd::Ask(Task& task, base::Ref<NetOutside> outside,
                                              Question question, NetOutside::Request r) {
  auto answer = base::MakeRef<Answer>();
  ((*outside).*question)(std::move(r), [answer, outside](base::Result<NetOutside::HostSocket> s) {
    base::Result<base::Ref<HostEnd>> end = base::Ref<HostEnd>();
    if (!s.ok()) {
      end = s.error();
    } else if (s->fd.valid()) {
      end = base::MakeRef<HostEnd>(outside, std::move(*s));
    }
    {
      base::MutexLock lock(answer->mu);
      answer->result.emplace(std::move(end));
    }
    answer->queue.Wake(abi::kEPOLLIN);
  });
  return task.BlockOnQueue(answer->queue, abi::kEPOLLIN, [&]() -> base::Result<base::Ref<HostEnd>> {
    base::MutexLock lock(answer->mu);
    if (!answer->result.has_value()) return abi::Errno::kEAGAIN;
    return std::move(*answer->result);
  });
}

void HostEnd::Detach() {
  uint64_t watch;
  {
    base::MutexLock lock(arm_mu_);
    detached_ = true;
    watch = std::exchange(watch_, 0);
  }
  if (watch != 0) HostNotifier::Get().Remove(watch, socket_.fd.get());
}

void HostEnd::Arm() {
  if (armed_.load(std::memory_order_acquire)) return;
  base::MutexLock lock(arm_mu_);
  if (detached_) return;
  if (watch_ == 0) watch_ = HostNotifier::Get().Add(socket_.fd.get(), this);
  armed_.store(true, std::memory_order_release);
}

uint64_t HostEnd::Readiness::Forget() {
  uint64_t v = word_.load(std::memory_order_relaxed), next;
  do {
    next = (v & ~(kKnown | kReadable)) + kOne;
  } while (!word_.compare_exchange_weak(v, next, std::memory_order_acq_rel));
  return next;
}

void HostEnd::Readiness::Know(uint64_t seen, bool readable) {
  word_.compare_exchange_strong(seen, seen | kKnown | (readable ? kReadable : 0),
                                std::memory_order_acq_rel);
}

uint32_t HostEnd::Readiness::Get() const {
  const uint64_t v = word_.load(std::memory_order_acquire);
  if ((v & kKnown) == 0 || room_.load(std::memory_order_relaxed) <= 0) return 0;
  return POLLOUT | POLLWRNORM | ((v & kReadable) != 0 ? POLLIN | POLLRDNORM : 0);
}

void HostEnd::OnHostReady(uint32_t ready) {
  readiness_.Forget();
  if ((ready & kSpecial) != 0) special_.store(true, std::memory_order_release);
  if (ready & abi::kEPOLLIN) ready |= abi::kEPOLLRDNORM;
  if (ready & abi::kEPOLLOUT) ready |= abi::kEPOLLWRNORM;
  if (WaitQueue* q = queue_.load(std::memory_order_acquire)) q->Wake(ready);
}

void HostEnd::LoseAll() {
  for (const base::Ref<HostEnd>& e : Registry::Get().All()) e->Lose();
}

void HostEnd::Lose() {
  fate_.store(Fate::kReset, std::memory_order_release);
  OnHostReady(Poll());
}

int32_t HostEnd::TakeReset() {
  Fate expected = Fate::kReset;
  return fate_.compare_exchange_strong(expected, Fate::kResetTold)
             ? static_cast<int32_t>(abi::Errno::kECONNRESET)
             : 0;
}

// A signal for the sentry's thread is not one for the guest.
base::Error HostEnd::Failed(long r) {
  if (r == -EINTR) r = -EAGAIN;
  if (r == -EAGAIN) Arm();
  return host::HostToGuest(r);
}

base::Result<uint64_t> HostEnd::Send(IoBuffer& src, uint32_t flags) {
  if (lost()) [[unlikely]] {
    return TakeReset() != 0 ? abi::Errno::kECONNRESET : abi::Errno::kEPIPE;
  }
  HostIov pieces[kMaxPieces];
  const size_t n = src.HostVec(false, pieces, kMaxPieces);
  if (n == 0 && src.remaining() > 0) return abi::Errno::kEFAULT;
  iovec iov[kMaxPieces];
  for (size_t i = 0; i < n; i++) iov[i] = {pieces[i].base, pieces[i].len};
  msghdr m{};
  m.msg_iov = iov;
  m.msg_iovlen = n;
  constexpr uint32_t kPassed = abi::kMSG_OOB | abi::kMSG_MORE | abi::kMSG_EOR | abi::kMSG_DONTROUTE;
  long r;
  for (int tries = 0; tries < 2; tries++) {
    r = host::Sendmsg(socket_.fd.get(), &m,
                      static_cast<int>(flags & kPassed) | MSG_DONTWAIT | MSG_NOSIGNAL);
    // It may have become writable before it was watched.
    if (r != -EAGAIN || armed_.load(std::memory_order_acquire)) break;
    Arm();
  }
  if (r < 0) {
    readiness_.Writable(false);
    return Failed(r);
  }
  readiness_.Sent(static_cast<uint64_t>(r));
  src.Consume(static_cast<size_t>(r));
  return static_cast<uint64_t>(r);
}

base::Result<uint64_t> HostEnd::SendTo(const void* data, size_t n, const Endpoint* to, bool ipv6,
                                       std::span<const ControlMessage> controls) {
  if (lost()) [[unlikely]]
    return abi::Errno::kENETDOWN;
  NetOutside::RelayHead head;
  iovec iov[] = {{&head, sizeof head}, {const_cast<void*>(data), n}};
  msghdr m{};
  m.msg_iov = iov + 1;
  m.msg_iovlen = 1;
  sockaddr_storage name;
  if (to != nullptr) {
    m.msg_name = &name;
    m.msg_namelen = ToHost(*to, ipv6, &name);
  }
  alignas(cmsghdr) uint8_t room[kMaxControls];
  if (socket_.relayed) {
    head = HeadOf(controls);
    m.msg_iov = iov;
    m.msg_iovlen = 2;
  } else if (!controls.empty()) {
    m.msg_control = room;
    m.msg_controllen = PutControls(controls, room);
  }
  const long r = host::Sendmsg(socket_.fd.get(), &m, MSG_DONTWAIT | MSG_NOSIGNAL);
  // A new policy has ended it: shut the socket down, or closed the relay.
  if (r == -EPIPE || (socket_.relayed && (r == -ECONNREFUSED || r == -ENOTCONN))) {
    return abi::Errno::kEPERM;
  }
  readiness_.Writable(false);
  if (r < 0) return Failed(r);
  return static_cast<uint64_t>(r);
}

base::Result<uint64_t> HostEnd::ReceiveMessage(IoBuffer& dst, msghdr* m, uint32_t flags,
                                               NetOutside::RelayHead* head) {
  HostIov pieces[kMaxPieces];
  const size_t n = dst.HostVec(true, pieces, kMaxPieces);
  if (n == 0 && dst.remaining() > 0) return abi::Errno::kEFAULT;
  iovec iov[kMaxPieces + 1];
  iov[0] = {head, sizeof *head};
  for (size_t i = 0; i < n; i++) iov[i + 1] = {pieces[i].base, pieces[i].len};
  m->msg_iov = head != nullptr ? iov : iov + 1;
  m->msg_iovlen = head != nullptr ? n + 1 : n;
  const msghdr asked = *m;
  size_t room = 0;
  for (size_t i = 0; i < m->msg_iovlen; i++) room += m->msg_iov[i].iov_len;
  const uint64_t seen = readiness_.Forget();
  long r;
  for (int tries = 0; tries < 2; tries++) {
    *m = asked;
    r = host::Recvmsg(socket_.fd.get(), m, static_cast<int>(flags) | MSG_DONTWAIT);
    if (r != -EAGAIN || armed_.load(std::memory_order_acquire)) break;
    Arm();
  }
  // A stream that gave less than was asked for has no more, but for an end or a mark.
  const bool drained = m->msg_name == nullptr && r > 0 && static_cast<size_t>(r) < room;
  if ((r == -EAGAIN || drained) && (flags & ~uint32_t{abi::kMSG_TRUNC}) == 0 &&
      !special_.load(std::memory_order_acquire)) {
    readiness_.Know(seen, false);
  }
  if (r < 0) return Failed(r);
  if (head != nullptr) {
    r -= static_cast<long>(sizeof *head);
    if (r < 0) return abi::Errno::kEIO;
  }
  dst.Consume(std::min(static_cast<size_t>(r), dst.remaining()));
  return static_cast<uint64_t>(r);
}

base::Result<HostEnd::Received> HostEnd::ReceiveStream(IoBuffer& dst, uint32_t flags) {
  if (lost()) [[unlikely]] {
    if (TakeReset() != 0) return abi::Errno::kECONNRESET;
    return Received{};
  }
  constexpr uint32_t kPassed = abi::kMSG_OOB | abi::kMSG_PEEK | abi::kMSG_TRUNC;
  msghdr m{};
  Received got;
  got.bytes = TRY(ReceiveMessage(dst, &m, flags & kPassed));
  got.flags = static_cast<uint32_t>(m.msg_flags) & (abi::kMSG_TRUNC | abi::kMSG_OOB);
  return got;
}

base::Result<HostEnd::Received> HostEnd::ReceiveDatagram(IoBuffer& dst, uint32_t flags,
                                                         bool controls) {
  // Who owns this tells of it, once it has put everything in order.
  if (lost()) [[unlikely]]
    return abi::Errno::kEAGAIN;
  constexpr uint32_t kPassed = abi::kMSG_PEEK | abi::kMSG_TRUNC | abi::kMSG_ERRQUEUE;
  // A relay has no queue of errors.
  if (socket_.relayed && (flags & abi::kMSG_ERRQUEUE) != 0) return abi::Errno::kEAGAIN;
  sockaddr_storage from{};
  alignas(cmsghdr) uint8_t room[kMaxControls];
  msghdr m{};
  m.msg_name = &from;
  m.msg_namelen = sizeof from;
  if (controls && !socket_.relayed) {
    m.msg_control = room;
    m.msg_controllen = sizeof room;
  }
  Received got;
  NetOutside::RelayHead head{};
  got.bytes = TRY(ReceiveMessage(dst, &m, flags & kPassed, socket_.relayed ? &head : nullptr));
  if (head.refused != 0) {
    if ((flags & abi::kMSG_PEEK) != 0) {
      msghdr none{};
      (void)host::Recvmsg(socket_.fd.get(), &none, MSG_DONTWAIT);
    }
    return abi::Errno::kECONNREFUSED;
  }
  got.flags = static_cast<uint32_t>(m.msg_flags) & (abi::kMSG_TRUNC | abi::kMSG_ERRQUEUE);
  got.from = m.msg_namelen >= sizeof(sockaddr_in) ? FromHost(from) : remote();
  if (m.msg_control != nullptr) got.controls = TakeControls(&m);
  if (controls && socket_.relayed) got.controls = ControlsOf(head, remote().addr.is_v4());
  return got;
}

base::Result<base::Ref<HostEnd>> HostEnd::Accept() {
  sockaddr_storage from{}, at{};
  socklen_t from_len = sizeof from, at_len = sizeof at;
  long r;
  for (int tries = 0; tries < 2; tries++) {
    r = host::Accept(socket_.fd.get(), reinterpret_cast<sockaddr*>(&from), &from_len);
    if (r != -EAGAIN || armed_.load(std::memory_order_acquire)) break;
    Arm();
  }
  // The net gofer died, and with it its sockets: another may listen for this one soon.
  if (r == -EINVAL) r = -EAGAIN;
  // The table that is full isn't the guest's.
  if (r == -EMFILE) r = -ENFILE;
  if (r < 0) return Failed(r);
  NetOutside::HostSocket s;
  s.fd.reset(static_cast<int>(r));
  s.remote = FromHost(from);
  const bool named = host::Getsockname(s.fd.get(), reinterpret_cast<sockaddr*>(&at), &at_len) == 0;
  s.local = named && at.ss_family != AF_UNIX ? FromHost(at) : local();
  return base::MakeRef<HostEnd>(outside_, std::move(s));
}

base::Result<void> HostEnd::Shutdown(int32_t how) {
  readiness_.Forget();
  const long r = host::Shutdown(socket_.fd.get(), how);
  if (r < 0) return host::HostToGuest(r);
  return {};
}

uint32_t HostEnd::Poll() {
  if (const Fate f = fate_.load(std::memory_order_acquire); f != Fate::kAlive) [[unlikely]] {
    if (remote().port == 0) return 0;
    const uint32_t ended = POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM | POLLHUP;
    return f == Fate::kReset ? ended | POLLERR : ended;
  }
  pollfd p{socket_.fd.get(), POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM | POLLRDHUP, 0};
  const bool watched = armed_.load(std::memory_order_acquire);
  if (watched) {
    if (const uint32_t known = readiness_.Get(); known != 0) return known;
  }
  const uint64_t seen = readiness_.Seen();
  timespec zero{};
  const uint32_t ready = host::Poll(&p, 1, &zero) > 0 ? static_cast<uint16_t>(p.revents) : 0;
  readiness_.Writable((ready & POLLOUT) != 0);
  if ((ready & kSpecial) != 0) special_.store(true, std::memory_order_release);
  if (watched && !special_.load(std::memory_order_acquire)) {
    readiness_.Know(seen, (ready & POLLIN) != 0);
  }
  return ready;
}

int32_t HostEnd::TakeError() {
  readiness_.Forget();
  if (const int32_t reset = TakeReset(); reset != 0) return reset;
  const int error = host::SocketError(socket_.fd.get());
  return error == 0 ? 0 : static_cast<int32_t>(host::HostToGuest(error));
}

uint32_t HostEnd::ReadableBytes() {
  int n = 0;
  return host::Ioctl(socket_.fd.get(), FIONREAD, &n) < 0 ? 0 : static_cast<uint32_t>(n);
}

uint32_t HostEnd::DatagramBytes() {
  const uint32_t n = ReadableBytes();
  const uint32_t head = socket_.relayed ? sizeof(NetOutside::RelayHead) : 0;
  return n - std::min(n, head);
}

bool HostEnd::Info(abi::TcpInfo* out) {
  return host::GetTcpInfo(socket_.fd.get(), out, sizeof *out) >= 0;
}

void HostEnd::SetOption(NetOutside::Option o) {
  // A relay of the net gofer's knows none of TCP's: EOPNOTSUPP.
  if (IsOwn(o) && host::Setsockopt(socket_.fd.get(), o.level, o.name, o.value.data(),
                                   static_cast<socklen_t>(o.value.size())) == 0) {
    return;
  }
  if (socket_.id != 0) outside_->SetOption(socket_.id, std::move(o));
}

}  // namespace sentry
