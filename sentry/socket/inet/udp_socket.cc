#include "sentry/socket/inet/udp_socket.h"

#include "platform/base/byte_order.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/option_value.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM | abi::kEPOLLWRBAND;
}  // namespace

UdpSocket::UdpSocket(base::Ref<NetStack> stack, int32_t family, int32_t protocol, uint32_t flags)
    : InetSocket(std::move(stack), family, abi::kSOCK_DGRAM, protocol, flags) {
  base::MutexLock lock(mu_);
  claim_.local = Unbound();
}

UdpSocket::~UdpSocket() {
  if (base::Ref<UdpOutside> out = outside()) out->Detach();
  uint16_t port;
  {
    base::MutexLock lock(mu_);
    port = claimed_ ? claim_.local.port : 0;
  }
  if (port != 0) ports().Release(this, port, nullptr);
}

bool UdpSocket::bound() {
  base::MutexLock lock(mu_);
  return claimed_;
}

bool UdpSocket::connected() {
  base::MutexLock lock(mu_);
  return connected_;
}

int32_t UdpSocket::TakeError() {
  {
    base::MutexLock lock(mu_);
    if (error_ != 0) return std::exchange(error_, 0);
  }
  base::Ref<UdpOutside> out = outside();
  return out ? out->TakeError() : 0;
}

base::Ref<UdpOutside> UdpSocket::MakeOutside(base::Ref<NetOutside> o) {
  base::MutexLock lock(mu_);
  if (!outside_) {
    outside_ = base::MakeRef<UdpOutside>(std::move(o), &queue_);
    outside_->set_hears_refusals(WantsErrors());
  }
  has_outside_.store(true, std::memory_order_relaxed);
  return outside_;
}

void UdpSocket::OutsideLost(const base::Ref<NetOutside>& next) {
  base::Ref<UdpOutside> out = outside();
  if (!out || !out->Lost(static_cast<bool>(next))) return;
  Endpoint local;
  {
    base::MutexLock lock(mu_);
    local = claim_.local;
  }
  out->BindAgain(OutsideRequest(local, {}));
}

void UdpSocket::WillWait(uint32_t mask) {
  if (base::Ref<UdpOutside> out = outside()) out->Arm();
}

base::Result<void> UdpSocket::Bind(Task& task, const SockAddr& addr) {
  const Endpoint local = TRY(ParseLocal(task, addr));
  PortClaim claim = Claim(local);
  TRY(ports().Bind(this, &claim));
  if (base::Ref<NetOutside> o = stack_->OutsideTowards(claim.local);
      o && !is_ping() && goes_outside()) {
    base::Result<void> r = MakeOutside(std::move(o))->Bind(task, OutsideRequest(claim.local, {}));
    if (!r.ok()) {
      ports().Release(this, claim.local.port, nullptr);
      return r;
    }
  }
  base::MutexLock lock(mu_);
  claim_ = claim;
  bound_ = local;
  claimed_ = true;
  return {};
}

base::Result<void> UdpSocket::AutoBind() {
  {
    base::MutexLock lock(mu_);
    if (claimed_) return {};
  }
  PortClaim claim = Claim(Unbound());
  if (!ports().Bind(this, &claim).ok()) return abi::Errno::kEAGAIN;
  base::MutexLock lock(mu_);
  claim_ = claim;
  bound_ = Unbound();
  claimed_ = true;
  return {};
}

// __udp_disconnect().
void UdpSocket::Disconnect() {
  PortClaim claim;
  bool keep;
  base::Ref<UdpOutside> out;
  {
    base::MutexLock lock(mu_);
    connected_ = false;
    remote_ = Endpoint{};
    if (outside_local_.port != 0) {
      outside_local_ = Endpoint{};
      out = std::move(outside_);
      has_outside_.store(false, std::memory_order_relaxed);
    }
  }
  if (out) out->Detach();
  {
    base::MutexLock lock(mu_);
    if (!claimed_) return;
    keep = bound_.port != 0;
    const uint16_t port = claim_.local.port;
    claim_.local = bound_.addr == IpAddress{} && !ipv6() ? Unbound() : bound_;
    claim_.local.port = port;
    claim = claim_;
    if (!keep) claimed_ = false;
  }
  if (keep) {
    ports().Rebind(this, Claim(claim.local), nullptr);
    return;
  }
  ports().Release(this, claim.local.port, nullptr);
  base::MutexLock lock(mu_);
  claim_.local.port = 0;
}

// Who gets what is sent to a place is looked for inside first.
base::Ref<NetOutside> UdpSocket::ReceiverOutside(const Endpoint& to, const Endpoint& from) {
  if (!goes_outside()) return nullptr;
  base::Ref<NetOutside> o = stack_->OutsideFor(to);
  if (!o || (to.addr.is_loopback() && ports().Find(to, from, kLoopbackIndex, 0))) return nullptr;
  return o;
}

bool UdpSocket::GroupUnreachable(const IpAddress& to) {
  if (!to.is_multicast() && !to.is_broadcast()) return false;
  if (!to.is_broadcast() && multicast_interface() == kLoopbackIndex) return false;
  return stack_->Locate(to) == NetStack::Place::kNowhere;
}

// __ip4_datagram_connect().
base::Result<void> UdpSocket::Connect(Task& task, const SockAddr& addr) {
  if (addr.len < sizeof(uint16_t)) return abi::Errno::kEINVAL;
  if (addr.family() == abi::kAF_UNSPEC) {
    Disconnect();
    return {};
  }
  const Endpoint to = TRY(ParseRemote(addr));
  const bool group = to.addr.is_multicast() || to.addr.is_broadcast();
  if (GroupUnreachable(to.addr)) return abi::Errno::kENETUNREACH;
  if (to.addr.is_broadcast() && !flag(abi::kSO_BROADCAST)) return abi::Errno::kEACCES;
  TRY(AutoBind());
  Endpoint local, from;
  {
    base::MutexLock lock(mu_);
    local = bound_;  // a port that nobody asked for is the outside's to choose
    from = claim_.local;
  }
  if (from.addr.is_any()) from.addr = stack_->SourceFor(to.addr);
  if (base::Ref<NetOutside> o = group ? nullptr : ReceiverOutside(to, from)) {
    const Endpoint seen = TRY(MakeOutside(std::move(o))->Connect(task, OutsideRequest(local, to)));
    base::MutexLock lock(mu_);
    connected_ = true;
    remote_ = to;
    outside_local_ = seen;
    if (outside_) outside_->set_hears_refusals(true);
    queue_.Wake(kWritable);
    return {};
  }
  if (!group) {
    const NetStack::Place place = stack_->Locate(to.addr);
    if (place != NetStack::Place::kHere && place != NetStack::Place::kDiscard) {
      return abi::Errno::kENETUNREACH;
    }
  }
  PortClaim claim;
  {
    base::MutexLock lock(mu_);
    if (claim_.local.addr.is_any() && !to.addr.is_multicast() && !to.addr.is_broadcast()) {
      claim_.local.addr = stack_->SourceFor(to.addr);
    }
    claim = Claim(claim_.local);
    claim_ = claim;
    connected_ = true;
    remote_ = to;
    queue_.Wake(kWritable);
  }
  ports().Rebind(this, claim, &to);
  return {};
}

base::Result<void> UdpSocket::Shutdown(int32_t how) {
  if (how < abi::kSHUT_RD || how > abi::kSHUT_RDWR) return abi::Errno::kEINVAL;
  base::MutexLock lock(mu_);
  no_receive_ |= how != abi::kSHUT_WR;
  no_send_ |= how != abi::kSHUT_RD;
  queue_.Wake(kReadable | kWritable | abi::kEPOLLRDHUP | abi::kEPOLLHUP);
  return connected_ ? base::Result<void>() : abi::Errno::kENOTCONN;
}

base::Result<SockAddr> UdpSocket::LocalName() {
  base::MutexLock lock(mu_);
  return Name(outside_local_.port != 0 ? outside_local_ : claim_.local);
}

base::Result<SockAddr> UdpSocket::PeerName() {
  base::MutexLock lock(mu_);
  if (!connected_) return abi::Errno::kENOTCONN;
  return Name(remote_);
}

InetSocket::Row UdpSocket::Show() {
  base::MutexLock lock(mu_);
  Row r;
  r.local = claim_.local;
  r.remote = connected_ ? remote_ : Unbound();
  r.state = connected_ ? TcpState::kEstablished : TcpState::kClose;
  r.receive_queue = static_cast<uint32_t>(cost_);
  return r;
}

// datagram_poll(), udp_poll().
uint32_t UdpSocket::Poll() {
  uint32_t m = kWritable;
  if (base::Ref<UdpOutside> out = outside()) {
    m |= out->Poll() & (kReadable | abi::kEPOLLERR | abi::kEPOLLHUP);
  }
  base::MutexLock lock(mu_);
  if (error_ != 0 || !errors_.empty()) {
    m |= abi::kEPOLLERR;
    if (Option(abi::kSOL_SOCKET, abi::kSO_SELECT_ERR_QUEUE) != 0) m |= abi::kEPOLLPRI;
  }
  if (no_receive_) m |= abi::kEPOLLRDHUP | kReadable;
  if (no_receive_ && no_send_) m |= abi::kEPOLLHUP;
  if (!packets_.empty()) m |= kReadable;
  return m;
}

// udp_ioctl(): the first datagram's length.
base::Result<uint32_t> UdpSocket::QueuedBytes(bool receive) {
  if (!receive) return 0u;
  {
    base::MutexLock lock(mu_);
    if (!packets_.empty()) return packets_.front().len;
  }
  base::Ref<UdpOutside> out = outside();
  return out ? out->ReadableBytes() : 0u;
}

base::Result<void> UdpSocket::SetFamilyOption(Task& task, int32_t level, int32_t name,
                                              std::span<const uint8_t> value) {
  if (level == abi::kSOL_SOCKET && name == abi::kSO_PEEK_OFF) {
    base::MutexLock lock(mu_);
    memcpy(&peek_offset_, value.data(), sizeof peek_offset_);  // SetOption() checked the length
    return {};
  }
  if (level == abi::kSOL_SOCKET &&
      (name == abi::kSO_ATTACH_REUSEPORT_CBPF || name == abi::kSO_DETACH_REUSEPORT_BPF)) {
    return SetPortFilter(task, ports(), this, name, value);
  }
  return InetSocket::SetFamilyOption(task, level, name, value);
}

base::Result<uint32_t> UdpSocket::GetFamilyOption(Task& task, int32_t level, int32_t name,
                                                  std::span<uint8_t> out) {
  if (level == abi::kSOL_SOCKET && name == abi::kSO_PEEK_OFF) {
    base::MutexLock lock(mu_);
    return GiveOption(out, peek_offset_);
  }
  return InetSocket::GetFamilyOption(task, level, name, out);
}

// udp_lib_setsockopt().
base::Result<void> UdpSocket::SetProtocolOption(Task& task, int32_t level, int32_t name,
                                                std::span<const uint8_t> value) {
  const bool send = name == abi::kUDPLITE_SEND_CSCOV;
  auto v = TRY(ReadOption<int32_t>(value));
  if (goes_outside() || (!send && name != abi::kUDPLITE_RECV_CSCOV)) {
    return abi::Errno::kENOPROTOOPT;
  }
  constexpr int32_t kHeader = 8;
  v = v != 0 && v < kHeader ? kHeader : std::min<int32_t>(v, UINT16_MAX);
  (send ? send_coverage_ : receive_coverage_).store(v, std::memory_order_relaxed);
  return {};
}

base::Result<uint32_t> UdpSocket::GetProtocolOption(Task& task, int32_t level, int32_t name,
                                                    std::span<uint8_t> out) {
  const bool send = name == abi::kUDPLITE_SEND_CSCOV;
  if (goes_outside() || (!send && name != abi::kUDPLITE_RECV_CSCOV)) {
    return abi::Errno::kENOPROTOOPT;
  }
  const int32_t v = (send ? send_coverage_ : receive_coverage_).load(std::memory_order_relaxed);
  return GiveOption(out, v);
}

bool UdpSocket::WantsErrors() const {
  return wants_controls_.load(std::memory_order_relaxed) &&
         (Option(abi::kSOL_IP, abi::kIP_RECVERR) != 0 ||
          (ipv6() && Option(abi::kSOL_IPV6, abi::kIPV6_RECVERR) != 0));
}

void UdpSocket::OnOption(int32_t level, int32_t name, int32_t value) {
  // Any of the options that put something beside a message; Receive looks which.
  if (value != 0 && (level == abi::kSOL_IP || level == abi::kSOL_IPV6)) {
    wants_controls_.store(true, std::memory_order_relaxed);
  }
  base::MutexLock lock(mu_);
  if (outside_) outside_->set_hears_refusals(connected_ || WantsErrors());
}

}  // namespace sentry
