#include "sentry/socket/inet/raw_socket.h"

#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/socket/option_value.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/netlink.h"

namespace sentry {

namespace {

constexpr size_t kMaxPacket = UINT16_MAX;

void Put16(uint8_t* at, size_t v) {
  at[0] = static_cast<uint8_t>(v >> 8);
  at[1] = static_cast<uint8_t>(v);
}

// raw_send_hdrinc(): what the kernel fills in of a header that the program made.
void CompleteHeader4(LocalPacket* p, const IpAddress& from) {
  uint8_t* h = p->bytes.data();
  Put16(h + 2, p->bytes.size());
  if (p->from.is_any()) {
    std::copy(from.b.begin() + 12, from.b.end(), h + 12);
    p->from = from;
  }
  Put16(h + 10, 0);
  Put16(h + 10, InternetChecksum({h, p->header}));
}

}  // namespace

RawSocket::RawSocket(base::Ref<NetStack> stack, int32_t family, int32_t protocol, uint32_t flags)
    : InetSocket(std::move(stack), family, abi::kSOCK_RAW, protocol, flags), RawChannel(&queue_) {
  {
    base::MutexLock lock(mu_);
    local_ = remote_ = Unbound();
  }
  stack_->AddObserver(this, this);
}

RawSocket::~RawSocket() { stack_->RemoveObserver(this); }

base::Result<void> RawSocket::Start(Task& task) {
  base::Ref<NetOutside> o = stack_->outside();
  if (!o) return {};
  NetOutside::Request r = OutsideRequest({}, {});
  r.raw = NetOutside::RawKind::kIp;
  base::Result<void> opened = OpenOutside(task, std::move(o), std::move(r));
  // Where the outside doesn't let it, it is a socket of the inside; what it sends out fails.
  if (!opened.ok() && opened.error().is_restart()) return opened;
  return {};
}

// raw_bind(), rawv6_bind(). A port means nothing.
base::Result<void> RawSocket::Bind(Task& task, const SockAddr& addr) {
  if (connected()) return abi::Errno::kEINVAL;
  SockAddr portless = addr;
  portless.bytes[offsetof(abi::SockaddrIn, port)] = 0;
  portless.bytes[offsetof(abi::SockaddrIn, port) + 1] = 0;
  const Endpoint local = TRY(ParseLocal(task, portless));
  if (ipv6() && local.addr.is_v4()) return abi::Errno::kEADDRNOTAVAIL;
  base::MutexLock lock(mu_);
  local_ = local;
  return {};
}

base::Result<void> RawSocket::Connect(Task& task, const SockAddr& addr) {
  if (addr.len < sizeof(uint16_t)) return abi::Errno::kEINVAL;
  if (addr.family() == abi::kAF_UNSPEC) {
    base::MutexLock lock(mu_);
    connected_ = false;
    remote_ = local_ = Unbound();
    return {};
  }
  const Endpoint to = TRY(ParseRemote(addr));
  if (to.addr.is_broadcast() && !flag(abi::kSO_BROADCAST)) return abi::Errno::kEACCES;
  if (stack_->Locate(to.addr) == NetStack::Place::kNowhere) return abi::Errno::kENETUNREACH;
  base::MutexLock lock(mu_);
  connected_ = true;
  remote_ = to;
  if (local_.addr.is_any() && stack_->Locate(to.addr) == NetStack::Place::kHere) {
    local_.addr = stack_->SourceFor(to.addr);
  }
  return {};
}

bool RawSocket::connected() {
  base::MutexLock lock(mu_);
  return connected_;
}

base::Result<void> RawSocket::Shutdown(int32_t how) {
  if (how < abi::kSHUT_RD || how > abi::kSHUT_RDWR) return abi::Errno::kEINVAL;
  base::MutexLock lock(mu_);
  no_send_ |= how != abi::kSHUT_RD;
  return connected_ ? base::Result<void>() : abi::Errno::kENOTCONN;
}

// inet_create(): a raw socket's port is its protocol.
base::Result<SockAddr> RawSocket::LocalName() {
  base::MutexLock lock(mu_);
  Endpoint e = local_;
  e.port = static_cast<uint16_t>(protocol());
  return Name(e);
}

base::Result<SockAddr> RawSocket::PeerName() {
  base::MutexLock lock(mu_);
  if (!connected_) return abi::Errno::kENOTCONN;
  return Name(remote_);
}

InetSocket::Row RawSocket::Show() {
  Row r;
  r.receive_queue = FirstLength();
  base::MutexLock lock(mu_);
  r.local = local_;
  r.local.port = static_cast<uint16_t>(protocol());
  r.remote = remote_;
  r.state = connected_ ? TcpState::kEstablished : TcpState::kClose;
  return r;
}

base::Result<LocalPacket> RawSocket::MakeOutgoing(std::vector<uint8_t> data, const Endpoint& to,
                                                  const Endpoint& from, const SendArgs& args) {
  if (has_header()) {
    LocalPacket p;
    if (!ParsePacket(std::move(data), &p)) return abi::Errno::kEINVAL;
    if ((p.ethertype == kEtherIpv6) != ipv6()) return abi::Errno::kEINVAL;
    if (!ipv6()) CompleteHeader4(&p, from.addr);
    return p;
  }
  Sending s;
  MarkAsSet(to.addr, &s);
  if (args.ancillary != nullptr) {
    for (const ControlMessage& m : args.ancillary->controls) TRY(ReadIpControl(m, &s));
  }
  if (s.has_source && !stack_->IsOwn(s.source)) return abi::Errno::kEINVAL;
  const IpAddress& source = s.has_source ? s.source : from.addr;
  // rawv6_push_pending_frames().
  if (protocol() == abi::kIPPROTO_ICMPV6) {
    if (data.size() < 4) return abi::Errno::kEINVAL;
    SetIcmpChecksum(source, to.addr, data);
  }
  return MakePacket(static_cast<uint8_t>(protocol()), source, to.addr, s.tos, s.ttl, data);
}

// raw_sendmsg(), rawv6_sendmsg().
base::Result<uint64_t> RawSocket::Send(Task* task, IoBuffer& src, SendArgs& args) {
  const uint64_t len = src.remaining();
  if (len > kMaxPacket) return abi::Errno::kEMSGSIZE;
  if (args.flags & abi::kMSG_OOB) return abi::Errno::kEOPNOTSUPP;
  Endpoint to, from;
  {
    base::MutexLock lock(mu_);
    if (args.to == nullptr && !connected_) return abi::Errno::kEDESTADDRREQ;
    to = remote_;
    from = local_;
    if (no_send_) return abi::Errno::kEPIPE;
  }
  if (args.to != nullptr) {
    to = TRY(ParseRemote(*args.to));
    if (ipv6() && to.addr.is_v4()) return abi::Errno::kEINVAL;
    if (ipv6() && to.port != 0 && to.port != protocol() && protocol() != abi::kIPPROTO_RAW) {
      return abi::Errno::kEINVAL;
    }
  }
  if (to.addr.is_broadcast() && !flag(abi::kSO_BROADCAST)) return abi::Errno::kEACCES;
  const NetStack::Place place = stack_->Locate(to.addr);
  if (place == NetStack::Place::kNowhere) return abi::Errno::kENETUNREACH;
  const bool here = place == NetStack::Place::kHere;
  if (place == NetStack::Place::kDiscard) return len;
  if (!here && !has_outside()) return abi::Errno::kEPERM;
  if (here && from.addr.is_any()) from.addr = stack_->SourceFor(to.addr);
  std::vector<uint8_t> data(len);
  const IoBuffer::Mark mark = src.mark();
  if (src.CopyFrom(data.data(), len) != len) return abi::Errno::kEFAULT;
  if (!here && has_header()) {
    // The outside's socket makes headers, but the one for IPPROTO_RAW, which completes them.
    LocalPacket checked;
    if (!ParsePacket(data, &checked)) return abi::Errno::kEINVAL;
    if (protocol() != abi::kIPPROTO_RAW) return abi::Errno::kEPERM;
  }
  NetOutside::RawHead head;
  head.address = to.addr.b;
  head.scope = to.scope_id;
  if (!here) {
    std::span<const uint8_t> bytes = data;
    LocalPacket p;
    if (!has_header()) {
      p = TRY(MakeOutgoing(std::move(data), to, from, args));
      bytes = p.payload();
      using Relay = NetOutside::RelayHead;
      head.relay = {0, Relay::kTos | Relay::kTtl, p.tos, p.ttl};
    }
    TRY(SendOutside(head, bytes, src, mark));
    return len;
  }
  SendInside(TRY(MakeOutgoing(std::move(data), to, from, args)));
  return len;
}

// ip_local_deliver(), icmp_rcv().
void RawSocket::SendInside(const LocalPacket& p) {
  stack_->counters.AddLoopback(1, p.bytes.size());
  stack_->Show(p);
  LocalPacket reply;
  if (MakeEchoReply(p, &reply)) stack_->Show(reply);
}

// raw_v4_match(), raw_v6_match(), icmp_filter(), icmpv6_filter().
bool RawSocket::Wants(const LocalPacket& p) {
  const bool v6 = p.ethertype == kEtherIpv6;
  if (v6 != ipv6() || (!v6 && p.ethertype != kEtherIpv4)) return false;
  if (p.protocol != protocol() || protocol() == abi::kIPPROTO_RAW) return false;
  base::MutexLock lock(mu_);
  if (!local_.addr.is_any() && local_.addr != p.to) return false;
  if (connected_ && remote_.addr != p.from) return false;
  if (!is_icmp()) return true;
  if (p.payload().empty()) return false;
  const uint8_t type = p.payload()[0];
  if (!v6 && type >= 32) return true;
  return (unwanted_.data[type / 32] >> type % 32 & 1) == 0;
}

bool RawSocket::Cut(LocalPacket p, int32_t interface, Frame* f) {
  f->head.address = p.from.b;
  f->head.relay = {0, 0, p.tos, p.ttl};
  f->head.interface = interface;
  if (flag(abi::kSO_TIMESTAMP) || flag(abi::kSO_TIMESTAMPNS)) f->stamp = HostClock().Realtime();
  // Of IPv4, programs get the header, too.
  const std::span<const uint8_t> seen = ipv6() ? p.payload() : std::span<const uint8_t>(p.bytes);
  size_t keep = seen.size();
  if (const base::Ref<SocketFilter> filter = this->filter()) {
    const std::optional<size_t> r = filter->Run({.data = seen,
                                                 .network = p.bytes,
                                                 .ethertype = p.ethertype,
                                                 .interface = interface,
                                                 .hardware = abi::kARPHRD_ETHER});
    if (!r) return false;
    keep = *r;
  }
  f->data.assign(seen.begin(), seen.begin() + static_cast<int64_t>(keep));
  return true;
}

void RawSocket::Observe(const LocalPacket& p) {
  if (device() != 0 && device() != kLoopbackIndex) return;
  Frame f;
  if (Wants(p) && Cut(p, kLoopbackIndex, &f)) Enqueue(std::move(f));
}

bool RawSocket::Admit(Frame* f) {
  LocalPacket p;
  const NetOutside::RawHead head = f->head;
  if (ipv6()) {
    // The host's socket gives no header, and to which address it came is not told.
    p.ethertype = kEtherIpv6;
    p.protocol = static_cast<uint8_t>(protocol());
    p.from.b = head.address;
    base::MutexLock lock(mu_);
    p.to = local_.addr;
    p.bytes = std::move(f->data);
  } else if (!ParsePacket(std::move(f->data), &p)) {
    return false;
  }
  // Which interface of the outside it came through isn't told either.
  if (!Wants(p) || !Cut(std::move(p), 0, f)) return false;
  f->head.scope = head.scope;
  return true;
}

base::Result<uint64_t> RawSocket::Receive(Task* task, IoBuffer& dst, RecvArgs& args) {
  if (args.flags & abi::kMSG_OOB) return abi::Errno::kEOPNOTSUPP;
  NetOutside::RawHead head;
  const uint64_t n = TRY(ReceiveFrame(dst, args, &head));
  Endpoint from;
  from.addr.b = head.address;
  from.scope_id = head.scope;
  args.from = Name(from);
  Endpoint to;
  {
    base::MutexLock lock(mu_);
    to = local_;
  }
  AddIpControls({from, to, head.relay.tos, head.relay.ttl, head.interface},
                &args.ancillary.controls);
  return n;
}

base::Result<void> RawSocket::SetFamilyOption(Task& task, int32_t level, int32_t name,
                                              std::span<const uint8_t> value) {
  if (level == abi::kSOL_IP && name == abi::kIP_HDRINCL && !ipv6()) {
    header_.store(TRY(ReadOption<int32_t>(value)) != 0);
    return {};
  }
  // raw_seticmpfilter(), rawv6_seticmpfilter().
  const int32_t filter_level = ipv6() ? abi::kSOL_ICMPV6 : abi::kSOL_RAW;
  if (level == filter_level && name == abi::kICMP_FILTER) {
    if (!is_icmp()) return abi::Errno::kEOPNOTSUPP;
    base::MutexLock lock(mu_);
    const size_t most = ipv6() ? sizeof unwanted_ : sizeof(abi::IcmpFilter);
    memcpy(&unwanted_, value.data(), std::min(value.size(), most));
    return {};
  }
  if (level == abi::kSOL_RAW || level == protocol()) return abi::Errno::kENOPROTOOPT;
  return InetSocket::SetFamilyOption(task, level, name, value);
}

base::Result<uint32_t> RawSocket::GetFamilyOption(Task& task, int32_t level, int32_t name,
                                                  std::span<uint8_t> out) {
  if (level == abi::kSOL_IP && name == abi::kIP_HDRINCL && !ipv6()) {
    const int32_t v = header_.load();
    return GiveOption(out, v);
  }
  const int32_t filter_level = ipv6() ? abi::kSOL_ICMPV6 : abi::kSOL_RAW;
  if (level == filter_level && name == abi::kICMP_FILTER) {
    if (!is_icmp()) return abi::Errno::kEOPNOTSUPP;
    base::MutexLock lock(mu_);
    return GiveOption(out, &unwanted_, ipv6() ? sizeof unwanted_ : sizeof(abi::IcmpFilter));
  }
  if (level == abi::kSOL_RAW || level == protocol()) return abi::Errno::kENOPROTOOPT;
  return InetSocket::GetFamilyOption(task, level, name, out);
}

}  // namespace sentry
