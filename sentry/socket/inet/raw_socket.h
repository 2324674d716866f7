// Raw sockets of IPv4 and IPv6 (raw(7), icmp(7); net/ipv4/raw.c, net/ipv6/raw.c), with --net-raw.
// They see what is sent inside the sandbox as packets, all but TCP, which has none there; what they
// send to the sandbox itself reaches other raw sockets and is echoed, but no UDP or TCP socket.
#pragma once

#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/inet/raw_channel.h"
#include "syscalls/abi/packet.h"

namespace sentry {

class RawSocket final : public InetSocket, private RawChannel, private NetStack::Observer {
 public:
  RawSocket(base::Ref<NetStack> stack, int32_t family, int32_t protocol, uint32_t flags);
  ~RawSocket() override;
  // Lets it see what comes from outside, where there is an outside that allows it.
  base::Result<void> Start(Task& task);

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
  uint32_t Poll() override { return PollFrames(); }
  WaitQueue* wait_queue() override { return &queue_; }
  Row Show() override;
  void OutsideLost(const base::Ref<NetOutside>& next) override { LoseOutside(); }

 protected:
  base::Result<uint32_t> QueuedBytes(bool receive) override { return receive ? FirstLength() : 0u; }
  // bind(2) may be called again.
  bool bound() override { return false; }
  bool connected() override;
  int32_t TakeError() override { return TakeFrameError(); }
  base::Result<void> SetFamilyOption(Task& task, int32_t level, int32_t name,
                                     std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetFamilyOption(Task& task, int32_t level, int32_t name,
                                         std::span<uint8_t> out) override;
  void SetOutside(const NetOutside::Option& o) override { SetOutsideOption(o); }

 private:
  void Observe(const LocalPacket& p) override;
  bool Admit(Frame* f) override;
  uint32_t receive_room() const override { return receive_buffer_.load(std::memory_order_relaxed); }
  // Whether a packet is one that this socket is for.
  bool Wants(const LocalPacket& p);
  // As the guest gets it: without the header if it is IPv6's, shortened by the filter. False: the
  // filter drops it.
  bool Cut(LocalPacket p, int32_t interface, Frame* f);
  bool is_icmp() const {
    return protocol() == (ipv6() ? abi::kIPPROTO_ICMPV6 : abi::kIPPROTO_ICMP);
  }
  // What is sent has its IP header already.
  bool has_header() const {
    return header_.load(std::memory_order_relaxed) || protocol() == abi::kIPPROTO_RAW;
  }
  base::Result<LocalPacket> MakeOutgoing(std::vector<uint8_t> data, const Endpoint& to,
                                         const Endpoint& from, const SendArgs& args);
  void SendInside(const LocalPacket& p);

  WaitQueue queue_;
  std::atomic<bool> header_{false};  // IP_HDRINCL
  base::Mutex<base::LockClass::kSocket> mu_;
  Endpoint local_ GUARDED_BY(mu_), remote_ GUARDED_BY(mu_);
  bool connected_ GUARDED_BY(mu_) = false, no_send_ GUARDED_BY(mu_) = false;
  // ICMP_FILTER and ICMPV6_FILTER: a bit is a type that isn't wanted.
  abi::Icmp6Filter unwanted_ GUARDED_BY(mu_){};
};

}  // namespace sentry
