#include "sentry/socket/netlink/netlink_socket.h"

#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/socket/option_value.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {

constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM | abi::kEPOLLWRBAND;
// NLMSG_GOODSIZE: what a datagram of a dump holds; every program's buffer takes it.
constexpr size_t kDatagram = 3776;
constexpr size_t kMaxRequest = 64 << 10;
constexpr int32_t kSolNetlink = 270;

// Who has which port id, by namespace and protocol.
class Ports {
 public:
  static Ports& Get() {
    static auto* p = new Ports;
    return *p;
  }
  bool Add(const NetStack* ns, int32_t protocol, uint32_t pid) {
    base::MutexLock lock(mu_);
    return taken_.insert({ns, protocol, pid}).second;
  }
  void Remove(const NetStack* ns, int32_t protocol, uint32_t pid) {
    base::MutexLock lock(mu_);
    taken_.erase({ns, protocol, pid});
  }

 private:
  base::Mutex<base::LockClass::kSocketTable> mu_;
  absl::flat_hash_set<std::tuple<const NetStack*, int32_t, uint32_t>> taken_ GUARDED_BY(mu_);
};

// genl_ctrl: no family is registered. KOBJECT_UEVENT and USERSOCK have nobody to answer.
base::Result<void> AnswerGeneric(Task&, NetStack&, const NetlinkRequest& r, NetlinkReply*) {
  return r.dump() ? base::Result<void>() : abi::Errno::kENOENT;
}

base::Result<abi::SockaddrNl> Parse(const SockAddr& a) {
  abi::SockaddrNl n;
  if (a.len < sizeof n || a.family() != abi::kAF_NETLINK) return abi::Errno::kEINVAL;
  memcpy(&n, a.bytes.data(), sizeof n);
  return n;
}

SockAddr Name(const abi::SockaddrNl& n) {
  SockAddr a;
  memcpy(a.bytes.data(), &n, sizeof n);
  a.len = sizeof n;
  return a;
}

}  // namespace

const SocketFamily kNetlinkFamily = {abi::kAF_NETLINK, &NetlinkSocket::Create, nullptr};

// netlink_create(). What a kernel without the subsystem answers is EPROTONOSUPPORT.
base::Result<base::Ref<Socket>> NetlinkSocket::Create(Task& task, int32_t type, int32_t protocol,
                                                      uint32_t flags) {
  if (type != abi::kSOCK_RAW && type != abi::kSOCK_DGRAM) return abi::Errno::kESOCKTNOSUPPORT;
  NetlinkHandler handler = nullptr;
  switch (protocol) {
    case abi::kNETLINK_ROUTE:
      handler = &AnswerRoute;
      break;
    case abi::kNETLINK_SOCK_DIAG:
      handler = &AnswerSockDiag;
      break;
    case abi::kNETLINK_GENERIC:
      handler = &AnswerGeneric;
      break;
    case abi::kNETLINK_USERSOCK:
    case abi::kNETLINK_KOBJECT_UEVENT:
      break;
    default:
      return abi::Errno::kEPROTONOSUPPORT;
  }
  return base::Ref<Socket>(
      base::MakeRef<NetlinkSocket>(NetStack::Of(task), type, protocol, flags, handler));
}

NetlinkSocket::NetlinkSocket(base::Ref<NetStack> stack, int32_t type, int32_t protocol,
                             uint32_t flags, NetlinkHandler handler)
    : Socket(abi::kAF_NETLINK, type, protocol, flags),
      stack_(std::move(stack)),
      handler_(handler) {}

NetlinkSocket::~NetlinkSocket() {
  uint32_t pid;
  {
    base::MutexLock lock(mu_);
    pid = bound_ ? pid_ : 0;
  }
  if (pid != 0) Ports::Get().Remove(stack_.get(), protocol(), pid);
}

// netlink_autobind(): the process's id if it is free, else one that no process has.
base::Result<void> NetlinkSocket::TakePort(Task& task, uint32_t wanted) {
  static std::atomic<uint32_t> next{static_cast<uint32_t>(-4097)};
  uint32_t pid = wanted != 0 ? wanted : static_cast<uint32_t>(task.tgid());
  while (!Ports::Get().Add(stack_.get(), protocol(), pid)) {
    if (wanted != 0) return abi::Errno::kEADDRINUSE;
    pid = next.fetch_sub(1, std::memory_order_relaxed);
  }
  base::MutexLock lock(mu_);
  pid_ = pid;
  bound_ = true;
  return {};
}

base::Result<void> NetlinkSocket::Bind(Task& task, const SockAddr& addr) {
  const abi::SockaddrNl n = TRY(Parse(addr));
  bool bound;
  uint32_t pid;
  {
    base::MutexLock lock(mu_);
    bound = bound_;
    pid = pid_;
  }
  if (bound && n.pid != pid) return abi::Errno::kEINVAL;
  if (!bound) TRY(TakePort(task, n.pid));
  base::MutexLock lock(mu_);
  groups_ = n.groups;
  return {};
}

base::Result<void> NetlinkSocket::Connect(Task& task, const SockAddr& addr) {
  if (addr.family() == abi::kAF_UNSPEC && addr.len >= sizeof(uint16_t)) {
    base::MutexLock lock(mu_);
    peer_ = {abi::kAF_NETLINK, 0, 0, 0};
    return {};
  }
  const abi::SockaddrNl n = TRY(Parse(addr));
  if ((n.pid != 0 || n.groups != 0) && !task.creds().HasIn(*stack_->owner(), abi::kCAP_NET_ADMIN)) {
    return abi::Errno::kEPERM;
  }
  bool bound;
  {
    base::MutexLock lock(mu_);
    bound = bound_;
    peer_ = n;
  }
  if (!bound) TRY(TakePort(task, 0));
  return {};
}

base::Result<SockAddr> NetlinkSocket::LocalName() {
  base::MutexLock lock(mu_);
  return Name({abi::kAF_NETLINK, 0, pid_, groups_});
}

base::Result<SockAddr> NetlinkSocket::PeerName() {
  base::MutexLock lock(mu_);
  return Name(peer_);
}

base::Result<uint64_t> NetlinkSocket::Send(Task* task, IoBuffer& src, SendArgs& args) {
  if (args.flags & abi::kMSG_OOB) return abi::Errno::kEOPNOTSUPP;
  if (task == nullptr) return abi::Errno::kEINVAL;
  abi::SockaddrNl to;
  bool bound;
  uint32_t pid;
  {
    base::MutexLock lock(mu_);
    to = peer_;
    bound = bound_;
  }
  if (args.to != nullptr) {
    to = TRY(Parse(*args.to));
    if ((to.pid != 0 || to.groups != 0) &&
        !task->creds().HasIn(*stack_->owner(), abi::kCAP_NET_ADMIN)) {
      return abi::Errno::kEPERM;
    }
  }
  if (!bound) TRY(TakePort(*task, 0));
  {
    base::MutexLock lock(mu_);
    pid = pid_;
  }
  const uint64_t n = src.remaining();
  if (n > send_buffer_.load() - 32) return abi::Errno::kEMSGSIZE;
  if (n > kMaxRequest) return abi::Errno::kENOBUFS;
  std::vector<uint8_t> bytes(n);
  if (src.CopyFrom(bytes.data(), n) != n) return abi::Errno::kEFAULT;
  // Only the kernel listens.
  if (to.pid != 0 || handler_ == nullptr) return abi::Errno::kECONNREFUSED;
  // netlink_rcv_skb().
  for (size_t at = 0; at + sizeof(abi::Nlmsghdr) <= n;) {
    NetlinkRequest r;
    memcpy(&r.header, &bytes[at], sizeof r.header);
    if (r.header.len < sizeof r.header || r.header.len > n - at) break;
    r.payload = std::span(bytes).subspan(at + sizeof r.header, r.header.len - sizeof r.header);
    const bool ask = (r.header.flags & abi::kNLM_F_REQUEST) != 0;
    if (ask && r.header.type >= abi::kNLMSG_MIN_TYPE) Process(*task, r, pid);
    at += abi::NlAlign(r.header.len);
  }
  return n;
}

void NetlinkSocket::PutLocked(std::vector<uint8_t> message) {
  if (const base::Ref<SocketFilter> f = filter()) {
    const std::optional<size_t> keep = f->Run({.data = message});
    if (!keep) return;
    message.resize(*keep);
  }
  packets_.push_back(std::move(message));
}

void NetlinkSocket::Process(Task& task, const NetlinkRequest& request, uint32_t pid) {
  NetlinkReply reply(request, pid);
  base::Result<void> r = handler_(task, *stack_, request, &reply);
  base::MutexLock lock(mu_);
  if (r.ok()) {
    std::vector<uint8_t> datagram;
    for (std::vector<uint8_t>& m : reply.messages()) {
      if (!datagram.empty() && (!request.dump() || datagram.size() + m.size() > kDatagram)) {
        PutLocked(std::exchange(datagram, {}));
      }
      datagram.insert(datagram.end(), m.begin(), m.end());
    }
    if (!datagram.empty()) PutLocked(std::move(datagram));
    if (request.dump()) {
      NetlinkMessage done(abi::kNLMSG_DONE, abi::kNLM_F_MULTI, request.header.seq, pid);
      PutLocked(done.Append(int32_t{0}).Take());
    }
  }
  if (!r.ok() || ((request.header.flags & abi::kNLM_F_ACK) != 0 && !request.dump())) {
    // netlink_ack(): an error carries the request, unless NETLINK_CAP_ACK.
    const int32_t error = r.ok() ? 0 : -static_cast<int32_t>(r.error().guest_errno());
    const bool whole = error != 0 && (options_ & 1u << abi::kNETLINK_CAP_ACK) == 0;
    const auto flags = static_cast<uint16_t>(whole ? 0 : 0x100 /* NLM_F_CAPPED */);
    NetlinkMessage m(abi::kNLMSG_ERROR, flags, request.header.seq, pid);
    m.Append(abi::Nlmsgerr{error, request.header});
    std::vector<uint8_t> bytes = m.Take();
    if (whole) {
      bytes.insert(bytes.end(), request.payload.begin(), request.payload.end());
      const auto len = static_cast<uint32_t>(bytes.size());
      memcpy(bytes.data(), &len, sizeof len);
      bytes.resize(abi::NlAlign(len));
    }
    PutLocked(std::move(bytes));
  }
  queue_.Wake(kReadable);
}

base::Result<uint64_t> NetlinkSocket::Receive(Task* task, IoBuffer& dst, RecvArgs& args) {
  if (args.flags & abi::kMSG_OOB) return abi::Errno::kEOPNOTSUPP;
  base::MutexLock lock(mu_);
  if (packets_.empty()) return abi::Errno::kEAGAIN;
  const std::vector<uint8_t>& p = packets_.front();
  const uint64_t n = std::min<uint64_t>(p.size(), dst.remaining());
  if (n < p.size()) args.msg_flags |= abi::kMSG_TRUNC;
  if (dst.CopyTo(p.data(), n) != n) return abi::Errno::kEFAULT;
  args.full_length = p.size();
  args.from = Name({abi::kAF_NETLINK, 0, 0, 0});
  if (options_ & 1u << abi::kNETLINK_PKTINFO) {
    args.ancillary.controls.push_back(
        ControlMessage::Of(kSolNetlink, abi::kNETLINK_PKTINFO, uint32_t{0}));
  }
  if ((args.flags & abi::kMSG_PEEK) == 0) packets_.pop_front();
  return n;
}

uint32_t NetlinkSocket::Poll() {
  base::MutexLock lock(mu_);
  return packets_.empty() ? kWritable : kWritable | kReadable;
}

base::Result<void> NetlinkSocket::SetFamilyOption(Task& task, int32_t level, int32_t name,
                                                  std::span<const uint8_t> value) {
  if (level != kSolNetlink) return abi::Errno::kENOPROTOOPT;
  int32_t v = 0;
  if (value.size() < sizeof v) return abi::Errno::kEINVAL;
  memcpy(&v, value.data(), sizeof v);
  if (name < abi::kNETLINK_ADD_MEMBERSHIP || name > abi::kNETLINK_GET_STRICT_CHK) {
    return abi::Errno::kENOPROTOOPT;
  }
  base::MutexLock lock(mu_);
  if (name == abi::kNETLINK_ADD_MEMBERSHIP || name == abi::kNETLINK_DROP_MEMBERSHIP) {
    constexpr int32_t kMaxGroup = 1024;
    if (v < 1 || v > kMaxGroup) return abi::Errno::kEINVAL;
    if (v > 32) return {};
    const uint32_t bit = uint32_t{1} << (v - 1);
    groups_ = name == abi::kNETLINK_ADD_MEMBERSHIP ? groups_ | bit : groups_ & ~bit;
    return {};
  }
  const uint32_t bit = uint32_t{1} << name;
  options_ = v != 0 ? options_ | bit : options_ & ~bit;
  return {};
}

base::Result<uint32_t> NetlinkSocket::GetFamilyOption(Task& task, int32_t level, int32_t name,
                                                      std::span<uint8_t> out) {
  if (level != kSolNetlink || name < abi::kNETLINK_PKTINFO || name > abi::kNETLINK_GET_STRICT_CHK ||
      name == abi::kNETLINK_RX_RING || name == abi::kNETLINK_TX_RING) {
    return abi::Errno::kENOPROTOOPT;
  }
  if (name == abi::kNETLINK_LIST_MEMBERSHIPS) {
    base::MutexLock lock(mu_);
    // A bit for each group; none before the first was joined.
    const uint64_t groups = groups_;
    return GiveOption(out, &groups, groups == 0 ? 0 : sizeof groups);
  }
  if (out.size() < sizeof(int32_t)) return abi::Errno::kEINVAL;
  base::MutexLock lock(mu_);
  return GiveOption(out, int32_t{(options_ & 1u << name) != 0});
}

}  // namespace sentry
