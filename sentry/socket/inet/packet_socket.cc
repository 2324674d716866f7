#include "sentry/socket/inet/packet_socket.h"

#include <algorithm>
#include <cstdio>

#include "platform/base/byte_order.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/option_value.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/netlink.h"
#include "syscalls/abi/packet.h"

namespace sentry {

namespace {

constexpr size_t kLinkHeader = 14, kLinkAddress = 6;  // Ethernet, which lo looks like
constexpr size_t kMaxFrame = UINT16_MAX + kLinkHeader;

uint16_t EthertypeOf(const uint8_t* frame) {
  return static_cast<uint16_t>(frame[12] << 8 | frame[13]);
}

}  // namespace

PacketSocket::PacketSocket(base::Ref<NetStack> stack, int32_t type, int32_t protocol,
                           uint32_t flags)
    : Socket(abi::kAF_PACKET, type, protocol, flags),
      RawChannel(&queue_),
      stack_(std::move(stack)),
      uid_(Task::Current() != nullptr ? Task::Current()->creds().euid : 0) {
  {
    base::MutexLock lock(mu_);
    hook_.ethertype = ntohs(static_cast<uint16_t>(protocol));
  }
  stack_->AddObserver(this, this);
}

PacketSocket::~PacketSocket() { stack_->RemoveObserver(this); }

base::Result<void> PacketSocket::Start(Task& task) { return Rehook(task); }

base::Result<void> PacketSocket::Rehook(Task& task) {
  const Hook h = hook();
  base::Ref<NetOutside> o = stack_->outside();
  if (!o || stack_->links().Has(h.interface)) {
    CloseOutside();
    return {};
  }
  NetOutside::Request r;
  r.raw = whole_frames() ? NetOutside::RawKind::kFrames : NetOutside::RawKind::kPayloads;
  r.interface = h.interface;
  r.ethertype = h.ethertype;
  base::Result<void> opened = OpenOutside(task, std::move(o), std::move(r));
  // Where the outside doesn't let it, there is lo; a link of the outside itself is asked for by
  // name.
  if (opened.ok() || (h.interface == 0 && !opened.error().is_restart())) return {};
  return opened;
}

base::Result<NetInterface> PacketSocket::FindInterface(int32_t index) const {
  for (NetInterface& i : stack_->Interfaces()) {
    if (i.index == index) return std::move(i);
  }
  return abi::Errno::kENODEV;
}

// packet_bind().
base::Result<void> PacketSocket::Bind(Task& task, const SockAddr& addr) {
  abi::SockaddrLl a;
  if (addr.len < sizeof a) return abi::Errno::kEINVAL;
  memcpy(&a, addr.bytes.data(), sizeof a);
  if (a.family != abi::kAF_PACKET) return abi::Errno::kEINVAL;
  if (a.ifindex != 0) TRY(FindInterface(a.ifindex));
  Hook old;
  {
    base::MutexLock lock(mu_);
    old = hook_;
    hook_.interface = a.ifindex;
    if (a.protocol != 0) hook_.ethertype = ntohs(a.protocol);
  }
  base::Result<void> r = Rehook(task);
  if (!r.ok()) {
    base::MutexLock lock(mu_);
    hook_ = old;
  }
  return r;
}

SockAddr PacketSocket::Name(const NetOutside::RawHead& head) const {
  abi::SockaddrLl a{abi::kAF_PACKET,
                    htons(head.ethertype),
                    head.interface,
                    head.hardware,
                    head.packet_type,
                    head.link_size,
                    {}};
  std::copy(head.link_address.begin(), head.link_address.end(), a.addr);
  SockAddr out;
  memcpy(out.bytes.data(), &a, sizeof a);
  out.len = sizeof a;
  return out;
}

// packet_seq_show().
std::string PacketSocket::Line() {
  const Hook h = hook();
  char line[128];
  snprintf(line, sizeof line, "0000000000000000 %-6d %-4d %04x   %-5d %1d %-6u %-6u %-6lu\n", 3,
           type(), h.ethertype, h.interface, 1, FirstLength(), uid_, inode()->ino());
  return line;
}

// packet_getname().
base::Result<SockAddr> PacketSocket::LocalName() {
  const Hook h = hook();
  NetOutside::RawHead head;
  head.ethertype = h.ethertype;
  head.interface = h.interface;
  base::Result<NetInterface> i = FindInterface(h.interface);
  if (i.ok()) {
    head.hardware = i->type;
    head.link_size = kLinkAddress;
    std::copy(i->hwaddr.begin(), i->hwaddr.end(), head.link_address.begin());
  }
  SockAddr a = Name(head);
  a.len = static_cast<uint32_t>(offsetof(abi::SockaddrLl, addr) + head.link_size);
  return a;
}

// packet_snd().
base::Result<uint64_t> PacketSocket::Send(Task* task, IoBuffer& src, SendArgs& args) {
  NetOutside::RawHead head;
  const Hook h = hook();
  head.interface = h.interface;
  head.ethertype = h.ethertype;
  if (args.to != nullptr) {
    abi::SockaddrLl a;
    if (args.to->len < sizeof a) return abi::Errno::kEINVAL;
    memcpy(&a, args.to->bytes.data(), sizeof a);
    if (args.to->len < offsetof(abi::SockaddrLl, addr) + a.halen || a.halen > sizeof a.addr) {
      return abi::Errno::kEINVAL;
    }
    head.interface = a.ifindex;
    head.ethertype = ntohs(a.protocol);
    head.link_size = a.halen;
    std::copy(std::begin(a.addr), std::end(a.addr), head.link_address.begin());
  }
  base::Result<NetInterface> to = FindInterface(head.interface);
  if (!to.ok()) return abi::Errno::kENXIO;
  if ((to->flags & static_cast<uint32_t>(abi::kIFF_UP)) == 0) return abi::Errno::kENETDOWN;
  const uint64_t len = src.remaining();
  const size_t header = whole_frames() ? kLinkHeader : 0;
  if (len < header) return abi::Errno::kEINVAL;
  if (len > to->mtu + header || len > kMaxFrame) return abi::Errno::kEMSGSIZE;
  const bool inside = head.interface == kLoopbackIndex;
  // Behind this namespace's other links is nobody.
  if (!inside && stack_->links().Has(head.interface)) return len;
  if (!inside && !has_outside()) return abi::Errno::kEPERM;
  std::vector<uint8_t> frame(len);
  const IoBuffer::Mark mark = src.mark();
  if (src.CopyFrom(frame.data(), len) != len) return abi::Errno::kEFAULT;
  if (!inside) {
    TRY(SendOutside(head, frame, src, mark));
    return len;
  }
  if (whole_frames()) {
    head.ethertype = EthertypeOf(frame.data());
    frame.erase(frame.begin(), frame.begin() + kLinkHeader);
  }
  SendInside(head.ethertype, std::move(frame));
  return len;
}

// What comes back through lo is seen by those who look at packets.
void PacketSocket::SendInside(uint16_t ethertype, std::vector<uint8_t> data) {
  stack_->counters.AddLoopback(1, data.size());
  LocalPacket p;
  const bool ip = ethertype == kEtherIpv4 || ethertype == kEtherIpv6;
  if (!ip || !ParsePacket(data, &p) || p.ethertype != ethertype) {
    // No protocol's: packet(7) alone sees it.
    p = LocalPacket{};
    p.bytes = std::move(data);
    p.header = p.bytes.size();
  }
  p.ethertype = ethertype;
  stack_->Show(p);
}

bool PacketSocket::PassesFilter(Frame* f) const {
  const base::Ref<SocketFilter> filter = this->filter();
  if (!filter) return true;
  const std::span<const uint8_t> data = f->data;
  const size_t header = whole_frames() ? std::min(kLinkHeader, data.size()) : 0;
  const std::optional<size_t> keep = filter->Run({.data = data,
                                                  .network = data.subspan(header),
                                                  .ethertype = f->head.ethertype,
                                                  .packet_type = f->head.packet_type,
                                                  .interface = f->head.interface,
                                                  .hardware = f->head.hardware});
  if (!keep) return false;
  f->data.resize(*keep);
  return true;
}

// loopback_xmit(): lo shows a packet twice, as it goes and as it comes.
void PacketSocket::Observe(const LocalPacket& p) {
  const Hook h = hook();
  if (h.interface != 0 && h.interface != kLoopbackIndex) return;
  const bool all = h.ethertype == kEtherAll;
  if (!all && h.ethertype != p.ethertype) return;
  Frame f;
  f.head.interface = kLoopbackIndex;
  f.head.ethertype = p.ethertype;
  f.head.hardware = abi::kARPHRD_LOOPBACK;
  f.head.link_size = kLinkAddress;
  if (whole_frames()) {
    f.data.resize(kLinkHeader);
    f.data[12] = static_cast<uint8_t>(p.ethertype >> 8);
    f.data[13] = static_cast<uint8_t>(p.ethertype);
  }
  f.data.insert(f.data.end(), p.bytes.begin(), p.bytes.end());
  if (flag(abi::kSO_TIMESTAMP) || flag(abi::kSO_TIMESTAMPNS)) f.stamp = HostClock().Realtime();
  for (const uint8_t type : {abi::kPACKET_OUTGOING, abi::kPACKET_HOST}) {
    // dev_queue_xmit_nit(): only who wants all sees what goes.
    if (type == abi::kPACKET_OUTGOING && (!all || ignore_outgoing_.load())) continue;
    Frame copy = f;
    copy.head.packet_type = type;
    if (PassesFilter(&copy)) Enqueue(std::move(copy));
  }
}

bool PacketSocket::Admit(Frame* f) {
  // The outside's own lo is not the sandbox's.
  if (stack_->links().Has(f->head.interface)) return false;
  if (f->head.packet_type == abi::kPACKET_OUTGOING && ignore_outgoing_.load()) return false;
  if (flag(abi::kSO_TIMESTAMP) || flag(abi::kSO_TIMESTAMPNS)) f->stamp = HostClock().Realtime();
  return PassesFilter(f);
}

base::Result<uint64_t> PacketSocket::Receive(Task* task, IoBuffer& dst, RecvArgs& args) {
  constexpr uint32_t kKnown = abi::kMSG_PEEK | abi::kMSG_DONTWAIT | abi::kMSG_TRUNC |
                              abi::kMSG_CMSG_CLOEXEC | abi::kMSG_ERRQUEUE;
  if ((args.flags & ~kKnown) != 0) return abi::Errno::kEINVAL;
  NetOutside::RawHead head;
  const uint64_t n = TRY(ReceiveFrame(dst, args, &head));
  args.from = Name(head);
  return n;
}

base::Result<uint64_t> PacketSocket::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  const bool in = cmd == static_cast<uint32_t>(abi::kSIOCINQ);
  if (!in && cmd != static_cast<uint32_t>(abi::kSIOCOUTQ)) return Socket::Ioctl(task, cmd, arg);
  const auto n = static_cast<int32_t>(in ? FirstLength() : 0);
  TRY(UserOut<int32_t>{arg}.Store(task.mm(), n));
  return uint64_t{0};
}

// packet_setsockopt().
base::Result<void> PacketSocket::SetFamilyOption(Task& task, int32_t level, int32_t name,
                                                 std::span<const uint8_t> value) {
  if (level != abi::kSOL_PACKET) return abi::Errno::kENOPROTOOPT;
  switch (name) {
    case abi::kPACKET_ADD_MEMBERSHIP:
    case abi::kPACKET_DROP_MEMBERSHIP: {
      const auto m = TRY(ReadOption<abi::PacketMreq>(value));
      if (m.alen > sizeof m.address || m.type > abi::kPACKET_MR_UNICAST) return abi::Errno::kEINVAL;
      TRY(FindInterface(m.ifindex));
      const auto* bytes = reinterpret_cast<const uint8_t*>(&m);
      if (!stack_->links().Has(m.ifindex)) {
        SetOutsideOption({level, name, {bytes, bytes + sizeof m}});
      }
      return {};
    }
    case abi::kPACKET_IGNORE_OUTGOING: {
      int32_t v;
      if (value.size() != sizeof v) return abi::Errno::kEINVAL;
      memcpy(&v, value.data(), sizeof v);
      if (v < 0 || v > 1) return abi::Errno::kEINVAL;
      ignore_outgoing_.store(v != 0);
      return {};
    }
    default:
      return abi::Errno::kENOPROTOOPT;
  }
}

base::Result<uint32_t> PacketSocket::GetFamilyOption(Task& task, int32_t level, int32_t name,
                                                     std::span<uint8_t> out) {
  if (level != abi::kSOL_PACKET) return abi::Errno::kENOPROTOOPT;
  switch (name) {
    case abi::kPACKET_STATISTICS: {
      const Statistics s = TakeStatistics();
      const abi::TpacketStats v{s.packets, s.drops};
      return GiveOption(out, v);
    }
    case abi::kPACKET_IGNORE_OUTGOING: {
      const int32_t v = ignore_outgoing_.load();
      return GiveOption(out, v);
    }
    default:
      return abi::Errno::kENOPROTOOPT;
  }
}

}  // namespace sentry
