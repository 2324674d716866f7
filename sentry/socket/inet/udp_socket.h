// Datagram sockets: UDP and UDP-Lite (udp(7), udplite(7); net/ipv4/udp.c) and ICMP echo (icmp(7);
// net/ipv4/ping.c).
#pragma once

#include <deque>
#include <memory>

#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/inet/udp_outside.h"

namespace sentry {

class UdpSocket : public InetSocket {
 public:
  // protocol: IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_ICMP or IPPROTO_ICMPV6.
  UdpSocket(base::Ref<NetStack> stack, int32_t family, int32_t protocol, uint32_t flags);
  ~UdpSocket() override;

  base::Result<void> Bind(Task& task, const SockAddr& addr) override;
  base::Result<void> Listen(Task& task, int32_t backlog) override {
    return abi::Errno::kEOPNOTSUPP;
  }
  base::Result<base::Ref<Socket>> Accept(uint32_t flags) override {
    return abi::Errno::kEOPNOTSUPP;
  }
  base::Result<void> Connect(Task& task, const SockAddr& addr) override;
  base::Result<void> Shutdown(int32_t how) override;
  base::Result<SockAddr> LocalName() override;
  base::Result<SockAddr> PeerName() override;
  base::Result<uint64_t> Send(Task* task, IoBuffer& src, SendArgs& args) override;
  base::Result<uint64_t> Receive(Task* task, IoBuffer& dst, RecvArgs& args) override;
  uint32_t Poll() override;
  void WillWait(uint32_t mask) override;
  WaitQueue* wait_queue() override { return &queue_; }
  Row Show() override;
  void OutsideLost(const base::Ref<NetOutside>& next) override;

 protected:
  base::Result<uint32_t> QueuedBytes(bool receive) override;
  bool bound() override;
  bool connected() override;
  base::Result<void> SetFamilyOption(Task& task, int32_t level, int32_t name,
                                     std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetFamilyOption(Task& task, int32_t level, int32_t name,
                                         std::span<uint8_t> out) override;
  base::Result<void> SetProtocolOption(Task& task, int32_t level, int32_t name,
                                       std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetProtocolOption(Task& task, int32_t level, int32_t name,
                                           std::span<uint8_t> out) override;
  int32_t TakeError() override;
  void SetOutside(const NetOutside::Option& o) override {
    if (base::Ref<UdpOutside> out = outside()) out->SetOption(o);
  }
  void OnOption(int32_t level, int32_t name, int32_t value) override;

 private:
  struct Packet {
    std::unique_ptr<uint8_t[]> data;
    uint32_t len = 0;
    Endpoint from, to;
    int64_t stamp = 0;
    int32_t interface = kLoopbackIndex;
    uint8_t tos = 0, ttl = 64;
    uint32_t cost() const { return len + kPacketOverhead; }
  };
  // An entry of the error queue (IP_RECVERR): the payload that failed, and where it went.
  struct ErrorEntry {
    Packet packet;
    abi::SockExtendedErr error{};
  };
  // What a message is sent with.
  struct Target : Sending {
    Endpoint from, to;
    uint32_t segment = 0;                      // UDP_SEGMENT
    std::span<const ControlMessage> controls;  // those that were sent with it
  };
  // What a packet in a receive buffer counts beside its bytes (the kernel's struct sk_buff).
  static constexpr uint32_t kPacketOverhead = 512;
  static constexpr uint32_t kMaxPayload4 = 65507, kMaxPayload6 = 65527;
  static constexpr size_t kMaxErrors = 64;

  // Null: nothing of this socket is outside.
  base::Ref<UdpOutside> outside() {
    if (!has_outside_.load(std::memory_order_relaxed)) return nullptr;
    base::MutexLock lock(mu_);
    return outside_;
  }
  bool HasNews() {
    base::MutexLock lock(mu_);
    return error_ != 0 || !packets_.empty() || no_receive_;
  }
  // IP_RECVERR.
  bool WantsErrors() const;
  // Null: somebody inside takes what from sends to to.
  base::Ref<NetOutside> ReceiverOutside(const Endpoint& to, const Endpoint& from);
  base::Ref<UdpOutside> MakeOutside(base::Ref<NetOutside> o);
  bool is_ping() const {
    return protocol() == abi::kIPPROTO_ICMP || protocol() == abi::kIPPROTO_ICMPV6;
  }
  // UDP-Lite stays inside.
  bool goes_outside() const { return protocol() != abi::kIPPROTO_UDPLITE; }
  PortTable& ports() const { return stack_->ports(protocol()); }
  // To a group or to all, and no interface for it: lo takes it only where it was chosen.
  bool GroupUnreachable(const IpAddress& to);
  base::Result<void> AutoBind();
  void Disconnect();
  base::Result<Target> FindTarget(const SendArgs& args);
  base::Result<void> ReadControls(const SendArgs& args, Target* t);
  base::Result<void> Transmit(const Target& t, Packet p);
  base::Result<void> SendOutside(base::Ref<NetOutside> o, const Target& t, const Packet& p);
  base::Result<void> Echo(const Target& t, Packet p);
  // Of UDP and UDP-Lite: with its headers.
  LocalPacket WholePacket(const Packet& p) const;
  // SO_ATTACH_FILTER, which may shorten it.
  bool PassesFilter(Packet* p) const;
  // Takes a packet that another socket sent; false: no room.
  bool Deliver(Packet p);
  void PortUnreachable(const Target& t, Packet p);
  base::Result<uint64_t> ReceiveError(IoBuffer& dst, RecvArgs& args);
  base::Result<uint64_t> ReceiveOutside(UdpOutside& out, IoBuffer& dst, RecvArgs& args);
  base::Result<uint64_t> ReceiveFiltered(UdpOutside& out, IoBuffer& dst, RecvArgs& args);
  void AddControls(const Packet& p, std::vector<ControlMessage>* out);

  WaitQueue queue_;
  std::atomic<bool> wants_controls_{false}, has_outside_{false};
  std::atomic<uint32_t> drops_{0};
  // UDP-Lite: what a checksum covers. Makes no difference: nothing is damaged on the way.
  std::atomic<int32_t> send_coverage_{0}, receive_coverage_{0};

  base::Mutex<base::LockClass::kSocket> mu_;
  PortClaim claim_ GUARDED_BY(mu_);
  Endpoint bound_ GUARDED_BY(mu_);  // what bind(2) said; port 0: any
  bool claimed_ GUARDED_BY(mu_) = false;
  bool connected_ GUARDED_BY(mu_) = false;
  Endpoint remote_ GUARDED_BY(mu_);
  base::Ref<UdpOutside> outside_ GUARDED_BY(mu_);
  // Connected to a place outside: the address that it is seen with there; port 0: not.
  Endpoint outside_local_ GUARDED_BY(mu_);
  bool no_receive_ GUARDED_BY(mu_) = false, no_send_ GUARDED_BY(mu_) = false;
  int32_t error_ GUARDED_BY(mu_) = 0;
  int32_t peek_offset_ GUARDED_BY(mu_) = -1;
  std::deque<Packet> packets_ GUARDED_BY(mu_);
  uint64_t cost_ GUARDED_BY(mu_) = 0;  // of packets_, against SO_RCVBUF
  std::deque<ErrorEntry> errors_ GUARDED_BY(mu_);
  // MSG_MORE and UDP_CORK: what is not sent yet.
  std::vector<uint8_t> corked_ GUARDED_BY(mu_);
};

}  // namespace sentry
