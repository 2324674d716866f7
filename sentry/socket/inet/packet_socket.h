// AF_PACKET (packet(7); net/packet/af_packet.c), with --net-raw: frames of lo, so far as what stays
// in the sandbox is made of packets at all (TCP isn't), and those of the outside's links by way of
// the net gofer. Without rings (PACKET_RX_RING, which libpcap wants since 1.10), fanout and virtual
// headers: ENOPROTOOPT.
#pragma once

#include "sentry/socket/inet/net_stack.h"
#include "sentry/socket/inet/raw_channel.h"
#include "sentry/socket/socket.h"

namespace sentry {

class PacketSocket final : public Socket, private RawChannel, private NetStack::Observer {
 public:
  // type: SOCK_RAW, with the link's header, or SOCK_DGRAM. protocol: as socket(2) had it.
  PacketSocket(base::Ref<NetStack> stack, int32_t type, int32_t protocol, uint32_t flags);
  ~PacketSocket() override;
  // Lets it see what its protocol says.
  base::Result<void> Start(Task& task);

  base::Result<void> Bind(Task& task, const SockAddr& addr) override;
  base::Result<void> Listen(Task& task, int32_t backlog) override {
    return abi::Errno::kEOPNOTSUPP;
  }
  base::Result<base::Ref<Socket>> Accept(uint32_t flags) override {
    return abi::Errno::kEOPNOTSUPP;
  }
  base::Result<void> Connect(Task& task, const SockAddr& addr) override {
    return abi::Errno::kEOPNOTSUPP;
  }
  base::Result<void> Shutdown(int32_t how) override { return abi::Errno::kEOPNOTSUPP; }
  base::Result<SockAddr> LocalName() override;
  base::Result<SockAddr> PeerName() override { return abi::Errno::kEOPNOTSUPP; }
  base::Result<uint64_t> Send(Task* task, IoBuffer& src, SendArgs& args) override;
  base::Result<uint64_t> Receive(Task* task, IoBuffer& dst, RecvArgs& args) override;
  uint32_t Poll() override { return PollFrames(); }
  WaitQueue* wait_queue() override { return &queue_; }
  bool signals_io() const override { return true; }
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;

 protected:
  int32_t TakeError() override { return TakeFrameError(); }
  base::Result<void> SetFamilyOption(Task& task, int32_t level, int32_t name,
                                     std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetFamilyOption(Task& task, int32_t level, int32_t name,
                                         std::span<uint8_t> out) override;

 private:
  // What it is bound to.
  struct Hook {
    uint16_t ethertype = 0;  // 0: nothing is received
    int32_t interface = 0;   // 0: all
  };
  Hook hook() {
    base::MutexLock lock(mu_);
    return hook_;
  }
  void Observe(const LocalPacket& p) override;
  void OutsideGone() override { LoseOutside(); }
  std::string Line() override;
  bool Admit(Frame* f) override;
  uint32_t receive_room() const override { return receive_buffer_.load(std::memory_order_relaxed); }
  bool whole_frames() const { return type() == abi::kSOCK_RAW; }
  // SO_ATTACH_FILTER. False: it drops the frame.
  bool PassesFilter(Frame* f) const;
  // Asks the outside for what the hook says now.
  base::Result<void> Rehook(Task& task);
  void SendInside(uint16_t ethertype, std::vector<uint8_t> data);
  SockAddr Name(const NetOutside::RawHead& head) const;
  base::Result<NetInterface> FindInterface(int32_t index) const;

  const base::Ref<NetStack> stack_;
  const uint32_t uid_;
  WaitQueue queue_;
  std::atomic<bool> ignore_outgoing_{false};
  base::Mutex<base::LockClass::kSocket> mu_;
  Hook hook_ GUARDED_BY(mu_);
};

}  // namespace sentry
