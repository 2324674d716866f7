// Sending and receiving datagrams (udp_sendmsg(), udp_recvmsg(), ping_v4_sendmsg()).
#include <algorithm>

#include "platform/base/byte_order.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/inet/udp_socket.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/netlink.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint8_t kIcmpEcho = 8, kIcmp6Echo = 128;
constexpr uint8_t kIcmpUnreachable = 3, kIcmpPort = 3, kIcmp6Unreachable = 1, kIcmp6Port = 4;
constexpr uint32_t kIcmpHeader = 8;
}  // namespace

base::Result<void> UdpSocket::ReadControls(const SendArgs& args, Target* t) {
  if (args.ancillary == nullptr) return {};
  t->controls = args.ancillary->controls;
  for (const ControlMessage& m : args.ancillary->controls) {
    if (m.level == abi::kSOL_UDP && m.type == abi::kUDP_SEGMENT && !is_ping()) {
      uint16_t segment;
      if (m.data.size() != sizeof segment) return abi::Errno::kEINVAL;
      memcpy(&segment, m.data.data(), sizeof segment);
      t->segment = segment;
    } else {
      TRY(ReadIpControl(m, t));
    }
  }
  if (t->has_source) t->from.addr = t->source;
  return {};
}

base::Result<UdpSocket::Target> UdpSocket::FindTarget(const SendArgs& args) {
  Target t;
  Endpoint local;
  if (args.to != nullptr) {
    t.to = TRY(ParseRemote(*args.to));
    if (t.to.port == 0 && !is_ping()) return abi::Errno::kEINVAL;
  }
  {
    base::MutexLock lock(mu_);
    if (args.to == nullptr) {
      if (!connected_) return abi::Errno::kEDESTADDRREQ;
      t.to = remote_;
    }
    local = claim_.local;
  }
  const bool v4 = t.to.addr.is_v4();
  t.from = local;
  if (wants_controls_.load(std::memory_order_relaxed)) {
    MarkAsSet(t.to.addr, &t);
    t.segment = static_cast<uint32_t>(is_ping() ? 0 : Option(abi::kSOL_UDP, abi::kUDP_SEGMENT));
  } else if (t.to.addr.is_multicast()) {
    t.ttl = 1;
  }
  TRY(ReadControls(args, &t));
  if (GroupUnreachable(t.to.addr)) return abi::Errno::kENETUNREACH;
  if (t.to.addr.is_broadcast() && !flag(abi::kSO_BROADCAST)) return abi::Errno::kEACCES;
  if (t.from.addr.is_any()) {
    t.from.addr = t.to.addr.is_multicast() || t.to.addr.is_broadcast()
                      ? IpAddress::V4(abi::kINADDR_LOOPBACK)
                      : stack_->SourceFor(t.to.addr);
    if (!v4 && t.to.addr.is_multicast()) {
      t.from.addr = IpAddress{};
      t.from.addr.b[15] = 1;
    }
  } else if (t.has_source && !stack_->IsOwn(t.from.addr)) {
    return abi::Errno::kEINVAL;
  }
  if (t.from.addr.is_v4() != v4) return v4 ? abi::Errno::kENETUNREACH : abi::Errno::kEINVAL;
  return t;
}

base::Result<uint64_t> UdpSocket::Send(Task* task, IoBuffer& src, SendArgs& args) {
  const uint64_t len = src.remaining();
  if (len > UINT16_MAX) return abi::Errno::kEMSGSIZE;
  if (args.flags & abi::kMSG_OOB) return abi::Errno::kEOPNOTSUPP;
  Target t = TRY(FindTarget(args));
  {
    base::MutexLock lock(mu_);
    if (error_ != 0) return static_cast<abi::Errno>(std::exchange(error_, 0));
  }
  TRY(AutoBind());
  Packet p;
  const bool more = !is_ping() && ((args.flags & abi::kMSG_MORE) != 0 ||
                                   (wants_controls_.load(std::memory_order_relaxed) &&
                                    Option(abi::kSOL_UDP, abi::kUDP_CORK) != 0));
  uint64_t total = len;
  {
    base::MutexLock lock(mu_);
    t.from.port = claim_.local.port;
    total += corked_.size();
    if (total > (t.to.addr.is_v4() ? kMaxPayload4 : kMaxPayload6)) {
      corked_.clear();
      return abi::Errno::kEMSGSIZE;
    }
    if (no_send_) return abi::Errno::kEPIPE;
    p.data.reset(new uint8_t[std::max<uint64_t>(total, 1)]);
    if (!corked_.empty()) memcpy(p.data.get(), corked_.data(), corked_.size());
    if (src.CopyFrom(p.data.get() + corked_.size(), len) != len) return abi::Errno::kEFAULT;
    corked_.clear();
    if (more) {
      corked_.assign(p.data.get(), p.data.get() + total);
      return len;
    }
  }
  p.len = static_cast<uint32_t>(total);
  p.from = t.from;
  p.to = t.to;
  p.tos = t.tos;
  p.ttl = t.ttl;
  if (is_ping()) {
    TRY(Echo(t, std::move(p)));
    return len;
  }
  if (t.segment == 0 || t.segment >= total) {
    TRY(Transmit(t, std::move(p)));
    return len;
  }
  for (uint64_t at = 0; at < total; at += t.segment) {
    Packet part;
    part.len = static_cast<uint32_t>(std::min<uint64_t>(t.segment, total - at));
    part.data.reset(new uint8_t[part.len]);
    memcpy(part.data.get(), p.data.get() + at, part.len);
    part.from = p.from;
    part.to = p.to;
    part.tos = p.tos;
    part.ttl = p.ttl;
    TRY(Transmit(t, std::move(part)));
  }
  return len;
}

base::Result<void> UdpSocket::Transmit(const Target& t, Packet p) {
  NetCounters& c = stack_->counters;
  c.udp_out.fetch_add(1, std::memory_order_relaxed);
  c.AddLoopback(1, p.len);
  if (t.to.addr.is_multicast() || t.to.addr.is_broadcast()) {
    if (stack_->observed()) stack_->Show(WholePacket(p));
    for (const base::Ref<base::RefCounted>& r : ports().FindAll(t.to, t.from)) {
      auto& s = static_cast<UdpSocket&>(*r);
      if (t.to.addr.is_multicast() && !s.IsMember(t.to.addr)) continue;
      Packet copy;
      copy.data.reset(new uint8_t[std::max<uint32_t>(p.len, 1)]);
      memcpy(copy.data.get(), p.data.get(), p.len);
      copy.len = p.len;
      copy.from = p.from;
      copy.to = p.to;
      copy.tos = p.tos;
      copy.ttl = p.ttl;
      s.Deliver(std::move(copy));
    }
    return {};
  }
  if (base::Ref<NetOutside> o = ReceiverOutside(t.to, t.from))
    return SendOutside(std::move(o), t, p);
  const NetStack::Place place = stack_->Locate(t.to.addr);
  if (place == NetStack::Place::kDiscard) return {};
  if (place != NetStack::Place::kHere) return abi::Errno::kENETUNREACH;
  if (stack_->observed()) stack_->Show(WholePacket(p));
  const auto hash = static_cast<uint32_t>(absl::HashOf(t.from.addr, t.from.port));
  // run_bpf_filter(): what is behind the header.
  const auto choose = [&](const SocketFilter& filter) {
    const LocalPacket whole = WholePacket(p);
    return filter.Result({.data = {p.data.get(), p.len},
                          .network = whole.bytes,
                          .ethertype = whole.ethertype,
                          .interface = kLoopbackIndex,
                          .hardware = abi::kARPHRD_LOOPBACK});
  };
  base::Ref<base::RefCounted> found = ports().Find(t.to, t.from, kLoopbackIndex, hash, choose);
  if (!found) {
    c.udp_no_port.fetch_add(1, std::memory_order_relaxed);
    PortUnreachable(t, std::move(p));
    return {};
  }
  auto& to = static_cast<UdpSocket&>(*found);
  (to.Deliver(std::move(p)) ? c.udp_in : c.udp_overflow).fetch_add(1, std::memory_order_relaxed);
  return {};
}

base::Result<void> UdpSocket::SendOutside(base::Ref<NetOutside> o, const Target& t,
                                          const Packet& p) {
  Endpoint local;
  {
    base::MutexLock lock(mu_);
    local = outside_local_.port != 0 ? outside_local_ : bound_;
  }
  absl::InlinedVector<ControlMessage, 2> controls;
  for (const ControlMessage& m : t.controls) {
    if (m.level == abi::kSOL_IP || m.level == abi::kSOL_IPV6) controls.push_back(m);
  }
  return MakeOutside(std::move(o))
      ->Send(OutsideRequest(local, t.to), {p.data.get(), p.len}, controls);
}

// The host answers echo requests to its own addresses.
base::Result<void> UdpSocket::Echo(const Target& t, Packet p) {
  const bool v4 = t.to.addr.is_v4();
  if (p.len < kIcmpHeader) return abi::Errno::kEINVAL;
  uint8_t* h = p.data.get();
  if (h[0] != (v4 ? kIcmpEcho : kIcmp6Echo) || h[1] != 0) return abi::Errno::kEINVAL;
  if (base::Ref<NetOutside> o = ReceiverOutside(t.to, t.from))
    return SendOutside(std::move(o), t, p);
  const NetStack::Place place = stack_->Locate(t.to.addr);
  if (place == NetStack::Place::kDiscard) return {};
  if (place != NetStack::Place::kHere) return abi::Errno::kENETUNREACH;
  h[4] = static_cast<uint8_t>(t.from.port >> 8);
  h[5] = static_cast<uint8_t>(t.from.port);
  SetIcmpChecksum(t.from.addr, t.to.addr, {h, p.len});
  const LocalPacket request = MakePacket(static_cast<uint8_t>(protocol()), t.from.addr, t.to.addr,
                                         p.tos, p.ttl, {h, p.len});
  LocalPacket reply;
  if (!MakeEchoReply(request, &reply)) return {};
  if (stack_->observed()) {
    stack_->Show(request);
    stack_->Show(reply);
  }
  std::copy(reply.payload().begin(), reply.payload().end(), h);
  p.from = Endpoint{t.to.addr, 0, t.to.scope_id};
  p.to = t.from;
  Deliver(std::move(p));
  return {};
}

LocalPacket UdpSocket::WholePacket(const Packet& p) const {
  return MakeUdpPacket(static_cast<uint8_t>(protocol()), p.from, p.to, p.tos, p.ttl,
                       {p.data.get(), p.len});
}

bool UdpSocket::PassesFilter(Packet* p) const {
  const base::Ref<SocketFilter> f = filter();
  if (!f) return true;
  const LocalPacket whole = is_ping()
                                ? MakePacket(static_cast<uint8_t>(protocol()), p->from.addr,
                                             p->to.addr, p->tos, p->ttl, {p->data.get(), p->len})
                                : WholePacket(*p);
  const std::optional<size_t> keep = f->Run({.data = whole.payload(),
                                             .network = whole.bytes,
                                             .ethertype = whole.ethertype,
                                             .interface = p->interface,
                                             .hardware = abi::kARPHRD_LOOPBACK});
  if (!keep) return false;
  // sk_filter_trim_cap(): the header stays.
  const size_t header = is_ping() ? 0 : whole.payload().size() - p->len;
  p->len = static_cast<uint32_t>(std::max(*keep, header) - header);
  return true;
}

bool UdpSocket::Deliver(Packet p) {
  if (!PassesFilter(&p)) return true;
  if (flag(abi::kSO_TIMESTAMP) || flag(abi::kSO_TIMESTAMPNS)) p.stamp = HostClock().Realtime();
  base::MutexLock lock(mu_);
  if (cost_ + p.cost() > receive_buffer_.load(std::memory_order_relaxed) && !packets_.empty()) {
    drops_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  cost_ += p.cost();
  packets_.push_back(std::move(p));
  queue_.Wake(kReadable);
  return true;
}

// __udp4_lib_err(): a connected socket hears of it; others only if they ask for errors.
void UdpSocket::PortUnreachable(const Target& t, Packet p) {
  const bool v4 = t.to.addr.is_v4();
  if (stack_->observed()) stack_->Show(MakePortUnreachable(WholePacket(p)));
  const bool wants =
      wants_controls_.load(std::memory_order_relaxed) &&
      Option(v4 ? abi::kSOL_IP : abi::kSOL_IPV6, v4 ? abi::kIP_RECVERR : abi::kIPV6_RECVERR) != 0;
  base::MutexLock lock(mu_);
  if (!wants && !connected_) return;
  if (wants && errors_.size() < kMaxErrors) {
    ErrorEntry e;
    e.packet = std::move(p);
    e.error.err = static_cast<uint32_t>(abi::Errno::kECONNREFUSED);
    e.error.origin = v4 ? abi::kSO_EE_ORIGIN_ICMP : abi::kSO_EE_ORIGIN_ICMP6;
    e.error.type = v4 ? kIcmpUnreachable : kIcmp6Unreachable;
    e.error.code = v4 ? kIcmpPort : kIcmp6Port;
    errors_.push_back(std::move(e));
  }
  error_ = static_cast<int32_t>(abi::Errno::kECONNREFUSED);
  queue_.Wake(abi::kEPOLLERR | kReadable);
}

void UdpSocket::AddControls(const Packet& p, std::vector<ControlMessage>* out) {
  if (flag(abi::kSO_RXQ_OVFL)) {
    out->push_back(ControlMessage::Of(abi::kSOL_SOCKET, abi::kSO_RXQ_OVFL,
                                      drops_.load(std::memory_order_relaxed)));
  }
  if (!wants_controls_.load(std::memory_order_relaxed)) return;
  AddIpControls({p.from, p.to, p.tos, p.ttl, p.interface}, out);
}

// ip_recv_error(), ipv6_recv_error().
base::Result<uint64_t> UdpSocket::ReceiveError(IoBuffer& dst, RecvArgs& args) {
  ErrorEntry e;
  base::Ref<UdpOutside> out;
  {
    base::MutexLock lock(mu_);
    if (errors_.empty()) {
      if (!outside_) return abi::Errno::kEAGAIN;
      out = outside_;
    }
  }
  if (out) return ReceiveOutside(*out, dst, args);
  {
    base::MutexLock lock(mu_);
    if (errors_.empty()) return abi::Errno::kEAGAIN;
    e = std::move(errors_.front());
    errors_.pop_front();
    // sock_dequeue_err_skb(): the next error is what is pending now.
    error_ = errors_.empty() ? 0 : static_cast<int32_t>(errors_.front().error.err);
  }
  const bool v4 = e.packet.to.addr.is_v4();
  args.msg_flags |= abi::kMSG_ERRQUEUE;
  if (e.packet.len > dst.remaining()) args.msg_flags |= abi::kMSG_TRUNC;
  const uint64_t n = std::min<uint64_t>(e.packet.len, dst.remaining());
  if (dst.CopyTo(e.packet.data.get(), n) != n) return abi::Errno::kEFAULT;
  args.full_length = e.packet.len;
  args.from = Name(e.packet.to);
  if (v4 && !ipv6()) {
    struct {
      abi::SockExtendedErr error;
      abi::SockaddrIn offender;
    } m{e.error, {abi::kAF_INET, 0, htonl(e.packet.to.addr.v4()), {}}};
    args.ancillary.controls.push_back(ControlMessage::Of(abi::kSOL_IP, abi::kIP_RECVERR, m));
  } else {
    struct {
      abi::SockExtendedErr error;
      abi::SockaddrIn6 offender;
    } m{e.error, {abi::kAF_INET6, 0, 0, e.packet.to.addr.v6(), 0}};
    args.ancillary.controls.push_back(ControlMessage::Of(abi::kSOL_IPV6, abi::kIPV6_RECVERR, m));
  }
  return n;
}

base::Result<uint64_t> UdpSocket::ReceiveOutside(UdpOutside& out, IoBuffer& dst, RecvArgs& args) {
  if (filter()) return ReceiveFiltered(out, dst, args);
  const uint64_t room = dst.remaining();
  const bool controls = wants_controls_.load(std::memory_order_relaxed) ||
                        flag(abi::kSO_TIMESTAMP) || flag(abi::kSO_TIMESTAMPNS);
  HostEnd::Received r = TRY(out.Receive(dst, args.flags, controls));
  args.msg_flags |= r.flags;
  args.full_length = r.bytes;
  args.from = Name(r.from);
  args.ancillary.controls = std::move(r.controls);
  return std::min(r.bytes, room);
}

// As ReceiveOutside, of what passes the filter. What doesn't is gone when somebody looks for it.
base::Result<uint64_t> UdpSocket::ReceiveFiltered(UdpOutside& out, IoBuffer& dst, RecvArgs& args) {
  Packet p;
  p.data.reset(new uint8_t[UINT16_MAX]);
  for (;;) {
    IoBuffer all = IoBuffer::Kernel(p.data.get(), UINT16_MAX);
    HostEnd::Received r = TRY(out.Receive(all, args.flags & ~abi::kMSG_TRUNC, true));
    p.len = static_cast<uint32_t>(std::min<uint64_t>(r.bytes, UINT16_MAX));
    p.from = r.from;
    {
      base::MutexLock lock(mu_);
      p.to = outside_local_.port != 0 ? outside_local_ : claim_.local;
    }
    // The queue of errors isn't filtered.
    if ((args.flags & abi::kMSG_ERRQUEUE) == 0 && !PassesFilter(&p)) {
      if ((args.flags & abi::kMSG_PEEK) == 0) continue;
      IoBuffer none = IoBuffer::Kernel(p.data.get(), UINT16_MAX);
      TRY(out.Receive(none, 0, false));
      continue;
    }
    const uint64_t n = std::min<uint64_t>(p.len, dst.remaining());
    if (dst.CopyTo(p.data.get(), n) != n) return abi::Errno::kEFAULT;
    args.msg_flags |= r.flags | (n < p.len ? abi::kMSG_TRUNC : 0);
    args.full_length = p.len;
    args.from = Name(r.from);
    args.ancillary.controls = std::move(r.controls);
    return n;
  }
}

base::Result<uint64_t> UdpSocket::Receive(Task* task, IoBuffer& dst, RecvArgs& args) {
  if (args.flags & abi::kMSG_ERRQUEUE) return ReceiveError(dst, args);
  if ((args.flags & abi::kMSG_OOB) != 0 && is_ping()) return abi::Errno::kEOPNOTSUPP;
  if (base::Ref<UdpOutside> out = outside(); out && !HasNews()) {
    base::Result<uint64_t> r = ReceiveOutside(*out, dst, args);
    if (!r.is(abi::Errno::kEAGAIN)) return r;
  }
  const bool peek = (args.flags & abi::kMSG_PEEK) != 0;
  Packet taken;
  const Packet* p;
  base::MutexLock lock(mu_);
  if (error_ != 0) return static_cast<abi::Errno>(std::exchange(error_, 0));
  // __skb_try_recv_from_queue().
  uint64_t skip = peek && peek_offset_ > 0 ? static_cast<uint64_t>(peek_offset_) : 0;
  size_t index = 0;
  while (index < packets_.size() && skip != 0 && skip >= packets_[index].len) {
    skip -= packets_[index++].len;
  }
  if (index == packets_.size()) {
    // __skb_wait_for_more_packets(): only who would wait hears of the shutdown.
    const bool waits = (args.flags & abi::kMSG_DONTWAIT) == 0;
    if (no_receive_ && packets_.empty() && waits) return uint64_t{0};
    return abi::Errno::kEAGAIN;
  }
  p = &packets_[index];
  if (!peek) {
    taken = std::move(packets_.front());
    packets_.pop_front();
    cost_ -= taken.cost();
    p = &taken;
    if (peek_offset_ > 0) {
      peek_offset_ = std::max<int32_t>(peek_offset_ - static_cast<int32_t>(taken.len), 0);
    }
  }
  const uint64_t len = p->len - skip;
  const uint64_t n = std::min<uint64_t>(len, dst.remaining());
  if (len > n) args.msg_flags |= abi::kMSG_TRUNC;
  if (dst.CopyTo(p->data.get() + skip, n) != n) return abi::Errno::kEFAULT;
  if (peek && peek_offset_ >= 0) peek_offset_ += static_cast<int32_t>(n);
  args.full_length = len;
  args.from = Name(p->from);
  args.ancillary.stamp = p->stamp;
  AddControls(*p, &args.ancillary.controls);
  return n;
}

}  // namespace sentry
